//! Secrets are references, resolved in memory at start, never written and never logged.

use std::path::Path;
use std::process::Command;
use zeroize::Zeroizing;

/// Resolves `env:NAME`, `file:PATH`, `systemd:NAME` or `op://vault/item/field`; an empty reference is no secret.
///
/// # Errors
/// What is wrong, without the secret.
pub fn resolve(field: &str, reference: &str) -> Result<Zeroizing<String>, String> {
    let trimmed = |s: String| Zeroizing::new(s.trim().to_owned());
    let value = if reference.is_empty() {
        return Ok(Zeroizing::new(String::new()));
    } else if let Some(name) = reference.strip_prefix("env:") {
        std::env::var(name).map(trimmed).map_err(|_| {
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
        let out = Command::new("op")
            .args(["read", "--no-newline", reference])
            .output()
            .map_err(|e| format!("{field}: the program `op` cannot be started ({e}); install it or use env:NAME"))?;
        if !out.status.success() {
            return Err(format!("{field}: `op read` did not give it; sign in with `op signin`"));
        }
        trimmed(String::from_utf8(out.stdout).map_err(|_| format!("{field}: `op read` gave no text"))?)
    } else {
        return Err(format!(
            "{field}: a secret is given by reference, not literally: write env:NAME (or file:PATH, systemd:NAME, op://…)"
        ));
    };
    if value.is_empty() { Err(format!("{field}: the secret behind its reference is empty")) } else { Ok(value) }
}

fn read(field: &str, path: &Path) -> Result<Zeroizing<String>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{field}: {} cannot be read: {e}", path.display()))?;
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
