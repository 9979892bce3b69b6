//! The root record: what the whole state must be, kept in the same transaction as every change.
//!
//! It holds the number of the last commit, the count of records, and the sum of a keyed 128-bit hash of every (table,
//! key, value). A sum can be carried forward by a commit that knows only the values which it replaces, and computed
//! again from the whole set. The key is fixed: the sum finds damage, not forgery.

/// Bytes of an encoded [`Root`].
pub(crate) const ROOT_BYTES: usize = 32;
const HASH_KEY: &[u8; 32] = b"datanode.state.root.set-hash.v01";

/// The state's identity after a commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Root {
    /// Number of the last commit; 0 before the first.
    pub commit: u64,
    /// Records in all tables.
    pub count: u64,
    /// Sum of the hashes of all records.
    pub sum: u128,
}

impl Root {
    pub(crate) fn to_bytes(self) -> [u8; ROOT_BYTES] {
        let mut out = [0; ROOT_BYTES];
        let parts = self.commit.to_le_bytes().into_iter().chain(self.count.to_le_bytes()).chain(self.sum.to_le_bytes());
        for (to, from) in out.iter_mut().zip(parts) {
            *to = from;
        }
        out
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Root> {
        let (commit, rest) = bytes.split_first_chunk::<8>()?;
        let (count, rest) = rest.split_first_chunk::<8>()?;
        let sum: &[u8; 16] = rest.try_into().ok()?;
        Some(Root {
            commit: u64::from_le_bytes(*commit),
            count: u64::from_le_bytes(*count),
            sum: u128::from_le_bytes(*sum),
        })
    }
}

/// The hash of one record, to be added to or taken from [`Root::sum`].
pub(crate) fn hash(table: u8, key: &[u8], value: &[u8]) -> u128 {
    let mut h = blake3::Hasher::new_keyed(HASH_KEY);
    let [k0, k1] = (key.len() as u16).to_le_bytes();
    h.update(&[table, k0, k1]);
    h.update(key);
    h.update(value);
    let mut out = [0; 16];
    h.finalize_xof().fill(&mut out);
    u128::from_le_bytes(out)
}

/// The root and the number of records of each table, by table id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub root: Root,
    pub counts: Vec<u64>,
}

impl Default for State {
    fn default() -> Self {
        State { root: Root::default(), counts: vec![0; 256] }
    }
}

impl State {
    /// Adds a record that was not there.
    pub fn add(&mut self, table: u8, hash: u128) {
        self.root.count += 1;
        self.root.sum = self.root.sum.wrapping_add(hash);
        if let Some(n) = self.counts.get_mut(usize::from(table)) {
            *n += 1;
        }
    }

    /// Takes away a record that was there.
    pub fn take(&mut self, table: u8, hash: u128) {
        self.root.count = self.root.count.wrapping_sub(1);
        self.root.sum = self.root.sum.wrapping_sub(hash);
        if let Some(n) = self.counts.get_mut(usize::from(table)) {
            *n = n.wrapping_sub(1);
        }
    }

    /// The payload of the root record: the root, then (table id, count) for every table that is not empty.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.root.to_bytes().to_vec();
        for (id, n) in (0u8..=255).zip(&self.counts).filter(|(_, n)| **n > 0) {
            out.push(id);
            out.extend_from_slice(&n.to_le_bytes());
        }
        out
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<State> {
        let (root, mut rest) = bytes.split_at_checked(ROOT_BYTES)?;
        let mut state = State { root: Root::from_bytes(root)?, ..State::default() };
        while let Some((&[id, n @ ..], tail)) = rest.split_first_chunk::<9>() {
            *state.counts.get_mut(usize::from(id))? = u64::from_le_bytes(n);
            rest = tail;
        }
        rest.is_empty().then_some(state)
    }
}
