//! Real object stores on loopback: s3s-fs (honest), moto (versions, object lock), rclone `serve s3` (lies).

use super::Live;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The key of every server here.
pub const KEY: &str = "AKIDEXAMPLE";
/// Its secret.
pub const SECRET_KEY: &str = "datanode-test-secret-key";

/// A server that runs; dropping it ends it.
pub struct S3 {
    live: Option<Live>,
    /// `http://127.0.0.1:PORT`.
    pub endpoint: String,
    /// Where s3s-fs and rclone keep their objects; a bucket is a folder in it.
    pub root: tempfile::TempDir,
}

/// A program beside the Python of `DATANODE_PYTHON`; None after saying that the test is skipped.
pub fn beside_python(program: &str) -> Option<PathBuf> {
    let found = std::env::var_os("DATANODE_PYTHON").and_then(|p| Some(Path::new(&p).parent()?.join(program)));
    let found = found.filter(|p| p.is_file());
    if found.is_none() {
        eprintln!("SKIPPED: {program} is not beside the Python that DATANODE_PYTHON names (fixtures/requirements.txt)");
    }
    found
}

impl S3 {
    /// s3s-fs, with a bucket. `DATANODE_S3S_FS` names the program; without it the PATH does. None after saying that the test
    /// is skipped.
    pub fn honest(bucket: &str) -> Option<Self> {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join(bucket)).unwrap();
        Self::honest_in(root, KEY, SECRET_KEY)
    }

    /// The same objects behind a server anew, with these keys, at another address.
    pub fn again(mut self, key: &str, secret: &str) -> Self {
        drop(self.live.take());
        Self::honest_in(self.root, key, secret).unwrap()
    }

    fn honest_in(root: tempfile::TempDir, key: &str, secret: &str) -> Option<Self> {
        let program = std::env::var_os("DATANODE_S3S_FS").map_or_else(|| PathBuf::from("s3s-fs"), PathBuf::from);
        let mut c = Command::new(&program);
        c.env("RUST_LOG", "s3s_fs=info").env("NO_COLOR", "1");
        c.args(["--access-key", key, "--secret-key", secret, "--host", "127.0.0.1", "--port", "0"]);
        c.arg(root.path()).stdout(Stdio::piped()).stderr(Stdio::null()).stdin(Stdio::null());
        let Ok(mut child) = c.spawn() else {
            eprintln!(
                "SKIPPED: {} is not there; cargo install s3s-fs --version 0.14.1 --features binary",
                program.display()
            );
            return None;
        };
        let said = child.stdout.take().unwrap();
        let endpoint = announced(said, "server is running at ");
        Some(Self { live: Some(Live::of(child)), endpoint, root })
    }

    /// moto, without buckets: they are made through its API. None after saying that the test is skipped.
    pub fn moto() -> Option<Self> {
        let mut c = Command::new(beside_python("moto_server")?);
        c.args(["-H", "127.0.0.1", "-p", "0"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Some(Self::by_stderr(c, "Running on ", tempfile::tempdir().unwrap()))
    }

    /// rclone's S3 server, with a bucket: it ignores conditional creation and checksums. None after saying that the test is skipped.
    pub fn lying(bucket: &str) -> Option<Self> {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join(bucket)).unwrap();
        let mut c = Command::new(beside_python("rclone")?);
        c.args(["serve", "s3", "--addr", "127.0.0.1:0", "--auth-key"]).arg(format!("{KEY},{SECRET_KEY}"));
        c.args(["--config", "/dev/null"]).arg(root.path());
        c.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Some(Self::by_stderr(c, "Starting s3 server on [", root))
    }

    fn by_stderr(mut c: Command, words: &str, root: tempfile::TempDir) -> Self {
        let mut child = c.spawn().unwrap();
        let said = child.stderr.take().unwrap();
        let endpoint = announced(said, words);
        Self { live: Some(Live::of(child)), endpoint, root }
    }

    /// The process, for signals.
    pub fn live(&self) -> &Live {
        self.live.as_ref().unwrap()
    }
}

/// The address that follows `words`; what is said after it is read and thrown away, so that the server never waits for us.
fn announced(said: impl std::io::Read + Send + 'static, words: &str) -> String {
    let mut lines = BufReader::new(said).lines();
    let mut before = String::new();
    let found = lines.by_ref().map_while(Result::ok).find_map(|l| {
        let at = l.split_once(words).map(|(_, rest)| rest.to_owned());
        before.push_str(&l);
        before.push('\n');
        at
    });
    let found = found.unwrap_or_else(|| panic!("the server did not say where it listens:\n{before}"));
    std::thread::spawn(move || lines.for_each(drop));
    let end = found.find([']', ' ']).unwrap_or(found.len());
    found[..end].trim_end_matches('/').to_owned()
}
