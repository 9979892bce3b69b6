//! Running programs and measuring them, without unsafe code and without tools that a small machine may lack.
//!
//! `wait4` is not to be had safely, but `getrusage` for waited-for children is: a helper process (this same program,
//! called with `measure`) starts one child, waits, and writes down what exactly that child used.

use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// The environment variable with the words to put before every program, for emulation.
pub const RUNNER: &str = "DATANODE_RUNNER";

/// What one program used.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(dead_code, reason = "not every harness needs it")]
pub struct Measured {
    /// Seconds from before its start to after its end.
    pub wall: f64,
    /// CPU-seconds in user space, of all its threads.
    pub user: f64,
    /// CPU-seconds in the kernel.
    pub sys: f64,
    /// The most memory that was resident, KiB. Not below what the helper itself has, about 5,000.
    pub peak_kib: i64,
    /// Whether it ended with 0.
    pub ok: bool,
}

/// A command for `program`, with the runner before it where one is set.
pub fn command(program: &Path) -> Command {
    let runner = std::env::var(RUNNER).unwrap_or_default();
    let mut words = runner.split_whitespace();
    match words.next() {
        Some(first) => {
            let mut c = Command::new(first);
            c.args(words).arg(program);
            c
        }
        None => Command::new(program),
    }
}

/// Runs `program` (with the runner, where it is set) to its end; stdout goes to `stdout`, stderr to `<stdout>.err`.
///
/// # Errors
/// It cannot be started, or did not end with 0; then its last words are in the message.
#[allow(dead_code, reason = "not every harness needs it")]
pub fn measured(
    program: &Path,
    args: &[OsString],
    env: &[(String, String)],
    stdout: &Path,
) -> Result<Measured, Box<dyn Error>> {
    let (report, stderr) = (stdout.with_extension("usage"), stdout.with_extension("err"));
    let mut helper = command(&std::env::current_exe()?);
    helper.arg("measure").arg(&report).arg(program).args(args);
    helper.envs(env.iter().map(|(k, v)| (k, v)));
    // Away from any `datanode.toml` of the folder that the harness was called in.
    helper.current_dir(stdout.parent().unwrap_or(Path::new("/")));
    helper.stdout(File::create(stdout)?).stderr(File::create(&stderr)?);
    let status = helper.status()?;
    let m: Option<Measured> = std::fs::read(&report).ok().and_then(|t| serde_json::from_slice(&t).ok());
    match m {
        Some(m) if status.success() && m.ok => Ok(m),
        _ => {
            let said = std::fs::read_to_string(&stderr).unwrap_or_default();
            let last = said.lines().rev().take(5).collect::<Vec<_>>().join(" | ");
            Err(format!("{} {args:?}: {status}: {last}", program.display()).into())
        }
    }
}

/// The helper: `measure REPORT PROGRAM ARGS…`.
///
/// # Errors
/// The program cannot be started.
#[allow(dead_code, reason = "not every harness needs it")]
pub fn measure(mut args: impl Iterator<Item = OsString>) -> Result<(), Box<dyn Error>> {
    let (Some(report), Some(program)) = (args.next(), args.next()) else {
        return Err("measure REPORT PROGRAM …".into());
    };
    // A program outside the project (sha256sum, strace, python) is native: only our own need the runner.
    let native = std::env::var_os("DATANODE_BENCH_NATIVE").is_some();
    let mut c = if native { Command::new(&program) } else { command(Path::new(&program)) };
    let begun = Instant::now();
    let status = c.args(args).status()?;
    let wall = begun.elapsed().as_secs_f64();
    let u = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    let m = Measured {
        wall,
        user: seconds(u.user_time()),
        sys: seconds(u.system_time()),
        peak_kib: u.max_rss(),
        ok: status.success(),
    };
    std::fs::write(report, serde_json::to_vec(&m)?)?;
    Ok(())
}

/// CPU-seconds (user + kernel) that a running process has used. Linux counts them in hundredths here.
#[allow(dead_code, reason = "not every harness needs it")]
pub fn cpu_of(pid: u32) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = text.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    Some(ticks / 100.0)
}
