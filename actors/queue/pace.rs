//! What a vendor lets us have of its configured limits, learned from its 429s: down at once, up slowly, never above the
//! configured cap.

use datanode_schema::registry::Limits;

/// One.
const WHOLE_PPM: u32 = 1_000_000;
/// At least so much of a limit is left.
const LEAST_PPM: u32 = 100_000;
/// What a 429 leaves of the pace.
const LEFT_PPM: u64 = 700_000;
/// What good answers give back, at most once in [`CREEP_EVERY_MS`].
const CREEP_PPM: u32 = 5_000;
/// Refusals of one burst are one lesson.
const SLOW_EVERY_MS: u64 = 3_000;
const CREEP_EVERY_MS: u64 = 1_000;

/// How an answer bears on the pace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lesson {
    /// The vendor answered.
    Good,
    /// The vendor asked to slow down.
    RateLimited,
}

/// The learned share of the limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The share of the limits that was learned away, in parts of a million: what the record holds.
    pub(super) slowed_ppm: u32,
    slowed_at_ms: Option<u64>,
    crept_at_ms: Option<u64>,
}

impl Pace {
    /// As an earlier process left it.
    pub(super) fn new(slowed_ppm: u32) -> Self {
        Self { slowed_ppm: slowed_ppm.min(WHOLE_PPM - LEAST_PPM), slowed_at_ms: None, crept_at_ms: None }
    }

    /// The share that is left, in parts of a million.
    pub(super) fn left_ppm(self) -> u32 {
        WHOLE_PPM.saturating_sub(self.slowed_ppm).max(LEAST_PPM)
    }

    /// Learns from an answer at `now_ms`.
    pub(super) fn learn(&mut self, answer: Lesson, now_ms: u64) {
        let long_ago = |at: Option<u64>, ms: u64| at.is_none_or(|t| now_ms.saturating_sub(t) >= ms);
        let left = match answer {
            Lesson::RateLimited if long_ago(self.slowed_at_ms, SLOW_EVERY_MS) => {
                self.slowed_at_ms = Some(now_ms);
                // What was given back before the refusal was too much: the next step up waits its turn.
                self.crept_at_ms = Some(now_ms);
                u32::try_from(u64::from(self.left_ppm()) * LEFT_PPM / u64::from(WHOLE_PPM)).unwrap_or(WHOLE_PPM)
            }
            Lesson::Good if self.slowed_ppm > 0 && long_ago(self.crept_at_ms, CREEP_EVERY_MS) => {
                self.crept_at_ms = Some(now_ms);
                self.left_ppm().saturating_add(CREEP_PPM)
            }
            _ => return,
        };
        self.slowed_ppm = WHOLE_PPM - left.clamp(LEAST_PPM, WHOLE_PPM);
    }

    /// Tokens of a second, and the milliseconds that count as one: a pace below one a second is one in a longer second.
    pub(super) fn second(self, limits: &Limits) -> Option<(usize, u64)> {
        let (cap, left) = (u64::from(limits.per_second), u64::from(self.left_ppm()));
        let scaled = cap * left;
        match scaled / u64::from(WHOLE_PPM) {
            _ if cap == 0 => None,
            0 => Some((1, (1_000 * u64::from(WHOLE_PPM)).div_ceil(scaled.max(1)))),
            tokens => Some((usize::try_from(tokens).unwrap_or(usize::MAX), 1_000)),
        }
    }

    /// Tokens of a minute.
    pub(super) fn minute(self, limits: &Limits) -> Option<u64> {
        let scaled = u64::from(limits.per_minute) * u64::from(self.left_ppm()) / u64::from(WHOLE_PPM);
        (limits.per_minute > 0).then_some(scaled.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAP: Limits = Limits { per_second: 10, per_minute: 200, per_day: 0, concurrency: 1 };

    #[test]
    fn a_429_slows_at_once_a_burst_of_them_once_and_never_below_a_tenth() {
        let mut p = Pace::new(0);
        p.learn(Lesson::RateLimited, 10_000);
        assert_eq!((p.left_ppm(), p.second(&CAP), p.minute(&CAP)), (700_000, Some((7, 1_000)), Some(140)));
        p.learn(Lesson::RateLimited, 12_999);
        assert_eq!(p.left_ppm(), 700_000, "one burst is one lesson");
        for i in 0..40 {
            p.learn(Lesson::RateLimited, 13_000 + i * 3_000);
        }
        assert_eq!((p.left_ppm(), p.second(&CAP), p.minute(&CAP)), (100_000, Some((1, 1_000)), Some(20)));
        let two = Limits { per_second: 2, ..CAP };
        assert_eq!(p.second(&two), Some((1, 5_000)), "a fifth of a request a second is one in five");
    }

    #[test]
    fn good_answers_give_back_slowly_and_never_more_than_the_cap() {
        let mut p = Pace::new(300_000);
        for ms in 0..2_000 {
            p.learn(Lesson::Good, ms);
        }
        assert_eq!(p.left_ppm(), 710_000, "two seconds, two steps, however many answers");
        for s in 2..400 {
            p.learn(Lesson::Good, s * 1_000);
        }
        assert_eq!((p.left_ppm(), p.slowed_ppm), (1_000_000, 0));
    }

    #[test]
    fn a_record_that_says_nonsense_slows_to_a_tenth() {
        assert_eq!(Pace::new(u32::MAX).left_ppm(), LEAST_PPM);
        assert_eq!(Pace::new(0).second(&Limits { per_second: 0, ..CAP }), None);
    }
}
