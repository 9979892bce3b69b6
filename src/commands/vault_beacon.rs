//! `datanode vault beacon` and `datanode vault challenge`: what the node says that it holds, and whether that is so.

use super::global::Global;
use super::pack::of_seal;
use crate::failure::{Code, Done, Failure};
use crate::wiring::log_key_file;
use clap::Subcommand;
use datanode_actors::anchor::LogKey;
use datanode_actors::seal::{Descriptor, MAX_DESCRIPTOR};
use datanode_actors::vault::Vault;
use datanode_actors::vault::beacon::{self, Beacon, MAX_NOTE, Maker};
use datanode_actors::vault::challenge::{self, Challenge};
use datanode_schema::clock::rfc3339;
use datanode_schema::files::replace;
use datanode_schema::paths::DataDir;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// What can be done with challenges.
#[derive(Subcommand)]
pub enum ChallengeCommand {
    /// Make one, from descriptors alone, and print it; anybody can
    New {
        /// Descriptors of the sealings to ask about
        #[arg(long, value_name = "FILE", required = true)]
        descriptor: Vec<PathBuf>,
        /// Questions
        #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
        count: u16,
        /// 64 hex digits from which the questions are drawn [default: the system's random numbers]
        #[arg(long, value_name = "HEX")]
        seed_hex: Option<String>,
        /// Where to [default: stdout]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Answer one, as the node that is asked: a signed beacon with the answers
    Answer {
        /// The challenge
        file: PathBuf,
        /// Where to [default: stdout]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Whether a beacon answers a challenge
    Verify {
        /// The beacon
        answer: PathBuf,
        /// The challenge
        #[arg(long, value_name = "FILE")]
        challenge: PathBuf,
        /// The public key of the node's log, <name>+<id>+<base64>, or a file that holds it
        #[arg(long, value_name = "KEY|FILE")]
        key: String,
        /// Where the very bytes are: a vault, a shipped sealing, or a folder of such; without, no bytes are compared
        #[arg(long, value_name = "PATH")]
        objects: Option<PathBuf>,
    },
}

/// Writes `anchors/beacon` anew and prints it.
///
/// # Errors
/// 3 log or descriptors do not verify, 5 there is no vault.
pub fn beacon(g: &Global) -> Done {
    let note = made(g, None)?;
    let to = beacon::path(&DataDir::new(g.settings()?.data_dir).anchors());
    replace(&to, &note).map_err(|e| Failure::failed(format!("{}: {e}", to.display())))?;
    put(None, &note)
}

/// Runs `datanode vault challenge`.
///
/// # Errors
/// 2 usage, 3 an answer is missing or wrong, 4 a file has another form, 5 there is no vault.
pub fn challenge(g: &Global, c: &ChallengeCommand) -> Done {
    match c {
        ChallengeCommand::New { descriptor, count, seed_hex, out } => {
            let mut of = Vec::new();
            for path in descriptor {
                let text = read(path, MAX_DESCRIPTOR)?;
                of.push(Descriptor::decode(&path.display().to_string(), &text).map_err(|e| of_seal(&e))?);
            }
            let mut seed = [0u8; 32];
            if let Some(hex_seed) = seed_hex {
                hex::decode_to_slice(hex_seed, &mut seed).map_err(|_| Failure::usage("--seed-hex: 64 hex digits"))?;
            }
            let seed = seed_hex.as_ref().map(|_| seed);
            let made = Challenge::new(&of, usize::from(*count), g.clock().now(), seed).map_err(|e| of_seal(&e))?;
            put(out.as_deref(), made.text().as_bytes())
        }
        ChallengeCommand::Answer { file, out } => {
            let asked = Challenge::parse(&read(file, challenge::MAX_TEXT as u64)?).map_err(|e| of_seal(&e))?;
            put(out.as_deref(), &made(g, Some(&asked))?)
        }
        ChallengeCommand::Verify { answer, challenge: asked, key, objects } => {
            let asked = Challenge::parse(&read(asked, challenge::MAX_TEXT as u64)?).map_err(|e| of_seal(&e))?;
            let public = match key.contains('+') && !Path::new(key).is_file() {
                true => key.clone(),
                false => String::from_utf8_lossy(&read(Path::new(key), 4096)?).trim().to_owned(),
            };
            let what = answer.display().to_string();
            let beacon = Beacon::read(&what, &read(answer, MAX_NOTE)?, &public).map_err(|e| of_seal(&e))?;
            verify(g, &asked, &beacon, objects.as_deref())
        }
    }
}

fn verify(g: &Global, asked: &Challenge, beacon: &Beacon, objects: Option<&Path>) -> Done {
    let found = challenge::check(asked, beacon, objects).map_err(|e| of_seal(&e))?;
    if g.json {
        let v = serde_json::json!({"node": beacon.node, "at": rfc3339(beacon.at), "asked": found.asked, "right": found.right,
            "unchecked": found.unchecked, "wrong": found.wrong});
        println!("{v}");
    } else {
        println!(
            "beacon of {} at {}: {} questions, {} answers are right",
            beacon.node,
            rfc3339(beacon.at),
            found.asked,
            found.right
        );
        if found.unchecked > 0 {
            println!("{} answers are there; their bytes were not compared: name yours with --objects", found.unchecked);
        }
    }
    match found.wrong.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(Code::Integrity, found.wrong.join("\n  "))),
    }
}

fn made(g: &Global, challenge: Option<&Challenge>) -> Result<Vec<u8>, Failure> {
    let settings = g.settings()?;
    let data = DataDir::new(settings.data_dir.clone());
    if !data.vault().join("descriptors").is_dir() {
        return Err(Failure::new(Code::NotFound, format!("{}: there is no vault", data.vault().display())));
    }
    let vault = Vault::open(&data.vault()).map_err(|e| of_seal(&e))?;
    let log = LogKey::read(&log_key_file(&settings)).map_err(|e| Failure::new(Code::Contract, e.to_string()))?;
    let anchors = data.anchors();
    let scrubbed_at = beacon::said_of_scrub(&anchors, log.public());
    let maker = Maker { vault: &vault, log: &log, anchors: &anchors, at: g.clock().now(), scrubbed_at };
    maker.make(challenge).map_err(|e| of_seal(&e))
}

fn read(path: &Path, most: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| {
        let code = if e.kind() == std::io::ErrorKind::NotFound { Code::NotFound } else { Code::Failed };
        Failure::new(code, format!("{}: {e}", path.display()))
    })?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(|e| Failure::failed(format!("{}: {e}", path.display())))?;
    if bytes.len() as u64 > most {
        return Err(Failure::new(Code::Contract, format!("{}: is longer than {most} bytes", path.display())));
    }
    Ok(bytes)
}

fn put(to: Option<&Path>, bytes: &[u8]) -> Done {
    match to {
        Some(path) => replace(path, bytes).map_err(|e| Failure::failed(format!("{}: {e}", path.display()))),
        None => std::io::stdout().write_all(bytes).map_err(Failure::failed),
    }
}
