//! Massive's lists: splits and then dividends of a ticker (`/stocks/v1/splits`, `/stocks/v1/dividends`), and the option
//! contracts of an underlier (`/v3/reference/options/contracts`). Filters are `field.gte` and `field.lte`; pages behind
//! `next_url`. Source: the vendor's documentation; the lists below `/v3/reference` of the same names are deprecated.

use super::massive::{linked, page_after, succeeded};
use super::steps::{Stage, Step};
use super::{Ask, Next, Page, Refusal, Request, contracts};
use crate::frame::{Action, ActionKind};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

const SPLITS: &str = "/stocks/v1/splits";
const DIVIDENDS: &str = "/stocks/v1/dividends";
const CONTRACTS: &str = "/v3/reference/options/contracts";

fn link(step: &Step) -> Option<&str> {
    if let Some(Next::PathAndQuery(link)) = step.page.as_deref() { Some(link) } else { None }
}

/// A page of splits, or of dividends.
pub(super) fn actions_request(ask: &Ask, step: &Step) -> Result<Request, Refusal> {
    let (path, field) = match step.stage {
        Stage::Dividends => (DIVIDENDS, "ex_dividend_date"),
        _ => (SPLITS, "execution_date"),
    };
    if let Some(link) = link(step) {
        return linked(link, &[path]);
    }
    let query = vec![
        ("ticker".to_owned(), ask.symbols.first().cloned().unwrap_or_default()),
        (format!("{field}.gte"), ask.from.to_string()),
        (format!("{field}.lte"), ask.to.to_string()),
        ("limit".to_owned(), ask.max_rows.min(5_000).to_string()),
        ("sort".to_owned(), format!("{field}.asc")),
    ];
    Ok(Request::data(path, query))
}

/// A page of contracts as the exchange listed them on the last day asked for: first those alive then, then the expired ones,
/// both no earlier than the first day.
pub(super) fn contracts_request(ask: &Ask, step: &Step) -> Result<Request, Refusal> {
    if let Some(link) = link(step) {
        return linked(link, &[CONTRACTS]);
    }
    let query = vec![
        ("underlying_ticker".to_owned(), ask.symbols.first().cloned().unwrap_or_default()),
        ("expiration_date.gte".to_owned(), ask.from.to_string()),
        ("as_of".to_owned(), ask.to.to_string()),
        ("expired".to_owned(), (step.stage == Stage::Expired).to_string()),
        ("limit".to_owned(), "1000".to_owned()),
        ("sort".to_owned(), "ticker".to_owned()),
        ("order".to_owned(), "asc".to_owned()),
    ];
    Ok(Request::data(CONTRACTS, query))
}

#[derive(Deserialize)]
struct List<T> {
    #[serde(default)]
    status: Option<String>,
    results: Option<Vec<T>>,
    #[serde(default)]
    next_url: Option<String>,
}

impl<T: DeserializeOwned> List<T> {
    fn read(what: &str, body: &[u8]) -> Result<(Vec<T>, Option<Next>), Refusal> {
        let list: Self =
            serde_json::from_slice(body).map_err(|e| Refusal::unparsable(format!("not a list of {what}: {e}")))?;
        succeeded(list.status.as_deref())?;
        Ok((list.results.unwrap_or_default(), page_after(list.next_url.as_deref())?))
    }
}

#[derive(Deserialize)]
struct Split {
    ticker: String,
    execution_date: String,
    split_from: f64,
    split_to: f64,
    #[serde(default)]
    adjustment_type: Option<String>,
}

#[derive(Deserialize)]
struct Dividend {
    ticker: String,
    ex_dividend_date: String,
    cash_amount: f64,
    #[serde(default)]
    currency: Option<String>,
}

#[derive(Deserialize)]
struct Contract {
    ticker: String,
}

/// Reads a page of actions. After the last page of splits the dividends follow.
pub(super) fn actions(ask: &Ask, step: &Step, body: &[u8]) -> Result<Page, Refusal> {
    let mut page = Page::default();
    let rest = if step.stage == Stage::Dividends {
        let (rows, rest) = List::<Dividend>::read("dividends", body)?;
        for d in rows {
            let action = Action { kind: ActionKind::Dividend, ratio: None, cash: Some(d.cash_amount) };
            page.take_action(ask, &d.ticker, d.ex_dividend_date.parse().ok(), action, d.currency.as_deref());
        }
        rest
    } else {
        let (rows, rest) = List::<Split>::read("splits", body)?;
        for s in rows {
            let in_shares = s.adjustment_type.as_deref() == Some("stock_dividend");
            let kind = if in_shares { ActionKind::StockDividend } else { ActionKind::Split };
            let action = Action { kind, ratio: Some(s.split_to / s.split_from), cash: None };
            page.take_action(ask, &s.ticker, s.execution_date.parse().ok(), action, None);
        }
        rest
    };
    page.next = match (rest, step.stage) {
        (Some(rest), _) => Some(step.paged(rest)),
        (None, Stage::Dividends) => None,
        (None, _) => Some(step.then(Stage::Dividends, Arc::default(), 0)),
    };
    Ok(page)
}

/// Reads a page of contracts.
pub(super) fn contracts(ask: &Ask, step: &Step, body: &[u8]) -> Result<Page, Refusal> {
    let (rows, rest) = List::<Contract>::read("contracts", body)?;
    let symbols = rows.iter().map(|c| c.ticker.strip_prefix("O:").unwrap_or(&c.ticker));
    contracts::listed(ask, step, symbols, rest)
}
