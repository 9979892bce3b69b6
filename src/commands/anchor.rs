//! `datanode anchor`. None of it opens the state: who verifies has only files.

use super::anchored::{of_anchor, own_log, proof_beside, public_key, read, verify_proof};
use super::global::Global;
use super::pack::of_seal;
use crate::failure::{Code, Done, Failure};
use crate::wiring::key_file;
use clap::Subcommand;
use datanode_actors::anchor::{Consistency, Head, Proof, Proved};
use datanode_actors::export::{ExportId, PackManifest};
use datanode_actors::seal::{self, Descriptor, Identity, MAX_DESCRIPTOR, PackUid};
use datanode_actors::vault::Vault;
use datanode_schema::files::replace;
use datanode_schema::paths::DataDir;
use std::path::{Path, PathBuf};

/// Room for a checkpoint with its cosignatures, bytes.
const MAX_CHECKPOINT: u64 = 64 << 10;

/// What can be done with the anchor log.
#[derive(Subcommand)]
pub enum AnchorCommand {
    /// Prove that a sealing stands in this node's log, at its newest checkpoint
    Prove {
        /// The sealing's id, the beginning of it, or the export id of a pack that this node's key opens
        id: String,
        /// Where to [default: stdout]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Verify a proof, with nothing but the descriptor and the log's public key
    Verify {
        /// A proof, or a vault or a shipped sealing with its proofs
        proof: PathBuf,
        /// The sealing's descriptor, or a vault or shipped sealing that has it [default: the vault of the data folder]
        #[arg(long, value_name = "FILE")]
        descriptor: Option<PathBuf>,
        /// The log's public key, or a file that holds it [default: this node's]
        #[arg(long, value_name = "PUBKEY|FILE")]
        key: Option<String>,
    },
    /// Print the newest checkpoint
    Checkpoint {
        /// Also make the tree again from all entries, and compare root, tiles' proofs, and the vault's descriptors
        #[arg(long)]
        verify: bool,
        /// Take the signatures that this copy of the same checkpoint has and ours lacks, such as a witness's
        #[arg(long, value_name = "FILE")]
        add_signature: Option<PathBuf>,
        /// The log's public key, or a file that holds it [default: this node's]
        #[arg(long, value_name = "PUBKEY|FILE")]
        key: Option<String>,
    },
    /// Prove and verify that the log has only grown since an older checkpoint
    Consistency {
        /// The older checkpoint
        old: PathBuf,
        /// The newer one [default: this node's newest]
        new: Option<PathBuf>,
        /// Verify this proof; the log itself is not needed then
        #[arg(long, value_name = "FILE", requires = "new")]
        proof: Option<PathBuf>,
        /// Write the proof to FILE
        #[arg(long, value_name = "FILE", conflicts_with = "proof")]
        out: Option<PathBuf>,
        /// The log's public key, or a file that holds it [default: this node's]
        #[arg(long, value_name = "PUBKEY|FILE")]
        key: Option<String>,
    },
}

/// Runs the command.
///
/// # Errors
/// 2 no key, 3 integrity, 4 contract, 5 not found.
pub fn anchor(g: &Global, a: &AnchorCommand) -> Done {
    match a {
        AnchorCommand::Prove { id, out } => prove(g, id, out.as_deref()),
        AnchorCommand::Verify { proof, descriptor, key } => verify(g, proof, descriptor.as_deref(), key.as_deref()),
        AnchorCommand::Checkpoint { verify, add_signature, key } => {
            checkpoint(g, *verify, add_signature.as_deref(), key.as_deref())
        }
        AnchorCommand::Consistency { old, new, proof, out, key } => {
            let files = Grown { old, new: new.as_deref(), proof: proof.as_deref(), out: out.as_deref() };
            consistency(g, &files, key.as_deref())
        }
    }
}

fn prove(g: &Global, id: &str, out: Option<&Path>) -> Done {
    let (log, note, head, _) = own_log(g, None)?;
    let book = log.book(head).map_err(|e| of_anchor(&e))?;
    let found: Vec<PackUid> = match ExportId::parse(id) {
        Some(_) => sealings_of(g, id)?,
        None => book.keys().filter(|uid| hex::encode(uid).starts_with(id)).copied().collect(),
    };
    let mut found = found.into_iter().filter_map(|uid| book.get(&uid).map(|(index, entry)| (uid, *index, entry)));
    let Some((uid, index, entry)) = found.next() else {
        let why = "no such sealing in the log; `datanode pack verify` of the data folder lists the sealings";
        return Err(Failure::new(Code::NotFound, format!("{id}: {why}")));
    };
    let others: Vec<String> = found.map(|(uid, ..)| hex::encode(uid)).collect();
    if !others.is_empty() {
        let first = hex::encode(uid);
        return Err(Failure::usage(format!("{id}: several sealings; name one: {first}, {}", others.join(", "))));
    }
    let proof = Proof::make(&log, &note, head, index, entry).and_then(|p| p.encode()).map_err(|e| of_anchor(&e))?;
    if let Some(path) = out {
        replace(path, &proof).map_err(|e| Failure::failed(format!("{}: {e}", path.display())))?;
    }
    if g.json {
        let text = String::from_utf8_lossy(&proof);
        println!(
            "{}",
            serde_json::json!({"pack_uid": hex::encode(uid), "index": index, "size": head.size, "root": hex::encode(head.root),
                "path": out, "proof": text})
        );
    } else if out.is_none() {
        print!("{}", String::from_utf8_lossy(&proof));
    }
    Ok(())
}

/// The sealings of a pack, as far as this node's key opens them: only their sealed manifests say whose they are.
fn sealings_of(g: &Global, export_id: &str) -> Result<Vec<PackUid>, Failure> {
    let settings = g.settings()?;
    let vault = DataDir::new(settings.data_dir.clone()).vault();
    if !vault.is_dir() {
        return Ok(Vec::new());
    }
    let identity = Identity::read(&key_file(&settings)).map_err(|e| of_seal(&e))?;
    let vault = Vault::open(&vault).map_err(|e| of_seal(&e))?;
    let of = |uid: &PackUid| {
        let key = seal::unwrap_key(&vault, *uid, &identity).ok()?;
        let manifest = seal::read_manifest(&vault, &vault.descriptor(uid).ok()?, &key).ok()?;
        PackManifest::parse(manifest.manifest_json.as_bytes()).ok().filter(|m| m.export_id == export_id)
    };
    let mut all = vault.descriptors().map_err(|e| of_seal(&e))?;
    all.retain(|uid| of(uid).is_some());
    Ok(all)
}

fn verify(g: &Global, path: &Path, descriptor: Option<&Path>, key: Option<&str>) -> Done {
    let Some(public) = public_key(g, key)? else {
        return Err(Failure::usage("no key: name the log's public key, or a file that holds it, with --key"));
    };
    if path.join("descriptors").is_dir() {
        return verify_all(g, path, &public);
    }
    let descriptor = match descriptor {
        Some(file) if file.is_file() => {
            let text = read(file, MAX_DESCRIPTOR)?;
            Descriptor::decode(&format!("descriptor {}", file.display()), &text).map_err(|e| of_seal(&e))?
        }
        Some(folder) if folder.join("descriptors").is_dir() => named_by(path, folder)?,
        Some(other) => {
            let why = "no descriptor, no vault and no sealing";
            return Err(Failure::new(Code::NotFound, format!("{}: {why}", other.display())));
        }
        None => named_by(path, &DataDir::new(g.settings()?.data_dir).vault())?,
    };
    say(g, &verify_proof(path, &descriptor, &public)?);
    Ok(())
}

/// The descriptor that a proof's name tells of; where it tells of none, the only one that is there.
fn named_by(proof: &Path, folder: &Path) -> Result<Descriptor, Failure> {
    let none =
        |why: &str| Failure::new(Code::NotFound, format!("{}: {why}; name it with --descriptor", folder.display()));
    if !folder.join("descriptors").is_dir() {
        return Err(none("no vault, so no descriptor"));
    }
    let vault = Vault::open(folder).map_err(|e| of_seal(&e))?;
    let mut uid = PackUid::default();
    let stem = proof.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
    if hex::decode_to_slice(stem, &mut uid).is_err() {
        match vault.descriptors().map_err(|e| of_seal(&e))?.as_slice() {
            [one] => uid = *one,
            _ => return Err(none("several descriptors, and the proof's name tells of none of them")),
        }
    }
    vault.descriptor(&uid).map_err(|e| of_seal(&e))
}

fn verify_all(g: &Global, folder: &Path, public: &str) -> Done {
    let vault = Vault::open(folder).map_err(|e| of_seal(&e))?;
    let (mut problems, mut worst) = (Vec::new(), Code::NotFound);
    for uid in vault.descriptors().map_err(|e| of_seal(&e))? {
        let proved = vault.descriptor(&uid).map_err(|e| of_seal(&e)).and_then(|d| match proof_beside(folder, &uid) {
            Some(path) => verify_proof(&path, &d, public),
            None => {
                Err(Failure::new(Code::NotFound, "no proof lies beside it; fetch it again, or ask the node for it"))
            }
        });
        match proved {
            Ok(p) => say(g, &p),
            Err(f) => {
                if f.code != Code::NotFound {
                    worst = f.code;
                }
                problems.push(format!("{}: {}", hex::encode(uid), f.message));
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::new(worst, problems.join("\n  "))) }
}

fn say(g: &Global, p: &Proved) {
    let uid = hex::encode(p.entry.pack_uid);
    if g.json {
        println!(
            "{}",
            serde_json::json!({"pack_uid": uid, "index": p.index, "size": p.head.size, "root": hex::encode(p.head.root),
                "generation": p.entry.generation, "previous": p.entry.previous.map(hex::encode)})
        );
    } else {
        println!("good     {uid}  entry {} of {}", p.index, p.head.size);
    }
}

fn checkpoint(g: &Global, whole: bool, add: Option<&Path>, key: Option<&str>) -> Done {
    let (log, mut note, head, public) = own_log(g, key)?;
    if let Some(file) = add {
        let (other, before) = (read(file, MAX_CHECKPOINT)?, note.clone());
        note = datanode_actors::anchor::with_signatures(&note, &other, &public).map_err(|e| of_anchor(&e))?;
        // A night may have signed the next one while the copy was waited for.
        let _one_at_a_time = log.lock().map_err(|e| of_anchor(&e))?;
        let path = log.checkpoint_path();
        let (_, now, ..) = own_log(g, key)?;
        if !now.starts_with(&before) {
            return Err(Failure::failed(
                "the log has a newer checkpoint by now: have that one cosigned; nothing was changed",
            ));
        }
        replace(&path, &note).map_err(|e| Failure::failed(format!("{}: {e}", path.display())))?;
    }
    let mut sealings = None;
    if whole {
        sealings = Some(audit(g, &log, head)?);
    }
    let text = String::from_utf8_lossy(&note);
    if g.json {
        println!(
            "{}",
            serde_json::json!({"size": head.size, "root": hex::encode(head.root), "public_key": public, "sealings": sealings,
                "checkpoint": text})
        );
    } else {
        print!("{text}");
        if let Some(n) = sealings {
            eprintln!(
                "good: {} entries, {n} sealings, and the vault's descriptors are those that were anchored",
                head.size
            );
        }
    }
    Ok(())
}

/// Reads the whole log, and compares the descriptors of the vault beside it with it. Gives the sealings in the log.
fn audit(g: &Global, log: &datanode_actors::anchor::Log, head: Head) -> Result<u64, Failure> {
    let book = log.book(head).map_err(|e| of_anchor(&e))?;
    log.root_at(head, head.size).map_err(|e| of_anchor(&e))?;
    let folder = DataDir::new(g.settings()?.data_dir).vault();
    let mut problems = Vec::new();
    if folder.join("descriptors").is_dir() {
        let vault = Vault::open(&folder).map_err(|e| of_seal(&e))?;
        for uid in vault.descriptors().map_err(|e| of_seal(&e))? {
            let Some((index, entry)) = book.get(&uid) else { continue };
            match vault.descriptor(&uid).map(|d| entry.disagreement(&d)) {
                Ok(Ok(None)) => {}
                Ok(Ok(Some(why))) => {
                    problems.push(format!("{}: the vault's descriptor {why} (entry {index})", hex::encode(uid)))
                }
                Ok(Err(e)) => return Err(of_anchor(&e)),
                Err(e) => problems.push(e.to_string()),
            }
        }
    }
    if problems.is_empty() {
        return Ok(book.len() as u64);
    }
    problems.push("bring the right descriptors back from the replica or a bucket".to_owned());
    Err(Failure::new(Code::Integrity, problems.join("\n  ")))
}

struct Grown<'a> {
    old: &'a Path,
    new: Option<&'a Path>,
    proof: Option<&'a Path>,
    out: Option<&'a Path>,
}

fn consistency(g: &Global, files: &Grown<'_>, key: Option<&str>) -> Done {
    let public = public_key(g, key)?;
    let Some(public) = public else {
        return Err(Failure::usage("no key: name the log's public key, or a file that holds it, with --key"));
    };
    let head = |path: &Path| {
        Head::verify(&path.display().to_string(), &read(path, MAX_CHECKPOINT)?, &public).map_err(|e| of_anchor(&e))
    };
    let old = head(files.old)?;
    let new = match files.new {
        Some(path) => head(path)?,
        None => own_log(g, key)?.2,
    };
    let proof = match files.proof {
        Some(path) => Consistency::decode(&path.display().to_string(), &read(path, MAX_CHECKPOINT)?),
        None => Consistency::make(&own_log(g, key)?.0, new, old.size),
    };
    let proof = proof.map_err(|e| of_anchor(&e))?;
    proof.verify(old, new).map_err(|e| of_anchor(&e))?;
    if let Some(path) = files.out {
        replace(path, &proof.encode()).map_err(|e| Failure::failed(format!("{}: {e}", path.display())))?;
    }
    if g.json {
        let hashes: Vec<String> = proof.hashes.iter().map(hex::encode).collect();
        println!("{}", serde_json::json!({"old": old.size, "new": new.size, "hashes": hashes, "grew": true}));
    } else {
        println!("good     the log grew from {} to {} entries, and nothing in it changed", old.size, new.size);
    }
    Ok(())
}
