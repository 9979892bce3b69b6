//! Doing an act: first its line in the event file, durably; then the store; then the ledger.
//!
//! A crash after the line leaves an act that the files have and the store has not: the next start (and the next act) finds it by its
//! number and finishes it. A crash after the store's commit leaves ledger pages without what was said: [`Acts::settle`] enters it,
//! at the next start and before each pack. So an act whose line is written is done, one whose line is not never was.

use super::manual::{Quarantine, Release, weigh_release};
use super::{Artifact, QuarantineError, text};
use datanode_schema::acts::{self, BadEvents, Line};
use datanode_schema::clock::{Clock, date_of};
use datanode_schema::keys::SeriesKey;
use datanode_schema::names::{Act, Dataset, IncidentKind, IncidentLabel, Reason};
use datanode_schema::paths::DataDir;
use datanode_schema::registry::Amber;
use datanode_schema::store::{Store, StoreError};
use datanode_schema::trees::{COUNTERS, INCIDENTS, LEDGER, PACKS};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The number of the last act that the store has.
pub(super) const LAST_ACT: &str = "acts";

/// Who does what the node does by itself.
pub const NODE: &str = "node";

/// Days of one symbol: what a hold and a release are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The dataset.
    pub dataset: Dataset,
    /// The symbol or the series.
    pub symbol: String,
    /// First day number; `i32::MIN`: from the beginning.
    pub from: i32,
    /// Last day number; `i32::MAX`: without end.
    pub to: i32,
}

/// An incident that is to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// What it is about.
    pub artifact: Artifact,
    /// What kind it is.
    pub kind: IncidentKind,
    /// What it says of the artifact.
    pub label: IncidentLabel,
    /// What is wrong.
    pub note: String,
    /// What to use instead; may be empty.
    pub replacement: String,
    /// What was seen; may be empty.
    pub evidence: String,
}

/// What an act did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// The number of the act; of an incident that was opened, its number.
    pub act: u64,
    /// Ledger pages whose verdicts changed.
    pub pages: u64,
}

/// Everything that holds and incidents need; one a node, and clones of it.
#[derive(Clone)]
pub struct Acts {
    pub(super) store: Store,
    pub(super) data: DataDir,
    clock: Clock,
    turn: Arc<Mutex<()>>,
}

impl Acts {
    /// Over a node's store and folder.
    pub fn new(store: Store, data: DataDir, clock: Clock) -> Self {
        Self { store, data, clock, turn: Arc::default() }
    }

    /// The store that it writes to.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// While this stands, nothing is done by hand: for whoever must see one state (a pack).
    pub fn still(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finishes what a crash left: at the start of the node.
    ///
    /// # Errors
    /// The event files are damaged, or the store's. The node may run on; it packs nothing.
    pub fn catch_up(&self) -> Result<u64, QuarantineError> {
        let _turn = self.still();
        let n = self.finish_written()?;
        self.settle_all()?;
        Ok(n)
    }

    /// Holds days of a symbol back.
    ///
    /// # Errors
    /// [`QuarantineError`].
    pub fn hold(&self, span: &Span, by: &str, why: &str) -> Result<Done, QuarantineError> {
        let why = text::line("why", why)?;
        let _turn = self.still();
        self.act(of_span(Line::new(self.now(), by, Act::Hold, &why), span))
    }

    /// Ends a hold, and lets AMBER partitions pass where their dataset holds AMBER back (`amber`).
    ///
    /// # Errors
    /// [`QuarantineError::Refused`] where it would change nothing: a RED that a check or an incident gave is not released.
    pub fn release(&self, span: &Span, amber: Amber, by: &str, why: &str) -> Result<(Done, Release), QuarantineError> {
        let why = text::line("why", why)?;
        let _turn = self.still();
        self.finish_written()?;
        let quarantine = Quarantine::load(&self.store)?;
        let mut days = Vec::new();
        for (k, page) in self.store.load_all(&LEDGER, &SeriesKey::prefix(span.dataset, &span.symbol))? {
            days.extend(page.days(k.month.first_day()));
        }
        let what = quarantine.of(span.dataset, &span.symbol);
        let weighed = weigh_release(what, &days, (span.from, span.to), amber);
        if !weighed.ends && weighed.released == 0 {
            return Err(QuarantineError::Refused(not_released(span, &weighed)));
        }
        let mut line = of_span(Line::new(self.now(), by, Act::Release, &why), span);
        line.lets = Reason::names(weighed.lets).into_iter().map(str::to_owned).collect();
        Ok((self.act(line)?, weighed))
    }

    /// Opens an incident.
    ///
    /// # Errors
    /// [`QuarantineError::NotFound`] where the artifact does not exist, [`QuarantineError::Refused`] where an open one says the same.
    pub fn open(&self, what: &Opening, by: &str) -> Result<Done, QuarantineError> {
        let note = text::line("note", &what.note)?;
        for (name, t) in [("replacement", &what.replacement), ("evidence", &what.evidence)] {
            if !t.is_empty() {
                text::line(name, t)?;
            }
        }
        self.must_exist(&what.artifact)?;
        let _turn = self.still();
        self.finish_written()?;
        if let Some(id) = self.standing(what.kind, &what.artifact)? {
            let known =
                format!("incident {id} says so already; `incident show {id}` shows it, `incident close {id}` ends it");
            return Err(QuarantineError::Refused(known));
        }
        self.act(of_opening(Line::new(self.now(), by, Act::IncidentOpen, &note), what))
    }

    /// Closes an incident.
    ///
    /// # Errors
    /// [`QuarantineError::NotFound`], or [`QuarantineError::Refused`] where it is closed.
    pub fn close(&self, id: u64, by: &str, why: &str) -> Result<Done, QuarantineError> {
        let why = text::line("why", why)?;
        let _turn = self.still();
        self.finish_written()?;
        let Some(incident) = self.store.load(&INCIDENTS, &id)? else {
            return Err(QuarantineError::NotFound(format!("there is no incident {id}; `incident list` shows them")));
        };
        if !incident.is_open() {
            return Err(QuarantineError::Refused(format!(
                "incident {id} is closed already; `incident show {id}` says why"
            )));
        }
        let mut line = Line::new(self.now(), by, Act::IncidentClose, &why);
        line.incident = Some(id);
        self.act(line)
    }

    /// The node has seen one of the minimum list: opens an incident where none is open for this kind and artifact. What cannot be
    /// recorded is logged, and stops nobody's work: damaged event files stop the next pack.
    pub fn report(&self, what: Opening) {
        let mut what = what;
        for t in [&mut what.note, &mut what.replacement, &mut what.evidence] {
            *t = text::clip(t);
        }
        let _turn = self.still();
        let open = || -> Result<Option<Done>, QuarantineError> {
            if self.standing(what.kind, &what.artifact)?.is_some() {
                return Ok(None);
            }
            self.act(of_opening(Line::new(self.now(), NODE, Act::IncidentOpen, &what.note), &what)).map(Some)
        };
        match open() {
            Ok(None) => {}
            Ok(Some(done)) => {
                tracing::warn!(incident = done.act, kind = %what.kind, artifact = %what.artifact, note = what.note, "an incident is opened");
            }
            Err(e) => {
                tracing::error!(error = %e, kind = %what.kind, artifact = %what.artifact, note = what.note, "an incident could not be recorded");
            }
        }
    }

    /// What the node reported holds no longer: closes the incident that it opened itself, where one is open.
    pub fn mended(&self, kind: IncidentKind, artifact: &Artifact, why: &str) {
        let _turn = self.still();
        let close = || -> Result<(), QuarantineError> {
            let Some(id) = self.standing(kind, artifact)? else { return Ok(()) };
            if self.store.load(&INCIDENTS, &id)?.is_none_or(|i| i.opened_by != NODE) {
                return Ok(());
            }
            let mut line = Line::new(self.now(), NODE, Act::IncidentClose, &text::clip(why));
            line.incident = Some(id);
            self.act(line).map(|_| ())
        };
        if let Err(e) = close() {
            tracing::error!(error = %e, %kind, %artifact, "an incident could not be closed");
        }
    }

    /// Enters into the ledger whatever is said by hand and is not there: a stage that judged meanwhile may have written over it.
    /// Returns the pages that changed. Call it under [`Acts::still`] where nothing may be done by hand until a later step.
    ///
    /// # Errors
    /// The store's.
    pub fn settle_all(&self) -> Result<u64, QuarantineError> {
        let quarantine = Quarantine::load(&self.store)?;
        let mut pages = 0;
        for (dataset, symbol, _) in quarantine.symbols() {
            pages += self.settle(&quarantine, dataset, symbol)?;
        }
        Ok(pages)
    }

    /// Whether the event files say what the store knows.
    ///
    /// # Errors
    /// [`BadEvents`], or the store's.
    pub fn check(&self) -> Result<(), QuarantineError> {
        let (known, lines) = (self.last_act()?, acts::read_all(&self.data)?);
        self.compare(known, lines.len() as u64)
    }

    pub(super) fn compare(&self, known: u64, written: u64) -> Result<(), QuarantineError> {
        if known <= written {
            return Ok(());
        }
        let cause = format!("act {known} was done, and the files end with act {written}");
        Err(BadEvents { file: self.data.events(), line: 0, cause }.into())
    }

    pub(super) fn now(&self) -> i64 {
        self.clock.now().timestamp()
    }

    pub(super) fn last_act(&self) -> Result<u64, StoreError> {
        Ok(self.store.load(&COUNTERS, &LAST_ACT.to_owned())?.unwrap_or(0))
    }

    /// The open incident of this kind and artifact.
    fn standing(&self, kind: IncidentKind, artifact: &Artifact) -> Result<Option<u64>, StoreError> {
        let (kind, artifact) = (kind.number(), artifact.to_string());
        let all = self.store.load_all(&INCIDENTS, &[])?;
        Ok(all.into_iter().find(|(_, i)| i.is_open() && i.kind == kind && i.artifact == artifact).map(|(id, _)| id))
    }

    fn must_exist(&self, artifact: &Artifact) -> Result<(), QuarantineError> {
        match artifact {
            Artifact::Pack(id) if self.store.load(&PACKS, id)?.is_none() => {
                Err(QuarantineError::NotFound(format!("there is no pack {id}; `packs` lists them")))
            }
            Artifact::File(path) => {
                let layer = self.data.root().join("data_layer");
                let real = |p: &Path| p.canonicalize().ok();
                let inside =
                    real(&layer).zip(real(&layer.join(path))).is_some_and(|(l, f)| f.starts_with(l) && f.is_file());
                if inside { Ok(()) } else { Err(QuarantineError::NotFound(format!("data_layer has no file {path}"))) }
            }
            _ => Ok(()),
        }
    }
}

fn of_span(mut line: Line, span: &Span) -> Line {
    line.dataset = Some(span.dataset);
    line.symbol = Some(span.symbol.clone());
    line.from = (span.from != i32::MIN).then(|| date_of(span.from));
    line.to = (span.to != i32::MAX).then(|| date_of(span.to));
    line
}

fn of_opening(mut line: Line, what: &Opening) -> Line {
    let given = |t: &String| (!t.is_empty()).then(|| t.clone());
    line.artifact = Some(what.artifact.to_string());
    line.kind = Some(what.kind);
    line.label = Some(what.label);
    line.replacement = given(&what.replacement);
    line.evidence = given(&what.evidence);
    line
}

fn not_released(span: &Span, weighed: &Release) -> String {
    let of = format!("{} {}", span.dataset, span.symbol);
    match weighed.first_red {
        Some((day, reasons)) if reasons & Reason::INCIDENT_INVALID.bit != 0 => format!(
            "{of} on {} is labelled invalid by an incident, and RED never ships: close the incident (`incident list --open`)",
            date_of(day)
        ),
        Some((day, reasons)) => format!(
            "{of} on {} is RED ({}), and RED never ships: mend the data (`queue retry {of} {}` asks again) and let it be judged",
            date_of(day),
            Reason::names(reasons).join(", "),
            date_of(day),
        ),
        None => format!("nothing of {of} is held back on these days; `qc show {of}` shows its verdicts"),
    }
}
