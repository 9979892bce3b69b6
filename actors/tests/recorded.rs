//! The connectors against recorded answers, read from `../shared/data/recorded` where that folder is at hand, and
//! against answers that no vendor should give.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use datanode_actors::frame::Cell;
use datanode_actors::vendor::{Ask, Next, Purpose, parse, request};
use datanode_schema::names::{Dataset, Outcome, Vendor};
use std::path::PathBuf;

fn recorded(name: &str) -> Option<Vec<u8>> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../shared/data/recorded", name].iter().collect();
    let bytes = std::fs::read(&path).ok();
    if bytes.is_none() {
        eprintln!("skipped: {} is not at hand", path.display());
    }
    bytes
}

fn ask(vendor: Vendor, dataset: Dataset, symbols: &[&str], from: &str, to: &str) -> Ask {
    Ask {
        vendor,
        dataset,
        symbols: symbols.iter().map(|s| (*s).to_owned()).collect(),
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
        feed: "sip".into(),
        adjustment: "raw".into(),
        max_rows: 10_000,
        purpose: Purpose::Ingest,
        days: Vec::new(),
        certain: false,
    }
}

fn daily(vendor: Vendor, symbols: &[&str], from: &str, to: &str) -> Ask {
    ask(vendor, Dataset::EquitiesBars, symbols, from, to)
}

fn closes(rows: &[(i64, Cell)]) -> Vec<f64> {
    rows.iter().map(|(_, c)| if let Cell::Bar(b) = c { b.close } else { f64::NAN }).collect()
}

#[test]
fn a_recorded_page_of_two_symbols_is_read_and_its_token_followed() {
    let Some(body) = recorded("alpaca/alpaca-py/historical_stock_data__multisymbol_get_bars_1.json") else { return };
    let a = daily(Vendor::Alpaca, &["AAPL", "TSLA"], "2022-03-09", "2022-03-09");
    let page = parse(Vendor::Alpaca, &a, None, &body).unwrap();
    assert_eq!(closes(&page.rows["AAPL"]), [162.95]);
    assert_eq!(closes(&page.rows["TSLA"]), [858.97]);
    if let Some(Next::Token(t)) = &page.next {
        let again = request(Vendor::Alpaca, &a, page.next.as_ref()).unwrap();
        assert!(again.query.contains(&("page_token".to_owned(), t.clone())));
    }
}

#[test]
fn what_was_not_asked_for_is_rejected_and_counted() {
    let Some(body) = recorded("alpaca/alpaca-py/historical_stock_data__multisymbol_get_bars_1.json") else { return };
    let page =
        parse(Vendor::Alpaca, &daily(Vendor::Alpaca, &["AAPL"], "2022-03-10", "2022-03-11"), None, &body).unwrap();
    assert!(page.rows.is_empty());
    assert_eq!(page.rejects.rows, 2, "one outside the window, one of another symbol: {:?}", page.rejects);
}

#[test]
fn recorded_empty_answers_are_good_answers_without_rows() {
    for (vendor, name) in [
        (Vendor::Alpaca, "alpaca/observed/200_empty_bars_map.json"),
        (Vendor::Massive, "massive/observed/200_no_results_key.json"),
        (Vendor::Massive, "massive/observed/200_results_null.json"),
    ] {
        let Some(body) = recorded(name) else { return };
        let page = parse(vendor, &daily(vendor, &["X"], "2020-01-02", "2020-01-03"), None, &body).unwrap();
        assert!(page.rows.is_empty() && page.next.is_none(), "{name}");
    }
}

#[test]
fn delayed_is_success_and_adjusted_bars_are_refused_where_raw_was_asked() {
    let Some(body) = recorded("massive/observed/aggs_delayed_NVDA_2024-10-14.json") else { return };
    let mut a = daily(Vendor::Massive, &["NVDA"], "2024-10-14", "2024-10-14");
    let e = parse(Vendor::Massive, &a, None, &body).unwrap_err();
    assert_eq!(e.outcome, Outcome::Unparsable, "the recording is adjusted: {e}");
    a.adjustment = "split".into();
    assert_eq!(closes(&parse(Vendor::Massive, &a, None, &body).unwrap().rows["NVDA"]), [138.07]);
}

#[test]
fn a_recorded_series_pages_by_offset_until_its_count() {
    let Some(body) = recorded("fred/pyfredapi/get_series.json") else { return };
    let mut a = ask(Vendor::Fred, Dataset::MacroTreasury, &["GDP"], "1900-01-01", "2030-12-31");
    a.max_rows = 100_000;
    let page = parse(Vendor::Fred, &a, None, &body).unwrap();
    let missing = page.rows["GDP"].iter().filter(|(_, c)| *c == Cell::Value(None)).count();
    assert!(page.rows["GDP"].len() > 300 && missing > 0 && page.next.is_none());
    let half = br#"{"count":3,"offset":0,"observations":[{"date":"2020-01-02","value":"1.5"},{"date":"2020-01-03","value":"."}]}"#;
    assert_eq!(parse(Vendor::Fred, &a, None, half).unwrap().next, Some(Next::Offset(2)));
}

#[test]
fn a_next_url_keeps_only_path_and_query_and_drops_a_key_in_it() {
    let body = br#"{"status":"OK","ticker":"A","adjusted":false,"results":[],
        "next_url":"https://evil.example/v2/aggs/ticker/A/range/1/day/1/2?cursor=abc&apiKey=theirs"}"#;
    let a = daily(Vendor::Massive, &["A"], "2020-01-02", "2020-01-03");
    let page = parse(Vendor::Massive, &a, None, body).unwrap();
    let next = request(Vendor::Massive, &a, page.next.as_ref()).unwrap();
    assert_eq!(next.path, "/v2/aggs/ticker/A/range/1/day/1/2");
    assert_eq!(next.query, [("cursor".to_owned(), "abc".to_owned())]);
    let away = br#"{"status":"OK","next_url":"https://api.massive.com/admin?x=1"}"#;
    let page = parse(Vendor::Massive, &a, None, away).unwrap();
    assert!(request(Vendor::Massive, &a, page.next.as_ref()).is_err(), "a link that is no page of aggregates");
}

#[test]
fn half_a_document_html_and_wrong_types_are_unparsable_and_never_a_panic() {
    let a = daily(Vendor::Alpaca, &["A"], "2020-01-02", "2020-01-03");
    let good = br#"{"bars":{"A":[{"t":"2020-01-02T05:00:00Z","o":1,"h":1,"l":1,"c":1,"v":1}]},"next_page_token":null}"#;
    assert_eq!(parse(Vendor::Alpaca, &a, None, good).unwrap().rows["A"].len(), 1);
    for cut in 0..good.len() {
        assert!(parse(Vendor::Alpaca, &a, None, &good[..cut]).is_err(), "cut at {cut}");
    }
    for bad in [
        "<html>",
        "{}",
        r#"{"bars":null}"#,
        r#"{"bars":{"A":[{"t":1}]}}"#,
        r#"{"bars":{"A":[{"t":"2020-01-02T05:00:00Z","o":NaN,"h":1,"l":1,"c":1,"v":1}]}}"#,
    ] {
        for vendor in [Vendor::Alpaca, Vendor::Massive, Vendor::Fred, Vendor::Tiingo] {
            if let Err(e) = parse(vendor, &a, None, bad.as_bytes()) {
                assert_eq!(e.outcome, Outcome::Unparsable);
            } else {
                panic!("{vendor} took {bad}");
            }
        }
    }
}

#[test]
fn a_symbol_in_a_path_is_one_segment() {
    let a = daily(Vendor::Massive, &["BRK/B"], "2020-01-02", "2020-01-03");
    assert!(request(Vendor::Massive, &a, None).unwrap().path.contains("/ticker/BRK%2FB/range/"));
}
