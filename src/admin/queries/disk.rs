//! The disk: what is free, and how long it lasts.

use super::facts::DiskFact;
use crate::admin::AdminContext;
use std::collections::BTreeMap;
use std::path::Path;

/// Counters of this name and a day number hold the bytes that were free on that day's last cycle.
pub const FREE: &str = "disk/free/";
/// Evenings that are looked back at.
pub const DAYS: i32 = 14;

/// The disk of the data folder.
pub(super) fn disk(ctx: &AdminContext, counters: &BTreeMap<String, u64>, today: i32) -> Option<DiskFact> {
    let s = nix::sys::statvfs::statvfs(ctx.data.root()).ok()?;
    // A test may give other figures for what is free.
    let free_bytes = (ctx.disk_free)()?;
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
        floor_bytes: ctx.desk.node.store.free_space_floor(),
        days_until_full: days_until_full(&seen),
    })
}

/// Day numbers and free bytes that were noted.
pub fn evenings(counters: &BTreeMap<String, u64>) -> impl Iterator<Item = (i32, u64)> {
    counters.iter().filter_map(|(k, n)| Some((k.strip_prefix(FREE)?.parse().ok()?, *n)))
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
