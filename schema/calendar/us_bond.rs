//! The US Treasury market, 1962 to 2030: the days on which the H.15 release has constant-maturity yields.
//!
//! Rules are the federal holidays as SIFMA (before it, the Public Securities Association) recommends closing for them,
//! with Good Friday, and until 1984/85 New York's bank holidays (Lincoln's birthday, Election Day). They give exactly the
//! weekdays that are empty in all eleven H.15 series from 1962-01-02 to 2026-02-20.
//!
//! What does not agree, series by series: DGS20 alone has values on three New Year holidays (1987-01-01, 1988-01-01,
//! 1989-01-02: no sessions here), and two short maturities alone lack 1981-12-09 (a session here). After 2026-02-20 the
//! rules are a forecast, Good Friday by the rule below included. SIFMA's early closes (14:00) are not modelled: a daily
//! yield has one value a day either way.

use chrono::{Datelike, Days, NaiveDate, Weekday};

use super::dates::{good_friday, is_weekday, last_monday_of_may, nearest_weekday, nth, sunday_to_monday, ymd};
use super::hm;
use super::table::{Closing, Market};

const FIRST_YEAR: i32 = 1962;
const LAST_YEAR: i32 = 2030;

/// 08:00 to 17:00.
pub(super) const MARKET: Market = Market { years: (FIRST_YEAR, LAST_YEAR), open: hm(8, 0), close: hm(17, 0) };

/// Days without yields that no rule gives.
const CLOSED: &[(i32, u32, u32)] = &[
    (1963, 11, 25), // funeral of J. F. Kennedy
    (1964, 2, 21),  // Washington's birthday on a Saturday, kept on the Friday
    (1964, 5, 29),  // Memorial Day on a Saturday, kept on the Friday
    (1968, 4, 9),   // funeral of M. L. King
    (1969, 3, 31),  // funeral of D. D. Eisenhower
    (1969, 7, 21),  // national day of participation in the lunar landing
    (1973, 12, 24), // executive order for federal offices
    (1977, 7, 14),  // New York City blackout
    (1978, 5, 30),  // New York's traditional Memorial Day
    (1979, 5, 30),  // New York's traditional Memorial Day
    (1985, 9, 27),  // hurricane Gloria
    (1994, 4, 27),  // national day of mourning, R. Nixon
    (2001, 9, 11),  // attack on the World Trade Center
    (2001, 9, 12),  // …
    (2004, 6, 11),  // national day of mourning, R. Reagan
    (2012, 10, 30), // hurricane Sandy
    (2018, 12, 5),  // national day of mourning, G. H. W. Bush
];

/// The weekdays of a year on which the market is closed by rule.
fn holidays(year: i32) -> impl Iterator<Item = NaiveDate> {
    // The Uniform Monday Holiday Act took effect in 1971.
    let mondays = year >= 1971;
    let good_friday = good_friday(year);
    // Since 1996 the market stays open for the employment report, published on the month's first Friday.
    let jobs_report = year >= 1996 && good_friday.month() == 4 && good_friday.day() <= 7;
    [
        Some(sunday_to_monday(ymd(year, 1, 1))),
        // New York State kept Martin Luther King Jr. Day a year before the nation.
        (year >= 1985).then(|| nth(year, 1, Weekday::Mon, 3)),
        (year <= 1985).then(|| sunday_to_monday(ymd(year, 2, 12))),
        Some(if mondays { nth(year, 2, Weekday::Mon, 3) } else { sunday_to_monday(ymd(year, 2, 22)) }),
        (!jobs_report).then_some(good_friday),
        Some(if mondays { last_monday_of_may(year) } else { sunday_to_monday(ymd(year, 5, 30)) }),
        (year >= 2022).then(|| nearest_weekday(ymd(year, 6, 19))),
        Some(nearest_weekday(ymd(year, 7, 4))),
        Some(nth(year, 9, Weekday::Mon, 1)),
        Some(if mondays { nth(year, 10, Weekday::Mon, 2) } else { sunday_to_monday(ymd(year, 10, 12)) }),
        (year <= 1984).then(|| nth(year, 11, Weekday::Mon, 1) + Days::new(1)),
        Some(veterans_day(year)),
        Some(nth(year, 11, Weekday::Thu, 4)),
        Some(nearest_weekday(ymd(year, 12, 25))),
    ]
    .into_iter()
    .flatten()
}

/// November 11, but for the three years in which New York followed the federal fourth Monday of October.
fn veterans_day(year: i32) -> NaiveDate {
    if (1971..=1973).contains(&year) { nth(year, 10, Weekday::Mon, 4) } else { sunday_to_monday(ymd(year, 11, 11)) }
}

/// All sessions with the time at which the market's day ends, in order.
pub(super) fn sessions() -> Vec<Closing> {
    let mut closed: Vec<NaiveDate> = (FIRST_YEAR..=LAST_YEAR).flat_map(holidays).collect();
    closed.extend(CLOSED.iter().map(|&(y, m, d)| ymd(y, m, d)));
    closed.sort_unstable();
    ymd(FIRST_YEAR, 1, 1)
        .iter_days()
        .take_while(|d| d.year() <= LAST_YEAR)
        .filter(|&d| is_weekday(d) && closed.binary_search(&d).is_err())
        .map(|d| (d, MARKET.close))
        .collect()
}
