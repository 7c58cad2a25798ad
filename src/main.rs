//! The `syncsup` program: argv -> command or role -> exit status.

fn main() {}
