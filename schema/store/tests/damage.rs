//! Bit rot and cut tails: found, or without effect; never read as something else.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use super::{
    super::{
        Store, StoreError, StoreOptions,
        check::{census, compare},
        engine::Engine,
        journal,
        root::State,
    },
    A, Content, batch, copy_dir, dump, open, options, tables,
};

/// A small generator with a seed, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }
}

const COMMITS: u64 = 500;

/// A state of several of sled's segments, with overwritten records, segments of the journal and three bases; the
/// journal no longer reaches back to the first commit.
fn make(dir: &Path, clean: bool) -> Content {
    let s = Store::open(dir, &tables(), &StoreOptions { segment_bytes: 64 << 10, ..options() }).unwrap();
    for i in 1..=COMMITS {
        let mut b = batch(i);
        b.put(&A, &(i % 50), &(i, vec![i as u8; 1500])).unwrap();
        s.commit(b).unwrap();
        if i % 120 == 0 {
            s.compact_journal().unwrap();
        }
    }
    let content = dump(&s).unwrap();
    if clean {
        s.close().unwrap();
    }
    content
}

/// True where the damage was found; panics where it was read as good.
fn found(dir: &Path, expected: &Content, note: &str) -> bool {
    // A panic of sled ends the node, which is a way of finding it.
    let outcome = catch_unwind(AssertUnwindSafe(|| match open(dir) {
        Err(_) => true,
        Ok(s) => match dump(&s) {
            Err(_) => true,
            Ok(content) => {
                assert!(content == *expected, "silently wrong: {note}");
                assert_eq!(s.commit_number(), COMMITS, "silently older: {note}");
                !s.check().is_ok_and(|r| r.ok())
            }
        },
    }));
    match outcome {
        Ok(found) => found,
        Err(p) => {
            let text = p.downcast_ref::<String>().cloned().unwrap_or_default();
            assert!(!text.contains("silently"), "{text}");
            true
        }
    }
}

/// True where sled by itself, without journal and root, would show something else, panic or not open.
fn harms_bare_sled(dir: &Path, expected: &State) -> bool {
    let copy = dir.with_extension("bare");
    copy_dir(&dir.join("sled"), &copy);
    let sound = catch_unwind(|| {
        let engine = Engine::open(&copy, &tables(), 1 << 20).ok()?;
        let state = engine.state().ok()??;
        (state == *expected && compare(&engine, &census(&engine).ok()?, &state).is_empty()).then_some(())
    });
    if std::env::var("DBG").is_ok() {
        println!("{dir:?} {sound:?} {:?}", std::fs::metadata(copy.join("db")).unwrap().len());
    }
    !matches!(sound, Ok(Some(())))
}

/// Flips one bit a round. Returns how many of the damages would have harmed sled alone, and how many were reported; the
/// others were without effect or healed from the journal.
fn flips(clean: bool, seed: u64, rounds: usize, pick: fn(&Path) -> Vec<PathBuf>) -> (usize, usize) {
    let tmp = tempfile::tempdir().unwrap();
    let original = tmp.path().join("original");
    let expected = make(&original, clean);
    let mut random = Random(seed);
    let state = {
        let bare = tmp.path().join("bare");
        copy_dir(&original.join("sled"), &bare);
        Engine::open(&bare, &tables(), 1 << 20).unwrap().state().unwrap().unwrap()
    };
    let (mut harmful, mut reported) = (0, 0);
    for round in 0..rounds {
        let dir = tmp.path().join(format!("flip-{round}"));
        copy_dir(&original, &dir);
        let files = pick(&dir);
        let file = &files[random.below(files.len() as u64) as usize];
        let mut bytes = fs::read(file).unwrap();
        // sled's file is mostly zeros behind its end; half of the flips go where data is.
        let end = bytes.iter().rposition(|b| *b != 0).unwrap_or(0) as u64 + 1;
        let at = random.below(if round % 2 == 0 { end } else { bytes.len() as u64 }) as usize;
        bytes[at] ^= 1 << random.below(8);
        fs::write(file, &bytes).unwrap();
        harmful += usize::from(harms_bare_sled(&dir, &state));
        let note = format!("seed {seed} round {round} {} byte {at}", file.display());
        reported += usize::from(found(&dir, &expected, &note));
        let _ = fs::remove_dir_all(&dir);
    }
    (harmful, reported)
}

fn sled_files(dir: &Path) -> Vec<PathBuf> {
    vec![dir.join("sled/db")]
}

fn journal_files(dir: &Path) -> Vec<PathBuf> {
    let (bases, segments) = journal::list(&dir.join("journal")).unwrap();
    bases.into_iter().chain(segments).map(|n| n.path).collect()
}

#[test]
fn a_flipped_bit_in_sled_is_found_or_harmless_after_a_clean_stop() {
    let (harmful, reported) = flips(true, 1, 40, sled_files);
    println!("{harmful} of 40 would have harmed sled alone, {reported} were reported");
    assert!(harmful > 0);
}

#[test]
fn a_flipped_bit_in_sled_is_found_or_harmless_after_a_kill() {
    let (harmful, reported) = flips(false, 2, 40, sled_files);
    println!("{harmful} of 40 would have harmed sled alone, {reported} were reported");
    assert!(harmful > 0);
}

#[test]
fn every_flipped_bit_in_the_journal_is_found_by_open_or_check() {
    assert_eq!(flips(true, 3, 30, journal_files).1, 30);
}

#[test]
fn a_tail_cut_off_sled_is_found_or_restored_from_the_journal() {
    let tmp = tempfile::tempdir().unwrap();
    let original = tmp.path().join("original");
    let expected = make(&original, true);
    let mut random = Random(4);
    for round in 0..20 {
        let dir = tmp.path().join(format!("cut-{round}"));
        copy_dir(&original, &dir);
        let db = dir.join("sled/db");
        let end = fs::read(&db).unwrap().iter().rposition(|b| *b != 0).unwrap() as u64;
        fs::OpenOptions::new().write(true).open(&db).unwrap().set_len(random.below(end)).unwrap();
        found(&dir, &expected, &format!("round {round}"));
    }
}

#[test]
fn a_tail_cut_off_the_journal_is_found() {
    let tmp = tempfile::tempdir().unwrap();
    let original = tmp.path().join("original");
    let expected = make(&original, false);
    for cut in [1, 30, 200, 900] {
        let dir = tmp.path().join(format!("cut-{cut}"));
        copy_dir(&original, &dir);
        let path = journal::list(&dir.join("journal")).unwrap().1.last().unwrap().path.clone();
        let len = fs::metadata(&path).unwrap().len();
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(len.saturating_sub(cut).max(44)).unwrap();
        assert!(found(&dir, &expected, &format!("cut {cut}")));
    }
}

#[test]
fn a_damaged_record_in_the_middle_of_the_journal_is_no_torn_tail() {
    let tmp = tempfile::tempdir().unwrap();
    make(tmp.path(), false);
    let path = journal::list(&tmp.path().join("journal")).unwrap().1.last().unwrap().path.clone();
    let mut bytes = fs::read(&path).unwrap();
    bytes[44 + 50] ^= 1;
    fs::write(&path, bytes).unwrap();
    match open(tmp.path()) {
        Err(StoreError::Corrupt { what, .. }) => assert!(what.contains("checksum"), "{what}"),
        other => panic!("{:?}", other.err()),
    }
}

#[test]
fn one_bad_record_of_an_open_store_is_an_error_of_that_record_only() {
    let tmp = tempfile::tempdir().unwrap();
    let s = open(tmp.path()).unwrap();
    (1..=9).for_each(|i| _ = s.commit(batch(i)).unwrap());
    let tree = s.0.shared.engine.tree(A.id).unwrap();
    let mut value = tree.get(4u64.to_be_bytes()).unwrap().unwrap().to_vec();
    value[20] ^= 1;
    tree.insert(4u64.to_be_bytes(), value).unwrap();
    assert!(matches!(s.load(&A, &4), Err(StoreError::BadRecord { table, .. }) if table == "a"));
    assert!(matches!(s.load_all(&A, &[]), Err(StoreError::BadRecord { .. })));
    assert_eq!(s.load(&A, &5).unwrap().map(|r| r.0), Some(5));
    let report = s.check().unwrap();
    assert!(report.problems.iter().any(|p| p.contains("of a: its checksum does not match")), "{:?}", report.problems);
}
