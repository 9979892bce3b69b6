//! `datanode-admin`: one command, or a REPL, over the admin socket of a running node.
//!
//! `folder` finds the data folder, `connection` asks, `session` turns a line into text and an exit code, `repl` reads
//! lines from a terminal or a script, `complete` offers what may follow, `watch` shows a
//! command again and again.

mod complete;
mod connection;
mod folder;
mod repl;
mod session;
mod watch;

pub use complete::{Names, candidates};
pub use connection::Connection;
pub use folder::{FolderError, data_dir};
pub use repl::script;
pub use session::{Outcome, Session};

use super::render::Style;
use clap::Parser;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

/// Asks a running datanode what it knows, over the Unix socket in its data folder. Without a COMMAND: a REPL, or one
/// command a line where stdin is not a terminal.
#[derive(Parser, Debug)]
#[command(
    name = "datanode-admin",
    version,
    after_help = "`datanode-admin help` lists the commands.\n\nExit codes: 0 done, 1 no node answers or it failed, 2 usage, 5 not found."
)]
struct Options {
    /// The configuration whose data folder is meant [default: ./datanode.toml, where there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data folder of the node [default: $DATANODE__DATA_DIR, else the configuration's, else ./data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// One line of JSON a result, in place of text
    #[arg(long)]
    json: bool,
    /// Do what changes something without asking first
    #[arg(long)]
    yes: bool,
    /// What to ask, such as `status` or `queue equities_bars AAPL --state missing`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Options {
    /// Takes `--data-dir` and `--config` out of the command: no command has arguments of these names, and people write
    /// them at either end.
    fn lift(&mut self) {
        let mut words = std::mem::take(&mut self.command).into_iter();
        while let Some(word) = words.next() {
            let (name, given) = word.split_once('=').map_or((word.as_str(), None), |(n, v)| (n, Some(v.to_owned())));
            let place = match name {
                "--data-dir" => &mut self.data_dir,
                "--config" => &mut self.config,
                _ => {
                    self.command.push(word);
                    continue;
                }
            };
            match given.or_else(|| words.next()) {
                Some(value) => *place = Some(value.into()),
                // Without a value it goes back, and is refused by name.
                None => self.command.push(word),
            }
        }
    }
}

/// The program; returns its exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    let mut options = match Options::try_parse_from(args) {
        Ok(o) => o,
        Err(e) => {
            // Nothing is left to do where even this cannot be printed.
            let _ = e.print();
            return if e.use_stderr() { 2 } else { 0 };
        }
    };
    options.lift();
    let env = std::env::var_os("DATANODE__DATA_DIR");
    let folder = match data_dir(options.data_dir.as_deref(), env, options.config.as_deref()) {
        Ok(f) => f,
        Err(e) => {
            let _ = writeln!(io::stderr(), "error: {e}");
            return 2;
        }
    };
    let mut session = Session::new(&folder, options.json);
    if options.command.is_empty() {
        return repl::run(&mut session);
    }
    if options.yes {
        options.command.push("--yes".to_owned());
    }
    if io::stdin().is_terminal() && io::stderr().is_terminal() {
        session.confirm_by(Box::new(repl::ask));
    }
    let done = match options.command.split_first() {
        Some((first, watched)) if first == "watch" && io::stdout().is_terminal() && io::stdin().is_terminal() => {
            watch::on_terminal(&mut session, watched, watch::plain_view)
        }
        Some((first, watched)) if first == "watch" => {
            watch::repeat(&mut session, watched, &stdout_style(), &mut io::stdout())
        }
        _ => session.words(&options.command, &stdout_style()),
    };
    done.print(&mut io::stdout(), &mut io::stderr());
    done.code
}

/// What stdout can take: the terminal's width and its colours, or plain text of any width.
fn stdout_style() -> Style {
    if !io::stdout().is_terminal() {
        return Style { width: None, colour: false };
    }
    let width = rustyline::DefaultEditor::new().ok().and_then(|mut e| e.dimensions()).map(|(w, _)| usize::from(w));
    Style { width, colour: colours_wanted() }
}

/// <https://no-color.org>: set and not empty means no colour.
fn colours_wanted() -> bool {
    let said = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    !said("NO_COLOR") && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_may_be_named_before_the_command_or_after_it() {
        for line in
            ["x --data-dir d queue --limit 2", "x queue --data-dir=d --limit 2", "x queue --limit 2 --data-dir d"]
        {
            let mut o = Options::try_parse_from(line.split(' ')).unwrap();
            o.lift();
            assert_eq!((o.data_dir, o.command.join(" ")), (Some("d".into()), "queue --limit 2".to_owned()), "{line}");
        }
    }
}
