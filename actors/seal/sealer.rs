//! Making chunk objects, one after another.

use super::aead::Backend;
use super::chunk::{ChunkKeys, Codec, HEADER, MAX_PLAINTEXT, Opener, Place, assemble, open};
use super::error::Diagnosis;

const ZSTD_LEVEL: i32 = 1;

/// Seals chunks one after another, with its buffers kept between them (one or two chunks of memory).
pub struct Sealer {
    backend: Backend,
    compressor: zstd::bulk::Compressor<'static>,
    /// Room for a header, then what zstd made of a plaintext; in the end the object.
    made: Vec<u8>,
    /// What zstd made of that again.
    check: Vec<u8>,
    object: Vec<u8>,
}

impl Sealer {
    /// A sealer without buffers yet.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            backend: Backend::chosen(),
            compressor: zstd::bulk::Compressor::new(ZSTD_LEVEL)?,
            made: Vec::new(),
            check: Vec::new(),
            object: Vec::new(),
        })
    }

    /// By RustCrypto alone, for comparing the two.
    #[doc(hidden)]
    pub fn by_reference(mut self) -> Self {
        self.backend = Backend::Reference;
        self
    }

    /// The object of this plaintext at this place, opened again from memory and compared. The same arguments make the same bytes.
    pub fn seal(&mut self, keys: &ChunkKeys, place: &Place, plaintext: &[u8]) -> Result<&[u8], Diagnosis> {
        let mut object = std::mem::take(&mut self.object);
        let done = self.seal_with(keys, place, plaintext, |made| {
            object.clear();
            object.extend_from_slice(made);
        });
        self.object = object;
        done.map(|()| self.object.as_slice())
    }

    /// Hands the object of this plaintext at this place to `hand`; then it is opened again from memory and compared with the
    /// plaintext, because what a bad compressor or memory did to it must not reach the vault. What `hand` made of it is given
    /// only where it held.
    pub(super) fn seal_with<T>(
        &mut self,
        keys: &ChunkKeys,
        place: &Place,
        plaintext: &[u8],
        hand: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, Diagnosis> {
        let len = plaintext.len();
        if len == 0 || len > MAX_PLAINTEXT {
            return Err(Diagnosis::Header("length beyond the limits"));
        }
        let bound = HEADER.saturating_add(zstd::zstd_safe::compress_bound(len));
        if self.made.len() < bound {
            self.made.resize(bound, 0);
        }
        let room = self.made.get_mut(HEADER..).unwrap_or_default();
        let size = self.compressor.compress_to_buffer(plaintext, room).map_err(|_| Diagnosis::Codec)?;
        let codec = if size.saturating_mul(100) <= len.saturating_mul(95) {
            self.made.truncate(HEADER.saturating_add(size));
            Codec::Zstd
        } else {
            self.made.truncate(HEADER);
            self.made.extend_from_slice(plaintext);
            Codec::Raw
        };
        assemble(self.backend, keys, place, codec, len, &mut self.made)?;
        let handed = hand(&self.made);
        let opened = open(self.backend, &mut self.made, place, Opener::Pack(keys), &mut self.check)?;
        if opened == plaintext { Ok(handed) } else { Err(Diagnosis::Codec) }
    }
}
