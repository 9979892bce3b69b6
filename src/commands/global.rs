//! What every command shares: its options, its settings, its clock, its log.

use crate::config::{self, Settings};
use crate::failure::Failure;
use chrono::{DateTime, Utc};
use datanode_schema::clock::Clock;
use std::path::PathBuf;

/// Options of every command.
#[derive(clap::Args, Clone)]
pub struct Global {
    /// The configuration file [default: ./datanode.toml where it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The data folder, before what the configuration says
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Freeze wall time, for tests and comparisons
    #[arg(long, global = true, value_name = "RFC3339")]
    pub now: Option<DateTime<Utc>>,
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

impl Global {
    /// The settings.
    ///
    /// # Errors
    /// Exit 2.
    pub fn settings(&self) -> Result<Settings, Failure> {
        let settings = config::load(self.config.as_deref(), self.data_dir.as_deref()).map_err(Failure::usage)?;
        crate::secrets::key_file_is(crate::wiring::key_file(&settings));
        Ok(settings)
    }

    /// The clock, frozen where `--now` says so.
    pub fn clock(&self) -> Clock {
        self.now.map_or_else(Clock::system, Clock::frozen)
    }
}
