//! What fuzzing found worth keeping is run again: no input panics, whatever became of the code since.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

#[path = "../fixtures/fuzz/run.rs"]
mod run;

use std::io::Read;
use std::path::Path;

/// The seeds, and what fuzzers made of them that reaches something else: `<target>.tar.zst`, minimised.
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
        let Ok(bundle) = std::fs::File::open(corpus.join(format!("{target}.tar.zst"))) else { continue };
        let mut archive = tar::Archive::new(zstd::Decoder::new(bundle).unwrap());
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            if entry.header().entry_type().is_file() {
                let mut input = Vec::new();
                entry.read_to_end(&mut input).unwrap();
                eprintln!("{target}.tar.zst: {}", entry.path().unwrap().display());
                run::one(target, &input);
                inputs += 1;
            }
        }
        eprintln!("{target}: {inputs} inputs");
    }
}
