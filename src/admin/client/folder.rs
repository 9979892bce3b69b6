//! Which data folder is meant.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The configuration that counts where none is named.
const CONFIG: &str = "datanode.toml";
/// The data folder that counts where nothing says another.
const DEFAULT: &str = "data";

/// The configuration does not say where the data folder is.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be read.
    #[error("{file} cannot be read: {cause}; name another with --config, or the folder itself with --data-dir")]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// It says something else.
    #[error("{file}: {problem}; correct it, or name the folder itself with --data-dir")]
    Invalid {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// The folder: `flag`, else `env` ($DATANODE__DATA_DIR), else `data_dir` of the configuration (relative to that file),
/// else `./data`.
///
/// # Errors
/// [`FolderError`], where the configuration is needed and cannot be used.
pub fn data_dir(flag: Option<&Path>, env: Option<OsString>, config: Option<&Path>) -> Result<PathBuf, FolderError> {
    if let Some(f) = flag {
        return Ok(f.to_owned());
    }
    if let Some(e) = env.filter(|e| !e.is_empty()) {
        return Ok(e.into());
    }
    let file = config.unwrap_or(Path::new(CONFIG));
    let text = match std::fs::read_to_string(file) {
        Ok(t) => t,
        Err(e) if config.is_none() && e.kind() == std::io::ErrorKind::NotFound => return Ok(DEFAULT.into()),
        Err(cause) => return Err(FolderError::Read { file: file.to_owned(), cause }),
    };
    let invalid = |problem: String| FolderError::Invalid { file: file.to_owned(), problem };
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| invalid(e.to_string()))?;
    let named = match table.get("data_dir") {
        None => DEFAULT,
        Some(toml::Value::String(s)) => s,
        Some(_) => return Err(invalid("data_dir is not a string".to_owned())),
    };
    Ok(file.parent().unwrap_or(Path::new("")).join(named))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_over_the_environment_and_that_over_the_configuration() {
        let tmp = tempfile::tempdir().unwrap();
        let file = tmp.path().join("datanode.toml");
        std::fs::write(&file, "data_dir = \"there\"\n[other]\nx = 1\n").unwrap();
        let found = |flag: Option<&str>, env: Option<&str>| {
            data_dir(flag.map(Path::new), env.map(Into::into), Some(&file)).unwrap()
        };
        assert_eq!(found(Some("/flag"), Some("/env")), Path::new("/flag"));
        assert_eq!(found(None, Some("/env")), Path::new("/env"));
        assert_eq!(found(None, Some("")), tmp.path().join("there"));
        std::fs::write(&file, "").unwrap();
        assert_eq!(found(None, None), tmp.path().join("data"));
    }

    #[test]
    fn a_configuration_that_cannot_be_used_is_named() {
        let tmp = tempfile::tempdir().unwrap();
        let file = tmp.path().join("x.toml");
        let refused = || data_dir(None, None, Some(&file)).unwrap_err().to_string();
        assert!(refused().contains("x.toml cannot be read"));
        for text in ["data_dir = 5", "data_dir ="] {
            std::fs::write(&file, text).unwrap();
            assert!(refused().contains("--data-dir"), "{}", refused());
        }
    }
}
