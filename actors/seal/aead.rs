//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), two ways.
//!
//! The reference is RustCrypto's `chacha20poly1305`. The fast way derives the subkey with HChaCha20 and hands the
//! rest to ring's ChaCha20-Poly1305 (RFC 8439): the same function, more than twice as fast where ring has assembly.
//! Which one runs is decided once a process, by letting both seal the same bytes: the fast way is taken only where
//! it agrees with the reference.

use std::sync::OnceLock;

use chacha20::{R20, hchacha};
use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, Tag, UnboundKey};
use zeroize::Zeroizing;

/// Bytes of the authentication tag.
pub(crate) const TAG: usize = 16;

/// The tag did not match; the buffer's content must not be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TagMismatch;

/// Which implementation does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    /// RustCrypto, the oracle.
    Reference,
    /// HChaCha20 and ring.
    Ring,
}

impl Backend {
    /// The backend of this process.
    pub(crate) fn chosen() -> Self {
        static CHOSEN: OnceLock<Backend> = OnceLock::new();
        *CHOSEN.get_or_init(|| if agrees_with_reference() { Self::Ring } else { Self::Reference })
    }

    /// Encrypts in place and gives the tag.
    pub(crate) fn seal(
        self,
        key: &[u8; 32],
        nonce: &[u8; 24],
        aad: &[u8],
        buffer: &mut [u8],
    ) -> Result<[u8; TAG], TagMismatch> {
        match self {
            Self::Reference => {
                let cipher = XChaCha20Poly1305::new(key.into());
                cipher.encrypt_inout_detached(nonce.into(), aad, buffer.into()).map(Into::into).map_err(|_| TagMismatch)
            }
            Self::Ring => {
                let (cipher, nonce) = subkey(key, nonce)?;
                let tag = cipher.seal_in_place_separate_tag(nonce, Aad::from(aad), buffer).map_err(|_| TagMismatch)?;
                tag.as_ref().try_into().map_err(|_| TagMismatch)
            }
        }
    }

    /// Checks the tag and decrypts in place. On a mismatch the buffer's content is unspecified.
    pub(crate) fn open(
        self,
        key: &[u8; 32],
        nonce: &[u8; 24],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG],
    ) -> Result<(), TagMismatch> {
        match self {
            Self::Reference => {
                let cipher = XChaCha20Poly1305::new(key.into());
                cipher.decrypt_inout_detached(nonce.into(), aad, buffer.into(), tag.into()).map_err(|_| TagMismatch)
            }
            Self::Ring => {
                let (cipher, nonce) = subkey(key, nonce)?;
                cipher
                    .open_in_place_separate_tag(nonce, Aad::from(aad), Tag::from(*tag), buffer, 0..)
                    .map(|_| ())
                    .map_err(|_| TagMismatch)
            }
        }
    }
}

/// XChaCha's first half: the subkey from the first 16 bytes of the nonce, the inner nonce from the last 8.
fn subkey(key: &[u8; 32], nonce: &[u8; 24]) -> Result<(LessSafeKey, Nonce), TagMismatch> {
    let (head, tail) = nonce.split_at(16);
    let head: &[u8; 16] = head.try_into().map_err(|_| TagMismatch)?;
    let subkey = Zeroizing::new(<[u8; 32]>::from(hchacha::<R20>(key.into(), head.into())));
    let mut inner = [0u8; 12];
    for (to, from) in inner.iter_mut().skip(4).zip(tail) {
        *to = *from;
    }
    let unbound = UnboundKey::new(&CHACHA20_POLY1305, subkey.as_slice()).map_err(|_| TagMismatch)?;
    Ok((LessSafeKey::new(unbound), Nonce::assume_unique_for_key(inner)))
}

/// Long enough to take every SIMD path of either implementation, odd enough to leave a tail.
const PROBE: usize = 4096 + 37;

fn agrees_with_reference() -> bool {
    let (key, nonce, aad) = ([0x42; 32], [0x24; 24], [0x11; 48]);
    let plain: Vec<u8> = (0..=255u8).cycle().take(PROBE).collect();
    let (mut ours, mut theirs) = (plain.clone(), plain.clone());
    let ring = Backend::Ring.seal(&key, &nonce, &aad, &mut ours);
    let reference = Backend::Reference.seal(&key, &nonce, &aad, &mut theirs);
    let Ok(tag) = reference else { return false };
    ring == reference
        && ours == theirs
        && Backend::Ring.open(&key, &nonce, &aad, &mut ours, &tag).is_ok()
        && ours == plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_fast_backend_is_chosen_where_it_agrees() {
        assert!(agrees_with_reference());
        assert_eq!(Backend::chosen(), Backend::Ring);
    }

    /// draft-irtf-cfrg-xchacha-03, appendix A.3.1.
    #[test]
    fn both_backends_reproduce_the_published_vector() {
        let key: [u8; 32] = std::array::from_fn(|i| 0x80 + i as u8);
        let nonce: [u8; 24] = std::array::from_fn(|i| 0x40 + i as u8);
        let aad = hex::decode("50515253c0c1c2c3c4c5c6c7").unwrap();
        let plain = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
                      sunscreen would be it.";
        for backend in [Backend::Reference, Backend::Ring] {
            let mut buffer = plain.to_vec();
            let tag = backend.seal(&key, &nonce, &aad, &mut buffer).unwrap();
            assert_eq!(hex::encode(tag), "c0875924c1c7987947deafd8780acf49");
            assert!(
                hex::encode(&buffer).starts_with("bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb")
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn ring_and_the_reference_seal_and_open_alike(
            key: [u8; 32], nonce: [u8; 24], aad: [u8; 48],
            plain in proptest::collection::vec(any::<u8>(), 0..9000), flip: usize,
        ) {
            let (mut a, mut b) = (plain.clone(), plain.clone());
            let tag = Backend::Ring.seal(&key, &nonce, &aad, &mut a).unwrap();
            prop_assert_eq!(tag, Backend::Reference.seal(&key, &nonce, &aad, &mut b).unwrap());
            prop_assert_eq!(&a, &b);
            if !a.is_empty() {
                let at = flip % a.len();
                let mut bad = a.clone();
                bad[at] ^= 1;
                prop_assert!(Backend::Ring.open(&key, &nonce, &aad, &mut bad.clone(), &tag).is_err());
                prop_assert!(Backend::Reference.open(&key, &nonce, &aad, &mut bad, &tag).is_err());
            }
            Backend::Reference.open(&key, &nonce, &aad, &mut a, &tag).unwrap();
            Backend::Ring.open(&key, &nonce, &aad, &mut b, &tag).unwrap();
            prop_assert_eq!(&a, &plain);
            prop_assert_eq!(&b, &plain);
        }
    }
}
