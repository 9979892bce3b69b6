//! Dates that holiday rules are made of: nth weekdays, Easter, observed days. Pure arithmetic, no zones.

use chrono::{Datelike, Days, NaiveDate, Weekday};

/// The date, or the earliest representable one for a day that does not exist (rules only name days that do).
pub(super) fn ymd(year: i32, month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).unwrap_or(NaiveDate::MIN)
}

/// The nth (from 1) such weekday of a month.
pub(super) fn nth(year: i32, month: u32, weekday: Weekday, n: u8) -> NaiveDate {
    NaiveDate::from_weekday_of_month_opt(year, month, weekday, n).unwrap_or(NaiveDate::MIN)
}

/// The last Monday of May: the only "last weekday" that US holidays use.
pub(super) fn last_monday_of_may(year: i32) -> NaiveDate {
    NaiveDate::from_weekday_of_month_opt(year, 5, Weekday::Mon, 5).unwrap_or_else(|| nth(year, 5, Weekday::Mon, 4))
}

/// Good Friday: two days before Easter by the anonymous Gregorian computus (Meeus, Astronomical Algorithms, ch. 8).
pub(super) fn good_friday(year: i32) -> NaiveDate {
    let a = year % 19;
    let (b, c) = (year / 100, year % 100);
    let (d, e) = (b / 4, b % 4);
    let f = (b + 8) / 25;
    let g = (b - f + 1) / 3;
    let h = (19 * a + b - d - g + 15) % 30;
    let (i, k) = (c / 4, c % 4);
    let l = (32 + 2 * e + 2 * i - h - k) % 7;
    let m = (a + 11 * h + 22 * l) / 451;
    let n = h + l - 7 * m + 114;
    ymd(year, u32::try_from(n / 31).unwrap_or(0), u32::try_from(n % 31 + 1).unwrap_or(0)) - Days::new(2)
}

/// A holiday of fixed date that moves to Monday from a Sunday, and is lost on a Saturday.
pub(super) fn sunday_to_monday(date: NaiveDate) -> NaiveDate {
    if date.weekday() == Weekday::Sun { date + Days::new(1) } else { date }
}

/// A holiday of fixed date that moves to the nearest weekday: Saturday to Friday, Sunday to Monday.
pub(super) fn nearest_weekday(date: NaiveDate) -> NaiveDate {
    match date.weekday() {
        Weekday::Sat => date - Days::new(1),
        Weekday::Sun => date + Days::new(1),
        _ => date,
    }
}

/// Monday to Friday.
pub(super) fn is_weekday(date: NaiveDate) -> bool {
    !matches!(date.weekday(), Weekday::Sat | Weekday::Sun)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_friday_falls_where_the_church_puts_it() {
        for (y, m, d) in [(1990, 4, 13), (2000, 4, 21), (2008, 3, 21), (2019, 4, 19), (2026, 4, 3), (2030, 4, 19)] {
            assert_eq!(good_friday(y), ymd(y, m, d));
        }
    }

    #[test]
    fn memorial_day_is_the_fifth_monday_where_may_has_five() {
        assert_eq!(last_monday_of_may(2021), ymd(2021, 5, 31));
        assert_eq!(last_monday_of_may(2024), ymd(2024, 5, 27));
    }
}
