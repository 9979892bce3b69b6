//! The loop: what `core` decides is done here, one thing at a time.

use super::ask::{self, Asker, Discovery, No, Question};
use super::core::{Core, Effect, Event, Now, Rules, Trouble};
use super::keep::{Keeper, Open};
use super::parse::{Rank, Record, choose, look};
use super::{Board, BooksError, Counters, mapping};
use crate::quarantine::{Acts, seen};
use crate::queue::Purse;
use datanode_schema::clock::{Clock, day_number, rfc3339};
use datanode_schema::names::{Dataset, Vendor};
use datanode_schema::paths::DataDir;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};

/// Tokens that are missing from a batch and looked at one by one, in a round.
const SINGLES: usize = 10;

/// What a collector is made of.
pub struct Parts {
    /// The data folder.
    pub data: DataDir,
    /// Time.
    pub clock: Clock,
    /// The vendor's budget.
    pub purse: Purse,
    /// Where markets are looked up, without a trailing slash.
    pub gamma: String,
    /// Where books are, without a trailing slash.
    pub clob: String,
    /// Condition ids, slugs or `event:SLUG`, separated by commas; empty: the heaviest active ones.
    pub markets: String,
    /// So many markets where none is named; 0: all.
    pub top: usize,
    /// By what they are ranked.
    pub rank: Rank,
    /// Tokens of one request.
    pub batch: usize,
    /// From snapshot to snapshot.
    pub cadence: Duration,
    /// From discovery to discovery.
    pub rediscover: Duration,
    /// The longest that one request may take.
    pub timeout: Duration,
    /// Ends after so many ticks; 0 = on request only.
    pub ticks: u64,
    /// Where it counts.
    pub board: Board,
    /// Where it reports what is wrong.
    pub acts: Acts,
}

/// What a collector did.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The counters.
    #[serde(flatten)]
    pub counters: Counters,
    /// Tokens that were collected at the end.
    pub tokens: u64,
    /// Snapshots of tokens that were due and did not come.
    pub gaps: u64,
    /// The longest time in which a token had no snapshot, in seconds.
    pub longest_silence_seconds: u64,
}

/// The collector.
pub struct Collector {
    core: Core,
    asker: Asker,
    keeper: Keeper,
    questions: Vec<Question>,
    discovery: Option<Discovery>,
    rank: Rank,
    top: usize,
    batch: usize,
    /// Token to condition id.
    set: BTreeMap<String, String>,
    open: Option<Open>,
    /// Held by whatever writes the open file, so that it is not closed under a write that a stop left behind.
    turn: Arc<Mutex<()>>,
    board: Board,
    acts: Acts,
}

impl Collector {
    /// Recovers what an earlier process left open; asks nothing yet. Blocking.
    ///
    /// # Errors
    /// A file cannot be read or written, or a setting cannot be used.
    pub fn new(p: Parts) -> Result<Self, BooksError> {
        let questions = ask::questions(&p.markets)?;
        let keeper = Keeper::new(p.data, p.clock.clone());
        let found = keeper.recover(&p.acts)?;
        p.board.with(|t| {
            t.counters.recovered_files = found.files;
            t.counters.recovered_books = found.books;
            t.counters.closed_files = found.files;
        });
        let rules = Rules { cadence_ms: ms(p.cadence), rediscover_ms: ms(p.rediscover), ticks: p.ticks };
        let asker = Asker {
            http: ask::client()?,
            gamma: p.gamma,
            clob: p.clob,
            purse: p.purse,
            clock: p.clock,
            timeout: p.timeout,
        };
        Ok(Self {
            core: Core::new(rules),
            asker,
            keeper,
            questions,
            discovery: None,
            rank: p.rank,
            top: if p.markets.trim().is_empty() { p.top } else { 0 },
            batch: p.batch.clamp(1, 500),
            set: BTreeMap::new(),
            open: None,
            turn: Arc::default(),
            board: p.board,
            acts: p.acts,
        })
    }

    /// Collects until its ticks are over or `stop` says true; then the open file is closed.
    ///
    /// # Errors
    /// A file cannot be written. What the vendor does is counted, not an error.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<Summary, BooksError> {
        let mut event = Event::Wake;
        loop {
            let mut next = Event::Wake;
            let now = Now { ms: self.now_ms(), hour: self.asker.clock.now().timestamp().div_euclid(3600) };
            for effect in self.core.decide(event, now) {
                let stopped = async { drop(stop.wait_for(|s| *s).await) };
                match effect {
                    Effect::Finish => return self.finish().await,
                    Effect::Rotate => self.close().await?,
                    Effect::Miss { ticks } => self.miss(ticks),
                    Effect::Rest { ms } => self.asker.purse.close(Duration::from_millis(ms)).await,
                    Effect::Wait { until_ms } => {
                        let wait = Duration::from_millis(until_ms.saturating_sub(self.now_ms()));
                        tokio::select! {
                            () = tokio::time::sleep(wait) => {}
                            () = stopped => next = Event::Stop,
                        }
                    }
                    Effect::Discover { until_ms } => tokio::select! {
                        e = self.discover(until_ms) => next = e,
                        () = stopped => next = Event::Stop,
                    },
                    Effect::Snapshot { until_ms } => tokio::select! {
                        e = self.snapshot(until_ms) => next = e?,
                        () = stopped => next = Event::Stop,
                    },
                }
            }
            event = next;
        }
    }

    fn now_ms(&self) -> u64 {
        self.asker.clock.since_boot_ms()
    }

    fn miss(&self, ticks: u64) {
        tracing::warn!(ticks, "ticks without a snapshot");
        self.board.with(|t| {
            t.counters.ticks += ticks;
            t.counters.missed_ticks += ticks;
            t.due(ticks);
        });
    }

    async fn discover(&mut self, until_ms: u64) -> Event {
        let mut d = self.discovery.take().unwrap_or_else(|| Discovery::new(&self.questions, self.rank));
        loop {
            let page = self.asker.page(&mut d, until_ms).await;
            self.count_request(&page);
            match page {
                Ok(true) => break,
                Ok(false) => {}
                // Ours to wait for: the next tick goes on with the page.
                Err(no) if no.trouble == Trouble::Spent => {
                    self.discovery = Some(d);
                    return Event::Paused;
                }
                Err(no) => return failed(&no),
            }
        }
        let described: Vec<_> = d.markets.iter().map(mapping::Described::of).collect();
        let (set, twice) = choose(d.markets, self.top);
        self.compare(described, &set, d.first_rejected).await;
        let now = self.now_ms();
        self.board.with(|t| {
            t.counters.discoveries += 1;
            t.counters.mapping_rejected += d.rejected + twice;
            t.set(&set, now);
        });
        tracing::info!(tokens = set.len(), rejected = d.rejected + twice, "markets looked up");
        self.set = set.into_iter().collect();
        Event::Discovered { assets: self.set.len() }
    }

    /// Compares what the tokens of the collected markets stand for with the look before, and reports what is wrong.
    async fn compare(&self, described: Vec<mapping::Described>, set: &[(String, String)], rejected: String) {
        let collected: BTreeSet<String> = set.iter().map(|(_, market)| market.clone()).collect();
        let (acts, day) = (self.acts.clone(), day_number(self.asker.clock.now().date_naive()));
        let looking = tokio::task::spawn_blocking(move || {
            if !rejected.is_empty() {
                seen::wrong_mapping(&acts, Vendor::Polymarket, Dataset::PredictionBooks, &rejected);
            }
            mapping::compare(&acts, &described, &collected, day)
        });
        match looking.await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::error!(error = %e, "what tokens stand for could not be compared"),
            Err(e) => tracing::error!(error = %e, "what tokens stand for was not compared"),
        }
    }

    /// Every book once. What came is kept before the next batch is asked for.
    async fn snapshot(&mut self, until_ms: u64) -> Result<Event, BooksError> {
        self.board.with(|t| {
            t.counters.ticks += 1;
            t.counters.snapshots += 1;
            t.due(1);
        });
        let tokens: Vec<String> = self.set.keys().cloned().collect();
        let mut missing = Vec::new();
        for batch in tokens.chunks(self.batch) {
            let answer = self.asker.books(batch, until_ms).await;
            self.count_request(&answer);
            let values = match answer {
                Ok(v) => v,
                Err(no) => return Ok(failed(&no)),
            };
            let came = self.keep(values).await?;
            missing.extend(batch.iter().filter(|t| !came.contains(t)).cloned());
        }
        for token in missing.into_iter().take(SINGLES) {
            let answer = self.asker.book(&token, until_ms).await;
            self.count_request(&answer);
            match answer {
                Ok(Some(v)) => drop(self.keep(vec![v]).await?),
                Ok(None) => {
                    tracing::info!(token, "no order book any more; it is looked up again with the markets");
                    self.set.remove(&token);
                    self.board.with(|t| {
                        t.counters.gone += 1;
                        t.gone(&token);
                    });
                }
                Err(no) => return Ok(failed(&no)),
            }
        }
        Ok(Event::Done { assets: self.set.len() })
    }

    /// Appends the books of an answer; returns their tokens.
    async fn keep(&mut self, values: Vec<serde_json::Value>) -> Result<Vec<String>, BooksError> {
        let now = self.asker.clock.now();
        let ask::Sorted { books, rejected, mapping, form } = ask::sort(values, &self.set);
        let open = self.open.get_or_insert_with(|| self.keeper.open(now)).clone();
        let (mut records, mut crossed, mut odd) = (Vec::with_capacity(books.len()), 0, 0);
        for b in books {
            let seen = look(&b.bids, &b.asks);
            crossed += u64::from(seen.crossed);
            odd += u64::from(seen.odd);
            records.push(Record {
                market: b.market,
                asset_id: b.asset_id,
                timestamp: b.timestamp,
                received_at: rfc3339(now),
                hash: b.hash,
                bids: b.bids,
                asks: b.asks,
                request_id: open.request_id.clone(),
            });
        }
        let tokens: Vec<String> = records.iter().map(|r| r.asset_id.clone()).collect();
        let (keeper, acts) = (self.keeper.clone(), self.acts.clone());
        self.write(move || {
            if let Some(why) = mapping {
                seen::wrong_mapping(&acts, Vendor::Polymarket, Dataset::PredictionBooks, &why);
            }
            if let Some(why) = form {
                seen::unexpected_answer(&acts, Vendor::Polymarket, Dataset::PredictionBooks, &why, &[]);
            }
            keeper.append(&open, &records)
        })
        .await?;
        let now = self.now_ms();
        self.board.with(|t| {
            t.counters.books += tokens.len() as u64;
            t.counters.books_rejected += rejected;
            t.counters.crossed += crossed;
            t.counters.odd += odd;
            tokens.iter().for_each(|a| t.got(a, now));
        });
        tracing::debug!(books = tokens.len(), "books are kept");
        Ok(tokens)
    }

    fn count_request<T>(&self, answer: &Result<T, No>) {
        self.board.with(|t| {
            let c = &mut t.counters;
            let Err(no) = answer else {
                c.requests += 1;
                return;
            };
            c.requests += u64::from(no.asked);
            match no.trouble {
                _ if no.absent => {}
                Trouble::Spent => c.budget_spent += 1,
                Trouble::Slowed => c.rate_limited += 1,
                Trouble::Blocked => c.blocked += 1,
                Trouble::Failed => c.failed += 1,
            }
            tracing::warn!(note = no.note, "the vendor gave no answer");
        });
    }

    async fn close(&mut self) -> Result<(), BooksError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let keeper = self.keeper.clone();
        if let Some(closed) = self.write(move || keeper.close(&open)).await? {
            self.board.with(|t| t.counters.closed_files += 1);
            tracing::info!(file = %closed.path.display(), "an hour's books are closed");
        }
        Ok(())
    }

    /// Runs file work off the arbiter's thread. It goes on where the caller is dropped, so that a stop leaves nothing half written.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, BooksError> + Send + 'static,
    ) -> Result<T, BooksError> {
        let turn = self.turn.clone().lock_owned().await;
        let working = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        working.await.map_err(|e| BooksError::Stopped(e.to_string()))?
    }

    async fn finish(mut self) -> Result<Summary, BooksError> {
        self.close().await?;
        let markets = self.board.markets(self.now_ms());
        Ok(Summary {
            counters: self.board.counters(),
            tokens: self.set.len() as u64,
            gaps: markets.iter().map(|m| m.expected.saturating_sub(m.got)).sum(),
            longest_silence_seconds: markets.iter().map(|m| m.longest_silence_seconds).max().unwrap_or(0),
        })
    }
}

fn failed(no: &No) -> Event {
    Event::Failed { trouble: no.trouble, retry_after_ms: no.retry_after_ms, jitter: rand::random::<u64>() % 1024 }
}

fn ms(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}
