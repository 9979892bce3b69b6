//! `retention`: which packs stay, and pins.

use super::Page;
use super::quarantine::refused;
use crate::admin::AdminContext;
use crate::admin::commands::Args;
use crate::admin::protocol::{AdminError, Code};
use datanode_actors::retention::{Row, plan};
use serde::Serialize;

/// The answer of `retention.plan`.
#[derive(Clone, Debug, Serialize)]
pub struct Retention {
    /// When it was made.
    pub now: String,
    /// What is wrong with the clock; then nothing is removed.
    pub clock: Option<String>,
    /// Packs that would go.
    pub removals: u64,
    /// For `datanode retention apply --expect`.
    pub digest: String,
    /// The packs, those that go first.
    #[serde(flatten)]
    pub packs: Page<RetentionRow>,
}

/// A pack of a place.
#[derive(Clone, Debug, Serialize)]
pub struct RetentionRow {
    /// The pack.
    #[serde(flatten)]
    pub row: Row,
    /// `keep` or `remove`.
    pub what: &'static str,
    /// Why, in a line.
    pub because: String,
}

/// The answer of `retention.pin` and `retention.unpin`.
#[derive(Clone, Debug, Serialize)]
pub struct Pinned {
    /// The number of the act in the event files.
    pub act: u64,
    /// The pack.
    pub export_id: String,
    /// What holds from now on.
    pub now: &'static str,
}

pub(super) fn show(ctx: &AdminContext, a: &Args) -> Result<Retention, AdminError> {
    let plan = plan(&ctx.desk.node, "").map_err(|e| AdminError::new(Code::Failed, e.to_string()))?;
    let mut packs = Page::new(a);
    let (gone, kept): (Vec<Row>, Vec<Row>) = plan.rows.into_iter().partition(|r| !r.keep);
    for row in gone.into_iter().chain(kept) {
        packs.offer(|| {
            let what = if row.keep { "keep" } else { "remove" };
            RetentionRow { what, because: row.why.join("; "), row }
        });
    }
    Ok(Retention { now: plan.now, clock: plan.clock, removals: plan.removals, digest: plan.digest, packs })
}

pub(super) fn pin(ctx: &AdminContext, a: &Args, uid: u32) -> Result<Pinned, AdminError> {
    let (id, note) = (a.text("export_id").unwrap_or_default(), a.text("note").unwrap_or_default());
    let done = ctx.desk.node.acts.pin(id, &format!("uid {uid}"), note).map_err(refused)?;
    Ok(Pinned { act: done.act, export_id: id.to_owned(), now: "pinned: it stays until it is unpinned" })
}

pub(super) fn unpin(ctx: &AdminContext, a: &Args, uid: u32) -> Result<Pinned, AdminError> {
    let (id, why) = (a.text("export_id").unwrap_or_default(), a.text("why").unwrap_or("no longer needed"));
    let done = ctx.desk.node.acts.unpin(id, &format!("uid {uid}"), why).map_err(refused)?;
    Ok(Pinned { act: done.act, export_id: id.to_owned(), now: "unpinned: the rules hold for it again" })
}
