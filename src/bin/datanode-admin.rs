//! `datanode-admin`: asks a running node over its admin socket. All of it lives in `datanode::admin::client`.

use std::process::ExitCode;

fn main() -> ExitCode {
    datanode::panic::install();
    ExitCode::from(datanode::admin::client::main(std::env::args_os()))
}
