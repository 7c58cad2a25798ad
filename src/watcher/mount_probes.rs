//! Probes file systems below the localpath, before the watcher touches anything on them, to find out whether they
//! answer.

use crate::path::RelPath;
use crate::sys::clock;
use crate::sys::mounts::MayHang;
use crate::sys::process::Question;
use crate::watcher::mount_health::MountHealth;
use slog::{Logger, info, warn};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// The probes in progress, and what is known.
#[derive(Default)]
pub struct MountProbes {
    /// `None` if there is no mount table, or before it is opened.
    table: Option<MayHang>,
    health: MountHealth,
    probes: HashMap<RelPath, Question>,
    /// The file systems that were reported as unresponsive.
    unresponsive: BTreeSet<RelPath>,
}

impl MountProbes {
    /// Probes file systems that are due, and reads the answers.
    pub fn probe(&mut self, watch: &Path, log: &Logger) {
        let now = clock::boot();
        let heard = self.probes.extract_if(|_, question| question.is_answered());
        for (path, _) in heard.collect::<Vec<_>>() {
            self.health.answered(&path, now);
        }
        if self.table.is_none() {
            self.table = MayHang::open().ok();
        }
        let Some(Ok(mounted)) = self.table.as_mut().map(|table| table.below(watch)) else { return };
        self.probes.retain(|path, _| mounted.contains(path));
        for path in self.health.due(&mounted, now) {
            match Question::ask(&path.below(watch)) {
                Ok(question) => drop(self.probes.insert(path, question)),
                // It cannot be probed, so it counts as answering.
                Err(_) => self.health.answered(&path, now),
            }
        }
        let unresponsive = self.health.unresponsive();
        for path in unresponsive.difference(&self.unresponsive) {
            warn!(log, "a file system does not answer; pushing and deleting nothing there until it does";
                "mount_point" => %path);
        }
        for path in self.unresponsive.difference(&unresponsive) {
            info!(log, "the file system answers again, or was unmounted"; "mount_point" => %path);
        }
        self.unresponsive = unresponsive;
    }

    /// True if there is no file system that must be probed.
    pub fn is_quiet(&self) -> bool {
        self.health.is_empty()
    }

    /// True while a file system may still answer for the first time.
    pub fn first_awaited(&self) -> bool {
        self.health.awaits_first()
    }

    /// The mount points of file systems that must not be touched.
    pub fn avoided(&self) -> BTreeSet<RelPath> {
        self.health.avoided()
    }

    /// Names the file systems that do not answer, and what that means.
    pub fn why(&self) -> Option<String> {
        let unresponsive: Vec<String> = self.unresponsive.iter().map(ToString::to_string).collect();
        let verb = if unresponsive.len() == 1 { "does" } else { "do" };
        let why = format!(
            "{} {verb} not answer, so nothing is pushed or deleted there, and no directory above is compared; this ends when the file system answers, or is unmounted",
            unresponsive.join(", ")
        );
        (!unresponsive.is_empty()).then_some(why)
    }
}
