//! A vendor's budget, made durable: what is spent is in the store before the request goes out.

use super::Bucket;
use super::budget::Grant;
use super::pace::Lesson;
use crate::vendor::Refusal;
use datanode_schema::clock::{Clock, day_number};
use datanode_schema::names::{Outcome, Vendor};
use datanode_schema::registry::Limits;
use datanode_schema::store::{Batch, Store, StoreError};
use datanode_schema::trees::BUDGETS;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How a budget stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
pub struct PurseStanding {
    /// The limits as configured; 0 is no limit.
    pub limits: Limits,
    /// What is left of the rates after the vendor's 429s, in parts of a million; a million is all of them.
    pub left_ppm: u32,
    /// Requests spent or reserved on this UTC day.
    pub spent_today: u64,
    /// Milliseconds until there is a token; `u64::MAX` where the day's budget is spent.
    pub wait_ms: u64,
    /// Unix seconds until which the vendor asked to be left alone; 0 where that is over.
    pub closed_until: i64,
}

/// The budget of one vendor; clones share it.
#[derive(Clone)]
pub struct Purse {
    vendor: Vendor,
    store: Store,
    clock: Clock,
    bucket: Arc<Mutex<Bucket>>,
    /// Held from reading the record to its commit, so that an older record never follows a newer one.
    turn: Arc<Mutex<()>>,
}

impl Purse {
    /// Reads what an earlier process spent.
    ///
    /// # Errors
    /// The store's.
    pub fn open(vendor: Vendor, limits: Limits, store: Store, clock: Clock) -> Result<Self, StoreError> {
        let record = store.load(&BUDGETS, &vendor.name().to_owned())?.unwrap_or_default();
        let bucket = Bucket::new(limits, record, &clock.boot_id(), clock.since_boot_ms(), clock.now().timestamp());
        Ok(Self { vendor, store, clock, bucket: Arc::new(Mutex::new(bucket)), turn: Arc::default() })
    }

    /// Waits for a token and takes it.
    ///
    /// # Errors
    /// A refusal where the wait would be longer than `longest`, the day's budget is spent, or the store stopped.
    pub async fn take(&self, longest: Duration) -> Result<(), Refusal> {
        loop {
            let (grant, at_ms) = self.with(|b, now_ms, day| (b.take(now_ms, day), now_ms))?;
            match grant {
                Grant::Now => return Ok(()),
                Grant::AfterCommit => {
                    self.write().await?;
                    // A commit that took too long has used the token up; the next one is asked for.
                    if self.with(|b, now_ms, _| b.late(at_ms, now_ms))? {
                        return Ok(());
                    }
                }
                Grant::Wait(ms) if Duration::from_millis(ms) > longest => {
                    let mut r = Refusal::new(Outcome::RateLimited, "the budget has no token within reach");
                    r.retry_after_ms = Some(ms);
                    return Err(r);
                }
                Grant::Wait(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                Grant::SpentToday => return Err(Refusal::new(Outcome::RateLimited, "the day's budget is spent")),
            }
        }
    }

    /// Milliseconds until there is a token; `u64::MAX` where the day's budget is spent.
    pub fn wait_ms(&self) -> u64 {
        self.with(|b, now_ms, day| b.wait_ms(now_ms, day)).unwrap_or(0)
    }

    /// How the budget stands; no I/O.
    pub fn standing(&self) -> Option<PurseStanding> {
        let standing = self.with(|b, now_ms, day| PurseStanding {
            limits: b.limits(),
            left_ppm: b.left_ppm(),
            spent_today: b.spent_on(day),
            wait_ms: b.wait_ms(now_ms, day),
            closed_until: b.closed_until(now_ms),
        });
        standing.ok()
    }

    /// Learns the vendor's true pace from an answer: down on a 429, slowly up on good ones, never above the limits. Durable
    /// with the next commit of the budget, which [`Purse::close`] after a 429 makes at once.
    pub fn learned(&self, answer: Lesson) {
        // A poisoned budget refuses the next token, and says so there.
        let _ = self.with(|b, now_ms, _| b.learned(answer, now_ms));
    }

    /// Obeys `X-RateLimit-Remaining` and the milliseconds until its window ends, of any answer. Where nothing remains,
    /// the vendor is left alone until then, durably.
    pub async fn note_headers(&self, remaining: u32, reset_in_ms: Option<u64>) {
        let unix = self.clock.now().timestamp();
        let closed = self.with(|b, now_ms, _| b.note_headers(remaining, reset_in_ms, now_ms, unix));
        if matches!(closed, Ok(true)) && self.write().await.is_err() {
            tracing::warn!(vendor = %self.vendor, "the vendor's reset could not be written; it holds for this process");
        }
    }

    /// Other limits from now on; what was spent stays spent. Returns whether `concurrency` differs, which holds from the
    /// next start on only.
    ///
    /// # Errors
    /// The budget is poisoned.
    pub fn reconfigure(&self, limits: Limits) -> Result<bool, Refusal> {
        self.with(|b, _, _| {
            let differs = b.limits().concurrency != limits.concurrency;
            b.reconfigure(limits);
            differs
        })
    }

    /// Whose it is.
    pub fn vendor(&self) -> Vendor {
        self.vendor
    }

    /// Leaves the vendor alone for a while.
    pub async fn close(&self, wait: Duration) {
        let unix = self.clock.now().timestamp();
        let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let closed = self.with(|b, now_ms, _| b.close(now_ms, ms, unix));
        if closed.is_ok() && self.write().await.is_err() {
            tracing::warn!(vendor = %self.vendor, "the vendor's reset could not be written; it holds for this process");
        }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Bucket, u64, i32) -> T) -> Result<T, Refusal> {
        let day = day_number(self.clock.now().date_naive());
        let mut bucket = self.bucket.lock().map_err(|_| Refusal::new(Outcome::Error, "the budget is poisoned"))?;
        Ok(f(&mut bucket, self.clock.since_boot_ms(), day))
    }

    async fn write(&self) -> Result<(), Refusal> {
        let this = self.clone();
        let written = tokio::task::spawn_blocking(move || {
            let _turn = this.turn.lock().map_err(|_| "poisoned".to_owned())?;
            let (record, reservation) = this.bucket.lock().map(|b| b.to_write()).map_err(|_| "poisoned".to_owned())?;
            let mut batch = Batch::new();
            batch.put(&BUDGETS, &this.vendor.name().to_owned(), &record).map_err(|e| e.to_string())?;
            this.store.commit(batch).map_err(|e| e.to_string())?;
            this.bucket.lock().map(|mut b| b.confirm(reservation)).map_err(|_| "poisoned".to_owned())
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(Refusal::new(Outcome::Error, format!("the budget cannot be written: {e}"))),
            Err(e) => Err(Refusal::new(Outcome::Error, format!("the budget's writer stopped: {e}"))),
        }
    }
}
