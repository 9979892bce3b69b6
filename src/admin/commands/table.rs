//! The lines of the table.

use super::{Arg, Command, Kind};

const fn placed(name: &'static str, kind: Kind) -> Arg {
    Arg { name, kind, placed: true, required: false }
}
const fn needed(name: &'static str, kind: Kind) -> Arg {
    Arg { name, kind, placed: true, required: true }
}
const fn flag(name: &'static str, kind: Kind) -> Arg {
    Arg { name, kind, placed: false, required: false }
}
const fn must(name: &'static str, kind: Kind) -> Arg {
    Arg { name, kind, placed: false, required: true }
}

/// A command of one word that takes nothing.
const fn plain(name: &'static str, summary: &'static str) -> Command {
    Command { name, words: name, summary, example: name, args: &[] }
}

const DATASET: Arg = placed("dataset", Kind::Dataset);
const SYMBOL: Arg = placed("symbol", Kind::Symbol);
const FROM: Arg = flag("from", Kind::Date);
const TO: Arg = flag("to", Kind::Date);
const LIMIT: Arg = flag("limit", Kind::Number);
const OFFSET: Arg = flag("offset", Kind::Number);
/// What a hold and a release take.
const HOLD: &[Arg] = &[
    needed("dataset", Kind::Dataset),
    needed("symbol", Kind::Symbol),
    placed("date", Kind::Date),
    FROM,
    TO,
    must("why", Kind::Text),
];

/// Every command, in the order in which `help` shows them.
pub const COMMANDS: &[Command] = &[
    plain("status", "the node at a glance: last run, last pack, queue, ledger, disk"),
    plain("vendors", "each vendor: enabled, limits, budget spent, until when it is left alone, refusals"),
    Command {
        name: "vendors.show",
        words: "vendors show",
        summary: "one vendor: what it can do for each dataset, and for which symbols it is demoted, and why",
        example: "vendors show alpaca",
        args: &[needed("vendor", Kind::Vendor), LIMIT, OFFSET],
    },
    plain(
        "budgets",
        "what each vendor may still be asked: its limits, its pace, what today has left, and why it is not asked",
    ),
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
        name: "demotions.explain",
        words: "demotions explain",
        summary: "why a vendor is not asked for a symbol, until when, who is asked instead, and what ends it",
        example: "demotions explain alpaca equities_bars AAPL",
        args: &[needed("vendor", Kind::Vendor), needed("dataset", Kind::Dataset), needed("symbol", Kind::Symbol)],
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
        summary: "the absent sessions of a symbol, as runs of consecutive ones: why, and what was asked of whom",
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
        name: "qc.explain",
        words: "qc explain",
        summary: "why a partition has its verdict: each reason with its threshold and what was measured, and what is behind it",
        example: "qc explain equities_bars AAPL 2024-01-12",
        args: &[needed("dataset", Kind::Dataset), needed("symbol", Kind::Symbol), needed("date", Kind::Date)],
    },
    Command {
        name: "qc.hold",
        words: "qc hold",
        summary: "holds partitions back from the next pack on, those to come included, until they are released",
        example: "qc hold equities_bars AAPL 2024-01-12 --why 'the vendor mixed up two days'",
        args: HOLD,
    },
    Command {
        name: "qc.release",
        words: "qc release",
        summary: "ends a hold; lets AMBER partitions ship where their dataset holds AMBER back; RED never ships",
        example: "qc release equities_bars AAPL --from 2024-01-10 --to 2024-01-12 --why 'looked at: it is right'",
        args: HOLD,
    },
    Command {
        name: "incident.list",
        words: "incident",
        summary: "what is known to be wrong, the newest first",
        example: "incident list --open",
        args: &[flag("open", Kind::Switch), LIMIT, OFFSET],
    },
    Command {
        name: "incident.show",
        words: "incident show",
        summary: "one incident: what is wrong with what, who says so, and what to use instead",
        example: "incident show 3",
        args: &[needed("incident", Kind::Number)],
    },
    Command {
        name: "incident.open",
        words: "incident open",
        summary: "labels partitions (invalid: RED, deprecated: AMBER), a pack or a raw file; raw is kept whatever it says",
        example: "incident open equities_bars/AAPL/2024-01-10..2024-01-12 --label invalid --kind other --note 'see ticket 7'",
        args: &[
            needed("artifact", Kind::Artifact),
            must("label", Kind::Label),
            must("kind", Kind::IncidentKind),
            must("note", Kind::Text),
            flag("replacement", Kind::Text),
            flag("evidence", Kind::Text),
        ],
    },
    Command {
        name: "incident.close",
        words: "incident close",
        summary: "ends an incident: its label no longer holds",
        example: "incident close 3 --why 'the vendor sent the days again'",
        args: &[needed("incident", Kind::Number), must("why", Kind::Text)],
    },
    Command {
        name: "coverage",
        words: "coverage",
        summary: "a map of what is there and GREEN, by day, by month or by symbol",
        example: "coverage equities_bars --from 2024-01-01 --to 2024-06-30",
        args: &[
            needed("dataset", Kind::Dataset),
            FROM,
            TO,
            flag("symbol", Kind::Symbol),
            flag("by", Kind::Grain),
            LIMIT,
            OFFSET,
        ],
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
        name: "runs.now",
        words: "runs now",
        summary: "begins a whole cycle now; `runs last` shows how far it is",
        example: "runs now",
        args: &[],
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
        name: "retention.plan",
        words: "retention",
        summary: "which packs stay, here and at each destination, and why; what the next nightly cycle removes",
        example: "retention plan",
        args: &[LIMIT, OFFSET],
    },
    Command {
        name: "retention.pin",
        words: "retention pin",
        summary: "keeps a pack whatever the rules say, until it is unpinned",
        example: "retention pin 20240131T020000Z_node_full --note 'the paper of March is trained on it'",
        args: &[needed("export_id", Kind::ExportId), must("note", Kind::Text)],
    },
    Command {
        name: "retention.unpin",
        words: "retention unpin",
        summary: "lets the rules hold for a pack again",
        example: "retention unpin 20240131T020000Z_node_full",
        args: &[needed("export_id", Kind::ExportId), flag("why", Kind::Text)],
    },
    plain(
        "vault",
        "the vault: sealings, objects, when it was read through, what is wrong, what waits for deletion, the replica",
    ),
    plain("anchor", "the log that sealings are anchored in: size, root, last checkpoint, sealings that are not in it"),
    plain(
        "keys",
        "the public halves of the keys of this node, and who else may open what it seals (`datanode key` changes them)",
    ),
    Command {
        name: "ship.status",
        words: "ship",
        summary: "destinations: what they were seen to do, what arrived last, what waits, what is on its way, what failed",
        example: "ship",
        args: &[],
    },
    Command {
        name: "ship.reload",
        words: "ship reload",
        summary: "reads the destinations of the settings again, with their keys, whole or not at all",
        example: "ship reload",
        args: &[],
    },
    Command {
        name: "ship.now",
        words: "ship now",
        summary: "begins to bring what waits to every destination",
        example: "ship now",
        args: &[],
    },
    plain("config", "the registry that holds: its hash, its files, and how the last reload went"),
    Command {
        name: "config.reload",
        words: "config reload",
        summary: "reads datasets, capabilities and universe again, whole or not at all; `reload` for short",
        example: "reload",
        args: &[],
    },
    Command { name: "log", words: "log", summary: "what is logged, and until when", example: "log", args: &[] },
    Command {
        name: "log.level",
        words: "log level",
        summary: "logs more or less until the process ends: error, warn, info, debug, trace, or by part",
        example: "log level warn,datanode=debug",
        args: &[needed("filter", Kind::Filter)],
    },
    Command {
        name: "events",
        words: "events",
        summary: "what people changed and the node labelled, the newest first: who, when, what came of it",
        example: "events --limit 20",
        args: &[LIMIT, OFFSET],
    },
    Command {
        name: "watch",
        words: "watch",
        summary: "shows a command again and again, every 2 seconds where nothing else is said; Ctrl-C or q ends it",
        example: "watch leases 5",
        args: &[placed("command", Kind::Command), placed("seconds", Kind::Number), flag("times", Kind::Number)],
    },
    plain("names", "datasets, symbols and vendors that this node knows (what completion offers)"),
    Command {
        name: "help",
        words: "help",
        summary: "the commands, or one of them",
        example: "help queue",
        args: &[placed("command", Kind::Command)],
    },
];
