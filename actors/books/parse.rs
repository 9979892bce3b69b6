//! What the vendor says, read strictly. Pure. Values are kept as the strings that came; only their bounds are checked here.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Levels of one side above which a book is not taken.
const MAX_LEVELS: usize = 10_000;
/// The longest price, size, stamp, hash or id.
const MAX_TEXT: usize = 128;
/// Outcomes of one market.
const MAX_OUTCOMES: usize = 256;
/// The longest cursor.
const MAX_CURSOR: usize = 4_096;

/// A market of the discovery, mapped.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Market {
    pub(super) condition: String,
    pub(super) tokens: Vec<String>,
    /// What each token stands for, in the same order.
    pub(super) outcomes: Vec<String>,
    /// What it is ranked by; 0 where the vendor does not say.
    pub(super) weight: f64,
}

/// What markets are ranked by where none is named.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rank {
    /// Traded so far, in dollars.
    Volume,
    /// On the books, in dollars.
    Liquidity,
}

/// A page of the discovery.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Page {
    pub(super) markets: Vec<Market>,
    /// Markets whose lists do not belong together, with the first case.
    pub(super) rejected: u64,
    pub(super) first: String,
    pub(super) next: Option<String>,
}

/// Reads a page of `/markets/keyset` or `/events/keyset`.
pub(super) fn page(body: &[u8], rank: Rank) -> Result<Page, String> {
    let v: Value = serde_json::from_slice(body).map_err(|e| format!("not JSON: {e}"))?;
    let list = |v: &Value, name: &str| v.get(name).and_then(Value::as_array).cloned();
    let found = match (list(&v, "markets"), list(&v, "events")) {
        (Some(markets), _) => markets,
        (None, Some(events)) => events.iter().filter_map(|e| list(e, "markets")).flatten().collect(),
        (None, None) => return Err("neither `markets` nor `events` is a list".to_owned()),
    };
    let next = match v.get("next_cursor") {
        None | Some(Value::Null) => None,
        Some(Value::String(s)) if s.is_empty() => None,
        Some(Value::String(s)) if s.len() <= MAX_CURSOR => Some(s.clone()),
        Some(_) => return Err("`next_cursor` is no string of up to 4096 bytes".to_owned()),
    };
    let mut page = Page { markets: Vec::new(), rejected: 0, first: String::new(), next };
    for m in &found {
        match market(m, rank) {
            Ok(Some(m)) => page.markets.push(m),
            Ok(None) => {}
            Err(why) => {
                if page.rejected == 0 {
                    page.first = why;
                }
                page.rejected += 1;
            }
        }
    }
    Ok(page)
}

/// A market; None where it has no order book to look at.
fn market(m: &Value, rank: Rank) -> Result<Option<Market>, String> {
    let flag = |name: &str| m.get(name).and_then(Value::as_bool);
    if flag("closed") == Some(true) || flag("active") == Some(false) || flag("enableOrderBook") == Some(false) {
        return Ok(None);
    }
    let condition = m.get("conditionId").and_then(Value::as_str).unwrap_or_default().to_owned();
    if !is_condition(&condition) {
        return Err(format!("conditionId {:?} is not 0x and hex digits", cut(&condition)));
    }
    let strings = |name: &str| -> Result<Vec<String>, String> {
        let text = m.get(name).and_then(Value::as_str).ok_or_else(|| format!("{condition}: no `{name}`"))?;
        serde_json::from_str(text).map_err(|e| format!("{condition}: `{name}` is no list of strings: {e}"))
    };
    let (outcomes, tokens) = (strings("outcomes")?, strings("clobTokenIds")?);
    let prices = if m.get("outcomePrices").is_some() { strings("outcomePrices")?.len() } else { outcomes.len() };
    if outcomes.len() != tokens.len() || prices != tokens.len() || tokens.is_empty() || tokens.len() > MAX_OUTCOMES {
        let n = (outcomes.len(), tokens.len());
        return Err(format!("{condition}: {} outcomes, {prices} prices, {} tokens", n.0, n.1));
    }
    if let Some(bad) = tokens.iter().find(|t| !is_token(t)) {
        return Err(format!("{condition}: token {:?} is no number", cut(bad)));
    }
    let different = |list: &[String]| list.iter().collect::<BTreeSet<_>>().len() == list.len();
    if !different(&tokens) || !different(&outcomes) {
        return Err(format!("{condition}: a token or an outcome stands there twice"));
    }
    let number = |names: &[&str]| {
        names.iter().find_map(|n| match m.get(*n)? {
            Value::String(s) => s.parse::<f64>().ok(),
            v => v.as_f64(),
        })
    };
    let weight = match rank {
        Rank::Volume => number(&["volumeNum", "volume"]),
        Rank::Liquidity => number(&["liquidityNum", "liquidity"]),
    };
    Ok(Some(Market { condition, tokens, outcomes, weight: weight.filter(|w| w.is_finite()).unwrap_or(0.0) }))
}

/// Whether it can be a condition id: `0x` and up to 64 hex digits.
pub(super) fn is_condition(s: &str) -> bool {
    s.strip_prefix("0x").is_some_and(|h| (1..=64).contains(&h.len()) && h.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn is_token(s: &str) -> bool {
    (1..=100).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit())
}

/// The set to collect: the heaviest `top` markets (0: all), as (token, condition). A token of two markets is rejected in the
/// second; the number of those is returned too.
pub(super) fn choose(mut markets: Vec<Market>, top: usize) -> (Vec<(String, String)>, u64) {
    markets.sort_by(|a, b| b.weight.total_cmp(&a.weight).then_with(|| a.condition.cmp(&b.condition)));
    markets.dedup_by(|a, b| a == b);
    let (mut seen, mut out, mut rejected, mut taken) = (BTreeMap::new(), Vec::new(), 0, 0);
    for m in markets {
        if m.tokens.iter().any(|t| seen.contains_key(t)) {
            rejected += u64::from(m.tokens.iter().any(|t| seen.get(t).is_some_and(|c| *c != m.condition)));
            continue;
        }
        if top > 0 && taken == top {
            break;
        }
        taken += 1;
        for t in m.tokens {
            seen.insert(t.clone(), m.condition.clone());
            out.push((t, m.condition.clone()));
        }
    }
    (out, rejected)
}

/// One price level, as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// A share of a dollar.
    pub price: String,
    /// Shares.
    pub size: String,
}

/// A book as the vendor says it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Book {
    pub(super) market: String,
    pub(super) asset_id: String,
    pub(super) timestamp: String,
    #[serde(default)]
    pub(super) hash: String,
    pub(super) bids: Vec<Level>,
    pub(super) asks: Vec<Level>,
}

/// One line of a raw file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// Condition id.
    pub(super) market: String,
    /// Token.
    pub(super) asset_id: String,
    /// The exchange's, as it came: milliseconds since 1970.
    pub(super) timestamp: String,
    /// RFC 3339, whole seconds.
    pub(super) received_at: String,
    /// The exchange's, opaque.
    pub(super) hash: String,
    /// As they came, the best one last.
    pub(super) bids: Vec<Level>,
    /// As they came, the best one last.
    pub(super) asks: Vec<Level>,
    /// The manifest line's.
    pub(super) request_id: String,
}

/// What a book looks like; it is kept either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) crossed: bool,
    pub(super) odd: bool,
}

/// Why a book is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoBook {
    /// It is of another token or market than was asked for.
    Mapping(String),
    /// It is not what the interface says.
    Form(String),
}

/// Reads one book of an answer. `expected` is token to condition id.
pub(super) fn book(v: Value, expected: &BTreeMap<String, String>) -> Result<Book, NoBook> {
    let book: Book = serde_json::from_value(v).map_err(|e| NoBook::Form(format!("no book: {e}")))?;
    let id = cut(&book.asset_id);
    match expected.get(&book.asset_id) {
        None => return Err(NoBook::Mapping(format!("token {id:?} was not asked for"))),
        Some(market) if *market != book.market => {
            let other = cut(&book.market);
            return Err(NoBook::Mapping(format!("token {id}: market {other:?} where {market} is known")));
        }
        Some(_) => {}
    }
    if book.bids.len() > MAX_LEVELS || book.asks.len() > MAX_LEVELS {
        return Err(NoBook::Form(format!("token {id}: more than {MAX_LEVELS} levels")));
    }
    let levels = book.bids.iter().chain(&book.asks).flat_map(|l| [&l.price, &l.size]);
    if levels.chain([&book.timestamp, &book.hash]).any(|t| t.len() > MAX_TEXT) {
        return Err(NoBook::Form(format!("token {id}: a value is longer than {MAX_TEXT} bytes")));
    }
    Ok(book)
}

/// What stands out in a book.
pub(super) fn look(bids: &[Level], asks: &[Level]) -> Look {
    let number = |s: &str| s.parse::<f64>().ok().filter(|n| n.is_finite());
    let odd = bids
        .iter()
        .chain(asks)
        .any(|l| !number(&l.price).is_some_and(|p| p > 0.0 && p < 1.0) || !number(&l.size).is_some_and(|s| s >= 0.0));
    let price = |l: &Level| number(&l.price);
    let bid = bids.iter().filter_map(price).fold(f64::NEG_INFINITY, f64::max);
    let ask = asks.iter().filter_map(price).fold(f64::INFINITY, f64::min);
    Look { crossed: bid >= ask, odd }
}

/// Whether a body says that a token has no book any more.
pub(super) fn says_settled(body: &[u8]) -> bool {
    let v: Option<Value> = serde_json::from_slice(body).ok();
    v.as_ref()
        .and_then(|v| v.get("error"))
        .and_then(Value::as_str)
        .is_some_and(|m| m.starts_with("No orderbook exists"))
}

/// At most 60 characters of what came, for an error.
pub(super) fn cut(s: &str) -> String {
    s.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn market_of(outcomes: &str, prices: &str, tokens: &str) -> Result<Option<Market>, String> {
        market(
            &json!({"conditionId": "0xab", "outcomes": outcomes, "outcomePrices": prices, "clobTokenIds": tokens,
                "active": true, "closed": false, "volume": "12.5"}),
            Rank::Volume,
        )
    }

    #[test]
    fn lists_inside_of_strings_become_tokens_and_a_wrong_mapping_is_refused() {
        let two = r#"["Yes","No"]"#;
        let m = market_of(two, r#"["0.1","0.9"]"#, r#"["1","2"]"#).unwrap().unwrap();
        assert_eq!((m.tokens, m.weight), (vec!["1".to_owned(), "2".to_owned()], 12.5));
        for (o, p, t) in [
            (two, two, r#"["1"]"#),
            (two, r#"["1"]"#, r#"["1","2"]"#),
            (two, two, r#"["1","1"]"#),
            (r#"["Yes","Yes"]"#, two, r#"["1","2"]"#),
            (two, two, r#"["1","x"]"#),
            (two, two, "nonsense"),
            ("[]", "[]", "[]"),
        ] {
            assert!(market_of(o, p, t).is_err(), "{o} {p} {t}");
        }
    }

    #[test]
    fn an_absent_cursor_is_the_end_and_events_bring_their_markets() {
        let p = page(br#"{"markets":[],"next_cursor":"x"}"#, Rank::Volume).unwrap();
        assert_eq!(p.next.as_deref(), Some("x"));
        assert_eq!(page(br#"{"markets":[]}"#, Rank::Volume).unwrap().next, None);
        let m = json!({"conditionId": "0xab", "outcomes": "[\"Y\"]", "clobTokenIds": "[\"1\"]"});
        let body = json!({"events": [{"markets": [m, {"conditionId": "../../x"}]}]}).to_string();
        let p = page(body.as_bytes(), Rank::Volume).unwrap();
        assert_eq!((p.markets.len(), p.rejected), (1, 1));
        assert!(page(b"<html>", Rank::Volume).is_err() && page(b"{}", Rank::Volume).is_err());
    }

    #[test]
    fn the_heaviest_markets_are_chosen_and_no_token_twice() {
        let m = |c: &str, t: &[&str], weight| Market {
            condition: c.into(),
            tokens: t.iter().map(|t| (*t).to_owned()).collect(),
            outcomes: t.iter().map(|t| (*t).to_owned()).collect(),
            weight,
        };
        let (set, rejected) = choose(vec![m("a", &["1"], 1.0), m("b", &["2"], 9.0), m("c", &["2"], 5.0)], 2);
        assert_eq!(set, [("2".to_owned(), "b".to_owned()), ("1".to_owned(), "a".to_owned())]);
        assert_eq!(rejected, 1);
    }

    #[test]
    fn a_book_is_looked_at_and_never_changed() {
        let l = |p: &str, s: &str| Level { price: p.into(), size: s.into() };
        assert_eq!(look(&[l("0.3", "5"), l("0.4", "5")], &[l("0.5", "1")]), Look::default());
        assert!(look(&[l("0.6", "5")], &[l("0.5", "1")]).crossed);
        assert!(look(&[l("NaN", "5")], &[]).odd && look(&[l("0.5", "-1")], &[]).odd && look(&[], &[l("1.0", "1")]).odd);
        let known = BTreeMap::from([("1".to_owned(), "m".to_owned())]);
        let b = |asset: &str, market: &str| json!({"market": market, "asset_id": asset, "timestamp": "5", "bids": [], "asks": []});
        assert!(book(b("1", "m"), &known).is_ok());
        assert!(book(b("2", "m"), &known).is_err() && book(b("1", "x"), &known).is_err());
        assert!(says_settled(br#"{"error":"No orderbook exists for the requested token id"}"#));
        assert!(!says_settled(b"404 page not found"));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_page_or_an_error(body in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = page(&body, Rank::Volume);
            let _ = says_settled(&body);
        }
    }
}
