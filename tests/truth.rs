//! A market of which everything wrong is known: the node finds all of it, and nothing else. The bench `truth` does the same with
//! fifty symbols and many seeds; here it is one seed (`DATANODE_TRUTH_SEED`, default 1) and twelve symbols.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

#[path = "../benches/common/child.rs"]
#[allow(dead_code, reason = "only how programs are started")]
mod child;
#[path = "../benches/truth/lab/mod.rs"]
#[allow(dead_code, reason = "precision and recall are the bench's")]
mod lab;
#[path = "../benches/common/simulator.rs"]
#[allow(dead_code, reason = "only that it serves a folder")]
mod simulator;

use lab::claims::{Claims, Class};
use lab::folder::World;
use lab::plan::{Plan, Size};
use lab::score::{score, wrong};
use lab::{held, nights, said, sessions};
use std::path::Path;

#[test]
fn the_node_finds_what_is_missing_and_wrong_and_nothing_else() {
    let seed = std::env::var("DATANODE_TRUTH_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let root = tempfile::Builder::new().prefix("datanode-truth-").tempdir().unwrap();
    let plan = Plan::draw(seed, Size::SMALL);
    let world = World::write(&plan, root.path()).unwrap();
    let truth = world.truth(&plan);
    let datanode = Path::new(env!("CARGO_BIN_EXE_datanode"));
    let data = root.path().join("data");
    let nights = nights::run(datanode, &world, &data).unwrap();
    let mut claims: Claims = said::claims(&nights.first, &nights.last);
    claims.insert(Class::Held, held::held(&world, &data).unwrap());
    let strange = said::otherwise(&nights.first, &nights.last, &truth, &world);
    let some: Vec<_> = strange.iter().take(8).collect();
    assert!(some.is_empty(), "seed {seed}: {} not GREEN, and nothing is wrong there: {some:?} …", strange.len());
    let bad: Vec<String> = Class::ALL
        .into_iter()
        .filter(|c| !score(*c, &truth, &claims).perfect())
        .map(|c| wrong(c, &truth, &claims))
        .collect();
    assert!(bad.is_empty(), "seed {seed}, {} nights:\n{}", nights.count, bad.join("\n"));
}

#[test]
fn sixty_sessions_written_down_by_hand_are_those_of_the_nodes_calendar() {
    let ours = sessions::all();
    assert_eq!(ours.len(), 60);
    let (from, to) = (sessions::WINDOW.0.parse().unwrap(), sessions::WINDOW.1.parse().unwrap());
    let node = datanode_schema::calendar::Calendar::Xnys.sessions(from, to);
    let theirs: Vec<_> = node.iter().map(|s| (s.date, s.open, s.minutes())).collect();
    assert_eq!(ours.iter().map(|d| (d.date, d.open, d.minutes)).collect::<Vec<_>>(), theirs);
    assert_eq!(ours.iter().filter(|d| d.minutes == 210).count(), 3);
}

#[test]
fn a_seed_makes_the_same_market_and_every_class_of_it_has_something_to_find() {
    let plan = Plan::draw(7, Size::FULL);
    assert_eq!(plan.truth(), Plan::draw(7, Size::FULL).truth());
    let truth = plan.truth();
    let n = |c: Class| truth.get(&c).map_or(0, |s| s.len());
    let wanted = [
        (Class::Missing, 20),
        (Class::Hole, 20),
        (Class::Duplicate, 10),
        (Class::Split, 5),
        (Class::Quiet, 10),
        (Class::Delisting, 5),
        (Class::Restated, 50),
        (Class::Clocks, 50),
    ];
    for (class, want) in wanted {
        assert_eq!(n(class), want, "{}", class.name());
    }
    assert!(n(Class::HalfDay) > 130, "three half-days of the symbols that still trade");
}

#[test]
fn one_claim_too_many_and_one_too_few_are_both_seen() {
    let truth = Plan::draw(3, Size::SMALL).truth();
    for class in Class::ALL.into_iter().filter(|c| truth.contains_key(c)) {
        assert!(score(class, &truth, &truth).perfect());
        let mut less = truth.clone();
        less.get_mut(&class).unwrap().pop_first();
        let s = score(class, &truth, &less);
        assert_eq!(
            (s.recall() < 1.0, s.precision().unwrap_or(1.0), s.perfect()),
            (true, 1.0, false),
            "{}",
            class.name()
        );
        let mut more = truth.clone();
        more.get_mut(&class).unwrap().insert(("ZZZ".to_owned(), "2003-10-13".parse().unwrap()));
        let s = score(class, &truth, &more);
        assert_eq!((s.recall(), s.precision().unwrap() < 1.0, s.perfect()), (1.0, true, false), "{}", class.name());
    }
}
