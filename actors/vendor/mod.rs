//! Vendors: how to ask, and what an answer says.
//!
//! `alpaca`, `massive`, `fred` and `tiingo` are pure: an [`Ask`] becomes a [`Request`], a body becomes a [`Page`] or a
//! [`Refusal`]. What takes several questions (which contracts, then their bars; splits, then dividends) is carried from page
//! to page by [`Next`]. `files` reads a folder, `flat` the files that Massive delivers. `fetch` goes from page to page over HTTP, within the budget; `actor` is the
//! shell that claims, fetches and hands on. None of them knows the store or the disk layout.

pub mod actor;
mod alpaca;
mod alpaca_actions;
mod answer;
mod ask;
mod contracts;
pub mod fetch;
mod files;
mod flat;
mod fred;
mod http;
mod massive;
mod massive_reference;
mod meter;
mod occ;
mod scan;
mod steps;
mod tiingo;
mod words;

pub use answer::{Fetched, Page, Refusal, Rejects, Scope, SymbolRows};
pub use ask::{Ask, Purpose};
pub use http::{Http, HttpError, RateHeaders};
pub use meter::{BOUNDS, Meter, Traffic};
pub use steps::{Stage, Step};

use chrono::{DateTime, Duration, Utc};
use datanode_schema::names::{Dataset, Vendor};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use zeroize::Zeroizing;

/// How to reach one vendor; made from the configuration.
#[derive(Clone)]
pub struct Endpoint {
    /// Which vendor.
    pub vendor: Vendor,
    /// Where HTTP vendors live, without a trailing slash.
    pub base_url: String,
    /// Alpaca's other host, which lists option contracts.
    pub trading_base_url: String,
    /// FRED's other host, which needs no key.
    pub graph_base_url: String,
    /// Minutes before now that the plan does not give, by dataset; none where it gives all.
    pub delay_minutes: BTreeMap<Dataset, u32>,
    /// The folder of `files`.
    pub folder: PathBuf,
    /// The key, where the vendor has one.
    pub key: Zeroizing<String>,
    /// Its secret half, where the vendor has one.
    pub secret: Zeroizing<String>,
}

impl Endpoint {
    /// The request for a page of an ask, as this vendor's configuration wants it: without a key FRED is asked on its other
    /// host, and Alpaca for nothing that the plan does not give yet at `now`.
    ///
    /// # Errors
    /// A link that leads elsewhere; a vendor that is not asked by requests.
    pub fn request(&self, ask: &Ask, next: Option<&Next>, now: DateTime<Utc>) -> Result<Request, Refusal> {
        match self.vendor {
            Vendor::Fred if self.key.is_empty() => Ok(fred::graph_request(ask)),
            Vendor::Alpaca => {
                let delay = self.delay_minutes.get(&ask.dataset);
                let until = delay.map(|m| now - Duration::minutes(i64::from(*m)));
                Ok(alpaca::request(ask, next, until))
            }
            vendor => request(vendor, ask, next),
        }
    }

    /// Where a host of the vendor lives.
    fn base(&self, host: Host) -> &str {
        match host {
            Host::Data => &self.base_url,
            Host::Trading => &self.trading_base_url,
            Host::Graph => &self.graph_base_url,
        }
    }
}

/// Which of a vendor's hosts is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// Where the data is: `base_url`.
    Data,
    /// Alpaca's trading host: `trading_base_url`.
    Trading,
    /// FRED's graph host, which gives CSV and gets no key: `graph_base_url`.
    Graph,
}

/// One HTTP request, without key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Whom it goes to.
    pub host: Host,
    /// Path, beginning with a slash.
    pub path: String,
    /// Query pairs, in order.
    pub query: Vec<(String, String)>,
}

impl Request {
    /// A request to the data host.
    fn data(path: &str, query: Vec<(String, String)>) -> Self {
        Self { host: Host::Data, path: path.to_owned(), query }
    }
}

/// A symbol as one segment of a path; it may hold `/` or `:`.
fn percent(symbol: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    symbol.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Where a page's successor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// An opaque token that goes back with the same question.
    Token(String),
    /// Path and query of a link, on the configured base; the vendor's host in it is not followed.
    PathAndQuery(String),
    /// The offset of the next row.
    Offset(u64),
    /// A question of a conversation, with what the ones before it have found.
    Step(Arc<Step>),
}

impl Next {
    /// The vendor's own pointer to the page, where it is one.
    fn link(&self) -> Option<&str> {
        match self {
            Next::Token(l) | Next::PathAndQuery(l) => Some(l),
            Next::Offset(_) | Next::Step(_) => None,
        }
    }
}

/// The request for a page of an ask, without regard to the configuration; see [`Endpoint::request`].
///
/// # Errors
/// A link that leads elsewhere; a vendor that is not asked by requests.
pub fn request(vendor: Vendor, ask: &Ask, next: Option<&Next>) -> Result<Request, Refusal> {
    match vendor {
        Vendor::Alpaca => Ok(alpaca::request(ask, next, None)),
        Vendor::Massive => massive::request(ask, next),
        Vendor::Fred => Ok(fred::request(ask, next)),
        Vendor::Files => Err(Refusal::refused("files are read, not requested")),
        Vendor::Tiingo => tiingo::request(ask, next),
        Vendor::Polymarket => Err(Refusal::refused("this vendor is not asked through the queue")),
    }
}

/// Reads an answer with HTTP status 200 as a page of `ask`; `next` is what the page was asked for by, None for the first.
///
/// # Errors
/// [`Refusal`] where the body is not what the vendor's interface says.
pub fn parse(vendor: Vendor, ask: &Ask, next: Option<&Next>, body: &[u8]) -> Result<Page, Refusal> {
    match vendor {
        Vendor::Alpaca => alpaca::parse(ask, next, body),
        Vendor::Massive => massive::parse(ask, next, body),
        Vendor::Fred => fred::parse(ask, body),
        Vendor::Files => Err(Refusal::refused("files are read, not requested")),
        Vendor::Tiingo => tiingo::parse(ask, next, body),
        Vendor::Polymarket => Err(Refusal::refused("this vendor is not asked through the queue")),
    }
}
