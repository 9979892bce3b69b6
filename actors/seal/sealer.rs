//! Making chunk objects, one after another.

use super::aead::Backend;
use super::chunk::{ChunkKeys, Codec, HEADER, MAX_PLAINTEXT, Opener, Place, TAIL, assemble, open};
use super::error::Diagnosis;
use datanode_schema::direct::Aligned;

const ZSTD_LEVEL: i32 = 1;

/// Seals chunks one after another, with its buffers kept between them (one or two chunks of memory).
pub struct Sealer {
    backend: Backend,
    compressor: zstd::bulk::Compressor<'static>,
    /// Room for a header, then what zstd made of a plaintext, or that itself; in the end the object.
    made: Aligned,
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
            made: Aligned::default(),
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
        let bound = HEADER.saturating_add(zstd::zstd_safe::compress_bound(len)).saturating_add(TAIL);
        let room = self.made.room(bound);
        let to = room.get_mut(HEADER..).unwrap_or_default();
        let size = self.compressor.compress_to_buffer(plaintext, to).map_err(|_| Diagnosis::Codec)?;
        let (codec, size) =
            if size.saturating_mul(100) <= len.saturating_mul(95) { (Codec::Zstd, size) } else { (Codec::Raw, len) };
        let whole = HEADER.saturating_add(size).saturating_add(TAIL);
        let object = room.get_mut(..whole).ok_or(Diagnosis::Codec)?;
        if let Some(to) = object.get_mut(HEADER..HEADER.saturating_add(len)).filter(|_| codec == Codec::Raw) {
            to.copy_from_slice(plaintext);
        }
        assemble(self.backend, keys, place, codec, len, object)?;
        let handed = hand(object);
        let opened = open(self.backend, object, place, Opener::Pack(keys), &mut self.check)?;
        if opened == plaintext { Ok(handed) } else { Err(Diagnosis::Codec) }
    }
}
