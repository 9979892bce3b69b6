//! What may follow. Pure but for the one question that fetches the node's names.

use super::Session;
use crate::admin::commands::{Arg, COMMANDS, Kind, resolve};
use datanode_schema::names::{Absence, IncidentKind, IncidentLabel, Verdict};
use rustyline::completion::Completer;
use rustyline::{Context, Helper, Highlighter, Hinter, Validator};
use serde_json::{Map, Value};

/// What the node knows by name.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Datasets.
    pub datasets: Vec<String>,
    /// Symbols.
    pub symbols: Vec<String>,
    /// Vendors.
    pub vendors: Vec<String>,
    /// The newest cycles.
    pub runs: Vec<String>,
    /// The newest packs.
    pub packs: Vec<String>,
    /// The newest incidents.
    pub incidents: Vec<String>,
}

impl Names {
    /// Asks the node; nothing where it does not say.
    pub(super) fn of(session: &mut Session) -> Self {
        let answer = session.ask("names", Map::new()).unwrap_or(Value::Null);
        let list = |name: &str| {
            let found = answer.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let word = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
            found.iter().map(word).collect()
        };
        Self {
            datasets: list("datasets"),
            symbols: list("symbols"),
            vendors: list("vendors"),
            runs: list("runs"),
            packs: list("packs"),
            incidents: list("incidents"),
        }
    }

    fn values(&self, arg: &Arg) -> Vec<&str> {
        let own = |list: &'static [&'static str]| list.to_vec();
        fn known(list: &[String]) -> Vec<&str> {
            list.iter().map(String::as_str).collect()
        }
        match arg.kind {
            Kind::Dataset => known(&self.datasets),
            Kind::Symbol => known(&self.symbols),
            Kind::Vendor => known(&self.vendors),
            Kind::State => Absence::ALL.iter().map(|a| a.name()).collect(),
            Kind::Verdict => Verdict::ALL.iter().map(|v| v.name()).collect(),
            Kind::RunId => [own(&["last"]), known(&self.runs)].concat(),
            Kind::ExportId => [own(&["last"]), known(&self.packs)].concat(),
            Kind::Artifact => known(&self.packs),
            Kind::Number if arg.name == "incident" => known(&self.incidents),
            Kind::Filter => own(&["error", "warn", "info", "debug", "trace"]),
            Kind::Command => COMMANDS.iter().map(|c| c.noun()).collect(),
            Kind::IncidentKind => IncidentKind::ALL.iter().map(|k| k.name()).collect(),
            Kind::Label => IncidentLabel::ALL.iter().map(|l| l.name()).collect(),
            Kind::Grain => own(&["day", "month", "symbol"]),
            Kind::Date | Kind::Number | Kind::Text | Kind::Switch => Vec::new(),
        }
    }
}

/// The words that may stand at the end of `line`, sorted, and the byte at which that word begins.
pub fn candidates(line: &str, names: &Names) -> (usize, Vec<String>) {
    let start = line
        .rfind(char::is_whitespace)
        .map_or(0, |at| at + line.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8));
    let begun = line.get(start..).unwrap_or_default();
    let before: Vec<&str> = line.get(..start).unwrap_or_default().split_whitespace().collect();
    let mut offers = offers(&before, begun, names);
    offers.retain(|o| o.len() >= begun.len() && o.get(..begun.len()).is_some_and(|s| s.eq_ignore_ascii_case(begun)));
    offers.sort_unstable();
    offers.dedup();
    (start, offers)
}

fn offers(before: &[&str], begun: &str, names: &Names) -> Vec<String> {
    if let Some((&("watch" | "help"), watched)) = before.split_first() {
        return offers(watched, begun, names);
    }
    let Some((first, _)) = before.split_first() else {
        return COMMANDS.iter().map(|c| c.noun()).chain(["quit", "exit"]).map(str::to_owned).collect();
    };
    let Ok((command, given)) = resolve(before) else { return Vec::new() };
    let flag = |word: &str| command.args.iter().find(|a| word.strip_prefix("--") == Some(a.name));
    if let Some(arg) = given.last().and_then(|w| flag(w)).filter(|a| a.kind != Kind::Switch) {
        return names.values(arg).into_iter().map(str::to_owned).collect();
    }
    if begun.starts_with("--") {
        let unused = command.args.iter().filter(|a| !given.iter().any(|w| w.strip_prefix("--") == Some(a.name)));
        let always = ["--json".to_owned()].into_iter().chain(command.changes().then(|| "--yes".to_owned()));
        return unused.map(|a| format!("--{}", a.name)).chain(always).collect();
    }
    let mut out: Vec<String> = Vec::new();
    if before.len() == 1 {
        let verbs = COMMANDS.iter().filter(|c| c.noun() == *first && c.words.contains(' ')).filter_map(|c| c.verb());
        out.extend(verbs.map(str::to_owned));
    }
    let mut placed = 0;
    let mut words = given.iter();
    while let Some(w) = words.next() {
        if let Some(arg) = flag(w) {
            if arg.kind != Kind::Switch {
                words.next();
            }
        } else if !w.starts_with("--") {
            placed += 1;
        }
    }
    if let Some(arg) = command.args.iter().filter(|a| a.placed).nth(placed) {
        out.extend(names.values(arg).into_iter().map(str::to_owned));
    }
    out
}

/// The helper of the line editor.
#[derive(Helper, Highlighter, Hinter, Validator)]
pub(super) struct Completion(pub Names);

impl Completer for Completion {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let (start, mut offers) = candidates(line.get(..pos).unwrap_or(line), &self.0);
        // What can only be one thing is a whole word.
        if let [only] = offers.as_mut_slice() {
            only.push(' ');
        }
        Ok((start, offers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(line: &str) -> String {
        let names = Names {
            datasets: vec!["equities_bars".into(), "macro_treasury".into()],
            symbols: vec!["AAPL".into(), "SPY".into()],
            vendors: vec!["alpaca".into()],
            runs: vec!["20240131T020000Z".into()],
            packs: vec!["20240131T020000Z_node_full".into()],
            incidents: vec!["7".into()],
        };
        candidates(line, &names).1.join(" ")
    }

    #[test]
    fn completion_offers_what_may_stand_there() {
        assert_eq!(after("q"), "qc queue quit");
        assert_eq!(after("qc "), "equities_bars explain hold macro_treasury red release show");
        assert_eq!(after("qc show "), "equities_bars macro_treasury");
        assert_eq!(after("qc show equities_bars a"), "AAPL");
        assert_eq!(after("queue --state s"), "short");
        assert_eq!(after("queue equities_bars --limit 5 "), "AAPL SPY");
        assert_eq!(after("queue --state short --st"), "");
        assert_eq!(after("queue --st"), "--state");
        assert_eq!(after("incident list --open "), "");
        assert_eq!(after("incident open x --label "), "deprecated invalid");
        assert_eq!(after("runs "), "now show");
        assert_eq!(after("runs show "), "20240131T020000Z last");
        assert_eq!(after("packs show 2"), "20240131T020000Z_node_full");
        assert_eq!(after("incident close "), "7");
        assert_eq!(after("watch queue equities_bars S"), "SPY");
        assert_eq!(after("log level d"), "debug");
        assert_eq!(after("queue pause alpaca --"), "--json --vendor --yes");
        assert_eq!(after("nonsense "), "");
        assert_eq!(candidates("gaps é S", &Names::default()).0, 8);
    }
}
