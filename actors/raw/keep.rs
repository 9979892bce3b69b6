//! Keeping one answer.

use super::evidence::{Said, weigh};
use super::merge::merge;
use super::versions::keep_version;
use super::{RawError, forget, holding_day};
use crate::frame::{Cell, Origin, Table, encode_raw, read_raw, session_day};
use crate::node::{Node, RunContext};
use crate::queue::{Claimed, window};
use crate::vendor::actor::VendorCounters;
use crate::vendor::{Ask, Fetched, Purpose, Refusal, SymbolRows};
use datanode_schema::clock::{date_of, day_number, rfc3339};
use datanode_schema::files::{self, sha256_hex};
use datanode_schema::keys::{BookmarkKey, HoldingKey, Month, PageKey, SeriesKey, TouchedKey};
use datanode_schema::manifest::{self, Line, Rejected, Written};
use datanode_schema::names::{Absence, Outcome, Vendor};
use datanode_schema::paths::DataDir;
use datanode_schema::records::{Bookmark, Demotions, GapPage, Holding, HoldingDay};
use datanode_schema::registry::{Cadence, DatasetRule, Registry};
use datanode_schema::store::{Batch, StoreError};
use datanode_schema::trees::{BOOKMARKS, DEMOTIONS, GAPS, HOLDINGS, LEASES, TOUCHED};
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
    if node.store.load(&LEASES, &claimed.id)?.as_ref() != Some(&claimed.lease) {
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
    };
    k.batch.guard(&LEASES, &claimed.id, Some(&claimed.lease))?;
    k.batch.delete(&LEASES, &claimed.id);
    k.answer(fetched)?;
    let Keeping { files, batch, counters, .. } = k;
    files.publish().map_err(io(node.data.root()))?;
    match node.store.commit(batch) {
        Ok(_) => Ok(counters),
        Err(StoreError::Conflict { .. }) => Ok(late),
        Err(e) => Err(e.into()),
    }
}

struct Keeping<'a> {
    node: &'a Node,
    run: &'a RunContext,
    registry: &'a Registry,
    rule: &'a DatasetRule,
    files: files::Batch,
    batch: Batch,
    counters: VendorCounters,
    touched: BTreeSet<TouchedKey>,
}

/// One symbol's part of an answer, on its way.
struct Part {
    symbol: String,
    request_id: String,
    rows: u64,
    restated: u64,
    empty_sessions: u64,
    files: Vec<Written>,
    held: BTreeMap<i32, HoldingDay>,
}

impl Keeping<'_> {
    fn answer(&mut self, mut fetched: Fetched) -> Result<(), RawError> {
        if let Some(r) = &fetched.refusal {
            self.counters.refusals += 1;
            tracing::info!(vendor = %fetched.ask.vendor, dataset = %fetched.ask.dataset, outcome = %r.outcome, note = r.note, "no answer");
        }
        let ask = fetched.ask.clone();
        let kept = self.keep_bodies(&ask, &fetched)?;
        for symbol in &ask.symbols {
            let rows = fetched.rows.remove(symbol).unwrap_or_default();
            let part = self.symbol(&ask, symbol, rows)?;
            let outcome = self.outcome(&fetched, &part);
            self.bookkeep(&ask, &part, fetched.refusal.as_ref(), outcome)?;
            self.line(&ask, &fetched, &part, outcome, &kept);
            self.counters.rows += part.rows;
            self.counters.restated += part.restated;
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
            empty_sessions: 0,
            files: Vec::new(),
            held: BTreeMap::new(),
            request_id,
        };
        let origin =
            Origin { vendor: ask.vendor, feed: ask.feed.as_str().into(), request_id: part.request_id.as_str().into() };
        let mut by_file: BTreeMap<String, SymbolRows> = BTreeMap::new();
        let mut days: BTreeSet<i32> = BTreeSet::new();
        for (when, cell) in rows {
            let day = session_day(ask.dataset, when);
            days.insert(day);
            let file = DataDir::raw_file(ask.vendor, ask.dataset, self.rule.grain, symbol, date_of(day))?;
            by_file.entry(file).or_default().push((when, cell));
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
        let mut table = if target.is_file() {
            match read_raw(&target, ask.dataset, ask.vendor) {
                Ok(t) => t,
                Err(e) => lost(&e.cause)?,
            }
        } else if self.is_held(ask, &part.symbol, &file)? {
            lost("the file is gone")?
        } else {
            Table::default()
        };
        let merged = merge(&mut table, rows, origin);
        part.restated += merged.restated;
        self.hold(ask, part, days, &table);
        if merged.new == 0 && merged.restated == 0 {
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

    /// Whether the holdings say that a raw file has rows.
    fn is_held(&self, ask: &Ask, symbol: &str, file: &str) -> Result<bool, RawError> {
        let mut held = false;
        self.node.store.scan(&HOLDINGS, &SeriesKey::prefix(ask.dataset, symbol), |k, page| {
            let here = |day: i32| {
                DataDir::raw_file(k.vendor, k.dataset, self.rule.grain, symbol, date_of(day)).is_ok_and(|f| f == file)
            };
            held = k.vendor == ask.vendor && page.days.iter().any(|d| here(d.day.to_native()));
            if held { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
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

    /// Moves bookmark, holdings, demotion and tasks of one symbol.
    fn bookkeep(
        &mut self,
        ask: &Ask,
        part: &Part,
        refusal: Option<&Refusal>,
        outcome: Outcome,
    ) -> Result<(), RawError> {
        let key = BookmarkKey { dataset: ask.dataset, symbol: part.symbol.clone(), vendor: ask.vendor };
        let now = self.node.clock.now().timestamp();
        match outcome {
            Outcome::Filled | Outcome::Short | Outcome::Empty => {
                let mut b: Bookmark = self.node.store.load(&BOOKMARKS, &key)?.unwrap_or_default();
                self.cover(ask, part, &mut b);
                if ask.purpose == Purpose::Lookback {
                    b.looked_at = now;
                }
                b.rows += part.rows;
                b.answers += 1;
                b.restated += part.restated;
                b.updated_at = now;
                self.batch.put(&BOOKMARKS, &key, &b)?;
                if let Some(mut d) = self.node.store.load(&DEMOTIONS, &key)? {
                    d.forgive(day_number(ask.from), day_number(ask.to));
                    self.put_demotions(&key, &d)?;
                }
            }
            Outcome::NotEntitled | Outcome::Refused => {
                // A refusal of days to come says nothing about the vendor.
                let today = self.node.clock.now().date_naive();
                // A refused key says nothing about the symbol: the vendor is left alone by the dispatcher.
                // Of several symbols perhaps one is meant: the dispatcher asks for each alone, and then it is known.
                let certain = |r: &&Refusal| ask.symbols.len() == 1 || r.is_of_window();
                if let Some(r) = refusal.filter(|r| ask.to < today && !r.is_of_key()).filter(certain) {
                    let mut d: Demotions = self.node.store.load(&DEMOTIONS, &key)?.unwrap_or_default();
                    let (from, to) = if r.is_of_symbol() {
                        (i32::MIN, i32::MAX)
                    } else {
                        (day_number(ask.from), day_number(ask.to))
                    };
                    d.refuse(from, to, now, &r.note);
                    self.put_demotions(&key, &d)?;
                }
            }
            Outcome::RateLimited | Outcome::Error | Outcome::Unparsable => {}
        }
        self.put_holdings(ask, part)?;
        self.weigh_tasks(ask, part, outcome)
    }

    /// The bookmark moves only over what was received: sessions that came, and for events the whole window, since "no
    /// event" is what was received.
    fn cover(&self, ask: &Ask, part: &Part, b: &mut Bookmark) {
        if self.rule.cadence == Cadence::Event {
            if ask.days.is_empty() {
                b.cover(day_number(ask.from), day_number(ask.to));
            }
            ask.days.iter().for_each(|d| b.cover(*d, *d));
            return;
        }
        let mut before: Option<i32> = None;
        for day in part.held.keys() {
            // What lies between two sessions that follow each other has no session to receive.
            let next = |b: i32| self.rule.calendar().count(date_of(b), date_of(*day)) <= 2;
            b.cover(before.filter(|b| next(*b)).unwrap_or(*day), *day);
            before = Some(*day);
        }
    }

    fn put_demotions(&mut self, key: &BookmarkKey, d: &Demotions) -> Result<(), RawError> {
        if d.windows.is_empty() {
            self.batch.delete(&DEMOTIONS, key);
        } else {
            self.batch.put(&DEMOTIONS, key, d)?;
        }
        Ok(())
    }

    fn put_holdings(&mut self, ask: &Ask, part: &Part) -> Result<(), RawError> {
        let mut months: BTreeMap<Month, Vec<HoldingDay>> = BTreeMap::new();
        for h in part.held.values() {
            months.entry(Month::of(date_of(h.day))).or_default().push(*h);
        }
        for (month, days) in months {
            let key = HoldingKey { dataset: ask.dataset, symbol: part.symbol.clone(), month, vendor: ask.vendor };
            let mut page: Holding = self.node.store.load(&HOLDINGS, &key)?.unwrap_or_default();
            page.days.retain(|d| !part.held.contains_key(&d.day));
            page.days.extend(days);
            page.days.sort_by_key(|d| d.day);
            self.batch.put(&HOLDINGS, &key, &page)?;
        }
        Ok(())
    }

    fn weigh_tasks(&mut self, ask: &Ask, part: &Part, outcome: Outcome) -> Result<(), RawError> {
        if ask.purpose == Purpose::Lookback {
            return Ok(());
        }
        let ranked: Vec<(Vendor, (i32, i32))> = self
            .registry
            .ranked(ask.dataset)
            .into_iter()
            .filter(|(v, _)| self.node.enabled.contains(v))
            .map(|(v, c)| (v, window(c, self.node.clock.now())))
            .collect();
        let mut demoted: BTreeMap<Vendor, Demotions> = BTreeMap::new();
        for (v, _) in &ranked {
            let key = BookmarkKey { dataset: ask.dataset, symbol: part.symbol.clone(), vendor: *v };
            if let Some(d) = self.node.store.load(&DEMOTIONS, &key)? {
                demoted.insert(*v, d);
            }
        }
        let now = self.node.clock.now().timestamp();
        let (from, to) = (day_number(ask.from), day_number(ask.to));
        for month in Month::of(ask.from).0..=Month::of(ask.to).0 {
            let key = PageKey { dataset: ask.dataset, symbol: part.symbol.clone(), month: Month(month) };
            let Some(page) = self.node.store.load(&GAPS, &key)? else { continue };
            let first = key.month.first_day();
            let mut after = Vec::new();
            for task in page.tasks(first) {
                let open = matches!(
                    Absence::from_number(task.state),
                    Some(Absence::Missing | Absence::Short | Absence::Pending)
                );
                if task.day < from || task.day > to || !ask.wants(task.day) || !open {
                    after.push(task);
                    continue;
                }
                if self.rule.cadence == Cadence::Event
                    && matches!(outcome, Outcome::Filled | Outcome::Short | Outcome::Empty)
                {
                    continue;
                }
                let session = self.rule.calendar().session(date_of(task.day));
                let asked = |(v, w): &&(Vendor, (i32, i32))| {
                    w.0 <= task.day && task.day <= w.1 && demoted.get(v).is_none_or(|d| !d.refuses(task.day, now))
                };
                let said = Said {
                    vendor: ask.vendor,
                    outcome,
                    held: part.held.get(&task.day),
                    session: session.as_ref(),
                    today: self.run.today(),
                    vendors: ranked.iter().filter(asked).count(),
                };
                after.extend(weigh(self.rule, &task, &said));
            }
            self.put_page(key, &page, GapPage::pack(first, after))?;
        }
        Ok(())
    }

    fn put_page(&mut self, key: PageKey, before: &GapPage, after: GapPage) -> Result<(), RawError> {
        if after.groups.is_empty() {
            self.batch.delete(&GAPS, &key);
        } else if after != *before {
            self.batch.put(&GAPS, &key, &after)?;
        }
        Ok(())
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
