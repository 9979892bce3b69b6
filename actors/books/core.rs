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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: u64) -> Now {
        Now { ms, hour: (ms / 3_600_000) as i64 }
    }
    fn core(ticks: u64) -> Core {
        Core::new(Rules { cadence_ms: 60_000, rediscover_ms: 600_000, ticks })
    }

    #[test]
    fn the_first_tick_discovers_then_snapshots_and_a_rediscovery_costs_none() {
        let mut c = core(0);
        assert_eq!(c.decide(Event::Wake, at(0)), [Effect::Discover { until_ms: 60_000 }]);
        assert_eq!(c.decide(Event::Discovered { assets: 4 }, at(500)), [Effect::Snapshot { until_ms: 60_000 }]);
        assert_eq!(c.decide(Event::Done { assets: 4 }, at(900)), [Effect::Wait { until_ms: 60_000 }]);
        assert_eq!(
            c.decide(Event::Wake, at(660_000)),
            [Effect::Miss { ticks: 10 }, Effect::Snapshot { until_ms: 720_000 }]
        );
        assert_eq!(c.decide(Event::Done { assets: 3 }, at(661_000)), [Effect::Discover { until_ms: 720_000 }]);
    }

    #[test]
    fn a_new_hour_closes_the_file_before_anything_is_asked() {
        let mut c = core(0);
        c.decide(Event::Wake, at(3_590_000));
        c.decide(Event::Discovered { assets: 1 }, at(3_590_100));
        let e = c.decide(Event::Done { assets: 1 }, at(3_600_001));
        assert_eq!(e, [Effect::Rotate, Effect::Wait { until_ms: 3_650_000 }]);
    }

    #[test]
    fn a_block_rests_the_vendor_for_longer_each_time() {
        let mut c = core(0);
        c.decide(Event::Wake, at(0));
        let blocked = Event::Failed { trouble: Trouble::Blocked, retry_after_ms: None, jitter: 1023 };
        let e = c.decide(blocked, at(100));
        assert_eq!(e.first(), Some(&Effect::Rest { ms: 60_000 }));
        assert_eq!(c.decide(Event::Wake, at(60_000)), [Effect::Miss { ticks: 2 }, Effect::Wait { until_ms: 120_000 }]);
        assert!(c.decide(Event::Wake, at(120_000)).contains(&Effect::Discover { until_ms: 180_000 }));
        assert_eq!(c.decide(blocked, at(120_100)).first(), Some(&Effect::Rest { ms: 120_000 }));
    }

    #[test]
    fn a_spent_budget_waits_for_the_next_tick() {
        let mut c = core(0);
        c.decide(Event::Wake, at(0));
        assert_eq!(c.decide(Event::Paused, at(10)), [Effect::Wait { until_ms: 60_000 }]);
        let e = c.decide(Event::Wake, at(60_000));
        assert_eq!(e, [Effect::Miss { ticks: 1 }, Effect::Discover { until_ms: 120_000 }]);
    }

    #[derive(Clone, Copy, Debug)]
    struct Step {
        takes_ms: u64,
        kind: u8,
        assets: usize,
        jitter: u64,
        retry: Option<u64>,
    }

    fn step() -> impl Strategy<Value = Step> {
        let takes = prop_oneof![0u64..500, 0u64..70_000, 0u64..9_000_000];
        (takes, 0u8..12, 0usize..4, 0u64..1024, proptest::option::of(0u64..400_000))
            .prop_map(|(takes_ms, kind, assets, jitter, retry)| Step { takes_ms, kind, assets, jitter, retry })
    }

    proptest! {
        #[test]
        fn every_tick_is_one_snapshot_or_one_gap_and_a_resting_vendor_is_not_asked(
            steps in proptest::collection::vec(step(), 1..120), ticks in 0u64..50,
        ) {
            let mut c = core(ticks);
            let (mut now, mut snaps, mut missed, mut resting, mut finished) = (0u64, 0u64, 0u64, 0u64, false);
            let (mut windows, mut hour) = (std::collections::BTreeSet::new(), None);
            let mut effects = c.decide(Event::Wake, at(now));
            for s in steps {
                let (mut event, mut begun) = (Event::Wake, 0);
                for e in effects.drain(..) {
                    match e {
                        Effect::Miss { ticks } => missed += ticks,
                        Effect::Rest { ms } => resting = resting.max(now + ms),
                        Effect::Rotate => hour = Some(at(now).hour),
                        Effect::Wait { until_ms } => { prop_assert!(until_ms > now); now = now.max(until_ms) + s.takes_ms % 300 }
                        Effect::Finish => finished = true,
                        Effect::Discover { until_ms } | Effect::Snapshot { until_ms } => {
                            begun += 1;
                            prop_assert!(now >= resting, "asked at {now} while resting until {resting}");
                            prop_assert!(until_ms > now && until_ms <= now + 60_000);
                            prop_assert!(hour.is_none_or(|h| h == at(now).hour), "asked into an old hour's file");
                            hour = Some(at(now).hour);
                            let snap = matches!(e, Effect::Snapshot { .. });
                            if snap {
                                snaps += 1;
                                prop_assert!(windows.insert(until_ms), "two snapshots in one tick");
                            }
                            // The runner ends at the deadline; a machine that sleeps may be later.
                            now += s.takes_ms;
                            event = match s.kind {
                                0..=6 if snap => Event::Done { assets: s.assets },
                                0..=5 => Event::Discovered { assets: s.assets },
                                6 => Event::Paused,
                                7 => Event::Failed { trouble: Trouble::Failed, retry_after_ms: s.retry, jitter: s.jitter },
                                8 => Event::Failed { trouble: Trouble::Slowed, retry_after_ms: s.retry, jitter: s.jitter },
                                9 => Event::Failed { trouble: Trouble::Blocked, retry_after_ms: s.retry, jitter: s.jitter },
                                10 => Event::Failed { trouble: Trouble::Spent, retry_after_ms: None, jitter: 0 },
                                _ => Event::Wake,
                            };
                            // A runner always answers; Wake while busy must begin nothing.
                            if matches!(event, Event::Wake) {
                                let more = c.decide(Event::Wake, at(now));
                                for m in &more {
                                    if let Effect::Miss { ticks } = m {
                                        missed += ticks;
                                    }
                                    prop_assert!(matches!(m, Effect::Miss { .. }), "{m:?} while busy");
                                }
                                event = if snap { Event::Done { assets: s.assets } } else { Event::Paused };
                            }
                        }
                    }
                }
                prop_assert!(begun <= 1);
                if finished { break; }
                effects = c.decide(event, at(now));
            }
            for e in &effects {
                match e {
                    Effect::Miss { ticks } => missed += ticks,
                    Effect::Snapshot { .. } => snaps += 1,
                    Effect::Finish => finished = true,
                    _ => {}
                }
            }
            prop_assert_eq!(c.ticks, snaps + missed + u64::from(c.pending));
            prop_assert!(ticks == 0 || c.ticks <= ticks);
            if !finished {
                let last = c.decide(Event::Stop, at(now));
                prop_assert_eq!(last.last(), Some(&Effect::Finish));
            }
            prop_assert!(c.decide(Event::Wake, at(now + 1)).is_empty());
        }
    }
}
