//! Vendors: how to ask, and what an answer says.
//!
//! `alpaca`, `massive` and `fred` are pure: an [`Ask`] becomes a [`Request`], a body becomes a [`Page`] or a
//! [`Refusal`]. `files` reads a folder. `fetch` goes from page to page over HTTP, within the budget; `actor` is the
//! shell that claims, fetches and hands on. None of them knows the store or the disk layout.

pub mod actor;
mod alpaca;
mod answer;
mod ask;
pub mod fetch;
mod files;
mod fred;
mod http;
mod massive;

pub use answer::{Fetched, Page, Refusal, Rejects, SymbolRows};
pub use ask::{Ask, Purpose};
pub use http::{Http, HttpError};

use datanode_schema::names::Vendor;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// How to reach one vendor; made from the configuration.
#[derive(Clone)]
pub struct Endpoint {
    /// Which vendor.
    pub vendor: Vendor,
    /// Where HTTP vendors live, without a trailing slash.
    pub base_url: String,
    /// The folder of `files`.
    pub folder: PathBuf,
    /// The key, where the vendor has one.
    pub key: Zeroizing<String>,
    /// Its secret half, where the vendor has one.
    pub secret: Zeroizing<String>,
}

/// One HTTP request, without host and without key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Path, beginning with a slash.
    pub path: String,
    /// Query pairs, in order.
    pub query: Vec<(String, String)>,
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
}

/// The request for a page of an ask.
///
/// # Errors
/// A link that does not begin with a slash.
pub fn request(vendor: Vendor, ask: &Ask, next: Option<&Next>) -> Result<Request, Refusal> {
    match vendor {
        Vendor::Alpaca => Ok(alpaca::request(ask, next)),
        Vendor::Massive => massive::request(ask, next),
        Vendor::Fred => Ok(fred::request(ask, next)),
        Vendor::Files => Err(Refusal::refused("files are read, not requested")),
        Vendor::Polymarket | Vendor::Tiingo => Err(Refusal::refused("this vendor is not asked through the queue")),
    }
}

/// Reads an answer with HTTP status 200 as a page of `ask`.
///
/// # Errors
/// [`Refusal`] where the body is not what the vendor's interface says.
pub fn parse(vendor: Vendor, ask: &Ask, body: &[u8]) -> Result<Page, Refusal> {
    match vendor {
        Vendor::Alpaca => alpaca::parse(ask, body),
        Vendor::Massive => massive::parse(ask, body),
        Vendor::Fred => fred::parse(ask, body),
        Vendor::Files => Err(Refusal::refused("files are read, not requested")),
        Vendor::Polymarket | Vendor::Tiingo => Err(Refusal::refused("this vendor is not asked through the queue")),
    }
}
