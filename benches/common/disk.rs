//! The sync latency of the disk below a folder, and room for what a run writes. A durable figure without it says nothing.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Instant;

use crate::figure::Figure;

/// Appends 4 KiB and overwrites 4 KiB, `n` times each, with a sync after every write; milliseconds.
#[allow(dead_code, reason = "not every harness needs it")]
pub fn sync_latency(dir: &Path, part: &str, n: usize) -> Result<Vec<Figure>, Box<dyn Error>> {
    let block = [0x5a_u8; 4096];
    let path = dir.join("sync-latency.tmp");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    let mut samples: [Vec<f64>; 2] = Default::default();
    for (kind, out) in samples.iter_mut().enumerate() {
        for _ in 0..n {
            if kind == 1 {
                file.seek(SeekFrom::Start(0))?;
            }
            let begun = Instant::now();
            file.write_all(&block)?;
            if kind == 0 {
                file.sync_all()?
            } else {
                file.sync_data()?
            }
            out.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
    }
    drop(file);
    std::fs::remove_file(&path)?;
    File::open(dir)?.sync_all()?;
    let [append, over] = &samples;
    let figures = [("4 KiB appended + fsync", append), ("4 KiB overwritten + fdatasync", over)];
    Ok(figures.into_iter().filter_map(|(what, s)| Figure::of(part, what, "ms", s)).collect())
}

/// Appends 4 KiB to a file of its own and syncs; milliseconds.
#[allow(dead_code, reason = "not every harness needs it")]
pub fn one_sync(dir: &Path) -> Result<f64, Box<dyn Error>> {
    let mut file = OpenOptions::new().create(true).append(true).open(dir.join("one-sync.tmp"))?;
    let begun = Instant::now();
    file.write_all(&[0x5a_u8; 4096])?;
    file.sync_all()?;
    Ok(begun.elapsed().as_secs_f64() * 1000.0)
}
