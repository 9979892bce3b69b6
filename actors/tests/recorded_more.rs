//! Corporate actions, options, the keyless CSV and Tiingo against recorded answers (read from `../shared/data/recorded` where
//! that folder is at hand) and against answers that no vendor should give.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use datanode_actors::frame::{ActionKind, Cell};
use datanode_actors::vendor::{Ask, Endpoint, Host, Next, Page, Purpose, Stage, Step, parse, request};
use datanode_schema::clock::day_number;
use datanode_schema::names::{Dataset, Outcome, Vendor};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

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
        feed: String::new(),
        adjustment: "raw".into(),
        max_rows: 10_000,
        purpose: Purpose::Ingest,
        days: Vec::new(),
        certain: false,
    }
}

fn actions(vendor: Vendor, symbols: &[&str], from: &str, to: &str) -> Ask {
    ask(vendor, Dataset::CorporateActions, symbols, from, to)
}

/// Symbol, day, kind, ratio and cash of a row.
type Told = (String, i64, &'static str, Option<f64>, Option<f64>);

fn told(page: &Page) -> Vec<Told> {
    let of = |(s, rows): (&String, &Vec<(i64, Cell)>)| -> Vec<_> {
        rows.iter()
            .map(|(when, c)| {
                let a = c.action().unwrap();
                (s.clone(), *when, a.kind.name(), a.ratio, a.cash)
            })
            .collect()
    };
    page.rows.iter().flat_map(of).collect()
}

fn day(s: &str) -> i64 {
    i64::from(day_number(s.parse().unwrap()))
}

#[test]
fn every_recorded_kind_of_action_is_taken_by_the_date_that_counts() {
    let Some(body) = recorded("alpaca/alpaca-py/corporate_actions__get_corporate_actions_1.json") else { return };
    let symbols =
        ["ATNXQ", "BSAQ", "FCF", "GLOP", "IFN", "JUPW", "LSI", "MLVF", "MNTS", "MSBC", "ORPHY", "SRE", "TPBAU"];
    let a = actions(Vendor::Alpaca, &symbols, "2023-01-01", "2024-12-31");
    let page = parse(Vendor::Alpaca, &a, None, &body).unwrap();
    assert_eq!(page.rejects.rows, 0, "{:?}", page.rejects);
    let got = told(&page);
    let want = [
        ("ATNXQ", "2023-10-11", "worthless", None, None),
        ("BSAQ", "2023-08-15", "name_change", None, None),
        ("FCF", "2023-05-04", "dividend", None, Some(0.125)),
        ("GLOP", "2023-07-17", "merger", None, Some(5.37)),
        ("IFN", "2024-04-17", "rights", Some(1.0), None),
        ("JUPW", "2023-08-15", "spin_off", Some(1.0 / 19.35), None),
        ("LSI", "2023-07-20", "merger", Some(0.895), None),
        ("MLVF", "2023-07-18", "merger", Some(0.7733), Some(7.8)),
        ("MNTS", "2023-08-24", "split", Some(0.02), None),
        ("MSBC", "2023-05-19", "stock_dividend", Some(1.05), None),
        ("ORPHY", "2023-06-13", "redemption", None, Some(0.141134)),
        ("SRE", "2023-08-22", "split", Some(2.0), None),
        ("TPBAU", "2023-03-01", "unit_split", Some(1.0), None),
    ];
    let want: Vec<_> = want.iter().map(|(s, d, k, r, c)| ((*s).to_owned(), day(d), *k, *r, *c)).collect();
    assert_eq!(got, want);
    let next = request(Vendor::Alpaca, &a, page.next.as_ref()).unwrap();
    assert!(next.query.iter().any(|(k, _)| k == "page_token"));
}

#[test]
fn an_action_is_taken_by_its_ex_date_though_the_vendor_filters_by_another() {
    let Some(body) = recorded("alpaca/alpaca-py/corporate_actions__get_corporate_actions_2.json") else { return };
    // Processed on 2024-08-26, ex on 2024-08-07.
    let a = actions(Vendor::Alpaca, &["ZMTBY"], "2024-08-01", "2024-08-10");
    assert_eq!(told(&parse(Vendor::Alpaca, &a, None, &body).unwrap())[0].4, Some(0.086928));
    let end = request(Vendor::Alpaca, &a, None).unwrap().query.into_iter().find(|(k, _)| k == "end").unwrap().1;
    assert!(end.as_str() >= "2024-08-26", "asked until {end}");
    let later = actions(Vendor::Alpaca, &["ZMTBY"], "2024-08-20", "2024-08-30");
    let page = parse(Vendor::Alpaca, &later, None, &body).unwrap();
    assert!(page.rows.is_empty() && page.rejects.rows == 0);
}

#[test]
fn splits_lead_to_dividends_and_dividends_to_the_end() {
    let (Some(splits), Some(dividends)) = (
        recorded("massive/client-python/v3/reference/splits.json"),
        recorded("massive/client-python/v3/reference/dividends.json"),
    ) else {
        return;
    };
    let a = actions(Vendor::Massive, &["SHOP"], "2022-06-01", "2022-12-31");
    let first = request(Vendor::Massive, &a, None).unwrap();
    assert_eq!(first.path, "/stocks/v1/splits");
    let page = parse(Vendor::Massive, &a, None, &splits).unwrap();
    let days: Vec<i64> = told(&page).iter().map(|t| t.1).collect();
    assert_eq!(days, [day("2022-06-29"), day("2022-06-22")]);
    assert!(told(&page).iter().all(|t| t.2 == "split" && t.3 == Some(10.0)));
    let next = request(Vendor::Massive, &a, page.next.as_ref()).unwrap();
    assert_eq!(next.path, "/stocks/v1/dividends");
    let b = actions(Vendor::Massive, &["AIRTP"], "2023-01-01", "2023-12-31");
    let page = parse(Vendor::Massive, &b, page.next.as_ref(), &dividends).unwrap();
    assert_eq!(told(&page).iter().map(|t| t.4).collect::<Vec<_>>(), [Some(0.5), Some(0.5)]);
    assert_eq!(page.next, None);
}

#[test]
fn a_dividend_in_another_currency_or_of_an_unknown_kind_is_counted_and_not_taken() {
    let a = actions(Vendor::Alpaca, &["X"], "2020-01-01", "2020-12-31");
    let body = br#"{"corporate_actions":{"cash_dividends":[
        {"symbol":"X","ex_date":"2020-05-05","process_date":"2020-05-05","rate":1,"currency":"CAD"},
        {"symbol":"X","ex_date":"2020-05-32","process_date":"2020-05-05","rate":1}],
        "moon_landings":[{"symbol":"X","ex_date":"2020-05-05"}]},"next_page_token":null}"#;
    let page = parse(Vendor::Alpaca, &a, None, body).unwrap();
    assert!(page.rows.is_empty());
    assert_eq!(page.rejects.rows, 3, "{:?}", page.rejects);
}

fn options(vendor: Vendor, underlier: &str, on: &str) -> Ask {
    ask(vendor, Dataset::OptionsBars, &[underlier], on, on)
}

fn bars_of(contracts: &[&str]) -> Next {
    let found = contracts.iter().map(|c| (*c).to_owned()).collect();
    Next::Step(Arc::new(Step { stage: Stage::Bars, found: Arc::new(found), at: 0, page: None }))
}

#[test]
fn contracts_are_listed_on_the_trading_host_and_their_bars_asked_for_by_the_hundred() {
    let Some(body) = recorded("alpaca/alpaca-py/option_routes__get_option_contracts_1.json") else { return };
    let a = options(Vendor::Alpaca, "AAPL", "2023-11-02");
    let first = request(Vendor::Alpaca, &a, None).unwrap();
    assert_eq!((first.host, first.path.as_str()), (Host::Trading, "/v2/options/contracts"));
    let active = parse(Vendor::Alpaca, &a, None, &body).unwrap().next;
    let second = request(Vendor::Alpaca, &a, active.as_ref()).unwrap();
    assert!(second.query.contains(&("status".to_owned(), "inactive".to_owned())));
    let empty = br#"{"option_contracts":[],"next_page_token":null}"#;
    let bars = parse(Vendor::Alpaca, &a, active.as_ref(), empty).unwrap().next;
    let third = request(Vendor::Alpaca, &a, bars.as_ref()).unwrap();
    assert_eq!((third.host, third.path.as_str()), (Host::Data, "/v1beta1/options/bars"));
    assert!(third.query.contains(&("symbols".to_owned(), "AAPL231103C00170000".to_owned())));
    // 250 contracts are three requests, and then it is over.
    let many: Vec<String> = (0..250).map(|i| format!("AAPL231103C{i:08}")).collect();
    let mut next = Some(bars_of(&many.iter().map(String::as_str).collect::<Vec<_>>()));
    let mut asked = Vec::new();
    while let Some(n) = next {
        let symbols = request(Vendor::Alpaca, &a, Some(&n)).unwrap().query.remove(0).1;
        asked.push(symbols.split(',').count());
        next = parse(Vendor::Alpaca, &a, Some(&n), br#"{"bars":{},"next_page_token":null}"#).unwrap().next;
    }
    assert_eq!(asked, [100, 100, 50]);
}

#[test]
fn recorded_option_bars_are_rows_of_their_underlier() {
    let Some(body) = recorded("alpaca/alpaca-py/historical_option_data__multisymbol_get_bars_1.json") else { return };
    let a = options(Vendor::Alpaca, "SPY", "2024-03-12");
    let both = bars_of(&["SPY240426C00550000", "SPY240426C00555000"]);
    let page = parse(Vendor::Alpaca, &a, Some(&both), &body).unwrap();
    let seen: Vec<(String, f64)> = page.rows["SPY"]
        .iter()
        .map(|(_, c)| if let Cell::Option(o) = c { (o.contract.to_string(), o.bar.close) } else { panic!("{c:?}") })
        .collect();
    let want = [("SPY240426C00550000", 0.37), ("SPY240426C00550000", 0.51), ("SPY240426C00555000", 0.21)];
    assert_eq!(seen, want.map(|(c, v)| (c.to_owned(), v)));
    let one = bars_of(&["SPY240426C00555000"]);
    let page = parse(Vendor::Alpaca, &a, Some(&one), &body).unwrap();
    assert_eq!((page.rows["SPY"].len(), page.rejects.rows), (1, 2), "a contract that was not asked for");
}

#[test]
fn recorded_contracts_of_massive_lead_to_aggregates_of_each() {
    let Some(body) = recorded("massive/client-python/v3/reference/options/contracts.json") else { return };
    let a = options(Vendor::Massive, "A", "2022-05-02");
    let page = parse(Vendor::Massive, &a, None, &body).unwrap();
    assert_eq!(page.rejects.rows, 0, "{:?}", page.rejects);
    // The recording's link carries its cursor in the path of the host; whatever it is, it stays on this list.
    let next = request(Vendor::Massive, &a, page.next.as_ref());
    assert!(next.is_err() || next.unwrap().path.starts_with("/v3/reference/options/contracts"));
    let bars = bars_of(&["A220520C00115000", "A220520C00120000"]);
    let of = request(Vendor::Massive, &a, Some(&bars)).unwrap();
    assert_eq!(of.path, "/v2/aggs/ticker/O%3AA220520C00115000/range/1/minute/2022-05-02/2022-05-02");
    let none = br#"{"status":"OK","ticker":"O:A220520C00115000","adjusted":false}"#;
    let then = parse(Vendor::Massive, &a, Some(&bars), none).unwrap().next;
    assert!(request(Vendor::Massive, &a, then.as_ref()).unwrap().path.contains("O%3AA220520C00120000"));
}

#[test]
fn contracts_of_another_underlier_are_counted_and_not_followed() {
    let a = options(Vendor::Alpaca, "AAP", "2023-11-02");
    let body =
        br#"{"option_contracts":[{"symbol":"AAPL231103C00170000"},{"symbol":"../../x"}],"next_page_token":null}"#;
    let page = parse(Vendor::Alpaca, &a, None, body).unwrap();
    assert_eq!(page.rejects.rows, 2);
    let end = parse(Vendor::Alpaca, &a, page.next.as_ref(), br#"{"option_contracts":[]}"#).unwrap();
    assert_eq!(end.next, None, "no contract, no question about bars");
}

fn endpoint(vendor: Vendor, key: &str) -> Endpoint {
    let base = |n: &str| format!("https://{n}.example");
    Endpoint {
        vendor,
        base_url: base("data"),
        trading_base_url: base("trading"),
        graph_base_url: base("graph"),
        delay_minutes: BTreeMap::from([(Dataset::EquitiesBars, 15)]),
        folder: PathBuf::new(),
        key: key.to_owned().into(),
        secret: String::new().into(),
    }
}

#[test]
fn both_headers_of_the_keyless_csv_are_read_and_html_is_not() {
    let a = ask(Vendor::Fred, Dataset::MacroTreasury, &["DGS10"], "2005-01-03", "2021-01-04");
    let now = "2026-03-01T00:00:00Z".parse().unwrap();
    let asked = endpoint(Vendor::Fred, "").request(&a, None, now).unwrap();
    assert_eq!((asked.host, asked.path.as_str()), (Host::Graph, "/graph/fredgraph.csv"));
    assert_eq!(endpoint(Vendor::Fred, "k").request(&a, None, now).unwrap().host, Host::Data);
    let cut = |body: &[u8]| -> Vec<u8> {
        let text = String::from_utf8(body.to_vec()).unwrap();
        let inside = |l: &&str| l.get(..10).is_some_and(|d| ("2005-01-03"..="2021-01-04").contains(&d));
        let rows: Vec<&str> = text.lines().skip(1).filter(inside).collect();
        format!("{}\n{}\n", text.lines().next().unwrap(), rows.join("\n")).into_bytes()
    };
    let mut counts = Vec::new();
    for folder in ["old-format-2021-01", "new-format-2026-02"] {
        let Some(body) = recorded(&format!("fred/fredgraph/{folder}/DGS10.csv")) else { return };
        let page = parse(Vendor::Fred, &a, None, &cut(&body)).unwrap();
        let rows = &page.rows["DGS10"];
        counts.push((rows.len(), rows.iter().filter(|(_, c)| *c == Cell::Value(None)).count()));
        assert_eq!((page.rejects.rows, page.next), (0, None));
    }
    assert_eq!(counts[0], counts[1], "the same days, and the same of them without an observation");
    assert!(counts[0].1 > 100);
    for bad in ["<html>", "DATE,DGS2\n2005-01-03,1\n", "DATE,DGS10\n2005-01-03,one\n", "DATE,DGS10\n2005-01-03", ""] {
        assert_eq!(parse(Vendor::Fred, &a, None, bad.as_bytes()).unwrap_err().outcome, Outcome::Unparsable, "{bad}");
    }
}

#[test]
fn nothing_younger_than_the_plan_gives_is_asked_for() {
    let a = ask(Vendor::Alpaca, Dataset::EquitiesBars, &["A"], "2025-06-02", "2025-06-30");
    let end = |now: &str| {
        let r = endpoint(Vendor::Alpaca, "k").request(&a, None, now.parse().unwrap()).unwrap();
        r.query.into_iter().find(|(k, _)| k == "end").unwrap().1
    };
    assert_eq!(end("2025-06-30T21:00:00Z"), "2025-06-30T20:45:00Z");
    assert_eq!(end("2025-07-02T21:00:00Z"), "2025-07-01T03:59:59Z", "a window that is over is asked for whole");
}

#[test]
fn tiingo_gives_unadjusted_prices_of_the_session_that_midnight_utc_names() {
    let a = ask(Vendor::Tiingo, Dataset::EquitiesBars, &["BRK.B"], "2020-08-28", "2020-08-31");
    assert_eq!(request(Vendor::Tiingo, &a, None).unwrap().path, "/tiingo/daily/BRK-B/prices");
    let body = br#"[{"date":"2020-08-31T00:00:00.000Z","close":129.04,"high":131.0,"low":126.0,"open":127.58,
        "volume":225702688,"adjClose":126.0,"adjHigh":1,"adjLow":1,"adjOpen":1,"adjVolume":1,"divCash":0.0,
        "splitFactor":4.0},{"date":"2020-13-31","close":1,"high":1,"low":1,"open":1,"volume":1}]"#;
    let page = parse(Vendor::Tiingo, &a, None, body).unwrap();
    let (when, cell) = &page.rows["BRK.B"][0];
    assert_eq!((*when, cell.bar().unwrap().close), (day("2020-08-31"), 129.04));
    assert_eq!(page.rejects.rows, 1, "a day that no calendar has");
    let spent = br#"{"detail":"Error: You have run over your hourly request allocation."}"#;
    assert_eq!(parse(Vendor::Tiingo, &a, None, spent).unwrap_err().outcome, Outcome::RateLimited);
    assert!(parse(Vendor::Tiingo, &a, None, b"[]").unwrap().rows.is_empty());
}

#[test]
fn tiingo_gives_the_minutes_of_iex_and_of_too_many_of_them_the_newest() {
    let a = ask(Vendor::Tiingo, Dataset::EquitiesBarsMinute, &["BRK.B"], "2019-01-02", "2019-01-04");
    let asked = request(Vendor::Tiingo, &a, None).unwrap();
    assert_eq!(asked.path, "/iex/BRK-B/prices");
    let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    let want = [
        pair("startDate", "2019-01-02"),
        pair("endDate", "2019-01-04"),
        pair("resampleFreq", "1min"),
        // Without it the volume is left out.
        pair("columns", "open,high,low,close,volume"),
        pair("afterHours", "true"),
        pair("forceFill", "false"),
        pair("format", "json"),
    ];
    assert_eq!(asked.query, want);
    // The example of the vendor's page, a row without prices, a stamp that is none, a day that was not asked for.
    let body = br#"[{"date":"2019-01-02T14:30:00.000Z","open":154.74,"high":155.52,"low":154.58,"close":154.76,
        "volume":16102},{"date":"2019-01-02T14:31:00.000Z","open":null,"high":null,"low":null,"close":null,"volume":0},
        {"date":"2019-01-02","open":1,"high":1,"low":1,"close":1,"volume":1},
        {"date":"2019-01-01T14:30:00.000Z","open":1,"high":1,"low":1,"close":1,"volume":1}]"#;
    let page = parse(Vendor::Tiingo, &a, None, body).unwrap();
    let [(when, cell)] = page.rows["BRK.B"].as_slice() else { panic!("{page:?}") };
    assert_eq!((*when, cell.bar().unwrap().volume), (1_546_439_400_000_000_000, 16_102.0));
    assert_eq!((page.rejects.rows, page.next), (3, None));
    for cut in 0..body.len() {
        assert_eq!(parse(Vendor::Tiingo, &a, None, &body[..cut]).unwrap_err().outcome, Outcome::Unparsable);
    }
    // An answer of four rows is full: its first day may lack some, and is asked for again.
    let a = Ask { max_rows: 4, ..a };
    let rows = |stamps: &[&str]| {
        let row =
            |t: &&str| format!(r#"{{"date":"2019-01-{t}:00.000Z","open":1,"high":1,"low":1,"close":1,"volume":1}}"#);
        format!("[{}]", stamps.iter().map(row).collect::<Vec<_>>().join(","))
    };
    let page =
        parse(Vendor::Tiingo, &a, None, rows(&["03T20:59", "04T14:30", "04T14:31", "04T14:32"]).as_bytes()).unwrap();
    assert_eq!((page.rows["BRK.B"].len(), &page.next), (3, &Some(Next::Token("2019-01-03".into()))));
    let next = page.next;
    assert!(request(Vendor::Tiingo, &a, next.as_ref()).unwrap().query.contains(&pair("endDate", "2019-01-03")));
    let rest = rows(&["02T14:30", "03T20:59", "04T14:30"]);
    let page = parse(Vendor::Tiingo, &a, next.as_ref(), rest.as_bytes()).unwrap();
    assert_eq!((page.rows["BRK.B"].len(), page.rejects.rows, page.next), (2, 1, None), "what came before is not taken");
    let one_day = rows(&["03T14:30", "03T14:31", "03T14:32", "03T14:33"]);
    let endless = parse(Vendor::Tiingo, &a, next.as_ref(), one_day.as_bytes()).unwrap_err();
    assert!(endless.outcome == Outcome::Unparsable && endless.note.contains("4 minutes"), "{endless}");
    let bad = Next::Token("../x".into());
    assert!(request(Vendor::Tiingo, &a, Some(&bad)).is_err() && parse(Vendor::Tiingo, &a, Some(&bad), b"[]").is_err());
}

#[test]
fn half_a_page_of_the_new_kinds_is_unparsable_and_never_a_panic() {
    let a = actions(Vendor::Alpaca, &["X"], "2020-01-01", "2020-12-31");
    let o = options(Vendor::Massive, "X", "2020-01-02");
    let pages: [(&Ask, &[u8]); 3] = [
        (&a, br#"{"corporate_actions":{"cash_dividends":[{"symbol":"X","ex_date":"2020-05-05","rate":1}]}}"#),
        (&o, br#"{"status":"OK","results":[{"ticker":"O:X200117C00010000"}]}"#),
        (&o, br#"{"status":"ERROR","results":[]} "#),
    ];
    for (ask, body) in pages {
        for cut in 0..body.len() {
            let e = parse(ask.vendor, ask, None, &body[..cut]).unwrap_err();
            assert_eq!(e.outcome, Outcome::Unparsable);
        }
    }
    assert_eq!(ActionKind::from_name("dividend"), Some(ActionKind::Dividend));
}
