//! What people, and the node in their place, say of partitions and artifacts.

use rkyv::{Archive, Deserialize, Serialize};

/// A hold or a release of days of one symbol; of several that cover a day, the last one counts.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct HoldRecord {
    /// First day number; `i32::MIN` = from the beginning.
    pub from: i32,
    /// Last day number; `i32::MAX` = without end.
    pub to: i32,
    /// Whether it holds; else it releases.
    pub holds: bool,
    /// Of a release: the set of AMBER reasons that the person had before them and lets pass; 0 where it only ends a hold.
    pub lets: u64,
    /// Unix seconds.
    pub at: i64,
    /// Who.
    pub by: String,
    /// Why, in a line.
    pub why: String,
}

/// Something that is known to be wrong with an artifact.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Incident {
    /// The kind's number.
    pub kind: u8,
    /// The label's number.
    pub label: u8,
    /// What it is about, in its one spelling.
    pub artifact: String,
    /// What is wrong, in a line.
    pub note: String,
    /// What to use instead: an export id, or words; may be empty.
    pub replacement: String,
    /// What was seen; may be empty.
    pub evidence: String,
    /// Unix seconds.
    pub opened_at: i64,
    /// Who.
    pub opened_by: String,
    /// Unix seconds; 0 while it is open.
    pub closed_at: i64,
    /// Who; empty while it is open.
    pub closed_by: String,
    /// Why; empty while it is open.
    pub closed_why: String,
}

impl Incident {
    /// Whether its label holds.
    pub fn is_open(&self) -> bool {
        self.closed_at == 0
    }
}
