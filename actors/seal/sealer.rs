//! Making chunk objects, one after another.

use super::aead::Backend;
use super::chunk::{ChunkKeys, Codec, HEADER, MAX_PLAINTEXT, Opener, Place, assemble, open};
use super::error::Diagnosis;

const ZSTD_LEVEL: i32 = 1;

/// Seals chunks one after another, with its buffers kept between them (one or two chunks of memory).
pub struct Sealer {
    backend: Backend,
    compressor: zstd::bulk::Compressor<'static>,
    /// Room for a header, then what zstd made of a plaintext.
    small: Vec<u8>,
    /// What zstd made of that again.
    check: Vec<u8>,
    chunk: Vec<u8>,
    object: Vec<u8>,
}

impl Sealer {
    /// A sealer without buffers yet.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            backend: Backend::chosen(),
            compressor: zstd::bulk::Compressor::new(ZSTD_LEVEL)?,
            small: Vec::new(),
            check: Vec::new(),
            chunk: Vec::new(),
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
        let (mut chunk, mut object) = (std::mem::take(&mut self.chunk), std::mem::take(&mut self.object));
        chunk.clear();
        chunk.resize(HEADER, 0);
        chunk.extend_from_slice(plaintext);
        let done = self.seal_with(keys, place, &mut chunk, |made| {
            object.clear();
            object.extend_from_slice(made);
        });
        (self.chunk, self.object) = (chunk, object);
        done.map(|()| self.object.as_slice())
    }

    /// Seals a chunk without copying it: `chunk` holds room for a header and then the plaintext, and is used up. The object goes to
    /// `hand`; then it is opened again from memory and compared with the plaintext, because what a bad compressor or memory did
    /// to it must not reach the vault. What `hand` made of it is given only where it held.
    ///
    /// A raw chunk is compared by the BLAKE3 that its salt was made from: the plaintext itself was encrypted in its place.
    pub(super) fn seal_with<T>(
        &mut self,
        keys: &ChunkKeys,
        place: &Place,
        chunk: &mut Vec<u8>,
        hand: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, Diagnosis> {
        let plaintext = chunk.get(HEADER..).unwrap_or_default();
        let len = plaintext.len();
        if len == 0 || len > MAX_PLAINTEXT {
            return Err(Diagnosis::Header("length beyond the limits"));
        }
        let bound = HEADER.saturating_add(zstd::zstd_safe::compress_bound(len));
        if self.small.len() < bound {
            self.small.resize(bound, 0);
        }
        let room = self.small.get_mut(HEADER..).unwrap_or_default();
        let size = self.compressor.compress_to_buffer(plaintext, room).map_err(|_| Diagnosis::Codec)?;
        let held;
        let made;
        if size.saturating_mul(100) <= len.saturating_mul(95) {
            self.small.truncate(HEADER.saturating_add(size));
            assemble(self.backend, keys, place, Codec::Zstd, len, &mut self.small)?;
            made = hand(&self.small);
            held = open(self.backend, &mut self.small, place, Opener::Pack(keys), &mut self.check)? == plaintext;
        } else {
            let hash = assemble(self.backend, keys, place, Codec::Raw, len, chunk)?;
            made = hand(chunk);
            let opened = open(self.backend, chunk, place, Opener::Pack(keys), &mut self.check)?;
            held = opened.len() == len && blake3::hash(opened) == hash;
        }
        if held { Ok(made) } else { Err(Diagnosis::Codec) }
    }
}
