//! What each command shows, and where it finds it in the answer.

use super::cells::Show;
use super::{desk, quality};

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
    /// Left out where the table does not fit, the lowest number first; 0: never.
    pub spare: u8,
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

pub(super) const fn f(label: &'static str, at: &'static str, show: Show) -> Field {
    Field { label, at, show, optional: false, expand: false }
}
pub(super) const fn o(label: &'static str, at: &'static str, show: Show) -> Field {
    Field { label, at, show, optional: true, expand: false }
}
pub(super) const fn c(head: &'static str, at: &'static str, show: Show) -> Column {
    Column { head, at, show, spare: 0 }
}
pub(super) const fn s(spare: u8, head: &'static str, at: &'static str, show: Show) -> Column {
    Column { head, at, show, spare }
}
pub(super) const fn page(columns: &'static [Column], empty: &'static str) -> Block {
    Block::Rows { title: "", at: "/rows", page: Some(""), columns, empty }
}
pub(super) const fn list(
    title: &'static str,
    at: &'static str,
    columns: &'static [Column],
    empty: &'static str,
) -> Block {
    Block::Rows { title, at, page: None, columns, empty }
}

use Show::{AllPairs, Answers, Bytes, Limit, Millis, Name, Number, Pack, Pairs, Plain, Prose, Run, Seconds, Windows};

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
        c("vendor", "/vendor", Name),
        c("enabled", "/enabled", Name),
        s(3, "per s", "/limits/per_second", Limit),
        c("per min", "/limits/per_minute", Limit),
        s(5, "per day", "/limits/per_day", Limit),
        s(1, "at once", "/limits/concurrency", Number),
        c("today", "/spent_today", Number),
        s(7, "left", "/left_today", Number),
        s(2, "total", "/spent_total", Number),
        s(4, "bookmarks", "/bookmarks", Number),
        s(8, "demoted", "/demoted", Number),
        s(6, "closed until", "/closed_until", Name),
        s(5, "paused", "/paused", Name),
        s(1, "pace %", "/pace_percent", Number),
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
        f("paused", "/paused", Plain),
        f("pace in percent of the limits", "/pace_percent", Plain),
        f("limits", "/limits", Pairs),
    ]),
    list(
        "",
        "/capabilities",
        &[
            c("dataset", "/dataset", Name),
            c("preference", "/preference", Number),
            c("feed", "/feed", Name),
            s(1, "adjustment", "/adjustment", Name),
            s(2, "from", "/from", Name),
            s(3, "to", "/to", Name),
            c("symbols", "/max_symbols", Number),
            s(4, "rows", "/max_rows", Number),
        ],
        "",
    ),
    Block::Rows {
        title: "Refusals",
        at: "/demotion_list/rows",
        page: Some("/demotion_list"),
        columns: &[
            c("dataset", "/dataset", Name),
            c("symbol", "/symbol", Name),
            c("asked again", "/until", Name),
            s(5, "times", "/step", Number),
            c("why", "/why", Prose),
        ],
        empty: "none",
    },
];

const QUEUE: &[Block] = &[
    page(
        &[
            c("dataset", "/dataset", Name),
            c("symbol", "/symbol", Name),
            c("day", "/day", Name),
            s(4, "state", "/state", Name),
            s(2, "expected", "/expected", Number),
            s(3, "rows", "/rows", Number),
            s(1, "discovered", "/discovered_at", Name),
            c("answers", "/answers", Answers),
        ],
        "nothing in the queue matches",
    ),
    Block::Fields(&[f("by state", "/by_state", AllPairs), o("looked up to", "/looked_up_to", Plain)]),
];

const BOOKMARKS: &[Block] = &[page(
    &[
        c("dataset", "/dataset", Name),
        c("symbol", "/symbol", Name),
        c("vendor", "/vendor", Name),
        c("rows", "/rows", Number),
        s(3, "answers", "/answers", Number),
        s(1, "restated", "/restated", Number),
        s(2, "updated", "/updated_at", Name),
        c("windows", "/windows", Windows),
    ],
    "no vendor has answered for that yet",
)];

const QC: &[Block] = &[
    list(
        "",
        "/datasets",
        &[
            c("dataset", "/dataset", Name),
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
            c("dataset", "/dataset", Name),
            c("reason", "/reason", Name),
            c("verdict", "/verdict", Name),
            c("partitions", "/partitions", Number),
        ],
        "",
    ),
    list("", "/meanings", &[c("reason", "/reason", Name), c("means", "/means", Prose)], ""),
];

const LEDGER: &[Block] = &[
    page(
        &[
            c("dataset", "/dataset", Name),
            c("symbol", "/symbol", Name),
            c("day", "/day", Name),
            c("verdict", "/verdict", Name),
            s(3, "expected", "/expected", Number),
            s(4, "rows", "/rows", Number),
            s(2, "vendor", "/vendor", Name),
            s(1, "updated", "/updated_at", Name),
            c("reasons", "/reasons", Plain),
        ],
        "no verdict matches",
    ),
    list(
        "",
        "/reasons",
        &[c("reason", "/reason", Name), s(5, "alone", "/verdict", Name), c("means", "/means", Prose)],
        "",
    ),
    list(
        "",
        "/decided_by",
        &[
            c("decided by", "/context", Name),
            c("dataset", "/decision/dataset", Name),
            s(7, "calendar", "/decision/calendar", Name),
            s(6, "version", "/decision/calendar_version", Name),
            c("thresholds", "/decision/thresholds", AllPairs),
        ],
        "",
    ),
];

const BOOKS: &[Block] = &[
    Block::Fields(&[f("since the start", "/counters", Pairs)]),
    page(
        &[
            c("market", "/market", Name),
            s(1, "token", "/asset_id", Name),
            s(4, "open", "/open", Plain),
            c("expected", "/expected", Number),
            c("got", "/got", Number),
            c("gaps", "/gaps", Number),
            c("silent", "/longest_silence_seconds", Seconds),
        ],
        "no token yet: the markets are being looked up",
    ),
];

const RUNS: &[Block] = &[page(
    &[
        c("run", "/run_id", Name),
        c("as of", "/as_of", Name),
        c("state", "/state", Name),
        s(1, "finished", "/finished_at", Name),
        s(3, "stages", "/stages", Number),
        s(4, "took", "/millis", Millis),
        s(2, "attempts", "/attempts", Number),
        s(5, "pack", "/export_id", Name),
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
        &[c("stage", "/stage", Name), c("took", "/millis", Millis), c("counters", "/counters", Pairs)],
        "no stage is done",
    ),
];

const PACKS: &[Block] = &[page(
    &[
        c("pack", "/export_id", Name),
        s(4, "as of", "/as_of", Name),
        s(1, "created", "/created_at", Name),
        s(3, "files", "/files", Number),
        c("rows", "/rows", Number),
        c("size", "/bytes", Bytes),
        c("sealed", "/sealed", Name),
        s(2, "removed", "/removed_at", Name),
        s(5, "labelled", "/labels", Name),
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
            s(1, "when", "/finished_at", Name),
        ],
        "it was not shipped",
    ),
    quality::ON_PACK,
];

const NAMES: &[Block] = &[Block::Fields(&[
    f("datasets", "/datasets", Plain),
    f("symbols", "/symbols", Plain),
    f("vendors", "/vendors", Plain),
    f("runs", "/runs", Plain),
    f("packs", "/packs", Plain),
    f("incidents", "/incidents", Plain),
])];

/// The parts of a command's answer, by its wire name; none where the command is not known.
pub fn blocks(cmd: &str) -> &'static [Block] {
    match cmd {
        "status" => STATUS,
        "vendors" => VENDORS,
        "vendors.show" => VENDOR,
        "queue.list" => QUEUE,
        "bookmarks" => BOOKMARKS,
        "books" => BOOKS,
        "qc.summary" => QC,
        "qc.show" | "qc.red" => LEDGER,
        "runs" => RUNS,
        "runs.show" => RUN,
        "packs" => PACKS,
        "packs.show" => PACK,
        "names" => NAMES,
        _ => match desk::blocks(cmd) {
            [] => quality::blocks(cmd),
            found => found,
        },
    }
}
