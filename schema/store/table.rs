//! Tables, keys and records: what the store asks of the types that are kept in it.
//!
//! A table has a name (for people), an id (in every envelope, never reused) and a version (of its record type). Keys
//! are encoded so that the order of the bytes is the order of the keys.

use std::marker::PhantomData;

use rkyv::{
    Archive, Deserialize, Serialize,
    api::high::{HighDeserializer, HighSerializer, HighValidator},
    bytecheck::CheckBytes,
    rancor,
    ser::allocator::ArenaHandle,
};

/// A typed table: keys of `K` in byte order, values of `V`.
pub struct Table<K, V> {
    /// Its name, unique.
    pub name: &'static str,
    /// Its id, unique, 1 to 254, never used again for something else.
    pub id: u8,
    /// The version of `V`.
    pub version: u8,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Table<K, V> {
    /// Declares a table. Ids 0 and 255 belong to the store itself and are refused at open.
    pub const fn new(name: &'static str, id: u8, version: u8) -> Self {
        Table { name, id, version, types: PhantomData }
    }

    /// The line of this table in the table of tables.
    pub fn def(&self) -> TableDef {
        TableDef {
            name: self.name,
            id: self.id,
            version: self.version,
            key: std::any::type_name::<K>(),
            value: std::any::type_name::<V>(),
        }
    }
}

/// A table without its types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableDef {
    /// Its name.
    pub name: &'static str,
    /// Its id.
    pub id: u8,
    /// The version of its records.
    pub version: u8,
    /// The key's type, for people.
    pub key: &'static str,
    /// The record's type, for people.
    pub value: &'static str,
}

/// A key. Encoded keys compare as the keys do, and no encoded key of a table is a prefix of another.
pub trait Key: Sized {
    /// Appends the key's bytes.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads what [`Key::encode`] wrote; `None` where the bytes are something else.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

/// A value that can be kept: plain rkyv derives, no shared pointers, no hash maps.
pub trait Record:
    Archive<
        Archived: for<'a> CheckBytes<HighValidator<'a, rancor::Error>>
                      + Deserialize<Self, HighDeserializer<rancor::Error>>,
    > + for<'a> Serialize<HighSerializer<Vec<u8>, ArenaHandle<'a>, rancor::Error>>
    + Sized
{
}

impl<T> Record for T where
    T: Archive<
            Archived: for<'a> CheckBytes<HighValidator<'a, rancor::Error>>
                          + Deserialize<T, HighDeserializer<rancor::Error>>,
        > + for<'a> Serialize<HighSerializer<Vec<u8>, ArenaHandle<'a>, rancor::Error>>
{
}

/// Appends a string and a terminator of 0x00, so that keys of several parts sort part by part.
///
/// Bytes 0x00 and 0x01 inside the string become 0x01 0x01 and 0x01 0x02: order is kept and every string is allowed.
pub fn encode_str(out: &mut Vec<u8>, s: &str) {
    for &b in s.as_bytes() {
        match b {
            0 => out.extend_from_slice(&[1, 1]),
            1 => out.extend_from_slice(&[1, 2]),
            b => out.push(b),
        }
    }
    out.push(0);
}

/// Takes a string that [`encode_str`] wrote from the front of `bytes`.
pub fn decode_str(bytes: &mut &[u8]) -> Option<String> {
    let end = bytes.iter().position(|&b| b == 0)?;
    let (raw, rest) = (bytes.get(..end)?, bytes.get(end + 1..)?);
    let mut out = Vec::with_capacity(raw.len());
    let mut it = raw.iter();
    while let Some(&b) = it.next() {
        match b {
            1 => match it.next()? {
                1 => out.push(0),
                2 => out.push(1),
                _ => return None,
            },
            b => out.push(b),
        }
    }
    *bytes = rest;
    String::from_utf8(out).ok()
}

/// Takes a big-endian u64 from the front of `bytes`.
pub fn decode_u64(bytes: &mut &[u8]) -> Option<u64> {
    let (head, rest) = bytes.split_first_chunk::<8>()?;
    *bytes = rest;
    Some(u64::from_be_bytes(*head))
}

impl Key for String {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_str(out, self);
    }
    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let s = decode_str(&mut bytes)?;
        bytes.is_empty().then_some(s)
    }
}

impl Key for u64 {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }
    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let n = decode_u64(&mut bytes)?;
        bytes.is_empty().then_some(n)
    }
}

/// The key of a table of one record.
impl Key for () {
    fn encode(&self, _out: &mut Vec<u8>) {}
    fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes<K: Key>(k: &K) -> Vec<u8> {
        let mut out = Vec::new();
        k.encode(&mut out);
        out
    }

    proptest! {
        #[test]
        fn strings_of_any_bytes_sort_as_their_keys_and_come_back(a in "[\u{0}-\u{3}a-c]{0,6}", b in "[\u{0}-\u{3}a-c]{0,6}") {
            let (ka, kb) = (bytes(&a), bytes(&b));
            prop_assert_eq!(ka.cmp(&kb), a.cmp(&b));
            prop_assert_eq!(String::decode(&ka), Some(a));
        }

        #[test]
        fn numbers_sort_as_their_keys_and_come_back(a: u64, b: u64) {
            prop_assert_eq!(bytes(&a).cmp(&bytes(&b)), a.cmp(&b));
            prop_assert_eq!(u64::decode(&bytes(&a)), Some(a));
        }
    }
}
