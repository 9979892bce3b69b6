//! Keeping one answer.

use super::merge::merge;
use super::versions::keep_version;
use super::{RawError, forget, holding_day};
use crate::frame::{Cell, Origin, Table, encode_raw, read_raw, session_day};
use crate::node::{Node, RunContext};
use crate::quarantine::seen;
use crate::queue::Claimed;
use crate::vendor::actor::VendorCounters;
use crate::vendor::{Ask, Fetched, SymbolRows};
use chrono::{Datelike, NaiveDate};
use datanode_schema::clock::{date_of, day_number, rfc3339};
use datanode_schema::files::{self, sha256_hex};
use datanode_schema::keys::{SeriesKey, TouchedKey};
use datanode_schema::manifest::{self, Line, Rejected, Written};
use datanode_schema::names::Outcome;
use datanode_schema::paths::{DataDir, Grain};
use datanode_schema::records::{HoldingDay, bits};
use datanode_schema::registry::{DatasetRule, Registry};
use datanode_schema::store::{Batch, StoreError};
use datanode_schema::trees::{HOLDINGS, LEASES, RESTATING, TOUCHED};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Keeps an answer. Blocking.
///
/// # Errors
/// [`RawError`]; the answer then is not kept, and its lease ends by itself.
pub fn keep(node: &Node, run: &RunContext, claimed: &Claimed, fetched: Fetched) -> Result<VendorCounters, RawError> {
    let registry = node.registry();
    let Some(rule) = registry.rule(fetched.ask.dataset) else { return Ok(VendorCounters::default()) };
    let late = VendorCounters { claims: 1, requests: u64::from(fetched.pages), dropped: 1, ..Default::default() };
    // Looked at before any file is written, and judged again by the commit's guard.
    let stands = node.store.load(&LEASES, &claimed.id)?.as_ref() == Some(&claimed.lease);
    if !node.queue.hold(claimed.id) || !stands {
        tracing::warn!(lease = claimed.id, "a late answer is dropped: its lease no longer stands");
        return Ok(late);
    }
    let mut k = Keeping {
        node,
        run,
        registry: &registry,
        rule,
        files: files::Batch::new(node.data.root()).map_err(io(node.data.root()))?,
        batch: Batch::new(),
        counters: VendorCounters {
            claims: 1,
            requests: u64::from(fetched.pages),
            bytes: fetched.bytes,
            rejected: fetched.rejects.rows,
            ..Default::default()
        },
        touched: BTreeSet::new(),
        restating: Batch::new(),
    };
    k.batch.guard(&LEASES, &claimed.id, Some(&claimed.lease))?;
    k.batch.delete(&LEASES, &claimed.id);
    k.answer(fetched)?;
    let Keeping { files, batch, counters, restating, .. } = k;
    if !restating.is_empty() {
        node.store.commit(restating)?;
    }
    files.publish().map_err(io(node.data.root()))?;
    match node.store.commit(batch) {
        Ok(_) => Ok(counters),
        Err(StoreError::Conflict { .. }) => Ok(late),
        Err(e) => Err(e.into()),
    }
}

pub(super) struct Keeping<'a> {
    pub(super) node: &'a Node,
    pub(super) run: &'a RunContext,
    pub(super) registry: &'a Registry,
    pub(super) rule: &'a DatasetRule,
    pub(super) files: files::Batch,
    pub(super) batch: Batch,
    pub(super) counters: VendorCounters,
    pub(super) touched: BTreeSet<TouchedKey>,
    /// What is to be in the store before the files are others.
    restating: Batch,
}

/// One symbol's part of an answer, on its way.
pub(super) struct Part {
    pub(super) symbol: String,
    pub(super) request_id: String,
    pub(super) rows: u64,
    pub(super) restated: u64,
    pub(super) duplicates: u64,
    pub(super) empty_sessions: u64,
    pub(super) files: Vec<Written>,
    pub(super) held: BTreeMap<i32, HoldingDay>,
}

impl Keeping<'_> {
    fn answer(&mut self, mut fetched: Fetched) -> Result<(), RawError> {
        if let Some(r) = &fetched.refusal {
            self.counters.refusals += 1;
            tracing::info!(vendor = %fetched.ask.vendor, dataset = %fetched.ask.dataset, outcome = %r.outcome, note = r.note, "no answer");
        }
        let ask = fetched.ask.clone();
        let kept = self.keep_bodies(&ask, &fetched)?;
        let unparsable = fetched.refusal.as_ref().filter(|r| r.outcome == Outcome::Unparsable).map(|r| r.note.as_str());
        if let Some(why) = unparsable.or((fetched.rejects.rows > 0).then_some(fetched.rejects.first.as_str())) {
            seen::unexpected_answer(&self.node.acts, ask.vendor, ask.dataset, why, &kept);
        }
        for symbol in &ask.symbols {
            let rows = fetched.rows.remove(symbol).unwrap_or_default();
            let part = self.symbol(&ask, symbol, rows)?;
            let outcome = self.outcome(&fetched, &part);
            self.bookkeep(&ask, &part, fetched.refusal.as_ref(), outcome)?;
            self.line(&ask, &fetched, &part, outcome, &kept);
            self.counters.rows += part.rows;
            self.counters.restated += part.restated;
            self.counters.duplicates += part.duplicates;
            self.counters.empty_sessions += part.empty_sessions;
        }
        let now = self.node.clock.now().timestamp();
        for t in std::mem::take(&mut self.touched) {
            self.batch.put(&TOUCHED, &t, &now)?;
        }
        Ok(())
    }

    fn outcome(&self, fetched: &Fetched, part: &Part) -> Outcome {
        match (&fetched.refusal, part.rows, part.empty_sessions) {
            (Some(r), _, _) => r.outcome,
            (None, 0, _) => Outcome::Empty,
            (None, _, 0) => Outcome::Filled,
            (None, _, _) => Outcome::Short,
        }
    }

    /// Merges one symbol's rows into its raw files.
    fn symbol(&mut self, ask: &Ask, symbol: &str, rows: SymbolRows) -> Result<Part, RawError> {
        let request_id = ask.request_id(&self.run.id, symbol);
        let mut part = Part {
            symbol: symbol.to_owned(),
            rows: rows.len() as u64,
            restated: 0,
            duplicates: 0,
            empty_sessions: 0,
            files: Vec::new(),
            held: BTreeMap::new(),
            request_id,
        };
        let origin =
            Origin { vendor: ask.vendor, feed: ask.feed.as_str().into(), request_id: part.request_id.as_str().into() };
        let mut by_file: BTreeMap<String, SymbolRows> = BTreeMap::new();
        let mut days: BTreeSet<i32> = BTreeSet::new();
        let mut rows = rows.into_iter().peekable();
        while let Some(first) = rows.next() {
            let day = session_day(ask.dataset, first.0);
            days.insert(day);
            let file = DataDir::raw_file(ask.vendor, ask.dataset, self.rule.grain, symbol, date_of(day))?;
            // The rows of a day come together: its path is made and looked for once.
            let list = by_file.entry(file).or_default();
            list.push(first);
            while let Some(row) = rows.next_if(|(when, _)| session_day(ask.dataset, *when) == day) {
                list.push(row);
            }
        }
        for (file, rows) in by_file {
            self.file(ask, &mut part, &days, file, rows, &origin)?;
        }
        part.empty_sessions = self.sessions_asked(ask).iter().filter(|d| !days.contains(d)).count() as u64;
        Ok(part)
    }

    fn sessions_asked(&self, ask: &Ask) -> Vec<i32> {
        if ask.days.is_empty() {
            self.rule.calendar().session_dates(ask.from, ask.to).into_iter().map(day_number).collect()
        } else {
            ask.days.clone()
        }
    }

    fn file(
        &mut self,
        ask: &Ask,
        part: &mut Part,
        days: &BTreeSet<i32>,
        file: String,
        rows: Vec<(i64, Cell)>,
        origin: &Origin,
    ) -> Result<(), RawError> {
        let target = self.node.data.raw().join(&file);
        let first = rows.first().map_or(ask.from, |(when, _)| date_of(session_day(ask.dataset, *when)));
        let lost = |cause: &str| forget(self.node, self.rule, ask.vendor, ask.dataset, &part.symbol, first, cause);
        let known = self.days_held(ask, &part.symbol, first)?;
        let mut table = if target.is_file() {
            match read_raw(&target, ask.dataset, ask.vendor) {
                Ok(t) => t,
                Err(e) => lost(&e.cause)?,
            }
        } else if !known.is_empty() {
            lost("the file is gone")?
        } else {
            Table::default()
        };
        // A kill left rows of an answer that was never kept: no line names their request, and this answer says them again, or the
        // next one does.
        table.rows.retain(|r| known.contains(&session_day(ask.dataset, r.when)));
        let merged = merge(&mut table, rows, origin);
        part.restated += merged.restated;
        part.duplicates += merged.duplicates_at.len() as u64;
        // Sessions that an answer restated whose commit a kill prevented: whoever comes next to the file keeps them with its own.
        let pending = self.restating_before(ask, &file)?;
        let days: BTreeSet<i32> = days.union(&pending).copied().collect();
        self.hold(ask, part, &days, &table);
        let day = |when: &i64| session_day(ask.dataset, *when);
        for d in merged.duplicates_at.iter().map(day) {
            if let Some(h) = part.held.get_mut(&d) {
                h.duplicates += 1;
            }
        }
        let restated: Vec<i32> = merged.restated_at.iter().map(day).collect();
        self.note_restated(ask, part, &file, &restated, pending)?;
        if merged.new == 0 && merged.restated == 0 {
            // A kill may have come between this very file and the line that was to name it: then this line is the only one.
            let (sum, _) = files::sha256_file(&target).map_err(io(&target))?;
            part.files.push(Written { path: file, sha256: hex::encode(sum) });
            return Ok(());
        }
        if merged.restated > 0 {
            keep_version(&target)?;
        }
        let bytes = encode_raw(&file, ask.dataset, &table)?;
        part.files.push(Written { path: file, sha256: sha256_hex(&bytes) });
        self.files.add(target, &bytes).map_err(io(self.node.data.root()))?;
        Ok(())
    }

    /// Notes which sessions are restated. It is in the store before the file is another: after a kill in between the values would
    /// only say the same again.
    fn note_restated(
        &mut self,
        ask: &Ask,
        part: &mut Part,
        file: &str,
        days: &[i32],
        pending: BTreeSet<i32>,
    ) -> Result<(), RawError> {
        let key = TouchedKey { dataset: ask.dataset, path: file.to_owned() };
        let mut all = pending;
        all.extend(days);
        if all.is_empty() {
            return Ok(());
        }
        for d in &all {
            let rows = days.iter().filter(|x| *x == d).count().max(1);
            if let Some(h) = part.held.get_mut(d) {
                h.restated = u32::try_from(rows).unwrap_or(u32::MAX);
            }
        }
        // A year of sessions at six bytes fits a record.
        let text: Vec<String> = all.iter().map(i32::to_string).collect();
        self.restating.put(&RESTATING, &key, &text.join(","))?;
        self.batch.delete(&RESTATING, &key);
        Ok(())
    }

    /// The sessions that are noted as restated in a file.
    fn restating_before(&self, ask: &Ask, file: &str) -> Result<BTreeSet<i32>, RawError> {
        let key = TouchedKey { dataset: ask.dataset, path: file.to_owned() };
        let text = self.node.store.load(&RESTATING, &key)?.unwrap_or_default();
        Ok(text.split(',').filter_map(|d| d.parse::<i32>().ok()).collect())
    }

    /// The days of which the raw file of `date` has rows, as the holdings say.
    fn days_held(&self, ask: &Ask, symbol: &str, date: NaiveDate) -> Result<BTreeSet<i32>, RawError> {
        let mut held = BTreeSet::new();
        let here = |day: &i32| match self.rule.grain {
            Grain::Day => *day == day_number(date),
            Grain::Year => date_of(*day).year() == date.year(),
        };
        self.node.store.scan(&HOLDINGS, &SeriesKey::prefix(ask.dataset, symbol), |k, page| {
            if k.vendor == ask.vendor {
                let first = k.month.first_day();
                held.extend(bits(page.days_with_rows()).map(|n| first + n).filter(here));
            }
            ControlFlow::Continue(())
        })?;
        Ok(held)
    }

    /// Notes what the touched sessions of a file now hold.
    fn hold(&mut self, ask: &Ask, part: &mut Part, days: &BTreeSet<i32>, table: &Table) {
        let mut stamps: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
        for r in &table.rows {
            let day = session_day(ask.dataset, r.when);
            if days.contains(&day) {
                stamps.entry(day).or_default().push(r.when);
            }
        }
        for (day, stamps) in stamps {
            part.held.insert(day, holding_day(ask.dataset, self.rule.calendar(), day, &stamps));
            let path = DataDir::curated_file(ask.dataset, self.rule.curated, date_of(day));
            self.touched.insert(TouchedKey { dataset: ask.dataset, path });
        }
    }

    /// Keeps bodies of which not everything was taken; returns their paths below `rejects`.
    fn keep_bodies(&mut self, ask: &Ask, fetched: &Fetched) -> Result<Vec<String>, RawError> {
        let mut out = Vec::new();
        let first = ask.symbols.first().map_or("", String::as_str);
        for (i, body) in fetched.kept_bodies.iter().enumerate() {
            let name = format!("{}/{}/{}-{i}.body", ask.vendor, ask.dataset, ask.request_id(&self.run.id, first));
            self.files.add(self.node.data.rejects().join(&name), body).map_err(io(&self.node.data.rejects()))?;
            out.push(name);
        }
        Ok(out)
    }

    fn line(&mut self, ask: &Ask, fetched: &Fetched, part: &Part, outcome: Outcome, kept: &[String]) {
        let why = match &fetched.refusal {
            Some(r) => r.note.clone(),
            None => fetched.rejects.first.clone(),
        };
        let of = |path: &String| Rejected { rows: fetched.rejects.rows, why: why.clone(), path: path.clone() };
        let mut rejected: Vec<Rejected> = kept.iter().map(of).collect();
        if rejected.is_empty() && fetched.rejects.rows > 0 {
            // Too large, or a file of the owner's: counted all the same.
            rejected.push(of(&String::new()));
        }
        let line = Line {
            v: manifest::VERSION,
            run: self.run.id.clone(),
            request_id: part.request_id.clone(),
            vendor: ask.vendor,
            dataset: ask.dataset,
            symbol: part.symbol.clone(),
            from: ask.from,
            to: ask.to,
            purpose: ask.purpose.name().to_owned(),
            feed: ask.feed.clone(),
            adjustment: ask.adjustment.clone(),
            fetched_at: rfc3339(fetched.fetched_at),
            outcome,
            rows: part.rows,
            empty_sessions: part.empty_sessions,
            restated: part.restated,
            duplicates: part.duplicates,
            pages: fetched.pages,
            bytes: fetched.bytes,
            body_blake3: fetched.body_blake3.clone(),
            files: part.files.clone(),
            rejected,
            note: why,
        };
        let Ok(mut text) = serde_json::to_vec(&line) else { return };
        text.push(b'\n');
        self.files.append(manifest::file_of(&self.node.data, ask.vendor, ask.dataset, &self.run.id), text);
    }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> RawError {
    let path: PathBuf = path.to_owned();
    move |cause| RawError::Io { path: path.display().to_string(), cause }
}
