//! The scrub (`verify_schedule`) compares one part of the tree after another, while pushes run. [`plan`] makes its
//! decisions, `part` compares, and `turn` is its part of the loop.
//!
//! It pushes nothing and gives way to every other job. A part begins only if there is nothing else to do, or if it has
//! waited for a minute. It uses a spare slot, which it returns as soon as a push needs it.

mod part;
mod plan;
mod turn;

use super::rsyncing::Rsyncing;
use crate::config::model::VerifySchedule;
use crate::journal::{Compared, JournalError, VerifyRun, VerifyState};
use crate::message::{self, VerifyProgress};
use crate::path::RelPath;
use crate::pusher::context::Context;
use crate::pusher::slot::{Returned, Slot};
use crate::pusher::walk;
use crate::stat::Kind;
use crate::sys::clock;
use crate::sys::files::{Name, Root};
use chrono::Local;
use part::Comparing;
use plan::{Entry, Part, Planner, Tree};
use std::ffi::OsString;
use std::time::Duration;
pub use turn::News;

/// The scrub of this remote.
pub struct Scrub {
    schedule: VerifySchedule,
    state: VerifyState,
    due_ms: Option<i64>,
    planner: Option<Planner>,
    stage: ScrubStage,
    /// When it began to look for the current part.
    began: Duration,
    /// No part begins before this time.
    not_before: Duration,
    ask_again: Duration,
    /// The spare slot, for which no push waits.
    spare: Option<Slot>,
    /// The spare slots that it has returned.
    spares: Returned,
    /// How many times the current part has failed, and how many times it gave way.
    tries: u32,
    yields: u32,
    /// When it has something to do.
    wake: Option<Duration>,
}

enum ScrubStage {
    /// There is no current part.
    Idle,
    /// The next part is known.
    Ready(Part),
    /// A part is being compared.
    Comparing(Box<Comparing>),
}

impl Rsyncing for Scrub {
    fn is_running(&self) -> bool {
        matches!(&self.stage, ScrubStage::Comparing(work) if work.is_running())
    }

    fn idles(&self, now: Duration) -> bool {
        match &self.stage {
            ScrubStage::Comparing(work) => work.idles(now),
            ScrubStage::Idle | ScrubStage::Ready(_) => false,
        }
    }

    /// No job waits for it.
    fn poll_after(&self) -> Option<Duration> {
        None
    }

    fn kill(&mut self) {
        if let ScrubStage::Comparing(work) = &mut self.stage {
            work.kill();
        }
    }
}

impl Scrub {
    /// The scrub as the journal has it. Without a schedule there is none, and an old state is deleted.
    pub fn new(context: &mut Context, now: Duration) -> Result<Option<Scrub>, JournalError> {
        let (name, old) = (context.name.clone(), context.journal.verify_state(&context.name)?);
        let Some(schedule) = context.start.localpath.verify_schedule.clone() else {
            if old.is_some() {
                context.journal.set_verify_state(&name, None)?;
            }
            return Ok(None);
        };
        let now_ms = clock::wall_ms();
        let fresh = old.is_none();
        let mut state = old.unwrap_or_else(|| plan::first(&schedule, &name, now_ms));
        plan::resume(&schedule, &mut state, &name, now_ms, &Local);
        if fresh {
            context.journal.set_verify_state(&name, Some(&state))?;
        }
        let due_ms = plan::due(&schedule, &state, &name, &Local);
        Ok(Some(Scrub {
            schedule,
            state,
            due_ms,
            planner: None,
            stage: ScrubStage::Idle,
            began: now,
            not_before: now,
            ask_again: now,
            spare: None,
            spares: Returned::default(),
            tries: 0,
            yields: 0,
            wake: None,
        }))
    }

    /// The number of spare slots that it has returned since the last call.
    pub fn take_spares(&self) -> usize {
        self.spares.take().len()
    }

    /// These paths are being pushed while it compares.
    pub fn touch<'a>(&mut self, paths: impl IntoIterator<Item = &'a RelPath>) {
        if let ScrubStage::Comparing(work) = &mut self.stage {
            work.touch(paths);
        }
    }

    /// When it has something to do.
    pub fn wake(&self) -> Option<Duration> {
        self.wake
    }

    /// The progress, for `status`.
    pub fn progress(&self) -> VerifyProgress {
        let next_ms = self.due_ms.filter(|_| self.state.run.is_none());
        VerifyProgress {
            next_ms,
            run: self.state.run.as_ref().map(shown),
            last: self.state.last.as_ref().map(shown),
        }
    }

    /// Abandons the current part, and looks for it again after `wait` at the earliest.
    fn again(&mut self, wait: Duration, now: Duration) {
        self.kill();
        (self.stage, self.planner) = (ScrubStage::Idle, None);
        self.not_before = self.not_before.max(now + wait);
    }
}

fn shown(run: &VerifyRun) -> message::VerifyRun {
    let at = run.after.as_ref().map(|after| match after {
        Compared::Names(path) | Compared::Whole(path) => path.clone(),
    });
    message::VerifyRun {
        began_ms: run.began_ms,
        ended_ms: run.ended_ms,
        at,
        parts: run.parts,
        entries: run.entries,
        bytes: run.bytes,
        repaired: run.repaired,
        incomplete: run.incomplete,
    }
}

/// The tree below an open root.
struct Here<'a> {
    root: &'a Root,
    context: &'a Context,
}

impl Tree for Here<'_> {
    fn directories(&self, dir: &RelPath) -> Vec<OsString> {
        let names = walk::names(self.context, self.root, dir, usize::MAX)
            .into_iter()
            .filter(|(_, kind)| *kind == Kind::Dir);
        let names = names.map(|(name, _)| name.name);
        names.filter(|name| !self.context.filter.excludes(&dir.join(name), true)).collect()
    }

    fn entries(&self, dir: &RelPath, most: usize) -> Vec<Entry> {
        let size = |name: &Name, kind| match kind {
            Kind::File => self.root.lstat(&dir.join(&name.name)).map_or(0, |stat| stat.size),
            _ => 0,
        };
        let entry = |(name, kind): (Name, Kind)| Entry {
            bytes: size(&name, kind),
            dir: kind == Kind::Dir,
            name: name.name,
        };
        walk::names(self.context, self.root, dir, most).into_iter().map(entry).collect()
    }
}
