//! The journal as an audit trail: which commit put or deleted what.

use std::ops::ControlFlow;

use super::{
    Store,
    batch::Ops,
    error::StoreError,
    journal::{self, Next, Reader},
    read,
    table::{Key, Record, Table},
};

/// One change of the past.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// The commit that made it.
    pub commit: u64,
    /// The table's name.
    pub table: &'static str,
    /// The table's id.
    pub table_id: u8,
    /// The encoded key.
    pub key: &'a [u8],
    /// The stored value with its envelope; `None` for a delete.
    pub value: Option<&'a [u8]>,
}

impl Event<'_> {
    /// Key and value where the event is one of table `t`; the value is `None` for a delete.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn of<K: Key, V: Record>(&self, t: &Table<K, V>) -> Result<Option<(K, Option<V>)>, StoreError> {
        if self.table_id != t.id {
            return Ok(None);
        }
        let Some(key) = K::decode(self.key) else { return Ok(None) };
        let value = match self.value {
            Some(v) => Some(read::copy(t, self.key, read::access(t, self.key, v)?)?),
            None => None,
        };
        Ok(Some((key, value)))
    }
}

impl Store {
    /// Tells the changes from commit `from_commit` on, oldest first, as far back as the journal is kept, until `f`
    /// breaks. Returns the first commit that is still in the journal.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where the journal is damaged.
    pub fn events(
        &self,
        from_commit: u64,
        mut f: impl FnMut(&Event<'_>) -> ControlFlow<()>,
    ) -> Result<u64, StoreError> {
        let shared = &self.0.shared;
        // What is appended while this reads is left to the next call.
        let last = self.commit_number();
        let (_, segments) = journal::list(&shared.layout.journal())?;
        let oldest = segments.first().map_or(1, |s| s.number);
        let begin = segments.partition_point(|s| s.number <= from_commit).saturating_sub(1);
        let mut payload = Vec::new();
        for segment in segments.iter().skip(begin) {
            let mut reader = Reader::open(segment)?.map_err(|why| shared.layout.corrupt(why))?;
            while reader.root.commit < last {
                let commit = match reader.next(&mut payload)? {
                    Next::Record(root) => root.commit,
                    Next::End => break,
                    Next::Bad { at, why } => {
                        return Err(shared.layout.corrupt(format!("{} at byte {at}: {why}", segment.path.display())));
                    }
                };
                if commit < from_commit {
                    continue;
                }
                for op in Ops(&payload).flatten() {
                    let table = shared.engine.name(op.table);
                    let event = Event { commit, table, table_id: op.table, key: op.key, value: op.value };
                    if f(&event).is_break() {
                        return Ok(oldest);
                    }
                }
            }
        }
        Ok(oldest)
    }
}
