//! The start of the process: the lock, the journal, then the loop.

use super::privileges::Privileges;
use super::service::{Control, Service, refusal};
use crate::filter::Filter;
use crate::journal::{Journal, JournalError};
use crate::message::{ALIVE_EVERY_MS, FromWatcher, ToWatcher, WatcherStart, WatcherState};
use crate::sys::begin::{Begun, begin, cannot_start};
use crate::sys::channel::Received;
use crate::sys::lock::Lock;
use crate::sys::poll::{Interest, wait};
use crate::sys::signals::Signals;
use crate::sys::{lock, log};
use slog::{Logger, crit, error, o, warn};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// The name of the lock in a localpath's state directory. The watcher holds this lock for its whole life.
pub const LOCK_NAME: &str = "watcher.lock";

/// Runs the process until the supervisor requests a stop or is gone. The exit status is 0 after an orderly stop,
/// otherwise 1.
pub fn run(channel: OwnedFd) -> i32 {
    let Some(Begun { control, signals, start, fds }) = begin("watcher", channel, start_of) else {
        return 1;
    };
    match Privileges::limit(&start, &logger(&start)) {
        Ok(privileges) => serve(control, Some(signals), start, fds, privileges),
        Err(why) => {
            cannot_start("watcher", &format!("cannot give up privileges: {why}"));
            1
        }
    }
}

fn logger(start: &WatcherStart) -> Logger {
    log::logger(start.debug)
        .new(o!("role" => "watcher", "localpath" => start.localpath.watch.to_string()))
}

pub(super) fn start_of(message: ToWatcher) -> Option<Box<WatcherStart>> {
    match message {
        ToWatcher::Start(start) => Some(start),
        _ => None,
    }
}

/// Runs the process. Tests pass no signals.
pub(super) fn serve(
    mut channel: Control,
    signals: Option<Signals>,
    start: Box<WatcherStart>,
    fds: Vec<OwnedFd>,
    privileges: Privileges,
) -> i32 {
    let log = logger(&start);
    let filter = match Filter::new(&start.localpath.filter) {
        Ok(filter) => filter,
        Err(errors) => {
            errors.iter().for_each(|e| crit!(log, "bad filter rule"; "error" => &e.text));
            return 1;
        }
    };
    let Some(lock) = take_lock(&mut channel, &start, &log) else { return 1 };
    let journal = match open_journal(&mut channel, &start, &log) {
        Some(journal) => journal,
        None => return 1,
    };
    let served = Service::new(channel, signals, *start, fds, filter, journal, log.clone())
        .and_then(|service| service.with(privileges).serve());
    drop(lock);
    match served {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(error) => {
            crit!(log, "the watcher exits after an error"; "error" => %error);
            1
        }
    }
}

/// Waits until `ready` returns a value, and reports that the process is alive. Returns `None` if the supervisor is gone
/// or requests a stop meanwhile.
fn wait_alive<T>(
    channel: &mut Control,
    every: Duration,
    mut ready: impl FnMut(&mut Control) -> Option<T>,
) -> Option<T> {
    let mut said = Instant::now();
    loop {
        if let Some(value) = ready(channel) {
            return Some(value);
        }
        wait(&[(channel.as_fd(), Interest::Read)], Some(every)).ok()?;
        match channel.receive() {
            Ok(Received::Message(ToWatcher::Stop | ToWatcher::Last, _) | Received::Closed)
            | Err(_) => return None,
            // A wake is of no use yet, because the pushers read the journal when they start.
            Ok(Received::Message(..) | Received::Nothing) => {}
        }
        if said.elapsed() >= Duration::from_millis(ALIVE_EVERY_MS / 2) {
            said = Instant::now();
            channel.send(&FromWatcher::Alive, Vec::new()).ok()?;
        }
    }
}

/// Rule 2: one watcher at a time. A predecessor that is being stopped still holds the lock for a moment.
fn take_lock(channel: &mut Control, start: &WatcherStart, log: &Logger) -> Option<Lock> {
    let path = start.state_dir.join(LOCK_NAME);
    let mut said = false;
    wait_alive(channel, Duration::from_millis(20), |_| match lock::take(&path, false) {
        Ok(lock) => lock,
        Err(error) => {
            if !std::mem::replace(&mut said, true) {
                error!(log, "cannot lock"; "path" => %path.display(), "error" => %error);
            }
            None
        }
    })
}

fn open_journal(channel: &mut Control, start: &WatcherStart, log: &Logger) -> Option<Journal> {
    let (mut said, mut damaged) = (false, None);
    let opened = wait_alive(channel, Duration::from_millis(500), |channel| {
        match Journal::open(&start.state_dir) {
            Ok(journal) => Some(Some(journal)),
            Err(JournalError::Damaged(why)) => {
                damaged = Some(why);
                Some(None)
            }
            Err(JournalError::Refused(why)) => {
                if !std::mem::replace(&mut said, true) {
                    warn!(log, "cannot open the journal; trying again"; "error" => &why);
                    let state = WatcherState::Refused(refusal(&start.state_dir, &why));
                    // If the supervisor is gone, the next read of the channel reports it.
                    let _ = channel.send(&FromWatcher::State(state), Vec::new());
                }
                None
            }
        }
    });
    if let Some(why) = damaged {
        error!(log, "the journal is damaged"; "error" => &why);
        // The supervisor sets the journal aside. If it is gone, the next supervisor finds the same damage.
        let _ = channel.send(&FromWatcher::Damaged(why), Vec::new());
    }
    opened.flatten()
}
