//! What would be in the pack, and whether it may be: the checks that let the exporter fail closed.

use super::{Excluded, ExportError, QcSummary};
use crate::node::{Node, RunContext};
use crate::qc::refresh_status;
use datanode_schema::clock::{date_of, day_number};
use datanode_schema::keys::TouchedKey;
use datanode_schema::manifest;
use datanode_schema::names::{Dataset, Reason, Stage, Vendor, Verdict};
use datanode_schema::paths::DataDir;
use datanode_schema::records::{CuratedFile, bits};
use datanode_schema::registry::{Amber, Registry, Required};
use datanode_schema::trees::{CONTEXTS, CURATED, LEDGER, PACKS, RUNS, TOUCHED, UNJUDGED, UNRELATED};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// A line of a run with more rows than this is a damaged record.
const MAX_ROWS: u64 = 1_000_000_000;

/// What the pack is made of.
pub struct Gathered {
    /// Curated files, in the order of their paths.
    pub files: Vec<(TouchedKey, CuratedFile)>,
    /// By curated path: (symbol, day number) of the partitions to leave out.
    pub out: BTreeMap<String, BTreeSet<(String, i32)>>,
    /// The verdicts.
    pub qc: QcSummary,
}

/// Gathers, and refuses where anything is unfinished, unknown or undecided.
pub fn gather(node: &Node, run: &RunContext, registry: &Registry) -> Result<Gathered, ExportError> {
    check_finished(node, run)?;
    check_manifests(node, run)?;
    for (field, value) in [("node.host_id", &node.host_id), ("node.source", &node.source)] {
        if value.is_empty() {
            return Err(ExportError::Unknown { field });
        }
    }
    let (qc, out, judged) = {
        // One state: what is said by hand from here on is for the next pack.
        let _still = node.acts.still();
        node.acts.check()?;
        node.acts.settle_all()?;
        refresh_status(node)?;
        read_ledger(node, registry)?
    };
    for e in &qc.excluded {
        let dataset = e.partition.split('/').next().and_then(Dataset::from_name);
        if dataset.and_then(|d| registry.rule(d)).is_some_and(|r| r.required == Required::Complete) {
            return Err(ExportError::Incomplete {
                dataset: dataset.map_or_else(String::new, |d| d.to_string()),
                partition: e.partition.clone(),
                reasons: e.reasons.join(", "),
            });
        }
    }
    let mut files = node.store.load_all(&CURATED, &[])?;
    files.sort_by(|a, b| a.0.path.cmp(&b.0.path));
    if files.is_empty() {
        return Err(ExportError::Empty);
    }
    for (key, file) in &files {
        let n = judged.get(&key.path).copied().unwrap_or(0);
        if n != file.rows {
            return Err(ExportError::NoContext { path: key.path.clone(), rows: file.rows, judged: n });
        }
    }
    Ok(Gathered { files, out, qc })
}

fn check_finished(node: &Node, run: &RunContext) -> Result<(), ExportError> {
    let mut done: BTreeSet<u8> = BTreeSet::new();
    for (_, r) in node.store.load_all(&RUNS, &[])? {
        if r.as_of == day_number(run.as_of) {
            done.extend(r.stages.iter().map(|s| s.stage));
        }
    }
    for stage in [Stage::Ingest, Stage::Audit, Stage::Backfill] {
        if !done.contains(&stage.number()) {
            return Err(ExportError::Unfinished {
                what: format!("the sessions up to {}", run.as_of),
                stage: stage.name(),
            });
        }
    }
    let touched = node.store.load_all(&TOUCHED, &[])?.len();
    if touched > 0 {
        return Err(ExportError::Unfinished { what: format!("{touched} curated files"), stage: "curate" });
    }
    let unjudged = node.store.load_all(&UNJUDGED, &[])?.len();
    if unjudged > 0 {
        return Err(ExportError::Unfinished { what: format!("{unjudged} curated files"), stage: "qc" });
    }
    let unrelated = node.store.len(UNRELATED.name);
    if unrelated > 0 {
        return Err(ExportError::Unfinished { what: format!("{unrelated} months of the ledger"), stage: "qc" });
    }
    Ok(())
}

/// Every manifest line since the last pack parses, and says what can be: not only this run's, since a run that stopped
/// over a damaged line is not the one that tries again.
fn check_manifests(node: &Node, run: &RunContext) -> Result<(), ExportError> {
    let last_pack = node.store.load_all(&PACKS, &[])?.into_iter().map(|(_, p)| p.created_at).max().unwrap_or(i64::MIN);
    for (id, r) in node.store.load_all(&RUNS, &[])? {
        if id == run.id || r.started_at >= last_pack {
            check_run(node, &id)?;
        }
    }
    Ok(())
}

fn check_run(node: &Node, run_id: &str) -> Result<(), ExportError> {
    for vendor in Vendor::ALL {
        for dataset in Dataset::ALL {
            let file = manifest::file_of(&node.data, *vendor, *dataset, run_id);
            for line in manifest::read(&file)? {
                if line.vendor != *vendor || line.dataset != *dataset || line.rows > MAX_ROWS || line.from > line.to {
                    let what = format!("{} rows for {} {} to {}", line.rows, line.symbol, line.from, line.to);
                    return Err(ExportError::OutOfRange(format!("{what} in {}", file.display())));
                }
            }
        }
    }
    Ok(())
}

type Ledger = (QcSummary, BTreeMap<String, BTreeSet<(String, i32)>>, BTreeMap<String, u64>);

/// The verdicts, what they leave out, and how many rows of each curated file are judged within a known context.
fn read_ledger(node: &Node, registry: &Registry) -> Result<Ledger, ExportError> {
    let contexts: BTreeSet<u64> = node.store.load_all(&CONTEXTS, &[])?.into_iter().map(|(k, _)| k).collect();
    let mut qc = QcSummary::default();
    let mut out: BTreeMap<String, BTreeSet<(String, i32)>> = BTreeMap::new();
    let mut judged: BTreeMap<String, u64> = BTreeMap::new();
    node.store.scan(&LEDGER, &[], |k, page| {
        let Some(rule) = registry.rule(k.dataset) else { return ControlFlow::Continue(()) };
        for g in page.groups.iter() {
            let verdict = Verdict::from_number(g.verdict).unwrap_or(Verdict::Red);
            let (days, rows, reasons) = (g.days.to_native(), u64::from(g.rows.to_native()), g.reasons.to_native());
            let n = u64::from(days.count_ones());
            match verdict {
                Verdict::Green => qc.green += n,
                Verdict::Amber => qc.amber += n,
                Verdict::Red => qc.red += n,
                Verdict::Pending => qc.pending += n,
            }
            if rows == 0 {
                continue;
            }
            let released = reasons & Reason::RELEASED.bit != 0;
            let amber_held = verdict == Verdict::Amber && rule.amber == Amber::Hold && !released;
            let held = verdict == Verdict::Red || amber_held;
            let known = contexts.contains(&g.context.to_native());
            for day in bits(days).map(|n| k.month.first_day() + n) {
                let path = DataDir::curated_file(k.dataset, rule.curated, date_of(day));
                if held {
                    let reasons = Reason::names(reasons).into_iter().map(str::to_owned).collect();
                    let partition = format!("{}/{}/{}", k.dataset, k.symbol, date_of(day));
                    qc.excluded.push(Excluded { partition, status: verdict, reasons });
                    out.entry(path.clone()).or_default().insert((k.symbol.clone(), day));
                }
                if known {
                    *judged.entry(path).or_default() += rows;
                }
            }
        }
        ControlFlow::Continue(())
    })?;
    qc.excluded.sort();
    Ok((qc, out, judged))
}
