//! The store's semantics without a disk: the oracle of the tests.

use std::collections::BTreeMap;

/// One change of a batch: key and new value, or `None` for a delete.
pub type Change = (u8, Vec<u8>, Option<Vec<u8>>);

/// Tables of bytes in memory.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Model {
    /// All records by table and encoded key.
    pub records: BTreeMap<(u8, Vec<u8>), Vec<u8>>,
    /// Commits that changed something.
    pub commits: u64,
}

impl Model {
    /// Applies a batch whole, or refuses it where a guard does not hold.
    pub fn commit(&mut self, guards: &[Change], changes: &[Change]) -> Option<u64> {
        let holds = |(t, k, v): &Change| self.records.get(&(*t, k.clone())) == v.as_ref();
        if !guards.iter().all(holds) {
            return None;
        }
        for (t, k, v) in changes {
            match v {
                Some(v) => self.records.insert((*t, k.clone()), v.clone()),
                None => self.records.remove(&(*t, k.clone())),
            };
        }
        self.commits += u64::from(!changes.is_empty());
        Some(self.commits)
    }

    /// The records of a table whose key begins with `prefix`, in order.
    pub fn scan(&self, table: u8, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let all = self.records.iter().filter(|((t, k), _)| *t == table && k.starts_with(prefix));
        all.map(|((_, k), v)| (k.clone(), v.clone())).collect()
    }
}
