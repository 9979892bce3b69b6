//! `datanode pack diff`: what changed from one pack to another.

use super::global::Global;
use super::pack::sound;
use super::table::thousands;
use crate::failure::{Code, Done, Failure, printable_line};
use datanode_actors::export::{FileChange, MANIFEST_FILE, PackDiff, PackManifest, read_text, verify_pack};
use std::path::Path;

/// Prints what changed. Same or different, the exit code is 0: the text says which.
///
/// # Errors
/// 3, 4 or 5 where one of the two is damaged, not valid, or not there.
pub fn diff(g: &Global, a: &Path, b: &Path) -> Done {
    let d = PackDiff::of(&verified(a)?, &verified(b)?);
    if g.json {
        let mut out = serde_json::to_value(&d).map_err(Failure::failed)?;
        if let Some(map) = out.as_object_mut() {
            map.insert("same".to_owned(), d.is_same().into());
        }
        println!("{out}");
        return Ok(());
    }
    for f in &d.files {
        let path = printable_line(&f.path);
        println!("{:<8} {path}  rows {}  bytes {}", f.change, turned(f.rows), turned(f.bytes));
    }
    let or = |side: &Option<String>| side.as_ref().map_or_else(|| "not held out".to_owned(), |s| printable_line(s));
    for e in &d.excluded {
        println!("verdict  {}  {} → {}", printable_line(&e.partition), or(&e.before), or(&e.after));
    }
    for (what, before, after) in &d.said {
        println!("{what:<8} {} → {}", printable_line(before), printable_line(after));
    }
    if d.is_same() {
        println!("same     {} and {} hold the same", d.a, d.b);
        return Ok(());
    }
    let n = |change: &str| thousands(d.files.iter().filter(|f: &&FileChange| f.change == change).count() as u64);
    println!(
        "differ   {} → {}: {} files added, {} removed, {} changed; {} partitions held out otherwise",
        d.a,
        d.b,
        n("added"),
        n("removed"),
        n("changed"),
        thousands(d.excluded.len() as u64)
    );
    Ok(())
}

fn turned((before, after): (Option<u64>, Option<u64>)) -> String {
    let side = |n: Option<u64>| n.map_or_else(|| "–".to_owned(), thousands);
    if before == after { side(before) } else { format!("{} → {}", side(before), side(after)) }
}

fn verified(path: &Path) -> Result<PackManifest, Failure> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    sound(path, verify_pack(path, threads))?;
    let file = path.join(MANIFEST_FILE);
    let text = read_text(&file).map_err(|e| Failure::new(Code::Integrity, format!("{}: {e}", file.display())))?;
    PackManifest::parse(&text).map_err(|e| Failure::new(Code::Contract, format!("{}: {e}", path.display())))
}
