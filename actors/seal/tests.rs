//! Vectors: those of the standards that sealing stands on, and those that are published for other implementations
//! (`fixtures/golden/seal/vectors`), which `fixtures/check_seal_vectors.py` recomputes without our code.

use super::aead::Backend;
use super::chunk::{ChunkKeys, ChunkType, Opener, Place, Sealer, check_place, open};
use super::keys::{Identity, PackKey, unwrap};
use super::parity::{Shard, rebuild};
use super::passphrase::{Passphrase, PassphraseRecord};
use super::{Diagnosis, merkle};
use hkdf::Hkdf;
use serde_json::Value;
use sha2::Sha256;
use zeroize::Zeroizing;

const BOTH: [Backend; 2] = [Backend::Reference, Backend::Ring];

fn hex_of(text: &str) -> Vec<u8> {
    hex::decode(text.replace([' ', '\n'], "")).unwrap()
}

fn vector(name: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/golden/seal/vectors").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn bytes(v: &Value) -> Vec<u8> {
    hex_of(v.as_str().unwrap())
}

fn fixed<const N: usize>(v: &Value) -> [u8; N] {
    bytes(v).try_into().unwrap()
}

fn place_of(v: &Value, kind: ChunkType) -> Place {
    let number = |name: &str| u32::try_from(v[name].as_u64().unwrap()).unwrap();
    let (generation, index, count) = (number("generation"), number("index"), number("count"));
    Place { kind, pack_uid: fixed(&v["pack_uid"]), generation, index, count }
}

/// draft-irtf-cfrg-xchacha-03, sections 2.2.1 and A.3.1.
#[test]
fn hchacha20_and_xchacha20_poly1305_give_the_vectors_of_the_draft() {
    let key: [u8; 32] = std::array::from_fn(|i| i as u8);
    let nonce: [u8; 16] = hex_of("000000090000004a0000000031415927").try_into().unwrap();
    let subkey = chacha20::hchacha::<chacha20::R20>(&key.into(), &nonce.into());
    assert_eq!(hex::encode(subkey), "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc");
    let key: [u8; 32] = std::array::from_fn(|i| 0x80 + i as u8);
    let nonce: [u8; 24] = std::array::from_fn(|i| 0x40 + i as u8);
    let aad = hex_of("50515253c0c1c2c3c4c5c6c7");
    let expected = hex_of(
        "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452
         2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff921f9664c97637da9768812f615c68b13b52e",
    );
    for backend in BOTH {
        let mut buffer = SUNSCREEN.to_vec();
        let tag = backend.seal(&key, &nonce, &aad, &mut buffer).unwrap();
        assert_eq!(
            (hex::encode(tag).as_str(), &buffer),
            ("c0875924c1c7987947deafd8780acf49", &expected),
            "{backend:?}"
        );
        backend.open(&key, &nonce, &aad, &mut buffer, &tag).unwrap();
        assert_eq!(buffer, SUNSCREEN);
    }
}

const SUNSCREEN: &[u8] =
    b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";

/// RFC 8439 section 2.8.2: the function that both backends end in.
#[test]
fn chacha20_poly1305_gives_the_vector_of_the_rfc_in_both_libraries() {
    use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};
    use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
    let key: [u8; 32] = std::array::from_fn(|i| 0x80 + i as u8);
    let nonce: [u8; 12] = hex_of("070000004041424344454647").try_into().unwrap();
    let aad = hex_of("50515253c0c1c2c3c4c5c6c7");
    let (mut a, mut b) = (SUNSCREEN.to_vec(), SUNSCREEN.to_vec());
    let cipher = ChaCha20Poly1305::new(&key.into());
    let first = cipher.encrypt_inout_detached(&nonce.into(), &aad, a.as_mut_slice().into()).unwrap();
    let cipher = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &key).unwrap());
    let second =
        cipher.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&aad), &mut b).unwrap();
    assert_eq!(hex::encode(first), "1ae10b594f09e26a7e902ecbd0600691");
    assert_eq!(hex::encode(second.as_ref()), "1ae10b594f09e26a7e902ecbd0600691");
    assert!(hex::encode(&a).starts_with("d31a8d34648e60db7b86afbc53ef7ec2") && a == b);
}

/// RFC 5869, appendix A.1 to A.3, the second step.
#[test]
fn hkdf_expand_gives_the_vectors_of_the_rfc() {
    let cases = [
        (
            "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
            (0xf0..=0xf9u8).collect::<Vec<u8>>(),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
            (0xb0..=0xffu8).collect(),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71\
             cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
        (
            "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
            Vec::new(),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ];
    for (prk, info, okm) in cases {
        let mut out = vec![0u8; hex_of(okm).len()];
        Hkdf::<Sha256>::from_prk(&hex_of(prk)).unwrap().expand(&info, &mut out).unwrap();
        assert_eq!(hex::encode(out), okm);
    }
}

/// The vectors of the reference implementation, first 32 bytes: length, hash, keyed hash, derived key.
#[test]
fn blake3_gives_its_official_vectors() {
    const CASES: [(usize, &str, &str, &str); 5] = [
        (
            0,
            "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
            "92b2b75604ed3c761f9d6f62392c8a9227ad0ea3f09573e783f1498a4ed60d26",
            "2cc39783c223154fea8dfb7c1b1660f2ac2dcbd1c1de8277b0b0dd39b7e50d7d",
        ),
        (
            1,
            "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
            "6d7878dfff2f485635d39013278ae14f1454b8c0a3a2d34bc1ab38228a80c95b",
            "b3e2e340a117a499c6cf2398a19ee0d29cca2bb7404c73063382693bf66cb06c",
        ),
        (
            1024,
            "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
            "75c46f6f3d9eb4f55ecaaee480db732e6c2105546f1e675003687c31719c7ba4",
            "7356cd7720d5b66b6d0697eb3177d9f8d73a4a5c5e968896eb6a689684302706",
        ),
        (
            1025,
            "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444",
            "357dc55de0c7e382c900fd6e320acc04146be01db6a8ce7210b7189bd664ea69",
            "effaa245f065fbf82ac186839a249707c3bddf6d3fdda22d1b95a3c970379bcb",
        ),
        (
            5121,
            "628bd2cb2004694adaab7bbd778a25df25c47b9d4155a55f8fbd79f2fe154cff",
            "6ccf1c34753e7a044db80798ecd0782a8f76f33563accaddbfbb2e0ea4b2d024",
            "b07f01e518e702f7ccb44a267e9e112d403a7b3f4883a47ffbed4b48339b3c34",
        ),
    ];
    for (len, hash, keyed, derived) in CASES {
        let input: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        assert_eq!(blake3::hash(&input).to_hex().as_str(), hash);
        assert_eq!(blake3::keyed_hash(b"whats the Elvish word for friend", &input).to_hex().as_str(), keyed);
        let context = "BLAKE3 2019-12-27 16:29:52 test vectors context";
        assert_eq!(hex::encode(blake3::derive_key(context, &input)), derived);
    }
}

/// RFC 8878 section 3.1: frames made by hand.
#[test]
fn zstd_reads_frames_of_raw_and_repeated_blocks_and_passes_over_a_skippable_one() {
    let unpacked = |frame: &[u8]| {
        let mut room = [0u8; 64];
        zstd::bulk::decompress_to_buffer(frame, &mut room).map(|n| room[..n].to_vec())
    };
    // Magic; single segment, one byte of content size; block header: last, type 0 raw or 1 RLE, size.
    let raw = hex_of("28b52ffd 20 05 290000 6162636465");
    let repeated = hex_of("28b52ffd 20 05 2b0000 7a");
    let skippable = hex_of("502a4d18 03000000 ffffff");
    assert_eq!(unpacked(&raw).unwrap(), b"abcde");
    assert_eq!(unpacked(&repeated).unwrap(), b"zzzzz");
    assert_eq!(unpacked(&[skippable.clone(), raw.clone()].concat()).unwrap(), b"abcde");
    assert_eq!(unpacked(&skippable).unwrap(), b"");
    for cut in 1..raw.len() {
        assert!(unpacked(&raw[..cut]).is_err(), "{cut}");
    }
    let mut beyond = raw;
    beyond[5] = 4;
    assert!(unpacked(&beyond).is_err(), "more than its content size");
}

#[test]
fn the_published_chunks_are_sealed_and_opened_alike_by_both_backends() {
    for name in ["chunk-raw.json", "chunk-zstd.json"] {
        let v = vector(name);
        let keys = ChunkKeys::new(&PackKey::from_bytes(fixed(&v["pack_key"]))).unwrap();
        let place = place_of(&v, ChunkType::Data);
        let (object, plaintext) = (bytes(&v["object"]), bytes(&v["plaintext"]));
        let header = check_place(&object, &place).unwrap();
        let secret = keys.secret(&header).unwrap();
        assert_eq!((secret.key.to_vec(), secret.nonce.to_vec()), (bytes(&v["key"]), bytes(&v["nonce"])), "{name}");
        assert_eq!(secret.commitment.to_vec(), bytes(&v["commitment"]), "{name}");
        assert_eq!(blake3::hash(&object).to_hex().as_str(), v["object_blake3"].as_str().unwrap());
        for backend in BOTH {
            let (mut copy, mut unpacked) = (object.clone(), Vec::new());
            assert_eq!(open(backend, &mut copy, &place, Opener::Pack(&keys), &mut unpacked).unwrap(), plaintext);
        }
        if v["codec"] == "raw" {
            assert_eq!(Sealer::new().unwrap().seal(&keys, &place, &plaintext).unwrap(), object);
        }
    }
}

#[test]
fn every_object_that_is_published_as_one_to_refuse_is_refused() {
    let good = vector("chunk-raw.json");
    let keys = ChunkKeys::new(&PackKey::from_bytes(fixed(&good["pack_key"]))).unwrap();
    let place = place_of(&good, ChunkType::Data);
    let all = vector("refused.json");
    assert!(all.as_array().unwrap().len() > 20);
    for bad in all.as_array().unwrap() {
        let what = bad["what"].as_str().unwrap();
        for backend in BOTH {
            let (mut copy, mut unpacked) = (bytes(&bad["object"]), Vec::new());
            let why = open(backend, &mut copy, &place, Opener::Pack(&keys), &mut unpacked).unwrap_err();
            let expected = match what {
                "salt" | "commitment" => why == Diagnosis::Commitment,
                "ciphertext" | "tag" => why == Diagnosis::Aead,
                _ => matches!(why, Diagnosis::Header(_)),
            };
            assert!(expected, "{what}: {why:?}");
        }
    }
}

#[test]
fn the_published_roots_parity_passphrases_and_stanza_are_ours() {
    for case in vector("merkle.json").as_array().unwrap() {
        let leaves: Vec<[u8; 32]> = case["leaves"].as_array().unwrap().iter().map(fixed).collect();
        assert_eq!(hex::encode(merkle::root(leaves)), case["root"].as_str().unwrap());
    }
    let v = vector("parity.json");
    let objects: Vec<Vec<u8>> = v["objects"].as_array().unwrap().iter().map(bytes).collect();
    let mut shard = Shard::new();
    objects.iter().for_each(|o| shard.add(o));
    let object = shard.into_object(&place_of(&v, ChunkType::Parity)).unwrap();
    assert_eq!(object, bytes(&v["object"]));
    assert_eq!(rebuild(&object, &objects[1..], objects[0].len()).unwrap(), objects[0]);
    for case in vector("passphrase.json").as_array().unwrap() {
        let record: PassphraseRecord = serde_json::from_value(case["record"].clone()).unwrap();
        let text = Zeroizing::new(case["passphrase"].as_str().unwrap().to_owned());
        assert!(Passphrase::new(text).unwrap().identity(&record).unwrap().is_some(), "{record:?}");
        let identity = Identity::from_secret(&fixed(&case["secret"])).unwrap();
        assert_eq!(identity.to_public().to_string(), record.recipient);
    }
    let v = vector("stanza.json");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    std::fs::write(&path, v["identity"].as_str().unwrap()).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let key = unwrap(&bytes(&v["stanza"]), &Identity::read(&path).unwrap()).unwrap();
    assert_eq!(key.expose().to_vec(), bytes(&v["pack_key"]));
}
