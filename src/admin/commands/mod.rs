//! The table of commands. The server checks arguments by it, the client turns words into requests by it, and `help`
//! and completion print it: there is no second list.

mod args;
mod table;
mod words;

pub use args::Args;
pub use table::COMMANDS;
pub use words::{Said, noun_of, parse, resolve, split};

use super::protocol::{AdminError, Code};

/// What an argument may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Name of a dataset.
    Dataset,
    /// A symbol or series.
    Symbol,
    /// Name of a vendor.
    Vendor,
    /// Why a session is absent.
    State,
    /// A colour of the QC ledger.
    Verdict,
    /// `YYYY-MM-DD`.
    Date,
    /// A whole number from 0 on.
    Number,
    /// Id of a run, or `last`.
    RunId,
    /// Id of a pack, or `last`.
    ExportId,
    /// Name of a command.
    Command,
    /// What an incident is about.
    Artifact,
    /// A kind of incident.
    IncidentKind,
    /// What an incident says of its artifact.
    Label,
    /// A line of text.
    Text,
    /// Given or not; takes no value.
    Switch,
    /// What the rows of a map are.
    Grain,
    /// What is logged.
    Filter,
}

impl Kind {
    /// How usage lines call it.
    pub fn placeholder(self) -> &'static str {
        match self {
            Self::Dataset => "DATASET",
            Self::Symbol => "SYMBOL",
            Self::Vendor => "VENDOR",
            Self::State => "STATE",
            Self::Verdict => "VERDICT",
            Self::Date => "DATE",
            Self::Number => "N",
            Self::RunId => "RUN_ID",
            Self::ExportId => "EXPORT_ID",
            Self::Command => "COMMAND",
            Self::Artifact => "ARTIFACT",
            Self::IncidentKind => "KIND",
            Self::Label => "LABEL",
            Self::Text => "TEXT",
            Self::Switch => "",
            Self::Grain => "day|month|symbol",
            Self::Filter => "FILTER",
        }
    }
}

/// An argument of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arg {
    /// Its name in `args`, and after `--`.
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// Whether it may be given by its place alone.
    pub placed: bool,
    /// Whether it must be given.
    pub required: bool,
}

/// A command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Command {
    /// Its name on the wire: `noun` or `noun.verb`.
    pub name: &'static str,
    /// What a person types.
    pub words: &'static str,
    /// What it shows, in a line.
    pub summary: &'static str,
    /// A line to try.
    pub example: &'static str,
    /// Its arguments; those given by place in the order of their places.
    pub args: &'static [Arg],
}

impl Command {
    /// The first part of its name.
    pub fn noun(&self) -> &'static str {
        self.name.split('.').next().unwrap_or(self.name)
    }

    /// The second part of its name.
    pub fn verb(&self) -> Option<&'static str> {
        self.name.split_once('.').map(|(_, v)| v)
    }

    /// Whether it changes something.
    pub fn changes(&self) -> bool {
        matches!(
            self.verb(),
            Some(
                "retry"
                    | "cancel"
                    | "pause"
                    | "resume"
                    | "clear"
                    | "reload"
                    | "hold"
                    | "release"
                    | "open"
                    | "close"
                    | "pin"
                    | "unpin"
                    | "now"
                    | "level"
            )
        )
    }

    /// Whether what it changes leaves an act in the event files, so that the trail need not say it again.
    pub fn notes_itself(&self) -> bool {
        matches!(
            self.name,
            "qc.hold" | "qc.release" | "retention.pin" | "retention.unpin" | "incident.open" | "incident.close"
        )
    }

    /// The first argument that must be given and was not.
    pub fn lacks(&self, given: &serde_json::Map<String, serde_json::Value>) -> Option<&'static Arg> {
        self.args.iter().find(|a| a.required && !given.contains_key(a.name))
    }

    /// `queue [DATASET] [SYMBOL] [--state STATE] …`
    pub fn usage(&self) -> String {
        let mut out = self.words.to_owned();
        for a in self.args {
            let p = match (a.kind, a.name) {
                (Kind::Date, "from") if a.placed => "FROM",
                (Kind::Date, "to") if a.placed => "TO",
                (Kind::Number, "incident") => "ID",
                (Kind::Number, "seconds") => "SECONDS",
                (kind, _) => kind.placeholder(),
            };
            match (a.placed, a.required) {
                (false, _) if a.kind == Kind::Switch => out.push_str(&format!(" [--{}]", a.name)),
                (false, true) => out.push_str(&format!(" --{} {p}", a.name)),
                (true, true) => out.push_str(&format!(" {p}")),
                (true, false) => out.push_str(&format!(" [{p}]")),
                (false, _) => out.push_str(&format!(" [--{} {p}]", a.name)),
            }
        }
        out
    }
}

/// The command of a wire name.
///
/// # Errors
/// `unknown_command`, naming the nearest.
pub fn find(name: &str) -> Result<&'static Command, AdminError> {
    COMMANDS.iter().find(|c| c.name == name).ok_or_else(|| {
        let near = nearest(name, COMMANDS.iter().map(|c| c.name)).unwrap_or("help");
        AdminError::new(Code::UnknownCommand, format!("there is no command {name:?}; did you mean `{near}`?"))
    })
}

/// The name that is most like `wrong`, whatever the distance; None where there are none.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_ascii_lowercase();
    let likeness = |k: &str| strsim::jaro_winkler(&k.to_ascii_lowercase(), &wrong);
    let mut best: Option<(f64, &str)> = None;
    for k in known {
        let l = likeness(k);
        if best.is_none_or(|(b, _)| l > b) {
            best = Some((l, k));
        }
    }
    best.map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_a_line_that_the_table_understands() {
        for c in COMMANDS {
            let said = parse(&split(c.example).unwrap()).unwrap();
            assert_eq!(said.command.name, c.name, "{}", c.example);
        }
    }

    #[test]
    fn an_unknown_command_names_the_nearest() {
        for (wrong, near) in [("queue", "queue.list"), ("statsu", "status"), ("qc.rde", "qc.red"), ("run", "runs")] {
            let e = find(wrong).unwrap_err();
            assert_eq!(e.code, Code::UnknownCommand);
            assert!(e.message.ends_with(&format!("did you mean `{near}`?")), "{}", e.message);
        }
    }

    #[test]
    fn a_usage_line_shows_what_must_be_given_and_what_may() {
        let c = find("gaps").unwrap();
        assert_eq!(c.usage(), "gaps SYMBOL [DATASET] [--state STATE] [--limit N] [--offset N]");
    }
}
