//! What a session's rows amount to, so that the audit never reads them again.

use chrono::DateTime;
use datanode_schema::calendar::Calendar;
use datanode_schema::clock::date_of;
use datanode_schema::names::Dataset;
use datanode_schema::records::HoldingDay;

/// The holding of one session from the stamps of its rows.
pub fn holding_day(dataset: Dataset, calendar: Calendar, day: i32, stamps: &[i64]) -> HoldingDay {
    let rows = u32::try_from(stamps.len()).unwrap_or(u32::MAX);
    if dataset != Dataset::EquitiesBarsMinute {
        return HoldingDay { day, rows, regular: rows, first: 0, last: 0 };
    }
    let Some(session) = calendar.session(date_of(day)) else {
        return HoldingDay { day, rows, regular: 0, first: 0, last: 0 };
    };
    let minutes: Vec<u16> = stamps
        .iter()
        .map(|t| DateTime::from_timestamp_nanos(*t))
        .filter(|t| *t >= session.open && *t < session.close)
        .filter_map(|t| u16::try_from((t - session.open).num_minutes()).ok())
        .collect();
    HoldingDay {
        day,
        rows,
        regular: u32::try_from(minutes.len()).unwrap_or(u32::MAX),
        first: minutes.iter().min().copied().unwrap_or(0),
        last: minutes.iter().max().copied().unwrap_or(0),
    }
}
