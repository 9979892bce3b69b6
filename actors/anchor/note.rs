//! The log's key and the texts that it signs (C2SP signed-note: a text, an empty line, a line a signature).

use super::AnchorError;
use super::log::MAX_CHECKPOINT;
use rand_core::{OsRng, RngCore};
use signed_note::{Note, StandardSigner, StandardVerifier, VerifierList};
use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use zeroize::Zeroizing;

/// A longer key file is not one of ours.
const MAX_KEY_FILE: u64 = 4096;
/// What the first line of a key file begins with.
const PUBLIC: &str = "# public key: ";

/// The node's Ed25519 signing key. Prints as its public part.
#[derive(Clone)]
pub struct LogKey {
    signer: StandardSigner,
    public: String,
    text: Zeroizing<String>,
}

impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogKey({})", self.public)
    }
}

impl LogKey {
    /// A new key for a log of this name.
    ///
    /// # Errors
    /// The name is empty, or has spaces or a `+`; no random numbers.
    pub fn generate(name: &str) -> Result<Self, AnchorError> {
        let bad = |why: &str| AnchorError::Key { path: name.into(), why: why.to_owned() };
        if !signed_note::is_key_name_valid(name) || name.len() > 200 || name.chars().any(char::is_control) {
            return Err(bad("is no name for a log: 1 to 200 characters without spaces or +; set anchor.name"));
        }
        // The generator of the crate ends the process where there are none.
        OsRng.try_fill_bytes(&mut [0u8; 1]).map_err(|_| bad("no random numbers; nothing was made"))?;
        let (secret, public) = signed_note::generate_key(&mut OsRng, name);
        let text = Zeroizing::new(format!("{PUBLIC}{public}\n{}\n", Zeroizing::new(secret).as_str()));
        Self::parse(&text).ok_or_else(|| bad("was made and cannot be read: this is a bug"))
    }

    /// From the two lines of a key file: `# public key: <name>+<id>+<base64>` and `PRIVATE+KEY+<name>+<id>+<base64>`.
    fn parse(text: &str) -> Option<Self> {
        let (first, second) = text.trim().split_once('\n')?;
        let key = Self {
            signer: StandardSigner::new(second.trim()).ok()?,
            public: first.strip_prefix(PUBLIC)?.trim().to_owned(),
            text: Zeroizing::new(format!("{}\n", text.trim())),
        };
        // The two lines are of one key.
        let probe = key.sign("probe\n").ok()?;
        verify_note("probe", &probe, &key.public).ok().map(|_| key)
    }

    /// Reads a key file; one that anyone but its owner may read is refused.
    ///
    /// # Errors
    /// It is not there, not ours, or open to others.
    pub fn read(path: &Path) -> Result<Self, AnchorError> {
        let refuse = |why: &str| AnchorError::Key { path: path.to_path_buf(), why: why.to_owned() };
        let file = File::open(path).map_err(AnchorError::io("open", path))?;
        if file.metadata().map_err(AnchorError::io("stat", path))?.mode() & 0o077 != 0 {
            return Err(refuse("others may read it; chmod 600 it"));
        }
        let mut text = Zeroizing::new(String::new());
        file.take(MAX_KEY_FILE).read_to_string(&mut text).map_err(AnchorError::io("read", path))?;
        Self::parse(&text)
            .ok_or_else(|| refuse("holds no public and PRIVATE+KEY+… line of one key; put the right file back"))
    }

    /// Writes it to a new file, mode 0600, durable when this returns. An existing file is never replaced.
    ///
    /// # Errors
    /// It exists or cannot be written.
    pub fn write_new(&self, path: &Path) -> Result<(), AnchorError> {
        let mut options = File::options();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(AnchorError::io("create (an existing key is never replaced)", path))?;
        file.write_all(self.text.as_bytes()).and_then(|()| file.sync_all()).map_err(AnchorError::io("write", path))?;
        let folder = path.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
        datanode_schema::files::sync_folder(folder).map_err(AnchorError::io("sync", folder))
    }

    /// The public key, `<name>+<id>+<base64>`: what a proof is verified with.
    pub fn public(&self) -> &str {
        &self.public
    }

    /// The log's name, which is the first line of its checkpoints.
    pub fn name(&self) -> &str {
        signed_note::Signer::name(&self.signer)
    }

    /// Signs a text, which ends with a newline: the note.
    ///
    /// # Errors
    /// The text cannot be part of a note.
    pub fn sign(&self, text: &str) -> Result<Vec<u8>, AnchorError> {
        let bad = |why: String| AnchorError::integrity("a text to be signed", why);
        let mut note = Note::new(text.as_bytes(), &[]).map_err(|e| bad(e.to_string()))?;
        note.add_sigs(&[&self.signer]).map_err(|e| bad(e.to_string()))?;
        Ok(note.to_bytes())
    }
}

/// The text of a note that the key `public` has signed. Signatures of others are allowed and not looked at.
///
/// # Errors
/// It is no note, is not signed by that key, or the signature is wrong; `public` is no key.
pub fn verify_note(what: &str, note: &[u8], public: &str) -> Result<String, AnchorError> {
    let bad = |why: String| AnchorError::integrity(what, why);
    let key = StandardVerifier::new(public.trim())
        .map_err(|e| bad(format!("the key to verify it with is none ({e}); it is <name>+<id>+<base64>")))?;
    if public.trim().split('+').nth(1).is_some_and(|id| id.bytes().any(|b| b.is_ascii_uppercase())) {
        return Err(bad("the key to verify it with was altered: its id is in lower case".to_owned()));
    }
    let note = Note::from_bytes(note).map_err(|e| bad(format!("is no signed note ({e})")))?;
    let (good, _) = note
        .verify(&VerifierList::new(vec![Box::new(key)]))
        .map_err(|e| bad(format!("does not verify ({e}): it was altered, or another node signed it")))?;
    if good.is_empty() {
        return Err(bad("is not signed by that key: another node's, or altered".to_owned()));
    }
    String::from_utf8(note.text().to_vec()).map_err(|_| bad("is not UTF-8".to_owned()))
}

/// A note with the signatures that another copy of the same text has and it lacks. Those of others are not verified here: who relies on
/// them has their keys.
///
/// # Errors
/// The other is another text, or what comes out would not verify with the key `public`.
pub fn with_signatures(note: &[u8], other: &[u8], public: &str) -> Result<Vec<u8>, AnchorError> {
    let what = "the copy with more signatures";
    let bad = |why: String| AnchorError::integrity(what, why);
    let text = verify_note("the checkpoint", note, public)?;
    let (own, more) = (note.get(text.len()..).unwrap_or_default(), other.strip_prefix(text.as_bytes()));
    let more = more.and_then(|m| std::str::from_utf8(m).ok()?.strip_prefix('\n'));
    let more = more.ok_or_else(|| bad("is not of this checkpoint; have the newest one cosigned".to_owned()))?;
    let own = std::str::from_utf8(own).unwrap_or_default();
    let mut all = String::from_utf8_lossy(note).into_owned();
    for line in more.lines().filter(|l| own.lines().all(|o| o != *l)) {
        all += &format!("{line}\n");
    }
    if all.len() as u64 > MAX_CHECKPOINT {
        return Err(bad(format!("would make the checkpoint longer than {MAX_CHECKPOINT} bytes")));
    }
    verify_note(what, all.as_bytes(), public)?;
    Ok(all.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_signs_what_its_public_part_verifies_and_no_other_does() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("anchor.key");
        let key = LogKey::generate("pi.lan/datanode").unwrap();
        key.write_new(&file).unwrap();
        assert!(key.write_new(&file).is_err());
        let again = LogKey::read(&file).unwrap();
        let note = again.sign("a\nb\n").unwrap();
        assert_eq!(verify_note("n", &note, key.public()).unwrap(), "a\nb\n");
        assert!(verify_note("n", &note, LogKey::generate("pi.lan/datanode").unwrap().public()).is_err());
        for at in 0..note.len() {
            for bit in 0..8 {
                let mut bad = note.clone();
                bad[at] ^= 1 << bit;
                assert!(verify_note("n", &bad, key.public()).is_err(), "byte {at} bit {bit}");
            }
        }
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(LogKey::read(&file).unwrap_err().to_string().contains("chmod 600"));
        for name in ["", "a b", "a+b", "a\nb"] {
            assert!(LogKey::generate(name).is_err(), "{name:?}");
        }
    }
}
