//! The inotify queue.

use crate::stat::{Notice, What};
use inotify::{EventMask, Inotify, WatchMask};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// An inotify descriptor. Another process may hold a duplicate. The queue lives until the last duplicate is closed.
pub struct Queue {
    inotify: Inotify,
    buffer: Vec<u8>,
}

/// Makes a new queue; the descriptor can be shared.
pub fn create() -> io::Result<OwnedFd> {
    Ok(Inotify::init()?.into())
}

impl Queue {
    /// Reads events and adds watches through `fd`.
    pub fn new(fd: OwnedFd) -> Self {
        Self { inotify: Inotify::from(fd), buffer: vec![0; 256 << 10] }
    }

    /// Watches a directory. Another call for the same directory returns the same watch descriptor and loses no event.
    /// Errors: ENOSPC when the user's watches are used up, ENOTDIR, ENOENT, ELOOP for a symbolic link.
    pub fn add(&self, directory: &Path, follow: bool) -> io::Result<i32> {
        let mut mask = WatchMask::CREATE
            | WatchMask::MODIFY
            | WatchMask::CLOSE_WRITE
            | WatchMask::ATTRIB
            | WatchMask::DELETE
            | WatchMask::MOVED_FROM
            | WatchMask::MOVED_TO
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::EXCL_UNLINK
            | WatchMask::ONLYDIR
            // Without this flag Linux (inotify_update_existing_watch) clears the mask of an existing watch for a
            // moment, and drops the events of that moment.
            | WatchMask::MASK_ADD;
        if !follow {
            mask |= WatchMask::DONT_FOLLOW;
        }
        Ok(self.inotify.watches().add(directory, mask)?.get_watch_descriptor_id())
    }

    /// Removes a watch. A watch that no longer exists is no error.
    pub fn remove(&self, wd: i32) {
        let _ = rustix::fs::inotify::remove_watch(&self.inotify, wd);
    }

    /// Reads the queued events, at most one buffer. Empty when the queue is empty.
    pub fn read(&mut self) -> io::Result<Vec<Notice>> {
        let events = match self.inotify.read_events(&mut self.buffer) {
            Ok(events) => events,
            Err(e)
                if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
            {
                return Ok(Vec::new());
            }
            Err(e) => return Err(e),
        };
        let mut notices = Vec::new();
        for event in events {
            let Some(what) = what(event.mask) else { continue };
            notices.push(Notice {
                wd: event.wd.get_watch_descriptor_id(),
                what,
                is_dir: event.mask.contains(EventMask::ISDIR),
                cookie: event.cookie,
                name: event.name.unwrap_or_default().to_owned(),
            });
        }
        Ok(notices)
    }
}

fn what(mask: EventMask) -> Option<What> {
    let table = [
        (EventMask::Q_OVERFLOW, What::Overflow),
        (EventMask::IGNORED, What::Ignored),
        (EventMask::UNMOUNT, What::Unmount),
        (EventMask::CREATE, What::Create),
        (EventMask::MODIFY, What::Modify),
        (EventMask::CLOSE_WRITE, What::CloseWrite),
        (EventMask::ATTRIB, What::Attrib),
        (EventMask::DELETE, What::Delete),
        (EventMask::MOVED_FROM, What::MovedFrom),
        (EventMask::MOVED_TO, What::MovedTo),
        (EventMask::DELETE_SELF, What::DeleteSelf),
        (EventMask::MOVE_SELF, What::MoveSelf),
    ];
    table.into_iter().find(|(bit, _)| mask.contains(*bit)).map(|(_, what)| what)
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::thread;

    #[test]
    fn no_event_is_lost_while_a_watch_is_added_again() {
        // Three events each, which is fewer than any queue holds.
        const FILES: usize = 5_000;
        let dir = tempfile::tempdir().unwrap();
        let mut queue = Queue::new(create().unwrap());
        let wd = queue.add(dir.path(), true).unwrap();
        let writer = {
            let dir = dir.path().to_owned();
            thread::spawn(move || {
                for n in 0..FILES {
                    let path = dir.join(n.to_string());
                    drop(File::create(&path).unwrap());
                    fs::remove_file(path).unwrap();
                }
            })
        };
        let (mut created, mut deleted) = (0, 0);
        loop {
            let over = writer.is_finished();
            for _ in 0..20 {
                assert_eq!(queue.add(dir.path(), true).unwrap(), wd);
            }
            let notices = queue.read().unwrap();
            if over && notices.is_empty() {
                break;
            }
            created += notices.iter().filter(|n| n.what == What::Create).count();
            deleted += notices.iter().filter(|n| n.what == What::Delete).count();
        }
        assert_eq!((created, deleted), (FILES, FILES));
    }
}
