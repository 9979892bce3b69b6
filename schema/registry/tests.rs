//! Whatever is done to a registry file, it is accepted or refused with file, line and field.

use super::*;

fn built_in() -> Sources {
    Sources::read(None, None, None).unwrap()
}

/// The three texts, by number.
fn text_of(s: &mut Sources, which: usize) -> &mut (String, String) {
    match which {
        0 => &mut s.datasets,
        1 => &mut s.capabilities,
        _ => &mut s.universe,
    }
}

/// Every way in which a line is altered.
fn mutants(line: &str) -> Vec<String> {
    let mut out = vec![String::new(), format!("{line}\n{line}"), format!("  {line}"), format!("\t{line}")];
    out.extend([format!("{line} x"), format!("{line}: y"), line.replace(": ", ":"), line.replacen("  ", "", 1)]);
    for value in [
        "-1",
        "0",
        "99999999999999999999",
        "1e400",
        ".nan",
        "x",
        "[]",
        "{}",
        "null",
        "true",
        "\"",
        "*a",
        "!!x y",
        "\u{7}",
    ] {
        if let Some((key, _)) = line.split_once(": ") {
            out.push(format!("{key}: {value}"));
        }
        // Each value of a flow mapping as well.
        let mut at = 0;
        while let Some(colon) = line.get(at..).and_then(|l| l.find(": ")).map(|i| at + i) {
            let end = line.get(colon..).and_then(|l| l.find([',', '}'])).map_or(line.len(), |i| colon + i);
            out.push(format!("{}: {value}{}", &line[..colon], &line[end..]));
            at = colon + 2;
        }
    }
    if let Some(i) = line.find(|c: char| c.is_alphabetic()) {
        out.push(format!("{}q{}", &line[..i], &line[i..]));
    }
    out
}

#[test]
fn every_mutation_of_every_line_is_accepted_or_refused_with_file_line_and_field() {
    let (mut accepted, mut refused) = (0, 0);
    for which in 0..3 {
        let original = text_of(&mut built_in(), which).1.clone();
        for (i, line) in original.lines().enumerate() {
            if line.trim_start().starts_with('#') {
                continue;
            }
            for mutant in mutants(line) {
                let mut lines: Vec<&str> = original.lines().collect();
                lines[i] = &mutant;
                let mut s = built_in();
                text_of(&mut s, which).1 = lines.join("\n") + "\n";
                let Err(e) = Registry::parse(&s) else {
                    accepted += 1;
                    continue;
                };
                refused += 1;
                let RegistryError::Invalid { file, line, field, problem } = e else { panic!("{e}") };
                let known = [&s.datasets, &s.capabilities, &s.universe];
                let of = known.iter().find(|(name, _)| *name == file).unwrap_or_else(|| panic!("{file}"));
                let last = of.1.lines().count();
                assert!((1..=last).contains(&line), "{line} of {last}: {mutant:?}: {problem}");
                assert!(!field.is_empty() && !field.contains(char::is_whitespace), "{field:?}: {mutant:?}: {problem}");
                assert!(!problem.is_empty() && !problem.contains(" at line "), "{mutant:?}: {problem}");
            }
        }
    }
    assert!(accepted > 100 && refused > 1_000, "{accepted} accepted, {refused} refused");
}

/// What a registry says when one text of a built-in file is replaced.
fn refusal(which: usize, from: &str, to: &str) -> String {
    let mut s = built_in();
    let text = &mut text_of(&mut s, which).1;
    assert!(text.contains(from), "the built-in file has no {from:?}");
    *text = text.replacen(from, to, 1);
    Registry::parse(&s).unwrap_err().to_string()
}

#[test]
fn what_cannot_be_is_refused_with_what_to_write() {
    for (which, from, to, says) in [
        (
            0,
            "key: symbol",
            "key: ticker",
            "datasets.equities_bars.key: \"ticker\" is not its key column; write `key: symbol`",
        ),
        (0, "cadence: minute", "cadence: session", "write `cadence: minute`"),
        (0, "cadence: minute", "cadence: minut", "did you mean `minute`?"),
        (0, "grain: day", "grain: year", "write `grain: day`"),
        (
            0,
            "rows_per_session: 960",
            "rows_per_session: 0",
            "rows_per_session: 0 is out of range; write a number from 1",
        ),
        (0, "calendar: XNYS", "calendar: NYSE", "write one of XNYS"),
        (0, "vendors_agree: 2", "vendors_agree: 0", "datasets.equities_bars.no_trade.vendors_agree: 0 is out of range"),
        (0, "min_completeness: 0.9", "min_completeness: 90", "90 is out of range"),
        (0, "  equities_bars:", "  equity_bars:", "did you mean `equities_bars`?"),
        (0, "rows_per_session: 1\n", "rows_a_session: 1\n", "did you mean `rows_per_session`?"),
        (0, "name: close", "name: last", "column 6 of the table is close; write `- {name: close"),
        (
            0,
            "unit: \"percent a year\"",
            "unit: \"percent\"",
            "datasets.macro_treasury.schema.value: the column is something else",
        ),
        (1, "feed: sip", "feed: spi", "alpaca has no feed \"spi\"; write one of sip, iex"),
        (1, "preference: 90", "preference: 1001", "write a number from 1 to 1000"),
        (1, "concurrency: 4", "concurrency: 0", "vendors.alpaca.limits.concurrency: 0 is out of range"),
        (1, "per_minute: 200", "per_minute: 20000000", "vendors.alpaca.limits.per_minute"),
        (1, "per_minute: 200, ", "", "missing field `per_minute`; add it"),
        (1, "feed: sip, adjustment: raw", "feed: sip, adjustment: row", "write one of raw, split, dividend"),
        (
            1,
            "      macro_treasury: {preference: 90",
            "      equities_bars: {preference: 77",
            "nothing here asks fred for equities_bars",
        ),
        (2, "[{from: 2024-01-02}]", "[]", "it has 0 windows"),
        (2, "from: 2024-01-02", "from: 1024-01-02", "does not know 1024-01-02"),
        (2, "from: 2024-01-02", "from: yesterday", "universe"),
    ] {
        let e = refusal(which, from, to);
        assert!(e.contains(says), "{to}: {e}");
    }
}

#[test]
fn the_line_of_a_wrong_column_is_its_own() {
    let s = built_in();
    let line = s.datasets.1.lines().position(|l| l.contains("percent a year")).unwrap() + 1;
    let e = refusal(0, "unit: \"percent a year\"", "unit: \"percent\"");
    assert!(e.starts_with(&format!("built-in datasets.yaml:{line}: ")), "{e}");
}

#[test]
fn the_built_in_file_tells_the_columns_of_every_dataset_that_it_has() {
    let r = Registry::parse(&built_in()).unwrap();
    for (dataset, rule) in &r.datasets {
        let lines: Vec<String> = columns(*dataset).iter().map(|c| format!("      {}", c.line())).collect();
        assert_eq!(rule.schema, columns(*dataset), "{dataset}; write\n    schema:\n{}", lines.join("\n"));
    }
}

#[test]
fn a_pipe_and_a_folder_are_no_registry_files() {
    let tmp = tempfile::tempdir().unwrap();
    let pipe = tmp.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for path in [pipe.as_path(), tmp.path(), &tmp.path().join("nothing")] {
        assert!(matches!(Sources::read(None, Some(path), None), Err(RegistryError::Read { .. })), "{path:?}");
    }
}
