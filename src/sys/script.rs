//! Explains why a program could not be started where the system's error is misleading: 'no such file' for a script
//! means the program that its first line names.

use crate::language::say;
use crate::script;
use rustix::fs::{Mode, OFlags, open};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The same error, with the fault of the script at `program`, if that is the cause.
pub fn explained(program: &OsStr, error: io::Error) -> io::Error {
    const ENOENT: i32 = 2;
    const ENOEXEC: i32 = 8;
    if !matches!(error.raw_os_error(), Some(ENOENT | ENOEXEC)) {
        return error;
    }
    let Ok(start) = start_of(Path::new(program)) else { return error };
    let there = |program: &[u8]| Path::new(OsStr::from_bytes(program)).exists();
    let missing = || script::interpreter(&start).filter(|program| !there(program));
    let why = script::fault(&start);
    match why.or_else(|| missing().map(script::without)) {
        Some(why) => io::Error::new(error.kind(), say!("cannot be run: {}", why)),
        None => error,
    }
}

/// The start of a file. Only a regular file is read, because other files may block.
pub(super) fn start_of(path: &Path) -> io::Result<Vec<u8>> {
    let file =
        File::from(open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?);
    let mut start = Vec::new();
    if file.metadata()?.is_file() {
        file.take(script::START).read_to_end(&mut start)?;
    }
    Ok(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_missing_interpreter_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("script");
        let told = |text: &str| {
            fs::write(&script, text).unwrap();
            explained(script.as_os_str(), io::Error::from_raw_os_error(2)).to_string()
        };
        assert!(told("#!/bin/sh\r\nexit\r\n").contains("carriage return"));
        assert!(
            told("#!/no/such/php -q\nexit\n").contains("names /no/such/php, which does not exist")
        );
        let said = io::Error::from_raw_os_error(2).to_string();
        assert_eq!(told("#!/bin/sh\nexit\n"), said, "the working directory, say");
        fs::remove_file(&script).unwrap();
        let error = io::Error::from_raw_os_error(2);
        assert_eq!(explained(script.as_os_str(), error).to_string(), said, "it is missing itself");
    }
}
