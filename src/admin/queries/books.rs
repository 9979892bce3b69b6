//! `books`: what the collector of prediction markets counted, and which tokens have gaps.

use super::{Page, not_found};
use crate::admin::AdminContext;
use crate::admin::commands::Args;
use crate::admin::protocol::AdminError;
use datanode_actors::books::{Counters, MarketSeen};
use serde::Serialize;

/// The counters since the start, and a page of tokens, those with the most gaps first.
#[derive(Clone, Debug, Serialize)]
pub struct Books {
    /// See there.
    pub counters: Counters,
    /// See there.
    #[serde(flatten)]
    pub tokens: Page<TokenRow>,
}

/// One token.
#[derive(Clone, Debug, Serialize)]
pub struct TokenRow {
    /// See there.
    #[serde(flatten)]
    pub seen: MarketSeen,
    /// Snapshots that were due and did not come.
    pub gaps: u64,
}

pub(super) fn books(ctx: &AdminContext, a: &Args) -> Result<Books, AdminError> {
    let Some(board) = &ctx.books else {
        return Err(not_found("no order books are collected here: set vendors.polymarket.enabled = true and restart"));
    };
    let mut tokens = Page::new(a);
    for seen in board.markets(ctx.clock.since_boot_ms()) {
        let gaps = seen.expected.saturating_sub(seen.got);
        tokens.offer(|| TokenRow { seen, gaps });
    }
    Ok(Books { counters: board.counters(), tokens })
}
