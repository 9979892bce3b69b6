//! Making chunk objects, one after another.

use super::aead::Backend;
use super::chunk::{ChunkKeys, Codec, MAX_PLAINTEXT, Opener, Place, assemble, open};
use super::error::Diagnosis;

const ZSTD_LEVEL: i32 = 1;

/// Seals chunks one after another, with its buffers kept between them (about two chunks of memory).
pub struct Sealer {
    backend: Backend,
    compressor: zstd::bulk::Compressor<'static>,
    /// What zstd made of a plaintext, and later what it made of that again.
    scratch: Vec<u8>,
    object: Vec<u8>,
    check: Vec<u8>,
}

impl Sealer {
    /// A sealer without buffers yet.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            backend: Backend::chosen(),
            compressor: zstd::bulk::Compressor::new(ZSTD_LEVEL)?,
            scratch: Vec::new(),
            object: Vec::new(),
            check: Vec::new(),
        })
    }

    /// By RustCrypto alone, for comparing the two.
    #[doc(hidden)]
    pub fn by_reference(mut self) -> Self {
        self.backend = Backend::Reference;
        self
    }

    /// Hands the object of this plaintext at this place to `hand`, and then opens it again from memory and compares it with the
    /// plaintext: what a bad compressor or memory did to it must not reach the vault. What `hand` made of it is given only
    /// where it held. The same arguments make the same bytes.
    pub(super) fn seal_with<T>(
        &mut self,
        keys: &ChunkKeys,
        place: &Place,
        plaintext: &[u8],
        hand: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, Diagnosis> {
        self.make(keys, place, plaintext)?;
        let made = hand(&self.object);
        let opened = open(self.backend, &mut self.object, place, Opener::Pack(keys), &mut self.scratch)?;
        if opened == plaintext { Ok(made) } else { Err(Diagnosis::Codec) }
    }

    /// The object of this plaintext at this place, checked in the same way.
    pub fn seal(&mut self, keys: &ChunkKeys, place: &Place, plaintext: &[u8]) -> Result<&[u8], Diagnosis> {
        self.make(keys, place, plaintext)?;
        self.check.clear();
        self.check.extend_from_slice(&self.object);
        let opened = open(self.backend, &mut self.check, place, Opener::Pack(keys), &mut self.scratch)?;
        if opened == plaintext { Ok(&self.object) } else { Err(Diagnosis::Codec) }
    }

    fn make(&mut self, keys: &ChunkKeys, place: &Place, plaintext: &[u8]) -> Result<(), Diagnosis> {
        if plaintext.is_empty() || plaintext.len() > MAX_PLAINTEXT {
            return Err(Diagnosis::Header("length beyond the limits"));
        }
        let bound = zstd::zstd_safe::compress_bound(plaintext.len());
        if self.scratch.len() < bound {
            self.scratch.resize(bound, 0);
        }
        let size = self.compressor.compress_to_buffer(plaintext, &mut self.scratch).map_err(|_| Diagnosis::Codec)?;
        let saves = size.saturating_mul(100) <= plaintext.len().saturating_mul(95);
        let (codec, payload) = match self.scratch.get(..size) {
            Some(small) if saves => (Codec::Zstd, small),
            _ => (Codec::Raw, plaintext),
        };
        assemble(self.backend, keys, place, codec, plaintext.len(), payload, &mut self.object)
    }
}
