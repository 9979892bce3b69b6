//! Canonical JSON: one value, one text.
//!
//! Object keys sorted, no whitespace, integers only, strings escaped as `serde_json` does (`\"`, `\\`, `\b \f \n \r
//! \t`, other control characters as `\u00xx` in lower case, nothing else), one trailing newline. A record declares its
//! fields in sorted order and denies unknown ones; duplicates are refused by serde. What parses is encoded again and
//! must give the same bytes, so no altered byte can hide in the encoding.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::SealError;

/// The canonical text of a record.
pub(crate) fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, SealError> {
    let mut text = serde_json::to_vec(record).map_err(|_| SealError::internal("a record does not encode"))?;
    text.push(b'\n');
    Ok(text)
}

/// Parses a canonical text; anything else is refused.
pub(crate) fn decode<T: Serialize + DeserializeOwned>(what: &str, text: &[u8]) -> Result<T, SealError> {
    let record: T = serde_json::from_slice(text).map_err(|error| {
        SealError::integrity(what, format!("does not parse ({error}); it was altered: restore it from a replica"))
    })?;
    if encode(&record)? != text {
        return Err(SealError::integrity(what, "is not in canonical form; it was altered: restore it from a replica"));
    }
    Ok(record)
}

/// Fixed-size bytes as lower-case hex.
pub(crate) mod fixed_hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer, const N: usize>(bytes: &[u8; N], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&hex::encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(d: D) -> Result<[u8; N], D::Error> {
        let text = String::deserialize(d)?;
        let mut bytes = [0u8; N];
        hex::decode_to_slice(&text, &mut bytes).map_err(D::Error::custom)?;
        Ok(bytes)
    }
}

/// Fixed-size bytes as lower-case hex, or null.
pub(crate) mod fixed_hex_option {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct One<const N: usize>(#[serde(with = "super::fixed_hex")] [u8; N]);

    pub(crate) fn serialize<S: Serializer, const N: usize>(bytes: &Option<[u8; N]>, s: S) -> Result<S::Ok, S::Error> {
        bytes.map(One).serialize(s)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(d: D) -> Result<Option<[u8; N]>, D::Error> {
        Ok(Option::<One<N>>::deserialize(d)?.map(|one| one.0))
    }
}

/// A list of fixed-size bytes as lower-case hex.
pub(crate) mod fixed_hex_list {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct One<const N: usize>(#[serde(with = "super::fixed_hex")] [u8; N]);

    pub(crate) fn serialize<S: Serializer, const N: usize>(list: &[[u8; N]], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(list.iter().map(|bytes| One(*bytes)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(d: D) -> Result<Vec<[u8; N]>, D::Error> {
        Ok(Vec::<One<N>>::deserialize(d)?.into_iter().map(|one| one.0).collect())
    }
}
