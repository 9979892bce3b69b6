//! Other copies of what a vault holds: a replica of it, or sealings as they were shipped. Whatever comes from there is believed only once
//! it was compared with its hash, or with what vouches for it.

use crate::objects::{Access, Bucket, ObjectError};
use crate::seal::PackUid;
use tokio::runtime::Runtime;

/// A place that may have a copy.
pub trait Copies {
    /// What it is called in the log of repairs.
    fn name(&self) -> String;

    /// The file of this name (below a vault) of this sealing, of at most `most` bytes; None where it has none.
    ///
    /// # Errors
    /// Why it cannot be had.
    fn fetch(&self, uid: &PackUid, name: &str, most: u64) -> Result<Option<Vec<u8>>, String>;
}

/// A folder or bucket: a replica (`chunks/…` right below), a destination (`sealed/<source>/<uid>/chunks/…`), or one source's sealings there.
pub struct Remote {
    bucket: Bucket,
    runtime: Runtime,
    /// What may stand before the sealing's folder.
    sources: Vec<String>,
}

impl Remote {
    /// Opens it for reading, and looks which sources it has.
    ///
    /// # Errors
    /// It cannot be opened, or does not answer.
    pub fn open(access: &Access) -> Result<Self, ObjectError> {
        let bucket = access.open()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| ObjectError::usage(&access.url, "open", format!("no runtime: {e}")))?;
        let sources = runtime.block_on(bucket.folders("sealed"))?;
        let sources = sources.into_iter().map(|s| format!("sealed/{s}/")).chain([String::new()]).collect();
        Ok(Self { bucket, runtime, sources })
    }
}

impl Copies for Remote {
    fn name(&self) -> String {
        self.bucket.url.clone()
    }

    fn fetch(&self, uid: &PackUid, name: &str, most: u64) -> Result<Option<Vec<u8>>, String> {
        let uid = hex::encode(uid);
        let shipped = self.sources.iter().map(|s| format!("{s}{uid}/{name}"));
        for at in std::iter::once(name.to_owned()).chain(shipped) {
            if let Some(bytes) = self.runtime.block_on(self.bucket.read(&at, most)).map_err(|e| e.to_string())? {
                return Ok(Some(bytes.to_vec()));
            }
        }
        Ok(None)
    }
}
