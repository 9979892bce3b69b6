//! What was told to whoever is alerted.

use rkyv::{Archive, Deserialize, Serialize};

/// Something that was wrong and was told to one receiver, or how many it was told in an hour.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Told {
    /// What kind of thing.
    pub kind: String,
    /// What was said, in a line.
    pub summary: String,
    /// Unix seconds since which it is so; of a count, when its hour began; of the ping after a good night, when that night ended.
    pub since: i64,
    /// Unix seconds when it was told last.
    pub at: i64,
    /// How often it was told; of a count, how many messages went out.
    pub times: u32,
}
