//! What is asked of the process itself: how much it logs, and a cycle now.

use crate::admin::AdminContext;
use crate::admin::commands::Args;
use crate::admin::protocol::{AdminError, Code};
use serde::Serialize;
use std::sync::PoisonError;

/// The answer of `log` and `log.level`.
#[derive(Clone, Debug, Serialize)]
pub struct LogLevel {
    /// The filter that holds, as it was given: `info`, or `warn,datanode=debug`.
    pub level: String,
    /// Where it comes from.
    pub until: &'static str,
}

/// The answer of `runs.now`.
#[derive(Clone, Debug, Serialize)]
pub struct Begun {
    /// It has begun.
    pub begun: bool,
}

pub(super) fn log(ctx: &AdminContext) -> LogLevel {
    let set = ctx.log_level.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match set {
        Some(level) => LogLevel { level, until: "the process ends; log.level of the settings holds from then on" },
        None => LogLevel { level: ctx.desk.reloader.log_level().to_owned(), until: "it is set to another" },
    }
}

pub(super) fn set_level(ctx: &AdminContext, a: &Args) -> Result<LogLevel, AdminError> {
    let filter = a.text("filter").unwrap_or_default();
    (ctx.set_level)(filter).map_err(|e| AdminError::new(Code::BadArgs, e))?;
    *ctx.log_level.lock().unwrap_or_else(PoisonError::into_inner) = Some(filter.to_owned());
    Ok(log(ctx))
}

pub(super) fn run_now(ctx: &AdminContext) -> Result<Begun, AdminError> {
    if (ctx.desk.begin)(Vec::new()) {
        return Ok(Begun { begun: true });
    }
    Err(AdminError::new(Code::Busy, "a cycle is under way: `runs last` shows how far it is; ask again after it"))
}
