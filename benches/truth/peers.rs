//! What other programs say of the rows that the first vendor gave on the first night.

use crate::lab::Fallible;
use crate::lab::claims::{Claims, Class};
use crate::lab::folder::World;
use crate::lab::sessions::WINDOW;
use serde::Deserialize;
use std::path::Path;
use std::process::Command;

/// A peer's word.
#[derive(Deserialize)]
pub struct Said {
    /// Its name and version.
    pub peer: String,
    /// The classes that it has a notion of, or can be made to have.
    pub classes: Vec<Class>,
    /// What it claims.
    pub claims: Claims,
}

/// The scripts; each prints a JSON object a line.
const SCRIPTS: [&str; 2] = ["nautilus_gaps.py", "duckdb_gaps.py"];

/// Asks them all.
pub fn ask(python: &Path, benches: &Path, world: &World, work: &Path) -> Fallible<Vec<Said>> {
    let mut out = Vec::new();
    for script in SCRIPTS {
        let mut c = Command::new(python);
        c.arg(benches.join("peers").join(script)).arg(&world.first).args([WINDOW.0, WINDOW.1]).arg(work);
        let done = c.output()?;
        if !done.status.success() {
            return Err(format!("{script}: {}: {}", done.status, String::from_utf8_lossy(&done.stderr)).into());
        }
        for line in String::from_utf8_lossy(&done.stdout).lines().filter(|l| l.starts_with('{')) {
            out.push(serde_json::from_str(line).map_err(|e| format!("{script}: {e}"))?);
        }
    }
    Ok(out)
}
