//! Copies of a state that is being written.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::store::{copy_of, rebuild};

/// A state made of a copy.
fn restored(dir: &Path) -> (super::super::Root, Content) {
    let copy = copy_of(dir).unwrap();
    let to = tempfile::tempdir().unwrap();
    let state = to.path().join("state");
    fs::create_dir_all(state.join("journal")).unwrap();
    for f in copy.files {
        let mut out = fs::File::create(state.join("journal").join(&f.name)).unwrap();
        std::io::copy(&mut std::io::Read::take(f.file, f.bytes), &mut out).unwrap();
    }
    let report = rebuild(&state, &tables(), &options()).unwrap();
    assert!(report.incomplete.is_none(), "{:?}", report.incomplete);
    assert_eq!(report.root, copy.root, "what the copy says that it is");
    let store = open(&state).unwrap();
    let content = dump(&store).unwrap();
    store.close().unwrap();
    (report.root, content)
}

#[test]
fn every_copy_taken_while_somebody_commits_rotates_and_compacts_is_the_state_of_one_commit() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let store = open(&state).unwrap();
    store.commit(batch(0)).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        s.spawn(|| {
            let mut i = 0;
            while !stop.load(Ordering::Acquire) {
                i += 1;
                store.commit(batch(i)).unwrap();
                if i % 40 == 0 {
                    store.compact_journal().unwrap();
                }
            }
        });
        let mut reached = 0;
        for _ in 0..25 {
            let before = store.commit_number();
            let (root, (a, b)) = restored(&state);
            assert!(root.commit >= before.max(reached), "commit {} was durable before the copy", before.max(reached));
            reached = root.commit;
            // Each commit put one record into A and its number into B: a copy between two of them would show.
            assert_eq!(a.len() as u64, root.commit);
            assert_eq!(b.iter().map(|(_, (i, _))| *i).max(), Some(root.commit - 1));
        }
        stop.store(true, Ordering::Release);
    });
    let last = store.commit_number();
    assert_eq!(restored(&state).0.commit, last);
    store.close().unwrap();
}

#[test]
fn a_copy_of_a_damaged_journal_is_refused_and_a_damaged_base_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let store = open(&state).unwrap();
    for i in 0..30 {
        store.commit(batch(i)).unwrap();
    }
    store.compact_journal().unwrap();
    for i in 30..60 {
        store.commit(batch(i)).unwrap();
    }
    let content = dump(&store).unwrap();
    store.close().unwrap();
    let journal = state.join("journal");
    let named = |head: &str| {
        let mut all: Vec<_> = fs::read_dir(&journal).unwrap().map(|e| e.unwrap().path()).collect();
        all.sort();
        all.into_iter().rfind(|p| p.file_name().unwrap().to_str().unwrap().starts_with(head)).unwrap()
    };
    let base = named("base-");
    let whole = fs::read(&base).unwrap();
    assert_eq!(restored(&state).1, content);
    let mut bytes = whole.clone();
    bytes[60] ^= 1;
    fs::write(&base, &bytes).unwrap();
    assert_eq!(restored(&state).1, content, "the journal goes back to the first commit");
    fs::write(&base, whole).unwrap();
    let last = named("seg-");
    let mut bytes = fs::read(&last).unwrap();
    bytes[120] ^= 1;
    fs::write(&last, bytes).unwrap();
    let e = copy_of(&state).unwrap_err();
    assert!(matches!(e, StoreError::Corrupt { .. }), "{e}");
}
