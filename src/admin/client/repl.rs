//! Reading lines: from a terminal with history and completion, or from a script without a prompt.

use super::complete::{Completion, Names};
use super::session::{Outcome, Session, failure};
use super::{colours_wanted, stdout_style, watch};
use crate::admin::render::Style;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

const PROMPT: &str = "datanode> ";
/// The longest line of a script, in bytes: what is longer is no command.
const MAX_SCRIPT_LINE: u64 = 64 * 1024;

/// Runs until `quit`, `exit` or the end of stdin; the exit code is that of the last failure.
pub(super) fn run(session: &mut Session) -> u8 {
    if let Err(e) = session.connect() {
        // Results of a script are JSON lines or text; that there is no node is neither.
        let Outcome { err, code, .. } = failure(&e, false);
        let _ = io::stderr().write_all(err.as_bytes());
        return code;
    }
    if io::stdin().is_terminal() {
        session.confirm_by(Box::new(ask));
        match interactive(session) {
            Ok(code) => code,
            Err(e) => {
                let _ = writeln!(io::stderr(), "error: the terminal could not be read: {e}");
                1
            }
        }
    } else {
        script(session, io::stdin().lock(), &mut io::stdout(), &mut io::stderr(), &stdout_style())
    }
}

/// One command a line, without a prompt; the exit code is that of the last failure.
pub fn script(
    session: &mut Session,
    mut from: impl BufRead,
    out: &mut impl Write,
    err: &mut impl Write,
    style: &Style,
) -> u8 {
    let mut code = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        match io::Read::take(&mut from, MAX_SCRIPT_LINE).read_until(b'\n', &mut line) {
            Ok(0) => return code,
            Ok(n) if n as u64 == MAX_SCRIPT_LINE && line.last() != Some(&b'\n') => {
                let _ = writeln!(
                    err,
                    "error: a line has more than {MAX_SCRIPT_LINE} bytes: that is no command, and ends the script"
                );
                return 2;
            }
            Ok(_) => {}
            Err(e) => {
                let _ = writeln!(err, "error: stdin could not be read: {e}");
                return 1;
            }
        }
        let line = String::from_utf8_lossy(&line);
        let done = match watch::of_line(&line) {
            Some(words) => watch::repeat(session, &words, style, out),
            None => session.line(&line, style),
        };
        done.print(out, err);
        if done.code != 0 {
            code = done.code;
        }
        if done.quit {
            return code;
        }
    }
}

fn interactive(session: &mut Session) -> rustyline::Result<u8> {
    let config = Config::builder().completion_type(CompletionType::List).history_ignore_space(true).build();
    let mut editor: Editor<Completion, FileHistory> = Editor::with_config(config)?;
    editor.set_helper(Some(Completion(Names::of(session))));
    let history = history_file();
    if let Some(h) = &history {
        // The first session has none.
        let _ = editor.load_history(h);
    }
    let mut code = 0;
    loop {
        let line = match editor.readline(PROMPT) {
            Ok(l) => l,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(code),
            Err(e) => return Err(e),
        };
        if !line.trim().is_empty() && editor.add_history_entry(line.as_str())? {
            remember(&mut editor, history.as_deref());
        }
        let style = terminal_style(&mut editor);
        let done = match watch::of_line(&line) {
            Some(words) => watch::on_terminal(session, &words, || view(&mut editor)),
            None => session.line(&line, &style),
        };
        done.print(&mut io::stdout(), &mut io::stderr());
        // Cycles, packs and incidents come while one types.
        if let Some(helper) = editor.helper_mut() {
            helper.0 = Names::of(session);
        }
        if done.code != 0 {
            code = done.code;
        }
        if done.quit {
            return Ok(code);
        }
    }
}

/// The terminal's style and height.
fn view(editor: &mut Editor<Completion, FileHistory>) -> (Style, usize) {
    let height = editor.dimensions().map_or(24, |(_, h)| usize::from(h));
    (terminal_style(editor), height)
}

/// Asks on the terminal; anything but a yes is a no.
pub(super) fn ask(question: &str) -> bool {
    let mut out = io::stderr();
    if out.write_all(question.as_bytes()).and_then(|()| out.flush()).is_err() {
        return false;
    }
    let mut line = String::new();
    let read = io::Read::take(io::stdin().lock(), 100).read_line(&mut line);
    read.is_ok() && matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

fn terminal_style(editor: &mut Editor<Completion, FileHistory>) -> Style {
    match editor.dimensions() {
        Some((width, _)) => Style { width: Some(usize::from(width)), colour: colours_wanted() },
        None => Style { width: None, colour: false },
    }
}

/// Written after every line, so that a session that is killed keeps its history; a history that cannot be written is
/// not worth a word.
fn remember(editor: &mut Editor<Completion, FileHistory>, file: Option<&Path>) {
    let Some(file) = file else { return };
    if editor.append_history(file).is_ok() {
        let _ = std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600));
    }
}

/// `$XDG_STATE_HOME/datanode/history`, else `~/.local/state/datanode/history`; its folder is made.
fn history_file() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let state = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|h| h.join(".local/state")))?;
    let folder = state.join("datanode");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).ok()?;
    Some(folder.join("history"))
}
