//! What fuzzing found worth keeping is run again: no input panics, whatever became of the code since.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

#[path = "../fixtures/fuzz/run.rs"]
mod run;

use std::path::Path;

#[test]
fn no_input_of_the_corpus_is_a_finding() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/fuzz/corpus");
    for target in run::TARGETS {
        let mut inputs = 0;
        for entry in std::fs::read_dir(corpus.join(target)).unwrap() {
            let path = entry.unwrap().path();
            eprintln!("{}", path.display());
            run::one(target, &std::fs::read(path).unwrap());
            inputs += 1;
        }
        assert!(inputs > 0, "{target} has no corpus");
    }
}
