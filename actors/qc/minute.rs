//! Checks of the minutes of one session: flat lines, stamps that lie beside the session. Pure.

use crate::frame::{Cell, Row};
use datanode_schema::calendar::Session;
use datanode_schema::names::Reason;
use datanode_schema::registry::Thresholds;

/// Nanoseconds.
const MINUTE: i64 = 60_000_000_000;
/// Fewer rows than this say nothing of where a session lies.
const LEAST_ROWS: usize = 60;
/// The hours by which a zone or a change of clocks is mistaken.
const HOURS: [i64; 14] = [-1, 1, -4, -5, 4, 5, -2, 2, -3, 3, -6, 6, -7, 7];
/// Rows outside the block, as a share of those inside it, that are still a stray few.
const STRAY: f64 = 0.02;

/// [`Reason::FLAT_LINE`] where so many bars in a row as the rule says have one price, the same, and the same volume.
///
/// Real bars of a thin symbol repeat a price for an hour, but not the volume with it.
pub fn flat_line(qc: &Thresholds, rows: &[Row]) -> u64 {
    let most = qc.flat_rows as usize;
    if most < 2 {
        return 0;
    }
    let mut run = 0;
    let mut before: Option<(u64, u64)> = None;
    for r in rows {
        let Cell::Bar(b) = &r.cell else { return 0 };
        let flat = b.open == b.high && b.open == b.low && b.open == b.close;
        let this = flat.then_some((b.open.to_bits(), b.volume.to_bits()));
        run = match this {
            None => 0,
            Some(_) if this == before => run + 1,
            Some(_) => 1,
        };
        if run >= most {
            return Reason::FLAT_LINE.bit;
        }
        before = this;
    }
    0
}

/// [`Reason::MISREAD_TIMESTAMPS`] where the rows are one block as long as the session that lies whole hours beside it.
///
/// With the session moved by so many hours (1 to 7, to either side):
/// 1. at least 60 rows lie in the moved session, and hardly any (2 %) outside of it: data with extended hours has more;
/// 2. the block begins and ends within some minutes of the moved session's edges (5, more where the symbol trades
///    seldom, 30 at most);
/// 3. the part of the regular session that the moved one leaves is silent: 45 minutes at least, but for the same few;
/// 4. beyond the other edge the rows lie at least half as dense as in the block on the whole.
pub fn misread(session: &Session, stamps: &[i64]) -> u64 {
    let (Some(open), Some(close)) = (session.open.timestamp_nanos_opt(), session.close.timestamp_nanos_opt()) else {
        return 0;
    };
    let here = |from: i64, to: i64| {
        let lo = stamps.partition_point(|s| *s < from);
        stamps.partition_point(|s| *s < to).saturating_sub(lo)
    };
    // Most sessions begin and end where they should, and are done with here.
    let (first, last) = (here(open, open + 45 * MINUTE), here(close - 45 * MINUTE, close));
    if stamps.len() < LEAST_ROWS || (first > 3 && last > 3) {
        return 0;
    }
    let minutes = (close - open) / MINUTE;
    for hours in HOURS {
        let by = hours * 60 * MINUTE;
        let (from, to) = (open + by, close + by);
        let block = here(from, to);
        if block < LEAST_ROWS || share(stamps.len() - block, block) > STRAY {
            continue;
        }
        let density = share(block, usize::try_from(minutes).unwrap_or(usize::MAX));
        let edge = edge_minutes(density) * MINUTE;
        if here(from, from + edge) == 0 || here(to - edge, to) == 0 {
            continue;
        }
        let span = by.abs().min(close - open);
        let (left, beyond) =
            if by > 0 { ((open, open + span), (to - span, to)) } else { ((close - span, close), (from, from + span)) };
        let silent = share(here(left.0, left.1), block) <= STRAY;
        let dense = share(here(beyond.0, beyond.1), usize::try_from(span / MINUTE).unwrap_or(usize::MAX));
        if silent && span >= 45 * MINUTE && dense >= 0.5 * density {
            return Reason::MISREAD_TIMESTAMPS.bit;
        }
    }
    0
}

/// Minutes within which a block that has a row in this share of its minutes begins.
#[allow(clippy::cast_possible_truncation, reason = "between 5 and 30")]
fn edge_minutes(density: f64) -> i64 {
    (5.0 / density.max(0.01)).clamp(5.0, 30.0) as i64
}

#[allow(clippy::cast_precision_loss, reason = "rows of a session")]
fn share(a: usize, b: usize) -> f64 {
    if b == 0 { f64::INFINITY } else { a as f64 / b as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Bar;
    use datanode_schema::calendar::Calendar;
    use datanode_schema::names::Dataset;
    use datanode_schema::registry::{DatasetRule, Registry, Sources};

    fn rule() -> DatasetRule {
        Registry::parse(&Sources::read(None, None, None).unwrap()).unwrap().datasets[&Dataset::EquitiesBarsMinute]
            .clone()
    }

    fn session(date: &str) -> Session {
        Calendar::Xnys.session(date.parse().unwrap()).unwrap()
    }

    /// Stamps of the minutes from the open that `at` names.
    fn stamps(date: &str, at: impl IntoIterator<Item = i64>) -> Vec<i64> {
        let open = session(date).open.timestamp_nanos_opt().unwrap();
        at.into_iter().map(|m| open + m * MINUTE).collect()
    }

    fn is_misread(date: &str, at: impl IntoIterator<Item = i64>) -> bool {
        misread(&session(date), &stamps(date, at)) != 0
    }

    #[test]
    fn a_session_that_lies_whole_hours_beside_its_time_is_misread() {
        let d = "2025-03-10";
        for hours in [-5, -4, -1, 1, 4, 5] {
            assert!(is_misread(d, (0..390).map(|m| m + 60 * hours)), "{hours}");
            // Every third minute, as of a thin symbol.
            assert!(is_misread(d, (0..130).map(|m| 3 * m + 60 * hours)), "{hours}, thin");
        }
        assert!(is_misread("2025-11-28", (60..270).collect::<Vec<i64>>()), "a half-day");
    }

    #[test]
    fn a_session_at_its_time_and_one_with_extended_hours_are_not_misread() {
        let d = "2025-03-10";
        assert!(!is_misread(d, 0..390));
        assert!(!is_misread(d, -330..630), "all of the extended hours");
        assert!(!is_misread(d, -60..450), "some of them");
        assert!(!is_misread(d, 60..390), "a late open alone");
        assert!(!is_misread(d, 0..330), "an early end alone");
        assert!(!is_misread(d, 60..630), "halted at the open, and traded into the night");
        assert!(!is_misread(d, (120..390).chain((390..630).step_by(2))), "a first day that begins at half past eleven");
        assert!(!is_misread(d, [0, 5, 6]), "too few to say");
        // A half-day's afternoon in extended hours.
        assert!(!is_misread("2025-11-28", -330..450));
    }

    fn flat(bars: &[(f64, f64)]) -> bool {
        let row = |(i, (p, v)): (usize, &(f64, f64))| {
            let bar = Bar { open: *p, high: *p, low: *p, close: *p, volume: *v, trades: None, vwap: None };
            Row { when: i as i64 * MINUTE, cell: Cell::Bar(bar), origin: 0 }
        };
        flat_line(&rule().qc, &bars.iter().enumerate().map(row).collect::<Vec<_>>()) != 0
    }

    #[test]
    fn the_same_bar_minute_after_minute_is_a_flat_line_and_a_price_that_stands_is_not() {
        let most = rule().qc.flat_rows as usize;
        assert!(flat(&vec![(10.0, 0.0); most]));
        assert!(!flat(&vec![(10.0, 0.0); most - 1]));
        let traded: Vec<(f64, f64)> = (0..390).map(|i| (10.0, 100.0 + f64::from(i % 7))).collect();
        assert!(!flat(&traded), "the price stands, and every minute trades another number of shares");
        let mut broken = vec![(10.0, 100.0); most];
        broken[most / 2] = (10.01, 100.0);
        assert!(!flat(&broken));
    }
}
