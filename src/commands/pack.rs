//! `datanode pack`. None of it opens the state: a training box has only the files.

use super::anchored::{Anchored, public_key};
use super::global::Global;
use super::opening::{PassphraseArgs, opener};
use super::table::{print, thousands};
use super::{pack_open, pack_pull};
use crate::failure::{Code, Done, Failure, printable};
use clap::Subcommand;
use datanode_actors::export::{
    MANIFEST_FILE, MANIFEST_SCHEMA, PackManifest, PackProblem, PackReport, SUMS_FILE, read_text, verify_holders,
    verify_pack,
};
use datanode_actors::quarantine::incidents_of_files;
use datanode_actors::seal::{self, Kind, SealError, Unwraps};
use datanode_actors::vault::Vault;
use datanode_schema::names::IncidentLabel;
use datanode_schema::paths::DataDir;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What can be done with packs.
#[derive(Subcommand)]
pub enum PackCommand {
    /// The packs of the data folder, the newest last
    List,
    /// Verify a pack folder, a vault (or a shipped sealing), or a data folder with all it holds
    Verify {
        /// A pack, a vault, or a data folder
        path: PathBuf,
        /// The secret key that opens sealings [default: the configured seal.key_file, where it exists]
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        #[command(flatten)]
        passphrase: PassphraseArgs,
        /// The public key of the log that sealings are anchored in, or a file that holds it [default: this node's]
        #[arg(long, value_name = "PUBKEY|FILE")]
        log_key: Option<String>,
    },
    /// What changed from one pack to another; both are verified first
    Diff {
        /// A pack folder: full, delta or materialised
        a: PathBuf,
        /// Another, of the same node or not
        b: PathBuf,
    },
    /// Print the JSON Schema of manifest.json
    Schema,
    /// Fetch a pack from a bucket, a server or a folder, verified, into a folder that changes all at once or not at all
    Pull(Box<pack_pull::PullArgs>),
    /// Open a sealed pack, or a part of it, into a new folder
    Open(Box<pack_open::OpenArgs>),
}

/// Runs the command.
///
/// # Errors
/// 3 integrity, 4 contract, 5 not found.
pub fn pack(g: &Global, p: PackCommand) -> Done {
    match p {
        PackCommand::List => list(g),
        PackCommand::Verify { path, key, passphrase, log_key } => {
            let opener = || opener(g, key.as_deref(), &passphrase);
            verify(g, &path, &Keys { opener: &opener, log: log_key.as_deref() })
        }
        PackCommand::Diff { a, b } => super::pack_diff::diff(g, &a, &b),
        PackCommand::Schema => {
            print!("{MANIFEST_SCHEMA}");
            Ok(())
        }
        PackCommand::Pull(a) => pack_pull::run(g, *a),
        PackCommand::Open(a) => pack_open::run(g, &a),
    }
}

/// The exit code of a sealing's error.
pub fn of_seal(e: &SealError) -> Failure {
    let code = match e.kind() {
        Kind::Integrity => Code::Integrity,
        Kind::Contract => Code::Contract,
        Kind::NotFound => Code::NotFound,
        Kind::Busy => Code::Busy,
        Kind::Io => Code::Failed,
    };
    Failure::new(code, e.to_string())
}

/// The pack folders of a data folder, by name.
pub fn pack_folders(data: &DataDir) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for source in folders(&data.exports()).into_iter().filter(|d| !d.ends_with("nightly")) {
        let named = |d: &PathBuf| d.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"export_"));
        out.extend(folders(&source).into_iter().filter(named));
    }
    out.sort_by_key(|p| p.file_name().map(|n| n.to_owned()));
    out
}

fn folders(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut out: Vec<PathBuf> = entries.map(|e| e.path()).filter(|p| p.is_dir()).collect();
    out.sort();
    out
}

fn list(g: &Global) -> Done {
    let settings = g.settings()?;
    let mut rows = Vec::new();
    let data = DataDir::new(settings.data_dir);
    let incidents = incidents_of_packs(&data)?;
    for folder in pack_folders(&data) {
        let text = read_text(&folder.join(MANIFEST_FILE)).map_err(|e| {
            let what = format!(
                "{}: {MANIFEST_FILE}: {e}; `datanode pack verify` tells what else is missing",
                folder.display()
            );
            Failure::new(Code::Integrity, what)
        })?;
        let m = PackManifest::parse(&text)
            .map_err(|e| Failure::new(Code::Contract, format!("{}: {e}", folder.display())))?;
        let bytes = m.files.iter().fold(0u64, |sum, f| sum.saturating_add(f.bytes));
        let data_rows = m.data_rows();
        if g.json {
            println!(
                "{}",
                serde_json::json!({"export_id": m.export_id, "created_at_utc": m.created_at_utc, "files": m.files.len(),
                    "rows": data_rows, "bytes": bytes, "excluded": m.qc.excluded.len(), "path": folder,
                    "incidents": incidents.get(&m.export_id).map_or(&[][..], Vec::as_slice)})
            );
        }
        let window = format!("{} {}", m.time_window.start, m.time_window.end);
        let counts = [m.files.len() as u64, data_rows, bytes, m.qc.excluded.len() as u64].map(thousands);
        let of = incidents.get(&m.export_id).map_or(&[][..], Vec::as_slice);
        let labels: Vec<String> = of.iter().map(Labelled::in_words).collect();
        rows.push([vec![m.export_id, window], counts.to_vec(), vec![labels.join("; ")]].concat());
    }
    if !g.json {
        print(&["export_id", "sessions", "files", "rows", "bytes", "excluded", "incidents"], &rows);
    }
    Ok(())
}

/// What an open incident says of a pack.
#[derive(serde::Serialize)]
struct Labelled {
    incident: u64,
    label: &'static str,
    note: String,
    replacement: String,
}

impl Labelled {
    fn in_words(&self) -> String {
        let instead = if self.replacement.is_empty() { String::new() } else { format!(" (use {})", self.replacement) };
        format!("{}: {}{instead}", self.label, self.note)
    }
}

/// Open incidents by pack, from the event files.
fn incidents_of_packs(data: &DataDir) -> Result<BTreeMap<String, Vec<Labelled>>, Failure> {
    let all = incidents_of_files(data).map_err(|e| Failure::new(Code::Integrity, e.to_string()))?;
    let mut out: BTreeMap<String, Vec<Labelled>> = BTreeMap::new();
    for (id, i) in all.into_iter().filter(|(_, i)| i.is_open()) {
        let label = IncidentLabel::from_number(i.label).map_or("unknown", IncidentLabel::name);
        let labelled = Labelled { incident: id, label, note: i.note, replacement: i.replacement };
        out.entry(i.artifact).or_default().push(labelled);
    }
    Ok(out)
}

/// The keys that were named for verifying sealings.
struct Keys<'a> {
    opener: Opener<'a>,
    log: Option<&'a str>,
}

fn verify(g: &Global, path: &Path, keys: &Keys<'_>) -> Done {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let is_vault = |p: &Path| p.join("descriptors").is_dir();
    // Whatever stands there: what is no plain file is refused, not passed over.
    if [MANIFEST_FILE, SUMS_FILE].iter().any(|f| path.join(f).symlink_metadata().is_ok()) {
        return report(g, path, verify_pack(path, threads));
    }
    if is_vault(path) {
        return verify_vault(g, path, keys);
    }
    let data = DataDir::new(path);
    let packs = pack_folders(&data);
    if packs.is_empty() && !is_vault(&data.vault()) {
        return Err(Failure::new(Code::NotFound, format!("{}: no pack, no vault and no data folder", path.display())));
    }
    let mut worst: Option<Failure> = None;
    let mut note = |done: Done| {
        if let Err(f) = done {
            eprintln!("datanode: {}", printable(&f.message));
            if worst.as_ref().is_none_or(|w| f.code == Code::Integrity && w.code != Code::Integrity) {
                worst = Some(f);
            }
        }
    };
    for p in &packs {
        let mut found = verify_pack(p, threads);
        if let (Some(r), Some(home)) = (&mut found, p.parent()) {
            r.problems.extend(verify_holders(p, home));
        }
        note(report(g, p, found));
    }
    if is_vault(&data.vault()) {
        note(verify_vault(g, &data.vault(), keys));
    }
    match worst {
        Some(f) => Err(Failure::new(f.code, format!("{}: not everything verifies; see above", path.display()))),
        None => Ok(()),
    }
}

/// The report of a pack without problems.
///
/// # Errors
/// 5 where there is none, 3 or 4 with every problem.
pub fn sound(path: &Path, found: Option<PackReport>) -> Result<PackReport, Failure> {
    let Some(r) = found else {
        return Err(Failure::new(Code::NotFound, format!("{}: no pack", path.display())));
    };
    if r.problems.is_empty() {
        return Ok(r);
    }
    let altered = r.problems.iter().any(|p| matches!(p, PackProblem::Integrity(_)));
    let code = if altered { Code::Integrity } else { Code::Contract };
    Err(Failure::new(code, format!("{}: {}", path.display(), in_words(&r).join("\n  "))))
}

fn in_words(r: &PackReport) -> Vec<&str> {
    r.problems.iter().map(PackProblem::words).collect()
}

fn report(g: &Global, path: &Path, found: Option<PackReport>) -> Done {
    if let Some(r) = found.as_ref().filter(|_| g.json) {
        println!(
            "{}",
            serde_json::json!({"path": path, "export_id": r.export_id, "files": r.files, "bytes": r.bytes, "rows": r.rows,
                "elsewhere": r.elsewhere, "problems": in_words(r)})
        );
    }
    let r = sound(path, found)?;
    if !g.json {
        let elsewhere = match r.elsewhere {
            0 => String::new(),
            n => format!(", {} files in earlier packs", thousands(n)),
        };
        println!(
            "good     {}  {} files, {} rows, {} bytes{elsewhere}",
            r.export_id,
            thousands(r.files),
            thousands(r.rows),
            thousands(r.bytes)
        );
    }
    Ok(())
}

/// What opens sealings, where there is something.
type Opener<'a> = &'a dyn Fn() -> Result<Option<Box<dyn Unwraps>>, Failure>;

fn verify_vault(g: &Global, path: &Path, keys: &Keys<'_>) -> Done {
    let vault = Vault::open_shipped(path).map_err(|e| of_seal(&e))?;
    let opener = (keys.opener)()?;
    let log_key = public_key(g, keys.log)?;
    let mut problems = Vec::new();
    let uids = vault.descriptors().map_err(|e| of_seal(&e))?;
    for uid in &uids {
        let hex_uid = hex::encode(uid);
        let shredded = vault.shredded(uid).map_err(|e| of_seal(&e))?;
        let opens = opener.as_ref().filter(|_| shredded.is_none());
        let anchored = match vault.descriptor(uid).map(|d| Anchored::of(path, &d, log_key.as_deref())) {
            Ok(Ok(anchored)) => anchored,
            Ok(Err(f)) => {
                problems.push(format!("{hex_uid}: {}", f.message));
                Anchored::No
            }
            // Said below.
            Err(_) => Anchored::No,
        };
        let checked = match opens {
            Some(o) => seal::unwrap_key(&vault, *uid, o.as_ref()).and_then(|k| seal::verify(&vault, *uid, Some(&k))),
            None => seal::verify(&vault, *uid, None),
        };
        match checked {
            Ok(r) if r.is_ok() => {
                let how = match &shredded {
                    Some(of) => format!("objects and root only: its key was dropped at {}", of.shredded_at),
                    None if opens.is_some() => "decrypted and compared".to_owned(),
                    None => "objects and root only: no key at hand".to_owned(),
                };
                if g.json {
                    println!(
                        "{}",
                        serde_json::json!({"pack_uid": hex_uid, "objects": r.objects, "bytes": r.stored_bytes, "key": opens.is_some(),
                            "shredded": shredded.is_some(), "anchored": anchored.index()})
                    );
                } else {
                    let (bytes, log) = (thousands(r.stored_bytes), anchored.in_words());
                    println!("good     {hex_uid}  {} objects, {bytes} bytes, {how}, {log}", r.objects);
                }
            }
            Ok(r) => problems.extend(r.findings.iter().map(|p| format!("{hex_uid}: {p}"))),
            Err(e) => {
                if matches!(e.kind(), Kind::Busy | Kind::Io) {
                    return Err(of_seal(&e));
                }
                problems.push(format!("{hex_uid}: {e}"));
                // Without its key the objects can still be compared with their names.
                if let Ok(r) = seal::verify(&vault, *uid, None) {
                    problems.extend(r.findings.iter().map(|p| format!("{hex_uid}: {p}")));
                }
            }
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Code::Integrity, format!("{}: {}", path.display(), problems.join("\n  "))))
}
