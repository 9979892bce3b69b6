//! What opens sealed packs: a key file, the node's own keys, or a passphrase.

use super::global::Global;
use super::pack::of_seal;
use crate::failure::Failure;
use crate::secrets;
use crate::wiring::{key_file, keys_of};
use datanode_actors::seal::{Identity, Passphrase, Unwraps};
use std::io::{BufRead, Read, Write};
use std::path::Path;
use zeroize::Zeroizing;

/// The longest passphrase file.
const MAX_FILE: u64 = 4096;

/// A passphrase, by the commands that open sealed packs.
#[derive(clap::Args, Clone, Debug)]
pub struct PassphraseArgs {
    /// A passphrase instead of a key: a file that holds it, `-` for stdin, or a reference such as env:NAME
    #[arg(long, value_name = "FILE|-")]
    pub passphrase_file: Option<String>,
    /// Refuse a passphrase recipient that asks for more memory
    #[arg(long, value_name = "MIB", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub passphrase_memory_mib: u32,
}

impl PassphraseArgs {
    /// The passphrase, where one was named.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self) -> Result<Option<Passphrase>, Failure> {
        let Some(from) = &self.passphrase_file else { return Ok(None) };
        let passphrase = Passphrase::new(read(from)?).map_err(|e| of_seal(&e))?;
        Ok(Some(passphrase.with_limit(self.passphrase_memory_mib.saturating_mul(1024))))
    }
}

/// What was named, else the node's own keys where they are there, those of before a rotation among them.
///
/// # Errors
/// Both were named; a key or passphrase cannot be read.
pub fn opener(g: &Global, key: Option<&Path>, p: &PassphraseArgs) -> Result<Option<Box<dyn Unwraps>>, Failure> {
    if let Some(passphrase) = p.read()? {
        if key.is_some() {
            return Err(Failure::usage("a key and a passphrase: name one of them"));
        }
        return Ok(Some(Box::new(passphrase)));
    }
    if let Some(path) = key {
        let identity = Identity::read(path).map_err(|e| of_seal(&e))?;
        return Ok(Some(Box::new(identity)));
    }
    match g.settings().ok().filter(|s| key_file(s).is_file()) {
        None => Ok(None),
        Some(s) => Ok(Some(Box::new(keys_of(&s)?.read().map_err(|e| of_seal(&e))?))),
    }
}

/// A passphrase from a file, stdin (`-`) or a reference; the white space around it is no part of it.
///
/// # Errors
/// There is none.
pub fn read(from: &str) -> Result<Zeroizing<String>, Failure> {
    let is_reference = secrets::SCHEMES.iter().any(|scheme| from.starts_with(scheme));
    if is_reference {
        return secrets::resolve("--passphrase-file", from).map_err(Failure::usage);
    }
    let mut text = Zeroizing::new(String::new());
    let done = match from {
        "-" => std::io::stdin().lock().take(MAX_FILE).read_line(&mut text),
        path => std::fs::File::open(path).and_then(|f| f.take(MAX_FILE).read_to_string(&mut text)),
    };
    done.map_err(|e| Failure::usage(format!("--passphrase-file {from}: cannot be read: {e}")))?;
    let trimmed = Zeroizing::new(text.trim().to_owned());
    if trimmed.is_empty() || trimmed.contains('\n') {
        return Err(Failure::usage(format!("--passphrase-file {from}: it is one line, and not an empty one")));
    }
    Ok(trimmed)
}

/// Asks for a new passphrase on the terminal, twice, without showing it.
///
/// # Errors
/// There is no terminal, or the two differ.
pub fn ask_twice() -> Result<Zeroizing<String>, Failure> {
    let first = ask("passphrase: ")?;
    if *first != *ask("once more: ")? {
        return Err(Failure::usage("the two differ; nothing was changed"));
    }
    Ok(first)
}

fn ask(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
    let none = |e: String| {
        Failure::usage(format!("no terminal to ask on ({e}); name it with --passphrase-file FILE, or - for stdin"))
    };
    let mut tty = std::fs::File::options().read(true).write(true).open("/dev/tty").map_err(|e| none(e.to_string()))?;
    let before = tcgetattr(&tty).map_err(|e| none(e.to_string()))?;
    let mut silent = before.clone();
    // Without signals: one that ended the process now would leave the terminal mute.
    silent.local_flags.remove(LocalFlags::ECHO | LocalFlags::ISIG);
    silent.local_flags.insert(LocalFlags::ECHONL | LocalFlags::ICANON);
    write!(tty, "{prompt}").map_err(|e| none(e.to_string()))?;
    tcsetattr(&tty, SetArg::TCSAFLUSH, &silent).map_err(|e| none(e.to_string()))?;
    let mut line = Zeroizing::new(String::with_capacity(256));
    let answer =
        tty.try_clone().map(|t| std::io::BufReader::with_capacity(1024, t.take(MAX_FILE)).read_line(&mut line));
    tcsetattr(&tty, SetArg::TCSAFLUSH, &before).map_err(|e| none(e.to_string()))?;
    answer.and_then(|read| read).map_err(|e| none(e.to_string()))?;
    if line.contains(['\u{3}', '\u{1a}', '\u{1c}']) {
        return Err(Failure::failed("nothing was changed"));
    }
    Ok(Zeroizing::new(line.trim().to_owned()))
}
