//! The lookback: the newest sessions are asked for once more, a night later, of the vendors that gave them or had nothing of
//! them. Late rows and restatements come in this way.

use super::QueueError;
use super::lens::{last_sessions, window};
use super::score::Shape;
use crate::node::{Node, RunContext};
use crate::vendor::{Ask, Purpose};
use datanode_schema::clock::date_of;
use datanode_schema::keys::{BookmarkKey, HoldingKey, Month, PageKey};
use datanode_schema::names::{Absence, Dataset, Explanation, Vendor};
use datanode_schema::records::{GapTask, bits};
use datanode_schema::trees::{BOOKMARKS, DEMOTIONS, GAPS, HOLDINGS};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;

type Group = (Dataset, Vendor, Vec<i32>);

/// The asks of tonight, by vendor; a symbol that was looked at today (UTC) is left alone. What came in
/// today says nothing of that: a kill may have come between it and the look.
pub(super) fn plan(node: &Node, run: &RunContext) -> Result<BTreeMap<Vendor, VecDeque<Ask>>, QueueError> {
    let registry = node.registry();
    let mut groups: BTreeMap<Group, Vec<String>> = BTreeMap::new();
    let now = node.clock.now();
    for (dataset, symbol, _) in registry.universe.iter() {
        let Some(rule) = registry.rule(dataset).filter(|r| r.lookback_sessions > 0) else { continue };
        let (first, last) = run.days();
        let mut days = last_sessions(rule, run.as_of, rule.lookback_sessions);
        days.retain(|d| first <= *d && *d <= last);
        for (vendor, held) in held(node, dataset, symbol, &days)? {
            let key = BookmarkKey { dataset, symbol: symbol.to_owned(), vendor };
            let looked = node.store.load(&BOOKMARKS, &key)?.map_or(0, |b| b.looked_at);
            let demoted = node.store.load(&DEMOTIONS, &key)?.unwrap_or_default();
            let Some(c) = registry.capability(vendor, dataset).filter(|_| node.enabled.contains(&vendor)) else {
                continue;
            };
            let (from, to) = window(c, now);
            let open = |d: &i32| from <= *d && *d <= to && !demoted.refuses(*d, now.timestamp());
            let days: Vec<i32> = held.into_iter().filter(open).collect();
            if !days.is_empty() && looked.div_euclid(86_400) < i64::from(run.today()) {
                groups.entry((dataset, vendor, days)).or_default().push(symbol.to_owned());
            }
        }
    }
    let mut out: BTreeMap<Vendor, VecDeque<Ask>> = BTreeMap::new();
    for ((dataset, vendor, days), symbols) in groups {
        let (Some(rule), Some(c)) = (registry.rule(dataset), registry.capability(vendor, dataset)) else { continue };
        let (Some(first), Some(last)) = (days.first(), days.last()) else { continue };
        let shape = Shape::of(rule, c);
        // The symbols stand in a lease, which is a record: at 33 bytes each, so many fit.
        let most = shape.symbols.min(shape.rows / days.len().max(1)).clamp(1, 90);
        for some in symbols.chunks(most) {
            out.entry(vendor).or_default().push_back(Ask {
                vendor,
                dataset,
                symbols: some.to_vec(),
                from: date_of(*first),
                to: date_of(*last),
                feed: c.feed.clone(),
                adjustment: c.adjustment.clone(),
                max_rows: c.max_rows,
                purpose: Purpose::Lookback,
                certain: false,
                days: days.clone(),
            });
        }
    }
    Ok(out)
}

/// Which of the days each vendor has given, or said that nothing traded: two vendors that are late on one evening agree as two do that
/// are right. A symbol that is listed no more is not asked for so.
fn held(
    node: &Node,
    dataset: Dataset,
    symbol: &str,
    days: &[i32],
) -> Result<BTreeMap<Vendor, BTreeSet<i32>>, QueueError> {
    let months: BTreeSet<Month> = days.iter().map(|d| Month::of(date_of(*d))).collect();
    let mut out: BTreeMap<Vendor, BTreeSet<i32>> = BTreeMap::new();
    for month in months {
        node.store.scan(&HOLDINGS, &HoldingKey::of_month(dataset, symbol, month), |k, page| {
            let here = bits(page.days_with_rows()).map(|n| month.first_day() + n).filter(|d| days.contains(d));
            for d in here {
                out.entry(k.vendor).or_default().insert(d);
            }
            ControlFlow::Continue(())
        })?;
        let page = PageKey { dataset, symbol: symbol.to_owned(), month };
        let tasks = node.store.load(&GAPS, &page)?.map(|p| p.tasks(month.first_day())).unwrap_or_default();
        let quiet = |t: &&GapTask| {
            t.rows == 0
                && t.state == Absence::Explained.number()
                && t.why == Explanation::NoTrade.number()
                && days.contains(&t.day)
        };
        for t in tasks.iter().filter(quiet) {
            for v in t.answers.iter().filter_map(|a| Vendor::from_number(a.vendor)) {
                out.entry(v).or_default().insert(t.day);
            }
        }
    }
    Ok(out)
}
