//! Before a pusher works: its lock, its journal.

use super::run::ROOT_RETRY;
use super::step::rules_prefix;
use super::voice::Control;
use crate::journal::{Journal, JournalError};
use crate::message::{FromPusher, PusherStart};
use crate::path::pusher_lock;
use crate::sys::lock::{self, Lock};
use crate::sys::process;
use slog::{Logger, warn};
use std::time::Duration;

/// Takes this pusher's lock. An orphaned rsync of a dead predecessor holds it: it is ended (rule 2).
pub(super) fn take_lock(
    start: &PusherStart,
    control: &mut Control,
) -> Result<&'static Lock, String> {
    let file = start.state_dir.join(pusher_lock(&start.remote.name()));
    let mut tries = 0u32;
    loop {
        match lock::take(&file, true) {
            Ok(Some(lock)) => {
                remove_rules(start);
                // Held for life, and by an rsync that outlives this process.
                return Ok(Box::leak(Box::new(lock)));
            }
            Ok(None) => {}
            Err(e) => return Err(format!("{}: {e}", file.display())),
        }
        tries += 1;
        if tries.is_multiple_of(10) {
            let real = file.canonicalize().unwrap_or_else(|_| file.clone());
            process::holders(&real).into_iter().for_each(process::kill_pid);
            control.send(&FromPusher::Alive, vec![]).map_err(|e| e.to_string())?;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(super) fn open_journal(
    start: &PusherStart,
    control: &mut Control,
    logger: &Logger,
) -> Result<Journal, String> {
    let mut said = false;
    loop {
        match Journal::open(&start.state_dir) {
            Ok(journal) => return Ok(journal),
            Err(JournalError::Damaged(why)) => {
                let _ = control.send(&FromPusher::Damaged(why.clone()), vec![]);
                return Err(format!("the journal is damaged: {why}"));
            }
            Err(JournalError::Refused(why)) => {
                if !said {
                    warn!(logger, "the journal cannot be opened"; "why" => why);
                    said = true;
                }
                control.send(&FromPusher::Alive, vec![]).map_err(|e| e.to_string())?;
                std::thread::sleep(ROOT_RETRY);
            }
        }
    }
}

/// A killed predecessor leaves its rules files behind.
fn remove_rules(start: &PusherStart) {
    let prefix = rules_prefix(&start.remote.name());
    for entry in std::fs::read_dir(&start.state_dir).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()) {
            // It is gone already, or stays as it is: it does no harm.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
