//! One object: streamed to a file with its hash computed on the way, never longer than it may be, taken up again where it broke off.

use super::PullError;
use crate::objects::{Bucket, Fault, ObjectError};
use bytes::Bytes;
use futures_util::StreamExt;
use object_store::{GetOptions, GetRange};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How often one object is asked for when it breaks off without having brought anything.
const ATTEMPTS: u32 = 4;
/// How often one object is asked for at all.
const AT_ALL: u32 = 32;

/// Bytes that came over the wire.
#[derive(Clone, Debug, Default)]
pub struct Counted(Arc<AtomicU64>);

impl Counted {
    /// So many more.
    fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Ordering::Relaxed);
    }

    /// All so far.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// An object of at most `most` bytes, whole; None where there is none.
    ///
    /// # Errors
    /// 4: it is longer; the bucket's.
    pub async fn small(&self, bucket: &Bucket, name: &str, most: u64) -> Result<Option<Bytes>, PullError> {
        let mut attempt = 1;
        loop {
            match bucket.read(name, most).await {
                Ok(found) => {
                    self.add(found.as_ref().map_or(0, Bytes::len));
                    return Ok(found);
                }
                Err(e) if e.fault == Fault::Usage => return Err(PullError::contract(e.bare())),
                Err(e) if e.fault == Fault::Unavailable && attempt < ATTEMPTS && broke_off(&e) => attempt += 1,
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// Whether a body ended before its length: asked for again at once. What the server refuses was asked for again by the store already.
fn broke_off(e: &ObjectError) -> bool {
    let text = e.bare();
    ["end of file", "closed before", "decoding", "reset", "incomplete", "body"].iter().any(|w| text.contains(w))
}

/// What an object must be.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its name in the bucket.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Hex SHA-256; None where something else vouches for it.
    pub sha256: Option<String>,
}

/// Streams an object into `file`, which is empty. `path` is for messages.
///
/// # Errors
/// 3: it is missing, of another length, or other bytes; 1: it breaks off again and again, or the disk does not take it.
pub async fn to_file(
    bucket: &Bucket,
    object: &Object,
    file: File,
    path: &Path,
    counted: &Counted,
) -> Result<(), PullError> {
    let mut taken = Taken { file, hash: Sha256::new(), bytes: 0, etag: None };
    let (mut attempt, mut all) = (1, 1);
    loop {
        let before = taken.bytes;
        let what = format!("get {}", object.name);
        let step = bucket.in_time(&what, object.bytes, taken.go_on(bucket, object, path, counted)).await;
        match step.map_err(PullError::from)? {
            Ok(()) => break,
            Err(Broken::For(e)) => return Err(e),
            Err(Broken::Off(e)) => {
                // As long as something comes, it is worth going on.
                attempt = if taken.bytes > before { 1 } else { attempt + 1 };
                all += 1;
                if attempt > ATTEMPTS || all > AT_ALL {
                    return Err(e);
                }
            }
        }
    }
    let found = hex::encode(taken.hash.finalize());
    match &object.sha256 {
        Some(sum) if *sum != found => Err(PullError::integrity(format!(
            "{}: {}: its SHA-256 is {found} and not the {sum} of the manifest; the bucket's copy was altered: pull another pack and report it",
            bucket.url, object.name
        ))),
        _ => Ok(()),
    }
}

/// A transfer that did not come to its end.
enum Broken {
    /// It can be tried again.
    Off(PullError),
    /// It cannot.
    For(PullError),
}

struct Taken {
    file: File,
    hash: Sha256,
    bytes: u64,
    etag: Option<String>,
}

impl Taken {
    async fn go_on(&mut self, bucket: &Bucket, object: &Object, path: &Path, counted: &Counted) -> Result<(), Broken> {
        if self.bytes == object.bytes && self.bytes > 0 {
            return Ok(());
        }
        let lies = |what: String| Broken::For(PullError::integrity(format!("{}: {}: {what}", bucket.url, object.name)));
        let mut options = GetOptions::default();
        if self.bytes > 0 && self.etag.is_some() {
            options.range = Some(GetRange::Offset(self.bytes));
            options.if_match.clone_from(&self.etag);
        } else {
            self.begin_again(path)?;
        }
        let got = match bucket.get(&object.name, options).await {
            Ok(got) => got,
            Err(e) => {
                let e = ObjectError::of(&bucket.url, format!("get {}", object.name), &e);
                let again = self.bytes > 0 && matches!(e.fault, Fault::Unsupported | Fault::Exists | Fault::Usage);
                if again {
                    // The server gives no part of it, or it is another object now: from the beginning, once more.
                    self.begin_again(path)?;
                    return Err(Broken::Off(e.into()));
                }
                return Err(match e.fault {
                    Fault::NotFound => {
                        lies("the manifest names it, and it is not there; the pack is not whole".to_owned())
                    }
                    // The store has asked again itself already.
                    _ => Broken::For(e.into()),
                });
            }
        };
        if got.meta.size != object.bytes {
            return Err(lies(format!("it has {} bytes where the manifest says {}", got.meta.size, object.bytes)));
        }
        if got.range.start != self.bytes {
            self.begin_again(path)?;
            return Err(Broken::Off(PullError::failed(format!(
                "{}: {}: another part came than was asked for",
                bucket.url, object.name
            ))));
        }
        self.etag = got.meta.e_tag.clone();
        let mut stream = got.into_stream();
        while let Some(next) = stream.next().await {
            let part = next.map_err(|e| {
                Broken::Off(
                    ObjectError::of(&bucket.url, format!("get {}: broke off at byte {}", object.name, self.bytes), &e)
                        .into(),
                )
            })?;
            counted.add(part.len());
            if self.bytes.saturating_add(part.len() as u64) > object.bytes {
                return Err(lies(format!("more than the {} bytes of the manifest came", object.bytes)));
            }
            self.file.write_all(&part).map_err(|e| Broken::For(PullError::io("write", path, e)))?;
            self.hash.update(&part);
            self.bytes = self.bytes.saturating_add(part.len() as u64);
        }
        if self.bytes < object.bytes {
            let what = format!("ended after {} of {} bytes", self.bytes, object.bytes);
            return Err(Broken::Off(PullError::failed(format!(
                "{}: {}: {what}; pull again later",
                bucket.url, object.name
            ))));
        }
        Ok(())
    }

    fn begin_again(&mut self, path: &Path) -> Result<(), Broken> {
        if self.bytes > 0 {
            let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
            emptied.map_err(|e| Broken::For(PullError::io("empty", path, e)))?;
        }
        (self.hash, self.bytes, self.etag) = (Sha256::new(), 0, None);
        Ok(())
    }
}
