//! The lists beside the key: who else may open what is sealed.

use crate::seal::passphrase::{MAX_RECORDS, check_name, decode_records, encode_records};
use crate::seal::{PackUid, PassphraseRecord, Recipient, SealError};
use crate::vault::Vault;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The longest list that is read.
const MAX_LIST: u64 = 8 << 20;
/// The most recipients of a list.
const MAX_NAMED: usize = 100;

/// A recipient of the list.
#[derive(Clone, Debug)]
pub struct Named {
    /// Who.
    pub recipient: Recipient,
    /// What it is called; empty: nothing.
    pub name: String,
}

/// Who is to be a recipient.
pub enum New {
    /// An age recipient.
    Key(Named),
    /// Who knows a passphrase.
    Passphrase(PassphraseRecord),
}

fn beside(key: &Path, name: &str) -> PathBuf {
    key.with_file_name(name)
}

fn recipients_file(key: &Path) -> PathBuf {
    beside(key, "recipients")
}

fn passphrases_file(key: &Path) -> PathBuf {
    beside(key, "passphrases.json")
}

fn withheld_file(key: &Path) -> PathBuf {
    beside(key, "withheld")
}

fn read_list(path: &Path) -> Result<String, SealError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(SealError::io("open", path)(error)),
    };
    let mut text = String::new();
    file.take(MAX_LIST + 1).read_to_string(&mut text).map_err(SealError::io("read", path))?;
    if text.len() as u64 > MAX_LIST {
        return Err(SealError::contract(path.display().to_string(), "is longer than any list of recipients"));
    }
    Ok(text)
}

/// Replaces a file beside the key, 0600, durable when this returns.
pub(super) fn replace_private(path: &Path, bytes: &[u8]) -> Result<(), SealError> {
    let temp = path.with_extension("tmp");
    // One of this name is a dead process's: the vault's lock is held.
    _ = fs::remove_file(&temp);
    let made = File::options().write(true).create_new(true).mode(0o600).open(&temp).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temp, path)
    });
    made.map_err(SealError::io("write", path))?;
    sync_beside(path)
}

/// Makes the names beside a file durable.
pub(super) fn sync_beside(path: &Path) -> Result<(), SealError> {
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    datanode_schema::files::sync_folder(folder).map_err(SealError::io("sync", folder))
}

/// The recipients of the list.
pub(super) fn read_named(key: &Path) -> Result<Vec<Named>, SealError> {
    let path = recipients_file(key);
    let mut named = Vec::new();
    for (line, number) in read_list(&path)?.lines().zip(1..) {
        let (recipient, name) = line.split_once('#').unwrap_or((line, ""));
        if recipient.trim().is_empty() {
            continue;
        }
        let recipient = recipient.parse().map_err(|error| {
            SealError::contract(
                format!("{} line {number}", path.display()),
                format!("{error}; nothing is sealed until it is mended"),
            )
        })?;
        named.push(Named { recipient, name: name.trim().to_owned() });
    }
    Ok(named)
}

/// The recipients that a passphrase opens.
pub(super) fn read_passphrases(key: &Path) -> Result<Vec<PassphraseRecord>, SealError> {
    let path = passphrases_file(key);
    match read_list(&path)? {
        text if text.is_empty() => Ok(Vec::new()),
        text => decode_records(&path.display().to_string(), text.as_bytes()),
    }
}

/// What was sealed before a recipient was named for the future only.
pub(super) fn read_withheld(key: &Path) -> Result<BTreeSet<(String, PackUid)>, SealError> {
    let path = withheld_file(key);
    let mut pairs = BTreeSet::new();
    for line in read_list(&path)?.lines() {
        let mut uid = PackUid::default();
        match line.split_once(' ') {
            Some((recipient, hex_uid)) if hex::decode_to_slice(hex_uid, &mut uid).is_ok() => {
                pairs.insert((recipient.to_owned(), uid));
            }
            _ => {
                let why = format!("{line:?} is no recipient and sealing; mend it, or who may open what is not known");
                return Err(SealError::contract(path.display().to_string(), why));
            }
        }
    }
    Ok(pairs)
}

fn write_named(key: &Path, named: &[Named]) -> Result<(), SealError> {
    let line = |n: &Named| match n.name.as_str() {
        "" => format!("{}\n", n.recipient),
        name => format!("{} # {name}\n", n.recipient),
    };
    replace_private(&recipients_file(key), named.iter().map(line).collect::<String>().as_bytes())
}

fn write_withheld(key: &Path, pairs: &BTreeSet<(String, PackUid)>) -> Result<(), SealError> {
    let line = |(recipient, uid): &(String, PackUid)| format!("{recipient} {}\n", hex::encode(uid));
    replace_private(&withheld_file(key), pairs.iter().map(line).collect::<String>().as_bytes())
}

/// Adds a recipient. With `future_only` it may open what is sealed from now on; what has a stanza already is withheld from it.
///
/// # Errors
/// It is there already, or its name is; a list cannot be read or written. The caller holds the vault's lock.
pub fn add(key: &Path, vault: &Vault, new: New, future_only: bool) -> Result<(), SealError> {
    let (mut named, mut records) = (read_named(key)?, read_passphrases(key)?);
    let (recipient, name) = match &new {
        New::Key(n) => (n.recipient.to_string(), n.name.clone()),
        New::Passphrase(r) => (r.recipient.clone(), r.name.clone()),
    };
    let taken = |what: String| SealError::contract(what, "is a recipient already; `datanode key list` shows them");
    if !name.is_empty() {
        check_name(&name)?;
        if named.iter().any(|n| n.name == name) || records.iter().any(|r| r.name == name) {
            return Err(taken(format!("name {name:?}")));
        }
    }
    if named.iter().any(|n| n.recipient.to_string() == recipient) {
        return Err(taken(recipient));
    }
    if named.len() >= MAX_NAMED || records.len() >= MAX_RECORDS {
        return Err(SealError::contract("recipients", "are too many; remove one first"));
    }
    let mut withheld = read_withheld(key)?;
    let before = withheld.clone();
    // Left over from a time when it was a recipient before.
    withheld.retain(|(of, _)| *of != recipient);
    if future_only {
        withheld.extend(vault.stanzas()?.into_iter().map(|uid| (recipient.clone(), uid)));
    }
    // Before it is a recipient, so that a kill between leaves it without what it must not have.
    if withheld != before {
        write_withheld(key, &withheld)?;
    }
    datanode_schema::failpoint::pass("key.withheld");
    match new {
        New::Key(n) => {
            named.push(n);
            write_named(key, &named)
        }
        New::Passphrase(r) => {
            records.push(r);
            replace_private(&passphrases_file(key), &encode_records(&records)?)
        }
    }
}

/// Removes the recipient of this name, or with this public key; gives its public key.
///
/// # Errors
/// There is none; a list cannot be read or written. The caller holds the vault's lock.
pub fn remove(key: &Path, which: &str) -> Result<String, SealError> {
    let (mut named, mut records) = (read_named(key)?, read_passphrases(key)?);
    let gone = if let Some(at) = named.iter().position(|n| n.name == which || n.recipient.to_string() == which) {
        let gone = named.remove(at).recipient.to_string();
        write_named(key, &named)?;
        gone
    } else if let Some(at) = records.iter().position(|r| r.name == which || r.recipient == which) {
        let gone = records.remove(at).recipient;
        replace_private(&passphrases_file(key), &encode_records(&records)?)?;
        gone
    } else {
        return Err(SealError::NotFound { what: "recipient of that name", path: recipients_file(key) });
    };
    let mut withheld = read_withheld(key)?;
    let before = withheld.len();
    withheld.retain(|(of, _)| *of != gone);
    if withheld.len() != before {
        write_withheld(key, &withheld)?;
    }
    Ok(gone)
}
