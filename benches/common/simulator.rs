//! The simulated vendors, in a process of their own, and the few words of HTTP that their counters need.

use crate::child::{command, cpu_of};
use std::error::Error;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

/// A running simulator; it ends with this value.
pub struct Simulator {
    child: Child,
    addr: String,
}

impl Simulator {
    /// Serves what `args` say on a free loopback port.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(datanode: &Path, args: &[OsString]) -> Result<Self, Box<dyn Error>> {
        let mut child = command(datanode).arg("vendorsim").args(args).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let addr = line.trim().strip_prefix("listening http://").map(str::to_owned);
        let mut sim = Self { child, addr: String::new() };
        sim.addr = addr.ok_or("the simulator did not say where it listens")?;
        Ok(sim)
    }

    /// Its address as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// CPU-seconds that it has used.
    #[allow(dead_code, reason = "not every harness needs it")]
    pub fn cpu(&self) -> f64 {
        cpu_of(self.child.id()).unwrap_or(0.0)
    }

    /// Forgets its counters.
    ///
    /// # Errors
    /// It does not answer.
    #[allow(dead_code, reason = "not every harness needs it")]
    pub fn reset(&self) -> Result<(), Box<dyn Error>> {
        self.ask("POST", "/__sim/reset").map(drop)
    }

    /// Requests since the last reset.
    ///
    /// # Errors
    /// It does not answer.
    #[allow(dead_code, reason = "not every harness needs it")]
    pub fn requests(&self) -> Result<f64, Box<dyn Error>> {
        let stats = self.stats()?;
        stats.get("requests").and_then(serde_json::Value::as_f64).ok_or_else(|| "no requests in /__sim/stats".into())
    }

    /// Everything that it counted since the last reset.
    ///
    /// # Errors
    /// It does not answer.
    pub fn stats(&self) -> Result<serde_json::Value, Box<dyn Error>> {
        Ok(serde_json::from_str(&self.ask("GET", "/__sim/stats")?)?)
    }

    fn ask(&self, method: &str, path: &str) -> Result<String, Box<dyn Error>> {
        let mut stream = TcpStream::connect(&self.addr)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let head = format!("{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Length: 0\r\n\r\n", self.addr);
        stream.write_all(head.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("no HTTP answer")?;
        if head.split_whitespace().nth(1).is_none_or(|s| !s.starts_with('2')) {
            return Err(format!("{path}: {}", head.lines().next().unwrap_or("")).into());
        }
        Ok(body.to_owned())
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // It keeps nothing, so that ending it hard is as good as asking.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
