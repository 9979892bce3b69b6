//! Whether a sealing stands in an anchor log, from files alone: shared by `anchor`, `pack verify` and `doctor`.

use super::global::Global;
use super::pack::of_seal;
use crate::config::Settings;
use crate::failure::{Code, Failure};
use crate::wiring::log_key_file;
use datanode_actors::anchor::{AnchorError, Head, Log, LogKey, MAX_PROOF, Proof, Proved, proof_name};
use datanode_actors::seal::{Descriptor, PackUid};
use datanode_schema::paths::DataDir;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The exit code of an error of the log.
pub fn of_anchor(e: &AnchorError) -> Failure {
    let code = match e {
        AnchorError::Seal(e) => return of_seal(e),
        AnchorError::Store(_) | AnchorError::Io { .. } => Code::Failed,
        AnchorError::Key { .. } => Code::Usage,
        AnchorError::Integrity { .. } | AnchorError::RolledBack { .. } => Code::Integrity,
        AnchorError::NotFound { .. } => Code::NotFound,
    };
    Failure::new(code, e.to_string())
}

/// A file that somebody named, of at most `most` bytes.
///
/// # Errors
/// 5 it is not there, 1 it cannot be read, 4 it is longer.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, Failure> {
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Failure::new(Code::NotFound, format!("{}: there is no such file", path.display()))
        }
        _ => Failure::failed(format!("{}: {e}", path.display())),
    };
    let mut bytes = Vec::new();
    File::open(path).and_then(|f| f.take(most.saturating_add(1)).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > most {
        let why = format!("{}: is longer than {most} bytes, so it is not what it should be", path.display());
        return Err(Failure::new(Code::Contract, why));
    }
    Ok(bytes)
}

/// The public key of a log: as it was given, from a file that holds its line, or that of this node. None where there is none at hand.
///
/// # Errors
/// 2: a file was named that holds none.
pub fn public_key(g: &Global, given: Option<&str>) -> Result<Option<String>, Failure> {
    if let Some(text) = given {
        let named = Path::new(text);
        let held = if named.is_file() { String::from_utf8(read(named, 4096)?).ok() } else { Some(text.to_owned()) };
        let line = held.as_deref().and_then(|t| t.lines().next()).unwrap_or_default();
        let line = line.strip_prefix("# public key: ").unwrap_or(line).trim();
        if line.split('+').count() < 3 || line.starts_with("PRIVATE") {
            let why = "is no public key of a log, <name>+<id>+<base64>, and no file with one; copy the node's anchors/key.pub";
            // What was given may be a secret key: it is not repeated.
            return Err(Failure::usage(format!("the log's key: what was given {why}")));
        }
        return Ok(Some(line.to_owned()));
    }
    let Ok(settings) = g.settings() else { return Ok(None) };
    Ok(own_key(&settings))
}

/// The public key of this node's log: from the secret key, which stays with its owner, else from the folder of the log.
pub fn own_key(settings: &Settings) -> Option<String> {
    if let Ok(key) = LogKey::read(&log_key_file(settings)) {
        return Some(key.public().to_owned());
    }
    let file = DataDir::new(settings.data_dir.clone()).anchors().join("key.pub");
    let text = read(&file, 4096).ok().and_then(|t| String::from_utf8(t).ok())?;
    Some(text.trim().to_owned())
}

/// The proof that lies beside a sealing: in its shipped folder, or in the data folder of a vault.
pub fn proof_beside(root: &Path, uid: &PackUid) -> Option<PathBuf> {
    let log = Log::at(root.parent().unwrap_or(Path::new(".")).join("anchors"));
    [root.join(proof_name(uid)), log.proof_path(uid)].into_iter().find(|p| p.is_file())
}

/// Verifies a proof file of a sealing.
///
/// # Errors
/// 3 it does not prove it, 5 it is not there.
pub fn verify_proof(path: &Path, descriptor: &Descriptor, public: &str) -> Result<Proved, Failure> {
    let what = format!("proof {}", path.display());
    let proof = Proof::decode(&what, &read(path, MAX_PROOF)?).map_err(|e| of_anchor(&e))?;
    proof.verify(&what, descriptor, public).map_err(|e| of_anchor(&e))
}

/// What is known of a sealing's place in a log.
pub enum Anchored {
    /// The proof verifies.
    Proved(Proved),
    /// There is a proof, and no key to verify it with.
    NoKey,
    /// There is no proof.
    No,
}

impl Anchored {
    /// Of a sealing whose files lie below `root`.
    ///
    /// # Errors
    /// 3: there is a proof, and it does not prove the sealing.
    pub fn of(root: &Path, descriptor: &Descriptor, public: Option<&str>) -> Result<Self, Failure> {
        match (proof_beside(root, &descriptor.pack_uid), public) {
            (None, _) => Ok(Self::No),
            (Some(_), None) => Ok(Self::NoKey),
            (Some(path), Some(key)) => verify_proof(&path, descriptor, key).map(Self::Proved),
        }
    }

    /// For a line of the report.
    pub fn in_words(&self) -> String {
        match self {
            Self::Proved(p) => format!("anchored as entry {} of {}", p.index, p.head.size),
            Self::NoKey => "a proof that it is anchored, and no --log-key to verify it with".to_owned(),
            Self::No => "not anchored".to_owned(),
        }
    }

    /// For JSON: the place in the log, where it is proved.
    pub fn index(&self) -> Option<u64> {
        match self {
            Self::Proved(p) => Some(p.index),
            Self::NoKey | Self::No => None,
        }
    }
}

/// The log of the data folder and its newest checkpoint, whose signature was verified.
///
/// # Errors
/// 5 there is no log or no key, 3 it does not verify.
pub fn own_log(g: &Global, key: Option<&str>) -> Result<(Log, Vec<u8>, Head, String), Failure> {
    let settings = g.settings()?;
    let log = Log::at(DataDir::new(settings.data_dir).anchors());
    let none = || {
        let what = format!("{}: no checkpoint yet; the nightly's seal stage makes it", log.dir().display());
        Failure::new(Code::NotFound, what)
    };
    let note = log.checkpoint().map_err(|e| of_anchor(&e))?.ok_or_else(none)?;
    let Some(public) = public_key(g, key)? else {
        let why = "there is no key to verify the log with; name its public key with --key";
        return Err(Failure::new(Code::NotFound, why));
    };
    let head = Head::verify(&log.checkpoint_path().display().to_string(), &note, &public).map_err(|e| of_anchor(&e))?;
    Ok((log, note, head, public))
}

/// For `doctor`: whether the newest checkpoint is the log's own, and the tiles give its root.
///
/// # Errors
/// In words.
pub fn checkpoint_verifies(settings: &Settings) -> Result<String, String> {
    let log = Log::at(DataDir::new(settings.data_dir.clone()).anchors());
    if log.checkpoint().map_err(|e| e.to_string())?.is_none() {
        return Ok("none yet; the first sealing makes it".to_owned());
    }
    let public = own_key(settings).ok_or("a log, and no key of it: put keys/anchor.key back")?;
    let head = log.head(&public).map_err(|e| e.to_string())?.ok_or("gone")?;
    log.root_at(head, head.size).map_err(|e| e.to_string())?;
    Ok(format!("{} entries, the checkpoint verifies", head.size))
}
