//! What a vendor counts never exceeds what it allows, whatever happens to us.

use super::*;
use proptest::prelude::*;

fn limits(per_second: u32, per_minute: u32, per_day: u64) -> Limits {
    Limits { per_second, per_minute, per_day, concurrency: 1 }
}

/// Something that happens at a time of the world, in milliseconds.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// The process ends and begins anew with what is durable.
    Restart,
    /// The machine does: its clock since boot begins at 7 s.
    Reboot,
    /// A good answer, or a 429.
    Answer(Lesson),
    /// Headers.
    Headers(u32, Option<u64>),
    /// A 429's own wait.
    Close(u64),
    /// The wall clock shows another day.
    Day(i32),
    /// The next commit takes so long.
    Late(u64),
}

struct World {
    limits: Limits,
    bucket: Bucket,
    durable: BudgetRecord,
    boot: u32,
    booted_ms: u64,
    day: i32,
    commit_ms: u64,
    /// When each request went out, in the world's time, and on which of our days.
    sent: Vec<(u64, i32)>,
    /// The day of each token that was granted, and whether a request went out with it: a commit that took too long uses
    /// its token up, and its day has begun all the same, since the commit comes before the request.
    granted: Vec<(i32, bool)>,
}

impl World {
    fn new(limits: Limits) -> Self {
        let bucket = Bucket::new(limits, BudgetRecord::default(), "0", 0, 0);
        let durable = BudgetRecord::default();
        Self {
            limits,
            bucket,
            durable,
            boot: 0,
            booted_ms: 0,
            day: 0,
            commit_ms: 0,
            sent: Vec::new(),
            granted: Vec::new(),
        }
    }

    fn happen(&mut self, event: Event, now: &mut u64) {
        let since_boot = *now - self.booted_ms;
        let unix = i64::try_from(*now / 1000).unwrap();
        match event {
            Event::Restart | Event::Reboot => {
                if matches!(event, Event::Reboot) {
                    self.boot += 1;
                    // A machine takes its time to start.
                    *now += 7_000;
                    self.booted_ms = *now - 7_000;
                }
                let since_boot = *now - self.booted_ms;
                self.bucket = Bucket::new(self.limits, self.durable.clone(), &self.boot.to_string(), since_boot, unix);
            }
            Event::Answer(a) => self.bucket.learned(a, since_boot),
            Event::Headers(n, reset) => {
                self.bucket.note_headers(n, reset, since_boot, unix);
            }
            Event::Close(ms) => self.bucket.close(since_boot, ms, unix),
            Event::Day(d) => self.day = d,
            Event::Late(ms) => self.commit_ms = ms,
        }
    }

    /// Sends as fast as is allowed until `until`.
    fn run(&mut self, until: u64, events: &[(u64, Event)]) {
        let (mut now, mut events) = (0u64, events.iter().peekable());
        while now < until {
            while let Some((_, e)) = events.next_if(|(at, _)| *at <= now) {
                self.happen(*e, &mut now);
            }
            let next = events.peek().map_or(until, |(at, _)| *at).max(now + 1);
            match self.bucket.take(now - self.booted_ms, self.day) {
                Grant::Now => {
                    self.sent.push((now, self.day));
                    self.granted.push((self.day, true));
                }
                Grant::AfterCommit => {
                    let (record, reservation) = self.bucket.to_write();
                    self.durable = record;
                    let at = now - self.booted_ms;
                    now += std::mem::take(&mut self.commit_ms);
                    self.bucket.confirm(reservation);
                    let used = self.bucket.late(at, now - self.booted_ms);
                    if used {
                        self.sent.push((now, self.day));
                    }
                    self.granted.push((self.day, used));
                }
                Grant::Wait(ms) => {
                    let told = self.bucket.wait_ms(now - self.booted_ms, self.day);
                    assert!(told == ms || told == u64::MAX, "{told} {ms}");
                    now = (now + ms).min(next);
                }
                Grant::SpentToday => {
                    assert_eq!(self.bucket.wait_ms(now - self.booted_ms, self.day), u64::MAX);
                    now = next;
                }
            }
        }
    }
}

fn spend(l: Limits, until_ms: u64) -> usize {
    let mut w = World::new(l);
    w.run(until_ms, &[]);
    w.sent.len()
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => Just(Event::Restart),
        1 => Just(Event::Reboot),
        3 => Just(Event::Answer(Lesson::RateLimited)),
        3 => Just(Event::Answer(Lesson::Good)),
        2 => (0u32..8, proptest::option::of(0u64..70_000)).prop_map(|(n, r)| Event::Headers(n, r)),
        1 => (0u64..5_000).prop_map(Event::Close),
        2 => (0i32..4).prop_map(Event::Day),
        2 => (0u64..3_000).prop_map(Event::Late),
    ]
}

proptest! {
    #[test]
    fn no_window_of_the_vendor_ever_sees_more_than_the_limit(
        s in 0u32..6, m in 1u32..90, d in 0u64..400,
        events in proptest::collection::vec((0u64..180_000, event()), 0..40),
    ) {
        let mut events = events;
        events.sort_by_key(|(at, _)| *at);
        let mut w = World::new(limits(s, m, d));
        w.run(180_000, &events);
        for (i, (t, _)) in w.sent.iter().enumerate() {
            let within = |ms: u64| w.sent.iter().skip(i).take_while(|(u, _)| *u < t + ms).count();
            prop_assert!(within(60_000) <= m as usize, "minute from {t}: {:?}", w.sent);
            prop_assert!(s == 0 || within(1_000) <= s as usize, "second from {t}: {:?}", w.sent);
        }
        // A day that began is over for good once a later one began: a clock that steps back and forth frees nothing.
        let mut newest = 0;
        let mut of_day = 0u64;
        for (day, sent) in &w.granted {
            if *day > newest {
                (newest, of_day) = (*day, 0);
            }
            of_day += u64::from(*sent);
            prop_assert!(d == 0 || of_day <= d, "day {newest}");
        }
    }

    #[test]
    fn while_the_vendor_says_that_nothing_remains_nothing_is_sent(
        s in 0u32..6, m in 1u32..90, at in 0u64..60_000, reset in 1_000u64..60_000, restart in proptest::option::of(0u64..60_000),
    ) {
        let mut w = World::new(limits(s, m, 0));
        w.run(at, &[]);
        let mut now = at;
        w.happen(Event::Headers(0, Some(reset)), &mut now);
        w.durable = w.bucket.to_write().0;
        let sent = w.sent.len();
        if restart.is_some() {
            w.happen(Event::Restart, &mut now);
        }
        for ms in (at..at + reset).step_by(100) {
            prop_assert!(matches!(w.bucket.take(ms, 0), Grant::Wait(_)), "{ms}");
        }
        prop_assert_eq!(w.sent.len(), sent);
    }

    #[test]
    fn other_limits_free_nothing_that_was_spent(
        before in 1u32..60, after in 1u32..60, d in 1u64..60, again in 1u64..60,
    ) {
        let mut w = World::new(limits(0, before, d));
        w.run(5_000, &[]);
        let spent = w.sent.len();
        w.bucket.reconfigure(limits(0, after, again));
        w.limits = limits(0, after, again);
        let mut more = 0u64;
        for ms in 5_000..8_000 {
            match w.bucket.take(ms, 0) {
                Grant::Now => more += 1,
                Grant::AfterCommit => {
                    let (_, reservation) = w.bucket.to_write();
                    w.bucket.confirm(reservation);
                    more += 1;
                }
                Grant::Wait(_) | Grant::SpentToday => {}
            }
        }
        prop_assert!(more == 0 || spent as u64 + more <= u64::from(after).min(again), "{spent} {more}");
    }
}

#[test]
fn a_limit_is_used_up_to_the_full() {
    assert_eq!(spend(limits(0, 10, 0), 60_000), 10);
    assert_eq!(spend(limits(2, 0, 0), 10_000), 20);
    assert_eq!(spend(limits(0, 0, 7), 10_000), 7);
}

#[test]
fn a_learned_pace_survives_a_restart_and_comes_back_with_good_answers() {
    let mut b = Bucket::new(limits(10, 0, 0), BudgetRecord::default(), "boot", 0, 0);
    b.learned(Lesson::RateLimited, 5_000);
    let b = Bucket::new(limits(10, 0, 0), b.to_write().0, "boot", 6_000, 6);
    assert_eq!(b.left_ppm(), 700_000);
    let mut b = Bucket::new(limits(10, 0, 0), b.to_write().0, "another", 1_000, 7);
    let granted = |b: &mut Bucket, from: u64| {
        let sent = (from..from + 1_000).filter(|ms| {
            let g = b.take(*ms, 0);
            let (_, reservation) = b.to_write();
            b.confirm(reservation);
            matches!(g, Grant::Now | Grant::AfterCommit)
        });
        sent.count()
    };
    assert_eq!(granted(&mut b, 10_000), 7);
    for s in 11..100 {
        b.learned(Lesson::Good, s * 1_000);
    }
    assert_eq!(granted(&mut b, 100_000), 10, "and not one more than the cap");
}

#[test]
fn a_record_of_another_boot_counts_as_spent_just_now_and_not_for_ever() {
    let record = BudgetRecord {
        boot_id: "old".into(),
        recent: vec![Spent { second: 9_999, requests: 5 }],
        ..Default::default()
    };
    let mut b = Bucket::new(limits(0, 5, 0), record, "new", 1_000, 0);
    assert!(matches!(b.take(1_000, 0), Grant::Wait(_)));
    let mut again = Bucket::new(limits(0, 5, 0), b.to_write().0, "new", 2_000, 0);
    assert!(matches!(again.take(2_000, 0), Grant::Wait(_)));
    assert_eq!(again.take(70_000, 0), Grant::AfterCommit, "the old boot's seconds are not taken for this one's");
}

#[test]
fn somebody_else_who_spends_from_the_same_account_is_left_room() {
    let mut b = Bucket::new(Limits { concurrency: 3, ..limits(0, 100, 0) }, BudgetRecord::default(), "b", 0, 0);
    assert!(!b.note_headers(6, Some(30_000), 1_000, 1));
    let mut sent = 0;
    for ms in 1_000..30_000 {
        let g = b.take(ms, 0);
        let (_, reservation) = b.to_write();
        b.confirm(reservation);
        sent += u32::from(matches!(g, Grant::Now | Grant::AfterCommit));
    }
    assert_eq!(sent, 4, "six, less the two that may be under way");
    assert!(matches!(b.take(31_001, 0), Grant::Now | Grant::AfterCommit), "the vendor's window began anew");
}

#[test]
fn a_wait_that_no_vendor_means_ends_after_a_day() {
    let mut b = Bucket::new(limits(1, 1, 1), BudgetRecord::default(), "b", 0, 0);
    b.close(5_000, u64::MAX, i64::MAX - 1);
    assert!(b.note_headers(0, Some(u64::MAX), 5_000, 0) || b.wait_ms(5_000, 0) <= LONGEST_CLOSED_MS);
    assert!(b.wait_ms(5_000, 0) <= LONGEST_CLOSED_MS);
}
