//! When: the last session that can be complete, and the next time to wake. Pure.

use chrono::{DateTime, Duration, NaiveDate, NaiveTime, Utc};
use datanode_schema::calendar::{Calendar, new_york_date};
use datanode_schema::registry::Registry;

/// The last session whose rows every dataset on its calendar can expect at `now`: closed, and the slowest dataset's wait
/// over. Datasets on other calendars are judged by their own.
pub fn last_session(registry: &Registry, now: DateTime<Utc>) -> NaiveDate {
    let calendar = registry.calendars.get(Calendar::Xnys);
    let xnys = registry.datasets.values().filter(|r| r.calendar() == calendar);
    let wait = xnys.map(|r| r.ready_after_minutes).max().unwrap_or(0);
    let today = new_york_date(now);
    let ready = |d: NaiveDate| calendar.session(d).is_some_and(|s| s.close + Duration::minutes(i64::from(wait)) <= now);
    let mut day = today;
    for _ in 0..15 {
        if ready(day) {
            return day;
        }
        let Some(before) = day.pred_opt() else { break };
        day = before;
    }
    today
}

/// The first moment after `now` that stands at `at` UTC.
pub fn next_wake(now: DateTime<Utc>, at: NaiveTime) -> DateTime<Utc> {
    let today = now.date_naive().and_time(at).and_utc();
    if today > now { today } else { today + Duration::days(1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datanode_schema::registry::Sources;

    #[test]
    fn the_last_session_is_the_one_whose_wait_is_over() {
        let r = Registry::parse(&Sources::read(None, None, None).unwrap()).unwrap();
        let at = |t: &str| last_session(&r, t.parse().unwrap()).to_string();
        assert_eq!(at("2024-07-03T16:00:00Z"), "2024-07-02");
        assert_eq!(at("2024-07-03T22:00:00Z"), "2024-07-03", "a half-day closes at 17:00 UTC");
        assert_eq!(at("2024-07-07T12:00:00Z"), "2024-07-05", "a Sunday looks back over the weekend");
    }

    #[test]
    fn a_day_that_the_owner_closed_is_no_last_session() {
        let mut sources = Sources::read(None, None, None).unwrap();
        sources.calendars.1 = "calendars: {XNYS: {closed: {2024-07-05: mourning}}}".into();
        let r = Registry::parse(&sources).unwrap();
        assert_eq!(last_session(&r, "2024-07-07T12:00:00Z".parse().unwrap()).to_string(), "2024-07-03");
    }

    #[test]
    fn the_next_wake_is_today_or_tomorrow() {
        let at = NaiveTime::from_hms_opt(2, 0, 0).unwrap();
        assert_eq!(next_wake("2024-01-01T01:00:00Z".parse().unwrap(), at).to_string(), "2024-01-01 02:00:00 UTC");
        assert_eq!(next_wake("2024-01-01T02:00:00Z".parse().unwrap(), at).to_string(), "2024-01-02 02:00:00 UTC");
    }
}
