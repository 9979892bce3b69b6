//! A writer and a verifier for power cuts, simulated or real: what was acknowledged must be there, whole.
//!
//! Batch i puts record i of `history` and slot `i mod 64` of three other tables, all with the number i, and deletes
//! record `i − 2000` of `history`: what must be there after batch m follows from m alone.

use std::{collections::VecDeque, io::Write, path::Path};

use super::{Batch, Store, StoreError, StoreOptions, Table, TableDef};

type Row = (u64, Vec<u8>);

const HISTORY: Table<u64, Row> = Table::new("history", 1, 1);
const SLOTS: [Table<u64, Row>; 3] =
    [Table::new("slots-a", 2, 1), Table::new("slots-b", 3, 1), Table::new("slots-c", 4, 1)];
const SLOT_COUNT: u64 = 64;
const KEPT: u64 = 2000;
const COMPACT_EVERY: u64 = 1500;
const IN_FLIGHT: usize = 4;

fn tables() -> Vec<TableDef> {
    std::iter::once(HISTORY.def()).chain(SLOTS.iter().map(Table::def)).collect()
}

fn options() -> StoreOptions {
    StoreOptions {
        cache_bytes: 16 << 20,
        free_space_floor: 16 << 20,
        segment_bytes: 1 << 20,
        ..StoreOptions::default()
    }
}

fn row(i: u64) -> Row {
    (i, vec![i as u8; (i.wrapping_mul(37) % 200) as usize])
}

fn batch(i: u64) -> Result<Batch, StoreError> {
    let mut b = Batch::new();
    b.put(&HISTORY, &i, &row(i))?;
    if let Some(old) = i.checked_sub(KEPT) {
        b.delete(&HISTORY, &old);
    }
    for t in &SLOTS {
        b.put(t, &(i % SLOT_COUNT), &row(i))?;
    }
    Ok(b)
}

/// The newest batch of which anything is there; −1 for none.
fn newest(store: &Store) -> Result<i64, StoreError> {
    let all = store.load_all(&HISTORY, &[])?;
    Ok(all.last().map_or(-1, |(k, _)| *k as i64))
}

/// Commits batches until it is killed, and prints the number of each on a line of its own once it is durable.
///
/// # Errors
/// Any error of the store or of standard output ends it.
pub fn write(dir: &Path) -> Result<std::convert::Infallible, StoreError> {
    let store = Store::open(dir, &tables(), &options())?;
    let mut i = u64::try_from(newest(&store)? + 1).unwrap_or(0);
    let mut tickets = VecDeque::new();
    loop {
        tickets.push_back((i, store.submit(batch(i)?)?));
        i += 1;
        if tickets.len() >= IN_FLIGHT
            && let Some((done, ticket)) = tickets.pop_front()
        {
            ticket.wait()?;
            let mut out = std::io::stdout().lock();
            writeln!(out, "{done}").and_then(|()| out.flush()).map_err(super::error::io_error("print to", dir))?;
        }
        if i.is_multiple_of(COMPACT_EVERY) {
            store.compact_journal()?;
        }
    }
}

/// Opens what a cut left, twice, and judges it. `acked` is the last number that was printed before the cut, −1 for none.
///
/// # Errors
/// What is missing, torn or damaged.
pub fn verify(image_dir: &Path, acked: i64) -> Result<(), String> {
    for pass in ["first open", "second open"] {
        let store = Store::open(image_dir, &tables(), &options()).map_err(|e| format!("{pass}: {e}"))?;
        judge(&store, acked).map_err(|e| format!("{pass}: {e}"))?;
        let i = u64::try_from(newest(&store).map_err(|e| e.to_string())? + 1).unwrap_or(0);
        // The store must go on from here. Dropped and not closed, the second open recovers again.
        store.commit(batch(i).map_err(|e| e.to_string())?).map_err(|e| format!("{pass}: {e}"))?;
        judge(&store, i as i64).map_err(|e| format!("{pass}, after a commit: {e}"))?;
    }
    Ok(())
}

fn judge(store: &Store, acked: i64) -> Result<(), String> {
    let history = store.load_all(&HISTORY, &[]).map_err(|e| e.to_string())?;
    let last = history.last().map_or(-1, |(k, _)| *k as i64);
    if last < acked {
        return Err(format!("batch {acked} was acknowledged, the newest there is {last}"));
    }
    let batches = u64::try_from(last + 1).unwrap_or(0);
    let expected = (batches.saturating_sub(KEPT)..batches).map(|i| (i, row(i)));
    if !history.into_iter().eq(expected) {
        return Err(format!("the history up to {last} is not whole"));
    }
    for t in &SLOTS {
        let slots = store.load_all(t, &[]).map_err(|e| e.to_string())?;
        let newest_of = |slot: u64| (batches.saturating_sub(SLOT_COUNT)..batches).find(|i| i % SLOT_COUNT == slot);
        let expected = (0..SLOT_COUNT).filter_map(|slot| newest_of(slot).map(|i| (slot, row(i))));
        if !slots.into_iter().eq(expected) {
            return Err(format!("{} is not that of batch {last}", t.name));
        }
    }
    let report = store.check().map_err(|e| e.to_string())?;
    if report.ok() { Ok(()) } else { Err(report.problems.join("; ")) }
}
