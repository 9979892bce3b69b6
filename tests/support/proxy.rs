//! A proxy before an S3 server that counts what is sent and answers as it is told.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One request, as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// Bytes of the body.
    pub body: u64,
    /// Whether the server is to copy.
    pub is_copy: bool,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// It goes on to the server.
    Pass,
    /// This status and S3 code, from the proxy.
    Answer(u16, &'static str),
    /// No answer, ever.
    Silence,
    /// A byte of an answer each second, never the end.
    Trickle,
    /// The connection ends after half of the body has gone on to the server.
    Cut,
}

type Rule = Box<dyn FnMut(&Asked) -> Act + Send>;

#[derive(Default)]
struct Shared {
    asked: Mutex<Vec<Asked>>,
    rule: Mutex<Option<Rule>>,
    upstream: Mutex<String>,
}

/// The proxy; it lives as long as the test's process.
pub struct Proxy {
    pub endpoint: String,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Before the server at `http://host:port`.
    pub fn before(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        *shared.upstream.lock().unwrap() = upstream.trim_start_matches("http://").to_owned();
        let s = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let s = s.clone();
                // A client or a server that goes away is part of the tests.
                std::thread::spawn(move || drop(serve(client, &s)));
            }
        });
        Self { endpoint, shared }
    }

    /// From now on requests go to another server.
    pub fn turn_to(&self, upstream: &str) {
        *self.shared.upstream.lock().unwrap() = upstream.trim_start_matches("http://").to_owned();
    }

    /// From now on this decides.
    pub fn rule(&self, rule: impl FnMut(&Asked) -> Act + Send + 'static) {
        *self.shared.rule.lock().unwrap() = Some(Box::new(rule));
    }

    /// From now on everything passes.
    pub fn pass(&self) {
        *self.shared.rule.lock().unwrap() = None;
    }

    /// What was asked since the last time, in order.
    pub fn taken(&self) -> Vec<Asked> {
        std::mem::take(&mut self.shared.asked.lock().unwrap())
    }

    /// Bytes of bodies that were PUT since the last time, those of the probe left out.
    pub fn sent(&self) -> u64 {
        let all = self.taken();
        all.iter().filter(|a| a.method == "PUT" && !a.path.contains(".datanode-probe")).map(|a| a.body).sum()
    }
}

fn serve(mut client: TcpStream, s: &Shared) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0u8; 1];
    while !head.ends_with(b"\r\n\r\n") {
        if client.read(&mut byte)? == 0 {
            return Ok(());
        }
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut first = text.lines().next().unwrap_or_default().split(' ');
    let header = |name: &str| {
        text.lines().find_map(|l| {
            let (k, v) = l.split_once(':')?;
            k.eq_ignore_ascii_case(name).then(|| v.trim().to_owned())
        })
    };
    let asked = Asked {
        method: first.next().unwrap_or_default().to_owned(),
        path: first.next().unwrap_or_default().to_owned(),
        body: header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0),
        is_copy: header("x-amz-copy-source").is_some(),
    };
    let act = s.rule.lock().unwrap().as_mut().map_or(Act::Pass, |r| r(&asked));
    s.asked.lock().unwrap().push(asked.clone());
    let upstream = s.upstream.lock().unwrap().clone();
    match act {
        Act::Pass | Act::Cut => {
            let Ok(mut server) = TcpStream::connect(&upstream) else { return client.shutdown(Shutdown::Both) };
            // The connection is for this request alone; the header is not among the signed ones.
            let kept = text.replacen("\r\n", "\r\nconnection: close\r\n", 1);
            server.write_all(kept.as_bytes())?;
            let n = if matches!(act, Act::Cut) { asked.body / 2 } else { asked.body };
            std::io::copy(&mut (&client).take(n), &mut server)?;
            if matches!(act, Act::Cut) {
                server.shutdown(Shutdown::Both)?;
                return client.shutdown(Shutdown::Both);
            }
            std::io::copy(&mut server, &mut client)?;
            client.shutdown(Shutdown::Both)
        }
        Act::Answer(status, code) => {
            std::io::copy(&mut (&client).take(asked.body), &mut std::io::sink())?;
            let body = format!(
                "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>As the test says.</Message></Error>"
            );
            let n = body.len();
            write!(client, "HTTP/1.1 {status} Said\r\ncontent-length: {n}\r\nconnection: close\r\n\r\n{body}")?;
            client.shutdown(Shutdown::Write)
        }
        Act::Silence => std::io::copy(&mut client, &mut std::io::sink()).map(|_| ()),
        Act::Trickle => {
            std::io::copy(&mut (&client).take(asked.body), &mut std::io::sink())?;
            write!(client, "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")?;
            loop {
                client.write_all(b" ")?;
                std::thread::sleep(Duration::from_secs(1));
            }
        }
    }
}
