//! Running rclone. Its configuration is its own affair: nothing of it is read, passed on or printed.

use super::OffloadError;
use crate::node::Node;
use crate::publishing::OffloadRules;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Between two looks at whether it has ended, or the node is to stop.
const LOOK: Duration = Duration::from_millis(20);
/// The most of its words that are kept.
const WORDS: u64 = 64 << 10;
/// Kinds of remotes whose SHA-256 and MD5 are of the bytes that lie there, made by whoever keeps them. Others may only remember what they were
/// told (hasher), or put other bytes there than the hash is of (crypt, compress, chunker, union, combine, alias).
const HASHES_ITS_BYTES: [&str; 4] = ["local", "s3", "drive", "google cloud storage"];
/// A listing of more is refused.
const LISTING: u64 = 1 << 30;

/// rclone with its settings.
pub(super) struct Rclone<'a> {
    pub(super) node: &'a Node,
    pub(super) rules: &'a OffloadRules,
}

/// What rclone says of a file.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct There {
    #[serde(rename = "Path")]
    path: String,
    #[serde(rename = "Size")]
    pub(super) bytes: i64,
    #[serde(rename = "Hashes", default)]
    pub(super) hashes: BTreeMap<String, String>,
}

struct Ran {
    ok: bool,
    out: String,
    said: String,
}

impl Rclone<'_> {
    /// Copies files of the data folder to the same paths of the remote; what went wrong, in its words, where anything did.
    pub(super) fn copy(&self, paths: &[&str]) -> Result<Option<String>, OffloadError> {
        let list = self.list(paths)?;
        let mut c = self.command("copy");
        c.arg(self.node.data.root()).arg(&self.rules.remote).arg("--files-from-raw").arg(&list);
        c.args(["--immutable", "--checksum", "--transfers", "4", "--checkers", "4", "--no-traverse"]);
        let ran = self.run(c)?;
        Ok((!ran.ok).then_some(ran.said))
    }

    /// Copies one file that may have been there before, and since have grown.
    pub(super) fn replace(&self, path: &str) -> Result<Option<String>, OffloadError> {
        let mut c = self.command("copyto");
        let to = self.there(path);
        c.arg(self.node.data.root().join(path)).arg(to).args(["--ignore-times"]);
        let ran = self.run(c)?;
        Ok((!ran.ok).then_some(ran.said))
    }

    /// What the remote says of files, with the hashes that it keeps; a file that it does not have is not in it.
    pub(super) fn stat(&self, paths: &[&str]) -> Result<BTreeMap<String, There>, OffloadError> {
        self.listing(Path::new(&self.rules.remote), paths)
    }

    /// The same of the local files.
    pub(super) fn stat_here(&self, paths: &[&str]) -> Result<BTreeMap<String, There>, OffloadError> {
        self.listing(self.node.data.root(), paths)
    }

    /// Whether a hash that the remote keeps is one of the bytes that lie there.
    pub(super) fn hashes_its_bytes(&self) -> Result<bool, OffloadError> {
        let remote = &self.rules.remote;
        let Some((name, _)) = remote.split_once(':').filter(|(name, _)| !name.contains('/')) else { return Ok(true) };
        let mut c = self.command("listremotes");
        // Names and kinds, and nothing else of the configuration.
        c.arg("--long");
        Ok(hashes_its_bytes(name, &self.run(c)?.out))
    }

    fn listing(&self, root: &Path, paths: &[&str]) -> Result<BTreeMap<String, There>, OffloadError> {
        let list = self.list(paths)?;
        let mut c = self.command("lsjson");
        c.arg(root).args(["-R", "--files-only", "--no-modtime", "--no-mimetype", "--hash"]);
        c.args(["--hash-type", "sha256", "--hash-type", "md5", "--files-from-raw"]).arg(&list);
        let ran = self.run(c)?;
        match serde_json::from_str::<Vec<There>>(&ran.out) {
            // A backend without hashes lists the files and complains of each.
            Ok(all) => Ok(all.into_iter().map(|t| (t.path.clone(), t)).collect()),
            Err(_) => Err(self.failed(ran.said)),
        }
    }

    /// SHA-256 of files, by reading them back whole.
    pub(super) fn read_back(&self, paths: &[&str]) -> Result<BTreeMap<String, String>, OffloadError> {
        let list = self.list(paths)?;
        let mut c = self.command("hashsum");
        c.arg("sha256").arg(&self.rules.remote).args(["--download", "--files-from-raw"]).arg(&list);
        let ran = self.run(c)?;
        let lines = ran.out.lines().filter_map(|l| l.split_once("  "));
        Ok(lines.filter(|(sum, _)| sum.len() == 64).map(|(sum, path)| (path.to_owned(), sum.to_owned())).collect())
    }

    pub(super) fn failed(&self, said: String) -> OffloadError {
        OffloadError::Remote { remote: self.rules.remote.clone(), said }
    }

    fn there(&self, path: &str) -> String {
        let remote = &self.rules.remote;
        if remote.ends_with(['/', ':']) { format!("{remote}{path}") } else { format!("{remote}/{path}") }
    }

    fn list(&self, paths: &[&str]) -> Result<PathBuf, OffloadError> {
        let tmp = self.node.data.root().join("tmp");
        let list = tmp.join(format!("offload-{}.list", std::process::id()));
        let text: String = paths.iter().flat_map(|p| [*p, "\n"]).collect();
        std::fs::create_dir_all(&tmp).and_then(|()| std::fs::write(&list, text)).map_err(io(&list))?;
        Ok(list)
    }

    fn command(&self, what: &str) -> Command {
        let mut c = Command::new(&self.rules.program);
        // It opens every secret of its owner, and is for `op` alone.
        c.env_remove("OP_SERVICE_ACCOUNT_TOKEN");
        c.arg(what).args(["--ask-password=false", "--stats", "0", "--log-level", "NOTICE"]);
        // A remote that does not answer ends the attempt within minutes; the next run goes on.
        c.args(["--retries", "2", "--low-level-retries", "3", "--contimeout", "15s", "--timeout", "2m"]);
        if !self.rules.config.as_os_str().is_empty() {
            c.arg("--config").arg(&self.rules.config);
        }
        if self.rules.bytes_per_second > 0 {
            c.arg("--bwlimit").arg(format!("{}B", self.rules.bytes_per_second));
        }
        // A group of its own: what it started ends with it, also where it is a script around rclone.
        c.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        c
    }

    /// Runs it to its end, or until the node is to stop.
    fn run(&self, mut c: Command) -> Result<Ran, OffloadError> {
        let program = || self.rules.program.display().to_string();
        let mut child = c.spawn().map_err(|cause| OffloadError::Program { program: program(), cause })?;
        let (out, said) = (drain(child.stdout.take(), LISTING), drain(child.stderr.take(), WORDS));
        let ended = self.wait(&mut child);
        let text =
            |t: std::thread::JoinHandle<Vec<u8>>| String::from_utf8_lossy(&t.join().unwrap_or_default()).into_owned();
        let (out, said) = (text(out), last_words(&text(said)));
        let ok = ended?.success();
        Ok(Ran { ok, out, said })
    }

    fn wait(&self, child: &mut Child) -> Result<std::process::ExitStatus, OffloadError> {
        let failed = |cause| OffloadError::Program { program: self.rules.program.display().to_string(), cause };
        loop {
            if let Some(status) = child.try_wait().map_err(failed)? {
                return Ok(status);
            }
            if self.node.stopping() {
                if let Ok(id) = i32::try_from(child.id()) {
                    // It is not waited for yet, so the number is still its own; a group without a living member is gone already.
                    let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
                }
                child.kill().and_then(|()| child.wait()).map_err(failed)?;
                return Err(OffloadError::Stopping);
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// Reads all of it, so that the program never waits for us, and keeps the first `most` bytes.
fn drain(from: Option<impl Read + Send + 'static>, most: u64) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        if let Some(mut from) = from {
            // What cannot be read is missing from its words, and shows in what it did.
            let _ = from.by_ref().take(most).read_to_end(&mut kept);
            let _ = std::io::copy(&mut from, &mut std::io::sink());
        }
        kept
    })
}

/// By rclone's list of remotes; one of an unknown kind, or of two, does not.
fn hashes_its_bytes(name: &str, remotes: &str) -> bool {
    let mut kinds =
        remotes.lines().filter_map(|l| l.split_once(':')).filter(|(n, _)| *n == name).map(|(_, k)| k.trim());
    kinds.next().is_some_and(|k| HASHES_ITS_BYTES.contains(&k)) && kinds.next().is_none()
}

/// The last lines that say what is wrong, without addresses: a signed one holds a secret.
fn last_words(said: &str) -> String {
    let words = |l: &str| {
        let plain = |w: &str| if w.contains("://") { "(url)".to_owned() } else { w.to_owned() };
        l.split_whitespace().skip(2).map(plain).collect::<Vec<_>>().join(" ")
    };
    let mut lines: Vec<String> = said.lines().map(words).filter(|l| !l.is_empty()).collect();
    lines.dedup();
    let from = lines.len().saturating_sub(3);
    let text = lines.get(from..).unwrap_or_default().join(" | ");
    if text.is_empty() { "rclone failed without a word".to_owned() } else { text.chars().take(500).collect() }
}

pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> OffloadError {
    let path = path.display().to_string();
    move |cause| OffloadError::Io { path, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_remote_of_a_kind_that_hashes_its_own_bytes_is_taken_at_its_word() {
        let all = "h:     hasher               \ngc: google cloud storage \nmy s3: s3\ntwo: s3\ntwo: crypt\n";
        let said = ["h", "gc", "my s3", "two", "nowhere", "s3"].map(|n| hashes_its_bytes(n, all));
        assert_eq!(said, [false, true, true, false, false, false]);
    }

    #[test]
    fn its_last_words_hold_no_address_and_no_time() {
        let said =
            "2026/11/21 18:48:09 NOTICE: x\n2026/11/21 18:48:09 ERROR : put https://h/?X-Amz-Signature=abc failed\n";
        assert_eq!(last_words(said), "NOTICE: x | ERROR : put (url) failed");
        assert_eq!(last_words(""), "rclone failed without a word");
    }
}
