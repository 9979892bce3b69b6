//! A destination, open: what can be done to it, each with an end in time and within the memory and bandwidth that it has.

use super::ShipError;
use super::folder::Folder;
use super::pace::Pace;
use super::sum::{Item, Sum};
use crate::export::MAX_FILES;
use crate::node::Node;
use crate::objects::{Bucket, BucketKind, ObjectError};
use crate::publishing::Destination;
use bytes::Bytes;
use datanode_schema::clock::Clock;
use futures_util::StreamExt;
use object_store::path::Path as Key;
use object_store::{Error as Store, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A request may take so long, and longer by what it carries.
const SILENCE: u64 = 60;
/// Bytes a second below which a destination counts as dead.
const SLOWEST: u64 = 64 << 10;
/// Longer objects go in parts.
pub const SINGLE: u64 = 64 << 20;
/// Bytes of a part.
pub const PART: u64 = 8 << 20;
/// Parts of one object under way at once.
const PARTS: usize = 4;
/// Objects of others that a listing may hold.
const SPARE: usize = 1000;
/// Milliseconds after which a wait looks whether it is to go on.
const SLICE_MS: u64 = 1000;
/// Memory is counted in pieces of so many bytes.
const PIECE: u64 = 64 << 10;

/// What creating an object came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Made {
    /// It is new; its e-tag, where the store tells.
    New(String),
    /// There was one.
    There,
}

/// An object as a listing or a look shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its length.
    pub bytes: u64,
    /// Without quotes; empty where the store does not tell.
    pub e_tag: String,
}

/// An open destination.
#[derive(Debug)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub bucket: Bucket,
    /// Objects under way at once.
    pub parallel: usize,
    folder: Option<Folder>,
    pace: Mutex<Pace>,
    clock: Clock,
    /// Set when the process is asked to stop.
    stop: Arc<AtomicBool>,
    /// Memory that is free for bodies, in pieces.
    room: Arc<Semaphore>,
    single: u64,
}

fn tag(e_tag: Option<String>) -> String {
    e_tag.map(|t| t.trim_matches('"').to_owned()).unwrap_or_default()
}

impl Target {
    /// Opens it; at most `memory` bytes of bodies are held at once.
    pub fn open(d: &Destination, clock: &Clock, memory: u64) -> Result<Self, ShipError> {
        let bucket = d.access.open_to_send()?;
        let folder = match bucket.kind {
            BucketKind::Folder => Some(Folder::open(&d.access.folder_path()?)),
            _ => None,
        };
        Ok(Self {
            name: d.name.clone(),
            bucket,
            parallel: d.parallel.max(1),
            folder,
            pace: Mutex::new(Pace::new(d.bytes_per_second)),
            clock: clock.clone(),
            stop: Arc::default(),
            room: Arc::new(Semaphore::new(usize::try_from(memory / PIECE).unwrap_or(1).max(1))),
            single: SINGLE.min(memory),
        })
    }

    /// For a node: its stop is heard, and what it leaves half written is its own.
    pub fn of(mut self, node: &Node) -> Self {
        self.stop = node.stop_flag();
        // The log's key, which stays while the node's own is rotated.
        let me = node.publishing.anchor.key.public();
        let own = datanode_schema::files::sha256_hex(format!("{me}/{}", self.name).as_bytes());
        self.folder = self.folder.map(|f| f.with_temps(&own));
        self
    }

    /// The folder that it is, where it is one.
    pub fn folder(&self) -> Option<&Folder> {
        self.folder.as_ref()
    }

    /// An operation that carries `bytes`, given up in time.
    pub async fn timed<T>(
        &self,
        what: &str,
        bytes: u64,
        op: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, ObjectError> {
        let seconds = SILENCE + bytes / SLOWEST;
        match tokio::time::timeout(Duration::from_secs(seconds), op).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(e)) => Err(ObjectError::of(&self.bucket.url, what, &e)),
            Err(_) => Err(ObjectError::silent(&self.bucket.url, what, seconds)),
        }
    }

    /// Every object below `prefix`, where `wanted` are to be; many more are given up.
    pub async fn list(&self, prefix: &str, wanted: usize) -> Result<BTreeMap<Key, Seen>, ShipError> {
        let (key, what) = (self.bucket.key(prefix), format!("list {prefix}"));
        let mut all = BTreeMap::new();
        let mut listing = self.bucket.store.list(Some(&key));
        let next = async |l: &mut futures_util::stream::BoxStream<'static, _>| Ok(l.next().await);
        while let Some(meta) = self.timed(&what, 0, next(&mut listing)).await? {
            let meta: object_store::ObjectMeta = meta.map_err(|e| ObjectError::of(&self.bucket.url, &what, &e))?;
            if all.len() >= wanted.max(MAX_FILES) + SPARE {
                let why = format!("more than {} objects where {wanted} are to be", all.len());
                return Err(ObjectError::usage(&self.bucket.url, what, why).into());
            }
            all.insert(meta.location, Seen { bytes: meta.size, e_tag: tag(meta.e_tag) });
        }
        Ok(all)
    }

    /// One object as it stands; None where there is none.
    pub async fn look(&self, name: &str) -> Result<Option<Seen>, ShipError> {
        let key = self.bucket.key(name);
        let op = async {
            match self.bucket.store.head(&key).await {
                Ok(m) => Ok(Some(Seen { bytes: m.size, e_tag: tag(m.e_tag) })),
                Err(Store::NotFound { .. }) => Ok(None),
                Err(e) => Err(e),
            }
        };
        Ok(self.timed(&format!("look at {name}"), 0, op).await?)
    }

    /// Reads an object back: its length and sum of the kind of `like`, and its e-tag; None where there is none. What is
    /// longer than `most` is another object already, and is not read to its end.
    pub async fn read_back(&self, name: &str, like: Sum, most: u64) -> Result<Option<([u8; 32], Seen)>, ShipError> {
        let (key, what) = (self.bucket.key(name), format!("read back {name}"));
        let op = async {
            match self.bucket.store.get(&key).await {
                Ok(got) => Ok(Some(got)),
                Err(Store::NotFound { .. }) => Ok(None),
                Err(e) => Err(e),
            }
        };
        let Some(got) = self.timed(&what, 0, op).await? else { return Ok(None) };
        let e_tag = tag(got.meta.e_tag.clone());
        let (mut stream, mut h, mut bytes) = (got.into_stream(), like.hasher(), 0u64);
        let next = async |s: &mut futures_util::stream::BoxStream<'static, _>| Ok(s.next().await);
        while let Some(piece) = self.timed(&what, 0, next(&mut stream)).await? {
            let piece: Bytes = piece.map_err(|e| ObjectError::of(&self.bucket.url, &what, &e))?;
            h.update(&piece);
            bytes += piece.len() as u64;
            if bytes > most {
                break;
            }
        }
        Ok(Some((h.finish(), Seen { bytes, e_tag })))
    }

    /// A small object, whole, or given up in time: this client's own requests have no limit.
    pub async fn read(&self, name: &str, most: u64) -> Result<Option<Bytes>, ShipError> {
        match tokio::time::timeout(Duration::from_secs(SILENCE), self.bucket.read(name, most)).await {
            Ok(read) => Ok(read?),
            Err(_) => Err(ObjectError::silent(&self.bucket.url, format!("get {name}"), SILENCE).into()),
        }
    }

    /// Waits for room for a body, and for its turn under the cap.
    async fn admitted(&self, bytes: u64) -> Result<OwnedSemaphorePermit, ShipError> {
        let pieces = u32::try_from(bytes.div_ceil(PIECE)).unwrap_or(u32::MAX);
        let room = self.room.clone().acquire_many_owned(pieces).await;
        let room = room.map_err(|e| ShipError::Runtime(e.to_string()))?;
        self.turn(bytes).await?;
        Ok(room)
    }

    /// Waits for the turn of so many bytes under the cap.
    async fn turn(&self, bytes: u64) -> Result<(), ShipError> {
        let now = self.clock.since_boot_ms();
        let mut wait = self.pace.lock().unwrap_or_else(PoisonError::into_inner).wait_ms(bytes, now);
        loop {
            if self.stop.load(Ordering::Acquire) {
                return Err(ShipError::Stopping);
            }
            if wait == 0 {
                return Ok(());
            }
            let some = wait.min(SLICE_MS);
            tokio::time::sleep(Duration::from_millis(some)).await;
            wait -= some;
        }
    }

    /// Brings an item to `name`, where there is none.
    pub async fn put(self: &Arc<Self>, name: &str, item: &Item) -> Result<Made, ShipError> {
        if self.folder.is_some() {
            let (me, at, item) = (self.clone(), name.to_owned(), item.clone());
            let runtime = tokio::runtime::Handle::current();
            let put = move || {
                let put = me.folder.as_ref().map(|f| f.put(&at, &item, |bytes| runtime.block_on(me.turn(bytes))));
                put.transpose()
            };
            let made = blocking(put).await?;
            let Some(Made::New(_)) = made else { return Ok(Made::There) };
            let seen = self.look(name).await?;
            return Ok(Made::New(seen.map(|s| s.e_tag).unwrap_or_default()));
        }
        if item.bytes > self.single {
            return self.put_parts(name, item).await;
        }
        let _room = self.admitted(item.bytes).await?;
        let from = item.clone();
        let body = blocking(move || from.read()).await?;
        self.create(name, body).await
    }

    /// Creates an object, where there is none.
    pub async fn create(&self, name: &str, body: Bytes) -> Result<Made, ShipError> {
        let (key, bytes) = (self.bucket.key(name), body.len() as u64);
        let op = async {
            match self.bucket.store.put_opts(&key, body.into(), PutOptions::from(PutMode::Create)).await {
                Ok(put) => Ok(Made::New(tag(put.e_tag))),
                Err(Store::AlreadyExists { .. } | Store::Precondition { .. }) => Ok(Made::There),
                Err(e) => Err(e),
            }
        };
        Ok(self.timed(&format!("put {name}"), bytes, op).await?)
    }

    /// Writes an object, whatever was there.
    pub async fn replace(&self, name: &str, body: Bytes) -> Result<(), ShipError> {
        let key = self.bucket.key(name);
        self.timed(&format!("put {name}"), body.len() as u64, self.bucket.store.put(&key, body.into())).await?;
        Ok(())
    }

    /// In parts, of which no store can make the creation conditional: the caller has seen that the name is free, and what arrived is
    /// looked at. The file is hashed before the first part leaves, and once more as it leaves.
    async fn put_parts(self: &Arc<Self>, name: &str, item: &Item) -> Result<Made, ShipError> {
        let here = || ShipError::AlteredHere(item.from.display().to_string());
        let whole = item.clone();
        if !blocking(move || whole.is_in(&whole.from)).await? {
            return Err(here());
        }
        let (key, what) = (self.bucket.key(name), format!("put {name}"));
        // The listing may be hours old.
        if self.look(name).await?.is_some() {
            return Ok(Made::There);
        }
        let mut upload = self.timed(&what, 0, self.bucket.store.put_multipart(&key)).await?;
        let sent = self.parts(upload.as_mut(), item, &what).await;
        let done = match sent {
            Ok(true) if self.look(name).await.is_ok_and(|there| there.is_some()) => {
                drop(self.timed(&what, 0, upload.abort()).await);
                return Ok(Made::There);
            }
            Ok(true) => self.timed(&what, item.bytes, upload.complete()).await.map_err(ShipError::from),
            Ok(false) => Err(here()),
            Err(e) => Err(e),
        };
        match done {
            Ok(put) => {
                let seen = self.look(name).await?;
                match seen.filter(|s| s.bytes == item.bytes) {
                    Some(s) if s.e_tag.is_empty() => Ok(Made::New(tag(put.e_tag))),
                    Some(s) => Ok(Made::New(s.e_tag)),
                    None => Err(ShipError::Altered(format!("{}/{name}", self.bucket.url))),
                }
            }
            Err(e) => {
                // What was sent of it takes space until the bucket's own rule removes it, should this fail as well.
                if let Err(second) = self.timed(&what, 0, upload.abort()).await {
                    tracing::debug!(error = %second, "parts are left at the destination");
                }
                Err(e)
            }
        }
    }

    /// Sends all parts; false where the file is not what it was a moment ago.
    async fn parts(
        self: &Arc<Self>,
        upload: &mut dyn object_store::MultipartUpload,
        item: &Item,
        what: &str,
    ) -> Result<bool, ShipError> {
        let mut under_way = tokio::task::JoinSet::new();
        let from = item.from.clone();
        let mut file = blocking(move || std::fs::File::open(&from).map_err(super::error::here(&from))).await?;
        let (mut left, mut hasher) = (item.bytes, item.sum.hasher());
        while left > 0 {
            let n = left.min(PART);
            let room = self.admitted(n).await?;
            let path = item.from.clone();
            let read = blocking(move || {
                let body = read_exactly(&mut file, n).map_err(super::error::here(&path))?;
                hasher.update(&body);
                Ok((file, hasher, body))
            });
            let body;
            (file, hasher, body) = read.await?;
            let (me, what, part) = (self.clone(), what.to_owned(), upload.put_part(PutPayload::from(body)));
            under_way.spawn(async move {
                let sent = me.timed(&what, n, part).await;
                drop(room);
                sent
            });
            left -= n;
            while under_way.len() >= PARTS {
                joined(under_way.join_next().await)?;
            }
        }
        while !under_way.is_empty() {
            joined(under_way.join_next().await)?;
        }
        Ok(hasher.finish() == *item.sum.bytes())
    }

    /// Has the destination itself copy an object that it holds as `held`; the copy's e-tag, or None where it could not, or the object is
    /// no longer that one.
    pub async fn copy(&self, from: &str, held: &Seen, to: &str) -> Result<Option<Seen>, ShipError> {
        if self.look(from).await?.as_ref() != Some(held) || held.e_tag.is_empty() {
            return Ok(None);
        }
        let copied = match &self.folder {
            Some(f) => f.link(from, to),
            None => {
                let (a, b) = (self.bucket.key(from), self.bucket.key(to));
                let copied = self.timed("copy", held.bytes, self.bucket.store.copy(&a, &b)).await;
                copied.inspect_err(|e| tracing::debug!(error = %e, "it is sent instead")).is_ok()
            }
        };
        if copied { self.look(to).await } else { Ok(None) }
    }

    /// Makes everything so far durable, where that is ours to do.
    pub async fn settle(self: &Arc<Self>) -> Result<(), ShipError> {
        let me = self.clone();
        blocking(move || me.folder.as_ref().map_or(Ok(()), Folder::sync)).await
    }
}

fn read_exactly(file: &mut std::fs::File, n: u64) -> std::io::Result<Bytes> {
    use std::io::Read;
    let mut body = Vec::with_capacity(usize::try_from(n).unwrap_or(0));
    file.take(n).read_to_end(&mut body)?;
    Ok(body.into())
}

fn joined(done: Option<Result<Result<(), ObjectError>, tokio::task::JoinError>>) -> Result<(), ShipError> {
    match done {
        None => Ok(()),
        Some(Ok(sent)) => Ok(sent?),
        Some(Err(e)) => Err(ShipError::Runtime(e.to_string())),
    }
}

/// Work that waits for the disk or a core, beside the runtime.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ShipError> + Send + 'static,
) -> Result<T, ShipError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(e) => Err(ShipError::Runtime(e.to_string())),
    }
}
