//! Ways in for fuzzing and its replay: what reads the log's bytes from outside, with whatever must hold of what it makes of them. Not part of
//! the product.

use super::{Consistency, Head, Log, Proof, TilePath, verify_note};
use crate::seal::{Descriptor, ObjectRef};
use tlog_tiles::{Hash, check_record, record_hash};

/// A key that signed nothing here, but for one note of the corpus.
const KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

/// A signed note.
pub fn note(bytes: &[u8]) {
    let _ = verify_note("fuzz", bytes, KEY);
    let _ = Head::verify("fuzz", bytes, KEY);
}

/// A proof of one sealing, and one that a log has only grown: each has one spelling, and proves nothing under a key that did not sign it.
pub fn proof(bytes: &[u8]) {
    if let Ok(proof) = Proof::decode("fuzz", bytes) {
        assert_eq!(proof.encode().ok().as_deref(), Some(bytes), "two spellings of one proof");
        let object = ObjectRef { object_blake3: [1; 32], object_len: 200 };
        if let Ok(d) = Descriptor::new([2; 16], 0, Vec::new(), vec![object], Vec::new(), Vec::new()) {
            assert!(proof.verify("fuzz", &d, KEY).is_err(), "a proof that nobody signed");
        }
    }
    // What a checkpoint that somebody did sign could make of it.
    if let Ok(proof) = Proof::decode("fuzz", bytes)
        && let Some((_, head)) = std::str::from_utf8(&proof.checkpoint).ok().and_then(Head::parse)
    {
        let path = proof.hashes.iter().map(|h| Hash(*h)).collect();
        let _ = check_record(&path, head.size, Hash(head.root), proof.index, record_hash(b"entry"));
    }
    if let Ok(grown) = Consistency::decode("fuzz", bytes) {
        assert_eq!(grown.encode(), bytes, "two spellings of one proof");
        let (old, new) = (Head { size: 3, root: [1; 32] }, Head { size: 7, root: [2; 32] });
        assert!(grown.verify(old, new).is_err(), "one log grew into another");
        let _ = grown.verify(Head { size: grown.old, ..old }, Head { size: grown.new, ..new });
    }
}

/// A bundle of entries and a tile, as they lie in the folder of a log whose checkpoint has the root that the entries give: what is proved by
/// the tile is proved by the entries too. `dir` is the folder; the first bytes say how many entries, which one, and how long the bundle is.
pub fn tile(dir: &std::path::Path, bytes: &[u8]) {
    let Some((&[size, index, old, high, low], rest)) = bytes.split_first_chunk::<5>() else { return };
    let Some((bundle, tile)) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low]))) else { return };
    let (size, width) = (u64::from(size.max(1)), u16::from(size.max(1)));
    let log = Log::at(dir);
    let write = |level: Option<u8>, bytes: &[u8]| {
        let path = dir.join(TilePath { level, number: 0, width }.name());
        let folder = path.parent().map(std::path::Path::to_owned).unwrap_or_default();
        std::fs::create_dir_all(folder).and_then(|()| std::fs::write(path, bytes)).is_ok()
    };
    if !write(None, bundle) || !write(Some(0), tile) {
        return;
    }
    let mut entries = Vec::new();
    let Ok(tree) = log.scan(
        size,
        |_, _, text| {
            entries.push(text.to_vec());
            Ok(())
        },
        |_, _| Ok(()),
    ) else {
        return;
    };
    let head = Head { size, root: tree.root() };
    let _ = log.book(head);
    let (index, old) = (u64::from(index) % size, u64::from(old));
    let entry = usize::try_from(index).ok().and_then(|i| entries.get(i)).map(Vec::as_slice).unwrap_or_default();
    let proved = log.inclusion(head, index, entry);
    assert!(proved.is_err() || log.inclusion(head, index, b"another entry").is_err(), "any entry is proved");
    let _ = log.consistency(head, old);
    let _ = log.root_at(head, old);
}
