use super::*;

fn d(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

#[test]
fn names_round_trip_and_others_are_unknown() {
    for c in Calendar::ALL {
        assert_eq!(Calendar::from_name(c.name()), Some(c));
    }
    assert_eq!(Calendar::from_name("XLON"), None);
}

#[test]
fn a_year_has_its_known_number_of_sessions() {
    for (year, n) in [(1990, 253), (2001, 248), (2012, 250), (2020, 253), (2021, 252), (2023, 250), (2025, 250)] {
        assert_eq!(Calendar::Xnys.count(d(&format!("{year}-01-01")), d(&format!("{year}-12-31"))), n, "{year}");
    }
}

#[test]
fn one_off_closures_are_no_sessions() {
    for day in ["1994-04-27", "2001-09-14", "2004-06-11", "2007-01-02", "2012-10-29", "2018-12-05", "2025-01-09"] {
        assert!(!Calendar::Xnys.is_session(d(day)), "{day}");
        assert_eq!(Calendar::Xnys.session(d(day)), None);
    }
}

#[test]
fn half_days_close_at_one_in_new_york() {
    let s = Calendar::Xnys.session(d("2015-12-24")).unwrap();
    assert!(s.half_day);
    assert_eq!(s.minutes(), 210);
    assert_eq!(s.close.to_rfc3339(), "2015-12-24T18:00:00+00:00");
    for day in ["2013-07-03", "2002-07-05", "2024-11-29", "1999-12-31"] {
        assert_eq!(Calendar::Xnys.session(d(day)).unwrap().minutes(), 210, "{day}");
    }
    assert_eq!(Calendar::Xnys.session(d("2002-07-03")).unwrap().minutes(), 390);
}

#[test]
fn juneteenth_and_king_day_begin_when_the_exchange_began_to_keep_them() {
    assert!(Calendar::Xnys.is_session(d("2021-06-18")));
    assert!(!Calendar::Xnys.is_session(d("2022-06-20")));
    assert!(Calendar::Xnys.is_session(d("1997-01-20")));
    assert!(!Calendar::Xnys.is_session(d("1998-01-19")));
}

#[test]
fn next_and_previous_are_strict_and_end_with_the_covered_years() {
    let c = Calendar::Xnys;
    assert_eq!(c.next(d("2021-04-01")), Some(d("2021-04-05")));
    assert_eq!(c.previous(d("2021-04-05")), Some(d("2021-04-01")));
    assert_eq!(c.next(d("2030-12-31")), None);
    assert_eq!(c.previous(d("1990-01-02")), None);
    assert_eq!(c.next(d("1900-01-01")), Some(d("1990-01-02")));
    assert_eq!(c.previous(d("2100-01-01")), Some(d("2030-12-31")));
    assert!(!c.covers(d("1989-12-31")) && c.covers(d("1990-01-01")) && !c.covers(d("2031-01-01")));
}

#[test]
fn spans_are_inclusive_and_agree_with_their_parts() {
    let (from, to) = (d("2014-06-05"), d("2014-06-10"));
    for c in Calendar::ALL {
        let all = c.sessions(from, to);
        assert_eq!(all.len(), c.count(from, to));
        assert_eq!(all.iter().map(|s| s.date).collect::<Vec<_>>(), c.session_dates(from, to));
        assert!(all.iter().all(|s| c.session(s.date) == Some(*s) && c.is_session(s.date)));
        assert_eq!(c.count(to, from), 0);
    }
    assert_eq!(Calendar::Xnys.count(from, to), 4);
    assert_eq!(Calendar::Always.count(from, to), 6);
    assert_eq!(
        Calendar::Xnys.count(NaiveDate::MIN, NaiveDate::MAX),
        Calendar::Xnys.count(d("1990-01-01"), d("2030-12-31"))
    );
}

#[test]
fn the_bond_market_is_open_on_a_good_friday_with_an_employment_report() {
    assert!(Calendar::UsBond.is_session(d("2021-04-02")) && !Calendar::Xnys.is_session(d("2021-04-02")));
    assert!(!Calendar::UsBond.is_session(d("2024-03-29")));
    assert!(!Calendar::UsBond.is_session(d("2024-10-14")) && Calendar::Xnys.is_session(d("2024-10-14")));
    assert!(!Calendar::UsBond.is_session(d("1972-11-07")));
}

#[test]
fn a_new_york_day_is_the_same_through_changes_of_clocks() {
    assert_eq!(new_york_midnight_utc(d("2021-03-14")).to_rfc3339(), "2021-03-14T05:00:00+00:00");
    assert_eq!(new_york_midnight_utc(d("2021-03-15")).to_rfc3339(), "2021-03-15T04:00:00+00:00");
    for day in d("1990-01-01").iter_days().take(41 * 365) {
        assert_eq!(new_york_date(new_york_midnight_utc(day)), day);
        let (from, to) = extended_hours(day);
        assert_eq!((new_york_date(from), to - from), (day, TimeDelta::hours(16)));
    }
}

#[test]
fn the_digest_is_of_the_sessions_and_stable() {
    assert_eq!(Calendar::Xnys.sha256().len(), 64);
    assert_eq!(Calendar::Xnys.sha256(), Calendar::Xnys.sha256());
    assert_ne!(Calendar::Xnys.sha256(), Calendar::UsBond.sha256());
}

#[test]
fn the_five_disputed_closes_are_the_calendars_and_not_the_days() {
    let disputed =
        [("1994-02-11", 390), ("1996-01-08", 390), ("1997-10-27", 390), ("1999-12-31", 210), ("2005-06-01", 390)];
    for (day, minutes) in disputed {
        assert_eq!(Calendar::Xnys.session(d(day)).unwrap().minutes(), minutes, "{day}");
    }
}
