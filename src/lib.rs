//! The appliance: what turns the stages into programs. `config` and `secrets` say what to run, `wiring` makes a node of
//! it, `system` is the one place beside the actors that names actix, `reload` reads the
//! registry again, `backing` makes backups, `commands` are what a person types, `http` what another machine may read, `admin` is the
//! Unix socket and its REPL.

pub mod admin;
pub mod backing;
pub mod checks;
pub mod collecting;
pub mod commands;
pub mod config;
pub mod failure;
pub mod http;
mod keyfiles;
pub mod panic;
pub mod places;
pub mod reload;
pub mod secrets;
pub mod shipping;
pub mod system;
pub mod wiring;
