//! `op://vault/item/field`, by the `op` program: `op read --no-newline REF`. It says the secret on stdout and exits 0; whatever else it does
//! is no secret, and of what it then says nothing is repeated but what kind of trouble it is.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use zeroize::Zeroizing;

/// It may have to ask a server; a person who is to press a button is not waited for.
const LIMIT: Duration = Duration::from_secs(10);
/// What it says beyond is not read.
const MOST: u64 = 64 << 10;

/// Reads one secret.
///
/// # Errors
/// It cannot be started, does not answer in time, refuses, or prints what is no secret.
pub fn read(reference: &str) -> Result<Zeroizing<String>, String> {
    read_with("op", LIMIT, reference)
}

fn read_with(program: &str, limit: Duration, reference: &str) -> Result<Zeroizing<String>, String> {
    let started = Command::new(program)
        .args(["read", "--no-newline", reference])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, so that whatever it starts ends with it.
        .process_group(0)
        .spawn();
    let mut child =
        started.map_err(|e| format!("the program `op` cannot be started ({e}); install it, or use env:NAME"))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (said, answer) = mpsc::sync_channel(1);
    let reader = std::thread::Builder::new().name("datanode-op".into()).spawn(move || {
        let complaint = std::thread::spawn(move || all(err));
        let text = all(out);
        // Nobody waits any more where the limit was over first.
        let _ = said.send((text, complaint.join().unwrap_or_default()));
    });
    if let Err(e) = reader {
        end(&mut child);
        return Err(format!("no thread to read from `op` ({e}); try again"));
    }
    let Ok((text, complaint)) = answer.recv_timeout(limit) else {
        end(&mut child);
        return Err(format!(
            "`op read` did not answer within {} s; is it waiting for somebody to unlock it? Set OP_SERVICE_ACCOUNT_TOKEN, or sign in with `op signin`",
            limit.as_secs()
        ));
    };
    // Its pipes are closed; it ends now, or is ended.
    let status = match child.try_wait() {
        Ok(Some(status)) => Some(status),
        _ => {
            let ended = (0..50).find_map(|_| {
                std::thread::sleep(Duration::from_millis(20));
                child.try_wait().ok().flatten()
            });
            if ended.is_none() {
                end(&mut child);
            }
            ended
        }
    };
    if !status.is_some_and(|s| s.success()) {
        return Err(format!("`op read` did not give it: {}", trouble(&complaint)));
    }
    taken(text)
}

/// The secret, where what was printed can be one.
fn taken(bytes: Zeroizing<Vec<u8>>) -> Result<Zeroizing<String>, String> {
    let rubbish =
        "`op read` printed what is no secret (not text, several lines, or more than 64 KiB); try the reference by hand";
    if bytes.len() as u64 >= MOST {
        return Err(rubbish.to_owned());
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| rubbish.to_owned())?;
    let one = text.trim_end_matches(['\r', '\n']);
    if one.is_empty() || one.chars().any(char::is_control) {
        return Err(rubbish.to_owned());
    }
    Ok(Zeroizing::new(one.to_owned()))
}

fn all(from: Option<impl Read>) -> Zeroizing<Vec<u8>> {
    // Room at once: growing would leave copies behind.
    let mut out = Zeroizing::new(Vec::with_capacity(MOST as usize));
    if let Some(from) = from {
        // What was read before a failure is judged as it is.
        let _ = from.take(MOST).read_to_end(&mut out);
    }
    out
}

/// What kind of trouble it is, by the words of `op`; the words themselves may hold anything.
fn trouble(said: &[u8]) -> &'static str {
    let said = String::from_utf8_lossy(said).to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| said.contains(w));
    if has(&["not currently signed in", "no account", "session expired", "unauthorized", "authorization", "signin"]) {
        "nobody is signed in; set OP_SERVICE_ACCOUNT_TOKEN, or sign in with `op signin`"
    } else if has(&[
        "isn't an item",
        "isn't a vault",
        "isn't a field",
        "could not find",
        "no item",
        "does not have a field",
    ]) {
        "there is no such vault, item or field; look at the reference"
    } else if has(&["invalid secret reference", "could not parse"]) {
        "it is no reference of the form op://vault/item/field"
    } else if has(&["network", "dial", "timeout", "no such host"]) {
        "its server cannot be reached; try again"
    } else {
        "try `op read` by hand with this reference"
    }
}

/// Ends it and whatever it started.
fn end(child: &mut Child) {
    if let Ok(pid) = i32::try_from(child.id()) {
        // It may have ended by itself.
        let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A program in the place of `op`.
    fn stand_in(script: &str) -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("op");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        let program = path.display().to_string();
        (dir, program)
    }

    fn said(script: &str) -> Result<Zeroizing<String>, String> {
        let (_dir, program) = stand_in(script);
        read_with(&program, Duration::from_secs(5), "op://v/i/f")
    }

    #[test]
    fn what_it_prints_is_the_secret_and_it_is_asked_as_its_manual_says() {
        assert_eq!(*said("printf s3cret").unwrap(), "s3cret");
        assert_eq!(*said("echo \"$1 $2 $3\"").unwrap(), "read --no-newline op://v/i/f");
    }

    #[test]
    fn rubbish_and_refusals_are_no_secrets_and_nothing_of_them_is_repeated() {
        for script in ["printf 'hush\\nhush'", "printf '\\377\\376'", ":", "printf 'a\\033[2J'"] {
            let e = said(script).unwrap_err();
            assert!(e.contains("no secret") && !e.contains("hush"), "{script}: {e}");
        }
        assert!(said("head -c 100000 /dev/zero | tr '\\0' h").is_err(), "longer than any secret");
        let e = said("echo hush >&2; echo hush; exit 1").unwrap_err();
        assert!(e.contains("by hand") && !e.contains("hush"), "{e}");
        let e = said("echo '[ERROR] you are not currently signed in' >&2; exit 1").unwrap_err();
        assert!(e.contains("op signin"), "{e}");
        let e = said("echo '[ERROR] \"i\" isn'\"'\"'t an item' >&2; exit 1").unwrap_err();
        assert!(e.contains("look at the reference"), "{e}");
        assert!(read_with("/no/such/op", LIMIT, "op://v/i/f").unwrap_err().contains("install it"));
    }

    #[test]
    fn one_that_waits_for_somebody_is_given_up_with_all_that_it_started() {
        let (dir, program) = stand_in("echo $$ > \"$(dirname \"$0\")/pid\"; sleep 600 & wait");
        // Until it has started, and not longer: nothing depends on how long that takes.
        let e = read_with(&program, Duration::from_secs(2), "op://v/i/f").unwrap_err();
        assert!(e.contains("did not answer within 2 s"), "{e}");
        if let Ok(pid) = std::fs::read_to_string(dir.path().join("pid")) {
            let pid: i32 = pid.trim().parse().unwrap();
            // It was waited for; what it started is killed with it, and reaped by whoever takes orphans.
            let left = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            assert!(left.is_empty() || left.contains(") Z "), "it runs on");
        }
    }
}
