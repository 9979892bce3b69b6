//! What the commands about retention show.

use super::cells::Show::{Bytes, Name, Plain, Prose};
use super::views::{Block, c, f, o, page, s};

const PLAN: &[Block] = &[
    page(
        &[
            c("pack", "/export_id", Name),
            c("where", "/where", Name),
            s(1, "form", "/form", Name),
            s(2, "bytes", "/bytes", Bytes),
            c("what", "/what", Name),
            c("why", "/because", Prose),
        ],
        "no pack yet",
    ),
    Block::Fields(&[f("would go", "/removals", Plain), f("digest", "/digest", Plain), o("clock", "/clock", Plain)]),
];

pub(super) const VAULT: &[Block] = &[Block::Fields(&[
    f("sealings", "/sealings", Plain),
    f("objects", "/objects", Plain),
    f("bytes", "/bytes", Bytes),
    o("read through", "/read_through", Plain),
    o("last read", "/last_read", Plain),
    f("of it", "/last_read_bytes", Bytes),
    f("wrong", "/bad", Plain),
    f("incidents", "/incidents", Plain),
    f("tombstones", "/tombstones", Plain),
    o("replica", "/replica", Plain),
    f("files there", "/replicated", Plain),
    o("not in step since", "/replica_down_since", Plain),
])];

const PINNED: &[Block] =
    &[Block::Fields(&[f("pack", "/export_id", Plain), f("now", "/now", Plain), f("act", "/act", Plain)])];

pub(super) fn blocks(cmd: &str) -> &'static [Block] {
    match cmd {
        "retention.plan" => PLAN,
        "retention.pin" | "retention.unpin" => PINNED,
        _ => &[],
    }
}
