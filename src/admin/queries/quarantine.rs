//! `qc hold`, `qc release`, `incident`: what people say of partitions and artifacts.

use super::{Page, not_found, require_symbol, text, time};
use crate::admin::AdminContext;
use crate::admin::commands::Args;
use crate::admin::protocol::{AdminError, Code};
use datanode_actors::quarantine::{Artifact, Opening, QuarantineError, Span};
use datanode_schema::clock::date_of;
use datanode_schema::names::{Dataset, IncidentKind, IncidentLabel, Reason};
use datanode_schema::records::{HoldRecord, Incident};
use datanode_schema::registry::DatasetRule;
use datanode_schema::store::{Store, StoreError};
use datanode_schema::trees::INCIDENTS;
use serde::Serialize;
use std::collections::BTreeMap;

/// The answer of `qc.hold` and `qc.release`.
#[derive(Clone, Debug, Serialize)]
pub struct Said {
    /// The number of the act in the event files.
    pub act: u64,
    /// What was meant: dataset, symbol, days.
    pub what: String,
    /// What holds from now on, in words.
    pub now: String,
    /// Ledger pages whose verdicts changed.
    pub pages: u64,
    /// AMBER partitions that may ship by it.
    pub released: u64,
    /// Partitions that stay RED whatever a person says.
    pub still_red: u64,
}

/// An incident.
#[derive(Clone, Debug, Serialize)]
pub struct IncidentRow {
    /// Its number.
    pub id: u64,
    /// `open` or `closed`.
    pub state: &'static str,
    /// What it says of the artifact.
    pub label: &'static str,
    /// What it is about.
    pub kind: &'static str,
    /// Partitions, a pack, a file.
    pub artifact: String,
    /// What is wrong.
    pub note: String,
    /// What to use instead.
    pub replacement: Option<String>,
    /// What was seen.
    pub evidence: Option<String>,
    /// When it was opened.
    pub opened_at: Option<String>,
    /// By whom.
    pub opened_by: String,
    /// When it was closed.
    pub closed_at: Option<String>,
    /// By whom.
    pub closed_by: Option<String>,
    /// Why.
    pub closed_why: Option<String>,
    /// Whether its label changes verdicts; else it is recorded and shown.
    pub on_partitions: bool,
}

/// The answer of `incident.open` and `incident.close`.
#[derive(Clone, Debug, Serialize)]
pub struct IncidentDone {
    /// The incident as it stands.
    #[serde(flatten)]
    pub incident: IncidentRow,
    /// Ledger pages whose verdicts changed.
    pub pages: u64,
}

/// A hold or a release, in a line.
#[derive(Clone, Debug, Serialize)]
pub struct HoldRow {
    /// The number of the act.
    pub act: u64,
    /// `hold` or `release`.
    pub what: &'static str,
    /// First day; null: from the beginning.
    pub from: Option<String>,
    /// Last day; null: without end.
    pub to: Option<String>,
    /// When.
    pub at: Option<String>,
    /// Who.
    pub by: String,
    /// Why.
    pub why: String,
}

impl HoldRow {
    pub(super) fn of(act: u64, h: &HoldRecord) -> Self {
        Self {
            act,
            what: if h.holds { "hold" } else { "release" },
            from: (h.from != i32::MIN).then(|| date_of(h.from).to_string()),
            to: (h.to != i32::MAX).then(|| date_of(h.to).to_string()),
            at: time(h.at),
            by: h.by.clone(),
            why: h.why.clone(),
        }
    }
}

impl IncidentRow {
    pub(super) fn of(id: u64, i: &Incident) -> Self {
        Self {
            id,
            state: if i.is_open() { "open" } else { "closed" },
            label: IncidentLabel::from_number(i.label).map_or("unknown", IncidentLabel::name),
            kind: IncidentKind::from_number(i.kind).map_or("unknown", IncidentKind::name),
            artifact: i.artifact.clone(),
            note: i.note.clone(),
            replacement: text(&i.replacement),
            evidence: text(&i.evidence),
            opened_at: time(i.opened_at),
            opened_by: i.opened_by.clone(),
            closed_at: time(i.closed_at),
            closed_by: text(&i.closed_by),
            closed_why: text(&i.closed_why),
            on_partitions: Artifact::parse(&i.artifact).is_ok_and(|a| a.span().is_some()),
        }
    }
}

pub(super) fn refused(e: QuarantineError) -> AdminError {
    let code = match e {
        QuarantineError::Refused(_) => Code::BadArgs,
        QuarantineError::NotFound(_) => Code::NotFound,
        _ => Code::Failed,
    };
    AdminError::new(code, e.to_string())
}

/// The days that were given: `DATE`, or `--from` and `--to`, or all.
fn span(ctx: &AdminContext, a: &Args) -> Result<(Span, DatasetRule), AdminError> {
    let registry = (ctx.registry)();
    require_symbol(ctx, &registry, a)?;
    let (Some(dataset), Some(symbol)) = (a.dataset(), a.symbol()) else {
        return Err(AdminError::new(Code::BadArgs, "it needs DATASET and SYMBOL"));
    };
    let Some(rule) = registry.rule(dataset) else {
        return Err(not_found(format!("datasets.yaml has no {dataset}: add it there; `names` lists those it has")));
    };
    let (from, to) = match (a.day("date"), a.day("from"), a.day("to")) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            return Err(AdminError::new(
                Code::BadArgs,
                "DATE is one day, --from and --to are several: give one of them",
            ));
        }
        (Some(d), None, None) => (d, d),
        (None, from, to) => (from.unwrap_or(i32::MIN), to.unwrap_or(i32::MAX)),
    };
    if from > to {
        let (from, to) = (date_of(from), date_of(to));
        return Err(AdminError::new(Code::BadArgs, format!("--from {from} lies after --to {to}: swap them")));
    }
    Ok((Span { dataset, symbol: symbol.to_owned(), from, to }, rule.clone()))
}

fn in_words(s: &Span) -> String {
    let days = match (s.from, s.to) {
        (i32::MIN, i32::MAX) => "all days, those to come included".to_owned(),
        (from, i32::MAX) => format!("{} and later", date_of(from)),
        (i32::MIN, to) => format!("up to {}", date_of(to)),
        (from, to) if from == to => date_of(from).to_string(),
        (from, to) => format!("{} to {}", date_of(from), date_of(to)),
    };
    format!("{} {}, {days}", s.dataset, s.symbol)
}

pub(super) fn hold(ctx: &AdminContext, a: &Args, uid: u32) -> Result<Said, AdminError> {
    let (span, _) = span(ctx, a)?;
    let why = a.text("why").unwrap_or_default();
    let done = ctx.desk.node.acts.hold(&span, &format!("uid {uid}"), why).map_err(refused)?;
    let now = "RED (held): no pack takes these partitions until `qc release`".to_owned();
    Ok(Said { act: done.act, what: in_words(&span), now, pages: done.pages, released: 0, still_red: 0 })
}

pub(super) fn release(ctx: &AdminContext, a: &Args, uid: u32) -> Result<Said, AdminError> {
    let (span, rule) = span(ctx, a)?;
    let why = a.text("why").unwrap_or_default();
    let acts = &ctx.desk.node.acts;
    let (done, r) = acts.release(&span, rule.amber, &format!("uid {uid}"), why).map_err(refused)?;
    let mut now = Vec::new();
    if r.ends {
        now.push("the hold ends".to_owned());
    }
    if r.released > 0 {
        let lets = Reason::names(r.lets).join(", ");
        now.push(format!("AMBER may ship where its reasons are among {lets}; what comes up later is held back again"));
    }
    if let Some((day, reasons)) = r.first_red {
        let reasons = Reason::names(reasons).join(", ");
        now.push(format!("{} stay RED (first {}: {reasons}) and never ship", r.still_red, date_of(day)));
    }
    let (now, what) = (now.join("; "), in_words(&span));
    Ok(Said { act: done.act, what, now, pages: done.pages, released: r.released, still_red: r.still_red })
}

pub(super) fn open(ctx: &AdminContext, a: &Args, uid: u32) -> Result<IncidentDone, AdminError> {
    let missing = || AdminError::new(Code::BadArgs, "incident open needs ARTIFACT, --label, --kind and --note");
    let artifact = a.artifact().ok_or_else(missing)?;
    if let Some((dataset, symbol, ..)) = artifact.span() {
        known_symbol(ctx, dataset, symbol)?;
    }
    let given = |name: &str| a.text(name).unwrap_or_default().trim().to_owned();
    let what = Opening {
        artifact,
        kind: a.incident_kind().ok_or_else(missing)?,
        label: a.label().ok_or_else(missing)?,
        note: given("note"),
        replacement: given("replacement"),
        evidence: given("evidence"),
    };
    let done = ctx.desk.node.acts.open(&what, &format!("uid {uid}")).map_err(refused)?;
    one(&ctx.store, done.act, done.pages)
}

fn known_symbol(ctx: &AdminContext, dataset: Dataset, symbol: &str) -> Result<(), AdminError> {
    let mut given = serde_json::Map::new();
    given.insert("dataset".to_owned(), dataset.name().into());
    given.insert("symbol".to_owned(), symbol.into());
    let command = crate::admin::commands::find("qc.show")?;
    require_symbol(ctx, &(ctx.registry)(), &Args::check(command, given)?)
}

pub(super) fn close(ctx: &AdminContext, a: &Args, uid: u32) -> Result<IncidentDone, AdminError> {
    let id = a.number("incident").unwrap_or(0);
    let why = a.text("why").unwrap_or_default();
    let done = ctx.desk.node.acts.close(id, &format!("uid {uid}"), why).map_err(refused)?;
    one(&ctx.store, id, done.pages)
}

fn one(store: &Store, id: u64, pages: u64) -> Result<IncidentDone, AdminError> {
    let Some(i) = store.load(&INCIDENTS, &id)? else {
        return Err(not_found(format!("there is no incident {id}; `incident list` shows them")));
    };
    Ok(IncidentDone { incident: IncidentRow::of(id, &i), pages })
}

pub(super) fn show(ctx: &AdminContext, a: &Args) -> Result<IncidentRow, AdminError> {
    Ok(one(&ctx.store, a.number("incident").unwrap_or(0), 0)?.incident)
}

pub(super) fn list(ctx: &AdminContext, a: &Args) -> Result<Page<IncidentRow>, AdminError> {
    let mut page = Page::new(a);
    for (id, i) in ctx.store.load_all(&INCIDENTS, &[])?.into_iter().rev() {
        if i.is_open() || !a.is_set("open") {
            page.offer(|| IncidentRow::of(id, &i));
        }
    }
    Ok(page)
}

/// Open incidents by pack.
pub(super) fn of_packs(store: &Store) -> Result<BTreeMap<String, Vec<IncidentRow>>, StoreError> {
    let mut out: BTreeMap<String, Vec<IncidentRow>> = BTreeMap::new();
    for (id, i) in store.load_all(&INCIDENTS, &[])?.into_iter().filter(|(_, i)| i.is_open()) {
        if let Ok(Artifact::Pack(pack)) = Artifact::parse(&i.artifact) {
            out.entry(pack).or_default().push(IncidentRow::of(id, &i));
        }
    }
    Ok(out)
}
