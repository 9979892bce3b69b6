//! A batch: puts, deletes and guards that are written together or not at all.
//!
//! The operations are kept in the very bytes that the journal stores, so that a commit copies them once:
//! `kind u8 · table u8 · key length u16 · value length u32 · key · value`, numbers little-endian.

use rkyv::rancor;

use super::{
    envelope,
    error::{StoreError, show_key},
    table::{Key, Record, Table},
};

/// The longest key, encoded.
pub(crate) const MAX_KEY: usize = 512;
/// The most bytes of one batch.
pub(crate) const MAX_BATCH: usize = 32 << 20;
const OP_HEADER: usize = 8;
const PUT: u8 = 1;
const DELETE: u8 = 2;

/// Changes to commit together.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) ops: Vec<u8>,
    pub(crate) guards: Vec<u8>,
    pub(crate) fault: Option<StoreError>,
    count: usize,
    scratch: Vec<u8>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Writes `value` under `key`, whatever stood there.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] for a key above 512 bytes or a value above 4 KiB with its envelope; the batch is unchanged.
    pub fn put<K: Key, V: Record>(&mut self, t: &Table<K, V>, key: &K, value: &V) -> Result<&mut Self, StoreError> {
        let Batch { ops, scratch, .. } = self;
        append(ops, scratch, t, key, value)?;
        self.count += 1;
        Ok(self)
    }

    /// Removes `key` where it is present. A key above 512 bytes makes the commit fail with [`StoreError::TooLarge`].
    pub fn delete<K: Key, V>(&mut self, t: &Table<K, V>, key: &K) -> &mut Self {
        match append_absent(&mut self.ops, t, key) {
            Ok(()) => self.count += 1,
            Err(e) => self.fault = Some(e),
        }
        self
    }

    /// Refuses the whole batch with [`StoreError::Conflict`] unless the present value is bytewise `expected`
    /// (`None`: absent). Guards are judged before the first change of the batch.
    ///
    /// # Errors
    /// As [`Batch::put`].
    pub fn guard<K: Key, V: Record>(
        &mut self,
        t: &Table<K, V>,
        key: &K,
        expected: Option<&V>,
    ) -> Result<&mut Self, StoreError> {
        match expected {
            Some(value) => append(&mut self.guards, &mut self.scratch, t, key, value)?,
            None => append_absent(&mut self.guards, t, key)?,
        }
        Ok(self)
    }

    /// True without puts and deletes.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Puts and deletes.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Bytes that the commit will write to the journal.
    pub fn bytes(&self) -> usize {
        self.ops.len()
    }
}

fn append<K: Key, V: Record>(
    out: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
    t: &Table<K, V>,
    key: &K,
    value: &V,
) -> Result<(), StoreError> {
    scratch.clear();
    // A failed serialisation drops the writer it was given: hence a scratch buffer, and not the batch itself.
    *scratch = rkyv::api::high::to_bytes_in::<_, rancor::Error>(value, std::mem::take(scratch))
        .map_err(|e| StoreError::Encode { table: t.name.into(), cause: e.to_string() })?;
    let start = out.len();
    let key_len = begin(out, PUT, t, key)?;
    let bytes = scratch.len() + envelope::HEADER;
    if bytes > envelope::MAX_VALUE {
        let what = format!("the value of {}", show_key(out.get(start + OP_HEADER..).unwrap_or_default()));
        out.truncate(start);
        return Err(StoreError::TooLarge { table: t.name.into(), what, bytes, limit: envelope::MAX_VALUE });
    }
    if let Some(field) = out.get_mut(start + 4..start + 8) {
        field.copy_from_slice(&(bytes as u32).to_le_bytes());
    }
    let mut key = [0u8; MAX_KEY];
    let key = match (key.get_mut(..key_len), out.get(start + OP_HEADER..)) {
        (Some(to), Some(from)) => {
            to.copy_from_slice(from);
            to
        }
        _ => &mut [],
    };
    envelope::seal(out, t.id, t.version, key, scratch);
    Ok(())
}

fn append_absent<K: Key, V>(out: &mut Vec<u8>, t: &Table<K, V>, key: &K) -> Result<(), StoreError> {
    begin(out, DELETE, t, key).map(|_| ())
}

/// Appends the head and the key of an operation with an empty value; leaves `out` as it was where the key is too long.
fn begin<K: Key, V>(out: &mut Vec<u8>, kind: u8, t: &Table<K, V>, key: &K) -> Result<usize, StoreError> {
    let start = out.len();
    out.extend_from_slice(&[kind, t.id, 0, 0, 0, 0, 0, 0]);
    key.encode(out);
    let len = out.len() - start - OP_HEADER;
    if len > MAX_KEY {
        out.truncate(start);
        return Err(StoreError::TooLarge { table: t.name.into(), what: "a key".into(), bytes: len, limit: MAX_KEY });
    }
    if let Some(field) = out.get_mut(start + 2..start + 4) {
        field.copy_from_slice(&(len as u16).to_le_bytes());
    }
    Ok(len)
}

/// One operation, borrowed from the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Op<'a> {
    pub table: u8,
    pub key: &'a [u8],
    /// The enveloped value; `None` for a delete, or for a guard that expects nothing.
    pub value: Option<&'a [u8]>,
}

/// Reads operations one after another; `Err` where the bytes are not operations.
pub(crate) struct Ops<'a>(pub &'a [u8]);

impl<'a> Iterator for Ops<'a> {
    type Item = Result<Op<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let op = self.take();
        if op.is_none() {
            self.0 = &[];
        }
        Some(op.ok_or("an operation is cut short or of an unknown kind"))
    }
}

impl<'a> Ops<'a> {
    fn take(&mut self) -> Option<Op<'a>> {
        let (&[kind, table, k0, k1, v0, v1, v2, v3], rest) = self.0.split_first_chunk::<OP_HEADER>()?;
        let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([k0, k1])))?;
        let (value, rest) = rest.split_at_checked(u32::from_le_bytes([v0, v1, v2, v3]) as usize)?;
        self.0 = rest;
        match kind {
            PUT => Some(Op { table, key, value: Some(value) }),
            DELETE if value.is_empty() => Some(Op { table, key, value: None }),
            _ => None,
        }
    }
}

/// Appends an operation whose value is enveloped already.
pub(crate) fn write_op(out: &mut Vec<u8>, op: &Op<'_>) {
    let value = op.value.unwrap_or_default();
    out.extend_from_slice(&[if op.value.is_some() { PUT } else { DELETE }, op.table]);
    out.extend_from_slice(&(op.key.len() as u16).to_le_bytes());
    out.extend_from_slice(&(value.len() as u32).to_le_bytes());
    out.extend_from_slice(op.key);
    out.extend_from_slice(value);
}
