//! `watch COMMAND [SECONDS]`: shows a command again and again. The node knows nothing of it: each time it is asked anew.
//!
//! On a terminal the screen is drawn anew, and Ctrl-C or `q` ends it; elsewhere one result follows the other.

use super::session::{Outcome, Session, failure};
use super::{colours_wanted, stdout_style};
use crate::admin::commands;
use crate::admin::protocol::{AdminError, Code};
use crate::admin::render::{Style, clean};
use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
use std::io::{self, Write};
use std::time::Duration;

/// Seconds between two looks, where nothing else is said.
const DEFAULT: u64 = 2;
/// The longest that one reading of the keyboard waits, in tenths of a second: a byte's worth.
const MOST_TENTHS: u64 = 250;
/// Ctrl-C, as the terminal gives it where it makes no signal of it.
const CTRL_C: u8 = 3;

/// What is to be shown, how often, and how many times.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    words: Vec<String>,
    seconds: u64,
    times: Option<u64>,
}

/// The words after `watch`, where a line begins with it.
pub(super) fn of_line(line: &str) -> Option<Vec<String>> {
    let words = commands::split(line.trim()).ok()?;
    let (first, rest) = words.split_first()?;
    (first == "watch").then(|| rest.to_vec())
}

/// Understands `COMMAND [SECONDS] [--times N]`: a last number is the seconds where the command is whole without it.
fn plan(words: &[String]) -> Result<Plan, AdminError> {
    let bad = |m: String| AdminError::new(Code::BadArgs, m);
    let (mut words, mut times) = (words.to_vec(), None);
    if let Some(at) = words.iter().position(|w| w == "--times") {
        let given = words.get(at + 1).and_then(|n| n.parse().ok()).filter(|n| *n > 0);
        times = Some(given.ok_or_else(|| bad("--times has no number: give how often".to_owned()))?);
        words.drain(at..=at + 1);
    }
    let whole = |words: &[String]| commands::parse(words).is_ok_and(|s| s.command.lacks(&s.args).is_none());
    let mut seconds = DEFAULT;
    if let Some((last, before)) = words.split_last()
        && let Ok(n) = last.parse::<u64>()
        && whole(before)
    {
        if !(1..=3600).contains(&n) {
            return Err(bad(format!("{n} seconds between two looks: give 1 to 3600")));
        }
        (seconds, words) = (n, before.to_vec());
    }
    if words.is_empty() {
        return Err(bad("watch needs a command: `watch queue 5`".to_owned()));
    }
    let said = commands::parse(&words)?;
    if said.command.changes() {
        return Err(bad(format!("`{}` changes something: watch only shows", said.command.words)));
    }
    if said.command.name == "watch" {
        return Err(bad("watch watches a command, and not itself".to_owned()));
    }
    Ok(Plan { words, seconds, times })
}

/// Prints one result after the other, until the reader goes away, a question fails, or it was shown often enough.
pub(super) fn repeat(session: &mut Session, words: &[String], style: &Style, out: &mut impl Write) -> Outcome {
    let plan = match plan(words) {
        Ok(p) => p,
        Err(e) => return failure(&e, session.json()),
    };
    let mut shown = 0;
    loop {
        let done = session.words(&plan.words, style);
        shown += 1;
        let gap = if session.json() || plan.words.iter().any(|w| w == "--json") { "" } else { "\n" };
        let last = plan.times.is_some_and(|n| shown >= n);
        if done.code != 0 || last {
            return done;
        }
        if out
            .write_all(done.out.as_bytes())
            .and_then(|()| out.write_all(gap.as_bytes()))
            .and_then(|()| out.flush())
            .is_err()
        {
            return Outcome::default();
        }
        std::thread::sleep(Duration::from_secs(plan.seconds));
    }
}

/// Draws the screen anew each time.
pub(super) fn on_terminal(
    session: &mut Session,
    words: &[String],
    mut view: impl FnMut() -> (Style, usize),
) -> Outcome {
    let plan = match plan(words) {
        Ok(p) => p,
        Err(e) => return failure(&e, session.json()),
    };
    let Ok(mut keys) = Keys::listen() else {
        return repeat(session, words, &view().0, &mut io::stdout());
    };
    let line: Vec<String> = plan.words.iter().map(|w| clean(w)).collect();
    let head = format!("every {} s: {}   (Ctrl-C or q ends it)", plan.seconds, line.join(" "));
    let mut shown = 0;
    loop {
        let (style, height) = view();
        let done = session.words(&plan.words, &style);
        let screen = screen(&head, &format!("{}{}", done.out, done.err), &style, height);
        let mut out = io::stdout();
        if out.write_all(screen.as_bytes()).and_then(|()| out.flush()).is_err() {
            return Outcome::default();
        }
        shown += 1;
        if done.code == 2 || plan.times.is_some_and(|n| shown >= n) || keys.ends_within(plan.seconds) {
            return Outcome { code: done.code, ..Outcome::default() };
        }
    }
}

/// The size and colours of the terminal, for who has no line editor.
pub(super) fn plain_view() -> (Style, usize) {
    let height =
        rustyline::DefaultEditor::new().ok().and_then(|mut e| e.dimensions()).map_or(24, |(_, h)| usize::from(h));
    (Style { colour: colours_wanted(), ..stdout_style() }, height)
}

/// A screen: the head, and as many lines as there is room for. A terminal that is no longer clean is cleaned first.
fn screen(head: &str, text: &str, style: &Style, height: usize) -> String {
    let room = height.saturating_sub(3).max(1);
    let lines: Vec<&str> = text.lines().collect();
    let head: String = head.chars().take(style.width.unwrap_or(usize::MAX)).collect();
    let mut out = format!("\u{1b}[H\u{1b}[2J{head}\n\n");
    // One line is kept for saying that there are more.
    let fits = if lines.len() > room { room - 1 } else { lines.len() };
    lines.iter().take(fits).for_each(|l| {
        out.push_str(l);
        out.push('\n');
    });
    if fits < lines.len() {
        out.push_str(&format!("{} more lines\n", lines.len() - fits));
    }
    out
}

/// The keyboard, key by key; as it was again when this is dropped.
struct Keys(Termios);

impl Keys {
    fn listen() -> nix::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        Ok(Self(before))
    }

    /// Waits so long for a key that ends it.
    fn ends_within(&mut self, seconds: u64) -> bool {
        let mut tenths = seconds * 10;
        while tenths > 0 {
            let wait = tenths.min(MOST_TENTHS);
            tenths -= wait;
            let mut raw = self.0.clone();
            raw.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG);
            for (which, value) in [(SpecialCharacterIndices::VMIN, 0), (SpecialCharacterIndices::VTIME, wait as u8)] {
                if let Some(c) = raw.control_chars.get_mut(which as usize) {
                    *c = value;
                }
            }
            if tcsetattr(io::stdin(), SetArg::TCSANOW, &raw).is_err() {
                return true;
            }
            let mut key = [0u8];
            match nix::unistd::read(io::stdin(), &mut key) {
                Ok(1) if matches!(key, [CTRL_C | b'q' | b'Q']) => return true,
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(_) => return true,
            }
        }
        false
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // Nothing is left to do where the terminal has gone.
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(line: &str) -> Result<(String, u64, Option<u64>), String> {
        let words = commands::split(line).unwrap();
        plan(&words).map(|p| (p.words.join(" "), p.seconds, p.times)).map_err(|e| e.message)
    }

    #[test]
    fn a_last_number_is_the_seconds_where_the_command_is_whole_without_it() {
        assert_eq!(planned("queue").unwrap(), ("queue".to_owned(), 2, None));
        assert_eq!(planned("queue equities_bars 5 --times 3").unwrap(), ("queue equities_bars".to_owned(), 5, Some(3)));
        assert_eq!(planned("incident show 3").unwrap(), ("incident show 3".to_owned(), 2, None));
        assert_eq!(planned("incident show 3 9").unwrap(), ("incident show 3".to_owned(), 9, None));
        for (line, says) in [
            ("", "needs a command"),
            ("5", "there is no command"),
            ("queue pause alpaca", "watch only shows"),
            ("watch queue", "not itself"),
            ("queue 0", "1 to 3600"),
            ("queue --times", "how often"),
        ] {
            let e = planned(line).unwrap_err();
            assert!(e.contains(says), "{line}: {e}");
        }
    }

    #[test]
    fn a_screen_has_no_more_lines_than_the_terminal() {
        let style = Style { width: Some(10), colour: false };
        let got = screen("a long head", "1\n2\n3\n4\n5\n", &style, 7);
        assert_eq!(got, "\u{1b}[H\u{1b}[2Ja long hea\n\n1\n2\n3\n2 more lines\n");
        assert!(screen("h", "1\n2\n", &style, 7).ends_with("1\n2\n"));
    }
}
