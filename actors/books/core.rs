//! What the collector does next. Pure: times come in, effects go out; nothing here waits, asks or writes.
//!
//! The cadence is a grid of ticks since the start. Each tick is one snapshot or one counted gap, never more: what was missed
//! is not made up for. Nothing that was asked in a tick may still be under way in the next.

/// Nothing is begun so shortly before the next tick, in milliseconds.
const MARGIN_MS: u64 = 100;
/// The longest that the vendor is left alone after a failure, in milliseconds.
const LONGEST_REST_MS: u64 = 3_600_000;

/// What was set.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Milliseconds from tick to tick.
    pub cadence_ms: u64,
    /// Milliseconds after which the set of markets is looked up again.
    pub rediscover_ms: u64,
    /// Ends after so many ticks; 0 = on request only.
    pub ticks: u64,
}

/// When something happens.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Milliseconds since boot.
    pub ms: u64,
    /// Hours since 1970, UTC.
    pub hour: i64,
}

/// Why a round failed: how long the vendor is left alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// 5xx, a broken or a slow answer, one that is not what the interface says.
    Failed,
    /// 429: the vendor said so.
    Slowed,
    /// 403, an HTML page: we are kept out.
    Blocked,
    /// Our own budget has no token in this tick; the vendor did nothing.
    Spent,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// The time that was waited for has come.
    Wake,
    /// The set is now so large.
    Discovered {
        /// Tokens.
        assets: usize,
    },
    /// The tick was over before the last page; the rest follows.
    Paused,
    /// A round of snapshots is done; the set is now so large.
    Done {
        /// Tokens.
        assets: usize,
    },
    /// What was under way failed.
    Failed {
        /// How.
        trouble: Trouble,
        /// What the vendor said.
        retry_after_ms: Option<u64>,
        /// Drawn, from 0 to 1023.
        jitter: u64,
    },
    /// The process was asked to stop; what was under way is left.
    Stop,
}

/// What is to be done, in this order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Count so many ticks without a snapshot.
    Miss {
        /// Ticks.
        ticks: u64,
    },
    /// The hour is over: close its file.
    Rotate,
    /// Leave the vendor alone.
    Rest {
        /// Milliseconds.
        ms: u64,
    },
    /// Ask which markets there are, until then.
    Discover {
        /// Milliseconds since boot.
        until_ms: u64,
    },
    /// Ask for every book once, until then.
    Snapshot {
        /// Milliseconds since boot.
        until_ms: u64,
    },
    /// Wait.
    Wait {
        /// Milliseconds since boot.
        until_ms: u64,
    },
    /// Close the file and end.
    Finish,
}

/// Where the collector is.
#[derive(Clone, Debug)]
pub struct Core {
    rules: Rules,
    next_tick: Option<u64>,
    ticks: u64,
    /// The tick that has begun is not snapshotted yet.
    pending: bool,
    busy: bool,
    assets: usize,
    discovered_at: Option<u64>,
    resting_until: u64,
    failures: u32,
    hour: Option<i64>,
    stopping: bool,
    finished: bool,
}

impl Core {
    /// One that has not begun.
    pub fn new(rules: Rules) -> Self {
        let rules = Rules { cadence_ms: rules.cadence_ms.max(2 * MARGIN_MS), ..rules };
        Self {
            rules,
            next_tick: None,
            ticks: 0,
            pending: false,
            busy: false,
            assets: 0,
            discovered_at: None,
            resting_until: 0,
            failures: 0,
            hour: None,
            stopping: false,
            finished: false,
        }
    }

    /// What to do about an event.
    pub fn decide(&mut self, event: Event, now: Now) -> Vec<Effect> {
        let mut out = Vec::new();
        self.take(event, now, &mut out);
        if self.finished {
            return out;
        }
        self.pass_ticks(now, &mut out);
        if self.busy {
            return out;
        }
        if self.hour.is_some_and(|h| h != now.hour) {
            out.push(Effect::Rotate);
        }
        self.hour = Some(now.hour);
        let over = self.rules.ticks > 0 && self.ticks >= self.rules.ticks && !self.pending;
        if self.stopping || over {
            if self.pending {
                self.pending = false;
                out.push(Effect::Miss { ticks: 1 });
            }
            self.finished = true;
            out.push(Effect::Finish);
            return out;
        }
        let until_ms = self.next_tick.unwrap_or(now.ms);
        let time_left = now.ms + MARGIN_MS < until_ms;
        let resting = now.ms < self.resting_until;
        let due = self.discovered_at.is_none_or(|t| t.saturating_add(self.rules.rediscover_ms) <= now.ms);
        if time_left && !resting && self.pending && self.assets > 0 {
            (self.pending, self.busy) = (false, true);
            out.push(Effect::Snapshot { until_ms });
        } else if time_left && !resting && due {
            self.busy = true;
            out.push(Effect::Discover { until_ms });
        } else {
            out.push(Effect::Wait { until_ms });
        }
        out
    }

    fn take(&mut self, event: Event, now: Now, out: &mut Vec<Effect>) {
        match event {
            Event::Wake => {}
            Event::Discovered { assets } => {
                self.busy = false;
                self.failures = 0;
                self.assets = assets;
                self.discovered_at = Some(now.ms);
            }
            Event::Done { assets } => {
                self.busy = false;
                self.failures = 0;
                self.assets = assets;
            }
            // Our own budget has no token in this tick: asking at once again would only turn in a circle.
            Event::Paused | Event::Failed { trouble: Trouble::Spent, .. } => {
                self.busy = false;
                self.resting_until = self.next_tick.unwrap_or(now.ms);
            }
            Event::Failed { trouble, retry_after_ms, jitter } => {
                self.busy = false;
                self.failures = self.failures.saturating_add(1);
                let ms =
                    rest(trouble, self.failures, jitter).max(retry_after_ms.unwrap_or(0)).min(LONGEST_REST_MS * 24);
                self.resting_until = self.resting_until.max(now.ms.saturating_add(ms));
                out.push(Effect::Rest { ms });
            }
            Event::Stop => {
                self.busy = false;
                self.stopping = true;
            }
        }
    }

    /// Begins the ticks whose time has come; all but the last of them are gaps, and that too while the vendor rests.
    fn pass_ticks(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.stopping {
            return;
        }
        let Some(next) = self.next_tick else {
            self.next_tick = Some(now.ms.saturating_add(self.rules.cadence_ms));
            (self.ticks, self.pending) = (1, true);
            return;
        };
        if now.ms < next {
            return;
        }
        let passed = (now.ms - next) / self.rules.cadence_ms + 1;
        self.next_tick = Some(next.saturating_add(passed.saturating_mul(self.rules.cadence_ms)));
        let left = if self.rules.ticks == 0 { u64::MAX } else { self.rules.ticks - self.ticks.min(self.rules.ticks) };
        let counted = passed.min(left);
        self.ticks += counted;
        let mut missed = counted + u64::from(self.pending);
        self.pending = counted > 0 && counted == passed && now.ms >= self.resting_until;
        missed -= u64::from(self.pending);
        if missed > 0 {
            out.push(Effect::Miss { ticks: missed });
        }
    }
}

/// Exponential, from a start that depends on what happened, times a random share between a half and one.
fn rest(trouble: Trouble, failures: u32, jitter: u64) -> u64 {
    let base: u64 = match trouble {
        Trouble::Spent => 0,
        Trouble::Failed => 1_000,
        Trouble::Slowed => 5_000,
        Trouble::Blocked => 60_000,
    };
    let full = base.saturating_mul(1 << failures.min(20).saturating_sub(1)).min(LONGEST_REST_MS);
    full / 2 + full / 2 * jitter.min(1023) / 1023
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
