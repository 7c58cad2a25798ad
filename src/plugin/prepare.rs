//! What the plugin runner needs before it works: its lock and its journal.

use crate::journal::Journal;
use crate::message::{FromPlugin, PluginStart, ToPlugin};
use crate::path::{PLUGIN_PART, plugin_fail_log_part};
use crate::sys::begin::{self, wait_for_lock};
use crate::sys::channel::Channel;
use crate::sys::lock::Lock;
use crate::sys::program;
use slog::Logger;
use std::path::Path;

/// The runner's end of its control channel.
pub type Control = Channel<FromPlugin, ToPlugin>;

/// The name prefix of the traces of running commands in the state directory.
pub const TRACE: &str = "plugin-call-";

/// Takes the lock, so that only one plugin runner is at work. Then kills the commands that a killed predecessor left
/// running, because their calls are repeated.
pub fn take_lock(dir: &Path, control: &mut Control) -> Result<Lock, String> {
    let file = dir.join("plugin.lock");
    let lock = wait_for_lock(&file, false, || {
        control.send(&FromPlugin::Alive, vec![]).map_err(|e| e.to_string())
    })?;
    program::end_orphans(dir, TRACE)
        .map_err(|e| format!("cannot kill the programs that an earlier plugin runner left: {e}"))?;
    Ok(lock)
}

/// Opens the journal. Also returns the alarms that were sounded.
pub fn open_journal(
    start: &PluginStart,
    control: &mut Control,
    log: &Logger,
) -> Result<(Journal, Vec<(String, i64)>), String> {
    // Removes the fail log parts of plugins that are gone.
    let ours: Vec<String> = start.names.iter().map(|n| plugin_fail_log_part(n)).collect();
    for entry in std::fs::read_dir(&start.state_dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(PLUGIN_PART) && !ours.contains(&name) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
    let mut told = Vec::new();
    let journal =
        begin::open_journal(control, log, &FromPlugin::Alive, FromPlugin::Damaged, || {
            let mut journal = Journal::open(&start.state_dir)?;
            // The supervisor has created them. After a damaged journal, the plugin runner creates them.
            journal.set_plugins(&start.names)?;
            told = journal.alarms()?;
            Ok(journal)
        })?;
    Ok((journal, told))
}
