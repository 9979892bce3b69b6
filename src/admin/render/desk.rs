//! What the commands of the desk show: what was changed, who is at work, what explains the queue, and the configuration.

use super::cells::Show::{Bytes, Limit, Name, Number, Plain, Prose, Seconds};
use super::views::{Block, c, f, list, o, page, s};

const CHANGED: &[Block] = &[Block::Fields(&[f("changed", "/changed", Plain), f("what", "/what", Plain)])];

const PAUSED: &[Block] = &[Block::Fields(&[f("vendor", "/vendor", Plain), f("paused", "/paused", Plain)])];

const EXPLAIN: &[Block] = &[
    Block::Fields(&[
        f("task", "/task", Plain),
        f("state", "/state", Plain),
        f("class", "/class", Plain),
        f("expected", "/expected", Plain),
        f("rows", "/rows", Plain),
        o("discovered", "/discovered_at", Plain),
        o("lease", "/lease", Plain),
    ]),
    list(
        "",
        "/vendors",
        &[
            c("vendor", "/vendor", Name),
            c("score", "/score", Number),
            s(1, "coverage", "/terms/coverage", Number),
            s(2, "preference", "/terms/preference", Number),
            s(3, "quality", "/terms/quality", Number),
            s(4, "cost", "/terms/cost", Number),
            s(5, "latency", "/terms/latency", Number),
            c("now", "/can_take_now", Name),
            c("why not", "/why_not", Prose),
        ],
        "no enabled vendor has this dataset",
    ),
];

const DEMOTIONS: &[Block] = &[page(
    &[
        c("vendor", "/vendor", Name),
        c("dataset", "/dataset", Name),
        c("symbol", "/symbol", Name),
        s(3, "from", "/from", Name),
        s(4, "to", "/to", Name),
        c("asked again", "/until", Name),
        s(1, "times", "/step", Number),
        c("why", "/why", Prose),
    ],
    "no vendor refuses anything",
)];

const CONFIG: &[Block] = &[Block::Fields(&[
    f("config sha256", "/sha256", Plain),
    o("after the run", "/next_sha256", Plain),
    f("datasets", "/files/datasets", Plain),
    f("capabilities", "/files/capabilities", Plain),
    f("universe", "/files/universe", Plain),
    f("calendars", "/files/calendars", Plain),
    f("reloads", "/reloads/taken", Plain),
    f("refused", "/reloads/refused", Plain),
    o("last", "/reloads/last_at", Plain),
    o("by", "/reloads/last_by", Plain),
    o("error", "/reloads/last_error", Plain),
])];

const RELOADED: &[Block] = &[Block::Fields(&[
    f("old sha256", "/old_sha256", Plain),
    f("new sha256", "/new_sha256", Plain),
    f("changed", "/changed", Plain),
    f("holds", "/holds", Plain),
    f("needs restart", "/needs_restart", Plain),
])];

const LEASES: &[Block] = &[page(
    &[
        s(2, "lease", "/lease", Number),
        c("vendor", "/vendor", Name),
        c("dataset", "/dataset", Name),
        c("symbols", "/symbols", Plain),
        s(4, "from", "/from", Name),
        s(5, "to", "/to", Name),
        s(1, "claimed", "/claimed_at", Name),
        c("state", "/state", Name),
        s(3, "expires in", "/expires_in_seconds", Seconds),
    ],
    "no vendor is at work",
)];

const SHIP: &[Block] = &[
    list(
        "",
        "/destinations",
        &[
            c("destination", "/name", Name),
            c("safe", "/safe", Name),
            c("last", "/last", Name),
            s(3, "at", "/last_at", Name),
            c("waiting", "/waiting", Number),
            s(2, "arrived", "/shipped", Number),
            c("failed", "/failed", Number),
            s(1, "written", "/bytes", Bytes),
            c("where", "/url", Prose),
        ],
        "no destination: name one as ship.destinations.NAME in datanode.toml",
    ),
    list(
        "what was seen and said",
        "/destinations",
        &[
            c("destination", "/name", Name),
            s(2, "creates once", "/creates_once", Name),
            s(1, "checks sums", "/checks_sums", Name),
            c("seen", "/seen", Plain),
            c("on its way", "/now", Plain),
            c("error", "/error", Prose),
        ],
        "",
    ),
];

const ANCHOR: &[Block] = &[Block::Fields(&[
    f("log", "/name", Plain),
    f("entries", "/size", Number),
    f("root", "/root", Plain),
    f("signed", "/signed_at", Plain),
    f("waiting", "/waiting", Number),
    o("error", "/error", Plain),
])];

const REDIRECTED: &[Block] = &[Block::Fields(&[
    f("destinations", "/destinations", Plain),
    f("added", "/added", Plain),
    f("removed", "/removed", Plain),
    f("changed", "/changed", Plain),
])];

const BEGUN: &[Block] = &[Block::Fields(&[f("begun", "/begun", Plain)])];

const BUDGETS: &[Block] = &[
    list(
        "",
        "/budgets",
        &[
            c("vendor", "/vendor", Name),
            c("asked", "/asked", Name),
            s(4, "per s", "/per_second", Limit),
            s(6, "per min", "/per_minute", Limit),
            s(5, "per day", "/per_day", Limit),
            s(3, "pace %", "/pace_percent", Number),
            s(2, "this minute", "/last_minute", Number),
            c("today", "/spent_today", Number),
            c("left", "/left_today", Number),
            s(1, "in all", "/spent_total", Number),
            s(7, "closed until", "/closed_until", Name),
        ],
        "vendor_capabilities.yaml has no vendor",
    ),
    Block::Fields(&[f("the day ends", "/day_ends", Plain)]),
];

const REFUSALS: &[Block] = &[
    Block::Fields(&[
        f("about", "/about", Plain),
        o("the vendor", "/vendor_state", Plain),
        o("to end it", "/to_end_it", Plain),
    ]),
    list(
        "",
        "/refusals",
        &[
            c("refused", "/days", Name),
            s(1, "times", "/times", Number),
            c("asked again", "/asked_again", Name),
            s(2, "in its words", "/why", Plain),
            c("means", "/means", Prose),
        ],
        "it refuses nothing of this symbol",
    ),
    list(
        "",
        "/others",
        &[c("vendor", "/vendor", Name), c("asked", "/asked", Prose)],
        "no other vendor has this dataset",
    ),
];

const KEYS: &[Block] = &[
    list(
        "",
        "/keys",
        &[
            c("key", "/what", Name),
            s(2, "name", "/name", Name),
            s(1, "where", "/place", Plain),
            c("public", "/public", Prose),
        ],
        "",
    ),
    Block::Fields(&[f("rotation under way", "/rotation_under_way", Plain)]),
];

const LOG: &[Block] = &[Block::Fields(&[f("level", "/level", Plain), f("until", "/until", Plain)])];

const EVENTS: &[Block] = &[
    page(
        &[
            c("at", "/at", Name),
            s(2, "by", "/by", Name),
            c("what", "/what", Name),
            s(3, "about", "/about", Plain),
            c("outcome", "/outcome", Name),
            s(1, "why", "/why", Prose),
        ],
        "nobody has changed anything yet",
    ),
    Block::Fields(&[f("older months", "/older", Plain)]),
];

/// The parts of a command's answer, by its wire name; none where the command is not of the desk.
pub(super) fn blocks(cmd: &str) -> &'static [Block] {
    match cmd {
        "queue.retry" | "queue.cancel" | "demotions.clear" => CHANGED,
        "queue.pause" | "queue.resume" => PAUSED,
        "leases" => LEASES,
        "explain" => EXPLAIN,
        "demotions" => DEMOTIONS,
        "config" => CONFIG,
        "config.reload" => RELOADED,
        "anchor" => ANCHOR,
        "ship.status" => SHIP,
        "ship.reload" => REDIRECTED,
        "ship.now" | "runs.now" => BEGUN,
        "budgets" => BUDGETS,
        "demotions.explain" => REFUSALS,
        "keys" => KEYS,
        "log" | "log.level" => LOG,
        "events" => EVENTS,
        _ => &[],
    }
}
