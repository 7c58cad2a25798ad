//! Before the plugin runner works: its lock, its journal.

use super::run::Control;
use crate::journal::{Journal, JournalError};
use crate::message::{FromPlugin, PluginStart};
use crate::path::{PLUGIN_PART, plugin_fail_log_part};
use crate::sys::lock::{self, Lock};
use crate::sys::program;
use slog::{Logger, warn};
use std::path::Path;
use std::time::Duration;

/// How the traces of running commands are called in the state directory.
pub const TRACE: &str = "plugin-call-";

/// One plugin runner at a time; then the commands that a killed predecessor left running are ended, since their calls
/// are made again.
pub fn take_lock(dir: &Path, control: &mut Control) -> Result<Lock, String> {
    let file = dir.join("plugin.lock");
    let mut tries = 0u32;
    let lock = loop {
        match lock::take(&file, false) {
            Ok(Some(lock)) => break lock,
            Ok(None) => {}
            Err(e) => return Err(format!("{}: {e}", file.display())),
        }
        tries += 1;
        if tries.is_multiple_of(10) {
            control.send(&FromPlugin::Alive, vec![]).map_err(|e| e.to_string())?;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    program::end_orphans(dir, TRACE)
        .map_err(|e| format!("cannot end what a predecessor left running: {e}"))?;
    Ok(lock)
}

pub fn open_journal(
    start: &PluginStart,
    control: &mut Control,
    log: &Logger,
) -> Result<Journal, String> {
    // What plugins that are gone have left of the fail log.
    let ours: Vec<String> = start.names.iter().map(|n| plugin_fail_log_part(n)).collect();
    for entry in std::fs::read_dir(&start.state_dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(PLUGIN_PART) && !ours.contains(&name) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    let mut said = false;
    loop {
        let opened = Journal::open(&start.state_dir).and_then(|mut journal| {
            // The supervisor made them; after a damage they are made here.
            journal.set_plugins(&start.names)?;
            Ok(journal)
        });
        match opened {
            Ok(journal) => return Ok(journal),
            Err(JournalError::Damaged(why)) => {
                let _ = control.send(&FromPlugin::Damaged(why.clone()), vec![]);
                return Err(format!("the journal is damaged: {why}"));
            }
            Err(JournalError::Refused(why)) => {
                if !std::mem::replace(&mut said, true) {
                    warn!(log, "the journal cannot be opened"; "why" => why);
                }
                control.send(&FromPlugin::Alive, vec![]).map_err(|e| e.to_string())?;
                std::thread::sleep(Duration::from_secs(1));
            }
        }
    }
}
