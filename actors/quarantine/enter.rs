//! The three steps of an act: its line, its records, the ledger pages of its symbol.

use super::acts::{Acts, Done, LAST_ACT};
use super::manual::{Quarantine, reenter};
use super::{Artifact, QuarantineError};
use crate::qc::{PRICED, STATUS_DIRTY};
use datanode_schema::acts::{self, Line};
use datanode_schema::clock::day_number;
use datanode_schema::failpoint;
use datanode_schema::files;
use datanode_schema::keys::{HoldKey, PageKey, SeriesKey};
use datanode_schema::names::{Act, Dataset, IncidentKind, IncidentLabel, Reason};
use datanode_schema::records::{HoldRecord, Incident, LedgerPage, Pin};
use datanode_schema::store::{Batch, StoreError};
use datanode_schema::trees::{COUNTERS, HOLDS, INCIDENTS, LEDGER, PINS, UNRELATED};

/// Ledger pages of one commit.
const COMMIT: usize = 200;
/// How often pages are read again that a stage changed meanwhile.
const TRIES: u32 = 50;

impl Acts {
    /// Acts whose lines are written and that the store has not: a crash came between.
    pub(super) fn finish_written(&self) -> Result<u64, QuarantineError> {
        let known = self.last_act()?;
        let lines = acts::read_all(&self.data)?;
        self.compare(known, lines.len() as u64)?;
        let mut n = 0;
        for line in lines.iter().filter(|l| l.id > known) {
            tracing::warn!(act = line.id, what = %line.act, by = line.by, "an act that was written is finished");
            self.enter(line)?;
            n += 1;
        }
        Ok(n)
    }

    /// Writes a line and enters it. The caller has the turn.
    pub(super) fn act(&self, mut line: Line) -> Result<Done, QuarantineError> {
        self.finish_written()?;
        line.id = self.last_act()? + 1;
        let file = acts::file_of(&self.data, line.unix());
        let failed = |cause| QuarantineError::Io { path: file.display().to_string(), cause };
        let mut text = serde_json::to_vec(&line).map_err(std::io::Error::from).map_err(failed)?;
        text.push(b'\n');
        let mut out = files::Batch::new(self.data.root()).map_err(failed)?;
        out.append(file.clone(), text);
        out.publish().map_err(failed)?;
        failpoint::pass("acts.written");
        let pages = self.enter(&line)?;
        Ok(Done { act: line.id, pages })
    }

    /// Makes the store say what a line says, and the ledger of the symbol that it is about.
    fn enter(&self, line: &Line) -> Result<u64, QuarantineError> {
        let mut batch = Batch::new();
        let touched = self.put(line, &mut batch)?;
        batch.put(&COUNTERS, &LAST_ACT.to_owned(), &line.id)?;
        self.store.commit(batch)?;
        failpoint::pass("acts.entered");
        let Some((dataset, symbol)) = touched else { return Ok(0) };
        self.settle(&Quarantine::load(&self.store)?, dataset, &symbol)
    }

    /// Adds the records of a line; returns the symbol whose verdicts it may change.
    fn put(&self, line: &Line, batch: &mut Batch) -> Result<Option<(Dataset, String)>, QuarantineError> {
        let series = |a: &str| {
            let artifact = Artifact::parse(a).ok()?;
            artifact.span().map(|(d, s, _, _)| (d, s.to_owned()))
        };
        match line.act {
            Act::Hold | Act::Release => {
                let (Some(dataset), Some(symbol)) = (line.dataset, line.symbol.clone()) else { return Ok(None) };
                let key = HoldKey { dataset, symbol: symbol.clone(), act: line.id };
                batch.put(&HOLDS, &key, &record_of(line))?;
                Ok(Some((dataset, symbol)))
            }
            Act::IncidentOpen => {
                let incident = incident_of(line);
                batch.put(&INCIDENTS, &line.id, &incident)?;
                Ok(series(&incident.artifact))
            }
            Act::IncidentClose => {
                let id = line.incident.unwrap_or(0);
                let Some(mut incident) = self.store.load(&INCIDENTS, &id)? else { return Ok(None) };
                incident.closed_at = line.unix().max(1);
                incident.closed_by.clone_from(&line.by);
                incident.closed_why.clone_from(&line.why);
                batch.put(&INCIDENTS, &id, &incident)?;
                Ok(series(&incident.artifact))
            }
            Act::Pin | Act::Unpin => {
                let pack = line.artifact.clone().unwrap_or_default();
                if line.act == Act::Pin {
                    batch.put(&PINS, &pack, &Pin { at: line.unix(), by: line.by.clone(), note: line.why.clone() })?;
                } else {
                    batch.delete(&PINS, &pack);
                }
                Ok(None)
            }
        }
    }

    /// Enters what is said of one symbol into its ledger pages. A page that a stage changes meanwhile is read again.
    pub(super) fn settle(
        &self,
        quarantine: &Quarantine,
        dataset: Dataset,
        symbol: &str,
    ) -> Result<u64, QuarantineError> {
        let manual = quarantine.of(dataset, symbol);
        let mut written = 0;
        for _ in 0..TRIES {
            let mut changed: Vec<(PageKey, LedgerPage, LedgerPage)> = Vec::new();
            for (k, page) in self.store.load_all(&LEDGER, &SeriesKey::prefix(dataset, symbol))? {
                if let Some(new) = reenter(&page, k.month.first_day(), manual, self.now()) {
                    changed.push((k, page, new));
                }
            }
            if changed.is_empty() {
                return Ok(written);
            }
            for some in changed.chunks(COMMIT) {
                let mut batch = Batch::new();
                for (k, before, after) in some {
                    batch.guard(&LEDGER, k, Some(before))?.put(&LEDGER, k, after)?;
                    if k.dataset == Dataset::CorporateActions {
                        // What an action explains, or explains no more, is for the prices' verdicts to say.
                        for dataset in PRICED {
                            batch.put(&UNRELATED, &PageKey { dataset, ..k.clone() }, &self.now())?;
                        }
                    }
                }
                batch.put(&COUNTERS, &STATUS_DIRTY.to_owned(), &1)?;
                match self.store.commit(batch) {
                    Ok(_) => written += some.len() as u64,
                    Err(StoreError::Conflict { .. }) => break,
                    Err(e) => return Err(e.into()),
                }
            }
        }
        let busy =
            format!("the ledger of {dataset} {symbol} is being judged: what was said holds from the next pack on");
        tracing::warn!("{busy}");
        Ok(written)
    }
}

fn record_of(line: &Line) -> HoldRecord {
    let lets = Reason::ALL.iter().filter(|r| line.lets.iter().any(|n| n == r.name)).fold(0, |a, r| a | r.bit);
    HoldRecord {
        from: line.from.map_or(i32::MIN, day_number),
        to: line.to.map_or(i32::MAX, day_number),
        holds: line.act == Act::Hold,
        lets,
        at: line.unix(),
        by: line.by.clone(),
        why: line.why.clone(),
    }
}

/// What a line says of the incident that it opens.
pub(super) fn incident_of(line: &Line) -> Incident {
    Incident {
        kind: line.kind.map_or(0, IncidentKind::number),
        label: line.label.map_or(0, IncidentLabel::number),
        artifact: line.artifact.clone().unwrap_or_default(),
        note: line.why.clone(),
        replacement: line.replacement.clone().unwrap_or_default(),
        evidence: line.evidence.clone().unwrap_or_default(),
        opened_at: line.unix(),
        opened_by: line.by.clone(),
        closed_at: 0,
        closed_by: String::new(),
        closed_why: String::new(),
    }
}
