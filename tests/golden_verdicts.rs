//! The exact verdicts on real history, as files that a person has read: with corporate actions, and without.
//!
//! `UPDATE_GOLDEN=1` writes the verdicts anew below what stands in a file's head (the lines that begin with `#`), which says what
//! each group of them is: whoever writes them anew reads them again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use std::path::Path;
use support::{Node, REAL_NIGHT, Sim, real_data, verdicts};

fn compare(name: &str, got: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/golden/verdicts").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let head: String = text.lines().filter(|l| l.starts_with('#')).map(|l| format!("{l}\n")).collect();
    let got = format!("{head}{got}");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &got).unwrap();
    }
    let want: Vec<&str> = text.lines().collect();
    let differ: Vec<&str> = got.lines().filter(|l| !want.contains(l)).collect();
    let gone: Vec<&&str> = want.iter().filter(|l| !got.lines().any(|g| g == **l)).collect();
    assert!(got == text, "{} differs.\nnew:\n{}\ngone:\n{gone:#?}", path.display(), differ.join("\n"));
}

fn night(actions: bool) -> Option<String> {
    let real = real_data()?;
    let sim = Sim::real(&real);
    let mut universe = sim.universe.clone();
    if actions {
        let symbols = std::fs::read_dir(real.join("equities_bars")).unwrap();
        let mut symbols: Vec<String> =
            symbols.map(|e| e.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        symbols.sort();
        universe += "  corporate_actions:\n";
        for s in symbols {
            universe += &format!("    {s}: [{{from: 1998-01-02, to: 2021-03-31}}]\n");
        }
    }
    let node = Node::new(&universe, REAL_NIGHT).vendors(&["alpaca", "massive", "fred"], &sim);
    node.nightly(&[]).exits(0);
    Some(verdicts::shown(&node))
}

#[test]
fn without_actions_the_splits_of_history_are_jumps_that_nothing_explains() {
    if let Some(got) = night(false) {
        compare("without_actions.txt", &got);
    }
}

#[test]
fn with_actions_what_is_left_is_what_an_expert_would_look_at() {
    if let Some(got) = night(true) {
        compare("with_actions.txt", &got);
    }
}
