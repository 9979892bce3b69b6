//! Installing, upgrading and going back: the unit, the installer, the package and the state's format, each tried as it is shipped.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod support;

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{DATANODE, Node, Ran, SEEDED_NIGHT, Sim, run};

fn ops(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("ops").join(file)
}

/// Whether a program is there; says so where a check is skipped.
fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        eprintln!("SKIPPED: {program} is not installed");
    }
    found
}

// --- the unit ---

#[test]
fn the_unit_is_valid_and_exposes_little() {
    if !has("systemd-analyze") {
        return;
    }
    let tmp = tempfile::tempdir().unwrap();
    let unit = tmp.path().join("datanode.service");
    let text = std::fs::read_to_string(ops("systemd/datanode.service")).unwrap();
    // The program is not installed here: the one under test stands for it.
    std::fs::write(&unit, text.replace("ExecStart=datanode ", &format!("ExecStart={DATANODE} "))).unwrap();
    let verified = run(Command::new("systemd-analyze").arg("verify").arg(&unit)).exits(0);
    let ours: Vec<&str> = verified.err.lines().filter(|l| l.contains("datanode.service")).collect();
    assert!(ours.is_empty(), "{ours:?}");
    let security = ["security", "--offline=true", "--threshold=25"];
    run(Command::new("systemd-analyze").args(security).arg(&unit).env("SYSTEMD_PAGER", "")).exits(0);
}

#[test]
fn the_scripts_have_no_fault_that_a_linter_sees() {
    if !has("shellcheck") {
        return;
    }
    let files = ["install.sh", "setup.sh", "release.sh", "debian/postinst", "debian/prerm", "debian/postrm"];
    run(Command::new("shellcheck").args(files.map(ops))).exits(0);
}

/// The system calls of a group of systemd's, those of the groups in it included.
fn group(name: &str) -> BTreeSet<String> {
    let shown = run(Command::new("systemd-analyze").args(["syscall-filter", name]).env("SYSTEMD_PAGER", "")).exits(0);
    let mut out = BTreeSet::new();
    for word in shown.out.lines().skip(1).map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        if word.starts_with('@') { out.extend(group(word)) } else { _ = out.insert(word.to_owned()) }
    }
    out
}

/// What a line of strace says was called, and the rest of the line; None where a call only goes on.
fn call(line: &str) -> Option<(&str, &str)> {
    let (_, text) = line.split_once(' ')?;
    text.trim_start().split_once('(').filter(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

/// The file that an `openat` or `openat2` with `-y` is about: an absolute path, or one beneath the folder that is named.
fn file_of(rest: &str) -> Option<PathBuf> {
    let (before, after) = rest.split_once('"')?;
    let path = Path::new(after.split_once('"')?.0);
    let folder = before.split_once('<').and_then(|(_, f)| f.split_once('>')).map_or("", |(f, _)| f);
    Some(Path::new(folder).join(path))
}

#[test]
fn a_night_needs_no_call_that_the_unit_forbids_and_writes_below_its_data_alone() {
    if !has("strace") || !has("systemd-analyze") {
        return;
    }
    let sim = Sim::seeded(2, 1, "");
    let n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
    let trace = n.root.path().join("trace");
    let mut traced = n.program("strace", &["-f", "-qq", "-y", "-s", "300", "-o", trace.to_str().unwrap(), DATANODE]);
    run(traced.args(n.nightly_args(&[]))).exits(0);
    let text = std::fs::read_to_string(&trace).unwrap();
    let calls: Vec<(&str, &str)> = text.lines().filter_map(call).collect();
    assert!(calls.len() > 1000, "strace saw too little");

    // What the unit says, word for word.
    let unit = std::fs::read_to_string(ops("systemd/datanode.service")).unwrap();
    assert!(unit.contains("SystemCallFilter=@system-service\nSystemCallFilter=~@privileged @resources\n"));
    let mut allowed = group("@system-service");
    allowed.extend(group("@default"));
    let denied: BTreeSet<String> = group("@privileged").union(&group("@resources")).cloned().collect();
    let used: BTreeSet<&str> = calls.iter().map(|(name, _)| *name).collect();
    let bad: Vec<&&str> = used.iter().filter(|c| !allowed.contains(**c) || denied.contains(**c)).collect();
    assert!(bad.is_empty(), "the unit forbids {bad:?}");

    let writes = |rest: &str| ["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|f| rest.contains(f));
    let opened = calls.iter().filter(|(name, rest)| name.starts_with("openat") && writes(rest));
    let written: BTreeSet<PathBuf> = opened.filter_map(|(_, rest)| file_of(rest)).collect();
    let outside: Vec<_> = written.iter().filter(|p| !p.starts_with(n.data()) && !p.starts_with("/dev")).collect();
    assert!(written.len() > 10 && outside.is_empty(), "written outside the data folder: {outside:?}");
}

// --- the installer ---

/// A release of the programs under test, put together as a real one is.
fn release() -> (tempfile::TempDir, PathBuf) {
    let tmp = tempfile::tempdir().unwrap();
    let built = Path::new(DATANODE).parent().unwrap();
    run(Command::new(ops("release.sh")).arg(built).arg("datanode-test").arg(tmp.path())).exits(0);
    let folder = tmp.path().join("datanode-test");
    (tmp, folder)
}

fn install(release: &Path, root: &Path, args: &[&str]) -> Ran {
    let mut c = Command::new(release.join("install.sh"));
    run(c.args(args).env("DESTDIR", root).current_dir("/"))
}

/// Everything below a folder: its mode, and its text or its length.
fn seen(root: &Path) -> BTreeMap<PathBuf, (u32, u64)> {
    let mut out = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(f) = folders.pop() {
        for e in std::fs::read_dir(&f).unwrap().map(|e| e.unwrap()) {
            let m = e.metadata().unwrap();
            let size = if m.is_dir() { 0 } else { m.len() };
            out.insert(e.path().strip_prefix(root).unwrap().to_owned(), (m.permissions().mode() & 0o7777, size));
            if m.is_dir() {
                folders.push(e.path());
            }
        }
    }
    out
}

#[test]
fn the_installer_may_run_again_and_keeps_what_is_the_owners() {
    let (_tmp, release) = release();
    let root = tempfile::tempdir().unwrap();
    let root = root.path();

    let dry = install(&release, root, &["--dry-run"]).exits(0);
    assert!(dry.out.contains("would: install /usr/local/bin/datanode"), "{}", dry.out);
    assert!(seen(root).is_empty(), "a dry run changes nothing");

    install(&release, root, &[]).exits(0).says(&[]);
    let first = seen(root);
    let mode = |file: &str| first.get(Path::new(file)).unwrap_or_else(|| panic!("{file} is not there")).0;
    assert_eq!(mode("usr/local/bin/datanode"), 0o755);
    assert_eq!(mode("usr/lib/systemd/system/datanode.service"), 0o644);
    assert_eq!(mode("etc/datanode/datanode.toml"), 0o644);
    assert_eq!(mode("var/lib/datanode/keys/node.key"), 0o600);
    assert_eq!((mode("var/lib/datanode"), mode("etc/datanode/credentials")), (0o700, 0o700));
    assert!(!first.contains_key(Path::new("etc/datanode/keys")), "no key lies beside the configuration");
    let toml = root.join("etc/datanode/datanode.toml");
    let text = std::fs::read_to_string(&toml).unwrap();
    assert!(text.contains("\ndata_dir = \"/var/lib/datanode\"\n"), "{text}");
    assert_eq!(text.matches("\nkey_file = \"/var/lib/datanode/keys/").count(), 2, "{text}");

    // What the owner changed stays, and nothing else is written.
    std::fs::write(&toml, text + "# mine\n").unwrap();
    let edited = seen(root);
    let again = install(&release, root, &[]).exits(0);
    assert!(!again.out.contains("installed "), "{}", again.out);
    assert_eq!(seen(root), edited);

    // An upgrade keeps the program of before beside the new one.
    let old = root.join("usr/local/bin/datanode");
    std::fs::write(&old, "an older program").unwrap();
    install(&release, root, &[]).exits(0);
    assert_eq!(std::fs::read_to_string(root.join("usr/local/bin/datanode.before")).unwrap(), "an older program");
    run(Command::new(&old).arg("--version")).exits(0);

    let before = seen(root);
    install(&release, root, &["--uninstall", "--dry-run"]).exits(0);
    assert_eq!(seen(root), before);
    install(&release, root, &["--uninstall"]).exits(0);
    let left = seen(root);
    let files: Vec<_> = left.keys().filter(|p| root.join(p).is_file()).map(|p| p.display().to_string()).collect();
    assert!(files.iter().all(|p| p.starts_with("etc/datanode/") || p.starts_with("var/lib/datanode/")), "{files:?}");
    for kept in ["etc/datanode/datanode.toml", "etc/datanode/universe.yaml", "var/lib/datanode/keys/node.key"] {
        assert_eq!(left.get(Path::new(kept)), edited.get(Path::new(kept)), "{kept}");
    }
    install(&release, root, &["--uninstall"]).exits(0);
}

#[test]
fn the_installer_installs_nothing_that_the_sums_do_not_vouch_for() {
    let (_tmp, release) = release();
    let root = tempfile::tempdir().unwrap();
    let sums = release.join("SHA256SUMS");
    let good = std::fs::read_to_string(&sums).unwrap();

    std::fs::write(release.join("setup.sh"), "echo evil\n").unwrap();
    assert!(install(&release, root.path(), &[]).exits(3).err.contains("nothing was installed"));
    // Nor where the sums leave a file out.
    std::fs::write(
        &sums,
        good.lines().filter(|l| !l.contains("setup.sh")).map(|l| l.to_owned() + "\n").collect::<String>(),
    )
    .unwrap();
    assert!(install(&release, root.path(), &[]).exits(3).err.contains("does not name setup.sh"));
    std::fs::remove_file(&sums).unwrap();
    install(&release, root.path(), &[]).exits(3);
    assert!(seen(root.path()).is_empty());
    install(&release, root.path(), &["--prefix", "relative"]).exits(2);
    install(&release, root.path(), &["--frobnicate"]).exits(2);
}

// --- the package ---

/// cargo-deb, where it is installed: on the path, or where the checks put it.
fn cargo_deb() -> Option<PathBuf> {
    let cached = std::env::var_os("HOME").map(|h| Path::new(&h).join(".cache/datanode-ci/cargo-deb/bin/cargo-deb"));
    let found = cached.filter(|p| p.is_file()).or_else(|| {
        let paths = std::env::var_os("PATH")?;
        std::env::split_paths(&paths).map(|p| p.join("cargo-deb")).find(|p| p.is_file())
    });
    if found.is_none() {
        eprintln!("SKIPPED: cargo-deb is not installed");
    }
    found
}

#[test]
fn the_package_is_unpacked_and_its_programs_do_a_night() {
    let (Some(cargo_deb), true) = (cargo_deb(), has("dpkg-deb")) else { return };
    let tmp = tempfile::tempdir().unwrap();
    let deb = tmp.path().join("datanode.deb");
    let target = Path::new(DATANODE).parent().unwrap().parent().unwrap();
    let mut build = Command::new(cargo_deb);
    build.args(["--no-build", "--no-strip", "--fast", "--offline", "--output"]).arg(&deb);
    run(build.current_dir(env!("CARGO_MANIFEST_DIR")).env("CARGO_TARGET_DIR", target)).exits(0);

    let (root, control) = (tmp.path().join("root"), tmp.path().join("control"));
    run(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&root)).exits(0);
    run(Command::new("dpkg-deb").arg("-e").arg(&deb).arg(&control)).exits(0);
    let conffiles = std::fs::read_to_string(control.join("conffiles")).unwrap();
    assert!(conffiles.contains("/etc/datanode/universe.yaml"), "{conffiles}");
    for script in ["postinst", "prerm", "postrm"] {
        assert_ne!(std::fs::metadata(control.join(script)).unwrap().permissions().mode() & 0o111, 0, "{script}");
    }
    for file in [
        "usr/lib/systemd/system/datanode.service",
        "usr/lib/sysusers.d/datanode.conf",
        "usr/lib/tmpfiles.d/datanode.conf",
    ] {
        assert!(root.join(file).is_file(), "{file}");
    }

    // What its postinst does, in the folder.
    run(Command::new(root.join("usr/lib/datanode/setup.sh")).arg("/usr/bin").env("DESTDIR", &root)).exits(0);
    assert!(root.join("var/lib/datanode/keys/node.key").is_file());
    let installed = root.join("usr/bin/datanode");
    let installed = installed.to_str().unwrap();
    let sim = Sim::seeded(2, 1, "");
    let n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
    let done = run(&mut n.program(installed, &n.nightly_args(&[]))).exits(0).json();
    assert!(done["export_id"].as_str().is_some(), "{done}");
    let doctor = run(&mut n.program(installed, &["doctor", "--json"])).exits(0);
    let checks: Vec<Value> = doctor.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!(checks.iter().all(|c| c["ok"] == true), "{}", doctor.out);
}

// --- upgrade and rollback ---

fn night() -> (Sim, Node) {
    let sim = Sim::seeded(2, 1, "");
    let n = Node::new(&sim.universe, SEEDED_NIGHT).vendors(&["alpaca", "fred"], &sim);
    n.nightly(&[]).exits(0);
    (sim, n)
}

#[test]
fn a_state_of_the_format_before_is_copied_upgraded_and_can_be_gone_back_to() {
    let (sim, n) = night();
    let state = n.data().join("state");
    let asked = sim.stats.requests();
    assert_eq!(std::fs::read_to_string(state.join("format")).unwrap(), datanode_schema::store::format_line(1));
    // Before there was a number: all else was the same.
    std::fs::remove_file(state.join("format")).unwrap();
    let before = n.root.path().join("before");
    support::copy(&state, &before);

    let again = n.nightly(&[]).exits(0);
    assert_eq!(sim.stats.requests(), asked, "nothing is asked for again: {}", again.out);
    let copy = n.data().join("state.before-format-0");
    let differ: Vec<String> =
        support::differences(&before, &copy).into_iter().filter(|d| !d.contains("lock")).collect();
    assert!(differ.is_empty(), "{differ:?}");
    assert_eq!(std::fs::read_to_string(state.join("format")).unwrap(), datanode_schema::store::format_line(1));

    // The way back, as the runbook has it: what lies beside takes its place, and is a whole state.
    std::fs::rename(&state, n.data().join("state.of-the-newer")).unwrap();
    std::fs::rename(&copy, &state).unwrap();
    n.nightly(&[]).exits(0);
    assert_eq!(sim.stats.requests(), asked);
}

#[test]
fn a_state_of_a_newer_format_is_refused_with_the_way_back_and_is_not_touched() {
    let (_sim, n) = night();
    let state = n.data().join("state");
    std::fs::write(state.join("format"), datanode_schema::store::format_line(9)).unwrap();
    let before = n.root.path().join("before");
    support::copy(&state, &before);
    for args in [vec!["run"], n.nightly_args(&[]), vec!["rebuild"]] {
        let refused = n.run(&args).exits(4);
        assert!(refused.err.contains("version 9") && refused.err.contains("newer build"), "{}", refused.err);
    }
    let differ: Vec<String> =
        support::differences(&before, &state).into_iter().filter(|d| !d.contains("lock")).collect();
    assert!(differ.is_empty(), "{differ:?}");
}
