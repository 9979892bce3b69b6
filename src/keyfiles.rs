//! The files of keys: where they are, and how they come to be.

use crate::config::Settings;
use crate::failure::Failure;
use crate::wiring::host_id;
use datanode_actors::anchor::LogKey;
use datanode_actors::keyring::Keys;
use datanode_actors::seal::{Identity, Recipient};
use datanode_schema::paths::DataDir;
use std::path::{Path, PathBuf};

/// Where the node's key is.
pub fn key_file(settings: &Settings) -> PathBuf {
    if settings.seal.key_file.as_os_str().is_empty() {
        settings.data_dir.join("keys/node.key")
    } else {
        settings.seal.key_file.clone()
    }
}

/// The node's keys: the file, the lists beside it, and the recipients of the settings.
///
/// # Errors
/// Exit 2: the settings name what is no recipient.
pub fn keys_of(settings: &Settings) -> Result<Keys, Failure> {
    let named = settings.seal.recipients.split(',').map(str::trim).filter(|r| !r.is_empty());
    let recipients = named.map(|r| r.parse::<Recipient>().map_err(|e| Failure::usage(format!("seal.recipients: {e}"))));
    Ok(Keys::of_file(&key_file(settings), recipients.collect::<Result<_, _>>()?))
}

/// The node's keys, readable; a key is made where there is none and nothing was sealed with one.
///
/// # Errors
/// Exit 2: the key is gone, or a key or a list cannot be read.
pub fn standing_keys(settings: &Settings) -> Result<Keys, Failure> {
    let path = key_file(settings);
    if !path.is_file() {
        let stanzas = std::fs::read_dir(settings.data_dir.join("vault/stanzas")).is_ok_and(|mut d| d.next().is_some());
        if stanzas {
            return Err(Failure::usage(format!(
                "{}: the node's key is gone, and the vault has packs that were sealed with it; put the key back, or point seal.key_file at it",
                path.display()
            )));
        }
        write_new_key(&path)?;
        tracing::warn!(path = %path.display(), "a new key was made; keep a copy elsewhere: without it no sealed pack opens");
    }
    let keys = keys_of(settings)?;
    // What is wrong with a key or a list is said at the start, not when the night is over.
    keys.read().map_err(Failure::usage)?;
    if datanode_actors::keyring::is_under_way(&path) {
        tracing::warn!("a rotation of the node's key was begun and not ended; run `datanode key rotate` again");
    }
    Ok(keys)
}

/// Where the log's key is.
pub fn log_key_file(settings: &Settings) -> PathBuf {
    if settings.anchor.key_file.as_os_str().is_empty() {
        settings.data_dir.join("keys/anchor.key")
    } else {
        settings.anchor.key_file.clone()
    }
}

/// The log's key; made where there is neither key nor log.
///
/// # Errors
/// Exit 2: it is gone, or cannot be read.
pub fn log_key(settings: &Settings) -> Result<LogKey, Failure> {
    let path = log_key_file(settings);
    if path.is_file() {
        return LogKey::read(&path).map_err(Failure::usage);
    }
    let log = DataDir::new(settings.data_dir.clone()).anchors().join("checkpoint");
    if log.exists() {
        return Err(Failure::usage(format!(
            "{}: the key of the anchor log is gone, and the log goes on under no other; put it back, or point anchor.key_file at it",
            path.display()
        )));
    }
    let name = match settings.anchor.name.as_str() {
        "" => format!("{}/{}", host_id(settings).replace([' ', '+'], "-"), settings.node.source),
        name => name.to_owned(),
    };
    let key = LogKey::generate(&name).map_err(Failure::usage)?;
    if let Some(folder) = path.parent() {
        make_private(folder)?;
    }
    key.write_new(&path).map_err(Failure::failed)?;
    Ok(key)
}

/// Makes a key and writes it, 0600; an existing file is never replaced.
///
/// # Errors
/// It exists, or cannot be written.
pub fn write_new_key(path: &Path) -> Result<Identity, Failure> {
    if let Some(parent) = path.parent() {
        make_private(parent)?;
    }
    let identity = Identity::generate();
    identity.write_new(path).map_err(Failure::failed)?;
    Ok(identity)
}

/// Makes a folder that only its owner may enter.
///
/// # Errors
/// It cannot be made.
pub fn make_private(dir: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|e| Failure::failed(format!("{}: cannot be made: {e}; check data_dir", dir.display())))
}
