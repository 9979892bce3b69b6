//! Writing `qc/partition_status.parquet` from the ledger, in the ledger's order: dataset, symbol, day.

use super::Context;
use super::outcome::{QcCounters, QcError, STATUS_DIRTY};
use crate::frame::{StatusRow, StatusWriter};
use crate::node::Node;
use datanode_schema::files;
use datanode_schema::names::{Reason, Vendor, Verdict};
use datanode_schema::store::Batch;
use datanode_schema::trees::{CONTEXTS, COUNTERS, LEDGER};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// Writes the status file where the ledger has changed since: for the exporter, after something was said by hand.
///
/// # Errors
/// [`QcError`].
pub fn refresh_status(node: &Node) -> Result<(), QcError> {
    match node.store.load(&COUNTERS, &STATUS_DIRTY.to_owned())? {
        Some(1) => write_if_changed(node, &mut QcCounters::default()),
        _ => Ok(()),
    }
}

/// Counts the ledger; writes the file where the ledger has changed since, or it is not there.
pub(super) fn write_if_changed(node: &Node, c: &mut QcCounters) -> Result<(), QcError> {
    let target = node.data.partition_status();
    let dirty = node.store.load(&COUNTERS, &STATUS_DIRTY.to_owned())? == Some(1);
    if !dirty && target.is_file() {
        node.store.scan(&LEDGER, &[], |_, page| {
            for g in page.groups.iter() {
                c.count(Verdict::from_number(g.verdict).unwrap_or(Verdict::Red), g.days.to_native().count_ones());
            }
            ControlFlow::Continue(())
        })?;
        return Ok(());
    }
    let mut columns: BTreeMap<u64, (Arc<str>, Arc<str>)> = BTreeMap::new();
    for (key, json) in node.store.load_all(&CONTEXTS, &[])? {
        if let Ok(context) = serde_json::from_str::<Context>(&json) {
            columns.insert(key, context.columns());
        }
    }
    let none: (Arc<str>, Arc<str>) = ("".into(), "".into());
    let mut batch = files::Batch::new(node.data.root()).map_err(io(node.data.root()))?;
    let mut out = StatusWriter::create(&batch.temp_for(target))?;
    let mut failed = None;
    node.store.scan(&LEDGER, &[], |k, page| {
        for d in page.native().days(k.month.first_day()) {
            let verdict = Verdict::from_number(d.verdict).unwrap_or(Verdict::Red);
            c.count(verdict, 1);
            let (thresholds, calendar) = columns.get(&d.context).unwrap_or(&none).clone();
            let row = StatusRow {
                dataset: k.dataset.name(),
                symbol: k.symbol.clone(),
                dt: d.day,
                status: verdict.name(),
                reasons: Reason::names(d.reasons).join(","),
                expected_rows: d.expected,
                rows: d.rows,
                vendor: Vendor::from_number(d.vendor).map_or("", |v| v.name()),
                thresholds,
                digest: if d.rows == 0 { String::new() } else { hex::encode(d.print.digest) },
                calendar,
                first_seen: d.first_seen,
                updated_at: d.updated_at,
            };
            if let Err(e) = out.push(row) {
                failed = Some(e);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    if let Some(e) = failed {
        return Err(e.into());
    }
    out.finish()?;
    batch.publish().map_err(io(node.data.root()))?;
    let mut clean = Batch::new();
    clean.put(&COUNTERS, &STATUS_DIRTY.to_owned(), &0)?;
    node.store.commit(clean)?;
    Ok(())
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> QcError {
    let path = path.display().to_string();
    move |cause| QcError::Io { path, cause }
}
