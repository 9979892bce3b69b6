//! Limits, versions, guards, failures.

use std::{sync::atomic::Ordering, time::Duration};

use super::{
    super::{Batch, OPEN_THREAD, Store, StoreError, StoreOptions, Table, disk::Layout, open::on_open_thread},
    A, B, Row, batch, dump, open, options, tables,
};

#[test]
fn a_second_opener_is_told_process_and_command_of_the_first() {
    let tmp = tempfile::tempdir().unwrap();
    let first = open(tmp.path()).unwrap();
    match open(tmp.path()) {
        Err(StoreError::Busy { holder, .. }) => {
            assert!(holder.contains(&format!("process {} (", std::process::id())), "{holder}");
        }
        other => panic!("{:?}", other.err()),
    }
    drop(first);
    open(tmp.path()).unwrap();
}

#[test]
fn a_value_above_four_kib_is_refused_with_its_table_and_size() {
    let mut b = Batch::new();
    b.put(&A, &1, &(1, vec![0; 4000])).unwrap();
    let before = b.bytes();
    let e = b.put(&A, &2, &(2, vec![0; 4096])).unwrap_err();
    assert!(matches!(&e, StoreError::TooLarge { table, bytes, limit: 4096, .. } if table == "a" && *bytes > 4096));
    assert!(e.to_string().contains(" of a is 41"), "{e}");
    assert_eq!((b.len(), b.bytes()), (1, before));
}

#[test]
fn a_key_above_its_limit_is_refused_also_in_a_delete() {
    let tmp = tempfile::tempdir().unwrap();
    let s = open(tmp.path()).unwrap();
    let long = "x".repeat(513);
    assert!(matches!(Batch::new().put(&B, &long, &(0, vec![])), Err(StoreError::TooLarge { .. })));
    let mut b = Batch::new();
    b.delete(&B, &long);
    assert!(matches!(s.commit(b), Err(StoreError::TooLarge { .. })));
}

#[test]
fn a_record_of_a_newer_version_is_refused_by_name_and_one_of_an_older_too() {
    const A2: Table<u64, Row> = Table::new("a", 1, 2);
    let tmp = tempfile::tempdir().unwrap();
    let s = Store::open(tmp.path(), &[A2.def(), B.def()], &options()).unwrap();
    let mut b = Batch::new();
    b.put(&A2, &5, &(5, vec![])).unwrap();
    s.commit(b).unwrap();
    assert!(matches!(s.load(&A, &5), Err(StoreError::Newer { found: 2, known: 1, .. })));
    drop(s);
    assert!(matches!(open(tmp.path()), Err(StoreError::Newer { what, .. }) if what == "table a"));
    const A3: Table<u64, Row> = Table::new("a", 1, 3);
    let s = Store::open(tmp.path(), &[A3.def(), B.def()], &options()).unwrap();
    assert!(matches!(s.load(&A3, &5), Err(StoreError::Older { found: 2, known: 3, .. })));
}

#[test]
fn a_state_with_a_table_that_this_build_does_not_know_is_not_opened() {
    let tmp = tempfile::tempdir().unwrap();
    drop(open(tmp.path()).unwrap());
    let e = Store::open(tmp.path(), &[A.def()], &options()).err().unwrap();
    assert!(matches!(&e, StoreError::Table { table, .. } if table == "002.b"), "{e}");
}

#[test]
fn tables_that_share_an_id_or_take_one_of_the_stores_own_are_refused() {
    const TWIN: Table<u64, Row> = Table::new("twin", 1, 1);
    const ZERO: Table<u64, Row> = Table::new("zero", 0, 1);
    let tmp = tempfile::tempdir().unwrap();
    for wrong in [TWIN.def(), ZERO.def()] {
        assert!(matches!(Store::open(tmp.path(), &[A.def(), wrong], &options()), Err(StoreError::Table { .. })));
    }
    const OTHER: Table<u64, Row> = Table::new("other", 9, 1);
    let s = open(tmp.path()).unwrap();
    let mut b = Batch::new();
    b.put(&OTHER, &1, &(1, vec![])).unwrap();
    assert!(matches!(s.commit(b), Err(StoreError::Table { .. })));
    assert!(matches!(s.load(&OTHER, &1), Err(StoreError::Table { .. })));
}

#[test]
fn a_conflict_refuses_the_whole_batch_and_only_that_batch() {
    let tmp = tempfile::tempdir().unwrap();
    let s = open(tmp.path()).unwrap();
    s.commit(batch(1)).unwrap();
    let mut bad = batch(2);
    bad.guard(&A, &1, None).unwrap();
    let (bad, good) = (s.submit(bad).unwrap(), s.submit(batch(3)).unwrap());
    assert!(matches!(bad.wait(), Err(StoreError::Conflict { table, .. }) if table == "a"));
    good.wait().unwrap();
    assert_eq!(s.load(&A, &2).unwrap(), None);
    assert!(s.load(&A, &3).unwrap().is_some());
    let mut right = batch(4);
    right.guard(&A, &1, s.load(&A, &1).unwrap().as_ref()).unwrap();
    s.commit(right).unwrap();
}

#[test]
fn of_two_batches_that_guard_the_same_absence_in_one_group_only_the_first_is_written() {
    let tmp = tempfile::tempdir().unwrap();
    let s = open(tmp.path()).unwrap();
    let tickets: Vec<_> = (0..20u64)
        .map(|i| {
            let mut b = Batch::new();
            b.guard(&A, &9, None).unwrap().put(&A, &9, &(i, vec![])).unwrap();
            s.submit(b).unwrap()
        })
        .collect();
    let won: Vec<bool> = tickets.into_iter().map(|t| t.wait().is_ok()).collect();
    assert_eq!(won.iter().filter(|w| **w).count(), 1);
    assert!(won[0]);
    assert_eq!(s.load(&A, &9).unwrap(), Some((0, vec![])));
}

#[test]
fn a_failed_sync_stops_the_store_for_good_and_the_next_open_is_whole() {
    let tmp = tempfile::tempdir().unwrap();
    let s = open(tmp.path()).unwrap();
    s.commit(batch(1)).unwrap();
    s.0.fail_sync.store(true, Ordering::Relaxed);
    assert!(matches!(s.commit(batch(2)), Err(StoreError::Stopped { cause }) if cause.contains("could not sync")));
    s.0.fail_sync.store(false, Ordering::Relaxed);
    assert!(s.stopped().is_some());
    assert!(matches!(s.commit(batch(3)), Err(StoreError::Stopped { .. })));
    assert!(matches!(s.compact_journal(), Err(StoreError::Stopped { .. })));
    assert_eq!(s.load(&A, &1).unwrap().map(|r| r.0), Some(1));
    assert!(matches!(s.close(), Err(StoreError::Stopped { .. })));
    let s = open(tmp.path()).unwrap();
    // Batch 2 was in doubt: its record had reached the journal, so it is there, whole.
    assert_eq!(s.load(&A, &2).unwrap().map(|r| r.0), Some(2));
    assert_eq!(s.load(&A, &3).unwrap(), None);
    assert!(s.check().unwrap().ok());
}

#[test]
fn below_the_free_space_floor_nothing_is_written_and_reading_goes_on() {
    let tmp = tempfile::tempdir().unwrap();
    let s = open(tmp.path()).unwrap();
    s.commit(batch(1)).unwrap();
    drop(s);
    let s = Store::open(tmp.path(), &tables(), &StoreOptions { free_space_floor: u64::MAX, ..options() }).unwrap();
    assert!(matches!(s.commit(batch(2)), Err(StoreError::DiskFull { floor: u64::MAX, .. })));
    assert!(matches!(s.compact_journal(), Err(StoreError::DiskFull { .. })));
    assert_eq!(s.load(&A, &1).unwrap().map(|r| r.0), Some(1));
    assert_eq!(s.commit_number(), 1);
}

#[test]
fn after_close_other_clones_read_and_commit_no_more() {
    let tmp = tempfile::tempdir().unwrap();
    let s = open(tmp.path()).unwrap();
    s.commit(batch(1)).unwrap();
    let other = s.clone();
    s.close().unwrap();
    assert!(matches!(other.commit(batch(2)), Err(StoreError::Stopped { cause }) if cause.contains("closed")));
    assert_eq!(dump(&other).unwrap().0.len(), 1);
}

#[test]
fn a_panic_while_opening_becomes_an_error_that_names_the_command() {
    let layout = Layout::new(std::path::Path::new("/data/state"));
    let run = |limit, f: fn() -> Result<(), StoreError>| on_open_thread(&layout, limit, "opening the state", f);
    let e = run(Duration::from_secs(9), || panic!("on {}", std::thread::current().name().unwrap())).unwrap_err();
    let text = e.to_string();
    assert!(text.contains(OPEN_THREAD) && text.contains("run `datanode rebuild --data-dir /data`"), "{text}");
    let slow = run(Duration::from_millis(1), || {
        std::thread::park_timeout(Duration::from_millis(200));
        Ok(())
    });
    assert!(matches!(slow, Err(StoreError::Slow { .. })));
}

#[test]
fn files_and_folders_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("state");
    let s = open(&dir).unwrap();
    s.commit(batch(1)).unwrap();
    s.compact_journal().unwrap();
    s.close().unwrap();
    let mode = |p: &std::path::Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
    for sub in ["", "sled", "journal"] {
        assert_eq!(mode(&dir.join(sub)), 0o700, "{sub}");
    }
    for e in std::fs::read_dir(dir.join("journal")).unwrap() {
        assert_eq!(mode(&e.unwrap().path()), 0o600);
    }
    for file in ["lock", "clean", "sled/db", "sled/conf"] {
        assert_eq!(mode(&dir.join(file)), 0o600, "{file}");
    }
}

#[test]
fn golden_bytes_of_one_put() {
    let mut b = Batch::new();
    b.put(&B, &"AAPL".to_owned(), &(258, vec![1, 2, 3])).unwrap();
    let hex: String = b.ops.iter().map(|x| format!("{x:02x}")).collect();
    assert_eq!(hex, GOLDEN);
}

/// Put 01, table 02, key length 5, value length 31; key `AAPL` and its terminator; `dn`, envelope 1, record 1, table 2,
/// flags 0, payload length 19, crc; the bytes 1 2 3, the u64 258, a pointer 11 bytes back, the length 3.
/// Written on x86-64; every machine must write and read the same.
const GOLDEN: &str = "010205001f0000004141504c00646e01010200130002d7e9450102030201000000000000f5ffffff03000000";
