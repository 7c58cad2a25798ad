//! Asks file systems below the localpath whether they answer, before anything there is touched.

use super::*;
use crate::sys::mounts;
use crate::sys::process::Question;
use crate::watcher::silent::{Silent, WITHIN};
use std::collections::BTreeSet;

/// What is asked, and what is known.
#[derive(Default)]
pub(super) struct Answers {
    silent: Silent,
    asked: HashMap<RelPath, Question>,
    /// Those that were said not to answer.
    dead: BTreeSet<RelPath>,
}

impl Service {
    /// Before a walk: asks each, and waits a moment for those that were never asked.
    pub(super) fn ask_first(&mut self) {
        let until = clock::boot() + WITHIN;
        loop {
            self.ask();
            if !self.answers.silent.waits() || clock::boot() >= until + SECOND {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        for path in self.answers.silent.avoided() {
            self.walker.avoid(path);
        }
    }

    /// Asks those that are due, and hears what has come. What does not answer is let alone, and taken up again when it
    /// does.
    pub(super) fn look_at_answers(&mut self) {
        self.ask();
        let now = self.answers.silent.avoided();
        if now == *self.walker.avoided() || matches!(self.state, WatcherState::Held(_)) {
            return;
        }
        let mut batch = Batch::default();
        let mut ground =
            Ground::new(&self.queue, &self.watch, &mut self.map, &mut batch, &self.log);
        self.walker.avoid_only(now, &mut ground);
        // What is noted and marked goes with the next record.
        self.answers_batch = Some(batch);
    }

    fn ask(&mut self) {
        let now = clock::boot();
        let heard = self.answers.asked.extract_if(|_, question| question.is_answered());
        for (path, _) in heard.collect::<Vec<_>>() {
            self.answers.silent.answered(&path, now);
        }
        let Ok(mounted) = mounts::that_may_hang(&self.watch) else { return };
        self.answers.asked.retain(|path, _| mounted.contains(path));
        for path in self.answers.silent.ask(&mounted, now) {
            match Question::ask(&path.below(&self.watch)) {
                Ok(question) => drop(self.answers.asked.insert(path, question)),
                // It cannot be asked: taken as it is.
                Err(_) => self.answers.silent.answered(&path, now),
            }
        }
        let dead = self.answers.silent.dead();
        for path in dead.difference(&self.answers.dead) {
            warn!(self.log, "a file system does not answer; nothing is pushed or deleted there until it does";
                "mount_point" => %path);
        }
        for path in self.answers.dead.difference(&dead) {
            info!(self.log, "it answers again, or is unmounted"; "mount_point" => %path);
        }
        self.answers.dead = dead;
    }

    /// Which do not answer.
    pub(super) fn silent_why(&self) -> Option<String> {
        let dead: Vec<String> = self.answers.dead.iter().map(ToString::to_string).collect();
        let verb = if dead.len() == 1 { "does" } else { "do" };
        let why = format!(
            "{} {verb} not answer, so nothing is pushed or deleted there, and no directory above is compared; \
             it goes on when the file system there answers, or is unmounted",
            dead.join(", ")
        );
        (!dead.is_empty()).then_some(why)
    }

    /// lstat, but of nothing in a file system that does not answer.
    pub(super) fn lstat(&self, path: &RelPath) -> Option<Seen> {
        lstat(&self.walker, &self.watch, path)
    }
}

/// The same, apart.
pub(super) fn lstat(walker: &Walker, watch: &Path, path: &RelPath) -> Option<Seen> {
    if walker.avoids(path) { None } else { files::lstat(&path.below(watch)).ok() }
}
