//! Where the parts of the log lie, and how a tree grows into them (c2sp.org/tlog-tiles).
//!
//! A tile holds 256 consecutive hashes of one level, a bundle 256 consecutive entries; the last ones of a log are shorter and their names
//! end with `.p/<how many>`.

use tlog_tiles::{Hash, Tile, node_hash, record_hash};

/// Hashes of a full tile, entries of a full bundle.
pub(super) const FULL: u16 = 256;
/// A log is never longer: what claims to be is not ours.
pub(super) const MAX_SIZE: u64 = 1 << 40;

/// A tile or a bundle, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TilePath {
    /// The level of its hashes; None: entries.
    pub level: Option<u8>,
    /// Its number in the level.
    pub number: u64,
    /// Hashes or entries in it, 1 to 256.
    pub width: u16,
}

impl TilePath {
    /// Its name below the folder of the log.
    pub fn name(&self) -> String {
        let level = self.level.map_or_else(|| "entries".to_owned(), |l| l.to_string());
        let mut digits = format!("{:03}", self.number % 1000);
        let mut rest = self.number / 1000;
        while rest > 0 {
            digits = format!("x{:03}/{digits}", rest % 1000);
            rest /= 1000;
        }
        match self.width {
            FULL => format!("tile/{level}/{digits}"),
            part => format!("tile/{level}/{digits}.p/{part}"),
        }
    }

    /// The tile of this name; None unless it is spelt exactly as [`TilePath::name`] does.
    pub fn parse(name: &str) -> Option<Self> {
        let (level, rest) = name.strip_prefix("tile/").filter(|_| name.len() <= 64)?.split_once('/')?;
        let level = if level == "entries" { None } else { Some(level.parse().ok()?) };
        let (digits, width) = match rest.split_once(".p/") {
            None => (rest, FULL),
            Some((digits, part)) => (digits, part.parse().ok().filter(|w| (1..FULL).contains(w))?),
        };
        let mut number = 0u64;
        for part in digits.split('/') {
            let three: u64 = part.trim_start_matches('x').parse().ok()?;
            number = number.checked_mul(1000)?.checked_add(three)?;
        }
        let tile = Self { level, number, width };
        (tile.name() == name && level.is_none_or(|l| l < 8)).then_some(tile)
    }

    /// Whether a log of `size` entries has all that is in it.
    pub fn is_covered(&self, size: u64) -> bool {
        let hashes = size >> (8 * u32::from(self.level.unwrap_or(0)));
        let end = self.number.checked_mul(FULL.into()).and_then(|n| n.checked_add(self.width.into()));
        end.is_some_and(|end| end <= hashes)
    }

    /// The same place, filled.
    pub(super) fn filled(&self) -> Self {
        Self { width: FULL, ..*self }
    }
}

/// A tree that entries are added to, and the tiles and bundles that they fill. Needs memory for its right edge only.
#[derive(Default)]
pub(super) struct Grow {
    size: u64,
    /// The tile of each level that is not full yet.
    levels: Vec<Vec<u8>>,
    /// The bundle that is not full yet.
    bundle: Vec<u8>,
    /// Roots of the complete subtrees, sizes falling: the binary digits of the size.
    complete: Vec<Hash>,
}

impl Grow {
    /// Entries so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The root over them (RFC 6962 §2.1).
    pub(super) fn root(&self) -> [u8; 32] {
        let folded = self.complete.iter().rev().copied().reduce(|right, left| node_hash(left, right));
        folded.unwrap_or(tlog_tiles::EMPTY_HASH).0
    }

    /// Adds an entry of at most 65,535 bytes; false where it is longer. What becomes full is handed to `full`.
    pub(super) fn push<E>(
        &mut self,
        entry: &[u8],
        mut full: impl FnMut(TilePath, &[u8]) -> Result<(), E>,
    ) -> Result<bool, E> {
        let Ok(len) = u16::try_from(entry.len()) else { return Ok(false) };
        self.bundle.extend_from_slice(&len.to_be_bytes());
        self.bundle.extend_from_slice(entry);
        let index = self.size;
        let mut hash = record_hash(entry);
        let mut right = hash;
        for _ in 0..index.trailing_ones() {
            let Some(left) = self.complete.pop() else { break };
            right = node_hash(left, right);
        }
        self.complete.push(right);
        self.size = index.saturating_add(1);
        if self.size.is_multiple_of(FULL.into()) {
            let bundle = std::mem::take(&mut self.bundle);
            full(TilePath { level: None, number: index >> 8, width: FULL }, &bundle)?;
        }
        for level in 0..8u8 {
            if self.levels.len() <= usize::from(level) {
                self.levels.push(Vec::new());
            }
            let Some(tile) = self.levels.get_mut(usize::from(level)) else { break };
            tile.extend_from_slice(&hash.0);
            if tile.len() < usize::from(FULL) * 32 {
                break;
            }
            let tile = std::mem::take(tile);
            full(TilePath { level: Some(level), number: index >> (8 * (u32::from(level) + 1)), width: FULL }, &tile)?;
            hash = Tile::subtree_hash(&tile);
        }
        Ok(true)
    }

    /// The tiles and the bundle that are not full.
    pub(super) fn partial(&self) -> Vec<(TilePath, &[u8])> {
        let mut out = Vec::new();
        if !self.bundle.is_empty() {
            let width = u16::try_from(self.size % 256).unwrap_or(FULL);
            out.push((TilePath { level: None, number: self.size >> 8, width }, self.bundle.as_slice()));
        }
        for (level, tile) in (0u8..).zip(&self.levels).filter(|(_, t)| !t.is_empty()) {
            let number = self.size >> (8 * (u32::from(level) + 1));
            let width = u16::try_from(tile.len() / 32).unwrap_or(FULL);
            out.push((TilePath { level: Some(level), number, width }, tile.as_slice()));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_tile_has_the_name_of_the_specification_and_no_other_spelling_is_taken() {
        let tile = TilePath { level: Some(4), number: 1_234_067, width: 8 };
        assert_eq!(tile.name(), "tile/4/x001/x234/067.p/8");
        let bundle = TilePath { level: None, number: 0, width: FULL };
        assert_eq!(bundle.name(), "tile/entries/000");
        for t in [tile, bundle] {
            assert_eq!(TilePath::parse(&t.name()), Some(t));
        }
        for bad in [
            "tile/0/0",
            "tile/00/000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/08",
            "tile/0/x000/001",
            "tile/+1/000",
            "tile/8/000",
            "tile/0/../000",
            "tile/0/1000",
            "tile/data/000",
            "tile/0/xx001/000",
            "tile/0/000.p/1/",
            "/tile/0/000",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(TilePath::parse(bad), None, "{bad}");
        }
        assert!(tile.filled().is_covered(1_234_068u64 << 40) && !tile.filled().is_covered(1_234_068u64 << 39));
        assert!(bundle.is_covered(256) && !bundle.is_covered(255));
    }

    /// RFC 6962 §2.1 word for word.
    fn by_the_book(leaves: &[Vec<u8>]) -> Hash {
        match leaves {
            [] => tlog_tiles::EMPTY_HASH,
            [one] => record_hash(one),
            many => {
                let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
                node_hash(by_the_book(left), by_the_book(right))
            }
        }
    }

    #[test]
    fn root_and_tiles_are_those_of_the_rfc_and_of_the_specification() {
        let entries: Vec<Vec<u8>> = (0..70_000u32).map(|i| i.to_le_bytes().to_vec()).collect();
        let mut tree = Grow::default();
        let mut tiles = BTreeMap::new();
        for (i, e) in entries.iter().enumerate() {
            let took = tree.push(e, |t, bytes| {
                tiles.insert(t.name(), bytes.to_vec());
                Ok::<_, ()>(())
            });
            assert_eq!(took, Ok(true));
            if i < 600 {
                assert_eq!(tree.root(), by_the_book(&entries[..=i]).0, "{} entries", i + 1);
            }
        }
        assert_eq!(tree.root(), by_the_book(&entries).0);
        for (t, bytes) in tree.partial() {
            tiles.insert(t.name(), bytes.to_vec());
        }
        // The example of the specification.
        let of = |prefix: &str| tiles.keys().filter(|n| n.starts_with(prefix)).count();
        assert_eq!((of("tile/0/"), of("tile/1/"), of("tile/2/"), of("tile/entries/")), (274, 2, 1, 274));
        assert!(tiles.contains_key("tile/0/273.p/112") && tiles.contains_key("tile/1/001.p/17"));
        let second = &tiles["tile/1/000"][32..64];
        assert_eq!(second, by_the_book(&entries[256..512]).0);
        assert_eq!(tiles["tile/entries/273.p/112"][..6], [0, 4, 0x00, 0x11, 0x01, 0x00]);
        assert_eq!(tree.push(&vec![0; 65_536], |_, _| Ok::<_, ()>(())), Ok(false));
    }
}
