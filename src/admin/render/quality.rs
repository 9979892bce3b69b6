//! What the commands about verdicts, holds and incidents show.

use super::cells::Show::{self, Asked, Name, Number, Plain, Prose};
use super::retention;
use super::table::{Head, Style, table};
use super::views::{Block, Column, c, f, list, o, page, s};
use serde_json::Value;
use std::borrow::Cow;

const SAID: &[Block] = &[Block::Fields(&[
    f("what", "/what", Plain),
    f("now", "/now", Plain),
    f("ledger pages", "/pages", Plain),
    f("act", "/act", Plain),
])];

const INCIDENTS: &[Block] = &[page(
    &[
        c("id", "/id", Number),
        c("state", "/state", Name),
        c("label", "/label", Name),
        s(3, "kind", "/kind", Name),
        s(1, "opened", "/opened_at", Name),
        s(2, "by", "/opened_by", Name),
        c("artifact", "/artifact", Name),
        s(4, "note", "/note", Prose),
    ],
    "no incident",
)];

const INCIDENT: &[Block] = &[Block::Fields(&[
    f("incident", "/id", Plain),
    f("state", "/state", Plain),
    f("label", "/label", Plain),
    f("kind", "/kind", Plain),
    f("artifact", "/artifact", Plain),
    f("on partitions", "/on_partitions", Plain),
    f("note", "/note", Plain),
    o("replacement", "/replacement", Plain),
    o("evidence", "/evidence", Plain),
    f("opened", "/opened_at", Plain),
    f("by", "/opened_by", Plain),
    o("closed", "/closed_at", Plain),
    o("by", "/closed_by", Plain),
    o("why", "/closed_why", Plain),
    o("ledger pages", "/pages", Plain),
])];

/// The incidents of a pack, below it.
pub(super) const ON_PACK: Block = list(
    "Incidents",
    "/incidents",
    &[
        c("id", "/id", Number),
        c("label", "/label", Name),
        s(1, "kind", "/kind", Name),
        c("use instead", "/replacement", Plain),
        c("note", "/note", Prose),
    ],
    "",
);

const EXPLAIN: &[Block] = &[
    Block::Fields(&[
        f("partition", "/partition", Plain),
        f("verdict", "/verdict", Plain),
        f("ships", "/ships", Plain),
        o("expected", "/expected", Plain),
        o("rows", "/rows", Plain),
        o("vendor", "/vendor", Plain),
        o("calendar", "/calendar", Plain),
        o("first seen", "/first_seen", Plain),
        o("updated", "/updated_at", Plain),
        o("digest", "/digest", Plain),
        o("absent", "/absence/state", Plain),
        o("explained by", "/absence/why", Plain),
        o("discovered", "/absence/discovered_at", Plain),
        o("asked", "/absence/answers", Asked),
    ]),
    list(
        "Reasons",
        "/reasons",
        &[c("reason", "/reason", Name), c("alone", "/verdict", Name), c("means", "/means", Prose)],
        "",
    ),
    list(
        "Measured",
        "/measured",
        &[c("reason", "/reason", Name), c("threshold", "/threshold", Plain), c("measured", "/measured", Prose)],
        "",
    ),
    list(
        "Raw holds",
        "/held",
        &[
            c("vendor", "/vendor", Name),
            c("rows", "/rows", Number),
            c("regular", "/regular", Number),
            s(1, "duplicates", "/duplicates", Number),
            s(2, "restated", "/restated", Number),
        ],
        "",
    ),
    list(
        "Holds and releases, the last one counts",
        "/holds",
        &[
            c("act", "/act", Number),
            c("what", "/what", Name),
            s(1, "at", "/at", Name),
            c("by", "/by", Name),
            c("why", "/why", Prose),
        ],
        "",
    ),
    list(
        "Incidents",
        "/incidents",
        &[
            c("id", "/id", Number),
            c("state", "/state", Name),
            c("label", "/label", Name),
            s(1, "kind", "/kind", Name),
            c("note", "/note", Prose),
        ],
        "",
    ),
    list(
        "Requests, the newest first",
        "/requests",
        &[
            c("request", "/request_id", Name),
            c("vendor", "/vendor", Name),
            s(1, "run", "/run", Name),
            c("fetched", "/fetched_at", Name),
            c("outcome", "/outcome", Name),
            c("rows", "/rows", Number),
            s(2, "note", "/note", Plain),
        ],
        "",
    ),
];

/// An answer as it is shown: of what was measured only what was.
pub(super) fn prepared<'a>(cmd: &str, result: &'a Value) -> Cow<'a, Value> {
    let Some(reasons) = result.get("reasons").and_then(Value::as_array).filter(|_| cmd == "qc.explain") else {
        return Cow::Borrowed(result);
    };
    let said = |r: &&Value| ["threshold", "measured"].iter().any(|k| r.get(k).is_some_and(|v| !v.is_null()));
    let measured: Vec<Value> = reasons.iter().filter(said).cloned().collect();
    let mut out = result.clone();
    if let Some(map) = out.as_object_mut() {
        map.insert("measured".to_owned(), measured.into());
    }
    Cow::Owned(out)
}

/// So many columns of a terminal have room for the numbers of a run beside what was said of it.
const WIDE: usize = 110;

/// The columns of the runs of absent sessions; the dataset stands above them.
const RUNS: &[Column] = &[
    c("days", "", Show::Days),
    c("sessions", "/sessions", Number),
    c("state", "", Show::State),
    s(2, "expected", "/expected", Number),
    s(1, "rows", "/rows", Number),
    c("asked", "/evidence", Asked),
];

/// The absent sessions of a symbol, dataset by dataset; what vendors said goes on below itself where there is room.
pub(super) fn gaps(rows: &[Value], style: &Style) -> String {
    let mut out = String::new();
    let dataset = |r: &Value| Name.cell(r.get("dataset").unwrap_or(&Value::Null));
    for of in rows.chunk_by(|a, b| dataset(a) == dataset(b)) {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&format!("{}\n", of.first().map(dataset).unwrap_or_default()));
        let head = |c: &Column| Head {
            text: c.head,
            right: c.show.is_number(),
            whole: c.show != Asked,
            wraps: c.show == Asked,
            spare: c.spare,
        };
        // What was said needs the room more than the numbers do.
        let wide = style.width.is_none_or(|w| w >= WIDE);
        let runs: Vec<&Column> = RUNS.iter().filter(|c| wide || c.spare == 0).collect();
        let heads: Vec<Head> = runs.iter().map(|c| head(c)).collect();
        let cell = |c: &Column, r: &Value| c.show.cell(r.pointer(c.at).unwrap_or(&Value::Null));
        let body: Vec<Vec<String>> = of.iter().map(|r| runs.iter().map(|c| cell(c, r)).collect()).collect();
        out.push_str(&table(&heads, &body, style));
    }
    out
}

/// The parts of a command's answer, by its wire name; none where the command is not known.
pub(super) fn blocks(cmd: &str) -> &'static [Block] {
    match cmd {
        "qc.hold" | "qc.release" => SAID,
        "qc.explain" => EXPLAIN,
        "incident.list" => INCIDENTS,
        "incident.show" | "incident.open" | "incident.close" => INCIDENT,
        "vault" => retention::VAULT,
        _ => retention::blocks(cmd),
    }
}
