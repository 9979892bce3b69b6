//! What an answer says about gap tasks: filled ones go, the others keep it as evidence.

use crate::audit;
use crate::queue::Mask;
use datanode_schema::calendar::Session;
use datanode_schema::names::{Absence, Outcome, Vendor};
use datanode_schema::records::{Answer, GapTask, HoldingDay};
use datanode_schema::registry::DatasetRule;

/// One vendor's word on one task.
pub struct Said<'a> {
    /// Who.
    pub vendor: Vendor,
    /// What came of asking.
    pub outcome: Outcome,
    /// Whether this vendor has rows of the session.
    pub gave: bool,
    /// What is held of the session now, by all vendors together.
    pub held: Option<&'a HoldingDay>,
    /// The session.
    pub session: Option<&'a Session>,
    /// The UTC day of the run.
    pub today: i32,
    /// The enabled vendors that have the session at all.
    pub who: Mask,
}

/// The task after the word; None when it is done.
pub fn weigh(rule: &DatasetRule, task: &GapTask, said: &Said<'_>) -> Option<GapTask> {
    let mut task = task.clone();
    let held = said.held.filter(|h| h.rows > 0);
    if let (Some(h), Some(s)) = (held, said.session) {
        task.rows = h.rows;
        task.state = if audit::is_short(rule, s, h) {
            Absence::Short.number()
        } else if audit::holes(rule, s.minutes(), h).is_empty() {
            return None;
        } else {
            Absence::Hole.number()
        };
    }
    let outcome = match (said.outcome, said.gave) {
        (Outcome::Filled | Outcome::Short | Outcome::Empty, true) => Outcome::Short,
        (Outcome::Filled | Outcome::Short, false) => Outcome::Empty,
        (other, _) => other,
    };
    note(&mut task, said.vendor, outcome, said.today);
    audit::settle(rule, &mut task, said.who);
    Some(task)
}

fn note(task: &mut GapTask, vendor: Vendor, outcome: Outcome, today: i32) {
    // No attempt is used up: the vendor is asked again when its demotion or its limit is over.
    if matches!(outcome, Outcome::NotEntitled | Outcome::Refused | Outcome::RateLimited) {
        return;
    }
    let number = vendor.number();
    if !task.answers.iter().any(|a| a.vendor == number) {
        task.answers.push(Answer { vendor: number, outcome: 0, days: 0, attempts: 0, last_day: i32::MIN });
        task.answers.sort_by_key(|a| a.vendor);
    }
    let Some(a) = task.answers.iter_mut().find(|a| a.vendor == number) else { return };
    match outcome {
        Outcome::Filled | Outcome::Short | Outcome::Empty => {
            if a.last_day != today || a.outcome != outcome.number() {
                a.days = if a.outcome == outcome.number() { a.days.saturating_add(1) } else { 1 };
            }
            a.outcome = outcome.number();
            a.last_day = today;
        }
        Outcome::Error | Outcome::Unparsable => {
            // A vendor that is down for an hour makes no task unobtainable: what counts is failing day after day.
            if a.last_day != today || a.attempts == 0 {
                a.attempts = a.attempts.saturating_add(1);
            }
            a.outcome = outcome.number();
            a.last_day = today;
        }
        Outcome::NotEntitled | Outcome::Refused | Outcome::RateLimited => {}
    }
}
