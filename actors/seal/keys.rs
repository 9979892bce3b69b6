//! Pack keys and who may unwrap them.
//!
//! A pack key is 32 random bytes, one for each sealing. It is wrapped to X25519 recipients as a binary
//! [age](https://age-encryption.org/v1) file, the *stanza*, whose payload is the 32 bytes and nothing else, so that
//! `age -d -i identity stanza` gives them back without this software.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use age::secrecy::ExposeSecret;
use rand::TryRngCore;
use zeroize::{Zeroize, Zeroizing};

use super::error::SealError;
use super::{PackUid, Vault};

/// What unwraps stanzas: an identity, several, or a passphrase.
pub trait Unwraps: Send + Sync {
    /// The key of the sealing that has this stanza.
    ///
    /// # Errors
    /// It is wrapped to others, or was altered.
    fn unwrap_stanza(&self, vault: &Vault, uid: &PackUid, stanza: &[u8]) -> Result<PackKey, SealError>;

    /// Whether the public records of passphrases must be at hand.
    fn needs_records(&self) -> bool {
        false
    }
}

impl Unwraps for Identity {
    fn unwrap_stanza(&self, _: &Vault, _: &PackUid, stanza: &[u8]) -> Result<PackKey, SealError> {
        unwrap(stanza, self)
    }
}

/// A longer identity file or stanza is not one of ours.
const MAX_KEY_FILE: u64 = 64 * 1024;

/// Who a pack key can be wrapped to: an age X25519 recipient, `age1…`.
#[derive(Clone)]
pub struct Recipient(pub(super) age::x25519::Recipient);

impl std::str::FromStr for Recipient {
    type Err = SealError;

    fn from_str(text: &str) -> Result<Self, SealError> {
        let parsed = text.trim().parse().map_err(|why| {
            SealError::contract(
                "recipient",
                format!("what was given is no age X25519 recipient ({why}); a public key begins with age1"),
            )
        })?;
        Ok(Self(parsed))
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({})", self.0)
    }
}

/// An age X25519 identity: unwraps what was wrapped to its recipient.
#[derive(Clone)]
pub struct Identity(pub(super) age::x25519::Identity);

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity(of {})", self.0.to_public())
    }
}

impl Identity {
    /// A new random identity.
    pub fn generate() -> Self {
        Self(age::x25519::Identity::generate())
    }

    /// The identity of these 32 secret bytes.
    pub(super) fn from_secret(secret: &[u8; 32]) -> Result<Self, SealError> {
        let mut text = super::passphrase::bech32("age-secret-key-", secret);
        text.make_ascii_uppercase();
        text.parse().map(Self).map_err(|_| SealError::internal("an identity does not encode"))
    }

    /// The recipient that this identity unwraps for.
    pub fn to_public(&self) -> Recipient {
        Recipient(self.0.to_public())
    }

    /// Reads the one identity of an age key file (`#` comments allowed).
    ///
    /// Refuses a file that anyone but its owner may read: a key that others could copy protects nothing.
    pub fn read(path: &Path) -> Result<Self, SealError> {
        let refuse = |why: &str| SealError::KeyFile { path: path.to_path_buf(), why: why.to_owned() };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(SealError::NotFound { what: "identity file", path: path.to_path_buf() });
            }
            Err(error) => return Err(SealError::io("open", path)(error)),
        };
        let meta = file.metadata().map_err(SealError::io("stat", path))?;
        if meta.mode() & 0o077 != 0 {
            return Err(refuse("others may read it; chmod 600 it, and rotate the key if it was exposed"));
        }
        let mut text = Zeroizing::new(String::new());
        file.take(MAX_KEY_FILE).read_to_string(&mut text).map_err(SealError::io("read", path))?;
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        match (lines.next(), lines.next()) {
            (Some(line), None) => line
                .parse()
                .map(Self)
                .map_err(|_| refuse("no age X25519 identity in it; it holds one line AGE-SECRET-KEY-1…")),
            (None, _) => Err(refuse("holds no identity; make one with `datanode key new`")),
            (Some(_), Some(_)) => Err(refuse("holds more than one identity; keep one in each file")),
        }
    }

    /// Writes this identity to a new file, mode 0600, durable when this returns. An existing file is never replaced.
    pub fn write_new(&self, path: &Path) -> Result<(), SealError> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(SealError::io("create (an existing key is never replaced)", path))?;
        let secret = self.0.to_string();
        let text = Zeroizing::new(format!("# public key: {}\n{}\n", self.0.to_public(), secret.expose_secret()));
        file.write_all(text.as_bytes()).map_err(SealError::io("write", path))?;
        file.sync_all().map_err(SealError::io("sync", path))?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder).and_then(|f| f.sync_all()).map_err(SealError::io("sync", folder))?;
        }
        Ok(())
    }
}

/// The 32-byte secret of one sealing. Zeroized when dropped; prints as nothing.
#[derive(Clone)]
pub struct PackKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for PackKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PackKey(…)")
    }
}

impl PackKey {
    /// A new key from the operating system's generator.
    pub fn generate() -> Result<Self, SealError> {
        let mut bytes = Zeroizing::new([0u8; 32]);
        rand::rngs::OsRng
            .try_fill_bytes(bytes.as_mut_slice())
            .map_err(|error| SealError::contract("random generator", format!("{error}; nothing was sealed")))?;
        Ok(Self(bytes))
    }

    /// A key from its bytes, as `age -d` printed them.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for derivation and wrapping only.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Wraps a pack key to every recipient: a binary age file of some hundred bytes.
pub fn wrap(key: &PackKey, recipients: &[Recipient]) -> Result<Vec<u8>, SealError> {
    let fail = |why: String| SealError::contract("recipients", format!("{why}; check seal.recipients"));
    let encryptor = age::Encryptor::with_recipients(recipients.iter().map(|r| &r.0 as &dyn age::Recipient))
        .map_err(|error| fail(error.to_string()))?;
    let mut stanza = Vec::with_capacity(512);
    let mut writer = encryptor.wrap_output(&mut stanza).map_err(|error| fail(error.to_string()))?;
    writer.write_all(key.expose()).and_then(|()| writer.finish()).map_err(|error| fail(error.to_string()))?;
    Ok(stanza)
}

/// Unwraps a stanza. Fails where the identity is none of its recipients or the stanza was altered.
pub fn unwrap(stanza: &[u8], identity: &Identity) -> Result<PackKey, SealError> {
    let fail = |why: String| SealError::Unwrap(why);
    let decryptor = age::Decryptor::new_buffered(stanza).map_err(|error| fail(error.to_string()))?;
    let reader =
        decryptor.decrypt(std::iter::once(&identity.0 as &dyn age::Identity)).map_err(|e| fail(e.to_string()))?;
    // Capacity for the longest accepted payload at once: a growing vector would leave copies behind.
    let mut payload = Zeroizing::new(Vec::with_capacity(64));
    reader.take(33).read_to_end(&mut payload).map_err(|error| fail(error.to_string()))?;
    let mut bytes: [u8; 32] =
        payload.as_slice().try_into().map_err(|_| fail("payload is not the 32 bytes of a pack key".to_owned()))?;
    let key = PackKey::from_bytes(bytes);
    bytes.zeroize();
    Ok(key)
}
