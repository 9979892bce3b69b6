//! A vendor's budget, made durable: what is spent is in the store before the request goes out.

use super::Bucket;
use super::budget::Grant;
use crate::vendor::Refusal;
use datanode_schema::clock::{Clock, day_number};
use datanode_schema::names::{Outcome, Vendor};
use datanode_schema::registry::Limits;
use datanode_schema::store::{Batch, Store, StoreError};
use datanode_schema::trees::BUDGETS;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
            let grant = self.with(|b, now_ms, day| b.take(now_ms, day))?;
            match grant {
                Grant::Now => return Ok(()),
                Grant::AfterCommit => return self.write().await,
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
