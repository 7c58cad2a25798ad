//! The `syncsup` program: argv -> command or role -> exit status.

#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;
use syncsup::message::{LOOK_ARGUMENT, Role, SYNC_ARGUMENT};
use syncsup::{cli, role};

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let [_, word] = &args[..]
        && let Some(role) = word.to_str().and_then(Role::from_argument)
    {
        return role::run(role);
    }
    if args.len() == 2 && args[1] == SYNC_ARGUMENT {
        return role::sync();
    }
    if args.len() == 3 && args[1] == LOOK_ARGUMENT {
        return role::look(args[2].as_ref());
    }
    cli::main(&args).into()
}
