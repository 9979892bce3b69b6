//! The appliance: what turns the stages into programs. `config` and `secrets` say what to run, `wiring` makes a node of
//! it, `telemetry` is logs and traces, `system` is the one place beside the actors that names actix, `reload` reads the
//! registry again, `commands` are what a person types, `http` what another machine may read, `page` the status page, `alerts` tells somebody what is
//! wrong, `backing` makes backups, `checks` is what doctor looks at, `admin` is the Unix socket and its REPL.

pub mod admin;
pub mod alerts;
pub mod backing;
pub mod checks;
pub mod collecting;
pub mod commands;
pub mod config;
pub mod dumps;
pub mod failure;
pub mod http;
mod keyfiles;
pub mod page;
pub mod panic;
pub mod places;
pub mod reload;
pub mod secrets;
pub mod shipping;
pub mod system;
pub mod telemetry;
pub mod wiring;
