//! Is all well? One rule a line over the node's figures; pure.

use crate::admin::queries::Facts;

/// Less of the disk than this is free: percent.
const LITTLE_DISK: u64 = 5;
/// The disk is full sooner than this, days.
const SOON_FULL: f64 = 7.0;
/// The clock is off by more, seconds.
const CLOCK_OFF: i64 = 30;

/// Something that wants a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Concern {
    /// Whether packs or data are at stake; else it is to be looked at.
    pub(super) bad: bool,
    /// What is wrong.
    pub(super) what: String,
    /// What to do, or where to look.
    pub(super) next: String,
}

/// What is wrong, the worst first. `late_hours`: a pack is late when the newest one is older.
pub(super) fn concerns(f: &Facts, late_hours: u32) -> Vec<Concern> {
    let mut out = Vec::new();
    let mut say = |bad: bool, what: String, next: &str| out.push(Concern { bad, what, next: next.to_owned() });
    if let Some(why) = &f.store_stopped {
        say(
            true,
            format!("The state takes no more commits: {why}"),
            "the process ends by itself and is started again; see its log",
        );
    }
    if !f.incidents.is_empty() {
        let n: u64 = f.incidents_by_kind.values().sum();
        let kinds: Vec<String> =
            f.incidents_by_kind.iter().filter(|(_, n)| **n > 0).map(|(k, n)| format!("{k} {n}")).collect();
        say(
            true,
            format!("{n} open incident{}: {}", if n == 1 { "" } else { "s" }, kinds.join(", ")),
            "datanode-admin incident list --open",
        );
    }
    if let Some(run) = f.last_run.as_ref().filter(|r| r.state == "stopped") {
        say(
            true,
            format!("The last run, {}, stopped: {}", run.run_id, run.error),
            "datanode doctor; the next cycle tries again",
        );
    }
    match &f.newest_pack {
        Some(p) if late_hours > 0 && p.age_seconds > i64::from(late_hours) * 3600 => {
            let hours = p.age_seconds / 3600;
            say(
                true,
                format!("The newest pack is {hours} hours old: packs are late after {late_hours}"),
                "datanode-admin runs show last",
            );
        }
        None if f.last_cycle.is_some() => {
            say(true, "Cycles ran, and there is no pack".to_owned(), "datanode-admin runs show last");
        }
        _ => {}
    }
    if f.vault.bad > 0 {
        say(true, format!("{} things in the vault are damaged and not repaired", f.vault.bad), "datanode vault repair");
    }
    if let Some(d) = &f.disk {
        let percent = d.free_bytes.saturating_mul(100) / d.size_bytes.max(1);
        if d.free_bytes < d.floor_bytes {
            say(
                true,
                "The disk is full: the state takes no more commits".to_owned(),
                "free space, or datanode retention apply",
            );
        } else if percent < LITTLE_DISK {
            say(false, format!("{percent} % of the disk is free"), "datanode retention plan");
        }
        if let Some(days) = d.days_until_full.filter(|d| *d < SOON_FULL) {
            say(true, format!("The disk is full in {days:.1} days at the rate of late"), "datanode retention plan");
        }
    }
    if let Some(n) = f.clock_ahead_seconds.filter(|n| n.abs() > CLOCK_OFF) {
        let way = if n > 0 { "ahead of" } else { "behind" };
        say(
            true,
            format!("This machine's clock is {} seconds {way} what vendors say", n.abs()),
            "timedatectl set-ntp true",
        );
    }
    for s in f.ship.iter().filter(|s| !s.error.is_empty()) {
        say(true, format!("Shipping to {} fails: {}", s.destination, s.error), "datanode-admin ship");
    }
    if f.vault.replica_down_since > 0 {
        say(false, "The vault's second copy is not in step".to_owned(), "datanode-admin vault");
    }
    if f.stalled > 0 {
        say(
            false,
            format!("{} sessions are unobtainable: every vendor failed for them", f.stalled),
            "datanode-admin queue --state unobtainable; queue retry",
        );
    }
    for v in f.vendors.iter().filter(|v| v.enabled) {
        if v.left_today == Some(0) {
            say(false, format!("The budget of {} is spent for today", v.vendor), "it goes on after midnight UTC");
        }
        if v.paused {
            say(
                false,
                format!("{} is paused by a person", v.vendor),
                &format!("datanode-admin queue resume {}", v.vendor),
            );
        }
    }
    if f.vendors.iter().all(|v| !v.enabled) {
        say(true, "No vendor is enabled".to_owned(), "vendors.NAME.enabled = true in datanode.toml");
    }
    out.sort_by_key(|c| !c.bad);
    out
}

/// The one sentence.
pub(super) fn sentence(f: &Facts, all: &[Concern]) -> String {
    let bad = all.iter().filter(|c| c.bad).count();
    match (bad, all.len()) {
        (0, 0) if f.last_cycle.is_none() => "Nothing is wrong, and no cycle has run yet.".to_owned(),
        (0, 0) => "All is well.".to_owned(),
        (0, 1) => "All is well, with one thing to know.".to_owned(),
        (0, n) => format!("All is well, with {n} things to know."),
        (1, _) => "One thing is wrong.".to_owned(),
        (n, _) => format!("{n} things are wrong."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::queries::{DiskFact, PackFact, VaultFact, VendorFact};

    /// A node of one vendor, of which nothing is known.
    fn quiet() -> Facts {
        let vendor = VendorFact {
            vendor: "alpaca",
            enabled: true,
            paused: false,
            spent_today: 0,
            left_today: None,
            left_ratio: None,
            spent_total: 0,
            closed_until: 0,
            traffic: Default::default(),
        };
        let vault = VaultFact {
            sealings: 0,
            objects: 0,
            not_anchored: 0,
            log_entries: 0,
            bad: 0,
            read_at: 0,
            read_bytes: 0,
            read_through_at: 0,
            replica_down_since: 0,
        };
        Facts {
            at: 0,
            uptime_seconds: 0,
            commit: 0,
            store_stopped: None,
            counted_commits_ago: 0,
            gaps: vec![],
            queue: Default::default(),
            ledger: Default::default(),
            stalled: 0,
            oldest_missing_days: None,
            lanes: vec![],
            leases: 0,
            vendors: vec![vendor],
            last_run: None,
            last_cycle: None,
            last_good_at: 0,
            cycles_good: 0,
            cycles_failed: 0,
            packs: 0,
            newest_pack: None,
            exports_made: 0,
            exports_refused: 0,
            incidents_by_kind: Default::default(),
            incidents: vec![],
            disk: None,
            state_bytes: 0,
            clock_ahead_seconds: None,
            vault,
            ship: vec![],
        }
    }

    fn concern(bad: bool) -> Concern {
        Concern { bad, what: String::new(), next: String::new() }
    }

    #[test]
    fn a_clock_that_is_off_a_full_disk_and_a_late_pack_are_said_and_the_worst_comes_first() {
        let f = quiet();
        assert_eq!(concerns(&f, 30), []);
        assert_eq!(sentence(&f, &[]), "Nothing is wrong, and no cycle has run yet.");
        let late = PackFact {
            export_id: "x".into(),
            as_of: "2024-01-02".into(),
            created_at: 0,
            age_seconds: 31 * 3600,
            files: 0,
            bytes: 0,
            rows: 0,
            sealed: true,
        };
        let f = Facts {
            stalled: 4,
            clock_ahead_seconds: Some(-45),
            newest_pack: Some(late),
            disk: Some(DiskFact {
                free_bytes: 1,
                size_bytes: 100,
                free_inodes: 0,
                inodes: 0,
                floor_bytes: 5,
                days_until_full: None,
            }),
            ..f
        };
        let all = concerns(&f, 30);
        let said: Vec<_> = all.iter().map(|c| (c.bad, c.what.as_str())).collect();
        assert!(said.contains(&(true, "The newest pack is 31 hours old: packs are late after 30")), "{said:?}");
        assert!(said.contains(&(true, "This machine's clock is 45 seconds behind what vendors say")), "{said:?}");
        assert!(said.contains(&(true, "The disk is full: the state takes no more commits")), "{said:?}");
        assert_eq!(said.last(), Some(&(false, "4 sessions are unobtainable: every vendor failed for them")));
        assert_eq!(sentence(&f, &all), "3 things are wrong.");
        assert_eq!(concerns(&f, 31).len(), 3);
    }

    #[test]
    fn the_sentence_tells_what_is_wrong_from_what_is_to_be_known() {
        let f = quiet();
        assert_eq!(sentence(&f, &[concern(false)]), "All is well, with one thing to know.");
        assert_eq!(sentence(&f, &[concern(true), concern(false)]), "One thing is wrong.");
    }
}
