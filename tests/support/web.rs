//! A small HTTP server that answers as a test says: files of a folder, or lies.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// What comes back.
pub enum Reply {
    /// As a good server would: the file of that path, with ranges and an ETag; 404 where there is none.
    Folder,
    /// This, with its length.
    Text(u16, Vec<(String, String)>, Vec<u8>),
    /// This length is announced, these bytes come, and the connection is closed.
    Cut(u64, Vec<u8>),
    /// The same with a status and headers.
    CutWith(u16, Vec<(String, String)>, u64, Vec<u8>),
    /// Nothing, until the server ends.
    Silence,
    /// The first bytes of the file, then nothing until the server ends.
    Stall(usize),
}

/// A server that runs; dropping it ends it.
pub struct Web {
    pub url: String,
    /// Bytes of bodies that were sent.
    pub sent: Arc<AtomicU64>,
    pub asked: Arc<Mutex<Vec<Asked>>>,
    over: Arc<AtomicBool>,
    address: std::net::SocketAddr,
}

type Answer = dyn Fn(&Asked) -> Reply + Send + Sync;

impl Web {
    /// Serves the files of a folder.
    pub fn folder(root: &Path) -> Self {
        Self::new(root, |_| Reply::Folder)
    }

    pub fn new(root: &Path, answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sent, asked, over) = (Arc::default(), Arc::default(), Arc::new(AtomicBool::new(false)));
        let web = Self { url: format!("http://{address}"), sent, asked, over, address };
        let (sent, asked, over) = (web.sent.clone(), web.asked.clone(), web.over.clone());
        let (root, answer): (PathBuf, Arc<Answer>) = (root.to_owned(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::Acquire) {
                    return;
                }
                let (sent, asked, over) = (sent.clone(), asked.clone(), over.clone());
                let (root, answer) = (root.clone(), answer.clone());
                // A client that goes away ends its thread.
                std::thread::spawn(move || while one(&stream, &root, &*answer, &sent, &asked, &over).is_some() {});
            }
        });
        web
    }

    /// How many requests for a path that ends so.
    pub fn count(&self, end: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|a| a.path.ends_with(end)).count()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        drop(TcpStream::connect(self.address));
    }
}

/// One request; None where the connection is at its end.
fn one(
    mut stream: &TcpStream,
    root: &Path,
    answer: &Answer,
    sent: &AtomicU64,
    asked: &Mutex<Vec<Asked>>,
    over: &AtomicBool,
) -> Option<()> {
    let request = read_request(stream)?;
    asked.lock().unwrap().push(request.clone());
    let until_over = || {
        while !over.load(Ordering::Acquire) {
            std::thread::park_timeout(Duration::from_millis(20));
        }
    };
    let mut send = |status: u16, headers: &[(String, String)], len: u64, body: &[u8]| {
        let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {len}\r\n");
        headers.iter().for_each(|(k, v)| head.push_str(&format!("{k}: {v}\r\n")));
        stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
        if request.method != "HEAD" {
            stream.write_all(body).ok()?;
            sent.fetch_add(body.len() as u64, Ordering::Relaxed);
        }
        Some(())
    };
    match answer(&request) {
        Reply::Text(status, headers, body) => send(status, &headers, body.len() as u64, &body),
        Reply::Cut(len, body) => {
            send(200, &[], len, &body);
            None
        }
        Reply::CutWith(status, headers, len, body) => {
            send(status, &headers, len, &body);
            None
        }
        Reply::Silence => {
            until_over();
            None
        }
        Reply::Stall(n) => {
            let body = std::fs::read(root.join(request.path.trim_start_matches('/'))).unwrap();
            send(200, &[], body.len() as u64, &body[..n.min(body.len())]);
            until_over();
            None
        }
        Reply::Folder => {
            let Ok(body) = std::fs::read(root.join(request.path.trim_start_matches('/'))) else {
                return send(404, &[], 0, b"");
            };
            let tag = ("ETag".to_owned(), format!("\"{}\"", datanode_schema::files::sha256_hex(&body)));
            let from =
                request.headers.get("range").and_then(|r| r.strip_prefix("bytes=")?.split('-').next()?.parse().ok());
            match from {
                Some(from) => {
                    let range = ("Content-Range".to_owned(), format!("bytes {from}-{}/{}", body.len() - 1, body.len()));
                    send(206, &[tag, range], (body.len() - from) as u64, &body[from..])
                }
                None => send(200, &[tag], body.len() as u64, &body),
            }
        }
    }
}

fn read_request(mut stream: &TcpStream) -> Option<Asked> {
    let (mut text, mut byte) = (Vec::new(), [0u8]);
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        text.push(byte[0]);
    }
    let text = String::from_utf8(text).unwrap();
    let mut lines = text.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: BTreeMap<String, String> =
        lines.filter_map(|l| l.split_once(": ")).map(|(k, v)| (k.to_lowercase(), v.to_owned())).collect();
    let length = headers.get("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Asked { method, path: percent_decoded(&path), headers, body })
}

fn percent_decoded(path: &str) -> String {
    datanode_schema::paths::decode_component(path).unwrap_or_else(|| path.to_owned())
}
