//! What the project set itself, in one place. They are shown beside what was measured, and nothing fails on them: how
//! fast a machine is that does other work too proves nothing about the program.

use crate::figure::Figure;
use std::fmt;

/// A bound.
#[derive(Clone, Copy)]
pub enum Target {
    /// At least so much.
    AtLeast(f64),
    /// At most so much.
    AtMost(f64),
}

use Target::{AtLeast, AtMost};

/// Part, figure, unit, bound. A part that ends in `:` stands for all that begin with it.
const TARGETS: [(&str, &str, &str, Target); 65] = [
    ("nightly", "rows a second, end to end", "rows/s", AtLeast(50_000.0)),
    ("nightly", "peak memory", "MB", AtMost(256.0)),
    ("nothing to do", "wall", "s", AtMost(2.0)),
    ("nothing to do", "requests", "requests", AtMost(0.0)),
    ("chaos: one vendor", "node: rows a second", "rows/s", AtLeast(300_000.0)),
    ("chaos: all vendors", "node: rows a second", "rows/s", AtLeast(300_000.0)),
    ("chaos:", "rows a second, node ÷ dlt", "", AtLeast(5.0)),
    ("chaos:", "CPU of a million rows, node ÷ dlt", "", AtMost(0.2)),
    ("chaos:", "peak memory, node ÷ dlt", "", AtMost(1.0)),
    ("chaos:", "node: bars missing", "bars", AtMost(0.0)),
    ("chaos:", "node: bars twice", "bars", AtMost(0.0)),
    ("chaos:", "node: bars strange", "bars", AtMost(0.0)),
    ("chaos:", "node: bars different", "bars", AtMost(0.0)),
    ("chaos:", "node: asked in vain", "%", AtMost(3.0)),
    ("chaos:", "node: beyond the limits", "requests", AtMost(0.0)),
    ("queue", "tasks claimed and completed a second: how far ahead", "×", AtLeast(1.0)),
    ("queue", "a task's wait, p50: how far ahead", "×", AtLeast(1.0)),
    ("queue", "a task's wait, p99: how far ahead", "×", AtLeast(1.0)),
    ("queue", "a batch's claim, p50: how far ahead", "×", AtLeast(1.0)),
    ("queue", "a batch's claim, p99: how far ahead", "×", AtLeast(1.0)),
    ("queue", "kill to reclaim: how far ahead", "×", AtLeast(1.0)),
    ("scale:", "tasks enqueued a second", "tasks/s", AtLeast(500_000.0)),
    ("scale:", "peak memory", "MB", AtMost(300.0)),
    ("scale:", "state on disk", "MB", AtMost(1_000.0)),
    ("scale:", "claim p99 - 3 × sync p50", "ms", AtMost(GROUP_WAIT_MS)),
    ("scale:", "kill to first claim", "s", AtMost(3.0)),
    ("audit: 25.2 million symbol-days", "audited", "s", AtMost(2.0)),
    ("audit: 25.2 million symbol-days", "peak memory", "MB", AtMost(300.0)),
    ("qc: 1.17 million bars", "judged", "s", AtMost(1.5)),
    ("qc: 1.17 million bars", "peak memory", "MB", AtMost(200.0)),
    ("a small change: 1000 files", "1 % ÷ all: time of the stages", "%", AtMost(2.0)),
    ("packs:", "export ÷ one core's SHA-256", "", AtLeast(0.8)),
    ("packs:", "peak memory", "MB", AtMost(200.0)),
    ("verify", "pack of 0.2 GB: sha256sum -c ÷ pack verify", "", AtLeast(3.0)),
    ("verify", "pack of 2 GB: sha256sum -c ÷ pack verify", "", AtLeast(3.0)),
    ("packs: ship:", "upload, datanode ÷ rclone", "", AtLeast(1.0)),
    // Of 0.2 GB one file is more than a hundredth.
    ("packs: ship: 2 GB", "bytes sent, plain (1 %, full) ÷ full", "%", AtMost(2.0)),
    ("packs: ship: 2 GB", "bytes sent, plain (1 %, delta) ÷ full", "%", AtMost(2.0)),
    ("packs: ship: 2 GB", "bytes sent, sealed (1 %, full) ÷ full", "%", AtMost(2.0)),
    ("packs: ship: 2 GB", "bytes sent, sealed (1 %, delta) ÷ full", "%", AtMost(2.0)),
    ("packs: ship: 2 GB", "bytes written, without the vault (1 %, full) ÷ full", "%", AtMost(2.0)),
    ("packs: ship: 2 GB", "bytes written, without the vault (1 %, delta) ÷ full", "%", AtMost(2.0)),
    ("packs: ship: 2 GB", "bytes written, vault (1 %, full) ÷ full", "%", AtMost(2.0)),
    ("packs: ship: 2 GB", "bytes written, vault (1 %, delta) ÷ full", "%", AtMost(2.0)),
    ("packs: pull: 2 GB", "bytes pulled, as the server's side counts (1 %, full) ÷ full", "%", AtMost(1.5)),
    ("packs: pull: 2 GB", "bytes pulled, as the server's side counts (1 %, delta) ÷ full", "%", AtMost(1.5)),
    ("vault:", "seal: datanode ÷ restic, by CPU", "", AtLeast(3.0)),
    ("vault:", "seal: datanode ÷ rustic, by CPU", "", AtLeast(3.0)),
    ("vault:", "seal: datanode ÷ restic, by wall time", "", AtLeast(3.0)),
    ("vault:", "seal: datanode ÷ rustic, by wall time", "", AtLeast(3.0)),
    ("vault:", "check: datanode ÷ restic, by CPU", "", AtLeast(10.0)),
    ("vault:", "check: datanode ÷ rustic, by CPU", "", AtLeast(10.0)),
    ("vault:", "check: datanode ÷ restic, by wall time", "", AtLeast(10.0)),
    ("vault:", "check: datanode ÷ rustic, by wall time", "", AtLeast(10.0)),
    ("vault:", "open: datanode ÷ restic, by CPU", "", AtLeast(3.0)),
    ("vault:", "open: datanode ÷ rustic, by CPU", "", AtLeast(3.0)),
    ("vault:", "open: datanode ÷ restic, by wall time", "", AtLeast(3.0)),
    ("vault:", "open: datanode ÷ rustic, by wall time", "", AtLeast(3.0)),
    ("vault:", "seal: datanode, peak memory", "MB", AtMost(200.0)),
    ("vault:", "open: datanode, peak memory", "MB", AtMost(200.0)),
    // Of 0.22 GB one file is more than a hundredth.
    ("vault: 2 GB", "second night: new bytes in the vault, without parity", "%", AtMost(1.2)),
    ("vault: 2 GB", "second night: time of the seal stage, of the first night's", "%", AtMost(3.0)),
    ("truth:", "node: precision", "", AtLeast(1.0)),
    ("truth:", "node: recall", "", AtLeast(1.0)),
    ("truth:", "node: verdicts", "", AtMost(0.0)),
];

/// The longest that the store adds to a group of commits.
const GROUP_WAIT_MS: f64 = 5.0;

/// The bound of a figure.
pub fn target(f: &Figure) -> Option<Target> {
    let part = |part: &str| part == f.figure || (part.ends_with(':') && f.figure.starts_with(part));
    let of = TARGETS.iter().find(|(p, what, unit, _)| part(p) && (*what, *unit) == (f.what.as_str(), f.unit.as_str()));
    of.map(|(_, _, _, t)| *t)
}

impl Target {
    /// Whether a value is within the bound.
    pub fn met(self, value: f64) -> bool {
        match self {
            AtLeast(bound) => value >= bound,
            AtMost(bound) => value <= bound,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AtLeast(bound) => write!(f, "≥ {}", crate::number(*bound, "")),
            AtMost(bound) => write!(f, "≤ {}", crate::number(*bound, "")),
        }
    }
}
