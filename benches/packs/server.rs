//! A fresh s3s-fs with one bucket, and a relay that counts the bytes before it.

use crate::Fallible;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The key of every server here.
pub const KEY: &str = "AKIDBENCH";
/// Its secret.
pub const SECRET: &str = "datanode-bench-secret-key";
/// Its only bucket.
pub const BUCKET: &str = "packs";

/// A server; it ends, and its folder goes, with this value.
pub struct Server {
    child: Child,
    root: PathBuf,
    /// `http://127.0.0.1:PORT`.
    pub endpoint: String,
}

impl Server {
    /// Starts one over a new folder.
    pub fn start(program: &Path, root: PathBuf) -> Fallible<Self> {
        std::fs::create_dir_all(root.join(BUCKET))?;
        let mut c = Command::new(program);
        c.env("RUST_LOG", "s3s_fs=info").env("NO_COLOR", "1");
        c.args(["--access-key", KEY, "--secret-key", SECRET, "--host", "127.0.0.1", "--port", "0"]).arg(&root);
        let mut child = c.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines();
        let said = lines.by_ref().map_while(Result::ok).find_map(|l| {
            let (_, at) = l.split_once("server is running at ")?;
            Some(at.split([' ', ']']).next().unwrap_or(at).trim_end_matches('/').to_owned())
        });
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, root, endpoint: said.ok_or("s3s-fs did not say where it listens")? })
    }

    /// Bytes of the objects below a prefix of the bucket.
    pub fn bytes(&self, prefix: &str) -> Fallible<u64> {
        Ok(crate::travel::files_below(&self.root.join(BUCKET).join(prefix))?.iter().map(|f| f.bytes).sum())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

/// Bytes on the wire, heads and bodies of requests and answers.
#[derive(Default)]
struct Counted {
    up: AtomicU64,
    down: AtomicU64,
}

/// Passes every byte on and counts it.
pub struct Relay {
    /// `http://127.0.0.1:PORT`.
    pub endpoint: String,
    counted: Arc<Counted>,
}

impl Relay {
    /// Before the server at `http://host:port`.
    pub fn before(upstream: &str) -> Fallible<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let (upstream, counted) = (upstream.trim_start_matches("http://").to_owned(), Arc::new(Counted::default()));
        let c = counted.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&upstream) else { continue };
                let (Ok(from), Ok(to)) = (client.try_clone(), server.try_clone()) else { continue };
                let (a, b) = (c.clone(), c.clone());
                std::thread::spawn(move || pass(from, to, &a.up));
                std::thread::spawn(move || pass(server, client, &b.down));
            }
        });
        Ok(Self { endpoint, counted })
    }

    /// Bytes to the server and from it, since the last time.
    pub fn taken(&self) -> (f64, f64) {
        let of = |n: &AtomicU64| n.swap(0, Ordering::AcqRel) as f64;
        (of(&self.counted.up), of(&self.counted.down))
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, count: &AtomicU64) {
    let mut buffer = vec![0u8; 64 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        count.fetch_add(n as u64, Ordering::AcqRel);
        if buffer.get(..n).is_none_or(|b| to.write_all(b).is_err()) {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
