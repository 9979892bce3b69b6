//! What each command shows, and where it finds it in the answer.

use super::cells::Show;

/// A line `label  value`.
pub struct Field {
    /// What stands before it.
    pub label: &'static str,
    /// JSON pointer.
    pub at: &'static str,
    /// How it is written.
    pub show: Show,
    /// Left out where it is null.
    pub optional: bool,
    /// Its members, each a line of its own, instead.
    pub expand: bool,
}

/// A column.
pub struct Column {
    /// Its head.
    pub head: &'static str,
    /// JSON pointer within a row.
    pub at: &'static str,
    /// How it is written.
    pub show: Show,
}

/// A part of an answer.
pub enum Block {
    /// Labels and values.
    Fields(&'static [Field]),
    /// A table.
    Rows {
        /// A line above it; may be empty.
        title: &'static str,
        /// JSON pointer of the rows.
        at: &'static str,
        /// JSON pointer of the page that they are part of.
        page: Option<&'static str>,
        /// Its columns.
        columns: &'static [Column],
        /// What stands in place of an empty table; empty: nothing, not even the title.
        empty: &'static str,
    },
}

const fn f(label: &'static str, at: &'static str, show: Show) -> Field {
    Field { label, at, show, optional: false, expand: false }
}
const fn o(label: &'static str, at: &'static str, show: Show) -> Field {
    Field { label, at, show, optional: true, expand: false }
}
const fn c(head: &'static str, at: &'static str, show: Show) -> Column {
    Column { head, at, show }
}
const fn page(columns: &'static [Column], empty: &'static str) -> Block {
    Block::Rows { title: "", at: "/rows", page: Some(""), columns, empty }
}
const fn list(title: &'static str, at: &'static str, columns: &'static [Column], empty: &'static str) -> Block {
    Block::Rows { title, at, page: None, columns, empty }
}

use Show::{AllPairs, Answers, Bytes, Limit, Millis, Number, Pack, Pairs, Plain, Run, Seconds, Windows};

const STATUS: &[Block] = &[Block::Fields(&[
    f("version", "/version", Plain),
    f("data folder", "/data_dir", Plain),
    f("now", "/now", Plain),
    f("up", "/uptime_seconds", Seconds),
    Field { label: "", at: "/live", show: Plain, optional: true, expand: true },
    f("last run", "/last_run", Run),
    f("last pack", "/last_pack", Pack),
    f("queue", "/queue", AllPairs),
    f("ledger", "/ledger", AllPairs),
    f("leases", "/leases", Plain),
    f("bookmarks", "/bookmarks", Plain),
    f("commit", "/commit", Plain),
    f("disk free", "/disk_free_bytes", Bytes),
])];

const VENDORS: &[Block] = &[list(
    "",
    "/vendors",
    &[
        c("vendor", "/vendor", Plain),
        c("enabled", "/enabled", Plain),
        c("per s", "/limits/per_second", Limit),
        c("per min", "/limits/per_minute", Limit),
        c("per day", "/limits/per_day", Limit),
        c("at once", "/limits/concurrency", Number),
        c("today", "/spent_today", Number),
        c("left", "/left_today", Number),
        c("total", "/spent_total", Number),
        c("bookmarks", "/bookmarks", Number),
        c("demoted", "/demoted", Number),
        c("closed until", "/closed_until", Plain),
        c("datasets", "/datasets", Plain),
    ],
    "vendor_capabilities.yaml has no vendor",
)];

const VENDOR: &[Block] = &[
    Block::Fields(&[
        f("vendor", "/vendor", Plain),
        f("enabled", "/enabled", Plain),
        f("spent today", "/spent_today", Plain),
        o("left today", "/left_today", Plain),
        f("spent in all", "/spent_total", Plain),
        o("closed until", "/closed_until", Plain),
        f("bookmarks", "/bookmarks", Plain),
        f("limits", "/limits", Pairs),
    ]),
    list(
        "",
        "/capabilities",
        &[
            c("dataset", "/dataset", Plain),
            c("preference", "/preference", Number),
            c("feed", "/feed", Plain),
            c("adjustment", "/adjustment", Plain),
            c("from", "/from", Plain),
            c("to", "/to", Plain),
            c("symbols", "/max_symbols", Number),
            c("rows", "/max_rows", Number),
        ],
        "",
    ),
    Block::Rows {
        title: "Refusals",
        at: "/demotion_list/rows",
        page: Some("/demotion_list"),
        columns: &[
            c("dataset", "/dataset", Plain),
            c("symbol", "/symbol", Plain),
            c("asked again", "/until", Plain),
            c("times", "/step", Number),
            c("why", "/why", Plain),
        ],
        empty: "none",
    },
];

const QUEUE: &[Block] = &[
    page(
        &[
            c("dataset", "/dataset", Plain),
            c("symbol", "/symbol", Plain),
            c("day", "/day", Plain),
            c("state", "/state", Plain),
            c("expected", "/expected", Number),
            c("rows", "/rows", Number),
            c("discovered", "/discovered_at", Plain),
            c("answers", "/answers", Answers),
        ],
        "nothing in the queue matches",
    ),
    Block::Fields(&[f("by state", "/by_state", AllPairs)]),
];

const LEASES: &[Block] = &[page(
    &[
        c("lease", "/lease", Number),
        c("vendor", "/vendor", Plain),
        c("dataset", "/dataset", Plain),
        c("symbols", "/symbols", Plain),
        c("from", "/from", Plain),
        c("to", "/to", Plain),
        c("claimed", "/claimed_at", Plain),
        c("state", "/state", Plain),
        c("expires in", "/expires_in_seconds", Seconds),
    ],
    "no vendor is at work",
)];

const BOOKMARKS: &[Block] = &[page(
    &[
        c("dataset", "/dataset", Plain),
        c("symbol", "/symbol", Plain),
        c("vendor", "/vendor", Plain),
        c("rows", "/rows", Number),
        c("answers", "/answers", Number),
        c("restated", "/restated", Number),
        c("updated", "/updated_at", Plain),
        c("windows", "/windows", Windows),
    ],
    "no vendor has answered for that yet",
)];

const GAPS: &[Block] = &[page(
    &[
        c("dataset", "/dataset", Plain),
        c("from", "/from", Plain),
        c("to", "/to", Plain),
        c("sessions", "/sessions", Number),
        c("state", "/state", Plain),
        c("expected", "/expected", Number),
        c("rows", "/rows", Number),
    ],
    "no gap: every session that the calendar has is held (as of the last audit)",
)];

const QC: &[Block] = &[
    list(
        "",
        "/datasets",
        &[
            c("dataset", "/dataset", Plain),
            c("GREEN", "/green", Number),
            c("AMBER", "/amber", Number),
            c("RED", "/red", Number),
            c("PENDING", "/pending", Number),
        ],
        "nothing is judged yet: the next nightly cycle does it",
    ),
    list(
        "",
        "/reasons",
        &[
            c("dataset", "/dataset", Plain),
            c("reason", "/reason", Plain),
            c("verdict", "/verdict", Plain),
            c("partitions", "/partitions", Number),
            c("means", "/means", Plain),
        ],
        "",
    ),
];

const LEDGER: &[Block] = &[
    page(
        &[
            c("dataset", "/dataset", Plain),
            c("symbol", "/symbol", Plain),
            c("day", "/day", Plain),
            c("verdict", "/verdict", Plain),
            c("expected", "/expected", Number),
            c("rows", "/rows", Number),
            c("vendor", "/vendor", Plain),
            c("updated", "/updated_at", Plain),
            c("reasons", "/reasons", Plain),
        ],
        "no verdict matches",
    ),
    list("", "/reasons", &[c("reason", "/reason", Plain), c("alone", "/verdict", Plain), c("means", "/means", Plain)], ""),
    list(
        "",
        "/decided_by",
        &[
            c("decided by", "/context", Plain),
            c("dataset", "/decision/dataset", Plain),
            c("calendar", "/decision/calendar", Plain),
            c("version", "/decision/calendar_version", Plain),
            c("thresholds", "/decision/thresholds", AllPairs),
        ],
        "",
    ),
];

const RUNS: &[Block] = &[page(
    &[
        c("run", "/run_id", Plain),
        c("as of", "/as_of", Plain),
        c("state", "/state", Plain),
        c("finished", "/finished_at", Plain),
        c("stages", "/stages", Number),
        c("took", "/millis", Millis),
        c("attempts", "/attempts", Number),
        c("pack", "/export_id", Plain),
        c("error", "/error", Plain),
    ],
    "no run yet: the scheduler starts one at its time",
)];

const RUN: &[Block] = &[
    Block::Fields(&[
        f("run", "/run_id", Plain),
        f("as of", "/as_of", Plain),
        f("state", "/state", Plain),
        f("started", "/started_at", Plain),
        f("finished", "/finished_at", Plain),
        o("window from", "/window_from", Plain),
        o("window to", "/window_to", Plain),
        f("took", "/millis", Millis),
        f("attempts", "/attempts", Plain),
        f("pack", "/export_id", Plain),
        o("error", "/error", Plain),
    ]),
    list(
        "",
        "/stage_list",
        &[c("stage", "/stage", Plain), c("took", "/millis", Millis), c("counters", "/counters", Pairs)],
        "no stage is done",
    ),
];

const PACKS: &[Block] = &[page(
    &[
        c("pack", "/export_id", Plain),
        c("as of", "/as_of", Plain),
        c("created", "/created_at", Plain),
        c("files", "/files", Number),
        c("rows", "/rows", Number),
        c("size", "/bytes", Bytes),
        c("sealed", "/sealed", Plain),
        c("removed", "/removed_at", Plain),
    ],
    "no pack yet: the next nightly cycle publishes one",
)];

const PACK: &[Block] = &[
    Block::Fields(&[
        f("pack", "/export_id", Plain),
        f("as of", "/as_of", Plain),
        f("created", "/created_at", Plain),
        f("files", "/files", Plain),
        f("rows", "/rows", Plain),
        f("size", "/bytes", Bytes),
        f("manifest sha256", "/manifest_sha256", Plain),
        f("content", "/content", Plain),
        f("sealed as", "/pack_uid", Plain),
        o("merkle root", "/merkle_root", Plain),
        o("removed", "/removed_at", Plain),
    ]),
    list(
        "",
        "/shipments",
        &[
            c("arrived at", "/destination", Plain),
            c("files", "/files", Number),
            c("size", "/bytes", Bytes),
            c("when", "/finished_at", Plain),
        ],
        "it was not shipped",
    ),
];

const NAMES: &[Block] = &[Block::Fields(&[
    f("datasets", "/datasets", Plain),
    f("symbols", "/symbols", Plain),
    f("vendors", "/vendors", Plain),
])];

const HELP: &[Block] = &[list(
    "",
    "/commands",
    &[c("command", "/words", Plain), c("shows", "/summary", Plain), c("example", "/example", Plain)],
    "",
)];

/// The parts of a command's answer, by its wire name; none where the command is not known.
pub fn blocks(cmd: &str) -> &'static [Block] {
    match cmd {
        "status" => STATUS,
        "vendors" => VENDORS,
        "vendors.show" => VENDOR,
        "queue.list" => QUEUE,
        "leases" => LEASES,
        "bookmarks" => BOOKMARKS,
        "gaps" => GAPS,
        "qc.summary" => QC,
        "qc.show" | "qc.red" => LEDGER,
        "runs" => RUNS,
        "runs.show" => RUN,
        "packs" => PACKS,
        "packs.show" => PACK,
        "names" => NAMES,
        "help" => HELP,
        _ => &[],
    }
}
