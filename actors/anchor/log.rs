//! Reading the log: its checkpoint, all of its entries, and the proofs that its tiles give. Writes nothing.
//!
//! What is read is compared with the root of a checkpoint before anybody relies on it: entries by making the tree again, tiles by hashing
//! them upwards.

use super::checkpoint::Head;
use super::entry::pack_of;
use super::tiles::{FULL, Grow, TilePath};
use super::{AnchorError, Entry};
use crate::seal::PackUid;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use tlog_tiles::{Error as TileError, Hash, HashReader, Tile};

/// A longer checkpoint is refused: it has room for a hundred cosignatures.
pub(super) const MAX_CHECKPOINT: u64 = 64 << 10;
/// The longest bundle: 256 entries with their lengths.
const MAX_BUNDLE: u64 = 256 * (2 + 65_535);
/// Bytes of a full tile.
const TILE: u64 = 256 * 32;

/// The sealings of a log and where they stand in it.
pub type Book = BTreeMap<PackUid, (u64, Entry)>;

/// The log in a folder.
#[derive(Clone, Debug)]
pub struct Log {
    dir: PathBuf,
}

impl Log {
    /// The log in `anchors/`; nothing is read yet.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the newest checkpoint is.
    pub fn checkpoint_path(&self) -> PathBuf {
        self.dir.join("checkpoint")
    }

    /// Where the proof of a sealing is kept.
    pub fn proof_path(&self, uid: &PackUid) -> PathBuf {
        self.dir.join("proofs").join(proof_name(uid))
    }

    /// Held by whoever writes a checkpoint, until it is dropped; waits for the other one.
    ///
    /// # Errors
    /// The lock file cannot be made.
    pub fn lock(&self) -> Result<File, AnchorError> {
        let path = self.dir.join(".lock");
        let made = std::fs::create_dir_all(&self.dir)
            .and_then(|()| File::options().create(true).truncate(false).write(true).open(&path));
        let file = made.map_err(AnchorError::io("open", &path))?;
        file.lock().map_err(AnchorError::io("lock", &path))?;
        Ok(file)
    }

    /// The newest checkpoint as it was signed; None where there is no log yet.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn checkpoint(&self) -> Result<Option<Vec<u8>>, AnchorError> {
        read(&self.checkpoint_path(), MAX_CHECKPOINT)
    }

    /// What the newest checkpoint says, verified.
    ///
    /// # Errors
    /// It cannot be read or does not verify.
    pub fn head(&self, public: &str) -> Result<Option<Head>, AnchorError> {
        let Some(note) = self.checkpoint()? else { return Ok(None) };
        Head::verify(&self.checkpoint_path().display().to_string(), &note, public).map(Some)
    }

    /// Goes through the first `size` entries and makes the tree of them again. `visit` is given the tree after each entry, its index and
    /// its text; `full` each tile and bundle as it must be.
    pub(super) fn scan(
        &self,
        size: u64,
        mut visit: impl FnMut(&Grow, u64, &[u8]) -> Result<(), AnchorError>,
        mut full: impl FnMut(TilePath, &[u8]) -> Result<(), AnchorError>,
    ) -> Result<Grow, AnchorError> {
        let mut tree = Grow::default();
        while tree.size() < size {
            let left = (size - tree.size()).min(FULL.into());
            let place = TilePath { level: None, number: tree.size() >> 8, width: u16::try_from(left).unwrap_or(FULL) };
            let bytes = self.part(place, MAX_BUNDLE)?;
            let mut rest = bytes.as_slice();
            for _ in 0..left {
                let Some((entry, more)) = split_entry(rest) else {
                    return Err(self.damaged(&place, "is shorter than its entries"));
                };
                rest = more;
                let index = tree.size();
                tree.push(entry, &mut full)?;
                visit(&tree, index, entry)?;
            }
        }
        Ok(tree)
    }

    /// The sealings of the log, when its entries give the root of this head.
    ///
    /// # Errors
    /// An entry is lacking or altered.
    pub fn book(&self, head: Head) -> Result<Book, AnchorError> {
        let mut book = Book::new();
        let tree = self.scan(head.size, |_, index, text| self.note(&mut book, index, text), |_, _| Ok(()))?;
        if tree.root() != head.root {
            return Err(self.other_root());
        }
        Ok(book)
    }

    /// Puts an entry into the book, where it is a sealing's. The first one stands.
    pub(super) fn note(&self, book: &mut Book, index: u64, text: &[u8]) -> Result<(), AnchorError> {
        if let Some(entry) = pack_of(&format!("entry {index} of {}", self.dir.display()), text)? {
            book.entry(entry.pack_uid).or_insert((index, entry));
        }
        Ok(())
    }

    pub(super) fn other_root(&self) -> AnchorError {
        let why = "its entries do not give the root of its checkpoint: one was altered or lost; bring the folder back \
                   from the replica, a bucket or a backup";
        AnchorError::integrity(format!("log {}", self.dir.display()), why)
    }

    /// The hashes that lead from `entry`, which stands at `index`, to the root of `head`.
    ///
    /// # Errors
    /// There is no such entry, or tiles are lacking or altered.
    pub fn inclusion(&self, head: Head, index: u64, entry: &[u8]) -> Result<Vec<[u8; 32]>, AnchorError> {
        let tiles = self.tiles(head);
        let made = tlog_tiles::prove_record(head.size, index, &tiles).and_then(|path| {
            tlog_tiles::check_record(&path, head.size, Hash(head.root), index, tlog_tiles::record_hash(entry))?;
            Ok(path)
        });
        Ok(tiles.settle(made)?.into_iter().map(|h| h.0).collect())
    }

    /// The hashes that lead from the log of `old` entries to `head`.
    ///
    /// # Errors
    /// `old` is not between 1 and its size, or tiles are lacking or altered.
    pub fn consistency(&self, head: Head, old: u64) -> Result<Vec<[u8; 32]>, AnchorError> {
        Ok(self.grown(head, old)?.1)
    }

    /// The root of the log when it had `size` entries, as the tiles below `head` tell it.
    ///
    /// # Errors
    /// It never had so many, or tiles are lacking or altered.
    pub fn root_at(&self, head: Head, size: u64) -> Result<[u8; 32], AnchorError> {
        Ok(self.grown(head, size)?.0)
    }

    /// The root of an older log, and what leads from it to `head`.
    fn grown(&self, head: Head, old: u64) -> Result<([u8; 32], Vec<[u8; 32]>), AnchorError> {
        let tiles = self.tiles(head);
        let made = tlog_tiles::prove_tree(head.size, old, &tiles).and_then(|path| {
            let root = tlog_tiles::tree_hash(old, &tiles)?;
            tlog_tiles::check_tree(&path, head.size, Hash(head.root), old, root)?;
            Ok((root, path))
        });
        let (root, path) = tiles.settle(made)?;
        Ok((root.0, path.into_iter().map(|h| h.0).collect()))
    }

    fn tiles(&self, head: Head) -> Tiles<'_> {
        Tiles { log: self, size: head.size, failed: RefCell::default() }
    }

    /// The bytes of a tile or bundle, from its own file or the filled one.
    pub(super) fn part(&self, place: TilePath, most: u64) -> Result<Vec<u8>, AnchorError> {
        for candidate in [place, place.filled()] {
            if let Some(bytes) = read(&self.dir.join(candidate.name()), most)? {
                return Ok(bytes);
            }
        }
        Err(self.damaged(&place, "is missing"))
    }

    /// A tile or bundle that the newest checkpoint covers, for a client of the log; None where it is none of this log's.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn file(&self, name: &str, size: u64) -> Result<Option<Vec<u8>>, AnchorError> {
        let Some(place) = TilePath::parse(name).filter(|p| p.is_covered(size)) else { return Ok(None) };
        read(&self.dir.join(place.name()), MAX_BUNDLE)
    }

    fn damaged(&self, place: &TilePath, why: &str) -> AnchorError {
        let what = self.dir.join(place.name()).display().to_string();
        AnchorError::integrity(what, format!("{why}; bring the folder back from the replica, a bucket or a backup"))
    }
}

/// The name of a sealing's proof, beside the log and beside a shipped sealing.
pub fn proof_name(uid: &PackUid) -> String {
    format!("{}.tlog-proof", hex::encode(uid))
}

/// A file of at most `most` bytes; None where there is none.
pub(super) fn read(path: &Path, most: u64) -> Result<Option<Vec<u8>>, AnchorError> {
    let file = match File::open(path) {
        Ok(f) => f,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(AnchorError::io("open", path)(e)),
    };
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(AnchorError::io("read", path))?;
    if bytes.len() as u64 > most {
        return Err(AnchorError::integrity(path.display().to_string(), format!("is longer than {most} bytes")));
    }
    Ok(Some(bytes))
}

fn split_entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_be_bytes(*len).into())
}

/// The tiles of a log of this size, as they are. The crate's own reader that compares them with the root leaves some of them out (a tile that
/// holds several of the hashes under the root is counted as often); so whatever is made of these is verified against the root afterwards.
struct Tiles<'a> {
    log: &'a Log,
    size: u64,
    failed: RefCell<Option<AnchorError>>,
}

impl Tiles<'_> {
    fn hash(&self, index: u64) -> Result<Hash, AnchorError> {
        let tile = Tile::from_index(8, index);
        let (level, number) = (tile.level(), tile.level_index());
        let all = self.size.checked_shr(8 * u32::from(level)).unwrap_or(0);
        let width = u16::try_from(all.saturating_sub(number << 8).min(FULL.into())).unwrap_or(FULL);
        let place = TilePath { level: Some(level), number, width };
        let mut bytes = self.log.part(place, TILE)?;
        bytes.truncate(usize::from(width) * 32);
        tile.hash_at_index(&bytes, index).map_err(|_| self.log.damaged(&place, "is shorter than its hashes"))
    }

    fn settle<T>(self, made: Result<T, TileError>) -> Result<T, AnchorError> {
        let what = || format!("log {}", self.log.dir.display());
        match made {
            Ok(made) => Ok(made),
            Err(TileError::InvalidInput(_)) => {
                Err(AnchorError::NotFound { what: what(), why: format!("it has {} entries, not so many", self.size) })
            }
            Err(error) => Err(self.failed.take().unwrap_or_else(|| {
                let why = format!("its tiles do not give the root of its checkpoint ({error}); `datanode nightly --stages seal` makes them \
                                   again from the entries, as every night does");
                AnchorError::integrity(what(), why)
            })),
        }
    }
}

impl HashReader for Tiles<'_> {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, TileError> {
        let all: Result<Vec<Hash>, AnchorError> = indexes.iter().map(|i| self.hash(*i)).collect();
        all.map_err(|e| {
            *self.failed.borrow_mut() = Some(e);
            TileError::InvalidTile
        })
    }
}

/// The newest checkpoint of the log below `anchors`, verified with the log's public key; None where there is none yet.
///
/// # Errors
/// It cannot be read or does not verify.
pub fn head(anchors: &Path, public: &str) -> Result<Option<Head>, AnchorError> {
    Log::at(anchors).head(public)
}

/// What the log below `anchors` says of a sealing; None where it is not in it. The entries are compared with the root of the newest
/// checkpoint; whether that one is signed is [`head`]'s to say.
///
/// # Errors
/// The log cannot be read, or is damaged.
pub fn entry_of(anchors: &Path, uid: &PackUid) -> Result<Option<Entry>, AnchorError> {
    Ok(book(anchors)?.remove(uid).map(|(_, entry)| entry))
}

/// Every sealing in the log below `anchors`, on the same terms as [`entry_of`].
///
/// # Errors
/// The log cannot be read, or is damaged.
pub fn book(anchors: &Path) -> Result<Book, AnchorError> {
    let log = Log::at(anchors);
    let Some(note) = log.checkpoint()? else { return Ok(Book::new()) };
    let text = String::from_utf8(note).unwrap_or_default();
    match Head::parse(&text) {
        Some((_, head)) => log.book(head),
        None => Err(AnchorError::integrity(log.checkpoint_path().display().to_string(), "is no checkpoint")),
    }
}
