//! Asks file systems below the localpath whether they answer, before anything there is touched.

use crate::path::RelPath;
use crate::sys::process::Question;
use crate::sys::{clock, mounts};
use crate::watcher::silent::Silent;
use slog::{Logger, info, warn};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// What is asked, and what is known.
#[derive(Default)]
pub struct Answers {
    silent: Silent,
    asked: HashMap<RelPath, Question>,
    /// Those that were said not to answer.
    dead: BTreeSet<RelPath>,
}

impl Answers {
    /// Asks those that are due, and hears what has come.
    pub fn ask(&mut self, watch: &Path, log: &Logger) {
        let now = clock::boot();
        let heard = self.asked.extract_if(|_, question| question.is_answered());
        for (path, _) in heard.collect::<Vec<_>>() {
            self.silent.answered(&path, now);
        }
        let Ok(mounted) = mounts::that_may_hang(watch) else { return };
        self.asked.retain(|path, _| mounted.contains(path));
        for path in self.silent.ask(&mounted, now) {
            match Question::ask(&path.below(watch)) {
                Ok(question) => drop(self.asked.insert(path, question)),
                // It cannot be asked: taken as it is.
                Err(_) => self.silent.answered(&path, now),
            }
        }
        let dead = self.silent.dead();
        for path in dead.difference(&self.dead) {
            warn!(log, "a file system does not answer; nothing is pushed or deleted there until it does";
                "mount_point" => %path);
        }
        for path in self.dead.difference(&dead) {
            info!(log, "it answers again, or is unmounted"; "mount_point" => %path);
        }
        self.dead = dead;
    }

    /// True while one may still answer for the first time.
    pub fn are_awaited(&self) -> bool {
        self.silent.waits()
    }

    /// Those that must not be touched.
    pub fn avoided(&self) -> BTreeSet<RelPath> {
        self.silent.avoided()
    }

    /// Which do not answer, and what that means.
    pub fn why(&self) -> Option<String> {
        let dead: Vec<String> = self.dead.iter().map(ToString::to_string).collect();
        let verb = if dead.len() == 1 { "does" } else { "do" };
        let why = format!(
            "{} {verb} not answer, so nothing is pushed or deleted there, and no directory above is compared; \
             it goes on when the file system there answers, or is unmounted",
            dead.join(", ")
        );
        (!dead.is_empty()).then_some(why)
    }
}
