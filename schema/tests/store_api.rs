//! The store as another crate uses it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::ops::ControlFlow;

use datanode_schema::{
    shim,
    store::{Batch, Key, Store, StoreError, StoreOptions, Table, decode_str, decode_u64, encode_str},
};

#[derive(Debug, Clone, PartialEq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct Task {
    symbol: String,
    days: Vec<u32>,
    score: f64,
    lease: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct TaskKey {
    dataset: String,
    month: u64,
}

impl Key for TaskKey {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_str(out, &self.dataset);
        self.month.encode(out);
    }
    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let (dataset, month) = (decode_str(&mut bytes)?, decode_u64(&mut bytes)?);
        bytes.is_empty().then_some(TaskKey { dataset, month })
    }
}

const TASKS: Table<TaskKey, Task> = Table::new("tasks", 3, 1);

fn key(dataset: &str, month: u64) -> TaskKey {
    TaskKey { dataset: dataset.into(), month }
}

fn task(n: u32) -> Task {
    Task {
        symbol: format!("SYM{n}"),
        days: (0..n % 23).collect(),
        score: f64::from(n) / 3.0,
        lease: n.is_multiple_of(2).then_some(7),
    }
}

#[test]
fn this_binary_carries_the_function_that_refuses_sync_file_range() {
    assert_eq!(shim::check(), Ok(()));
}

#[test]
fn records_are_read_in_place_and_in_the_order_of_their_keys() -> Result<(), StoreError> {
    let tmp = tempfile::tempdir().unwrap();
    let store = Store::open(&tmp.path().join("data/state"), &[TASKS.def()], &StoreOptions::default())?;
    let mut batch = Batch::new();
    for (i, dataset) in ["bars", "bars-minute", "bar"].iter().enumerate() {
        for month in [300, 2, 255] {
            batch.put(&TASKS, &key(dataset, month), &task(i as u32 * 23 + month as u32))?;
        }
    }
    assert_eq!(store.commit(batch)?, 1);
    assert_eq!(store.get(&TASKS, &key("bars", 255), |t| t.days.len())?, Some(255 % 23));
    assert_eq!(store.get(&TASKS, &key("bars", 1), |t| t.days.len())?, None);
    let mut prefix = Vec::new();
    encode_str(&mut prefix, "bars");
    let mut months = Vec::new();
    store.scan(&TASKS, &prefix, |k, t| {
        months.push((k.month, t.symbol.as_str().to_owned()));
        ControlFlow::Continue(())
    })?;
    assert_eq!(months.iter().map(|m| m.0).collect::<Vec<_>>(), [2, 255, 300]);
    assert_eq!(store.load_all(&TASKS, &[])?.len(), 9);
    let mut first = None;
    store.scan(&TASKS, &[], |k, _| {
        first = Some(k);
        ControlFlow::Break(())
    })?;
    assert_eq!(first, Some(key("bar", 2)));
    assert_eq!(store.len("tasks"), 9);
    Ok(())
}

#[test]
fn a_record_is_changed_only_by_the_one_who_saw_its_latest_version() -> Result<(), StoreError> {
    let tmp = tempfile::tempdir().unwrap();
    let store = Store::open(tmp.path(), &[TASKS.def()], &StoreOptions::default())?;
    let k = key("bars", 1);
    let count_up = || {
        loop {
            let old = store.load(&TASKS, &k).unwrap();
            let next = task(old.as_ref().map_or(0, |t| (t.score * 3.0).round() as u32) + 1);
            let mut b = Batch::new();
            b.guard(&TASKS, &k, old.as_ref()).unwrap().put(&TASKS, &k, &next).unwrap();
            match store.commit(b) {
                Ok(_) => return,
                Err(StoreError::Conflict { .. }) => {}
                Err(e) => panic!("{e}"),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..25).for_each(|_| count_up()));
        }
    });
    assert_eq!(store.load(&TASKS, &k)?, Some(task(200)));
    let report = store.check()?;
    assert!(report.ok(), "{:?}", report.problems);
    store.close()
}

#[test]
fn a_table_knows_the_last_commit_that_changed_it() -> Result<(), StoreError> {
    const OTHERS: Table<TaskKey, Task> = Table::new("others", 4, 1);
    let tmp = tempfile::tempdir().unwrap();
    let store = Store::open(tmp.path(), &[TASKS.def(), OTHERS.def()], &StoreOptions::default())?;
    assert_eq!((store.changed_at("tasks"), store.changed_at("others")), (0, 0));
    for (table, n) in [(&TASKS, 1), (&OTHERS, 2), (&OTHERS, 3)] {
        let mut b = Batch::new();
        b.put(table, &key("bars", n), &task(1))?;
        assert_eq!(store.commit(b)?, n);
    }
    assert_eq!((store.changed_at("tasks"), store.changed_at("others"), store.changed_at("none")), (1, 3, 0));
    Ok(())
}
