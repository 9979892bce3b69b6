//! The table of commands. The server checks arguments by it, the client turns words into requests by it, and `help`
//! and completion print it: there is no second list.

mod args;
mod words;

pub use args::Args;
pub use words::{Said, parse, resolve, split};

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

const fn placed(name: &'static str, kind: Kind) -> Arg {
    Arg { name, kind, placed: true, required: false }
}
const fn needed(name: &'static str, kind: Kind) -> Arg {
    Arg { name, kind, placed: true, required: true }
}
const fn flag(name: &'static str, kind: Kind) -> Arg {
    Arg { name, kind, placed: false, required: false }
}

const DATASET: Arg = placed("dataset", Kind::Dataset);
const SYMBOL: Arg = placed("symbol", Kind::Symbol);
const FROM: Arg = flag("from", Kind::Date);
const TO: Arg = flag("to", Kind::Date);
const LIMIT: Arg = flag("limit", Kind::Number);
const OFFSET: Arg = flag("offset", Kind::Number);

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
        matches!(self.verb(), Some("retry" | "cancel" | "pause" | "resume" | "clear" | "reload"))
    }

    /// `queue [DATASET] [SYMBOL] [--state STATE] …`
    pub fn usage(&self) -> String {
        let mut out = self.words.to_owned();
        for a in self.args {
            let p = match (a.kind, a.name) {
                (Kind::Date, "from") if a.placed => "FROM",
                (Kind::Date, "to") if a.placed => "TO",
                (kind, _) => kind.placeholder(),
            };
            match (a.placed, a.required) {
                (true, true) => out.push_str(&format!(" {p}")),
                (true, false) => out.push_str(&format!(" [{p}]")),
                (false, _) => out.push_str(&format!(" [--{} {p}]", a.name)),
            }
        }
        out
    }
}

/// Every command, in the order in which `help` shows them.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "status",
        words: "status",
        summary: "the node at a glance: last run, last pack, queue, ledger, disk",
        example: "status",
        args: &[],
    },
    Command {
        name: "vendors",
        words: "vendors",
        summary: "each vendor: enabled, limits, budget spent, until when it is left alone, refusals",
        example: "vendors",
        args: &[],
    },
    Command {
        name: "vendors.show",
        words: "vendors show",
        summary: "one vendor: what it can do for each dataset, and for which symbols it is demoted, and why",
        example: "vendors show alpaca",
        args: &[needed("vendor", Kind::Vendor), LIMIT, OFFSET],
    },
    Command {
        name: "queue.list",
        words: "queue",
        summary: "sessions that are absent or short, with what each vendor answered",
        example: "queue equities_bars AAPL --state missing",
        args: &[DATASET, SYMBOL, flag("state", Kind::State), FROM, TO, LIMIT, OFFSET],
    },
    Command {
        name: "queue.retry",
        words: "queue retry",
        summary: "gives tasks that failed, were given up or cancelled new attempts; all of them, or those that match",
        example: "queue retry equities_bars AAPL 2024-01-02 2024-01-31",
        args: &[DATASET, SYMBOL, placed("from", Kind::Date), placed("to", Kind::Date)],
    },
    Command {
        name: "queue.cancel",
        words: "queue cancel",
        summary: "gives tasks up until they are retried",
        example: "queue cancel equities_bars AAPL 2024-01-02 2024-01-31",
        args: &[
            needed("dataset", Kind::Dataset),
            needed("symbol", Kind::Symbol),
            placed("from", Kind::Date),
            placed("to", Kind::Date),
        ],
    },
    Command {
        name: "queue.pause",
        words: "queue pause",
        summary: "asks a vendor nothing more until it is resumed, restarts included",
        example: "queue pause alpaca",
        args: &[needed("vendor", Kind::Vendor)],
    },
    Command {
        name: "queue.resume",
        words: "queue resume",
        summary: "asks a paused vendor again",
        example: "queue resume alpaca",
        args: &[needed("vendor", Kind::Vendor)],
    },
    Command {
        name: "explain",
        words: "explain",
        summary: "why a task is where it is: its class, its lease, and each vendor's score, term by term",
        example: "explain equities_bars AAPL 2024-01-12",
        args: &[needed("dataset", Kind::Dataset), needed("symbol", Kind::Symbol), needed("date", Kind::Date)],
    },
    Command {
        name: "demotions",
        words: "demotions",
        summary: "what vendors refused, in whose words, and when each is asked again",
        example: "demotions alpaca",
        args: &[placed("vendor", Kind::Vendor), flag("dataset", Kind::Dataset), LIMIT, OFFSET],
    },
    Command {
        name: "demotions.clear",
        words: "demotions clear",
        summary: "forgets what a vendor refused: it is asked again in the next stage",
        example: "demotions clear alpaca equities_bars AAPL",
        args: &[needed("vendor", Kind::Vendor), DATASET, SYMBOL],
    },
    Command {
        name: "leases",
        words: "leases",
        summary: "what vendors are at work on now",
        example: "leases",
        args: &[LIMIT, OFFSET],
    },
    Command {
        name: "bookmarks",
        words: "bookmarks",
        summary: "the windows that each vendor has answered",
        example: "bookmarks equities_bars AAPL",
        args: &[DATASET, SYMBOL, flag("vendor", Kind::Vendor), LIMIT, OFFSET],
    },
    Command {
        name: "gaps",
        words: "gaps",
        summary: "the absent sessions of a symbol, as runs of consecutive ones",
        example: "gaps AAPL",
        args: &[needed("symbol", Kind::Symbol), DATASET, flag("state", Kind::State), LIMIT, OFFSET],
    },
    Command {
        name: "books",
        words: "books",
        summary: "order books of prediction markets: snapshots, gaps, the longest silence of each token",
        example: "books --limit 20",
        args: &[LIMIT, OFFSET],
    },
    Command {
        name: "qc.summary",
        words: "qc",
        summary: "partitions by colour, and by reason",
        example: "qc",
        args: &[DATASET],
    },
    Command {
        name: "qc.show",
        words: "qc show",
        summary: "the verdicts of a symbol: reasons, what they mean, the thresholds used",
        example: "qc show equities_bars_minute AAPL 2024-07-03",
        args: &[
            needed("dataset", Kind::Dataset),
            needed("symbol", Kind::Symbol),
            placed("date", Kind::Date),
            flag("verdict", Kind::Verdict),
            FROM,
            TO,
            LIMIT,
            OFFSET,
        ],
    },
    Command {
        name: "qc.red",
        words: "qc red",
        summary: "the partitions that no pack takes",
        example: "qc red equities_bars",
        args: &[DATASET, SYMBOL, FROM, TO, LIMIT, OFFSET],
    },
    Command {
        name: "runs",
        words: "runs",
        summary: "nightly cycles, the newest first",
        example: "runs --limit 7",
        args: &[LIMIT, OFFSET],
    },
    Command {
        name: "runs.show",
        words: "runs show",
        summary: "one cycle: its stages with their times and counters",
        example: "runs last",
        args: &[needed("run_id", Kind::RunId)],
    },
    Command {
        name: "packs",
        words: "packs",
        summary: "packs, the newest first",
        example: "packs",
        args: &[LIMIT, OFFSET],
    },
    Command {
        name: "packs.show",
        words: "packs show",
        summary: "one pack: sums, sealing, and where it arrived",
        example: "packs last",
        args: &[needed("export_id", Kind::ExportId)],
    },
    Command {
        name: "config",
        words: "config",
        summary: "the registry that holds: its hash, its files, and how the last reload went",
        example: "config",
        args: &[],
    },
    Command {
        name: "config.reload",
        words: "config reload",
        summary: "reads datasets, capabilities and universe again, whole or not at all; `reload` for short",
        example: "reload",
        args: &[],
    },
    Command {
        name: "names",
        words: "names",
        summary: "datasets, symbols and vendors that this node knows (what completion offers)",
        example: "names",
        args: &[],
    },
    Command {
        name: "help",
        words: "help",
        summary: "the commands, or one of them",
        example: "help queue",
        args: &[placed("command", Kind::Command)],
    },
];

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
