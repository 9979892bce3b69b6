//! The disk: what is free, and how long it lasts.

use super::facts::{DiskFact, Facts, Seen};
use datanode_actors::node::Node;
use datanode_schema::store::{Batch, StoreError};
use datanode_schema::trees::COUNTERS;
use std::collections::BTreeMap;
use std::path::Path;

/// Counters of this name and a day number hold the bytes that were free on that day's last cycle.
pub const FREE: &str = "disk/free/";
/// Evenings that are looked back at.
pub const DAYS: i32 = 14;

/// The disk of the data folder.
pub(super) fn disk(ctx: &Seen<'_>, counters: &BTreeMap<String, u64>, today: i32) -> Option<DiskFact> {
    let s = nix::sys::statvfs::statvfs(ctx.node.data.root()).ok()?;
    // A test may give other figures for what is free.
    let free_bytes = ctx.disk_free?;
    let (blocks, size, inodes): (u64, u64, u64) = (s.blocks(), s.fragment_size(), s.files());
    let mut seen: Vec<(f64, f64)> = evenings(counters)
        .filter(|(day, _)| *day < today && today - day <= DAYS)
        .map(|(day, free)| (f64::from(day), free as f64))
        .collect();
    seen.push((f64::from(today), free_bytes as f64));
    Some(DiskFact {
        free_bytes,
        size_bytes: blocks.saturating_mul(size),
        free_inodes: if inodes == 0 { 0 } else { s.files_available() },
        inodes,
        floor_bytes: ctx.node.store.free_space_floor(),
        days_until_full: days_until_full(&seen),
    })
}

/// Day numbers and free bytes that were noted.
pub fn evenings(counters: &BTreeMap<String, u64>) -> impl Iterator<Item = (i32, u64)> {
    counters.iter().filter_map(|(k, n)| Some((k.strip_prefix(FREE)?.parse().ok()?, *n)))
}

/// Notes what is free on an evening: once, when its cycle has ended. Older notes than are looked at go.
///
/// # Errors
/// The store's.
pub fn note(node: &Node, f: &Facts) -> Result<(), StoreError> {
    let Some((d, ended)) = f.disk.as_ref().zip(f.last_cycle.as_ref().map(|c| c.finished_at)) else { return Ok(()) };
    let day = |at: i64| i32::try_from(at.div_euclid(86_400)).unwrap_or(0);
    let (today, key) = (day(f.at), format!("{FREE}{}", day(f.at)));
    if ended == 0 || day(ended) != today || node.store.load(&COUNTERS, &key)?.is_some() {
        return Ok(());
    }
    let mut batch = Batch::new();
    batch.put(&COUNTERS, &key, &d.free_bytes)?;
    let counters: BTreeMap<String, u64> = node.store.load_all(&COUNTERS, &[])?.into_iter().collect();
    for (old, _) in evenings(&counters).filter(|(day, _)| today.saturating_sub(*day) > DAYS) {
        batch.delete(&COUNTERS, &format!("{FREE}{old}"));
    }
    node.store.commit(batch).map(|_| ())
}

/// By a straight line through (day, free bytes), least squares, and from the last of them on. None for less than three days, or where what is
/// free does not shrink.
fn days_until_full(seen: &[(f64, f64)]) -> Option<f64> {
    let (_, last) = seen.last()?;
    if seen.len() < 3 {
        return None;
    }
    let n = seen.len() as f64;
    let (mx, my) = (seen.iter().map(|p| p.0).sum::<f64>() / n, seen.iter().map(|p| p.1).sum::<f64>() / n);
    let slope = seen.iter().map(|(x, y)| (x - mx) * (y - my)).sum::<f64>()
        / seen.iter().map(|(x, _)| (x - mx).powi(2)).sum::<f64>();
    (slope.is_finite() && slope < 0.0).then(|| last / -slope)
}

/// Bytes of the files of a folder and its folders; what cannot be read counts nothing.
pub(super) fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let of = |e: std::fs::DirEntry| match e.metadata() {
        Ok(m) if m.is_dir() => folder_bytes(&e.path()),
        Ok(m) => m.len(),
        Err(_) => 0,
    };
    entries.flatten().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shrinks_by_ten_a_day_from_a_hundred_lasts_seven_days_more() {
        let line: Vec<(f64, f64)> = (0..4).map(|d| (f64::from(d), 100.0 - 10.0 * f64::from(d))).collect();
        assert_eq!(days_until_full(&line).map(f64::round), Some(7.0));
        assert_eq!(days_until_full(&line[..2]), None, "two evenings say nothing");
        assert_eq!(days_until_full(&[(0.0, 1.0), (1.0, 1.0), (2.0, 2.0)]), None, "it grows");
        assert_eq!(days_until_full(&[(0.0, 1.0), (0.0, 1.0), (0.0, 2.0)]), None, "one day alone");
    }
}
