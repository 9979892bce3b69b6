//! What a manifest would weigh, counted without keeping any of it: a hostile one is refused before it fills the memory.

use super::check::MAX_FILES;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Partitions that a manifest may hold out.
const MAX_EXCLUDED: usize = 400_000;
/// Reasons of all of them together.
const MAX_REASONS: usize = 800_000;

/// Refuses a manifest with too many entries.
pub(super) fn weigh(text: &[u8]) -> Result<(), String> {
    let w: Weight = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    for (what, n, most) in [
        ("files", w.files, MAX_FILES),
        ("partitions held out", w.excluded, MAX_EXCLUDED),
        ("reasons", w.reasons, MAX_REASONS),
    ] {
        if n > most {
            return Err(format!("{n} {what}; more than {most} are refused"));
        }
    }
    Ok(())
}

#[derive(Default)]
struct Weight {
    files: usize,
    excluded: usize,
    reasons: usize,
}

/// Fields by name; what they hold is counted or passed over. Whatever has another form is left to the parser proper.
macro_rules! counted {
    ($name:ident { $($field:literal => |$into:ident, $value:ident: $type:ty| $add:expr),* $(,)? }) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                struct Fields;
                impl<'de> Visitor<'de> for Fields {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an object")
                    }
                    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        let mut out = $name::default();
                        while let Some(key) = map.next_key::<Key>()? {
                            match key.0.as_str() {
                                $($field => {
                                    let $value: $type = map.next_value()?;
                                    let $into = &mut out;
                                    $add;
                                })*
                                _ => drop(map.next_value::<IgnoredAny>()?),
                            }
                        }
                        Ok(out)
                    }
                }
                d.deserialize_map(Fields)
            }
        }
    };
}

counted!(Weight {
    "files" => |out, n: Count| out.files += n.0,
    "qc" => |out, qc: Verdicts| { out.excluded += qc.excluded; out.reasons += qc.reasons },
});

#[derive(Default)]
struct Verdicts {
    excluded: usize,
    reasons: usize,
}

counted!(Verdicts {
    "excluded" => |out, list: Partitions| { out.excluded += list.0; out.reasons += list.1 },
});

#[derive(Default)]
struct Partition(usize);

counted!(Partition { "reasons" => |out, n: Count| out.0 += n.0 });

/// The first bytes of a field's name: the names that count are shorter.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Key;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's name")
            }
            fn visit_str<E>(self, v: &str) -> Result<Key, E> {
                Ok(Key(v.chars().take(16).collect()))
            }
        }
        d.deserialize_str(Text)
    }
}

/// Elements of a list.
#[derive(Default)]
struct Count(usize);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Count;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Count, A::Error> {
                let mut n = 0;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    n += 1;
                }
                Ok(Count(n))
            }
        }
        d.deserialize_seq(List)
    }
}

/// Partitions, and the reasons of all of them.
#[derive(Default)]
struct Partitions(usize, usize);

impl<'de> Deserialize<'de> for Partitions {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Partitions;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Partitions, A::Error> {
                let mut out = Partitions::default();
                while let Some(p) = seq.next_element::<Partition>()? {
                    out.0 += 1;
                    out.1 += p.0;
                }
                Ok(out)
            }
        }
        d.deserialize_seq(List)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_heavy_is_refused_and_counted() {
        let files = |n: usize| format!(r#"{{"x":[[1]],"files":[{}0],"qc":{{"excluded":[]}}}}"#, "0,".repeat(n));
        assert_eq!(weigh(files(MAX_FILES - 1).as_bytes()), Ok(()));
        assert!(weigh(files(MAX_FILES).as_bytes()).unwrap_err().contains("150001 files"));
        let reasons = format!(r#"{{"reasons":[{}0]}}"#, "0,".repeat(MAX_REASONS));
        let text = format!(r#"{{"qc":{{"excluded":[{reasons}]}}}}"#);
        assert!(weigh(text.as_bytes()).unwrap_err().contains("reasons"));
        assert!(weigh(b"[").is_err() && weigh(&[b'['; 100_000]).is_err());
    }
}
