//! The status page: what the owner looks at when something is wrong. Rendered here, without a build step, from the same answers as the
//! admin socket gives. It only reads: a command that changes something is not asked for, whatever the path says.
//!
//! Knows nothing of HTTP but a path and a query; `http` decides who may ask and adds the headers.
//!
//! | file | owns |
//! |---|---|
//! | `ask` | answers of the admin commands, and their fields |
//! | `shell` | what stands around every page; errors; tables |
//! | `link` | paths and queries, taken apart and put together |
//! | `charts` | stages as a timeline, the queue as a line |
//! | `home`, `concerns` | `/`: is all well? |
//! | `coverage`, `month`, `cell` | the map, a month of it, one partition |
//! | `vendors`, `runs`, `packs`, `manifest`, `proof`, `incidents`, `doctor` | the rest |

mod ask;
mod cell;
mod charts;
mod concerns;
mod coverage;
mod doctor;
mod home;
mod incidents;
mod link;
mod manifest;
mod month;
mod packs;
mod proof;
mod runs;
mod shell;
mod vendors;

use crate::admin::AdminContext;
use crate::admin::protocol::{AdminError, Code};
use datanode_actors::anchor::AnchorError;
use datanode_actors::seal::SealError;
use datanode_schema::store::StoreError;
use link::Query;
use maud::Markup;
use std::sync::Arc;

const STYLE: &str = include_str!("page.css");
const PROOF: &str = include_str!("proof.js");

/// What browsers are told on every answer: nothing from elsewhere, nothing inline, nobody's frame.
pub const HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; \
         frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
];

/// An answer.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The media type.
    pub kind: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no page.
enum Refusal {
    /// There is no such thing; in words.
    Nothing(String),
    /// It cannot be read; in words.
    Failed(String),
}

impl From<AdminError> for Refusal {
    fn from(e: AdminError) -> Self {
        match e.code {
            Code::NotFound | Code::BadArgs | Code::UnknownCommand => Self::Nothing(e.message),
            _ => Self::Failed(e.message),
        }
    }
}

macro_rules! failed {
    ($($error:ty),*) => {
        $(impl From<$error> for Refusal {
            fn from(e: $error) -> Self {
                Self::Failed(e.to_string())
            }
        })*
    };
}
failed!(StoreError, SealError, AnchorError);

/// A page's title and content.
type Page = Result<(String, Markup), Refusal>;

/// A check of this machine, as `datanode doctor` says it.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What was looked at.
    pub name: String,
    /// `ok`, `warning` or `failed`.
    pub level: &'static str,
    /// What was seen; where something is wrong, its cause and the next command.
    pub text: String,
}

/// The checks that can be made beside a running node: quick ones, that ask no other machine.
pub type Checks = Box<dyn Fn() -> Vec<Finding> + Send + Sync>;

/// What the pages are made of.
pub struct Site {
    ctx: Arc<AdminContext>,
    manifests: manifest::Kept,
    checks: Checks,
    /// A pack is late when the newest one is older, hours.
    late_hours: u32,
}

/// Whether a path is one of the page's, there or not.
pub fn is_ours(path: &str) -> bool {
    const OURS: [&str; 9] = ["", "coverage", "cell", "vendors", "runs", "packs", "incidents", "doctor", "page"];
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    path.starts_with('/') && OURS.contains(&first)
}

impl Site {
    /// Of a running node.
    pub fn new(ctx: Arc<AdminContext>, late_hours: u32, checks: Checks) -> Self {
        Self { ctx, manifests: manifest::Kept::default(), checks, late_hours }
    }

    /// The answer to a GET. Blocking: it reads the store.
    pub fn answer(&self, path: &str, query: &str) -> Answer {
        let Some(parts) = link::parts(path) else {
            return self.refuse(&Refusal::Nothing("the path is not UTF-8 in percent-encoding".to_owned()));
        };
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let query = Query::new(query);
        let page = match parts.as_slice() {
            [] => home::page(self),
            ["coverage"] => coverage::all(self),
            ["coverage", dataset] => coverage::one(self, dataset),
            ["coverage", dataset, month] => month::page(self, dataset, month, &query),
            ["cell", dataset, symbol, date] => cell::page(self, dataset, symbol, date),
            ["vendors"] => vendors::page(self),
            ["runs"] => runs::page(self, &query),
            ["packs"] => packs::every(self, &query),
            ["packs", id] => packs::one(self, id, &query),
            ["incidents"] => incidents::page(self, &query),
            ["doctor"] => doctor::page(self),
            ["page", "page.css"] => return file("text/css; charset=utf-8", STYLE.into()),
            ["page", "proof.js"] => return file("text/javascript; charset=utf-8", PROOF.into()),
            ["page", "sealing", uid, what] => match proof::file(self, uid, what) {
                Ok(bytes) => return file("application/octet-stream", bytes),
                Err(e) => Err(e),
            },
            _ => Err(Refusal::Nothing("there is no such page".to_owned())),
        };
        match page {
            Ok((title, content)) => html(200, shell::whole(&self.ctx, parts.first().copied(), &title, &content)),
            Err(refusal) => self.refuse(&refusal),
        }
    }

    fn refuse(&self, refusal: &Refusal) -> Answer {
        let (status, title, why) = match refusal {
            Refusal::Nothing(why) => (404, "Not found", why),
            Refusal::Failed(why) => (500, "It cannot be read", why),
        };
        if status == 500 {
            tracing::error!("{why}");
        }
        html(status, shell::whole(&self.ctx, None, title, &shell::refusal(title, why)))
    }
}

fn html(status: u16, page: Markup) -> Answer {
    Answer { status, kind: "text/html; charset=utf-8", body: page.into_string().into_bytes() }
}

fn file(kind: &'static str, body: Vec<u8>) -> Answer {
    Answer { status: 200, kind, body }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_its_own_paths_and_takes_no_others() {
        for path in ["/", "/coverage", "/coverage/equities_bars/2024-01", "/page/page.css", "/packs", "//"] {
            assert!(is_ours(path), "{path}");
        }
        for path in ["", "/metrics", "/healthz", "/v1/packs", "/coveragex", "/v1", "coverage", "*"] {
            assert!(!is_ours(path), "{path}");
        }
    }
}
