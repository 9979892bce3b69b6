//! The store and its model twin, driven through the same random histories.

use proptest::prelude::*;

use super::{
    super::{
        Batch, Store, StoreError,
        model::{Change, Model},
        rebuild,
        table::Key,
    },
    A, B, Row, copy_dir, open, options, tables,
};

#[derive(Debug, Clone)]
struct Edit {
    in_b: bool,
    key: u8,
    value: Option<u8>,
}

#[derive(Debug, Clone)]
enum Step {
    Commit { edits: Vec<Edit>, guard: Option<(Edit, bool)> },
    Together(Vec<Edit>),
    Reopen,
    Kill,
    Compact,
    Rebuild,
}

fn edit() -> impl Strategy<Value = Edit> {
    (any::<bool>(), 0u8..12, prop::option::weighted(0.7, any::<u8>())).prop_map(|(in_b, key, value)| Edit {
        in_b,
        key,
        value,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (prop::collection::vec(edit(), 0..6), prop::option::of((edit(), any::<bool>())))
            .prop_map(|(edits, guard)| Step::Commit { edits, guard }),
        3 => prop::collection::vec(edit(), 1..9).prop_map(Step::Together),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
        1 => Just(Step::Compact),
        1 => Just(Step::Rebuild),
    ]
}

fn row(v: u8) -> Row {
    (u64::from(v) << 40, vec![v; usize::from(v)])
}

fn b_key(k: u8) -> String {
    format!("{}\u{0}{}", "ab".repeat(usize::from(k % 3)), k)
}

fn model_change(e: &Edit) -> Change {
    let mut key = Vec::new();
    if e.in_b {
        b_key(e.key).encode(&mut key)
    } else {
        u64::from(e.key).encode(&mut key)
    }
    (if e.in_b { 2 } else { 1 }, key, e.value.map(|v| vec![v]))
}

fn add(b: &mut Batch, e: &Edit) {
    match (e.in_b, e.value) {
        (true, Some(v)) => b.put(&B, &b_key(e.key), &row(v)).map(|_| ()).unwrap(),
        (true, None) => _ = b.delete(&B, &b_key(e.key)),
        (false, Some(v)) => b.put(&A, &u64::from(e.key), &row(v)).map(|_| ()).unwrap(),
        (false, None) => _ = b.delete(&A, &u64::from(e.key)),
    }
}

fn guard(b: &mut Batch, e: &Edit) {
    let expected = e.value.map(row);
    if e.in_b {
        b.guard(&B, &b_key(e.key), expected.as_ref()).unwrap();
    } else {
        b.guard(&A, &u64::from(e.key), expected.as_ref()).unwrap();
    }
}

/// A guard that holds for sure where `right`, otherwise the one that was drawn.
fn fit(model: &Model, e: &Edit, right: bool) -> Edit {
    let (t, k, _) = model_change(e);
    let present = model.records.get(&(t, k)).and_then(|v| v.first().copied());
    if right { Edit { value: present, ..e.clone() } } else { e.clone() }
}

fn agree(s: &Store, m: &Model) {
    let bytes = |n: u64| n.to_be_bytes().to_vec();
    let a: Vec<_> = s.load_all(&A, &[]).unwrap();
    let expected: Vec<_> = m.scan(1, &[]).into_iter().map(|(k, v)| (k, row(v[0]))).collect();
    assert_eq!(a.into_iter().map(|(k, v)| (bytes(k), v)).collect::<Vec<_>>(), expected);
    for prefix in [&b""[..], b"ab", b"abab"] {
        let found = s.load_all(&B, prefix).unwrap().into_iter().map(|(k, v)| {
            let mut raw = Vec::new();
            k.encode(&mut raw);
            (raw, v)
        });
        let expected: Vec<_> = m.scan(2, prefix).into_iter().map(|(k, v)| (k, row(v[0]))).collect();
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }
    for k in 0..12u8 {
        let expected = m.scan(1, &u64::from(k).to_be_bytes()).first().map(|(_, v)| row(v[0]));
        assert_eq!(s.get(&A, &u64::from(k), |r| (r.0.to_native(), r.1.to_vec())).unwrap(), expected);
        assert_eq!(s.load(&A, &u64::from(k)).unwrap(), expected);
    }
    assert_eq!(s.commit_number(), m.commits);
    assert_eq!((s.len("a"), s.len("b")), (m.scan(1, &[]).len() as u64, m.scan(2, &[]).len() as u64));
}

fn run(steps: Vec<Step>) {
    let tmp = tempfile::tempdir().unwrap();
    let mut dir = tmp.path().join("state");
    let mut store = open(&dir).unwrap();
    let mut model = Model::default();
    for (n, step) in steps.into_iter().enumerate() {
        match step {
            Step::Commit { edits, guard: g } => {
                let mut b = Batch::new();
                edits.iter().for_each(|e| add(&mut b, e));
                let g: Vec<Edit> = g.iter().map(|(e, right)| fit(&model, e, *right)).collect();
                g.iter().for_each(|e| guard(&mut b, e));
                let changes: Vec<Change> = edits.iter().map(model_change).collect();
                match model.commit(&g.iter().map(model_change).collect::<Vec<_>>(), &changes) {
                    Some(number) => assert_eq!(store.commit(b).unwrap(), number),
                    None => assert!(matches!(store.commit(b), Err(StoreError::Conflict { .. }))),
                }
            }
            // One batch an edit, all on their way at once: the group must act as one batch after the other.
            Step::Together(edits) => {
                let tickets: Vec<_> = edits
                    .iter()
                    .map(|e| {
                        let mut b = Batch::new();
                        add(&mut b, e);
                        model.commit(&[], &[model_change(e)]);
                        store.submit(b).unwrap()
                    })
                    .collect();
                tickets.into_iter().for_each(|t| _ = t.wait().unwrap());
                assert!(store.commit_number() <= model.commits);
                model.commits = store.commit_number();
            }
            Step::Reopen => {
                store.close().unwrap();
                store = open(&dir).unwrap();
            }
            Step::Kill => {
                let next = tmp.path().join(format!("killed-{n}"));
                copy_dir(&dir, &next);
                drop(store);
                dir = next;
                store = open(&dir).unwrap();
            }
            Step::Compact => store.compact_journal().unwrap(),
            Step::Rebuild => {
                drop(store);
                let report = rebuild(&dir, &tables(), &options()).unwrap();
                assert_eq!((report.incomplete, report.root.commit), (None, model.commits));
                store = open(&dir).unwrap();
            }
        }
        agree(&store, &model);
    }
    let report = store.check().unwrap();
    assert!(report.ok(), "{:?}", report.problems);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_store_answers_as_its_model_through_reopening_kills_compaction_and_rebuilds(
        steps in prop::collection::vec(step(), 1..30)
    ) {
        run(steps);
    }
}
