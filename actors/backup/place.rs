//! A folder or bucket, used from a thread that may wait. Every request ends in time.

use super::BackupError;
use crate::objects::{Access, Bucket, BucketKind, ObjectError};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path as Key;
use object_store::{Error as Store, GetOptions, MultipartUpload, ObjectStoreExt, PutMode, PutOptions};
use sha2::{Digest, Sha256};
use std::future::Future;
use std::io::{self, Read, Write};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// A request may take so long, seconds, and longer by what it carries.
const SILENCE: u64 = 60;
/// Bytes a second below which a place counts as dead.
const SLOWEST: u64 = 64 << 10;
/// Bytes of a part of a large object; what is shorter goes in one request, which creates or fails.
const PIECE: usize = 8 << 20;
/// Objects of one generation.
const MOST_OBJECTS: usize = 64;

/// An open place.
pub struct Place {
    bucket: Bucket,
    runtime: Runtime,
}

impl Place {
    /// Opens it. A folder must be there: one that is made where a disk should be mounted is no other place.
    ///
    /// # Errors
    /// It is no URL, or there is no such folder.
    pub fn open(access: &Access) -> Result<Self, BackupError> {
        let bucket = access.open_to_send()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|e| BackupError::Usage(format!("no runtime: {e}; try again")))?;
        Ok(Self { bucket, runtime })
    }

    /// As it is configured; it holds no secret.
    pub fn url(&self) -> &str {
        &self.bucket.url
    }

    fn wait<T>(
        &self,
        what: &str,
        bytes: u64,
        op: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, ObjectError> {
        let seconds = SILENCE + bytes / SLOWEST;
        let limited = async { tokio::time::timeout(Duration::from_secs(seconds), op).await };
        match self.runtime.block_on(limited) {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(e)) => Err(ObjectError::of(&self.bucket.url, what, &e)),
            Err(_) => Err(ObjectError::silent(&self.bucket.url, what, seconds)),
        }
    }

    /// The folders right below it.
    ///
    /// # Errors
    /// The place's.
    pub fn folders(&self) -> Result<Vec<String>, BackupError> {
        let op = async { tokio::time::timeout(Duration::from_secs(SILENCE * 5), self.bucket.folders("")).await };
        match self.runtime.block_on(op) {
            Ok(found) => Ok(found?),
            Err(_) => Err(ObjectError::silent(&self.bucket.url, "list", SILENCE * 5).into()),
        }
    }

    /// A small object, whole; None where there is none.
    ///
    /// # Errors
    /// The place's, or it is longer than `most`.
    pub fn small(&self, name: &str, most: u64) -> Result<Option<Bytes>, BackupError> {
        let op = async { tokio::time::timeout(Duration::from_secs(SILENCE), self.bucket.read(name, most)).await };
        match self.runtime.block_on(op) {
            Ok(read) => Ok(read?),
            Err(_) => Err(ObjectError::silent(&self.bucket.url, format!("get {name}"), SILENCE).into()),
        }
    }

    /// Creates a small object; false where there is one.
    ///
    /// # Errors
    /// The place's.
    pub fn create(&self, name: &str, body: Bytes) -> Result<bool, BackupError> {
        let (key, bytes) = (self.bucket.key(name), body.len() as u64);
        let put = async {
            match self.bucket.store.put_opts(&key, body.into(), PutOptions::from(PutMode::Create)).await {
                Ok(_) => Ok(true),
                Err(Store::AlreadyExists { .. } | Store::Precondition { .. }) => Ok(false),
                Err(e) => Err(e),
            }
        };
        Ok(self.wait(&format!("put {name}"), bytes, put)?)
    }

    /// Begins an object of any length.
    pub fn upload(&self, name: &str) -> Upload<'_> {
        Upload {
            place: self,
            name: name.to_owned(),
            buffer: Vec::new(),
            parts: None,
            on_its_way: None,
            sum: Sha256::new(),
            bytes: 0,
        }
    }

    /// Reads an object of at most `most` bytes from its beginning.
    ///
    /// # Errors
    /// There is none; the place's.
    pub fn download(&self, name: &str, most: u64) -> Result<Download<'_>, BackupError> {
        let got = self.wait(&format!("get {name}"), 0, self.bucket.get(name, GetOptions::default()))?;
        if got.meta.size != most {
            let why = format!("it has {} bytes, and should have {most}", got.meta.size);
            return Err(BackupError::damaged(format!("{}/{name}", self.bucket.url), why));
        }
        Ok(Download { place: self, name: name.to_owned(), stream: got.into_stream(), piece: Bytes::new() })
    }

    /// The objects below a folder, by whole key.
    fn below(&self, folder: &str) -> Result<Vec<Key>, BackupError> {
        let key = self.bucket.key(folder);
        let listing = async {
            let mut out = Vec::new();
            let mut all = self.bucket.store.list(Some(&key));
            while let Some(found) = all.next().await {
                out.push(found?.location);
                if out.len() > MOST_OBJECTS {
                    return Err(Store::NotSupported { source: "more objects than a backup has".into() });
                }
            }
            Ok(out)
        };
        Ok(self.wait(&format!("list {folder}"), 0, listing)?)
    }

    /// Removes a generation: `first` before all else, so that nobody takes what is left for whole.
    ///
    /// # Errors
    /// The place's.
    pub fn remove(&self, folder: &str, first: &str) -> Result<(), BackupError> {
        let mut keys = self.below(folder)?;
        let head = self.bucket.key(&format!("{folder}/{first}"));
        keys.sort_by_key(|k| *k != head);
        for key in keys {
            let gone = async {
                match self.bucket.store.delete(&key).await {
                    Err(Store::NotFound { .. }) => Ok(()),
                    done => done,
                }
            };
            self.wait(&format!("remove {key}"), 0, gone)?;
        }
        if self.bucket.kind == BucketKind::Folder
            && let Ok(path) = (Access { url: self.bucket.url.clone(), ..Access::default() }).folder_path()
        {
            // Empty now; where something else was put into it, it stays.
            let _ = std::fs::remove_dir(path.join(folder));
        }
        Ok(())
    }
}

/// An object on its way: one part travels while the next is made.
pub struct Upload<'a> {
    place: &'a Place,
    name: String,
    buffer: Vec<u8>,
    parts: Option<Box<dyn MultipartUpload>>,
    on_its_way: Option<JoinHandle<object_store::Result<()>>>,
    sum: Sha256,
    bytes: u64,
}

impl Upload<'_> {
    fn what(&self) -> String {
        format!("put {}", self.name)
    }

    fn send(&mut self) -> Result<(), ObjectError> {
        let body = Bytes::from(std::mem::take(&mut self.buffer));
        if self.parts.is_none() {
            let key = self.place.bucket.key(&self.name);
            let begun = self.place.wait(&self.what(), 0, self.place.bucket.store.put_multipart(&key))?;
            self.parts = Some(begun);
        }
        self.arrived()?;
        let Some(parts) = &mut self.parts else { return Ok(()) };
        let part = parts.put_part(body.into());
        self.on_its_way = Some(self.place.runtime.spawn(part));
        Ok(())
    }

    fn arrived(&mut self) -> Result<(), ObjectError> {
        let Some(part) = self.on_its_way.take() else { return Ok(()) };
        let joined = async { part.await.map_err(|e| Store::Generic { store: "upload", source: e.into() })? };
        self.place.wait(&self.what(), PIECE as u64, joined)
    }

    /// Ends it; hex SHA-256 and length of what was sent.
    ///
    /// # Errors
    /// The place's; then nothing of that name is there.
    pub fn finish(mut self) -> Result<(String, u64), BackupError> {
        let done = match self.parts {
            None => {
                let body = Bytes::from(std::mem::take(&mut self.buffer));
                match self.place.create(&self.name, body) {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(self.is_there()),
                    Err(e) => Err(e),
                }
            }
            Some(_) => self.complete(),
        };
        if done.is_err() {
            self.abort();
        }
        done?;
        Ok((hex::encode(std::mem::take(&mut self.sum).finalize()), self.bytes))
    }

    fn complete(&mut self) -> Result<(), BackupError> {
        if !self.buffer.is_empty() {
            self.send()?;
        }
        self.arrived()?;
        let key = self.place.bucket.key(&self.name);
        let look = async {
            match self.place.bucket.store.head(&key).await {
                Ok(_) => Ok(true),
                Err(Store::NotFound { .. }) => Ok(false),
                Err(e) => Err(e),
            }
        };
        if self.place.wait(&self.what(), 0, look)? {
            return Err(self.is_there());
        }
        let what = self.what();
        let Some(parts) = &mut self.parts else { return Ok(()) };
        self.place.wait(&what, self.bytes, parts.complete())?;
        self.parts = None;
        Ok(())
    }

    fn is_there(&self) -> BackupError {
        let url = &self.place.bucket.url;
        BackupError::Usage(format!(
            "{url}/{}: it is there already, and is never overwritten; try again in a second",
            self.name
        ))
    }

    /// What was sent of it takes space until it is aborted.
    fn abort(&mut self) {
        if let Some(part) = self.on_its_way.take() {
            part.abort();
        }
        let what = self.what();
        if let Some(mut parts) = self.parts.take()
            && let Err(e) = self.place.wait(&what, 0, parts.abort())
        {
            tracing::debug!(error = %e, "an upload was not aborted");
        }
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        self.abort();
    }
}

impl Write for Upload<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() >= PIECE {
            self.send().map_err(io::Error::other)?;
        }
        if self.buffer.capacity() == 0 {
            self.buffer.reserve(PIECE);
        }
        let n = bytes.len().min(PIECE.saturating_sub(self.buffer.len()));
        let some = bytes.get(..n).unwrap_or_default();
        self.buffer.extend_from_slice(some);
        self.sum.update(some);
        self.bytes += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An object that is read.
pub struct Download<'a> {
    place: &'a Place,
    name: String,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Download<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let next = async { self.stream.next().await.transpose() };
            match self.place.wait(&format!("get {}", self.name), 0, next).map_err(io::Error::other)? {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let n = out.len().min(self.piece.len());
        let some = self.piece.split_to(n);
        for (to, from) in out.iter_mut().zip(some.iter()) {
            *to = *from;
        }
        Ok(n)
    }
}
