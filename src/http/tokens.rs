//! Bearer tokens: made once, kept as hashes, read anew for every request so that a revoked one ends at once.

use chrono::{DateTime, Utc};
use datanode_schema::files::{replace, sha256_of};
use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use rand::TryRngCore;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// May list and read packs.
pub const PACKS_READ: &str = "packs:read";
/// May read `/metrics` from another machine.
pub const METRICS_READ: &str = "metrics:read";
/// May read what is public of sealings, and the anchor log.
pub const PROOFS_READ: &str = "proofs:read";
/// Every scope.
pub const SCOPES: [&str; 3] = [PACKS_READ, METRICS_READ, PROOFS_READ];
/// The longest file of tokens that is read, bytes.
const MAX_FILE: u64 = 1 << 20;
/// What a token begins with, so that a leaked one is recognised.
const PREFIX: &str = "dnt_";

/// One token, without itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// What it is called.
    pub name: String,
    /// What it may do: scopes with commas between.
    pub scope: String,
    /// Hex SHA-256 of it.
    pub sha256: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// From when on it is void; None: never.
    pub expires_at: Option<DateTime<Utc>>,
}

/// What a presented token may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// What was asked; the token's name.
    Granted(String),
    /// Other things.
    OtherScope,
    /// Nothing: there is none, it is unknown, revoked or void.
    Unknown,
}

/// The tokens of a node.
#[derive(Clone, Debug)]
pub struct Tokens(PathBuf);

impl Tokens {
    /// Of this data folder.
    pub fn new(data_dir: &Path) -> Self {
        Self(data_dir.join("keys/tokens.json"))
    }

    /// All of them; none where there is no file.
    ///
    /// # Errors
    /// It cannot be read, or was not written by us.
    pub fn read(&self) -> Result<Vec<Token>, String> {
        let bad = |why: String| format!("{}: {why}; make new tokens with `datanode token new`", self.0.display());
        let file = match File::open(&self.0) {
            Ok(f) => f,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(bad(e.to_string())),
        };
        let mut text = Vec::new();
        file.take(MAX_FILE).read_to_end(&mut text).map_err(|e| bad(e.to_string()))?;
        serde_json::from_slice(&text).map_err(|e| bad(e.to_string()))
    }

    /// Makes a token and gives it, this once.
    ///
    /// # Errors
    /// One of that name is there, or the file cannot be written.
    pub fn add(&self, name: &str, scope: &str, now: DateTime<Utc>, days: Option<u32>) -> Result<String, String> {
        let _turn = self.turn()?;
        let mut all = self.read()?;
        if all.iter().any(|t| t.name == name) {
            return Err(format!("there is a token {name:?} already; `datanode token revoke {name}` ends it"));
        }
        let mut random = [0u8; 32];
        rand::rngs::OsRng.try_fill_bytes(&mut random).map_err(|e| format!("no random numbers: {e}"))?;
        let token = format!("{PREFIX}{}", hex::encode(random));
        all.push(Token {
            name: name.to_owned(),
            scope: scope.to_owned(),
            sha256: hex::encode(sha256_of(token.as_bytes())),
            created_at: now,
            expires_at: days.map(|d| now + chrono::Duration::days(d.into())),
        });
        self.write(&all)?;
        Ok(token)
    }

    /// Ends a token; false where there is none of that name.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn revoke(&self, name: &str) -> Result<bool, String> {
        let _turn = self.turn()?;
        let mut all = self.read()?;
        let before = all.len();
        all.retain(|t| t.name != name);
        if all.len() < before {
            self.write(&all)?;
        }
        Ok(all.len() < before)
    }

    /// What `presented` may do of `scope` (None: anything). Hashes are compared, in a time that does not depend on where they differ.
    pub fn ask(&self, presented: &str, scope: Option<&str>, now: DateTime<Utc>) -> Said {
        let all = match self.read() {
            Ok(a) => a,
            Err(e) => {
                tracing::error!("{e}");
                return Said::Unknown;
            }
        };
        let hash = sha256_of(presented.as_bytes());
        let mut said = Said::Unknown;
        for t in &all {
            let mut kept = [0u8; 32];
            let known = hex::decode_to_slice(&t.sha256, &mut kept).is_ok() && same(&kept, &hash);
            if known && t.expires_at.is_none_or(|e| now < e) {
                let may = scope.is_none_or(|s| t.scope.split(',').any(|t| t == s));
                said = if may { Said::Granted(t.name.clone()) } else { Said::OtherScope };
            }
        }
        said
    }

    /// One change at a time, over processes.
    fn turn(&self) -> Result<File, String> {
        let keys = self.0.parent().unwrap_or(Path::new("."));
        let bad = |e: std::io::Error| format!("{}: {e}; check data_dir", keys.display());
        let owner = self.owner().map_err(bad)?;
        let made = std::fs::DirBuilder::new().mode(0o700).create(keys);
        made.or_else(|e| if e.kind() == std::io::ErrorKind::AlreadyExists { Ok(()) } else { Err(e) }).map_err(bad)?;
        if owner.is_some() {
            // Who owns the data folder could lead root elsewhere by a symlink in the place of keys/.
            let flags = (OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY).bits();
            let folder = File::options().read(true).custom_flags(flags).open(keys).map_err(bad)?;
            give(&folder, owner).map_err(bad)?;
        }
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
            .open(keys.join(".tokens.lock"))
            .map_err(bad)?;
        give(&lock, owner).map_err(bad)?;
        lock.lock().map_err(bad)?;
        Ok(lock)
    }

    fn write(&self, all: &[Token]) -> Result<(), String> {
        let bad = |e: std::io::Error| format!("{}: {e}; check permissions and the disk", self.0.display());
        let text = serde_json::to_vec_pretty(all).map_err(|e| e.to_string())?;
        replace(&self.0, &text).map_err(bad)?;
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
        let file = File::options().read(true).custom_flags(flags).open(&self.0).map_err(bad)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(bad)?;
        give(&file, self.owner().map_err(bad)?).map_err(bad)
    }

    /// Whose the data folder is, and so the node, where root makes tokens for somebody else.
    fn owner(&self) -> std::io::Result<Option<(u32, u32)>> {
        let data = self.0.parent().and_then(Path::parent).unwrap_or(Path::new("."));
        let meta = std::fs::metadata(data)?;
        Ok((geteuid().is_root() && meta.uid() != 0).then(|| (meta.uid(), meta.gid())))
    }
}

/// Gives an open file or folder of root's to the owner of the data folder. A file with a second name may be one of another place.
fn give(file: &File, owner: Option<(u32, u32)>) -> std::io::Result<()> {
    let (Some((user, group)), meta) = (owner, file.metadata()?) else { return Ok(()) };
    if meta.uid() == user || !(meta.is_dir() || meta.is_file() && meta.nlink() == 1) {
        return Ok(());
    }
    fchown(file, Some(user), Some(group))
}

fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    std::hint::black_box(a.iter().zip(b).fold(0u8, |acc, (x, y)| acc | (x ^ y))) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_grants_its_scope_until_it_is_void_or_revoked_and_the_file_does_not_hold_it() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::new(dir.path());
        let now: DateTime<Utc> = "2026-03-01T00:00:00Z".parse().unwrap();
        let box_ = tokens.add("box", PACKS_READ, now, Some(1)).unwrap();
        let graphs = tokens.add("graphs", METRICS_READ, now, None).unwrap();
        let both = tokens.add("both", "packs:read,proofs:read", now, None).unwrap();
        assert!(tokens.add("box", PACKS_READ, now, None).is_err());
        let ask = |t: &str, at: DateTime<Utc>| tokens.ask(t, Some(PACKS_READ), at);
        assert_eq!((ask(&box_, now), ask(&graphs, now)), (Said::Granted("box".into()), Said::OtherScope));
        assert_eq!(ask(&both, now), Said::Granted("both".into()));
        assert_eq!(tokens.ask(&both, Some(PROOFS_READ), now), Said::Granted("both".into()));
        assert_eq!(tokens.ask(&both, Some("packs"), now), Said::OtherScope);
        assert_eq!(tokens.ask(&box_, Some(PROOFS_READ), now), Said::OtherScope);
        assert_eq!(ask(&box_, now + chrono::Duration::days(1)), Said::Unknown);
        assert_eq!((ask("", now), ask(&box_[..20], now)), (Said::Unknown, Said::Unknown));
        let file = dir.path().join("keys/tokens.json");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains(&box_) && text.contains("box"));
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(tokens.revoke("box").unwrap() && !tokens.revoke("box").unwrap());
        assert_eq!(ask(&box_, now), Said::Unknown);
        std::fs::write(&file, "[{]").unwrap();
        assert_eq!(ask(&graphs, now), Said::Unknown);
    }
}
