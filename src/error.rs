//! Kinds of errors, and the exit statuses of commands for them.

use std::fmt;

/// The exit status of a command; documented in syncsup(8), EXIT STATUS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done; for `status`: everything is in sync.
    Ok = 0,
    /// The answer is no: behind, different, failed.
    No = 1,
    /// The command line or the configuration is wrong; nothing was started.
    Usage = 2,
    /// No supervisor runs.
    NotRunning = 3,
    /// Another supervisor already replicates this localpath.
    AlreadyRunning = 4,
    /// The system refused something (a file, a socket, a fork).
    System = 5,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit as u8)
    }
}

/// What the system says, without the number that Rust appends: `No such file or directory`.
pub fn without_number(error: &dyn fmt::Display) -> String {
    let text = error.to_string();
    let cut = text.strip_suffix(')').and_then(|t| t.rsplit_once(" (os error "));
    match cut {
        Some((words, number)) if number.bytes().all(|b| b.is_ascii_digit()) => words.to_owned(),
        _ => text,
    }
}

/// An error for the user: what happened, where and what to do, and the exit status of the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The exit status of a command that fails with this error.
    pub exit: Exit,
    /// One or more lines, without a trailing newline.
    pub text: String,
}

/// The result of any function whose error may end a command.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The command line or configuration is wrong.
    pub fn usage(text: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, text: text.into() }
    }

    /// The system refused something; `what` names the step and the object.
    pub fn system(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self { exit: Exit::System, text: format!("{what}: {}", without_number(&why)) }
    }

    /// An error with the given exit status.
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_number_of_the_system_is_left_out() {
        let missing = std::io::Error::from_raw_os_error(2);
        assert_eq!(without_number(&missing), "No such file or directory");
        for text in ["a (os error x)", "a (os error 2) b", "(os error 2", "a (b)"] {
            assert_eq!(without_number(&text), text);
        }
    }
}
