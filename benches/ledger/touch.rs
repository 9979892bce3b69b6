//! A night that touches one curated file in a hundred, against one that makes all of them.

use crate::figure::{Figure, print};
use crate::{Fallible, Market, stage};
use datanode_schema::store::{Batch, Store};
use datanode_schema::trees::{CURATED, LEDGER, TOUCHED, UNJUDGED};
use serde_json::Value;

/// Makes every curated file one that was never judged: the ledger is empty again.
pub fn unjudge(store: &Store) -> Fallible<()> {
    let mut batch = Batch::new();
    for (key, _) in store.load_all(&LEDGER, &[])? {
        batch.delete(&LEDGER, &key);
    }
    for (key, _) in store.load_all(&CURATED, &[])? {
        batch.put(&UNJUDGED, &key, &1)?;
    }
    store.commit(batch)?;
    Ok(store.clone().close()?)
}

/// Touches every `step`-th file, so that it is made, written and judged as if for the first time.
fn touch(store: &Store, step: usize) -> Fallible<()> {
    let mut batch = Batch::new();
    for (key, _) in store.load_all(&CURATED, &[])?.into_iter().step_by(step) {
        batch.delete(&CURATED, &key).put(&TOUCHED, &key, &1)?;
    }
    store.commit(batch)?;
    Ok(store.clone().close()?)
}

/// What curating and judging took.
struct Night {
    seconds: f64,
    cpu: f64,
    written: f64,
}

fn night(market: &Market<'_>, step: usize) -> Fallible<Night> {
    touch(&market.store()?, step)?;
    let (m, summary) = market.nightly("http://127.0.0.1:9", "curate,qc", "touched")?;
    let (curate, counters) = stage(&summary, "curate")?;
    let (qc, _) = stage(&summary, "qc")?;
    let written = counters.get("written").and_then(Value::as_f64).unwrap_or(0.0);
    Ok(Night { seconds: curate + qc, cpu: m.user + m.sys, written })
}

/// All of it, one file in a hundred, and one file.
pub fn measure(market: &Market<'_>, sessions: usize, reps: usize) -> Fallible<()> {
    market.collect(sessions)?;
    market.nightly("http://127.0.0.1:9", "curate,qc", "first")?;
    let (mut all, mut some, mut none) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..reps.max(1) {
        all.push(night(market, 1)?);
        some.push(night(market, 100)?);
        none.push(night(market, usize::MAX)?);
    }
    let part = &format!("a small change: {sessions} files");
    let of = |nights: &[Night], f: fn(&Night) -> f64| nights.iter().map(f).collect::<Vec<f64>>();
    let files = |n: &[Night]| n.first().map_or(0.0, |n| n.written);
    for (what, nights) in [("all files", &all), ("1 % of the files", &some), ("one file", &none)] {
        let note = format!("{} files written and judged; curate and qc", files(nights));
        print(Figure::of(part, what, "s", &of(nights, |n| n.seconds)).map(|f| f.note(note)));
    }
    let share =
        |f: fn(&Night) -> f64| -> Vec<f64> { some.iter().zip(&all).map(|(s, a)| 100.0 * f(s) / f(a)).collect() };
    print(Figure::of(part, "1 % ÷ all: time of the stages", "%", &share(|n| n.seconds)));
    let cpu: Vec<f64> =
        some.iter().zip(&all).zip(&none).map(|((s, a), n)| 100.0 * (s.cpu - n.cpu) / (a.cpu - n.cpu)).collect();
    let note = "both less what the same night costs with one file";
    print(Figure::of(part, "1 % ÷ all: CPU of the process", "%", &cpu).map(|f| f.note(note)));
    Ok(())
}
