//! What a calendar said, as it was when something was decided by it.

use rkyv::{Archive, Deserialize, Serialize};

/// From a day of the year on, sessions open and close at these times.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct CalendarHours {
    /// The first such session: day of the year, from 1.
    pub from: u16,
    /// Minutes from the UTC midnight of the session's date to the open.
    pub open: u16,
    /// The same to the close.
    pub close: u16,
}

/// A year of sessions. A year of changing clocks and half-days is a dozen lines of hours, some hundred bytes.
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct CalendarYear {
    /// A month each; bit 0 is its first day. A set bit is a session.
    pub sessions: [u32; 12],
    /// Sorted; each line holds until the next.
    pub hours: Vec<CalendarHours>,
}
