//! Secrets are references, resolved in memory, never written and never logged; what held one is zeroized.
//!
//! | reference | leads to |
//! |---|---|
//! | `env:NAME` | an environment variable |
//! | `file:PATH` | a file |
//! | `systemd:NAME` | a credential of the unit |
//! | `op://vault/item/field` | what `op read --no-newline` prints, within ten seconds |
//! | `age:PATH#FIELD` | a line `FIELD=value` of a file that is encrypted to the node's key |

mod letter;
mod op;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use zeroize::Zeroizing;

/// The schemes, as a reference begins with them.
pub const SCHEMES: [&str; 5] = ["env:", "file:", "systemd:", "op://", "age:"];
/// A longer secret is none.
const LONGEST: u64 = 64 << 10;

/// Where the node's key is: what `age:` files are opened with.
static KEY_FILE: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Says where the node's key is; whoever reads settings does.
pub fn key_file_is(path: PathBuf) {
    *KEY_FILE.lock().unwrap_or_else(PoisonError::into_inner) = Some(path);
}

/// Whether a setting is a reference, or empty; what it leads to is not looked at.
pub fn is_reference(text: &str) -> bool {
    text.is_empty() || SCHEMES.iter().any(|s| text.starts_with(s))
}

/// Resolves a reference; an empty one is no secret.
///
/// # Errors
/// What is wrong, without the secret.
pub fn resolve(field: &str, reference: &str) -> Result<Zeroizing<String>, String> {
    let trimmed = |s: Zeroizing<String>| Zeroizing::new(s.trim().to_owned());
    let value = if reference.is_empty() {
        return Ok(Zeroizing::new(String::new()));
    } else if let Some(name) = reference.strip_prefix("env:") {
        std::env::var(name).map(|v| trimmed(Zeroizing::new(v))).map_err(|_| {
            format!("{field}: the environment variable {name} is not set; set it, or change the reference")
        })?
    } else if let Some(path) = reference.strip_prefix("file:") {
        read(field, Path::new(path))?
    } else if let Some(name) = reference.strip_prefix("systemd:") {
        let dir = std::env::var("CREDENTIALS_DIRECTORY").map_err(|_| {
            format!("{field}: systemd:{name} needs $CREDENTIALS_DIRECTORY; use LoadCredential= in the unit")
        })?;
        if name.contains('/') || name.starts_with('.') {
            return Err(format!("{field}: systemd:NAME takes a plain name"));
        }
        read(field, &Path::new(&dir).join(name))?
    } else if reference.starts_with("op://") {
        trimmed(op::read(reference).map_err(|why| format!("{field}: {why}"))?)
    } else if let Some(place) = reference.strip_prefix("age:") {
        let key = KEY_FILE.lock().unwrap_or_else(PoisonError::into_inner).clone();
        trimmed(letter::read(place, key.as_deref()).map_err(|why| format!("{field}: {why}"))?)
    } else {
        return Err(format!(
            "{field}: a secret is given by reference, not literally: write env:NAME (or file:PATH, systemd:NAME, op://…, age:PATH#FIELD)"
        ));
    };
    if value.is_empty() { Err(format!("{field}: the secret behind its reference is empty")) } else { Ok(value) }
}

fn read(field: &str, path: &Path) -> Result<Zeroizing<String>, String> {
    let failed = |e: std::io::Error| format!("{field}: {} cannot be read: {e}", path.display());
    let file = std::fs::File::open(path).map_err(failed)?;
    // Room at once: a growing text would leave copies behind.
    let room = file.metadata().map_or(0, |m| m.len()).min(LONGEST);
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(room).unwrap_or(0) + 1));
    file.take(LONGEST).read_to_string(&mut text).map_err(failed)?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_is_refused_without_being_repeated() {
        let e = resolve("vendors.alpaca.key", "PKABCDEF123").unwrap_err();
        assert!(e.contains("env:NAME") && !e.contains("PKABCDEF123"), "{e}");
    }

    #[test]
    fn a_missing_variable_and_a_missing_file_are_named() {
        assert!(resolve("x", "env:DATANODE_NO_SUCH_VARIABLE").unwrap_err().contains("DATANODE_NO_SUCH_VARIABLE"));
        assert!(resolve("x", "file:/no/such/file").unwrap_err().contains("/no/such/file"));
    }

    #[test]
    fn a_file_is_read_and_trimmed() {
        let f = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(f.path(), "s3cret\n").unwrap();
        assert_eq!(*resolve("x", &format!("file:{}", f.path().display())).unwrap(), "s3cret");
    }
}
