//! `datanode`: see `datanode --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    datanode::panic::install();
    datanode::dumps::forbid();
    datanode::commands::main()
}
