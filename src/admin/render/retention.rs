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

const PINNED: &[Block] =
    &[Block::Fields(&[f("pack", "/export_id", Plain), f("now", "/now", Plain), f("act", "/act", Plain)])];

pub(super) fn blocks(cmd: &str) -> &'static [Block] {
    match cmd {
        "retention.plan" => PLAN,
        "retention.pin" | "retention.unpin" => PINNED,
        _ => &[],
    }
}
