//! The desk of the owner: every command of it by the program itself, on a pipe and on a real terminal.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on stops")]

#[path = "admin/node.rs"]
mod node;

use node::{Filling, Node};
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const ADMIN: &str = env!("CARGO_BIN_EXE_datanode-admin");

/// How long a terminal may take to show what it must.
const PATIENCE: Duration = Duration::from_secs(60);

fn me() -> String {
    format!("uid {}", nix::unistd::geteuid())
}

/// The program, with a state folder of its own.
fn program(node: &Node) -> Command {
    let mut c = Command::new(ADMIN);
    c.env_clear().env("TERM", "xterm").env("NO_COLOR", "1").env("XDG_STATE_HOME", &node.folder);
    c.arg("--data-dir").arg(&node.folder);
    c
}

fn once(node: &Node, words: &[String]) -> (i32, String, String) {
    let done = program(node).args(words).stdin(Stdio::null()).output().unwrap();
    let text = |b: Vec<u8>| String::from_utf8(b).unwrap();
    (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
}

fn ask(node: &Node, line: &str) -> (i32, String, String) {
    once(node, &datanode::admin::commands::split(line).unwrap())
}

/// Whatever differs from machine to machine and from run to run, as a word.
fn masked(text: &str, node: &Node) -> String {
    let text = text.replace(node.folder.to_str().unwrap(), "<data>").replace(&me(), "uid <me>");
    let key = |word: &str| match word {
        w if w.starts_with("age1") => "<public key>".to_owned(),
        w if w.starts_with("test+") => "<log key>".to_owned(),
        w => w.to_owned(),
    };
    let words = |l: &str| l.split(' ').map(key).collect::<Vec<_>>().join(" ");
    // How wide a column is that names a user depends on the user.
    let even = |l: &str| {
        let named = l.contains("<me>") || l.contains("  by  ");
        if named {
            l.split("  ").map(str::trim).filter(|c| !c.is_empty()).collect::<Vec<_>>().join("  ")
        } else {
            l.to_owned()
        }
    };
    text.lines().map(|l| even(&words(l)) + "\n").collect()
}

fn transcript(text: &str) -> String {
    let head: Vec<&str> = text.lines().take_while(|l| l.starts_with('#')).collect();
    let setting = |name: &str| head.iter().find_map(|l| l.strip_prefix(&format!("# {name}: ")));
    let node = Node::start(Filling::Full);
    let mut out = head.join("\n") + "\n";
    for command in text.lines().filter_map(|l| l.strip_prefix("> ")) {
        let mut words = datanode::admin::commands::split(command).unwrap();
        if setting("output") == Some("json") {
            words.insert(0, "--json".to_owned());
        }
        let (code, said, err) = match setting("width") {
            None => once(&node, &words),
            Some(w) => {
                let mut screen = Screen::start(&node, w.parse().unwrap(), &[words, vec!["--yes".to_owned()]].concat());
                let said = screen.rest();
                (screen.child.wait().unwrap().code().unwrap(), said.replace("\r\n", "\n"), String::new())
            }
        };
        let exit = if code == 0 { String::new() } else { format!("(exit {code})\n") };
        out.push_str(&format!("> {command}\n{said}{err}{exit}"));
        if let Some(w) = setting("width") {
            let room: usize = w.parse().unwrap();
            assert!(said.lines().all(|l| l.chars().count() <= room || !l.contains(' ')), "{w} columns:\n{said}");
        }
    }
    masked(&out, &node)
}

#[test]
fn every_golden_script_of_the_desk_prints_what_it_printed() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/repl/desk"));
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    scripts.sort();
    assert!(scripts.len() >= 5);
    for path in scripts {
        let expected = std::fs::read_to_string(&path).unwrap();
        let got = transcript(&expected);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &got).unwrap();
        } else {
            assert!(got == expected, "{} differs (UPDATE_GOLDEN=1 writes it anew); now:\n{got}", path.display());
        }
    }
}

#[test]
fn no_key_is_shown_that_opens_anything() {
    let node = Node::start(Filling::Full);
    let (code, out, _) = ask(&node, "keys --json");
    assert_eq!(code, 0);
    assert!(out.contains("age1") && !out.to_ascii_uppercase().contains("SECRET") && !out.contains("PRIVATE"), "{out}");
}

#[test]
fn every_change_leaves_an_event_with_its_user_before_and_after_a_restart() {
    let node = Node::start(Filling::Full);
    let changes = [
        "queue pause fred",
        "queue resume fred",
        "queue retry",
        "queue cancel equities_bars AAPL",
        "demotions clear alpaca",
        "config reload",
        "ship reload",
        "ship now",
        "runs now",
        "log level debug",
        "qc hold equities_bars AAPL 2024-01-12 --why x",
        "qc release equities_bars AAPL 2024-01-12 --why y",
        "incident open equities_bars/AAPL/2024-01-10 --label invalid --kind other --note z",
        "incident close 3 --why z",
        "retention pin 20240131T020000Z_node_full --note keep",
        "retention unpin 20240131T020000Z_node_full",
    ];
    // What the table says changes something, and what is tried here, are the same commands.
    let tried: Vec<&str> = changes
        .iter()
        .map(|c| datanode::admin::commands::parse(&datanode::admin::commands::split(c).unwrap()).unwrap().command.name)
        .collect();
    for c in datanode::admin::commands::COMMANDS.iter().filter(|c| c.changes()) {
        assert!(tried.contains(&c.name), "{} changes something and is not tried here", c.name);
    }
    for c in changes {
        let (code, out, err) = ask(&node, c);
        assert!(code == 0 || err.contains("a cycle is under way"), "{c}: {out}{err}");
    }
    let seen = |node: &Node| {
        let (_, out, _) = ask(node, "events --json --limit 1000");
        let v: Value = serde_json::from_str(&out).unwrap();
        let rows = v["rows"].as_array().unwrap().clone();
        assert!(rows.iter().all(|r| r["by"] == me().as_str() && r["outcome"] != "unknown"), "{out}");
        let mut what: Vec<String> = rows.iter().map(|r| r["what"].as_str().unwrap().to_owned()).collect();
        what.sort();
        what
    };
    let mut expected: Vec<String> = changes
        .iter()
        .map(|c| {
            let name = datanode::admin::commands::parse(&datanode::admin::commands::split(c).unwrap()).unwrap().command;
            // Acts of retention are called by what they do to a pack.
            name.words.trim_start_matches("qc ").trim_start_matches("retention ").to_owned()
        })
        .collect();
    expected.sort();
    assert_eq!(seen(&node), expected);
    let node = node.restart();
    assert_eq!(seen(&node), expected);
}

#[test]
fn a_change_that_cannot_be_noted_is_not_made() {
    let node = Node::start(Filling::Full);
    let events = node.folder.join("data_layer/events");
    std::fs::create_dir_all(events.parent().unwrap()).unwrap();
    std::fs::write(&events, "a file where a folder belongs").unwrap();
    let (code, _, err) = ask(&node, "queue pause fred");
    assert_eq!(code, 1);
    assert!(err.contains("could not be noted") && err.contains("was not made"), "{err}");
    let (_, out, _) = ask(&node, "budgets --json");
    let v: Value = serde_json::from_str(&out).unwrap();
    assert!(v["budgets"].as_array().unwrap().iter().all(|b| b["asked"] != "paused"), "{out}");
}

#[test]
fn what_nobody_finished_is_shown_as_unknown() {
    let node = Node::start(Filling::Full);
    assert_eq!(ask(&node, "queue pause fred").0, 0);
    let file = node.folder.join("data_layer/events/asked-2024-02.jsonl");
    let first: String = std::fs::read_to_string(&file).unwrap().lines().take(1).map(|l| format!("{l}\n")).collect();
    std::fs::write(&file, first).unwrap();
    let (_, out, _) = ask(&node, "events");
    assert!(out.contains("unknown") && out.contains("queue pause"), "{out}");
}

/// The program on a terminal of its own.
struct Screen {
    master: File,
    child: Child,
    said: Receiver<Vec<u8>>,
    text: String,
}

impl Screen {
    fn start(node: &Node, columns: u16, words: &[String]) -> Self {
        let size = nix::pty::Winsize { ws_row: 40, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = nix::pty::openpty(Some(&size), None).unwrap();
        let slave = File::from(pty.slave);
        let end = || Stdio::from(slave.try_clone().unwrap());
        let child = program(node).args(words).stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        drop(slave);
        let master = File::from(pty.master);
        let (mut from, (say, said)) = (master.try_clone().unwrap(), channel());
        std::thread::spawn(move || {
            let mut bytes = [0u8; 4096];
            // The read fails once the last one on the other side is gone.
            while let Ok(n) = from.read(&mut bytes) {
                if n == 0 || say.send(bytes[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { master, child, said, text: String::new() }
    }

    /// Waits until the terminal shows `wanted`, and forgets what came up to it.
    #[track_caller]
    fn shows(&mut self, wanted: &str) -> String {
        loop {
            if let Some(at) = self.text.find(wanted) {
                let rest = self.text.split_off(at + wanted.len());
                return std::mem::replace(&mut self.text, rest);
            }
            let Ok(more) = self.said.recv_timeout(PATIENCE) else { panic!("{wanted:?} did not come: {:?}", self.text) };
            self.text.push_str(&String::from_utf8_lossy(&more));
        }
    }

    fn types(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Everything up to the end of the program.
    fn rest(&mut self) -> String {
        while let Ok(more) = self.said.recv_timeout(PATIENCE) {
            self.text.push_str(&String::from_utf8_lossy(&more));
        }
        std::mem::take(&mut self.text)
    }
}

#[test]
fn a_person_at_a_terminal_is_prompted_completed_and_asked_before_a_change() {
    use std::os::unix::fs::PermissionsExt;
    let node = Node::start(Filling::Full);
    let paused = |node: &Node| ask(node, "budgets").1.lines().any(|l| l.starts_with("fred") && l.contains("paused"));
    let mut t = Screen::start(&node, 100, &[]);
    t.shows("datanode> ");
    t.types("dem\t");
    t.shows("demotions");
    t.types("ex\talp\tequities_bars BRK\t\r");
    t.shows("to end it");
    t.shows("datanode> ");
    t.types("queue pau\tfr\t\r");
    t.shows("`queue pause fred`");
    t.shows("Do it? [y/N] ");
    t.types("\r");
    t.shows("nothing was changed");
    t.shows("datanode> ");
    assert!(!paused(&node), "an empty answer is a no");
    t.types("queue pause fred\r");
    t.shows("[y/N] ");
    t.types("y\r");
    t.shows("paused  yes");
    t.shows("datanode> ");
    assert!(paused(&node));
    t.types("queue resume fred --yes\r");
    t.shows("paused  no");
    t.shows("datanode> ");
    t.types("queue pause nobody\r");
    t.shows("[y/N] ");
    t.types("y\r");
    t.shows("no vendor");
    t.shows("datanode> ");
    t.types("packs show 20240131T03\t\r");
    t.shows("manifest sha256");
    t.shows("datanode> ");
    t.types("watch leases 1\r");
    t.shows("every 1 s: leases");
    t.shows("every 1 s: leases");
    t.types("\u{3}");
    t.shows("datanode> ");
    t.types("quit\r");
    assert_eq!(t.child.wait().unwrap().code(), Some(2), "the last failure's: a vendor that does not exist");
    let history = node.folder.join("datanode/history");
    assert!(std::fs::read_to_string(&history).unwrap().contains("watch leases 1"));
    assert_eq!(std::fs::metadata(&history).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn one_command_at_a_terminal_asks_too_and_a_script_is_not_asked() {
    let node = Node::start(Filling::Full);
    let words = |line: &str| datanode::admin::commands::split(line).unwrap();
    let mut t = Screen::start(&node, 80, &words("queue pause fred"));
    t.shows("[y/N] ");
    t.types("no\r");
    t.shows("nothing was changed");
    assert_eq!(t.child.wait().unwrap().code(), Some(1));
    let mut t = Screen::start(&node, 80, &words("--yes queue pause fred"));
    t.shows("paused  yes");
    assert_eq!(t.child.wait().unwrap().code(), Some(0));
    let (code, out, _) = ask(&node, "queue resume fred");
    assert_eq!((code, out.contains("paused  no")), (0, true), "{out}");
}

#[test]
fn watching_on_a_pipe_prints_one_result_after_the_other() {
    let node = Node::start(Filling::Full);
    let (code, out, _) = ask(&node, "watch leases 1 --times 2");
    assert_eq!((code, out.matches("AAPL, MSFT").count()), (0, 2), "{out}");
    let (code, _, err) = ask(&node, "watch queue pause fred");
    assert!(code == 2 && err.contains("watch only shows"), "{err}");
    let (code, out, _) = ask(&node, "--json watch leases 1 --times 2");
    assert_eq!((code, out.lines().filter(|l| serde_json::from_str::<Value>(l).is_ok()).count()), (0, 2), "{out}");
}

#[test]
fn every_command_has_help_with_an_example() {
    let node = Node::start(Filling::Empty);
    for c in datanode::admin::commands::COMMANDS {
        let (code, out, _) = ask(&node, &format!("help '{}'", c.words));
        assert!(code == 0 && out.contains("example") && out.contains(c.example), "{}: {out}", c.words);
    }
    // Everything that the product has a name for has a noun here.
    for noun in "status vendors budgets queue leases bookmarks gaps coverage qc incidents runs packs retention vault anchors keys ship config log events"
        .split(' ')
    {
        assert_eq!(ask(&node, &format!("help {noun}")).0, 0, "{noun}");
    }
}

/// A connection by hand, to time answers and not programs.
fn answered(stream: &mut std::io::BufReader<std::os::unix::net::UnixStream>, line: &str) -> (Duration, usize) {
    use std::io::BufRead;
    let said = datanode::admin::commands::parse(&datanode::admin::commands::split(line).unwrap()).unwrap();
    let request = serde_json::json!({"id": 1, "cmd": said.command.name, "args": said.args}).to_string() + "\n";
    let begun = std::time::Instant::now();
    stream.get_mut().write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_line(&mut answer).unwrap();
    let took = begun.elapsed();
    if !answer.contains("\"ok\":true") {
        println!("{line}: {answer}");
    }
    (took, answer.len())
}

#[test]
#[ignore = "a measurement: it fills a store with five million tasks and as many verdicts"]
fn every_read_is_there_at_once_at_five_million_tasks() {
    let node = Node::start(Filling::Tasks { symbols: 1000, years: 20 });
    let stream = std::os::unix::net::UnixStream::connect(node.folder.join("admin.sock")).unwrap();
    let mut stream = std::io::BufReader::new(stream);
    let lines = [
        "status",
        "vendors",
        "vendors show alpaca",
        "budgets",
        "queue",
        "queue --offset 2500000",
        "queue --limit 1000",
        "queue --state short",
        "queue equities_bars A0026",
        "queue --from 2024-12-02 --to 2024-12-06",
        "queue --from 2005-01-03",
        "explain equities_bars AAPL 2024-01-12",
        "demotions",
        "demotions explain alpaca equities_bars AAPL",
        "leases",
        "bookmarks",
        "bookmarks --vendor fred",
        "bookmarks equities_bars A0026",
        "gaps A0026",
        "qc",
        "qc equities_bars",
        "qc show equities_bars A0026",
        "qc red",
        "qc red --from 2024-01-02",
        "qc explain equities_bars AAPL 2024-01-17",
        "incidents",
        "coverage equities_bars",
        "coverage equities_bars --symbol A0026",
        "runs",
        "runs last",
        "packs",
        "packs last",
        "retention",
        "vault",
        "anchors",
        "keys",
        "ship",
        "config",
        "log",
        "events",
        "names",
        "help",
    ];
    let (mut table, mut slow) = (String::new(), Vec::new());
    for line in lines {
        let (first, bytes) = answered(&mut stream, line);
        let mut times: Vec<Duration> = (0..9).map(|_| answered(&mut stream, line).0).collect();
        times.sort();
        let ms = |d: Duration| d.as_secs_f64() * 1e3;
        table.push_str(&format!(
            "{line:<45} first {:>8.2} ms  median {:>7.2} ms  {bytes:>7} bytes\n",
            ms(first),
            ms(times[4])
        ));
        if times[4] > Duration::from_millis(20) {
            slow.push(line);
        }
    }
    // A commit makes every count old: nobody waits for the new one.
    ask(&node, "queue cancel equities_bars A0026");
    for line in ["status", "queue", "qc", "coverage equities_bars", "vendors"] {
        let (first, _) = answered(&mut stream, line);
        table.push_str(&format!("{line:<45} after a commit {:>8.2} ms\n", first.as_secs_f64() * 1e3));
    }
    println!("{table}");
    assert!(slow.is_empty(), "over 20 ms: {slow:?}");
}
