//! `/metrics`: the export channel in the text form of Prometheus.

use super::packs::Packs;
use datanode_actors::anchor::unanchored;
use datanode_actors::node::Node;
use datanode_actors::vault::scrub;
use datanode_schema::names::IncidentKind;
use datanode_schema::trees::{COUNTERS, INCIDENTS, LOG_HEADS};
use std::fmt::Write;

/// The page.
///
/// # Errors
/// The store's.
pub fn page(node: &Node, packs: &Packs) -> Result<String, String> {
    let counters = node.store.load_all(&COUNTERS, &[]).map_err(|e| e.to_string())?;
    let mut out = String::new();
    let mut metric = |name: &str, kind: &str, help: &str, samples: &[(String, u64)]| {
        // Writing to a string does not fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(out, "{name}{labels} {value}");
        }
    };
    let one = |n: u64| vec![(String::new(), n)];
    let build = format!("{{version=\"{}\",source=\"{}\"}}", env!("CARGO_PKG_VERSION"), label(&node.source));
    metric("datanode_build_info", "gauge", "The running program.", &[(build, 1)]);
    let counted = |name: &str| counters.iter().find(|(k, _)| k == name).map_or(0, |(_, n)| *n);
    metric("datanode_exports_made_total", "counter", "Packs that were published.", &one(counted("export/made")));
    metric(
        "datanode_exports_refused_total",
        "counter",
        "Packs that were refused: the last good one stays.",
        &one(counted("export/refused")),
    );
    let standing = packs.standing()?;
    metric("datanode_packs", "gauge", "Packs that stand on this disk.", &one(standing.len() as u64));
    if let Some((_, last)) = standing.first() {
        let made = u64::try_from(last.created_at).unwrap_or(0);
        metric("datanode_last_pack_timestamp_seconds", "gauge", "When the run of the newest pack began.", &one(made));
        metric("datanode_last_pack_files", "gauge", "Its files.", &one(last.files));
        metric("datanode_last_pack_bytes", "gauge", "Their bytes.", &one(last.bytes));
        metric("datanode_last_pack_rows", "gauge", "Its rows.", &one(last.rows));
    }
    let signed = node.store.load(&LOG_HEADS, &node.publishing.anchor.key.public().to_owned());
    let entries = signed.map_err(|e| e.to_string())?.map_or(0, |h| h.size);
    metric("datanode_anchor_log_entries", "gauge", "Entries of the log that sealings are anchored in.", &one(entries));
    let waiting = unanchored(node).map_err(|e| e.to_string())?;
    metric("datanode_sealings_not_anchored", "gauge", "Sealings that are not in the log yet.", &one(waiting));
    let by_destination = |what: &str| -> Vec<(String, u64)> {
        let of = |k: &str| k.strip_prefix("ship/")?.strip_suffix(what)?.strip_suffix('/').map(label);
        counters.iter().filter_map(|(k, n)| of(k).map(|d| (format!("{{destination=\"{d}\"}}"), *n))).collect()
    };
    metric("datanode_packs_shipped_total", "counter", "Packs that arrived.", &by_destination("shipped"));
    metric("datanode_ship_failures_total", "counter", "Attempts to ship that failed.", &by_destination("failed"));
    let scrub = scrub::load(&node.store).map_err(|e| e.to_string())?.unwrap_or_default();
    let seconds = |at: i64| u64::try_from(at).unwrap_or(0);
    metric("datanode_vault_bad", "gauge", "Things wrong with the vault that are not repaired.", &one(scrub.bad));
    let whole = one(seconds(scrub.ended_at));
    metric("datanode_vault_scrub_timestamp_seconds", "gauge", "When the vault was last read through.", &whole);
    metric("datanode_vault_read_bytes", "gauge", "Bytes of it read the last time.", &one(scrub.bytes));
    let incidents = node.store.load_all(&INCIDENTS, &[]).map_err(|e| e.to_string())?;
    let open = |kind: IncidentKind| incidents.iter().filter(|(_, i)| i.is_open() && i.kind == kind.number()).count();
    let kinds = scrub::KINDS.map(|(_, k)| k).into_iter().chain([IncidentKind::ReplicaBehind]);
    let by_kind: Vec<(String, u64)> = kinds.map(|k| (format!("{{kind=\"{}\"}}", k.name()), open(k) as u64)).collect();
    metric("datanode_vault_incidents", "gauge", "Open incidents about the vault.", &by_kind);
    Ok(out)
}

/// A label's value.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
