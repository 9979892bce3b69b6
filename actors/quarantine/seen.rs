//! The minimum bad-data list: what the node sees by itself. Each function is called where it is seen; what it opens, and when that
//! closes, is the table in the module's doc.

use super::{Acts, Artifact, Opening};
use crate::node::{Node, RunContext};
use datanode_schema::calendar::Calendar;
use datanode_schema::clock::{date_of, day_number};
use datanode_schema::manifest;
use datanode_schema::names::{Absence, Dataset, IncidentKind, IncidentLabel, Outcome, Vendor};
use datanode_schema::store::StoreError;
use datanode_schema::trees::GAPS;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// So many open sessions of a dataset after a night in which its vendors said to slow down are a large gap: about a month of one
/// symbol. Fewer are what the next night makes up for.
pub const LARGE_GAP: u64 = 20;

fn opening(artifact: Artifact, kind: IncidentKind, label: IncidentLabel, note: String, evidence: String) -> Opening {
    Opening { artifact, kind, label, note, replacement: String::new(), evidence }
}

/// An answer is not what the vendor's interface says, as a whole or in some rows. `kept` is where its body lies below `rejects`.
pub fn unexpected_answer(acts: &Acts, vendor: Vendor, dataset: Dataset, why: &str, kept: &[String]) {
    let evidence = kept.first().map_or(String::new(), |k| format!("data_layer/rejects/{k}"));
    let artifact = Artifact::Answers(vendor, dataset);
    let (kind, label) = (IncidentKind::UnexpectedSchema, IncidentLabel::Deprecated);
    acts.report(opening(artifact, kind, label, format!("not what {vendor} says it answers: {why}"), evidence));
}

/// A file of ours below `data_layer` (`raw/…`, `curated/…`) is not the table that it should be.
pub fn unexpected_file(acts: &Acts, path: String, cause: &str) {
    let (kind, label) = (IncidentKind::UnexpectedSchema, IncidentLabel::Deprecated);
    acts.report(opening(Artifact::File(path), kind, label, cause.to_owned(), String::new()));
}

/// An answer for a token that its market does not list, or under another market; it is not taken.
pub fn wrong_mapping(acts: &Acts, vendor: Vendor, dataset: Dataset, why: &str) {
    let (kind, label) = (IncidentKind::WrongMapping, IncidentLabel::Deprecated);
    acts.report(opening(Artifact::Answers(vendor, dataset), kind, label, why.to_owned(), String::new()));
}

/// The tokens of a market stand for other outcomes than at the look before: from `day` on nobody knows which side a row is of.
pub fn outcomes_changed(acts: &Acts, dataset: Dataset, market: &str, day: i32, why: &str) {
    let artifact = Artifact::Partitions { dataset, symbol: market.to_owned(), from: Some(date_of(day)), to: None };
    let (kind, label) = (IncidentKind::WrongMapping, IncidentLabel::Invalid);
    acts.report(opening(artifact, kind, label, why.to_owned(), String::new()));
}

/// A gzip file was found open and its end was cut off or set aside. `path` is below `data_layer`.
pub fn unclosed(acts: &Acts, path: String, note: String) {
    let (kind, label) = (IncidentKind::GzipNotClosed, IncidentLabel::Deprecated);
    acts.report(opening(Artifact::File(path), kind, label, note, String::new()));
}

/// What lies or arrived at a destination is not what was sent of a pack.
pub fn upload_differs(acts: &Acts, export_id: &str, what: &str) {
    let (kind, label) = (IncidentKind::ChecksumMismatch, IncidentLabel::Deprecated);
    acts.report(opening(Artifact::Pack(export_id.to_owned()), kind, label, what.to_owned(), String::new()));
}

/// A pack is whole at its destination.
pub fn upload_whole(acts: &Acts, export_id: &str, destination: &str) {
    let why = format!("it is whole at {destination}");
    acts.mended(IncidentKind::ChecksumMismatch, &Artifact::Pack(export_id.to_owned()), &why);
}

/// Something of a sealing in the vault is wrong. `what` are the lines of what was found.
pub fn vault_damage(acts: &Acts, uid: &str, kind: IncidentKind, what: &[String]) {
    let label = if kind == IncidentKind::StorageRot { IncidentLabel::Deprecated } else { IncidentLabel::Invalid };
    let note = match what.len() {
        0 | 1 => what.first().cloned().unwrap_or_default(),
        n => format!("{n} things, such as {}", what.first().map_or("", |w| w.as_str())),
    };
    acts.report(opening(Artifact::Vault(uid.to_owned()), kind, label, note, "vault/repair.log".to_owned()));
}

/// Nothing of that kind is wrong with a sealing any more.
pub fn vault_whole(acts: &Acts, uid: &str, kind: IncidentKind, why: &str) {
    acts.mended(kind, &Artifact::Vault(uid.to_owned()), why);
}

/// The vault's second copy was not reached for days.
pub fn replica_behind(acts: &Acts, why: String) {
    let (kind, label) = (IncidentKind::ReplicaBehind, IncidentLabel::Deprecated);
    acts.report(opening(Artifact::Vault("replica".to_owned()), kind, label, why, String::new()));
}

/// So many incidents of misread sessions one stage opens; the partitions are RED by their reason, whether an incident names them or
/// not.
const MOST_MISREAD: usize = 200;

/// QC calls this when its verdicts are entered: `newly` are the partitions (symbol, day number) of a dataset that got the reason
/// `misread_timestamps` and had it not before, `no_longer` those that lost it. Sessions that follow one another become one incident.
pub fn misread(
    acts: &Acts,
    dataset: Dataset,
    calendar: Calendar,
    newly: &[(String, i32)],
    no_longer: &[(String, i32)],
) {
    let kind = IncidentKind::MisreadTimestamps;
    let of = |symbol: &str, from: i32, to: i32| {
        let (from, to) = (Some(date_of(from)), Some(date_of(to)));
        Artifact::Partitions { dataset, symbol: symbol.to_owned(), from, to }
    };
    let found = runs(calendar, newly);
    for (symbol, from, to) in found.iter().take(MOST_MISREAD) {
        let note = match found.len().saturating_sub(MOST_MISREAD) {
            0 => "the sessions lie whole hours beside their time".to_owned(),
            more => format!(
                "the sessions lie whole hours beside their time, and those of {more} others: a change of clocks?"
            ),
        };
        acts.report(opening(of(symbol, *from, *to), kind, IncidentLabel::Invalid, note, String::new()));
    }
    for (symbol, from, to) in runs(calendar, no_longer) {
        acts.mended(kind, &of(&symbol, from, to), "they were judged again, and lie at their time");
    }
}

/// Symbol, first and last day of sessions that follow one another.
fn runs(calendar: Calendar, partitions: &[(String, i32)]) -> Vec<(String, i32, i32)> {
    let sorted: BTreeSet<&(String, i32)> = partitions.iter().collect();
    let mut out: Vec<(String, i32, i32)> = Vec::new();
    for (symbol, day) in sorted {
        match out.last_mut() {
            Some((s, _, to)) if s == symbol && calendar.next(date_of(*to)).map(day_number) == Some(*day) => *to = *day,
            _ => out.push((symbol.clone(), *day, *day)),
        }
    }
    out
}

/// At the end of the asking: where vendors said to slow down and [`LARGE_GAP`] sessions are open, an incident; where no more are
/// open than that, it is closed.
///
/// # Errors
/// The store's.
pub fn rate_limit_gaps(node: &Node, run: &RunContext) -> Result<(), StoreError> {
    let mut open: BTreeMap<Dataset, u64> = BTreeMap::new();
    let is_open = |state: u8| [Absence::Missing, Absence::Short, Absence::Hole].iter().any(|a| a.number() == state);
    node.store.scan(&GAPS, &[], |k, page| {
        let days = page.groups.iter().filter(|g| is_open(g.state)).map(|g| u64::from(g.days.to_native().count_ones()));
        *open.entry(k.dataset).or_default() += days.sum::<u64>();
        ControlFlow::Continue(())
    })?;
    for dataset in Dataset::ALL {
        let (n, kind) = (open.get(dataset).copied().unwrap_or(0), IncidentKind::RateLimitGaps);
        let artifact = Artifact::Gaps(*dataset);
        if n < LARGE_GAP {
            node.acts.mended(kind, &artifact, &format!("{n} sessions are open at the end of run {}", run.id));
            continue;
        }
        let slowed = slowed(node, run, *dataset);
        if !slowed.is_empty() {
            let words: Vec<String> = slowed.iter().map(|(v, n)| format!("{v} {n} times")).collect();
            let note = format!("{n} sessions are open at the end of a night in which vendors said to slow down");
            let evidence = format!("run {}: {}", run.id, words.join(", "));
            node.acts.report(opening(artifact, kind, IncidentLabel::Deprecated, note, evidence));
        }
    }
    Ok(())
}

/// How often each vendor said in this run to slow down, by its manifest lines. A question that was never sent (our own budget, our
/// own stop) has no pages and does not count. Damaged lines are the exporter's to refuse.
fn slowed(node: &Node, run: &RunContext, dataset: Dataset) -> Vec<(Vendor, usize)> {
    let said = |v: &Vendor| {
        let lines = manifest::read(&manifest::file_of(&node.data, *v, dataset, &run.id)).unwrap_or_default();
        let ids: BTreeSet<String> = lines
            .into_iter()
            .filter(|l| l.outcome == Outcome::RateLimited && l.pages > 0)
            .map(|l| l.request_id)
            .collect();
        (*v, ids.len())
    };
    Vendor::ALL.iter().map(said).filter(|(_, n)| *n > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_that_follow_one_another_are_one_run() {
        let day = |d: &str| day_number(d.parse().unwrap());
        let of = |s: &str, d: &str| (s.to_owned(), day(d));
        // Friday, Tuesday (Monday was a holiday), and a Thursday by itself.
        let all = [of("B", "2024-01-12"), of("A", "2024-01-16"), of("A", "2024-01-12"), of("A", "2024-01-18")];
        let got = runs(Calendar::Xnys, &all);
        let want =
            [("A", "2024-01-12", "2024-01-16"), ("A", "2024-01-18", "2024-01-18"), ("B", "2024-01-12", "2024-01-12")];
        assert_eq!(got, want.map(|(s, a, b)| (s.to_owned(), day(a), day(b))));
    }
}
