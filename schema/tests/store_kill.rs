//! A process that is killed loses nothing that it acknowledged; the one after it opens and goes on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use datanode_schema::store::powercut;

const DIR: &str = "STORE_KILL_TEST_DIR";

/// Not a test by itself: the process that is killed.
#[test]
fn child_writer() {
    if let Ok(dir) = std::env::var(DIR) {
        let error = powercut::write(Path::new(&dir)).unwrap_err();
        panic!("{error}");
    }
}

#[test]
fn what_a_killed_process_acknowledged_is_there_and_whole() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("state");
    let mut acked = -1;
    for round in 0..12u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_writer", "--nocapture", "--test-threads=1"])
            .env(DIR, &dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        // Killed in the midst of its writing, at a different number each time; then what is still in the pipe is read.
        for line in lines {
            let Ok(text) = line else { break };
            // The test harness leaves its own words on the first line.
            if let Some(n) = text.split_whitespace().last().and_then(|w| w.parse::<i64>().ok()) {
                acked = acked.max(n);
                seen += 1;
            }
            if seen == 40 + round * 31 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= 40, "the child wrote nothing in round {round}");
        powercut::verify(&dir, acked).unwrap();
    }
    assert!(acked > 1000, "{acked}");
}
