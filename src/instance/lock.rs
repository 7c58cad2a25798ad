//! The lock of a localpath. The supervisor that holds it uses the journal; while no supervisor holds it, a command may
//! use the journal.

use crate::error::{Error, Exit};
use crate::language::say;
use crate::sys::lock;
use crate::sys::process;
use std::path::Path;

/// The lock of a localpath in its state directory.
pub const LOCK_NAME: &str = "lock";

/// Another supervisor holds the lock.
pub fn taken(watch: &str, file: &Path) -> Error {
    let holders = process::lock_holders(file);
    let by = match (holders.iter().find(|h| !h.ours), lock::holder(file)) {
        (Some(other), _) => {
            let text = say!(
                "localpath {}: {} is locked by {}, which is not a supervisor; stop it, or choose another --state-dir",
                watch,
                file.display(),
                other
            );
            return Error::new(Exit::AlreadyRunning, text);
        }
        (None, pid) => pid.map_or(String::new(), |pid| say!(" by pid {}", pid)),
    };
    let text = say!(
        "localpath {}: another supervisor already replicates it ({} is locked{}); stop that one first (`syncsup stop -o ITS-FILE`), or take the localpath out of one of the configurations",
        watch,
        file.display(),
        by
    );
    Error::new(Exit::AlreadyRunning, text)
}
