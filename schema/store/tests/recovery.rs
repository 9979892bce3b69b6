//! Opening after a stop that was not clean, and rebuilding.

use std::{fs, path::Path};

use super::{
    super::{
        StoreError, disk,
        engine::{Engine, Plan},
        journal, rebuild,
    },
    A, batch, copy_dir, dump, open, options, tables,
};

fn segments(dir: &Path) -> Vec<journal::Numbered> {
    journal::list(&dir.join("journal")).unwrap().1
}

#[test]
fn what_the_journal_has_beyond_the_state_is_applied_at_open() {
    let tmp = tempfile::tempdir().unwrap();
    let (dir, early) = (tmp.path().join("state"), tmp.path().join("early"));
    let s = open(&dir).unwrap();
    (1..=3).for_each(|i| _ = s.commit(batch(i)).unwrap());
    copy_dir(&dir.join("sled"), &early);
    (4..=90).for_each(|i| _ = s.commit(batch(i)).unwrap());
    let expected = dump(&s).unwrap();
    drop(s);
    assert!(segments(&dir).len() > 1);
    fs::remove_dir_all(dir.join("sled")).unwrap();
    copy_dir(&early, &dir.join("sled"));
    let s = open(&dir).unwrap();
    assert_eq!((dump(&s).unwrap(), s.commit_number()), (expected, 90));
    assert!(s.check().unwrap().ok());
}

#[test]
fn a_torn_record_that_was_never_acknowledged_is_cut_off() {
    let tmp = tempfile::tempdir().unwrap();
    let s = open(tmp.path()).unwrap();
    (1..=3).for_each(|i| _ = s.commit(batch(i)).unwrap());
    let expected = dump(&s).unwrap();
    drop(s);
    let path = segments(tmp.path()).last().unwrap().path.clone();
    let whole = fs::read(&path).unwrap();
    let record = whole[44..].to_vec();
    for torn in [vec![0; 5], vec![0; 5000], record[..60].to_vec(), record] {
        let mut bytes = whole.clone();
        bytes.extend_from_slice(&torn);
        fs::write(&path, &bytes).unwrap();
        let s = open(tmp.path()).unwrap();
        assert_eq!((dump(&s).unwrap(), s.commit_number()), (expected.clone(), 3));
        drop(s);
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
}

#[test]
fn a_journal_that_ends_before_the_state_is_refused_and_rebuilt_from_the_state() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("state");
    let s = open(&dir).unwrap();
    (1..=5).for_each(|i| _ = s.commit(batch(i)).unwrap());
    let expected = dump(&s).unwrap();
    s.close().unwrap();
    let path = segments(&dir).last().unwrap().path.clone();
    let len = fs::metadata(&path).unwrap().len();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(len - 10).unwrap();
    match open(&dir) {
        Err(StoreError::Corrupt { what, next }) => {
            assert!(what.contains("journal"), "{what}");
            assert_eq!(next, format!("run `datanode rebuild --data-dir {}`", tmp.path().display()));
        }
        other => panic!("{:?}", other.err()),
    }
    let report = rebuild(&dir, &tables(), &options()).unwrap();
    assert_eq!((report.root.commit, &report.incomplete), (5, &None), "{:#?}", report.steps);
    assert!(report.set_aside.join("journal").is_dir() && report.set_aside.join("sled").is_dir());
    assert_eq!(report.set_aside, tmp.path().join("state.set-aside-1"));
    let s = open(&dir).unwrap();
    assert_eq!(dump(&s).unwrap(), expected);
    assert_eq!(s.commit(batch(6)).unwrap(), 6);
    assert!(s.check().unwrap().ok());
}

#[test]
fn a_lost_sled_folder_is_refused_and_rebuilt_from_base_and_journal() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("state");
    let s = open(&dir).unwrap();
    (1..=40).for_each(|i| _ = s.commit(batch(i)).unwrap());
    (0..4).for_each(|_| s.compact_journal().unwrap());
    (41..=50).for_each(|i| _ = s.commit(batch(i)).unwrap());
    let expected = dump(&s).unwrap();
    drop(s);
    fs::remove_dir_all(dir.join("sled")).unwrap();
    assert!(matches!(open(&dir), Err(StoreError::Corrupt { what, .. }) if what.contains("is missing")));
    let report = rebuild(&dir, &tables(), &options()).unwrap();
    assert_eq!((report.root.commit, report.incomplete), (50, None));
    let s = open(&dir).unwrap();
    assert_eq!(dump(&s).unwrap(), expected);
}

#[test]
fn an_older_base_serves_where_the_newest_is_damaged() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("state");
    let s = open(&dir).unwrap();
    for i in 1..=30 {
        s.commit(batch(i)).unwrap();
        if i % 6 == 0 {
            s.compact_journal().unwrap();
        }
    }
    let expected = dump(&s).unwrap();
    drop(s);
    let (bases, segments) = journal::list(&dir.join("journal")).unwrap();
    assert_eq!(bases.iter().map(|b| b.number).collect::<Vec<_>>(), [18, 24, 30]);
    assert_eq!(segments.first().unwrap().number, 19);
    let mut bytes = fs::read(&bases[2].path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&bases[2].path, bytes).unwrap();
    fs::remove_dir_all(dir.join("sled")).unwrap();
    let report = rebuild(&dir, &tables(), &options()).unwrap();
    assert!(report.steps.iter().any(|s| s.contains("passed over a base")), "{:#?}", report.steps);
    assert_eq!(dump(&open(&dir).unwrap()).unwrap(), expected);
}

#[test]
fn with_state_lost_and_journal_damaged_the_rebuild_says_what_may_be_missing() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("state");
    let s = open(&dir).unwrap();
    (1..=5).for_each(|i| _ = s.commit(batch(i)).unwrap());
    drop(s);
    fs::remove_dir_all(dir.join("sled")).unwrap();
    let path = segments(&dir).last().unwrap().path.clone();
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 4;
    fs::write(&path, bytes).unwrap();
    let report = rebuild(&dir, &tables(), &options()).unwrap();
    assert_eq!(report.root.commit, 2);
    assert!(report.incomplete.unwrap().starts_with("commits after 2 may be missing"));
    let s = open(&dir).unwrap();
    assert_eq!(s.len("a"), 2);
    assert!(s.check().unwrap().ok());
}

#[test]
fn an_interrupted_rebuild_is_finished_by_the_next() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("state");
    let s = open(&dir).unwrap();
    (1..=5).for_each(|i| _ = s.commit(batch(i)).unwrap());
    let expected = dump(&s).unwrap();
    drop(s);
    // The old state is away and the new one not yet in place.
    fs::create_dir(tmp.path().join("state.set-aside-1")).unwrap();
    copy_dir(&dir.join("sled"), &dir.join("sled.from-old"));
    copy_dir(&dir.join("journal"), &dir.join("journal.new"));
    fs::rename(dir.join("sled"), tmp.path().join("state.set-aside-1/sled")).unwrap();
    fs::rename(dir.join("journal"), tmp.path().join("state.set-aside-1/journal")).unwrap();
    fs::write(dir.join("rebuilding"), "sled.from-old\nstate.set-aside-1\nfalse\n").unwrap();
    assert!(matches!(open(&dir), Err(StoreError::Corrupt { what, .. }) if what.contains("interrupted")));
    let report = rebuild(&dir, &tables(), &options()).unwrap();
    assert_eq!((report.root.commit, report.incomplete), (5, None), "{:#?}", report.steps);
    assert_eq!(dump(&open(&dir).unwrap()).unwrap(), expected);
}

#[test]
fn a_first_open_that_was_cut_short_begins_again_and_a_lost_journal_does_not() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("state");
    fs::create_dir_all(dir.join("sled")).unwrap();
    fs::write(dir.join("sled/conf"), b"half").unwrap();
    fs::write(dir.join("creating"), b"").unwrap();
    let s = open(&dir).unwrap();
    s.commit(batch(1)).unwrap();
    drop(s);
    fs::remove_dir_all(dir.join("journal")).unwrap();
    assert!(matches!(open(&dir), Err(StoreError::Corrupt { what, .. }) if what.contains("journal")));
    assert_eq!(rebuild(&dir, &tables(), &options()).unwrap().root.commit, 1);
    assert_eq!(open(&dir).unwrap().len("a"), 1);
}

#[test]
fn half_written_snapshots_and_temporary_files_are_removed_at_open() {
    let tmp = tempfile::tempdir().unwrap();
    let s = open(tmp.path()).unwrap();
    s.commit(batch(1)).unwrap();
    drop(s);
    let snap = tmp.path().join("sled/snap.00000000000000FF.generating");
    let base = tmp.path().join("journal/base-00000000000000000001.tmp");
    fs::write(&snap, b"half a snapshot").unwrap();
    fs::write(&base, b"half a base").unwrap();
    let s = open(tmp.path()).unwrap();
    assert_eq!(s.commit_number(), 1);
    assert!(!snap.exists() && !base.exists());
}

#[test]
fn a_state_that_differs_by_one_record_from_its_root_is_refused() {
    for clean in [true, false] {
        let tmp = tempfile::tempdir().unwrap();
        let s = open(tmp.path()).unwrap();
        (1..=9).for_each(|i| _ = s.commit(batch(i)).unwrap());
        s.close().unwrap();
        if !clean {
            disk::remove(&tmp.path().join("clean")).unwrap();
        }
        // A delete that the root record does not know of.
        let engine = Engine::open(&tmp.path().join("sled"), &tables(), 1 << 20).unwrap();
        let state = engine.state().unwrap().unwrap();
        let mut b = super::super::Batch::new();
        b.delete(&A, &4);
        let mut plan = Plan::default();
        plan.add(&engine, &b.ops).unwrap();
        engine.transact(&plan, &state).unwrap();
        engine.flush().unwrap();
        drop(engine);
        match open(tmp.path()) {
            Err(StoreError::Corrupt { what, .. }) => assert!(what.contains("table a holds 8 records"), "{what}"),
            other => panic!("{:?}", other.err()),
        }
    }
}

#[test]
fn the_journal_tells_every_change_in_order() {
    let tmp = tempfile::tempdir().unwrap();
    let s = open(tmp.path()).unwrap();
    (1..=60).for_each(|i| _ = s.commit(batch(i)).unwrap());
    let mut b = super::super::Batch::new();
    b.delete(&A, &7);
    s.commit(b).unwrap();
    let mut seen = Vec::new();
    let oldest = s
        .events(58, |e| {
            if let Some((key, value)) = e.of(&A).unwrap() {
                seen.push((e.commit, key, value.map(|v| v.0)));
            }
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(seen, [(58, 58, Some(58)), (59, 59, Some(59)), (60, 60, Some(60)), (61, 7, None)]);
    assert_eq!(oldest, 1);
}
