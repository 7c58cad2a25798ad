//! Files without a name, in memory: what a program reads and prints. A kernel before 3.17 has no such call. There, the
//! file is made in a directory of temporary files, and its name is removed at once.

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::path::Path;

/// Kept in memory on every machine that mounts what it should.
const SHARED_MEMORY: &str = "/dev/shm";

/// An empty file.
pub(super) fn file(name: &str) -> io::Result<File> {
    match memfd_create(name, MemfdFlags::CLOEXEC) {
        Err(Errno::NOSYS) => unlinked(),
        made => Ok(made?.into()),
    }
}

/// A file of this length that takes no more bytes; a write beyond them fails. Its position tells how much was written.
/// An old kernel lets it grow: do not read more of it than `most`.
pub(super) fn bounded_file(name: &str, most: u64) -> io::Result<File> {
    let (file, sealed) = match memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING) {
        Err(Errno::NOSYS) => (unlinked()?, false),
        made => (File::from(made?), true),
    };
    file.set_len(most)?;
    if sealed {
        fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK)?;
    }
    Ok(file)
}

fn unlinked() -> io::Result<File> {
    tempfile::tempfile_in(Path::new(SHARED_MEMORY)).or_else(|_| tempfile::tempfile())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};
    use std::os::fd::AsRawFd;

    #[test]
    fn without_the_call_there_are_still_files_of_no_name() {
        let mut file = unlinked().unwrap();
        file.write_all(b"list").unwrap();
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "list");
        let name = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
        assert!(!name.exists(), "{}", name.display());
    }

    #[test]
    fn a_bounded_file_takes_no_more() {
        let mut file = bounded_file("test", 4).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 4);
        assert!(file.write_all(b"five.").is_err());
        assert!(file.stream_position().unwrap() <= 4);
    }
}
