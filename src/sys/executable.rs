//! The file that a program's name means, if it is rsync.

use rustix::fs::{Mode, OFlags, open};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// How a binary begins.
const ELF: &[u8] = b"\x7fELF";
/// The start of the greeting of a daemon. Every rsync contains it, and a program that only starts one does not.
const GREETING: &[u8] = b"@RSYNCD:";
/// rsync is smaller than this.
const BYTES_MOST: u64 = 64 << 20;

/// The file of a program, which is looked for as execvp(3) does, if it is rsync itself. `None` for a script or binary
/// that starts rsync: it may need anything for that, such as sudo.
pub fn rsync(program: &OsStr) -> Option<PathBuf> {
    let file = found(Path::new(program))?;
    is_rsync(&file).ok()?.then_some(file)
}

fn is_rsync(path: &Path) -> io::Result<bool> {
    let mut content = Vec::new();
    // A file that is not regular may block.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() {
        file.take(BYTES_MOST).read_to_end(&mut content)?;
    }
    Ok(content.starts_with(ELF) && has_greeting(&content)?)
}

fn has_greeting(mut content: &[u8]) -> io::Result<bool> {
    let [first, rest @ ..] = GREETING else { return Ok(false) };
    while content.skip_until(*first)? > 0 {
        if content.starts_with(rest) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The file of a program, looked for as execvp(3) does.
pub(super) fn found(program: &Path) -> Option<PathBuf> {
    if program.as_os_str().as_encoded_bytes().contains(&b'/') {
        return Some(program.to_owned());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| {
        file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_starts_rsync_is_not_rsync() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("rsync");
        let text: [&[u8]; 4] = [
            b"#!/bin/sh\nexec sudo rsync \"$@\"\n",
            b"@RSYNCD: is no binary",
            b"\x7fELF a binary that executes /usr/bin/rsync @RSYNCD",
            b"\x7fELF @ @@RSYNCD: %d",
        ];
        let found = text.map(|text| {
            std::fs::write(&program, text).unwrap();
            rsync(program.as_os_str()).is_some()
        });
        assert_eq!(found, [false, false, false, true]);
        assert_eq!(rsync(OsStr::new("sh")), None);
        assert_eq!(rsync(OsStr::new("no-such-program")), None);
        assert!(rsync(OsStr::new("rsync")).is_some_and(|file| file.ends_with("rsync")));
    }
}
