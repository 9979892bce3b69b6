//! Whether a vendor is worth asking just now: after three failures in a row it is left alone for a while, then asked for
//! one thing; where that goes on failing it is out for the rest of the stage. Pure.

/// Failures in a row before the vendor is left alone.
const TOLERATED: u32 = 3;
/// The first rest, in milliseconds; it doubles.
const FIRST_REST: u64 = 500;
/// Asks in a row that end with "slow down" before it is out.
const LIMITED: u32 = 8;
/// Rests before it is out: 15.5 s in all.
const RESTS: u32 = 5;

/// The state of one vendor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    failures: u32,
    rests: u32,
    until_ms: u64,
    out: bool,
    refused: bool,
    limited: u32,
}

/// Whether it may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fitness {
    /// Yes.
    Fit,
    /// For one thing at a time, to see whether it is back.
    Probe,
    /// Not before so many milliseconds.
    Rests(u64),
    /// Not in this stage.
    Out,
    /// Its key was refused: not in this run.
    Refused,
}

impl Health {
    /// A good answer, or a refusal that says that the vendor works.
    pub fn answered(&mut self) {
        *self = Self { refused: self.refused, ..Self::default() };
    }

    /// An error, a timeout, an answer that does not parse.
    pub fn failed(&mut self, now_ms: u64, jitter: u64) {
        self.failures += 1;
        if self.failures < TOLERATED || self.until_ms > now_ms {
            return;
        }
        if self.rests >= RESTS {
            self.out = true;
            return;
        }
        let rest = FIRST_REST << self.rests;
        self.until_ms = now_ms + rest / 2 + jitter % (rest / 2 + 1);
        self.rests += 1;
    }

    /// It asked to slow down, although its budget had a token: where that goes on, it is out for the stage.
    pub fn limited(&mut self) {
        self.limited += 1;
        self.out |= self.limited >= LIMITED;
    }

    /// The key is not accepted.
    pub fn refuse_key(&mut self) {
        self.refused = true;
    }

    /// A new run: what was out may be asked again, and a refused key is tried once more.
    pub fn renew(&mut self) {
        *self = Self::default();
    }

    /// Whether it may be asked now.
    pub fn fitness(&self, now_ms: u64) -> Fitness {
        if self.refused {
            Fitness::Refused
        } else if self.out {
            Fitness::Out
        } else if self.until_ms > now_ms {
            Fitness::Rests(self.until_ms - now_ms)
        } else if self.failures >= TOLERATED {
            Fitness::Probe
        } else {
            Fitness::Fit
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vendor_that_is_down_is_asked_less_and_less_and_then_not_at_all() {
        let (mut h, mut now, mut asked) = (Health::default(), 0, 0);
        loop {
            match h.fitness(now) {
                Fitness::Fit | Fitness::Probe => {
                    asked += 1;
                    h.failed(now, u64::MAX);
                }
                Fitness::Rests(ms) => now += ms,
                Fitness::Out | Fitness::Refused => break,
            }
        }
        assert_eq!(asked, 3 + 5);
        assert!((7_000..16_000).contains(&now), "{now}");
        h.renew();
        assert_eq!(h.fitness(now), Fitness::Fit);
    }

    #[test]
    fn one_good_answer_ends_the_doubt_and_a_refused_key_stays_refused() {
        let mut h = Health::default();
        for _ in 0..3 {
            h.failed(0, 0);
        }
        assert!(matches!(h.fitness(0), Fitness::Rests(_)));
        assert_eq!(h.fitness(10_000), Fitness::Probe);
        h.answered();
        assert_eq!(h.fitness(10_000), Fitness::Fit);
        h.refuse_key();
        h.answered();
        assert_eq!(h.fitness(10_000), Fitness::Refused, "an answer under way does not unsay it");
        h.renew();
        assert_eq!(h.fitness(10_000), Fitness::Fit, "the next run tries once");
    }

    #[test]
    fn a_vendor_that_limits_everything_does_not_hold_the_stage_for_ever() {
        let mut h = Health::default();
        for _ in 0..8 {
            assert_ne!(h.fitness(0), Fitness::Out);
            h.limited();
        }
        assert_eq!(h.fitness(0), Fitness::Out);
    }
}
