//! The `syncsup` program: argv -> command or role -> exit status.

use std::process::ExitCode;
use syncsup::message::Role;
use syncsup::{cli, role};

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let [_, word] = &args[..]
        && let Some(role) = word.to_str().and_then(Role::from_argument)
    {
        return role::run(role);
    }
    cli::main(&args).into()
}
