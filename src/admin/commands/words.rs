//! From what a person types to a request.

use super::{Arg, COMMANDS, Command, Kind, find, nearest};
use crate::admin::protocol::{AdminError, Code};
use datanode_schema::names::Dataset;
use serde_json::{Map, Value};

/// A line that was understood; its arguments are checked by the node.
#[derive(Clone, Debug)]
pub struct Said {
    /// The command.
    pub command: &'static Command,
    /// Its arguments.
    pub args: Map<String, Value>,
    /// Whether `--json` stood among them.
    pub json: bool,
    /// Whether `--yes` did: nothing is asked before it is done.
    pub yes: bool,
}

/// Cuts a line into words at blanks; quotes keep blanks together.
///
/// # Errors
/// A quote that is not closed.
pub fn split(line: &str) -> Result<Vec<String>, AdminError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for c in line.chars() {
        match quote {
            Some(q) if c == q => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(c),
        }
    }
    if let Some(q) = quote {
        return Err(AdminError::new(Code::BadArgs, format!("a {q} is not closed: write it once more")));
    }
    words.extend(word);
    Ok(words)
}

/// Understands the words of one command: `queue equities_bars --state missing`, `qc show …`, `runs RUN_ID`; wire names
/// (`queue.list`) are taken too.
///
/// # Errors
/// `unknown_command` or `bad_args`, naming the nearest.
pub fn parse(words: &[String]) -> Result<Said, AdminError> {
    let mut rest: Vec<&str> = words.iter().map(String::as_str).collect();
    let (json, yes) = (rest.contains(&"--json"), rest.contains(&"--yes"));
    rest.retain(|w| !["--json", "--yes"].contains(w));
    let (command, rest) = resolve(&rest)?;
    // `help queue pause`: the name of a command may have two words.
    let of_two = rest.join(" ");
    let rest = if command.name == "help" && rest.len() == 2 { &[of_two.as_str()][..] } else { rest };
    Ok(Said { command, args: arguments(command, rest)?, json, yes })
}

/// Words that stand for a noun and its verb.
const ALIASES: [(&str, &str); 1] = [("reload", "config.reload")];
/// Other words for a noun.
const NOUNS: [(&str, &str); 3] = [("incidents", "incident"), ("anchors", "anchor"), ("key", "keys")];

/// The noun that a word stands for: itself, where it is no other word for one.
pub fn noun_of(word: &str) -> &str {
    NOUNS.iter().find(|(other, _)| *other == word).map_or(word, |(_, noun)| noun)
}

/// The command that words begin with, and the words after it.
///
/// # Errors
/// `unknown_command`, naming the nearest.
pub fn resolve<'a, 'w>(words: &'a [&'w str]) -> Result<(&'static Command, &'a [&'w str]), AdminError> {
    let Some((&first, rest)) = words.split_first() else {
        return Err(AdminError::new(Code::BadArgs, "no command was given; `help` lists them"));
    };
    if let Some(c) = COMMANDS.iter().find(|c| c.name == first && c.verb().is_some()) {
        return Ok((c, rest));
    }
    if let Some(c) = ALIASES.iter().find(|(word, _)| *word == first).and_then(|(_, name)| find(name).ok()) {
        return Ok((c, rest));
    }
    let first = noun_of(first);
    let of_noun: Vec<&'static Command> = COMMANDS.iter().filter(|c| c.noun() == first).collect();
    let unknown = |m: String| Err(AdminError::new(Code::UnknownCommand, m));
    let Some(plain) = of_noun.iter().find(|c| c.words == first) else {
        let near = nearest(first, COMMANDS.iter().map(|c| c.words)).unwrap_or("help");
        return unknown(format!("there is no command {first:?}; did you mean `{near}`? `help` lists them all"));
    };
    let Some((second, after)) = rest.split_first().filter(|(w, _)| !w.starts_with("--")) else {
        return Ok((plain, rest));
    };
    if let Some(c) = of_noun.iter().find(|c| c.verb() == Some(second)) {
        return Ok((c, after));
    }
    let like = |v: &&str| strsim::damerau_levenshtein(v, second) <= 2;
    if let Some(v) = of_noun.iter().filter_map(|c| c.verb()).find(like) {
        return unknown(format!("{first} has no {second:?}; did you mean `{first} {v}`?"));
    }
    // `runs RUN_ID`: a noun that takes nothing by place, and can show one of its things.
    let show = of_noun.iter().find(|c| c.verb() == Some("show"));
    match show.filter(|_| !plain.args.iter().any(|a| a.placed)) {
        Some(c) => Ok((c, rest)),
        None => Ok((plain, rest)),
    }
}

fn arguments(command: &'static Command, words: &[&str]) -> Result<Map<String, Value>, AdminError> {
    let bad = |m: String| Err(AdminError::new(Code::BadArgs, m));
    let usage = || format!("usage: {}", command.usage());
    let mut out = Map::new();
    let mut places = command.args.iter().filter(|a| a.placed);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (arg, value) = if let Some(flag) = word.strip_prefix("--") {
            let (name, given) = flag.split_once('=').map_or((flag, None), |(n, v)| (n, Some(v)));
            let Some(arg) = command.args.iter().find(|a| a.name == name.replace('-', "_")) else {
                return bad(match nearest(name, command.args.iter().map(|a| a.name)) {
                    Some(near) => format!("`{}` has no --{name}; did you mean --{near}? {}", command.words, usage()),
                    None => format!("`{}` has no --{name}: it takes nothing", command.words),
                });
            };
            if arg.kind == Kind::Switch {
                if given.is_some() {
                    return bad(format!("--{name} takes no value; {}", usage()));
                }
                out.insert(arg.name.to_owned(), true.into());
                continue;
            }
            match given.or_else(|| words.next().copied()) {
                Some(v) => (arg, v),
                None => return bad(format!("--{name} has no value; {}", usage())),
            }
        } else {
            let passes = |a: &Arg| a.kind == Kind::Dataset && !a.required && is_symbol(word);
            match places.find(|a| !out.contains_key(a.name) && !passes(a)) {
                Some(arg) => (arg, *word),
                None => return bad(format!("{word:?} is one word too many; {}", usage())),
            }
        };
        if out.insert(arg.name.to_owned(), value_of(arg.kind, value)).is_some() {
            return bad(format!("--{} was given twice; {}", arg.name, usage()));
        }
    }
    Ok(out)
}

/// Whether a word that stands where a dataset may stand can only be a symbol: `queue AAPL`.
fn is_symbol(word: &str) -> bool {
    !word.contains(|c: char| c.is_ascii_lowercase()) && Dataset::from_name(&word.to_ascii_lowercase()).is_none()
}

fn value_of(kind: Kind, word: &str) -> Value {
    match kind {
        Kind::Number => word.parse::<u64>().map_or_else(|_| word.into(), Value::from),
        Kind::Verdict => word.to_ascii_uppercase().into(),
        Kind::Dataset | Kind::Vendor | Kind::State | Kind::IncidentKind | Kind::Label | Kind::Grain => {
            word.to_ascii_lowercase().into()
        }
        _ => word.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> String {
        let s = parse(&split(line).unwrap()).unwrap();
        format!("{} {}", s.command.name, Value::Object(s.args))
    }

    fn refused(line: &str) -> String {
        split(line).and_then(|w| parse(&w)).unwrap_err().message
    }

    #[test]
    fn words_become_a_request() {
        assert_eq!(said("queue"), "queue.list {}");
        assert_eq!(said("queue.list --limit=3"), r#"queue.list {"limit":3}"#);
        assert_eq!(said("queue list EQUITIES_BARS"), r#"queue.list {"dataset":"equities_bars"}"#);
        assert_eq!(said("queue AAPL"), r#"queue.list {"symbol":"AAPL"}"#);
        assert_eq!(said("qc"), "qc.summary {}");
        assert_eq!(said("qc summary"), "qc.summary {}");
        assert_eq!(said("incident"), "incident.list {}");
        assert_eq!(said("incidents --open"), r#"incident.list {"open":true}"#);
        assert_eq!(said("anchors"), "anchor {}");
        assert_eq!(said("log"), "log {}");
        assert_eq!(said("help queue pause"), r#"help {"command":"queue pause"}"#);
        assert_eq!(said("log level warn,datanode=debug"), r#"log.level {"filter":"warn,datanode=debug"}"#);
        assert!(parse(&split("queue pause fred --yes").unwrap()).unwrap().yes);
        assert_eq!(said("incident list --open"), r#"incident.list {"open":true}"#);
        assert_eq!(said("incident 3"), r#"incident.show {"incident":3}"#);
        assert_eq!(said("incident close 3 --why 'a b'"), r#"incident.close {"incident":3,"why":"a b"}"#);
        assert_eq!(
            said("qc hold equities_bars AAPL 2024-01-12 --why x"),
            r#"qc.hold {"dataset":"equities_bars","date":"2024-01-12","symbol":"AAPL","why":"x"}"#
        );
        assert_eq!(said("reload"), "config.reload {}");
        assert_eq!(said("config reload"), "config.reload {}");
        assert_eq!(said("demotions"), "demotions {}");
        assert_eq!(said("demotions clear fred"), r#"demotions.clear {"vendor":"fred"}"#);
        assert_eq!(
            said("queue retry equities_bars AAPL 2024-01-02 2024-01-05"),
            r#"queue.retry {"dataset":"equities_bars","from":"2024-01-02","symbol":"AAPL","to":"2024-01-05"}"#
        );
        assert_eq!(said("queue pause ALPACA"), r#"queue.pause {"vendor":"alpaca"}"#);
        assert_eq!(said("qc equities_bars"), r#"qc.summary {"dataset":"equities_bars"}"#);
        assert_eq!(said("runs 20260302T230000Z"), r#"runs.show {"run_id":"20260302T230000Z"}"#);
        assert_eq!(said("runs --limit 2"), r#"runs {"limit":2}"#);
        assert_eq!(said("gaps --dataset equities_bars AAPL"), r#"gaps {"dataset":"equities_bars","symbol":"AAPL"}"#);
        assert_eq!(said("gaps 'A B'"), r#"gaps {"symbol":"A B"}"#);
        assert!(parse(&split("status --json").unwrap()).unwrap().json);
    }

    #[test]
    fn words_that_are_not_understood_name_the_nearest() {
        assert!(refused("qeue").contains("did you mean `queue`?"));
        assert!(refused("qc rde").contains("did you mean `qc red`?"));
        assert!(refused("queue --sate short").contains("did you mean --state?"));
        assert!(refused("queue --state").contains("--state has no value"));
        assert!(refused("queue --limit 1 --limit 2").contains("given twice"));
        assert!(refused("incident list --open=1").contains("takes no value"));
        assert!(refused("status now").contains("one word too many"));
        assert!(refused("gaps 'AAPL").contains("not closed"));
        assert!(refused("").contains("no command was given"));
    }
}
