//! The New York Stock Exchange, 1990 to 2030: NYSE Rule 7.2 as rules, and what was decided for one day as tables.
//!
//! Sources: NYSE Group's "Holidays & Trading Hours" pages and the exchange's historical closings list ("NYSE Special
//! Closings since 1885"). The result is equal, session by session and close by close, to exchange_calendars 4.13.2
//! from 1990 to 2030; `fixtures/check_calendar.py` repeats that comparison.
//!
//! Another package, pandas_market_calendars 5.5.0, has the same sessions on every day of these years, and the same times
//! from 2007 on. Five older closes differ from it; here they are as exchange_calendars has them, because four of them
//! were no close of the calendar but trading cut short on the day, and such a day's missing rows should be seen:
//!
//! | day | here | there | what it was |
//! |---|---|---|---|
//! | 1994-02-11 | 16:00 | 14:30 | snow |
//! | 1996-01-08 | 16:00 | 14:00 | snow; it also opened at 11:00 |
//! | 1997-10-27 | 16:00 | 15:30 | circuit breakers |
//! | 1999-12-31 | 13:00 | 16:00 | the eve of the year 2000; the two packages contradict each other |
//! | 2005-06-01 | 16:00 | 15:56 | a failure of the exchange's network |
//!
//! Late openings, which that package also knows (1990-12-27, 1991-01-17, 1991-02-25, 1995-12-18, 1996-01-08, 2001-09-17,
//! 2001-10-08, 2002-09-11, 2003-03-20, 2004-06-07, 2006-12-27: a minute to two and a half hours), are not part of this
//! calendar. The early closes of 1990 to 1992 are at 14:00, and the Fridays after Thanksgiving of 1990 and 1991 are
//! whole days; both packages say so. `calendars.yaml` is the place for an owner who knows better.

use chrono::{Datelike, Days, NaiveDate, NaiveTime, Weekday};

use super::dates::{good_friday, is_weekday, last_monday_of_may, nearest_weekday, nth, sunday_to_monday, ymd};
use super::hm;
use super::table::{Closing, Market};

const FIRST_YEAR: i32 = 1990;
const LAST_YEAR: i32 = 2030;

/// 09:30 to 16:00.
pub(super) const MARKET: Market = Market { years: (FIRST_YEAR, LAST_YEAR), open: hm(9, 30), close: hm(16, 0) };

/// Days that no rule closes.
const CLOSED: &[(i32, u32, u32)] = &[
    (1994, 4, 27),  // national day of mourning, R. Nixon
    (2001, 9, 11),  // attack on the World Trade Center
    (2001, 9, 12),  // …
    (2001, 9, 13),  // …
    (2001, 9, 14),  // …
    (2004, 6, 11),  // national day of mourning, R. Reagan
    (2007, 1, 2),   // national day of mourning, G. Ford
    (2012, 10, 29), // hurricane Sandy
    (2012, 10, 30), // hurricane Sandy
    (2018, 12, 5),  // national day of mourning, G. H. W. Bush
    (2025, 1, 9),   // national day of mourning, J. Carter
];

/// Early closes at 13:00 that no rule gives.
const EARLY: &[(i32, u32, u32)] = &[
    (1997, 12, 26), // the Friday after Christmas
    (1999, 12, 31), // the eve of the year 2000
    (2003, 12, 26), // the Friday after Christmas
];

/// The weekdays of a year on which the exchange is closed by rule.
fn holidays(year: i32) -> impl Iterator<Item = NaiveDate> {
    [
        Some(sunday_to_monday(ymd(year, 1, 1))),
        // NYSE observes Martin Luther King Jr. Day since 1998, twelve years after the federal holiday.
        (year >= 1998).then(|| nth(year, 1, Weekday::Mon, 3)),
        Some(nth(year, 2, Weekday::Mon, 3)),
        Some(good_friday(year)),
        Some(last_monday_of_may(year)),
        // A federal holiday since June 2021; the exchange's first was in 2022.
        (year >= 2022).then(|| nearest_weekday(ymd(year, 6, 19))),
        Some(nearest_weekday(ymd(year, 7, 4))),
        Some(nth(year, 9, Weekday::Mon, 1)),
        Some(nth(year, 11, Weekday::Thu, 4)),
        Some(nearest_weekday(ymd(year, 12, 25))),
    ]
    .into_iter()
    .flatten()
}

/// When a day that is a session closes.
fn close_of(date: NaiveDate) -> NaiveTime {
    let year = date.year();
    let listed = EARLY.iter().any(|&(y, m, d)| ymd(y, m, d) == date);
    let after_thanksgiving = year >= 1992 && date == nth(year, 11, Weekday::Thu, 4) + Days::new(1);
    let christmas_eve = date == ymd(year, 12, 24) && date.weekday() != Weekday::Fri;
    if !(listed || after_thanksgiving || christmas_eve || around_independence_day(date)) {
        MARKET.close
    } else if year < 1993 {
        hm(14, 0)
    } else {
        hm(13, 0)
    }
}

/// July 3 closes early from 1995, but until 2012 a Thursday's July 4 shortened the Friday after it, not the Wednesday before.
fn around_independence_day(date: NaiveDate) -> bool {
    let year = date.year();
    if date == ymd(year, 7, 3) {
        match date.weekday() {
            Weekday::Mon | Weekday::Tue | Weekday::Thu => year >= 1995,
            Weekday::Wed => year >= 2013,
            _ => false,
        }
    } else {
        date == ymd(year, 7, 5) && date.weekday() == Weekday::Fri && (1995..2013).contains(&year)
    }
}

/// All sessions with their close, in order.
pub(super) fn sessions() -> Vec<Closing> {
    let mut closed: Vec<NaiveDate> = (FIRST_YEAR..=LAST_YEAR).flat_map(holidays).collect();
    closed.extend(CLOSED.iter().map(|&(y, m, d)| ymd(y, m, d)));
    closed.sort_unstable();
    ymd(FIRST_YEAR, 1, 1)
        .iter_days()
        .take_while(|d| d.year() <= LAST_YEAR)
        .filter(|&d| is_weekday(d) && closed.binary_search(&d).is_err())
        .map(|d| (d, close_of(d)))
        .collect()
}
