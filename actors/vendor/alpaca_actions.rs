//! Alpaca's corporate actions: `GET /v1/corporate-actions`, the kinds in the plural as the keys of the answer.
//!
//! The vendor filters and sorts by `process_date`, which of a foreign dividend lies weeks after the ex-date: the window that
//! is asked for is wider than the one that is wanted, and rows are taken by their ex-date (or effective date).

use super::alpaca::{page_after, token};
use super::{Ask, Next, Page, Refusal, Request};
use crate::frame::{Action, ActionKind};
use chrono::{Days, NaiveDate};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// How far a process date may lie before and after the date that counts.
const EARLIER: Days = Days::new(31);
const LATER: Days = Days::new(120);

pub(super) fn request(ask: &Ask, next: Option<&Next>) -> Request {
    let start = ask.from.checked_sub_days(EARLIER).unwrap_or(ask.from);
    let end = ask.to.checked_add_days(LATER).unwrap_or(ask.to);
    let mut query = vec![
        ("symbols".to_owned(), ask.symbols.join(",")),
        ("start".to_owned(), start.to_string()),
        ("end".to_owned(), end.to_string()),
        ("limit".to_owned(), ask.max_rows.min(1_000).to_string()),
        ("sort".to_owned(), "asc".to_owned()),
    ];
    query.extend(token(next).map(|t| ("page_token".to_owned(), t.to_owned())));
    Request::data("/v1/corporate-actions", query)
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    corporate_actions: Option<BTreeMap<Cow<'a, str>, Vec<Wire<'a>>>>,
    #[serde(default)]
    next_page_token: Option<String>,
}

/// The fields of all kinds; each kind has some.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    symbol: Option<Cow<'a, str>>,
    #[serde(borrow)]
    old_symbol: Option<Cow<'a, str>>,
    #[serde(borrow)]
    source_symbol: Option<Cow<'a, str>>,
    #[serde(borrow)]
    acquiree_symbol: Option<Cow<'a, str>>,
    #[serde(borrow)]
    acquirer_symbol: Option<Cow<'a, str>>,
    #[serde(borrow)]
    new_symbol: Option<Cow<'a, str>>,
    #[serde(borrow)]
    alternate_symbol: Option<Cow<'a, str>>,
    #[serde(borrow)]
    ex_date: Option<Cow<'a, str>>,
    #[serde(borrow)]
    effective_date: Option<Cow<'a, str>>,
    #[serde(borrow)]
    process_date: Option<Cow<'a, str>>,
    #[serde(borrow)]
    currency: Option<Cow<'a, str>>,
    new_rate: Option<f64>,
    old_rate: Option<f64>,
    source_rate: Option<f64>,
    rate: Option<f64>,
    cash_rate: Option<f64>,
    acquirer_rate: Option<f64>,
    acquiree_rate: Option<f64>,
    price: Option<f64>,
}

impl Wire<'_> {
    /// Whose action it is.
    fn of(&self) -> &str {
        let all = [&self.symbol, &self.old_symbol, &self.source_symbol, &self.acquiree_symbol];
        all.into_iter().flatten().next().map_or("", |s| s)
    }

    /// Whether a symbol that was asked for takes part in it on the other side: the buyer, the new name.
    fn touches(&self, ask: &Ask) -> bool {
        let all = [&self.acquirer_symbol, &self.new_symbol, &self.alternate_symbol];
        all.into_iter().flatten().any(|s| ask.symbols.iter().any(|a| a == s))
    }

    fn date(&self) -> Option<NaiveDate> {
        let all = [&self.ex_date, &self.effective_date, &self.process_date];
        all.into_iter().flatten().next()?.parse().ok()
    }

    /// The action of a kind as the vendor calls it; None for a kind that is not known.
    fn action(&self, kind: &str) -> Option<Action> {
        let over = |a: Option<f64>, b: Option<f64>| Some(a? / b?);
        let splits = over(self.new_rate, self.old_rate);
        let (kind, ratio, cash) = match kind {
            "forward_splits" | "reverse_splits" => (ActionKind::Split, splits, None),
            "unit_splits" => (ActionKind::UnitSplit, splits, None),
            "stock_dividends" => (ActionKind::StockDividend, self.rate.map(|r| 1.0 + r), None),
            "cash_dividends" => (ActionKind::Dividend, None, self.rate),
            "spin_offs" => (ActionKind::SpinOff, over(self.new_rate, self.source_rate), None),
            "cash_mergers" => (ActionKind::Merger, None, self.rate),
            "stock_mergers" | "stock_and_cash_mergers" => {
                (ActionKind::Merger, over(self.acquirer_rate, self.acquiree_rate), self.cash_rate)
            }
            "redemptions" => (ActionKind::Redemption, None, self.rate),
            "rights_distributions" => (ActionKind::Rights, self.rate, None),
            "partial_calls" => (ActionKind::PartialCall, None, self.price),
            "reorganizations" => (ActionKind::Reorganization, None, self.cash_rate),
            "name_changes" => (ActionKind::NameChange, None, None),
            "worthless_removals" => (ActionKind::Worthless, None, None),
            _ => return None,
        };
        Some(Action { kind, ratio, cash })
    }
}

pub(super) fn parse(ask: &Ask, body: &[u8]) -> Result<Page, Refusal> {
    let body: Body<'_> =
        serde_json::from_slice(body).map_err(|e| Refusal::unparsable(format!("not a page of actions: {e}")))?;
    let Some(kinds) = body.corporate_actions else {
        return Err(Refusal::unparsable("no `corporate_actions` in the answer"));
    };
    let mut page = Page { next: page_after(body.next_page_token), ..Page::default() };
    for (kind, rows) in kinds {
        for w in rows {
            if !ask.symbols.iter().any(|s| s == w.of()) && w.touches(ask) {
                continue;
            }
            match w.action(&kind) {
                Some(a) => page.take_action(ask, w.of(), w.date(), a, w.currency.as_deref()),
                None => page.rejects.add(|| format!("{}: no kind of action is called {kind:?}", w.of())),
            }
        }
    }
    Ok(page)
}
