//! `datanode pack verify` beside coreutils' `sha256sum -c`, on one pack.

use crate::child::{Measured, measured};
use crate::figure::{Figure, print};
use std::error::Error;
use std::ffi::OsString;
use std::path::Path;

const SUMS: &str = "SHA256SUMS.stable.txt";
const REPS: usize = 5;

/// Both on one pack of `bytes`, in turn, five times after one that fills the page cache.
///
/// # Errors
/// One of them finds fault with the pack.
pub fn compare(datanode: &Path, pack: &Path, work: &Path, name: &str, bytes: u64) -> Result<(), Box<dyn Error>> {
    let bytes = bytes as f64;
    let files = std::fs::read_to_string(pack.join(SUMS))?.lines().count();
    let out = work.join("verify.out");
    let ours: Vec<OsString> = vec!["pack".into(), "verify".into(), pack.into()];
    let shell = "cd \"$1\" && exec sha256sum --quiet -c \"$2\"";
    let theirs: Vec<OsString> = vec!["-c".into(), shell.into(), "sh".into(), pack.into(), SUMS.into()];
    let native = [("DATANODE_BENCH_NATIVE".to_owned(), "1".to_owned())];
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for i in 0..=REPS {
        let pair = (measured(datanode, &ours, &[], &out)?, measured(Path::new("sh"), &theirs, &native, &out)?);
        // The first brings the files into memory for both.
        if i > 0 {
            a.push(pair.0);
            b.push(pair.1);
        }
    }
    let walls = |m: &[Measured], f: &dyn Fn(f64) -> f64| m.iter().map(|m| f(m.wall)).collect::<Vec<f64>>();
    let say = |what: &str, unit: &str, s: &[f64], note: String| {
        print(Figure::of("verify", &format!("{name}: {what}"), unit, s).map(|f| f.note(note)));
    };
    let size = format!("{files} files, {:.1} MB, in the page cache", bytes / 1e6);
    say("pack verify", "ms", &walls(&a, &|w| w * 1e3), size);
    say("sha256sum -c", "ms", &walls(&b, &|w| w * 1e3), "one thread; sums only, no manifest".to_owned());
    let ratio: Vec<f64> = a.iter().zip(&b).map(|(a, b)| b.wall / a.wall).collect();
    say("sha256sum -c ÷ pack verify", "", &ratio, "above 1: pack verify is faster".to_owned());
    let cpu = |m: &[Measured]| m.iter().map(|m| m.user + m.sys).collect::<Vec<f64>>();
    let rate: Vec<f64> = cpu(&a).iter().map(|c| bytes / 1e6 / c.max(0.001)).collect();
    say("pack verify", "MB/CPU-s", &rate, String::new());
    let rate: Vec<f64> = cpu(&b).iter().map(|c| bytes / 1e6 / c.max(0.001)).collect();
    say("sha256sum -c", "MB/CPU-s", &rate, String::new());
    Ok(())
}
