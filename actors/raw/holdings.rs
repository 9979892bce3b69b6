//! What a session's rows amount to, so that the audit never reads them again.

use datanode_schema::calendar::Calendar;
use datanode_schema::clock::date_of;
use datanode_schema::names::Dataset;
use datanode_schema::records::HoldingDay;

/// Nanoseconds.
const MINUTE: i64 = 60_000_000_000;

/// The holding of one session from the stamps of its rows.
pub fn holding_day(dataset: Dataset, calendar: Calendar, day: i32, stamps: &[i64]) -> HoldingDay {
    let rows = u32::try_from(stamps.len()).unwrap_or(u32::MAX);
    if dataset != Dataset::EquitiesBarsMinute {
        return HoldingDay { day, rows, regular: rows, first: 0, last: 0 };
    }
    let Some(session) = calendar.session(date_of(day)) else {
        return HoldingDay { day, rows, regular: 0, first: 0, last: 0 };
    };
    let (Some(open), Some(close)) = (session.open.timestamp_nanos_opt(), session.close.timestamp_nanos_opt()) else {
        return HoldingDay { day, rows, regular: 0, first: 0, last: 0 };
    };
    let (mut regular, mut first, mut last) = (0u32, u16::MAX, 0);
    for t in stamps.iter().filter(|t| (open..close).contains(*t)) {
        let minute = u16::try_from((t - open) / MINUTE).unwrap_or(u16::MAX);
        regular += 1;
        first = first.min(minute);
        last = last.max(minute);
    }
    HoldingDay { day, rows, regular, first: if regular == 0 { 0 } else { first }, last }
}
