//! Which messages are due.

use datanode_schema::records::Told;
use serde::Serialize;
use std::collections::BTreeMap;

/// The record of how many messages went out in an hour.
pub const HOUR: &str = ".hour";

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It is over.
    Resolved,
    /// A trial, or a count.
    Info,
    /// Look at it today.
    Warning,
    /// Look at it now.
    Critical,
}

/// Something that is wrong now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Condition {
    /// The same for as long as it is the same thing.
    pub key: String,
    /// What kind of thing.
    pub kind: &'static str,
    /// How bad.
    pub severity: Severity,
    /// What is wrong, in a line; holds no secret.
    pub summary: String,
    /// Unix seconds since which it is so, as far as it is known.
    pub since: i64,
    /// What to type.
    pub next_command: String,
}

/// A message to one receiver.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Message {
    /// See [`Condition`].
    pub key: String,
    /// See [`Condition`].
    pub kind: String,
    /// See [`Condition`].
    pub severity: Severity,
    /// See [`Condition`].
    pub summary: String,
    /// See [`Condition`].
    pub since: i64,
    /// See [`Condition`].
    pub next_command: String,
}

/// When what is told.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Seconds after which what is still wrong is told again.
    pub repeat_seconds: i64,
    /// Messages to one receiver in an hour.
    pub per_hour: u32,
}

/// The messages that are due to one receiver, the worst first; with each the record to write once it was taken, None where the record goes.
///
/// Where more are due than the hour allows, the last of the hour says how many were left out. These are not forgotten: what is still wrong
/// when the hour is over is told then.
pub fn decide(
    now: i64,
    wrong: &[Condition],
    told: &BTreeMap<String, Told>,
    rules: Rules,
) -> Vec<(Message, Option<Told>)> {
    let mut due: Vec<(Message, Option<Told>)> = Vec::new();
    for c in wrong {
        let before = told.get(&c.key);
        if before.is_some_and(|t| now.saturating_sub(t.at) < rules.repeat_seconds && t.at <= now) {
            continue;
        }
        let since = before.map_or(c.since, |t| t.since);
        let message = Message {
            key: c.key.clone(),
            kind: c.kind.to_owned(),
            severity: c.severity,
            summary: c.summary.clone(),
            since,
            next_command: c.next_command.clone(),
        };
        let times = before.map_or(0, |t| t.times).saturating_add(1);
        due.push((message, Some(Told { kind: c.kind.to_owned(), summary: c.summary.clone(), since, at: now, times })));
    }
    for (key, t) in told.iter().filter(|(k, _)| *k != HOUR && !wrong.iter().any(|c| c.key == **k)) {
        let message = Message {
            key: key.clone(),
            kind: t.kind.clone(),
            severity: Severity::Resolved,
            summary: format!("over: {}", t.summary),
            since: t.since,
            next_command: "datanode-admin status".to_owned(),
        };
        due.push((message, None));
    }
    due.sort_by(|(a, _), (b, _)| b.severity.cmp(&a.severity).then(a.key.cmp(&b.key)));
    limit(now, due, told.get(HOUR), rules)
}

fn limit(
    now: i64,
    mut due: Vec<(Message, Option<Told>)>,
    hour: Option<&Told>,
    rules: Rules,
) -> Vec<(Message, Option<Told>)> {
    // One alone would leave no place for the message that says how many were left out.
    let most = rules.per_hour.max(2);
    let left = most.saturating_sub(undecided(now, hour).times) as usize;
    if due.len() < left {
        return due;
    }
    let Some(own) = left.checked_sub(1) else { return Vec::new() };
    let out = due.len() - own;
    due.truncate(own);
    let summary = format!(
        "{out} more messages were left out: alerts.per_hour allows {most}; what is still wrong is told in an hour"
    );
    due.push((
        Message {
            key: HOUR.to_owned(),
            kind: "left_out".to_owned(),
            severity: Severity::Info,
            summary,
            since: now,
            next_command: "datanode-admin status".to_owned(),
        },
        None,
    ));
    due
}

/// The count of the hour that `now` lies in, before a further message.
pub fn undecided(now: i64, hour: Option<&Told>) -> Told {
    match hour {
        Some(h) if (0..3600).contains(&now.saturating_sub(h.since)) => h.clone(),
        _ => Told { kind: "hour".to_owned(), since: now, at: now, ..Told::default() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { repeat_seconds: 600, per_hour: 20 };

    fn wrong(key: &str) -> Condition {
        Condition {
            key: key.into(),
            kind: "stalled",
            severity: Severity::Warning,
            summary: format!("{key} is wrong"),
            since: 5,
            next_command: "x".into(),
        }
    }

    /// Sends all that is due, as the sender does.
    fn send(now: i64, all: &[Condition], told: &mut BTreeMap<String, Told>, rules: Rules) -> Vec<(String, Severity)> {
        let due = decide(now, all, told, rules);
        for (m, record) in &due {
            match record {
                Some(t) => drop(told.insert(m.key.clone(), t.clone())),
                None if m.key != HOUR => drop(told.remove(&m.key)),
                None => {}
            }
            let mut hour = undecided(now, told.get(HOUR));
            hour.times += 1;
            told.insert(HOUR.into(), hour);
        }
        due.into_iter().map(|(m, _)| (m.key, m.severity)).collect()
    }

    #[test]
    fn what_is_wrong_is_told_once_then_after_a_while_again_and_its_end_once() {
        let mut told = BTreeMap::new();
        let a = [wrong("a")];
        assert_eq!(send(1_000, &a, &mut told, RULES), [("a".into(), Severity::Warning)]);
        assert!(send(1_599, &a, &mut told, RULES).is_empty());
        assert_eq!(send(1_600, &a, &mut told, RULES).len(), 1);
        assert_eq!(told["a"].times, 2);
        assert_eq!(told["a"].since, 5);
        assert_eq!(send(1_601, &[], &mut told, RULES), [("a".into(), Severity::Resolved)]);
        assert!(send(1_602, &[], &mut told, RULES).is_empty());
        // It is wrong again: that is news.
        assert_eq!(send(1_603, &a, &mut told, RULES), [("a".into(), Severity::Warning)]);
    }

    #[test]
    fn what_the_hour_does_not_allow_is_counted_in_its_last_message_and_told_in_the_next() {
        let rules = Rules { per_hour: 4, ..RULES };
        let all: Vec<Condition> = (0..9).map(|n| wrong(&n.to_string())).collect();
        let mut told = BTreeMap::new();
        let due = decide(100, &all, &told, rules);
        assert_eq!(due.len(), 4);
        assert!(due[3].0.summary.starts_with("6 more messages were left out"), "{}", due[3].0.summary);
        assert_eq!(send(100, &all, &mut told, rules).len(), 4);
        assert!(send(200, &all, &mut told, rules).is_empty(), "the hour is full");
        let next: Vec<String> = send(3_700, &all[3..], &mut told, rules).into_iter().map(|(k, _)| k).collect();
        assert_eq!(next, ["3", "4", "5", HOUR], "first those that were never told");
    }

    #[test]
    fn the_worst_is_told_first() {
        let mut all = vec![wrong("a"), wrong("b")];
        all[1].severity = Severity::Critical;
        let due = decide(0, &all, &BTreeMap::new(), RULES);
        assert_eq!(due[0].0.key, "b");
    }

    #[test]
    fn a_clock_that_was_set_back_silences_nothing() {
        let mut told = BTreeMap::new();
        send(10_000, &[wrong("a")], &mut told, RULES);
        assert_eq!(send(500, &[wrong("a")], &mut told, RULES).len(), 1);
    }
}
