//! Reading records: in place, copied, or in the order of their keys.

use std::ops::ControlFlow;

use rkyv::{Archive, rancor};

use super::{
    Store,
    engine::Engine,
    envelope::{self, Fault},
    error::{StoreError, show_key, sled_error},
    table::{Key, Record, Table},
};

/// Opens the envelope of a record and checks its bytes as a `V`.
pub(crate) fn access<'a, K, V: Record>(
    t: &Table<K, V>,
    key: &[u8],
    value: &'a [u8],
) -> Result<&'a V::Archived, StoreError> {
    let bad = |why: String| StoreError::BadRecord { table: t.name.into(), key: show_key(key), why };
    let record = || format!("record {} of {}", show_key(key), t.name);
    match envelope::open(t.id, key, value) {
        Ok(o) if o.version > t.version => Err(StoreError::Newer { what: record(), found: o.version, known: t.version }),
        Ok(o) if o.version < t.version => Err(StoreError::Older { what: record(), found: o.version, known: t.version }),
        Ok(o) => rkyv::access::<V::Archived, rancor::Error>(o.payload).map_err(|e| bad(e.to_string())),
        Err(Fault::Newer(found)) => {
            Err(StoreError::Newer { what: format!("the envelope of {}", record()), found, known: envelope::VERSION })
        }
        Err(Fault::Bad(why)) => Err(bad(why.into())),
    }
}

pub(crate) fn copy<K, V: Record>(t: &Table<K, V>, key: &[u8], a: &V::Archived) -> Result<V, StoreError> {
    rkyv::deserialize::<V, rancor::Error>(a).map_err(|e| StoreError::BadRecord {
        table: t.name.into(),
        key: show_key(key),
        why: e.to_string(),
    })
}

fn known<K, V>(engine: &Engine, t: &Table<K, V>) -> Result<(), StoreError> {
    if engine.name(t.id) == t.name {
        return Ok(());
    }
    let why = "the store was not opened with it; add it to the table of tables".into();
    Err(StoreError::Table { table: t.name.into(), why })
}

impl Store {
    /// Shows the record under `key` to `view`, in place; `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError::BadRecord`] for one damaged record, [`StoreError::Newer`] for one of a newer build.
    pub fn get<K: Key, V: Record, R>(
        &self,
        t: &Table<K, V>,
        key: &K,
        view: impl FnOnce(&<V as Archive>::Archived) -> R,
    ) -> Result<Option<R>, StoreError> {
        let engine = &self.0.shared.engine;
        known(engine, t)?;
        let mut k = Vec::with_capacity(64);
        key.encode(&mut k);
        match engine.get(t.id, &k)? {
            Some(value) => access(t, &k, &value).map(|a| Some(view(a))),
            None => Ok(None),
        }
    }

    /// A copy of the record under `key`; `None` where there is none.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn load<K: Key, V: Record>(&self, t: &Table<K, V>, key: &K) -> Result<Option<V>, StoreError> {
        let engine = &self.0.shared.engine;
        known(engine, t)?;
        let mut k = Vec::with_capacity(64);
        key.encode(&mut k);
        match engine.get(t.id, &k)? {
            Some(value) => copy(t, &k, access(t, &k, &value)?).map(Some),
            None => Ok(None),
        }
    }

    /// Shows the records whose encoded key begins with `prefix` (empty: all), in the order of their keys, until `f`
    /// breaks. `f` may read and commit.
    ///
    /// # Errors
    /// As [`Store::get`], at the first record that cannot be read.
    pub fn scan<K: Key, V: Record>(
        &self,
        t: &Table<K, V>,
        prefix: &[u8],
        mut f: impl FnMut(K, &<V as Archive>::Archived) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.scan_raw(t, prefix, |key, _, archived| Ok(f(key, archived)))
    }

    /// Copies of the records whose encoded key begins with `prefix` (empty: all), in the order of their keys.
    ///
    /// # Errors
    /// As [`Store::scan`].
    pub fn load_all<K: Key, V: Record>(&self, t: &Table<K, V>, prefix: &[u8]) -> Result<Vec<(K, V)>, StoreError> {
        let mut out = Vec::new();
        self.scan_raw(t, prefix, |key, raw, archived| {
            out.push((key, copy(t, raw, archived)?));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(out)
    }

    fn scan_raw<K: Key, V: Record>(
        &self,
        t: &Table<K, V>,
        prefix: &[u8],
        mut f: impl FnMut(K, &[u8], &V::Archived) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<(), StoreError> {
        let engine = &self.0.shared.engine;
        known(engine, t)?;
        for item in engine.tree(t.id)?.scan_prefix(prefix) {
            let (raw, value) = item.map_err(sled_error("scan a tree"))?;
            let archived = access(t, &raw, &value)?;
            let key = K::decode(&raw).ok_or_else(|| StoreError::BadRecord {
                table: t.name.into(),
                key: show_key(&raw),
                why: "its key is not one of this table".into(),
            })?;
            if f(key, &raw, archived)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}
