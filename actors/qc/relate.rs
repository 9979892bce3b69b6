//! The pure part of what sessions say of each other: jumps, splits that are not seen, outliers, values that stand still,
//! vendors that disagree. It knows prints and actions, no rows.
//!
//! - A **jump** is measured from the last price of the session before, of the same listing, to the first price of this
//!   one and to its last: the first tells a split, the last what happened during the day.
//! - An **action** explains a jump where the first price lies where the split and the dividends since the session before
//!   put it (within `action_tolerance`), and the last no farther than `max_jump` from there.
//! - A **second vendor** confirms one where its own step from the session before is the same within ten times
//!   `vendor_tolerance` (two tapes do not close on one trade).
//! - **Outliers** are looked for in the logarithms of returns and of volumes, in the shares of the day, that is after splits
//!   and dividends, against the sessions before: as far from their median as so many median absolute deviations.
//!   What a second vendor confirms is none. A deviation counts as 0.1 % of price (a cent, where that is more) and a tenth of volume
//!   at least: where half the sessions are alike it would be 0.
//! - **Stale** is the so-and-so-manieth session in a row with the same first price, last price and volume, and those after it:
//!   the sessions that begin such a row could not be told when they came.

use datanode_schema::clock::date_of;
use datanode_schema::keys::Month;
use datanode_schema::names::{Dataset, Reason};
use datanode_schema::records::{ActionDay, LedgerDay, Second};
use datanode_schema::registry::{DatasetRule, Thresholds};
use std::collections::BTreeMap;

/// The reasons that this module gives; all others of an entry are not its own.
pub const CROSS: u64 = Reason::UNEXPLAINED_JUMP.bit
    | Reason::JUMP_CONFIRMED.bit
    | Reason::SPLIT_NOT_SEEN.bit
    | Reason::OUTLIER.bit
    | Reason::STALE.bit
    | Reason::VENDORS_DISAGREE.bit
    | Reason::DUPLICATES_DROPPED.bit
    | Reason::RESTATED.bit;

/// The least deviation of a return, as a logarithm.
const LEAST_RETURN: f64 = 0.001;
/// What a price moves by at least, in dollars: of a penny stock that is a large return.
const TICK: f64 = 0.01;
/// The least deviation of a volume, as a logarithm.
const LEAST_VOLUME: f64 = 0.1;
/// So much of the window must be there before anything is called an outlier: a third.
const LEAST_WINDOW: usize = 3;
/// Makes a median absolute deviation comparable to a standard deviation.
const NORMAL: f64 = 1.4826;
/// A second vendor's step is the same within so many times the tolerance of a price.
const STEP: f64 = 10.0;

/// What is known of a symbol around the sessions that are looked at.
pub struct Series<'a> {
    /// The dataset.
    pub dataset: Dataset,
    /// Its rule.
    pub rule: &'a DatasetRule,
    /// Its sessions with rows, by day.
    pub sessions: &'a [LedgerDay],
    /// Actions by ex-date.
    pub actions: &'a BTreeMap<i32, ActionDay>,
    /// Second vendors by day.
    pub seconds: &'a BTreeMap<i32, Second>,
    /// By day what raw noted: [`Reason::DUPLICATES_DROPPED`], [`Reason::RESTATED`].
    pub notes: &'a BTreeMap<i32, u64>,
    /// Days, sorted, on which another listing of the ticker begins or a listing has ended: no session is compared across one.
    pub breaks: &'a [i32],
}

/// So many months before a session's own decide its reasons, and so many after it may change with it.
pub fn reach(rule: &DatasetRule) -> u32 {
    rule.qc.outlier_sessions.max(rule.qc.stale_sessions) / 19 + 2
}

/// The reasons out of [`CROSS`] of each session of `from..=to`.
pub fn relate(series: &Series<'_>, from: i32, to: i32) -> Vec<(i32, u64)> {
    let steps = steps(series);
    let mut out = Vec::new();
    for (i, s) in series.sessions.iter().enumerate().filter(|(_, s)| from <= s.day && s.day <= to) {
        let Some(step) = steps.get(i) else { continue };
        let reach = Month(Month::of(date_of(s.day)).0.saturating_sub(reach(series.rule))).first_day();
        let first = series.sessions.partition_point(|b| b.day < reach.max(step.listed));
        let window = steps.get(first..i).unwrap_or_default();
        let mut bits =
            series.notes.get(&s.day).copied().unwrap_or(0) | disagree(&series.rule.qc, series.seconds.get(&s.day));
        // The session before counts only where it lies in the window: else the order of arrival would show.
        if !window.is_empty() {
            bits |= jump(&series.rule.qc, step);
            bits |= outlier(&series.rule.qc, step, window);
        }
        let stale = series.rule.qc.stale_sessions as usize;
        if stale > 1 && step.same + 1 >= stale && window.len() + 1 >= stale {
            bits |= Reason::STALE.bit;
        }
        out.push((s.day, bits));
    }
    out
}

/// From the session before, of the same listing, to this one. Prices as logarithms.
#[derive(Clone, Copy, Default)]
struct Step {
    /// Whether there is a session before, and all prices are above zero.
    priced: bool,
    /// To the first price.
    open: f64,
    /// To the last price.
    close: f64,
    /// The same after what actions explain.
    rest_open: f64,
    /// The same after what actions explain.
    rest_close: f64,
    /// A cent of the price of the session before, as a return.
    tick: f64,
    /// The splits between the two.
    split: f64,
    /// There was an action between the two.
    acted: bool,
    /// Of a kind that moves a price by what nobody says.
    other: bool,
    /// A second vendor's step, to its first and its last price.
    second: Option<(f64, f64)>,
    /// The volume, in the shares of the first session that is known.
    volume: Option<f64>,
    /// Sessions before it, without a break, that have the same values.
    same: usize,
    /// The day on which its listing begins, or the first that is known.
    listed: i32,
}

fn steps(series: &Series<'_>) -> Vec<Step> {
    let mut out: Vec<Step> = Vec::with_capacity(series.sessions.len());
    let mut splits = 0.0;
    let mut before: Option<&LedgerDay> = None;
    for s in series.sessions {
        let broken = before.is_some_and(|b| {
            let next = series.breaks.partition_point(|d| *d <= b.day);
            series.breaks.get(next).is_some_and(|d| *d <= s.day)
        });
        let last = out.last().copied().unwrap_or_default();
        let (here, factor) = match before.filter(|_| !broken) {
            Some(b) => step(series, b, s),
            None => (Step { listed: s.day, ..Step::default() }, 0.0),
        };
        splits += factor;
        // Nothing traded counts as one share: of a liquid symbol that is far from everything before.
        let volume = ln(f64::from(s.print.volume).max(1.0)).map(|v| v - splits);
        let no_value = no_value(series.dataset, s);
        let same = match before.filter(|_| !broken) {
            // A day without an observation is not looked at, and breaks no row of equal ones.
            Some(_) if no_value => last.same,
            Some(b) if equal(b, s) => last.same + 1,
            _ => 0,
        };
        let listed = if before.is_some() && !broken { last.listed } else { s.day };
        out.push(Step { volume, same, listed, ..here });
        if !no_value {
            before = Some(s);
        }
    }
    out
}

fn no_value(dataset: Dataset, s: &LedgerDay) -> bool {
    dataset == Dataset::MacroTreasury && (s.expected == 0 || s.reasons & Reason::NO_OBSERVATION.bit != 0)
}

fn equal(a: &LedgerDay, b: &LedgerDay) -> bool {
    let bits = |d: &LedgerDay| [d.print.open, d.print.close, d.print.volume].map(f32::to_bits);
    bits(a) == bits(b)
}

/// The step between two sessions, and the logarithm of the splits between them.
fn step(series: &Series<'_>, before: &LedgerDay, s: &LedgerDay) -> (Step, f64) {
    let (mut split, mut cash, mut other, mut acted) = (1.0, 0.0, false, false);
    for a in series.actions.range(before.day + 1..=s.day).map(|(_, a)| a) {
        // A dividend is in the shares of the day before its own split.
        cash += a.cash * split;
        split *= a.split;
        other |= a.other != 0;
        acted |= a.split != 1.0 || a.cash > 0.0;
    }
    let split_ln = ln(split).unwrap_or(0.0);
    let [was, open, close] = [before.print.close, s.print.open, s.print.close].map(|p| ln(f64::from(p)));
    let (Some(was), Some(open), Some(close)) = (was, open, close) else { return (Step::default(), split_ln) };
    // What a share of the day before is worth without its dividends; one that pays more than it is worth is a wrong action.
    let without = ln(f64::from(before.print.close) - cash).unwrap_or(was);
    let should = without - split_ln;
    let second = series.seconds.get(&s.day).filter(|x| x.compared > 0).and_then(|x| {
        let of_before = series.seconds.get(&before.day).filter(|b| b.compared > 0 && b.vendor == x.vendor);
        let was = of_before.map_or(Some(was), |b| ln(f64::from(b.close)))?;
        Some((ln(f64::from(x.open))? - was, ln(f64::from(x.close))? - was))
    });
    let step = Step {
        priced: true,
        open: open - was,
        close: close - was,
        rest_open: open - should,
        rest_close: close - should,
        tick: TICK / f64::from(before.print.close),
        split: split_ln,
        acted,
        other,
        second,
        ..Step::default()
    };
    (step, split_ln)
}

fn ln(v: f64) -> Option<f64> {
    (v > 0.0 && v.is_finite()).then(|| v.ln())
}

/// Whether the price jumped, and who explains it.
fn jump(qc: &Thresholds, s: &Step) -> u64 {
    if qc.max_jump <= 0.0 || !s.priced {
        return 0;
    }
    let (jump, tolerance) = (qc.max_jump.ln_1p(), qc.action_tolerance.ln_1p());
    // A split that is large enough to be seen, while the price opened as if there were none.
    if s.split.abs() > tolerance && s.rest_open.abs() > tolerance && s.open.abs() <= tolerance && !s.other {
        return Reason::SPLIT_NOT_SEEN.bit;
    }
    let jumped = s.open.abs() > jump || s.close.abs() > jump;
    let rests = s.acted && (s.rest_open.abs() > jump || s.rest_close.abs() > jump);
    if !jumped && !rests {
        return 0;
    }
    let by_action = s.acted && s.rest_open.abs() <= tolerance && s.rest_close.abs() <= jump;
    if by_action || s.other || agrees(qc, s) { Reason::JUMP_CONFIRMED.bit } else { Reason::UNEXPLAINED_JUMP.bit }
}

/// Whether a second vendor's step is this one's.
fn agrees(qc: &Thresholds, s: &Step) -> bool {
    let near = (qc.vendor_tolerance * STEP).ln_1p();
    s.second.is_some_and(|(open, close)| (open - s.open).abs() <= near && (close - s.close).abs() <= near)
}

fn disagree(qc: &Thresholds, second: Option<&Second>) -> u64 {
    let Some(x) = second.filter(|x| x.compared > 0) else { return 0 };
    let most = qc.max_disagreement * f64::from(x.compared);
    if f64::from(x.differ) > most { Reason::VENDORS_DISAGREE.bit } else { 0 }
}

/// Whether the return or the volume lies far outside of what the sessions before were like.
fn outlier(qc: &Thresholds, s: &Step, window: &[Step]) -> u64 {
    if qc.outlier_mads <= 0.0 {
        return 0;
    }
    let most = qc.outlier_sessions as usize;
    let window = window.get(window.len().saturating_sub(most)..).unwrap_or_default();
    let far = |value: f64, others: Vec<f64>, least: f64| {
        others.len() >= most / LEAST_WINDOW && deviations(value, others, least) > qc.outlier_mads
    };
    let returns = || window.iter().filter(|w| w.priced).map(|w| w.rest_close).collect();
    let volumes = || window.iter().filter_map(|w| w.volume).collect();
    let price = s.priced && far(s.rest_close, returns(), LEAST_RETURN.max(s.tick)) && !agrees(qc, s);
    let volume = s.volume.is_some_and(|v| far(v, volumes(), LEAST_VOLUME));
    if price || volume { Reason::OUTLIER.bit } else { 0 }
}

/// How many deviations a value lies from the median of the others.
fn deviations(value: f64, mut others: Vec<f64>, least: f64) -> f64 {
    let middle = median(&mut others);
    others.iter_mut().for_each(|o| *o = (*o - middle).abs());
    (value - middle).abs() / (NORMAL * median(&mut others)).max(least)
}

/// The upper median; 0 of nothing.
fn median(values: &mut [f64]) -> f64 {
    let at = values.len() / 2;
    if at >= values.len() {
        return 0.0;
    }
    *values.select_nth_unstable_by(at, f64::total_cmp).1
}

#[cfg(test)]
mod tests;
