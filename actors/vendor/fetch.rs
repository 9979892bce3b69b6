//! From page to page: the whole answer to an ask, within the vendor's budget.
//!
//! Errors and bodies that do not parse are asked again a bounded number of times with a growing, jittered wait. A 429 is
//! no failure: the vendor's reset is waited for where it is near, else the ask goes back to the queue.

use super::http::{Answered, MAX_KEPT};
use super::{Ask, Endpoint, Fetched, Http, Meter, Next, Page, Refusal, Rejects, Scope, SymbolRows, files, parse};
use crate::node::RunContext;
use crate::queue::{Lesson, Purse};
use datanode_schema::clock::Clock;
use datanode_schema::names::{Outcome, Vendor};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Attempts at one page before the ask goes back to the queue, which may give it to another vendor.
const ATTEMPTS: u32 = 2;
/// Pages of one answer; a vendor that never ends is stopped here.
const MAX_PAGES: u32 = 20_000;
/// While a token is waited for, the lease is renewed so often, in milliseconds.
const RENEWED_MS: u64 = 500;
/// Rows of one answer, which is held in memory until it is kept: the most that a session of options brings, ten times.
const MAX_ROWS: usize = 2_000_000;
/// A reset farther away than this sends the ask back to the queue.
const LONGEST_WAIT: Duration = Duration::from_secs(65);
/// How long a vendor is left alone that blocked us.
const BLOCKED: Duration = Duration::from_secs(300);
/// How long a 429 on one page is waited for where the vendor does not say: past the next second, past a part of the
/// minute, past the whole minute. After that the ask goes back to the queue.
const UNSAID_WAITS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(15), Duration::from_secs(61)];

/// What fetching needs.
#[derive(Clone)]
pub struct Fetcher {
    /// The client.
    pub http: Http,
    /// The vendor.
    pub endpoint: Endpoint,
    /// Its budget.
    pub purse: Purse,
    /// Time.
    pub clock: Clock,
    /// Set when the process was asked to stop: no further page is asked for.
    pub stopping: Arc<AtomicBool>,
    /// Counts.
    pub meter: Meter,
}

/// One conversation: the question, the run that pays for it, and the lease that is kept alive.
struct Asking<'a, F> {
    ask: &'a Ask,
    run: &'a RunContext,
    renew: F,
}

struct Gathered {
    count: usize,
    rows: BTreeMap<String, SymbolRows>,
    rejects: Rejects,
    kept: Vec<Vec<u8>>,
    hash: blake3::Hasher,
    pages: u32,
    bytes: u64,
}

impl Fetcher {
    /// The whole answer; never fails, since a refusal is an answer too. `renew` is called before each request: it keeps
    /// the lease standing, and says whether it still does.
    pub async fn fetch(&self, ask: &Ask, run: &RunContext, renew: impl Fn() -> bool) -> Fetched {
        let began = self.clock.since_boot_ms();
        let mut fetched = if self.endpoint.vendor == Vendor::Files {
            self.read_files(ask).await
        } else {
            self.ask(&Asking { ask, run, renew }).await
        };
        fetched.elapsed_ms = self.clock.since_boot_ms() - began;
        fetched
    }

    async fn ask<F: Fn() -> bool>(&self, a: &Asking<'_, F>) -> Fetched {
        let ask = a.ask;
        let mut got = Gathered {
            count: 0,
            rows: BTreeMap::new(),
            rejects: Rejects::default(),
            kept: Vec::new(),
            hash: blake3::Hasher::new(),
            pages: 0,
            bytes: 0,
        };
        let refusal = self.pages(a, &mut got).await.err();
        if refusal.is_some() {
            got.rows.clear();
        }
        Fetched {
            ask: ask.clone(),
            rows: got.rows,
            refusal,
            pages: got.pages,
            bytes: got.bytes,
            body_blake3: got.hash.finalize().to_hex().to_string(),
            rejects: got.rejects,
            kept_bodies: got.kept,
            fetched_at: self.clock.now(),
            elapsed_ms: 0,
        }
    }

    async fn read_files(&self, ask: &Ask) -> Fetched {
        let (folder, question, now) = (self.endpoint.folder.clone(), ask.clone(), self.clock.now());
        let read = tokio::task::spawn_blocking(move || files::read(&folder, &question, now)).await;
        read.unwrap_or_else(|e| Fetched {
            ask: ask.clone(),
            rows: BTreeMap::new(),
            refusal: Some(Refusal::new(Outcome::Error, format!("reading stopped: {e}"))),
            pages: 0,
            bytes: 0,
            body_blake3: String::new(),
            rejects: Rejects::default(),
            kept_bodies: Vec::new(),
            fetched_at: now,
            elapsed_ms: 0,
        })
    }

    async fn pages<F: Fn() -> bool>(&self, a: &Asking<'_, F>, got: &mut Gathered) -> Result<(), Refusal> {
        let mut next: Option<Next> = None;
        let mut seen: HashSet<String> = HashSet::new();
        loop {
            if got.pages >= MAX_PAGES {
                return Err(Refusal::unparsable(format!("more than {MAX_PAGES} pages")));
            }
            let mut page = self.page(a, next.as_ref(), got).await?;
            let nothing = page.rows.is_empty() && page.next.is_none() && page.rejects.rows == 0;
            if nothing && (next.is_some() || (got.rows.is_empty() && a.ask.expects_rows())) {
                // Sessions were expected, or more was announced than came. Some say "nothing" where they mean "not now":
                // twice, and it is believed.
                page = self.page(a, next.as_ref(), got).await?;
            }
            got.rejects.merge(page.rejects);
            got.count += page.rows.values().map(Vec::len).sum::<usize>();
            if got.count > MAX_ROWS {
                return Err(Refusal::unparsable(format!("more than {MAX_ROWS} rows for one question")));
            }
            for (symbol, mut rows) in page.rows {
                got.rows.entry(symbol).or_default().append(&mut rows);
            }
            match page.next {
                None => return Ok(()),
                Some(n) if Some(&n) == next.as_ref() || n.link().is_some_and(|l| !seen.insert(l.to_owned())) => {
                    return Err(Refusal::unparsable("the next page is one that was there before"));
                }
                Some(n) => next = Some(n),
            }
        }
    }

    /// One page, asked as often as the rules allow.
    async fn page<F: Fn() -> bool>(
        &self,
        a: &Asking<'_, F>,
        next: Option<&Next>,
        got: &mut Gathered,
    ) -> Result<Page, Refusal> {
        let ask = a.ask;
        let request = self.endpoint.request(ask, next, self.clock.now())?;
        let (mut failures, mut waits) = (0, 0usize);
        loop {
            if self.stopping.load(Ordering::Acquire) {
                return Err(Refusal::new(Outcome::RateLimited, "stopped on request; it is asked again"));
            }
            if !(a.renew)() {
                return Err(Refusal::new(Outcome::RateLimited, "the lease no longer stands; it is asked again"));
            }
            self.wait_for_token(a).await?;
            self.purse.take(LONGEST_WAIT).await?;
            if !a.run.may_request(self.clock.since_boot_ms()) {
                return Err(Refusal::new(
                    Outcome::RateLimited,
                    "the run's caps are reached; it is asked another night",
                ));
            }
            let (began, began_at) = (std::time::Instant::now(), self.clock.now());
            let answered = self.http.get(&self.endpoint, &request, began_at).await;
            let took = began.elapsed();
            self.meter.heard(ask.vendor, answered.date, (began_at.timestamp(), self.clock.now().timestamp()));
            got.pages += 1;
            if let Some(left) = answered.limits.limit_remaining {
                self.purse.note_headers(left, answered.limits.reset_in_ms).await;
            }
            let read = self.read(ask, next, answered, got).await;
            self.meter.asked(ask.vendor, read.as_ref().err().map(|r| r.outcome), took);
            let refusal = match read {
                Ok(page) => {
                    self.purse.learned(Lesson::Good);
                    return Ok(page);
                }
                Err(r) => r,
            };
            match refusal.outcome {
                Outcome::RateLimited => {
                    self.purse.learned(Lesson::RateLimited);
                    let Some(unsaid) = UNSAID_WAITS.get(waits) else { return Err(refusal) };
                    let wait = refusal.retry_after_ms.map_or(*unsaid, |ms| Duration::from_millis(ms.max(50)));
                    self.purse.close(wait).await;
                    waits += 1;
                    if wait > LONGEST_WAIT {
                        return Err(refusal);
                    }
                }
                // Asking a block again at once makes it last.
                Outcome::Error if refusal.scope == Scope::Block => {
                    self.purse.close(BLOCKED).await;
                    return Err(refusal);
                }
                Outcome::Error | Outcome::Unparsable => {
                    failures += 1;
                    if failures >= ATTEMPTS {
                        return Err(refusal);
                    }
                    tracing::debug!(vendor = %ask.vendor, attempt = failures, note = refusal.note, "asking again");
                    tokio::time::sleep(backoff(failures)).await;
                }
                _ => return Err(refusal),
            }
        }
    }

    /// Waits until a token is near, and keeps the lease standing meanwhile.
    async fn wait_for_token<F: Fn() -> bool>(&self, a: &Asking<'_, F>) -> Result<(), Refusal> {
        let mut waited = 0;
        loop {
            let ms = self.purse.wait_ms();
            let longest = u64::try_from(LONGEST_WAIT.as_millis()).unwrap_or(u64::MAX);
            // What is farther away is the purse's to refuse.
            if ms <= RENEWED_MS || ms > longest || waited > longest {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(RENEWED_MS)).await;
            waited += RENEWED_MS;
            if self.stopping.load(Ordering::Acquire) {
                return Ok(());
            }
            if !(a.renew)() {
                return Err(Refusal::new(Outcome::RateLimited, "the lease no longer stands; it is asked again"));
            }
        }
    }

    /// Reads a body off the arbiter's thread.
    async fn read(
        &self,
        ask: &Ask,
        next: Option<&Next>,
        answered: Answered,
        got: &mut Gathered,
    ) -> Result<Page, Refusal> {
        if let Some(refusal) = answered.refusal {
            if refusal.outcome == Outcome::Unparsable {
                got.keep(answered.body);
            }
            return Err(refusal);
        }
        let (vendor, question, next, body) = (self.endpoint.vendor, ask.clone(), next.cloned(), answered.body);
        let parsed = tokio::task::spawn_blocking(move || (parse(vendor, &question, next.as_ref(), &body), body)).await;
        let (page, body) = parsed.map_err(|e| Refusal::new(Outcome::Error, format!("parsing stopped: {e}")))?;
        match page {
            Ok(page) => {
                got.hash.update(&body);
                got.bytes += body.len() as u64;
                if page.rejects.rows > 0 {
                    got.keep(body);
                }
                Ok(page)
            }
            Err(refusal) => {
                got.keep(body);
                Err(refusal)
            }
        }
    }
}

impl Gathered {
    /// Keeps a body that was not wholly taken; the first few, and no giant.
    fn keep(&mut self, body: Vec<u8>) {
        if !body.is_empty() && body.len() <= MAX_KEPT && self.kept.len() < 4 && !self.kept.contains(&body) {
            self.kept.push(body);
        }
    }
}

impl Rejects {
    fn merge(&mut self, other: Rejects) {
        if self.rows == 0 {
            self.first = other.first;
        }
        self.rows += other.rows;
    }
}

/// 0.1 s, 0.2 s, 0.4 s …, each times a random share between a half and one.
fn backoff(failures: u32) -> Duration {
    let full = 100u64.saturating_mul(1 << failures.min(8).saturating_sub(1));
    Duration::from_millis(full / 2 + rand::random::<u64>() % (full / 2 + 1))
}
