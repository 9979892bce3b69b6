//! Days of a month of which the same is to be said, as one record with a bit a day.

/// A record of several days.
pub(super) trait Grouped: PartialEq {
    /// The days: bit 0 is the first of the month.
    fn days_mut(&mut self) -> &mut u32;
}

/// Groups what is said of single days of the month that begins on day number `first`. The stories come without days (0). Days
/// of other months are left out; of two stories for one day the first counts. Sorted by the first day of each group.
pub(super) fn group<G: Grouped>(first: i32, stories: impl IntoIterator<Item = (i32, G)>) -> Vec<G> {
    let mut out: Vec<(u32, G)> = Vec::new();
    let mut taken = 0u32;
    for (day, story) in stories {
        let Some(bit) = day.checked_sub(first).and_then(|n| bit(n)).filter(|b| taken & b == 0) else { continue };
        taken |= bit;
        // A month is mostly of one story, and the newest day mostly continues the last one.
        match out.iter_mut().rev().find(|(_, o)| *o == story) {
            Some((days, _)) => *days |= bit,
            None => out.push((bit, story)),
        }
    }
    out.sort_by_key(|(days, _)| days.trailing_zeros());
    let with_days = |(days, mut story): (u32, G)| {
        *story.days_mut() = days;
        story
    };
    out.into_iter().map(with_days).collect()
}

fn bit(n: i32) -> Option<u32> {
    1u32.checked_shl(u32::try_from(n).ok()?)
}

/// The numbers of the set bits, the lowest first.
pub fn bits(set: u32) -> impl Iterator<Item = i32> {
    (0..32).filter(move |n| set & (1u32 << n) != 0)
}
