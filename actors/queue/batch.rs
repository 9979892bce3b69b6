//! From the front of a lane to what one request answers: later days of the symbol, other symbols with the same days, and
//! where there is room still, earlier days. Pure.

use super::index::{Batch, Entry, Index, Lane, Part};
use super::score::Shape;
use datanode_schema::clock::date_of;
use datanode_schema::keys::Month;
use datanode_schema::names::Vendor;
use datanode_schema::records::bits;

/// Bytes of the symbols of one batch: they stand in its lease.
const MOST_SYMBOL_BYTES: usize = 3_000;

impl Index {
    pub(super) fn batch(&self, vendor: Vendor, entry: Entry, lane: Lane, may: &impl Fn(&Lane) -> bool) -> Batch {
        let (_, month, series) = entry;
        let offers = self.lens.offers(lane.dataset);
        let shape = offers.and_then(|o| o.vendors.iter().find(|v| v.vendor == vendor)).map(|o| o.shape);
        let shape = shape.unwrap_or(Shape { sessions: 1, symbols: 1, rows: 1, days: 1 });
        let narrow = self.narrowed.get(&((series, month), vendor));
        let shape = narrow.map_or(shape, |n| Shape {
            sessions: n.sessions.min(shape.sessions),
            symbols: 1,
            rows: n.sessions.min(shape.rows),
            ..shape
        });
        let mut days: Vec<i32> = Vec::new();
        let mut taken: Vec<(u32, u32)> = Vec::new();
        let seed =
            self.pages.get(&(series, month)).and_then(|p| p.iter().find(|s| s.lane == lane && s.discovered == entry.0));
        let begin = seed.map_or(0, |s| s.days.trailing_zeros());
        let last_month = Month::of(date_of(self.lens.last_day())).0;
        'months: for m in month..=last_month.max(month) {
            let mut open = self.claimable((series, m), vendor, may);
            if m == month {
                open &= u32::MAX.checked_shl(begin).unwrap_or(0);
            }
            let first = Month(m).first_day();
            let mut here = 0u32;
            for n in bits(open) {
                let day = first + n;
                let start = days.first().copied().unwrap_or(day);
                let sessions = offers.map_or(1, |o| o.calendar.count(date_of(start), date_of(day)));
                if !days.is_empty() && (sessions > shape.sessions || (shape.days > 0 && day - start >= shape.days)) {
                    if here != 0 {
                        taken.push((m, here));
                    }
                    break 'months;
                }
                here |= 1 << n;
                days.push(day);
            }
            if here != 0 {
                taken.push((m, here));
            } else if let Some(start) = days.first()
                && offers.map_or(1, |o| o.calendar.count(date_of(*start), date_of(first))) > shape.sessions
            {
                break;
            }
        }
        let mut all = vec![series];
        self.add_symbols(vendor, entry, &lane, may, shape, &days, &taken, &mut all);
        self.add_earlier(vendor, may, shape, &all, &mut days, &mut taken);
        let mut symbols: Vec<String> = all.iter().filter_map(|s| self.name(*s)).map(|(_, n)| n.to_string()).collect();
        symbols.sort_unstable();
        let parts = all.iter().flat_map(|s| taken.iter().map(|(m, d)| Part { page: (*s, *m), days: *d })).collect();
        let certain = all.len() == 1 && days.len() <= narrow.map_or(1, |n| n.least);
        Batch { dataset: lane.dataset, class: lane.class, symbols, days, parts, certain }
    }

    /// Where the request has room still: the days before, as far as they are open for all of its symbols.
    fn add_earlier(
        &self,
        vendor: Vendor,
        may: &impl Fn(&Lane) -> bool,
        shape: Shape,
        all: &[u32],
        days: &mut Vec<i32>,
        taken: &mut Vec<(u32, u32)>,
    ) {
        let (Some(start), Some(end)) = (days.first().copied(), days.last().copied()) else { return };
        let Some((dataset, _)) = all.first().and_then(|s| self.name(*s)) else { return };
        let Some(calendar) = self.lens.offers(*dataset).map(|o| o.calendar) else { return };
        let most = shape.rows / all.len().max(1);
        let mut earlier: Vec<i32> = Vec::new();
        let mut m = Month::of(date_of(start)).0;
        while m >= self.oldest {
            let first = Month(m).first_day();
            let below = u32::try_from(start - first).ok().and_then(|n| 1u32.checked_shl(n)).map_or(u32::MAX, |b| b - 1);
            let open = |s: &u32| self.claimable((*s, m), vendor, may) & below;
            let here = all.first().map_or(0, open);
            let full = days.len() + earlier.len() >= most
                || calendar.count(date_of(first + 27), date_of(end)) > shape.sessions
                || all.iter().any(|s| open(s) != here);
            if full {
                break;
            }
            let mut got = 0u32;
            for n in bits(here).collect::<Vec<_>>().into_iter().rev() {
                let day = first + n;
                let room = days.len() + earlier.len() < most
                    && calendar.count(date_of(day), date_of(end)) <= shape.sessions
                    && (shape.days == 0 || end - day < shape.days);
                if !room {
                    break;
                }
                got |= 1 << n;
                earlier.push(day);
            }
            if got != 0 {
                match taken.iter_mut().find(|(t, _)| *t == m) {
                    Some((_, d)) => *d |= got,
                    None => taken.push((m, got)),
                }
            }
            let Some(before) = m.checked_sub(1) else { break };
            m = before;
        }
        earlier.reverse();
        days.splice(0..0, earlier);
    }

    /// Symbols that wait right behind with the very same days.
    #[allow(clippy::too_many_arguments, reason = "the parts of a batch")]
    fn add_symbols(
        &self,
        vendor: Vendor,
        entry: Entry,
        lane: &Lane,
        may: &impl Fn(&Lane) -> bool,
        shape: Shape,
        days: &[i32],
        taken: &[(u32, u32)],
        all: &mut Vec<u32>,
    ) {
        let most = shape.symbols.min(shape.rows / days.len().max(1));
        let (Some(start), Some(end)) = (days.first(), days.last()) else { return };
        let mut bytes = 0;
        let Some(set) = self.lanes.get(lane) else { return };
        let behind = set.range((std::ops::Bound::Excluded(entry), std::ops::Bound::Unbounded));
        for (discovered, month, series) in behind.take(most.saturating_mul(4)) {
            // What failed or was refused among others is asked for alone.
            let struck = |s: u32| {
                let key = ((s, *month), vendor);
                self.strikes.contains_key(&key) || self.narrowed.contains_key(&key)
            };
            if struck(entry.2) {
                return;
            }
            if struck(*series) {
                continue;
            }
            if all.len() >= most || bytes > MOST_SYMBOL_BYTES || (*discovered, *month) != (entry.0, entry.1) {
                return;
            }
            let same = taken.iter().all(|(m, want)| {
                let first = Month(*m).first_day();
                let low = u32::MAX.checked_shl(u32::try_from(start - first).unwrap_or(0)).unwrap_or(0);
                let high = u32::try_from(end - first).map_or(0, |n| u32::MAX.checked_shl(n + 1).unwrap_or(0));
                self.claimable((*series, *m), vendor, may) & low & !high == *want
            });
            if same && let Some((_, name)) = self.name(*series) {
                bytes += name.len() + 1;
                all.push(*series);
            }
        }
    }
}
