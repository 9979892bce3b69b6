//! `/metrics`: the node's health figures for Prometheus. Nothing is counted here: every value is one of [`crate::admin::queries::facts`].

use super::exposition::{Family, Page};
use super::process;
use crate::admin::AdminContext;
use crate::admin::queries::{Facts, VendorFact, facts};
use datanode_actors::vendor::BOUNDS;

/// The page.
///
/// # Errors
/// The store's.
pub fn page(ctx: &AdminContext) -> Result<String, String> {
    let f = facts(ctx).map_err(|e| e.message)?;
    let mut p = Page::default();
    node(&mut p, &f, ctx);
    work(&mut p, &f);
    vendors(&mut p, &f);
    runs(&mut p, &f);
    packs(&mut p, &f);
    keeping(&mut p, &f);
    process::add(&mut p);
    Ok(p.text())
}

fn int(n: u64) -> f64 {
    n as f64
}

/// A time; none for the 0 that stands for "never".
fn time(at: i64) -> Option<f64> {
    (at > 0).then_some(at as f64)
}

fn node(p: &mut Page, f: &Facts, ctx: &AdminContext) {
    let labels = [("version", ctx.version.as_str()), ("source", ctx.desk.node.source.as_str())];
    p.gauge("datanode_build_info", "The running program.").of(&labels, 1.0);
    p.gauge("datanode_uptime_seconds", "Seconds since the process started, by the node's clock.")
        .is(f.uptime_seconds as f64);
    let up = if f.store_stopped.is_none() { 1.0 } else { 0.0 };
    p.gauge("datanode_state_up", "1 while the state takes commits.").is(up);
    p.gauge("datanode_state_bytes", "Bytes of the folder of the state.").is(int(f.state_bytes));
    p.counter("datanode_commits_total", "Durable commits of the state since it was made.").is(int(f.commit));
    p.gauge("datanode_counted_commits_ago", "Commits since the sessions and partitions were counted.")
        .is(int(f.counted_commits_ago));
    let ahead = f.clock_ahead_seconds.map(|s| s as f64);
    p.gauge("datanode_clock_ahead_seconds", "Seconds that this clock is ahead of what vendors say.").may_be(ahead);
    let disk = |of: fn(&crate::admin::queries::DiskFact) -> f64| f.disk.as_ref().map(of);
    p.gauge("datanode_disk_free_bytes", "Bytes that may still be written.").may_be(disk(|d| int(d.free_bytes)));
    p.gauge("datanode_disk_size_bytes", "Bytes of the disk of the data folder.").may_be(disk(|d| int(d.size_bytes)));
    p.gauge("datanode_disk_floor_bytes", "Below so many free bytes the state takes no more commits.")
        .may_be(disk(|d| int(d.floor_bytes)));
    p.gauge("datanode_disk_free_inodes", "Files that may still be made; 0 of 0: no limit.")
        .may_be(disk(|d| int(d.free_inodes)));
    p.gauge("datanode_disk_inodes", "Files that the file system has room for; 0: no limit.")
        .may_be(disk(|d| int(d.inodes)));
    let full = f.disk.as_ref().and_then(|d| d.days_until_full).map(|d| d * 86_400.0);
    p.gauge("datanode_disk_full_in_seconds", "Seconds until the disk is full, by the last evenings.").may_be(full);
}

fn work(p: &mut Page, f: &Facts) {
    let mut gaps = p.gauge("datanode_gap_sessions", "Sessions that are absent or not whole, by dataset and absence.");
    for g in &f.gaps {
        g.sessions.iter().for_each(|(a, n)| gaps.of(&[("dataset", g.dataset), ("absence", a)], int(*n)));
    }
    let mut oldest = p.gauge(
        "datanode_oldest_missing_session_age_seconds",
        "Age of the oldest session that is missing or short: days before today, in seconds.",
    );
    for g in &f.gaps {
        if let Some(days) = g.oldest_missing_days {
            oldest.of(&[("dataset", g.dataset)], days as f64 * 86_400.0);
        }
    }
    p.gauge("datanode_stalled_tasks", "Sessions whose retries are used up.").is(int(f.stalled));
    let mut lanes = p.gauge("datanode_queue_pages", "Pages of a month that wait for vendors in the stage under way.");
    for l in &f.lanes {
        lanes.of(&[("class", l.class), ("dataset", l.dataset)], int(l.pages));
    }
    p.gauge("datanode_leases", "Claims that vendors are at work on.").is(int(f.leases));
    let mut verdicts = p.gauge("datanode_partitions", "Partitions by verdict.");
    f.ledger.iter().for_each(|(v, n)| verdicts.of(&[("verdict", v)], int(*n)));
}

fn vendors(p: &mut Page, f: &Facts) {
    let each = |mut family: Family<'_>, of: fn(&VendorFact) -> Option<f64>| {
        for v in &f.vendors {
            if let Some(n) = of(v) {
                family.of(&[("vendor", v.vendor)], n);
            }
        }
    };
    each(p.gauge("datanode_vendor_enabled", "1 where the configuration enables it."), |v| {
        Some(f64::from(u8::from(v.enabled)))
    });
    each(p.gauge("datanode_vendor_paused", "1 where a person paused it."), |v| Some(f64::from(u8::from(v.paused))));
    each(p.gauge("datanode_vendor_closed_until_timestamp_seconds", "Until when it asked to be left alone."), |v| {
        time(v.closed_until)
    });
    each(p.gauge("datanode_vendor_budget_remaining_requests", "Requests that this UTC day still allows."), |v| {
        v.left_today.map(int)
    });
    each(p.gauge("datanode_vendor_budget_remaining_ratio", "The same as a share of the day's limit."), |v| {
        v.left_ratio
    });
    each(p.counter("datanode_vendor_budget_spent_total", "Requests spent or reserved since the node began."), |v| {
        Some(int(v.spent_total))
    });
    let mut requests = p.counter("datanode_vendor_requests_total", "HTTP requests by what came of each.");
    for v in &f.vendors {
        v.traffic.requests.iter().for_each(|(o, n)| requests.of(&[("vendor", v.vendor), ("outcome", o)], int(*n)));
    }
    let mut answers = p.counter("datanode_vendor_answers_total", "Whole answers, of one or more requests, by outcome.");
    for v in &f.vendors {
        v.traffic.answers.iter().for_each(|(o, n)| answers.of(&[("vendor", v.vendor), ("outcome", o)], int(*n)));
    }
    let mut latency = p.histogram("datanode_vendor_request_duration_seconds", "How long HTTP requests took.");
    for v in f.vendors.iter().filter(|v| v.enabled) {
        latency.buckets(&[("vendor", v.vendor)], &BOUNDS, &v.traffic.latency, v.traffic.latency_seconds);
    }
    each(p.counter("datanode_rows_received_total", "Rows taken in."), |v| Some(int(v.traffic.rows)));
    each(p.counter("datanode_received_bytes_total", "Bytes of the answers that were kept."), |v| {
        Some(int(v.traffic.bytes))
    });
    each(p.counter("datanode_rows_restated_total", "Rows that replaced a row with other values."), |v| {
        Some(int(v.traffic.restated))
    });
}

fn runs(p: &mut Page, f: &Facts) {
    let mut cycles = p.counter("datanode_cycles_total", "Whole cycles on record that ended, by how.");
    cycles.of(&[("result", "good")], int(f.cycles_good));
    cycles.of(&[("result", "failed")], int(f.cycles_failed));
    p.gauge(
        "datanode_last_good_cycle_timestamp_seconds",
        "When the newest cycle ended that published or confirmed a pack.",
    )
    .may_be(time(f.last_good_at));
    let last = f.last_cycle.as_ref();
    p.gauge("datanode_last_cycle_started_timestamp_seconds", "When the newest whole cycle was first started.")
        .may_be(last.and_then(|r| time(r.started_at)));
    p.gauge("datanode_last_cycle_failed", "1 where the newest whole cycle stopped with an error.")
        .is(if last.is_some_and(|r| r.state == "stopped") { 1.0 } else { 0.0 });
    let mut stages = p.gauge("datanode_stage_duration_seconds", "How long each stage of the newest whole cycle took.");
    for (stage, millis) in last.iter().flat_map(|r| &r.stages) {
        stages.of(&[("stage", stage)], int(*millis) / 1000.0);
    }
}

fn packs(p: &mut Page, f: &Facts) {
    p.counter("datanode_exports_made_total", "Packs that were published.").is(int(f.exports_made));
    p.counter("datanode_exports_refused_total", "Packs that were refused: the last good one stays.")
        .is(int(f.exports_refused));
    p.gauge("datanode_packs", "Packs that stand on this disk.").is(int(f.packs));
    let of = |what: fn(&crate::admin::queries::PackFact) -> f64| f.newest_pack.as_ref().map(what);
    p.gauge("datanode_last_pack_timestamp_seconds", "When the run of the newest pack began.")
        .may_be(f.newest_pack.as_ref().and_then(|n| time(n.created_at)));
    p.gauge("datanode_last_pack_age_seconds", "Seconds since then.").may_be(of(|n| n.age_seconds as f64));
    p.gauge("datanode_last_pack_files", "Its files.").may_be(of(|n| int(n.files)));
    p.gauge("datanode_last_pack_bytes", "Their bytes.").may_be(of(|n| int(n.bytes)));
    p.gauge("datanode_last_pack_rows", "Its rows.").may_be(of(|n| int(n.rows)));
}

fn keeping(p: &mut Page, f: &Facts) {
    let mut incidents = p.gauge("datanode_incidents_open", "Open incidents by kind.");
    f.incidents_by_kind.iter().for_each(|(k, n)| incidents.of(&[("kind", k)], int(*n)));
    let v = &f.vault;
    p.gauge("datanode_vault_sealings", "Sealings.").is(int(v.sealings));
    p.gauge("datanode_vault_objects", "Objects of the vault.").is(int(v.objects));
    p.gauge("datanode_vault_bad", "Things wrong with the vault that are not repaired.").is(int(v.bad));
    p.gauge("datanode_vault_scrub_timestamp_seconds", "When the vault was last read through.")
        .may_be(time(v.read_through_at));
    p.gauge("datanode_vault_read_timestamp_seconds", "When a part of it was last read.").may_be(time(v.read_at));
    p.gauge("datanode_vault_read_bytes", "Bytes of that part.").is(int(v.read_bytes));
    p.gauge("datanode_vault_replica_down_timestamp_seconds", "Since when its second copy is not in step.")
        .may_be(time(v.replica_down_since));
    p.gauge("datanode_anchor_log_entries", "Entries of the log that sealings are anchored in.").is(int(v.log_entries));
    p.gauge("datanode_sealings_not_anchored", "Sealings that are not in the log yet.").is(int(v.not_anchored));
    let mut shipped = p.counter("datanode_packs_shipped_total", "Packs and sealings that arrived.");
    f.ship.iter().for_each(|s| shipped.of(&[("destination", &s.destination)], int(s.shipped)));
    let mut failed = p.counter("datanode_ship_failures_total", "Attempts to ship that failed.");
    f.ship.iter().for_each(|s| failed.of(&[("destination", &s.destination)], int(s.failed)));
}
