//! Finds through /proc which files are open in other processes.
//!
//! A process in a Landlock domain sees no other process, so the search may run on a thread that does not enter it.

use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, stat, statx};
use rustix::io::Errno;
use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::{io, thread};

const O_ACCMODE: u32 = 3;

/// Device and inode of files.
type Files = HashSet<(u64, u64)>;

/// The search for files that are open for writing.
pub enum WriterSearch {
    /// On the thread that asks.
    Here,
    /// On a thread of its own, which keeps the rights that it was started with.
    Apart {
        /// What is asked.
        ask: Sender<Files>,
        /// What is found.
        found: Receiver<Files>,
    },
}

impl WriterSearch {
    /// Starts a thread for it. Call it before this thread gives up what the search needs.
    pub fn apart() -> io::Result<Self> {
        let (ask, asked) = channel::<Files>();
        let (tell, found) = channel();
        let search = move || asked.into_iter().try_for_each(|wanted| tell.send(written(&wanted)));
        thread::Builder::new().name("syncsup-search".into()).spawn(search)?;
        Ok(Self::Apart { ask, found })
    }

    /// The files of `wanted` that any process, this one included, has open for writing or mapped for writing. Only root
    /// sees the processes of other users.
    pub fn written(&self, wanted: Files) -> Files {
        match self {
            _ if wanted.is_empty() => wanted,
            Self::Here => written(&wanted),
            Self::Apart { ask, found } => {
                // Without an answer, any of them may be open.
                let asked = ask.send(wanted.clone()).is_ok();
                found.recv().ok().filter(|_| asked).unwrap_or(wanted)
            }
        }
    }
}

/// Makes one pass over all processes.
fn written(wanted: &Files) -> Files {
    let mut found = Files::new();
    let Ok(processes) = fs::read_dir("/proc") else { return found };
    for process in processes.flatten() {
        if !process.file_name().as_bytes().first().is_some_and(u8::is_ascii_digit) {
            continue;
        }
        // The process has exited, or belongs to another user.
        let Ok(fds) = fs::read_dir(process.path().join("fd")) else { continue };
        for fd in fds.flatten() {
            let info = process.path().join("fdinfo").join(fd.file_name());
            if let Some(id) = written_file(&fd.path(), &info)
                && wanted.contains(&id)
            {
                found.insert(id);
            }
        }
        if found.len() == wanted.len() {
            break;
        }
        // A mapping keeps a file open after its descriptor is closed.
        if let Ok(maps) = fs::read(process.path().join("maps")) {
            found.extend(
                maps.split(|b| *b == b'\n')
                    .filter_map(mapped_file)
                    .filter(|id| wanted.contains(id)),
            );
        }
    }
    found
}

/// Device and inode from a line of `/proc/PID/maps`, for a mapping whose writes reach the file.
fn mapped_file(line: &[u8]) -> Option<(u64, u64)> {
    let mut words = line.split(|b| *b == b' ').filter(|word| !word.is_empty());
    let (_, rights, _) = (words.next()?, words.next()?, words.next()?);
    if !rights.contains(&b's') || !rights.contains(&b'w') {
        return None;
    }
    let mut text = || std::str::from_utf8(words.next()?).ok();
    let ((major, minor), inode) = (text()?.split_once(':')?, text()?.parse().ok()?);
    let number = |digits| u32::from_str_radix(digits, 16).ok();
    (inode > 0).then_some((makedev(number(major)?, number(minor)?), inode))
}

/// Device and inode of a descriptor's file, when the file has a path and is open for writing.
fn written_file(fd: &Path, info: &Path) -> Option<(u64, u64)> {
    // Pipes, sockets and the like have no path. The fdinfo of an inotify descriptor would list all its watches.
    if !fs::read_link(fd).ok()?.as_os_str().as_bytes().starts_with(b"/") {
        return None;
    }
    let text = fs::read_to_string(info).ok()?;
    let flags = text.lines().find_map(|l| l.strip_prefix("flags:"))?.trim();
    if u32::from_str_radix(flags, 8).ok()? & O_ACCMODE == 0 {
        return None;
    }
    // Cached attributes are good enough: a server that does not answer must not block this.
    match statx(CWD, fd, AtFlags::STATX_DONT_SYNC, StatxFlags::INO) {
        // A kernel before 4.11 can only ask the server, too.
        Err(Errno::NOSYS) => stat(fd).ok().map(|seen| (seen.st_dev, seen.st_ino)),
        seen => {
            let seen = seen.ok()?;
            Some((makedev(seen.stx_dev_major, seen.stx_dev_minor), seen.stx_ino))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::files::stat;

    #[test]
    fn writers_of_a_file_are_found_and_readers_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["written", "both", "read", "closed"].map(|n| dir.path().join(n));
        names.iter().for_each(|n| fs::write(n, "").unwrap());
        let open = |i: usize, read: bool, write: bool| {
            fs::OpenOptions::new().read(read).write(write).open(&names[i]).unwrap()
        };
        let _held = [open(0, false, true), open(1, true, true), open(2, true, false)];
        let ids = names.each_ref().map(|n| stat(n).map(|s| (s.dev, s.ino)).unwrap());
        for search in [WriterSearch::Here, WriterSearch::apart().unwrap()] {
            assert_eq!(search.written(ids.into()), [ids[0], ids[1]].into());
            assert!(search.written(Files::new()).is_empty());
        }
    }

    #[test]
    fn what_is_not_answered_may_be_open() {
        let ((ask, _), (_, found)) = (channel(), channel());
        let wanted = Files::from([(1, 2)]);
        assert_eq!(WriterSearch::Apart { ask, found }.written(wanted.clone()), wanted);
    }

    #[test]
    fn a_writable_mapping_counts_as_open() {
        let line = |rights: &str| format!("7f00-7f01 {rights} 00000000 fe:01 42   /a b");
        let id = (makedev(0xfe, 1), 42);
        assert_eq!(mapped_file(line("rw-s").as_bytes()), Some(id));
        for other in [&line("r--s")[..], &line("rw-p"), "7f00-7f01 rw-s 0 00:00 0", "", "x"] {
            assert_eq!(mapped_file(other.as_bytes()), None, "{other}");
        }
    }
}
