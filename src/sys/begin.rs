//! How every child starts. It catches signals and receives its first message. Then it waits for its lock and its
//! journal.

use super::channel::{Channel, Received};
use super::lock::{self, Lock};
use super::signals::Signals;
use super::{log, poll};
use crate::journal::{Journal, JournalError};
use serde::{Serialize, de::DeserializeOwned};
use slog::{Logger, warn};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// The interval of the attempts to take a lock that a predecessor holds.
const LOCK_RETRY: Duration = Duration::from_millis(20);
/// Progress is reported once in this number of attempts.
const LOCK_TRIES: u32 = 10;
/// The delay before a journal that failed to open is opened again.
const JOURNAL_RETRY: Duration = Duration::from_secs(1);

/// What a child has after its start.
pub struct Begun<Out, In, Start> {
    /// Its end of the control channel.
    pub control: Channel<Out, In>,
    /// Its signals.
    pub signals: Signals,
    /// Its part of the configuration.
    pub start: Start,
    /// The descriptors that came with the configuration.
    pub fds: Vec<OwnedFd>,
}

/// Starts a child of this role whose control channel is `channel`. `pick` takes the start out of the first message, and
/// returns `None` for another message. The result is `None` when the child must exit; the reason has been logged.
pub fn begin<Out: Serialize, In: DeserializeOwned, Start>(
    role: &'static str,
    channel: OwnedFd,
    pick: impl FnOnce(In) -> Option<Start>,
) -> Option<Begun<Out, In, Start>> {
    let mut control = Channel::new(channel);
    let begun =
        Signals::catch().map_err(|e| format!("cannot catch signals: {e}")).and_then(|signals| {
            let (start, fds) = first_message(&mut control, pick)?;
            Ok((signals, start, fds))
        });
    match begun {
        Ok((signals, start, fds)) => Some(Begun { control, signals, start, fds }),
        Err(why) => {
            cannot_start(role, &why);
            None
        }
    }
}

/// Logs why a child of this role exits before it has started.
pub fn cannot_start(role: &'static str, why: &str) {
    slog::error!(log::logger(false), "cannot start"; "role" => role, "why" => why);
}

/// Waits for the first message: the start, and the descriptors that come with it. Errors are for people.
pub fn first_message<Out: Serialize, In: DeserializeOwned, Start>(
    control: &mut Channel<Out, In>,
    pick: impl FnOnce(In) -> Option<Start>,
) -> Result<(Start, Vec<OwnedFd>), String> {
    loop {
        match control.receive().map_err(|e| e.to_string())? {
            Received::Message(message, fds) => {
                let start = pick(message).ok_or("the first message was not a start message")?;
                return Ok((start, fds));
            }
            Received::Closed => return Err("the supervisor is gone".into()),
            Received::Nothing => {
                poll::wait(&[(control.as_fd(), poll::Interest::Read)], None)
                    .map_err(|e| e.to_string())?;
            }
        }
    }
}

/// Takes the lock `file` as [`lock::take`] does. A predecessor may still hold it. `waits` is called every 200 ms until
/// then, and an error from it ends the wait. Errors are for people.
pub fn wait_for_lock(
    file: &Path,
    inherit: bool,
    mut waits: impl FnMut() -> Result<(), String>,
) -> Result<Lock, String> {
    let mut tries = 0u32;
    loop {
        match lock::take(file, inherit) {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) => {}
            Err(e) => return Err(format!("{}: {e}", file.display())),
        }
        tries += 1;
        if tries.is_multiple_of(LOCK_TRIES) {
            waits()?;
        }
        std::thread::sleep(LOCK_RETRY);
    }
}

/// Opens the journal with `open`. Retries once a second while it fails, and reports `alive` meanwhile. If the journal
/// is `damaged`, the process reports it and exits, and the supervisor puts the journal into quarantine. Errors are for
/// people.
pub fn open_journal<Out: Serialize, In: DeserializeOwned>(
    control: &mut Channel<Out, In>,
    log: &Logger,
    alive: &Out,
    damaged: impl FnOnce(String) -> Out,
    mut open: impl FnMut() -> Result<Journal, JournalError>,
) -> Result<Journal, String> {
    let mut said = false;
    loop {
        match open() {
            Ok(journal) => return Ok(journal),
            Err(JournalError::Damaged(why)) => {
                let _ = control.send(&damaged(why.clone()), vec![]);
                return Err(format!("the journal is damaged: {why}"));
            }
            Err(JournalError::Refused(why)) => {
                if !std::mem::replace(&mut said, true) {
                    warn!(log, "the journal cannot be opened"; "why" => why);
                }
                control.send(alive, vec![]).map_err(|e| e.to_string())?;
                std::thread::sleep(JOURNAL_RETRY);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::channel::pair;
    use super::*;

    fn picked(send: impl FnOnce(Channel<Option<u8>, ()>)) -> Result<(u8, usize), String> {
        let (ours, theirs) = pair().unwrap();
        send(Channel::new(theirs));
        let mut control: Channel<(), Option<u8>> = Channel::new(ours);
        first_message(&mut control, |message| message).map(|(start, fds)| (start, fds.len()))
    }

    #[test]
    fn the_start_message_carries_its_descriptors() {
        let pipe = rustix::pipe::pipe().unwrap();
        let got = picked(|mut c| c.send(&Some(7), vec![pipe.0, pipe.1]).unwrap());
        assert_eq!(got, Ok((7, 2)));
    }

    #[test]
    fn an_unexpected_first_message_ends_the_process() {
        assert_eq!(picked(drop), Err("the supervisor is gone".into()));
        let other = picked(|mut c| c.send(&None, vec![]).unwrap());
        assert_eq!(other, Err("the first message was not a start message".into()));
    }
}
