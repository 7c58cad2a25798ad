//! The `syncsup` program: argv -> command or role -> exit status.

#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;
use syncsup::{cli, role};

fn main() -> ExitCode {
    match role::of_this_process() {
        Some(role) => role::run(role),
        None => cli::main(&std::env::args_os().collect::<Vec<_>>()).into(),
    }
}
