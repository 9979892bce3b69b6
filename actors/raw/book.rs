//! What one symbol's part of an answer moves: bookmark, holdings, demotions, tasks.

use super::RawError;
use super::evidence::{Said, weigh};
use super::keep::{Keeping, Part};
use crate::audit;
use crate::queue::{bit, window};
use crate::vendor::{Ask, Purpose, Refusal};
use datanode_schema::clock::{date_of, day_number};
use datanode_schema::keys::{BookmarkKey, EVERY_SYMBOL, HoldingKey, Month, PageKey};
use datanode_schema::names::{Absence, Outcome, Vendor};
use datanode_schema::records::{
    ArchivedDemotion, Bookmark, Demotions, GapPage, Holding, HoldingDay, Second, SecondPage,
};
use datanode_schema::registry::Cadence;
use datanode_schema::trees::{BOOKMARKS, DEMOTIONS, GAPS, HOLDINGS, SECONDS, UNRELATED};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Symbols that a vendor refused for the same days before it is taken to refuse them for all.
const REFUSED_SYMBOLS: usize = 3;

impl Keeping<'_> {
    /// Moves bookmark, holdings, demotion and tasks of one symbol.
    pub(super) fn bookkeep(
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
                // The first answer is as good as a second look.
                if ask.purpose.is_second_look() || b.answers == 0 {
                    b.looked_at = now;
                }
                b.rows += part.rows;
                b.answers += 1;
                b.restated += part.restated;
                b.updated_at = now;
                self.batch.put(&BOOKMARKS, &key, &b)?;
                let every = BookmarkKey { symbol: EVERY_SYMBOL.to_owned(), ..key.clone() };
                for key in [&key, &every] {
                    if let Some(mut d) = self.node.store.load(&DEMOTIONS, key)? {
                        if ask.days.is_empty() {
                            d.forgive(day_number(ask.from), day_number(ask.to));
                        }
                        ask.days.iter().for_each(|day| d.forgive(*day, *day));
                        self.put_demotions(key, &d)?;
                    }
                }
            }
            Outcome::NotEntitled | Outcome::Refused => {
                // A refusal of days to come says nothing about the vendor.
                let today = self.node.clock.now().date_naive();
                // A refused key says nothing about the symbol: the vendor is left alone by the dispatcher.
                if let Some(r) = refusal.filter(|r| ask.to < today && !r.is_of_key()) {
                    self.refused(ask, &key, r, now)?;
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
            self.cover_days(ask.days.iter().copied(), b);
            return;
        }
        self.cover_days(part.held.keys().copied(), b);
    }

    /// Covers days, and what lies between two of them that has no session to receive.
    fn cover_days(&self, days: impl Iterator<Item = i32>, b: &mut Bookmark) {
        let mut before: Option<i32> = None;
        for day in days {
            let next = |b: i32| self.rule.calendar().count(date_of(b), date_of(day)) <= 2;
            b.cover(before.filter(|b| next(*b)).unwrap_or(day), day);
            before = Some(day);
        }
    }

    /// A refusal demotes where it is certain what is meant: one symbol, and days that were split as far as it goes. What
    /// several symbols were refused for the same days, the vendor is taken to refuse for all.
    fn refused(&mut self, ask: &Ask, key: &BookmarkKey, r: &Refusal, now: i64) -> Result<(), RawError> {
        let of_symbol = r.is_of_symbol() && ask.symbols.len() == 1;
        if !of_symbol && !ask.certain {
            return Ok(());
        }
        let mut d: Demotions = self.node.store.load(&DEMOTIONS, key)?.unwrap_or_default();
        // Refused at both ends, and never anything given: it is not about the days.
        let (first, last) = (day_number(ask.from), day_number(ask.to));
        let elsewhere = d.windows.iter().any(|w| w.to < first || last < w.from);
        let never = elsewhere && self.node.store.get(&BOOKMARKS, key, |b| b.rows.to_native())?.unwrap_or(0) == 0;
        let whole = of_symbol || never;
        let (from, to) = if whole { (i32::MIN, i32::MAX) } else { (first, last) };
        d.refuse(from, to, now, &r.note);
        self.put_demotions(key, &d)?;
        if whole {
            return Ok(());
        }
        let mut others = 0;
        self.node.store.scan(&DEMOTIONS, &[ask.dataset.number()], |k, d| {
            let other = k.vendor == ask.vendor && k.symbol != key.symbol && k.symbol != EVERY_SYMBOL;
            let meets = |w: &ArchivedDemotion| w.from.to_native() <= to && from <= w.to.to_native();
            others += usize::from(other && d.windows.iter().any(|w| w.until.to_native() > now && meets(w)));
            ControlFlow::Continue(())
        })?;
        if others + 1 >= REFUSED_SYMBOLS {
            let every = BookmarkKey { symbol: EVERY_SYMBOL.to_owned(), ..key.clone() };
            let mut d: Demotions = self.node.store.load(&DEMOTIONS, &every)?.unwrap_or_default();
            d.refuse(from, to, now, &r.note);
            self.put_demotions(&every, &d)?;
        }
        Ok(())
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
            months.entry(Month::of(date_of(h.day))).or_default().push(h.clone());
        }
        for (month, days) in months {
            let key = HoldingKey { dataset: ask.dataset, symbol: part.symbol.clone(), month, vendor: ask.vendor };
            let before: Holding = self.node.store.load(&HOLDINGS, &key)?.unwrap_or_default();
            let old = before.days(month.first_day());
            let fresh = days.into_iter().map(|d| with_notes(d, &old));
            self.batch.put(&HOLDINGS, &key, &before.with(month.first_day(), fresh))?;
        }
        Ok(())
    }

    fn weigh_tasks(&mut self, ask: &Ask, part: &Part, outcome: Outcome) -> Result<(), RawError> {
        if ask.purpose == Purpose::SpotCheck && matches!(outcome, Outcome::Empty | Outcome::Short) {
            self.had_nothing(ask, part)?;
        }
        if ask.purpose.is_second_look() {
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
            for symbol in [part.symbol.as_str(), EVERY_SYMBOL] {
                let key = BookmarkKey { dataset: ask.dataset, symbol: symbol.to_owned(), vendor: *v };
                let d = self.node.store.load(&DEMOTIONS, &key)?.unwrap_or_default();
                demoted.entry(*v).or_default().windows.extend(d.windows);
            }
        }
        let now = self.node.clock.now().timestamp();
        let (from, to) = (day_number(ask.from), day_number(ask.to));
        for month in Month::of(ask.from).0..=Month::of(ask.to).0 {
            let key = PageKey { dataset: ask.dataset, symbol: part.symbol.clone(), month: Month(month) };
            let Some(page) = self.node.store.load(&GAPS, &key)? else { continue };
            let first = key.month.first_day();
            let mut after = Vec::new();
            let others = self.others(ask, &key)?;
            for task in page.tasks(first) {
                let open = matches!(
                    Absence::from_number(task.state),
                    Some(Absence::Missing | Absence::Short | Absence::Hole | Absence::Pending)
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
                let here = part.held.get(&task.day);
                let all = audit::union(here.into_iter().chain(others.iter().filter(|h| h.day == task.day)).cloned());
                let said = Said {
                    vendor: ask.vendor,
                    outcome,
                    gave: here.is_some(),
                    held: all.as_ref(),
                    session: session.as_ref(),
                    today: self.run.today(),
                    who: ranked.iter().filter(asked).fold(0, |all, (v, _)| all | bit(*v)),
                };
                after.extend(weigh(self.rule, &task, &said));
            }
            self.put_page(key, &page, GapPage::pack(first, after))?;
        }
        Ok(())
    }

    /// A vendor that was to compare has nothing for some of the days: it is not asked for them again.
    fn had_nothing(&mut self, ask: &Ask, part: &Part) -> Result<(), RawError> {
        let now = self.node.clock.now().timestamp();
        let mut months: BTreeMap<Month, Vec<i32>> = BTreeMap::new();
        for day in ask.days.iter().filter(|d| !part.held.contains_key(d)) {
            months.entry(Month::of(date_of(*day))).or_default().push(*day);
        }
        for (month, days) in months {
            let key = PageKey { dataset: ask.dataset, symbol: part.symbol.clone(), month };
            let mut page: SecondPage = self.node.store.load(&SECONDS, &key)?.unwrap_or_default();
            for day in days {
                if !page.days.iter().any(|s| s.day == day) {
                    let vendor = ask.vendor.number();
                    page.days.push(Second { day, vendor, compared: 0, differ: 0, open: 0.0, close: 0.0 });
                }
            }
            page.days.sort_by_key(|s| s.day);
            self.batch.put(&SECONDS, &key, &page)?.put(&UNRELATED, &key, &now)?;
        }
        Ok(())
    }

    /// What the other vendors hold of a month. Only minute sessions are there in part, so that another's rows matter.
    fn others(&self, ask: &Ask, key: &PageKey) -> Result<Vec<HoldingDay>, RawError> {
        let mut out = Vec::new();
        if self.rule.cadence == Cadence::Minute {
            self.node.store.scan(
                &HOLDINGS,
                &HoldingKey::of_month(key.dataset, &key.symbol, key.month),
                |k, page| {
                    if k.vendor != ask.vendor {
                        out.extend(page.native().days(key.month.first_day()));
                    }
                    ControlFlow::Continue(())
                },
            )?;
        }
        Ok(out)
    }

    fn put_page(&mut self, key: PageKey, before: &GapPage, after: GapPage) -> Result<(), RawError> {
        if after.groups.is_empty() {
            self.batch.delete(&GAPS, &key);
        } else if after != *before {
            self.batch.put(&GAPS, &key, &after)?;
        }
        Ok(())
    }
}

/// What was noted of a session before goes on to be true: a copy is counted once however often the answer is repeated, a
/// restatement each time.
fn with_notes(mut now: HoldingDay, before: &[HoldingDay]) -> HoldingDay {
    if let Some(b) = before.iter().find(|b| b.day == now.day) {
        now.duplicates = now.duplicates.max(b.duplicates);
        now.restated = now.restated.saturating_add(b.restated);
    }
    now
}
