//! When: the last session that can be complete, and when a whole cycle is due. Pure.

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

/// How often whole cycles are due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rhythm {
    /// The time of day, UTC.
    pub at: NaiveTime,
    /// And every hour at the same minute.
    pub hourly: bool,
}

impl Rhythm {
    /// The first moment after `now` at which a cycle is due.
    pub fn next(self, now: DateTime<Utc>) -> DateTime<Utc> {
        let night = next_wake(now, self.at);
        let hours = (night - now).num_seconds().saturating_sub(1) / 3600;
        if self.hourly { night - Duration::hours(hours) } else { night }
    }

    fn period(self) -> Duration {
        if self.hourly { Duration::hours(1) } else { Duration::days(1) }
    }
}

/// The longest sleep between two looks at the clock: a clock that is set is seen within it.
const LOOK: Duration = Duration::seconds(60);

/// Decides at each look whether a cycle is due. However many moments passed unseen (a machine that slept, a clock that was set
/// forward), they are one cycle. A clock that was set back by less than a period makes no second cycle for the same moment; one that
/// was set back farther starts the count anew, without a cycle.
#[derive(Clone, Copy, Debug)]
pub struct Timetable {
    rhythm: Rhythm,
    due: DateTime<Utc>,
    /// The sleep under way ends at `due`.
    last: bool,
}

/// What is to be done at a look, and when to look again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Look {
    /// A cycle is due now.
    pub due: bool,
    /// Sleep so long.
    pub wait: Duration,
}

impl Timetable {
    /// From `now` on.
    pub fn new(rhythm: Rhythm, now: DateTime<Utc>) -> Self {
        Self { rhythm, due: rhythm.next(now), last: false }
    }

    /// A look at the clock, after the sleep that the last one asked for.
    pub fn look(&mut self, now: DateTime<Utc>) -> Look {
        if self.due - now > self.rhythm.period() * 2 {
            (self.due, self.last) = (self.rhythm.next(now), false);
        }
        // A sleep that was to end at the moment did, whether or not the clock was slewed by seconds meanwhile, or stands still.
        let due = now >= self.due || (self.last && self.due - now <= LOOK);
        if due {
            self.due = self.rhythm.next(now.max(self.due));
        }
        let left = self.due - now;
        self.last = left <= LOOK;
        Look { due, wait: left.min(LOOK) }
    }
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

    fn time(t: &str) -> DateTime<Utc> {
        format!("2024-01-{t}Z").parse().unwrap()
    }

    fn table(hourly: bool, now: &str) -> Timetable {
        Timetable::new(Rhythm { at: NaiveTime::from_hms_opt(6, 30, 0).unwrap(), hourly }, time(now))
    }

    /// Looks as the scheduler does, from `from` to `to`, on a clock that goes; the moments at which a cycle was due.
    fn cycles(t: &mut Timetable, from: &str, to: &str) -> Vec<String> {
        let (mut now, mut out) = (time(from), Vec::new());
        while now <= time(to) {
            let look = t.look(now);
            if look.due {
                out.push(now.format("%d %H:%M:%S").to_string());
            }
            assert!(look.wait > Duration::zero() && look.wait <= LOOK, "{look:?} at {now}");
            now += look.wait;
        }
        out
    }

    #[test]
    fn the_nightly_rhythm_is_once_a_day_and_the_hourly_one_every_hour_at_its_minute() {
        let mut t = table(false, "01T06:30:00");
        assert_eq!(cycles(&mut t, "01T06:30:00", "03T12:00:00"), ["02 06:30:00", "03 06:30:00"]);
        let mut t = table(true, "01T05:00:00");
        let hours = cycles(&mut t, "01T05:00:00", "02T05:00:00");
        assert_eq!(hours.len(), 24);
        assert_eq!((hours[0].as_str(), hours[23].as_str()), ("01 05:30:00", "02 04:30:00"));
    }

    #[test]
    fn moments_that_passed_unseen_are_one_cycle() {
        for hourly in [false, true] {
            let mut t = table(hourly, "01T06:00:00");
            t.look(time("01T06:00:00"));
            let look = t.look(time("09T07:10:00"));
            assert!(look.due, "a machine that slept for a week");
            assert!(!t.look(time("09T07:10:00") + look.wait).due, "once");
        }
    }

    #[test]
    fn a_clock_set_back_makes_no_cycle_and_does_not_silence_the_next() {
        let mut t = table(true, "05T10:00:00");
        t.look(time("05T10:00:00"));
        assert!(!t.look(time("02T10:31:00")).due);
        assert_eq!(cycles(&mut t, "02T10:31:00", "02T12:00:00"), ["02 11:30:00"]);
        // Within a period the moment stays: a second cycle for one moment is none.
        let mut t = table(true, "05T10:29:59");
        assert_eq!(cycles(&mut t, "05T10:29:59", "05T10:30:00"), ["05 10:30:00"]);
        assert_eq!(cycles(&mut t, "05T10:29:00", "05T11:30:00"), ["05 11:30:00"]);
    }

    #[test]
    fn a_clock_that_is_slewed_or_stands_still_does_not_run_a_moment_twice() {
        let mut t = table(false, "01T06:29:30");
        assert_eq!(t.look(time("01T06:29:30")).wait, Duration::seconds(30));
        assert!(t.look(time("01T06:29:58")).due, "the sleep was over, the clock two seconds late");
        assert!(!t.look(time("01T06:29:59")).due && !t.look(time("01T06:30:00")).due);
        let mut t = table(true, "01T06:29:59");
        assert!(!t.look(time("01T06:29:59")).due && t.look(time("01T06:29:59")).due, "frozen a second before it");
        assert!((0..100).all(|_| !t.look(time("01T06:29:59")).due), "and only once");
    }
}
