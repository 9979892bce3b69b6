//! Which figures mean that something is wrong. Pure.

use crate::admin::queries::{Facts, VendorFact};
use datanode_actors::alert::{Condition, Severity, Unusual};
use std::collections::BTreeMap;

/// The disk is full in fewer days than this: a warning, and
const DISK_DAYS: f64 = 7.0;
/// in fewer than this, or with less than this many times the floor free: look now.
const DISK_DAYS_CRITICAL: f64 = 1.0;
const DISK_FLOORS: u64 = 2;
/// Seconds that the clock may be wrong. Sessions end at a minute, so half of one moves nothing.
const SKEW: i64 = 30;
/// From here on vendors' signatures and the calendar's closes are at risk.
const SKEW_CRITICAL: i64 = 300;

/// What is wrong by these figures. `pack_late_hours` is the age from which on a pack is late.
pub fn wrong(f: &Facts, pack_late_hours: u32, unusual: &BTreeMap<&'static str, Vec<Unusual>>) -> Vec<Condition> {
    let mut out = Vec::new();
    let mut say = |key: String, kind: &'static str, severity: Severity, since: i64, summary: String, next: &str| {
        let next_command = next.to_owned();
        out.push(Condition { key, kind, severity, summary, since, next_command });
    };
    use Severity::{Critical, Warning};
    if let Some(cause) = &f.store_stopped {
        let s = format!("the state takes no more commits: {cause}");
        say("state".to_owned(), "state_stopped", Critical, f.at, s, "datanode doctor");
    }
    for i in &f.incidents {
        let of_vault = i.artifact.starts_with("vault/");
        let severity = if of_vault { Critical } else { Warning };
        let s = format!("incident {} ({}) about {}: {}", i.id, i.kind, i.artifact, i.note);
        let next = format!("datanode-admin incident show {}", i.id);
        say(format!("incident/{}", i.id), "incident", severity, i.opened_at, s, &next);
    }
    if let Some(r) = f.last_cycle.as_ref().filter(|r| r.state == "stopped") {
        let s = format!("the cycle {} stopped: {}", r.run_id, r.error);
        say("cycle".to_owned(), "cycle_failed", Critical, r.finished_at, s, "datanode-admin runs last");
    }
    let late = i64::from(pack_late_hours) * 3600;
    let (age, since, which) = match &f.newest_pack {
        Some(p) => (p.age_seconds, p.created_at, format!("the newest pack, {},", p.export_id)),
        None => (f.uptime_seconds, f.at - f.uptime_seconds, "there is no pack, and the node".to_owned()),
    };
    if age > late {
        let what = if f.newest_pack.is_some() { "is" } else { "has run for" };
        let old = if f.newest_pack.is_some() { " old" } else { "" };
        let s = format!("{which} {what} {} hours{old}; it should be at most {pack_late_hours}", age / 3600);
        say("pack".to_owned(), "pack_late", Critical, since, s, "datanode-admin runs last");
    }
    if f.stalled > 0 {
        let s = format!("{} sessions are stalled: every vendor failed for them", f.stalled);
        say("stalled".to_owned(), "stalled", Warning, f.at, s, "datanode-admin queue --state unobtainable");
    }
    for v in f.vendors.iter().filter(|v| v.enabled) {
        vendor(f, v, unusual.get(v.vendor).map_or(&[], Vec::as_slice), &mut say);
    }
    disk(f, &mut say);
    if let Some(ahead) = f.clock_ahead_seconds.filter(|s| s.abs() > SKEW) {
        let side = if ahead > 0 { "ahead of" } else { "behind" };
        let s = format!("this clock is {} seconds {side} those of the vendors", ahead.abs());
        let severity = if ahead.abs() > SKEW_CRITICAL { Critical } else { Warning };
        say("clock".to_owned(), "clock_skew", severity, f.at, s, "timedatectl status");
    }
    for d in f.ship.iter().filter(|d| d.error_at > 0) {
        let s = format!("packs do not arrive at {}: {}", d.destination, d.error);
        say(format!("ship/{}", d.destination), "ship_failed", Warning, d.error_at, s, "datanode-admin ship");
    }
    out
}

fn vendor(
    f: &Facts,
    v: &VendorFact,
    unusual: &[Unusual],
    say: &mut impl FnMut(String, &'static str, Severity, i64, String, &str),
) {
    let next = format!("datanode-admin vendors show {}", v.vendor);
    if v.left_today == Some(0) {
        let s = format!("the day's budget of {} is spent: {} requests", v.vendor, v.spent_today);
        say(format!("budget/{}", v.vendor), "budget_exhausted", Severity::Warning, f.at, s, &next);
    }
    for u in unusual {
        let percent = |s: datanode_actors::alert::Share| format!("{:.0} %", s.ratio() * 100.0);
        let (kind, s) = match u {
            Unusual::Empties(now, past) => {
                ("sudden_empties", format!("{} of its answers are empty; it was {}", percent(*now), percent(*past)))
            }
            Unusual::Restated(now, past) => {
                ("restatements", format!("{} of its rows replace others; it was {}", percent(*now), percent(*past)))
            }
            Unusual::Slow(now, past) => {
                ("slow", format!("half of its requests take up to {now} s; it was up to {past} s"))
            }
        };
        say(format!("{kind}/{}", v.vendor), kind, Severity::Warning, f.at, format!("{}: {s}", v.vendor), &next);
    }
}

fn disk(f: &Facts, say: &mut impl FnMut(String, &'static str, Severity, i64, String, &str)) {
    let Some(d) = &f.disk else { return };
    let days = d.days_until_full.unwrap_or(f64::MAX);
    let little = d.free_bytes < d.floor_bytes.saturating_mul(DISK_FLOORS);
    if days >= DISK_DAYS && !little {
        return;
    }
    let severity = if little || days < DISK_DAYS_CRITICAL { Severity::Critical } else { Severity::Warning };
    let free = d.free_bytes >> 20;
    let s = if days < DISK_DAYS {
        format!("the disk is full in {days:.1} days at this rate; {free} MiB are free")
    } else {
        format!("{free} MiB are free on the disk; below {} nothing is kept any more", d.floor_bytes >> 20)
    };
    say("disk".to_owned(), "disk", severity, f.at, s, "datanode retention plan");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::admin::queries::{DiskFact, IncidentFact, PackFact, RunFact, ShipFact};
    use datanode_actors::alert::Share;

    fn keys(f: &Facts) -> Vec<String> {
        wrong(f, 30, &BTreeMap::new()).into_iter().map(|c| c.key).collect()
    }

    fn pack(hours: i64) -> Facts {
        let newest_pack = Some(PackFact { age_seconds: hours * 3600, export_id: "p".into(), ..PackFact::default() });
        Facts { at: 1_000_000_000, newest_pack, ..Facts::default() }
    }

    #[test]
    fn a_node_that_gets_on_is_silent() {
        let mut f = pack(30);
        f.vendors = vec![VendorFact { vendor: "alpaca", enabled: true, left_today: Some(1), ..VendorFact::default() }];
        f.vendors.push(VendorFact { vendor: "massive", enabled: true, left_today: None, ..VendorFact::default() });
        f.last_cycle = Some(RunFact { state: "open", ..RunFact::default() });
        f.clock_ahead_seconds = Some(-30);
        let floor_bytes = 1 << 28;
        let disk = DiskFact { free_bytes: 1 << 30, floor_bytes, days_until_full: Some(7.0), ..DiskFact::default() };
        f.disk = Some(disk);
        assert_eq!(keys(&f), Vec::<String>::new());
    }

    #[test]
    fn each_thing_that_is_wrong_has_its_own_key() {
        assert_eq!(keys(&pack(31)), ["pack"]);
        let young = Facts { uptime_seconds: 30 * 3600, ..Facts::default() };
        assert!(keys(&young).is_empty(), "its first night may be to come");
        assert_eq!(keys(&Facts { uptime_seconds: 31 * 3600, ..Facts::default() }), ["pack"]);
        let mut f = pack(1);
        f.stalled = 3;
        f.store_stopped = Some("the disk".into());
        f.clock_ahead_seconds = Some(31);
        f.last_cycle = Some(RunFact { state: "stopped", error: "no".into(), ..RunFact::default() });
        f.incidents = vec![IncidentFact { id: 7, artifact: "vault/x".into(), ..IncidentFact::default() }];
        f.vendors = vec![VendorFact { vendor: "alpaca", enabled: true, left_today: Some(0), ..VendorFact::default() }];
        f.vendors.push(VendorFact { vendor: "massive", enabled: false, left_today: Some(0), ..VendorFact::default() });
        f.ship = vec![ShipFact { destination: "nas".into(), error_at: 5, ..ShipFact::default() }];
        f.disk = Some(DiskFact { free_bytes: 1 << 30, days_until_full: Some(6.9), ..DiskFact::default() });
        assert_eq!(keys(&f), ["state", "incident/7", "cycle", "stalled", "budget/alpaca", "disk", "clock", "ship/nas"]);
        let all = wrong(&f, 30, &BTreeMap::new());
        let worst: Vec<&str> = all.iter().filter(|c| c.severity == Severity::Critical).map(|c| c.kind).collect();
        assert_eq!(worst, ["state_stopped", "incident", "cycle_failed"]);
        assert!(all.iter().all(|c| !c.next_command.is_empty()));
        f.disk = Some(DiskFact { free_bytes: 511 << 20, floor_bytes: 256 << 20, ..DiskFact::default() });
        assert!(wrong(&f, 30, &BTreeMap::new()).iter().any(|c| c.key == "disk" && c.severity == Severity::Critical));
    }

    #[test]
    fn what_is_unusual_about_a_vendor_is_told_in_its_own_terms() {
        let mut f = pack(1);
        f.vendors = vec![VendorFact { vendor: "alpaca", enabled: true, ..VendorFact::default() }];
        let share = |part| Share { part, all: 100 };
        let unusual = vec![
            Unusual::Empties(share(80), share(5)),
            Unusual::Restated(share(20), share(0)),
            Unusual::Slow(5.0, 0.2),
        ];
        let all = wrong(&f, 30, &BTreeMap::from([("alpaca", unusual)]));
        let said: Vec<&str> = all.iter().map(|c| c.summary.as_str()).collect();
        assert_eq!(all[0].key, "sudden_empties/alpaca");
        let want = [
            "alpaca: 80 % of its answers are empty; it was 5 %",
            "alpaca: 20 % of its rows replace others; it was 0 %",
            "alpaca: half of its requests take up to 5 s; it was up to 0.2 s",
        ];
        assert_eq!(said, want);
    }
}
