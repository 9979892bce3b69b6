//! What a session's rows amount to, so that the audit never reads them again.

use datanode_schema::calendar::Calendar;
use datanode_schema::clock::date_of;
use datanode_schema::names::Dataset;
use datanode_schema::records::{HoldingDay, LEAST_SILENCE, MOST_SILENCES, Silence};

/// Nanoseconds.
const MINUTE: i64 = 60_000_000_000;

/// The holding of one session from the stamps of its rows, sorted.
pub fn holding_day(dataset: Dataset, calendar: Calendar, day: i32, stamps: &[i64]) -> HoldingDay {
    let rows = u32::try_from(stamps.len()).unwrap_or(u32::MAX);
    let held = HoldingDay { day, rows, ..HoldingDay::default() };
    if dataset != Dataset::EquitiesBarsMinute {
        return HoldingDay { regular: rows, ..held };
    }
    let Some(session) = calendar.session(date_of(day)) else { return held };
    let (Some(open), Some(close)) = (session.open.timestamp_nanos_opt(), session.close.timestamp_nanos_opt()) else {
        return held;
    };
    let minute = |t: &i64| u16::try_from((t - open) / MINUTE).unwrap_or(u16::MAX);
    let mut minutes: Vec<u16> = stamps.iter().filter(|t| (open..close).contains(*t)).map(minute).collect();
    minutes.dedup();
    let (Some(first), Some(last)) = (minutes.first().copied(), minutes.last().copied()) else { return held };
    let regular = u32::try_from(minutes.len()).unwrap_or(u32::MAX);
    let all = u16::try_from(session.minutes()).unwrap_or(u16::MAX);
    HoldingDay { regular, first, last, silent: silences(&minutes, all), ..held }
}

/// The silences of a session of `all` minutes, of which those in `minutes` (sorted) have a row.
fn silences(minutes: &[u16], all: u16) -> Vec<Silence> {
    let mut out = Vec::new();
    let mut next = 0;
    for m in minutes.iter().copied().chain([all]) {
        if m.saturating_sub(next) >= LEAST_SILENCE {
            out.push(Silence { from: next, minutes: m - next });
        }
        next = m.saturating_add(1);
    }
    if out.len() > MOST_SILENCES {
        out.sort_by_key(|s| (std::cmp::Reverse(s.minutes), s.from));
        out.truncate(MOST_SILENCES);
        out.sort_by_key(|s| s.from);
    }
    out
}
