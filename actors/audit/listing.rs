//! The pure part: what explains the absences of a symbol, read from where they lie among its rows.
//!
//! That a session is explained is evidence of the vendors; this module only says by what. It decides nothing by itself: an absence
//! that nobody has agreed to stays missing wherever it lies.

use datanode_schema::names::{Absence, Explanation};
use datanode_schema::records::GapTask;
use datanode_schema::registry::Listing;

/// A session that is expected, in order of days.
pub enum Expected<'a> {
    /// There are rows.
    Held,
    /// There are none, or not enough.
    Open(&'a mut GapTask),
}

/// Gives every explained absence its explanation. `sessions` are all that are expected of a symbol, by day.
pub fn explain(listing: &Listing, sessions: Vec<Expected<'_>>) {
    let mut run: Vec<&mut GapTask> = Vec::new();
    let mut rows_before = false;
    for s in sessions {
        match s {
            // A task with rows is a session in which something traded.
            Expected::Open(t) if t.rows == 0 => run.push(t),
            Expected::Open(_) | Expected::Held => {
                between(listing, &mut run, rows_before);
                rows_before = true;
            }
        }
    }
    let explained = run.iter().filter(|t| is_explained(t)).count();
    let why = if !rows_before {
        Explanation::NotListed
    } else if explained >= listing.delisted_after as usize {
        Explanation::Delisted
    } else {
        Explanation::NoTrade
    };
    label(run, why);
}

/// The absences before a session with rows.
fn between(listing: &Listing, run: &mut Vec<&mut GapTask>, rows_before: bool) {
    let all = run.iter().all(|t| is_explained(t));
    let why = if !rows_before {
        Explanation::BeforeListing
    } else if all && run.len() >= listing.relisted_after as usize {
        Explanation::NotListed
    } else {
        Explanation::NoTrade
    };
    label(std::mem::take(run), why);
}

fn is_explained(t: &GapTask) -> bool {
    t.state == Absence::Explained.number()
}

fn label(run: Vec<&mut GapTask>, why: Explanation) {
    for t in run {
        t.why = if is_explained(t) { why.number() } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `#` a session with rows, `e` an explained absence, `m` a missing one.
    fn whys(text: &str) -> Vec<(usize, Explanation)> {
        let mut tasks: Vec<Option<GapTask>> = Vec::new();
        for (i, c) in text.chars().enumerate() {
            let state = if c == 'e' { Absence::Explained } else { Absence::Missing };
            let t = GapTask {
                day: i as i32,
                state: state.number(),
                why: 0,
                expected: 1,
                rows: 0,
                discovered_at: 0,
                answers: vec![],
            };
            tasks.push((c != '#').then_some(t));
        }
        let sessions = tasks.iter_mut().map(|t| t.as_mut().map_or(Expected::Held, Expected::Open)).collect();
        explain(&Listing { delisted_after: 3, relisted_after: 4 }, sessions);
        let why = |t: &GapTask| Explanation::from_number(t.why);
        tasks.iter().enumerate().filter_map(|(i, t)| Some((i, why(t.as_ref()?)?))).collect()
    }

    #[test]
    fn absences_are_explained_by_where_they_lie() {
        use Explanation::*;
        let of = |text: &str| whys(text).into_iter().map(|(_, w)| w).collect::<Vec<_>>();
        assert_eq!(of("ee##e##"), [BeforeListing, BeforeListing, NoTrade]);
        assert_eq!(of("##eee##"), [NoTrade; 3], "shorter than what parts two listings");
        assert_eq!(of("##eeee##"), [NotListed; 4]);
        assert_eq!(of("##ee"), [NoTrade; 2], "too early to call it delisted");
        assert_eq!(of("##eee"), [Delisted; 3]);
        assert_eq!(of("eee"), [NotListed; 3], "nobody has ever had a row");
    }

    #[test]
    fn what_nobody_agreed_to_is_never_explained_by_its_place() {
        use Explanation::*;
        assert_eq!(whys("m##"), []);
        assert_eq!(whys("##eemee##"), [2, 3, 5, 6].map(|i| (i, NoTrade)), "a hole in the agreement parts no listings");
        assert_eq!(whys("##eemee"), [2, 3, 5, 6].map(|i| (i, Delisted)), "the newest session may still be open");
    }
}
