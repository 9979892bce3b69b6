//! The sixty sessions, as New York had them: three half-days, three holidays and one change of the clocks.

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc, Weekday};

/// The first and the last of the sixty sessions.
pub const WINDOW: (&str, &str) = ("2003-10-13", "2004-01-07");
/// Weekdays without trading: Thanksgiving, Christmas, New Year.
const CLOSED: [&str; 3] = ["2003-11-27", "2003-12-25", "2004-01-01"];
/// Sessions that ended at 13:00.
pub const HALF_DAYS: [&str; 3] = ["2003-11-28", "2003-12-24", "2003-12-26"];
/// The first session in winter time: the clocks were put back on Sunday, 2003-10-26.
pub const WINTER: &str = "2003-10-27";

/// One session of regular trading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    /// The date in New York.
    pub date: NaiveDate,
    /// 09:30 New York.
    pub open: DateTime<Utc>,
    /// Minutes of trading: 390, or 210 on a half-day.
    pub minutes: u32,
}

/// All of them, in order.
pub fn all() -> Vec<Day> {
    let day = |text: &str| text.parse::<NaiveDate>().unwrap_or_default();
    let is_in = |list: &[&str], date: NaiveDate| list.iter().any(|t| day(t) == date);
    let mut out = Vec::new();
    for date in day(WINDOW.0).iter_days().take_while(|d| *d <= day(WINDOW.1)) {
        if matches!(date.weekday(), Weekday::Sat | Weekday::Sun) || is_in(&CLOSED, date) {
            continue;
        }
        // New York is four hours behind UTC in summer and five in winter.
        let behind = if date < day(WINTER) { 4 } else { 5 };
        let midnight = date.and_time(chrono::NaiveTime::MIN).and_utc();
        let open = midnight + TimeDelta::minutes(9 * 60 + 30) + TimeDelta::hours(behind);
        out.push(Day { date, open, minutes: if is_in(&HALF_DAYS, date) { 210 } else { 390 } });
    }
    out
}
