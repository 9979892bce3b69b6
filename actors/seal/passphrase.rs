//! Recipients that a passphrase opens.
//!
//! A passphrase and a random salt give, by argon2id (RFC 9106), the 32 bytes of an X25519 identity; a stanza is wrapped to its public part
//! like to any other. So a stanza stays one plain age file, and whoever can derive the identity opens it with the `age` program. What is
//! needed for that beside the passphrase is public, and lies next to the stanza: `stanzas/<uid>.passphrases.json`, canonical JSON.
//!
//! One lane and not the four of RFC 9106's second recommended option: libsodium, by which others derive it, computes one lane only.
//! Memory (64 MiB) and passes (3) are those of that option.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use argon2::{Algorithm, Argon2, Params, Version};
use rand::TryRngCore;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::canonical::{self, fixed_hex};
use super::error::SealError;
use super::keys::{Identity, PackKey, Recipient, Unwraps, unwrap};
use super::{PackUid, Vault};

/// `kdf` of a record.
pub const KDF: &str = "argon2id";
/// Version of argon2, 0x13.
pub const ARGON2_VERSION: u32 = 19;
/// Memory of a new record, KiB.
pub const MEMORY_KIB: u32 = 64 * 1024;
/// Passes of a new record.
pub const PASSES: u32 = 3;
/// Lanes of a new record.
pub const LANES: u32 = 1;
/// The most memory that a record may ask for, KiB.
pub const MAX_MEMORY_KIB: u32 = 1 << 20;
/// The most passes that a record may ask for.
pub const MAX_PASSES: u32 = 64;
/// As many passes over all the memory that is allowed are tried.
const WORK: u64 = 6;
/// As many records are tried by one command.
const MOST_DERIVED: usize = 64;
/// The most lanes.
pub const MAX_LANES: u32 = 16;
/// The most records of one sealing.
pub const MAX_RECORDS: usize = 32;
/// The fewest characters of a new passphrase: it guards ciphertext that anybody may try it on.
pub const SHORTEST: usize = 12;
/// The longest passphrase, bytes.
pub const LONGEST: usize = 1024;
const NAME: usize = 64;

/// What is public of a recipient that a passphrase opens; fields in the order of the canonical text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassphraseRecord {
    /// [`KDF`].
    pub kdf: String,
    /// Lanes of argon2.
    pub lanes: u32,
    /// Memory of argon2, KiB.
    pub memory_kib: u32,
    /// What it is called.
    pub name: String,
    /// Passes of argon2.
    pub passes: u32,
    /// The age recipient of the identity that the right passphrase gives.
    pub recipient: String,
    /// Salt of argon2, 16 random bytes.
    #[serde(with = "fixed_hex")]
    pub salt: [u8; 16],
    /// [`ARGON2_VERSION`].
    pub version: u32,
}

impl PassphraseRecord {
    /// The record of a new recipient, with a salt of its own.
    ///
    /// # Errors
    /// The name or the passphrase is not one that can be used; no random numbers.
    pub fn new(name: &str, passphrase: &Passphrase) -> Result<Self, SealError> {
        check_name(name)?;
        if passphrase.text.chars().count() < SHORTEST {
            let why = format!("has fewer than {SHORTEST} characters; six words that were drawn by dice are a good one");
            return Err(SealError::contract("passphrase", why));
        }
        let mut salt = [0u8; 16];
        rand::rngs::OsRng
            .try_fill_bytes(&mut salt)
            .map_err(|e| SealError::contract("random generator", format!("{e}; nothing was changed")))?;
        let mut record = Self {
            kdf: KDF.to_owned(),
            lanes: LANES,
            memory_kib: MEMORY_KIB,
            name: name.to_owned(),
            passes: PASSES,
            recipient: String::new(),
            salt,
            version: ARGON2_VERSION,
        };
        record.recipient = derive(&record, passphrase.text.as_bytes())?.to_public().to_string();
        Ok(record)
    }

    /// The recipient that stanzas are wrapped to.
    ///
    /// # Errors
    /// It is none.
    pub fn recipient(&self) -> Result<Recipient, SealError> {
        self.recipient.parse()
    }

    fn fault(&self) -> Option<&'static str> {
        if self.kdf != KDF || self.version != ARGON2_VERSION {
            return Some("names another function than argon2id version 19; a newer datanode may read it");
        }
        if !(1..=MAX_LANES).contains(&self.lanes) || !(1..=MAX_PASSES).contains(&self.passes) {
            return Some("asks for lanes beyond 1 to 16, or passes beyond 1 to 64");
        }
        if self.memory_kib < 8 * self.lanes || self.memory_kib > MAX_MEMORY_KIB {
            return Some("asks for memory beyond 8 KiB a lane to 1 GiB");
        }
        let named = check_name(&self.name).is_ok() && self.recipient.len() == 62 && self.recipient().is_ok();
        (!named).then_some("has no proper name or recipient")
    }
}

/// A name of a recipient: 1 to 64 letters, digits, `-`, `_`, `.`, `@`.
///
/// # Errors
/// It is none.
pub fn check_name(name: &str) -> Result<(), SealError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.@".contains(&b);
    if name.is_empty() || name.len() > NAME || !name.bytes().all(plain) {
        return Err(SealError::contract(
            format!("name {name:?}"),
            "has not 1 to 64 letters, digits, `-`, `_`, `.`, `@`",
        ));
    }
    Ok(())
}

/// The canonical text of records.
///
/// # Errors
/// None that can happen.
pub fn encode_records(records: &[PassphraseRecord]) -> Result<Vec<u8>, SealError> {
    canonical::encode(&records)
}

/// Parses records and checks what they ask for; nothing is derived, and nothing large allocated.
///
/// # Errors
/// It is not the canonical text of records within the limits.
pub fn decode_records(what: &str, text: &[u8]) -> Result<Vec<PassphraseRecord>, SealError> {
    let records: Vec<PassphraseRecord> = canonical::decode(what, text)?;
    if records.len() > MAX_RECORDS {
        return Err(SealError::contract(what, "lists more recipients than 32; it was made by other software"));
    }
    match records.iter().find_map(PassphraseRecord::fault) {
        Some(why) => Err(SealError::contract(what, why)),
        None => Ok(records),
    }
}

/// A passphrase that opens sealings. Zeroized when dropped; prints as nothing.
pub struct Passphrase {
    text: Zeroizing<String>,
    limit_kib: u32,
    /// What it gave so far: many sealings share a record, and each derivation takes its time.
    derived: Mutex<Vec<(PassphraseRecord, Identity)>>,
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

impl Passphrase {
    /// From what was typed, without the end of its line. Its UTF-8 bytes count, as they are.
    ///
    /// # Errors
    /// It is empty, or longer than [`LONGEST`].
    pub fn new(text: Zeroizing<String>) -> Result<Self, SealError> {
        if text.is_empty() || text.len() > LONGEST {
            return Err(SealError::contract("passphrase", "is empty or has more than 1024 bytes"));
        }
        Ok(Self { text, limit_kib: MAX_MEMORY_KIB, derived: Mutex::default() })
    }

    /// Refuses records that ask for more memory, KiB.
    pub fn with_limit(mut self, kib: u32) -> Self {
        self.limit_kib = kib;
        self
    }

    /// The identity that this passphrase gives with a record; None where it is the wrong one.
    ///
    /// # Errors
    /// The record asks for more memory than is allowed, or for what argon2 cannot do.
    pub fn identity(&self, record: &PassphraseRecord) -> Result<Option<Identity>, SealError> {
        let mut derived = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, identity)) = derived.iter().find(|(of, _)| of == record) {
            return Ok(is_of(identity, record).then(|| identity.clone()));
        }
        if record.memory_kib > self.limit_kib {
            let why = format!(
                "asks for {} MiB of memory, more than is allowed here; raise --passphrase-memory-mib if you trust it",
                record.memory_kib / 1024
            );
            return Err(SealError::contract(format!("passphrase recipient {:?}", record.name), why));
        }
        let work = u64::from(record.memory_kib).saturating_mul(record.passes.into());
        if work > u64::from(self.limit_kib).saturating_mul(WORK) || derived.len() >= MOST_DERIVED {
            let why = "asks for more work than is reasonable, or is one of too many; raise --passphrase-memory-mib if you trust it";
            return Err(SealError::contract(format!("passphrase recipient {:?}", record.name), why));
        }
        let identity = derive(record, self.text.as_bytes())?;
        let right = is_of(&identity, record).then(|| identity.clone());
        derived.push((record.clone(), identity));
        Ok(right)
    }
}

fn is_of(identity: &Identity, record: &PassphraseRecord) -> bool {
    identity.to_public().to_string() == record.recipient
}

impl Unwraps for Passphrase {
    fn unwrap_stanza(&self, vault: &Vault, uid: &PackUid, stanza: &[u8]) -> Result<PackKey, SealError> {
        let records = vault.passphrases(uid)?;
        if records.is_empty() {
            return Err(SealError::Unwrap("no passphrase was ever allowed to open it".to_owned()));
        }
        for record in &records {
            if let Some(identity) = self.identity(record)? {
                return unwrap(stanza, &identity);
            }
        }
        let names: Vec<&str> = records.iter().map(|r| r.name.as_str()).collect();
        Err(SealError::Unwrap(format!("it is the passphrase of none of {}", names.join(", "))))
    }

    fn needs_records(&self) -> bool {
        true
    }
}

fn derive(record: &PassphraseRecord, passphrase: &[u8]) -> Result<Identity, SealError> {
    let refuse = |why: argon2::Error| {
        SealError::contract(format!("passphrase recipient {:?}", record.name), format!("cannot be derived: {why}"))
    };
    let params = Params::new(record.memory_kib, record.passes, record.lanes, Some(32)).map_err(refuse)?;
    let mut secret = Zeroizing::new([0u8; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, &record.salt, secret.as_mut_slice())
        .map_err(refuse)?;
    Identity::from_secret(&secret)
}

/// The bech32 text (BIP 173) of some bytes.
pub(super) fn bech32(prefix: &str, bytes: &[u8]) -> Zeroizing<String> {
    const LETTERS: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    let letter = |five: u8| LETTERS.get(usize::from(five & 31)).copied().map_or('q', char::from);
    let mut fives: Zeroizing<Vec<u8>> = Zeroizing::new(Vec::with_capacity(bytes.len() * 2));
    let (mut held, mut bits) = (0u32, 0u32);
    for byte in bytes {
        held = (held << 8 | u32::from(*byte)) & 0xfff;
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            fives.push((held >> bits) as u8 & 31);
        }
    }
    if bits > 0 {
        fives.push((held << (5 - bits)) as u8 & 31);
    }
    let spread = prefix.bytes().map(|b| b >> 5).chain([0]).chain(prefix.bytes().map(|b| b & 31));
    let sum = polymod(spread.chain(fives.iter().copied()).chain([0; 6])) ^ 1;
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + 8 + fives.len()));
    text.push_str(prefix);
    text.push('1');
    text.extend(fives.iter().map(|five| letter(*five)));
    text.extend((0..6).map(|i| letter((sum >> (5 * (5 - i))) as u8)));
    text
}

fn polymod(values: impl Iterator<Item = u8>) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    values.fold(1u32, |sum, value| {
        let top = sum >> 25;
        let next = (sum & 0x1ff_ffff) << 5 ^ u32::from(value);
        (0u32..).zip(GENERATOR).fold(next, |n, (i, g)| if top >> i & 1 == 1 { n ^ g } else { n })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9106 section 5.3.
    #[test]
    fn argon2id_gives_the_tag_of_the_rfc() {
        let mut builder = argon2::ParamsBuilder::new();
        builder.m_cost(32).t_cost(3).p_cost(4).output_len(32);
        builder.data(argon2::AssociatedData::new(&[4; 12]).unwrap());
        let params = builder.build().unwrap();
        let argon = Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params).unwrap();
        let mut tag = [0u8; 32];
        argon.hash_password_into(&[1; 32], &[2; 16], &mut tag).unwrap();
        assert_eq!(hex::encode(tag), "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659");
    }

    #[test]
    fn the_text_of_a_secret_is_what_age_writes() {
        use age::secrecy::ExposeSecret;
        for _ in 0..20 {
            let theirs = age::x25519::Identity::generate();
            let text = theirs.to_string().expose_secret().to_owned();
            let back = Identity::from_secret(&unbech32(&text.to_lowercase())).unwrap();
            assert_eq!(back.to_public().to_string(), theirs.to_public().to_string());
        }
        // BIP 173's own.
        assert_eq!(&*bech32("a", &[]), "a12uel5l");
    }

    fn unbech32(text: &str) -> [u8; 32] {
        let letters = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
        let data = text.rsplit_once('1').unwrap().1;
        let (mut out, mut held, mut bits) = (Vec::new(), 0u64, 0);
        for c in data[..data.len() - 6].bytes() {
            held = held << 5 | letters.iter().position(|l| *l == c).unwrap() as u64;
            bits += 5;
            if bits >= 8 {
                bits -= 8;
                out.push((held >> bits) as u8);
                held &= (1 << bits) - 1;
            }
        }
        out[..32].try_into().unwrap()
    }

    fn record() -> PassphraseRecord {
        let recipient = Identity::generate().to_public().to_string();
        let (kdf, name) = (KDF.to_owned(), "desk".to_owned());
        PassphraseRecord { kdf, lanes: 1, memory_kib: 64, name, passes: 1, recipient, salt: [7; 16], version: 19 }
    }

    #[test]
    fn records_that_ask_for_too_much_are_refused_before_anything_is_derived() {
        let text = |r: &PassphraseRecord| encode_records(std::slice::from_ref(r)).unwrap();
        let good = record();
        assert_eq!(decode_records("r", &text(&good)).unwrap(), [good]);
        let bad: [fn(&mut PassphraseRecord); 9] = [
            |r| r.memory_kib = MAX_MEMORY_KIB + 1,
            |r| r.memory_kib = 7,
            |r| r.passes = 0,
            |r| r.passes = MAX_PASSES + 1,
            |r| r.lanes = 0,
            |r| r.lanes = MAX_LANES + 1,
            |r| r.version = 16,
            |r| r.kdf = "argon2i".into(),
            |r| r.name = "a b".into(),
        ];
        for change in bad {
            let mut r = record();
            change(&mut r);
            assert!(decode_records("r", &text(&r)).is_err(), "{r:?}");
        }
        let many = vec![record(); MAX_RECORDS + 1];
        assert!(decode_records("r", &encode_records(&many).unwrap()).is_err());
        assert!(decode_records("r", b"[ ]\n").is_err(), "not canonical");
    }

    #[test]
    fn the_right_passphrase_gives_the_identity_and_any_other_gives_none() {
        let of = |t: &str| Passphrase::new(Zeroizing::new(t.to_owned())).unwrap();
        let mut r = record();
        r.recipient = derive(&r, b"correct horse battery").unwrap().to_public().to_string();
        assert!(of("correct horse battery").identity(&r).unwrap().is_some());
        assert!(of("correct horse batterz").identity(&r).unwrap().is_none());
        assert!(of("correct horse battery").with_limit(32).identity(&r).is_err(), "more memory than is allowed");
        assert!(PassphraseRecord::new("desk", &of("too short")).is_err());
    }
}
