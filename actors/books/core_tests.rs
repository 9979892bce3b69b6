//! Tests of the collector's decisions.

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
