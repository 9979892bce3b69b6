//! Counting the state again, record by record, and comparing it with what it should be.

use super::{
    base,
    disk::Layout,
    engine::Engine,
    envelope,
    error::{StoreError, show_key},
    journal,
    root::{self, Root, State},
};

/// Bad records that a report names; more are only counted.
const NAMED: usize = 20;

/// What a full check found.
#[derive(Debug, Clone, Default)]
pub struct CheckReport {
    /// The root record.
    pub root: Root,
    /// Records of each table.
    pub tables: Vec<(&'static str, u64)>,
    /// Records of the journal that were read.
    pub journal_records: u64,
    /// Segments of the journal.
    pub segments: usize,
    /// Bases that were read whole.
    pub bases: usize,
    /// Everything that is not as it should be, the first of each kind by name; empty for a sound state.
    pub problems: Vec<String>,
}

impl CheckReport {
    /// True where nothing is wrong.
    pub fn ok(&self) -> bool {
        self.problems.is_empty()
    }
}

/// What the trees hold.
pub(crate) struct Census {
    pub state: State,
    pub bad: Vec<String>,
    pub bad_count: u64,
}

/// Reads every record. Must run where a panic of sled can be caught.
pub(crate) fn census(engine: &Engine) -> Result<Census, StoreError> {
    let mut c = Census { state: State::default(), bad: Vec::new(), bad_count: 0 };
    engine.for_each(|t, key, value| {
        c.state.add(t.id, root::hash(t.id, key, value));
        let why = match envelope::open(t.id, key, value) {
            Ok(o) if o.version <= t.version => return Ok(()),
            Ok(o) => {
                return Err(StoreError::Newer {
                    what: format!("table {}", t.name),
                    found: o.version,
                    known: t.version,
                });
            }
            Err(envelope::Fault::Newer(v)) => format!("its envelope has version {v}"),
            Err(envelope::Fault::Bad(why)) => why.to_owned(),
        };
        c.bad_count += 1;
        if c.bad.len() < NAMED {
            c.bad.push(format!("record {} of {}: {why}", show_key(key), t.name));
        }
        Ok(())
    })?;
    Ok(c)
}

/// Compares a census with the state that should be there; names what differs.
pub(crate) fn compare(engine: &Engine, census: &Census, expected: &State) -> Vec<String> {
    let mut out = census.bad.clone();
    if census.bad_count > census.bad.len() as u64 {
        out.push(format!("{} records are damaged", census.bad_count));
    }
    let mut found = census.state.clone();
    found.root.commit = expected.root.commit;
    for t in &engine.defs {
        let at = usize::from(t.id);
        let (have, want) = (found.counts.get(at), expected.counts.get(at));
        if have != want {
            let n = |c: Option<&u64>| c.copied().unwrap_or_default();
            out.push(format!("table {} holds {} records, the root record says {}", t.name, n(have), n(want)));
        }
    }
    if out.is_empty() && found != *expected {
        out.push("the records are not those that were committed (their sum differs from the root record)".into());
    }
    out
}

/// The full check: every envelope, the root, all of the journal, every base. Runs where nothing writes.
pub(crate) fn full(layout: &Layout, engine: &Engine, state: &State) -> Result<CheckReport, StoreError> {
    let mut report = CheckReport { root: state.root, ..CheckReport::default() };
    match engine.state() {
        Ok(Some(s)) if s == *state => {}
        Ok(None) if state.root == Root::default() => {}
        Ok(_) => report.problems.push("the root record is not the one that was committed last".into()),
        Err(why) => report.problems.push(why),
    }
    let census = census(engine)?;
    report.problems.extend(compare(engine, &census, state));
    report.tables = engine
        .defs
        .iter()
        .map(|t| (t.name, census.state.counts.get(usize::from(t.id)).copied().unwrap_or(0)))
        .collect();
    let (bases, segments) = journal::list(&layout.journal())?;
    for base in &bases {
        match base::verify(base)? {
            Ok(_) => report.bases += 1,
            Err(why) => report.problems.push(why),
        }
    }
    let end = journal::read(&segments, |_, _| Ok(()))?;
    report.segments = segments.len();
    report.journal_records = end.records;
    report.problems.extend(end.damage.clone());
    report.problems.extend(end.torn.map(|t| t.why));
    if end.damage.is_none() && end.root != state.root {
        report.problems.push(format!(
            "the journal ends with commit {}, the state with {}, and they do not agree",
            end.root.commit, state.root.commit
        ));
    }
    Ok(report)
}
