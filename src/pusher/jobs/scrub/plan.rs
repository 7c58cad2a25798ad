//! Decisions of the scrub (`verify_schedule`): when a run begins, which part of the tree is next, how long to pause.
//! Pure: the tree and the time are given.
//!
//! A run walks the tree in the order of its names: first the names directly in a directory, then its subdirectories,
//! one after the other. A small directory is one part with everything below it, and small neighbours share a part. A
//! larger directory is divided in the same way. So the size of a part is bounded, except for the names directly in one
//! directory, and the position of a run is one path.

use crate::config::cron::{self, SPREAD_MAX, jitter, next_by_cron};
use crate::config::model::{VerifySchedule, VerifyWhen};
use crate::journal::{Compared, VerifyState};
use crate::path::RelPath;
use chrono::{DateTime, TimeZone};
use std::ffi::OsString;
use std::time::Duration;

/// The cost of one name, in bytes read.
const BYTES_A_NAME: u64 = 1 << 10;
/// The duration of a part at the rate.
const PART: Duration = Duration::from_secs(5);
/// The largest part without a rate.
const PART_BYTES: u64 = 1 << 30;
/// The largest number of names in one part, and of directories listed for it.
const PART_NAMES: u64 = 10_000;
const PART_DIRECTORIES: usize = 1_000;
/// A run by a cron expression that would be later than this is skipped.
const MISSED_MS: i64 = 3_600_000;
/// The delay after a part that failed, doubled each time.
const RETRY: Duration = Duration::from_secs(10);
const RETRY_MOST: Duration = Duration::from_secs(600);

/// The cost of a part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Names compared.
    pub names: u64,
    /// Bytes in them.
    pub bytes: u64,
}

impl Cost {
    /// The cost in bytes read. Content counts only if it is compared.
    pub fn units(self, checksum: bool) -> u64 {
        let content = if checksum { self.bytes } else { 0 };
        self.names.saturating_mul(BYTES_A_NAME).saturating_add(content)
    }
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, more: Cost) {
        self.names = self.names.saturating_add(more.names);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }
}

/// How large a part may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    names: u64,
    units: u64,
    checksum: bool,
}

impl Bound {
    /// The bound by the schedule, halved for each of the `times` that a part gave way to a push.
    pub fn new(schedule: &VerifySchedule, times: u32) -> Self {
        let units = schedule
            .rate
            .map_or(PART_BYTES, |rate| rate.saturating_mul(PART.as_secs()).min(PART_BYTES));
        let times = times.min(10);
        Self { names: PART_NAMES >> times, units: units >> times, checksum: schedule.checksum }
    }

    fn holds(self, cost: Cost) -> bool {
        cost.names <= self.names && cost.units(self.checksum) <= self.units
    }
}

/// A part of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The names directly in a directory.
    Names(RelPath),
    /// Neighbouring directories with everything below them. Never empty.
    Whole(Vec<RelPath>),
}

impl Part {
    /// The position of a run after this part.
    pub fn end(&self) -> Compared {
        match self {
            Part::Names(path) => Compared::Names(path.clone()),
            Part::Whole(paths) => Compared::Whole(paths.last().cloned().unwrap_or_default()),
        }
    }

    /// The directories it lists.
    pub fn directories(&self) -> &[RelPath] {
        match self {
            Part::Names(path) => std::slice::from_ref(path),
            Part::Whole(paths) => paths,
        }
    }

    /// True if a difference in `path` belongs to this part.
    pub fn holds(&self, path: &RelPath) -> bool {
        match self {
            // Names below an extra name are deleted with it, and belong to no other part.
            Part::Names(top) => path.is_within(top),
            Part::Whole(tops) => {
                let at = tops.partition_point(|top| top <= path);
                at > 0 && path.is_within(&tops[at - 1])
            }
        }
    }
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: OsString,
    /// It is a directory, not a link to one.
    pub dir: bool,
    /// The size of a regular file.
    pub bytes: u64,
}

/// The tree, as it is now.
pub trait Tree {
    /// The names of the replicated directories in `dir`. None if it is no longer a directory.
    fn directories(&self, dir: &RelPath) -> Vec<OsString>;
    /// The names of all kinds in `dir`, at most `most`.
    fn entries(&self, dir: &RelPath, most: usize) -> Vec<Entry>;
}

/// The result of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// One directory was read, and there are more to read.
    More,
    /// The next part.
    Part(Part),
    /// The run has reached the end of the tree.
    End,
}

/// Finds one part after the other. Each step reads one directory.
#[derive(Debug)]
pub struct Planner {
    bound: Bound,
    /// The directories from the root down to the position.
    levels: Vec<Level>,
    /// Neighbours that share a part so far, and their cost.
    group: (Vec<RelPath>, Cost),
    sizing: Option<Sizing>,
    /// The names in the root are the first part.
    begins: bool,
}

/// A directory whose subdirectories are parts.
#[derive(Debug)]
struct Level {
    dir: RelPath,
    /// Only names after this one.
    after: Option<OsString>,
    /// The remaining names, the next one last. `None` before they are read.
    names: Option<Vec<OsString>>,
}

/// A directory whose size is being determined.
#[derive(Debug)]
struct Sizing {
    top: RelPath,
    open: Vec<RelPath>,
    cost: Cost,
}

impl Level {
    fn new(dir: RelPath, after: Option<OsString>) -> Self {
        Self { dir, after, names: None }
    }
}

impl Planner {
    /// Continues after what was compared last, or begins at the root.
    pub fn new(after: Option<&Compared>, bound: Bound) -> Self {
        let mut levels = Vec::new();
        if let Some(Compared::Names(path) | Compared::Whole(path)) = after {
            let mut below = RelPath::root();
            for prefix in path.prefixes() {
                levels.push(Level::new(below, Some(prefix.name().to_owned())));
                below = prefix;
            }
        }
        if let Some(Compared::Names(path)) = after {
            levels.push(Level::new(path.clone(), None));
        }
        let begins = after.is_none();
        Self { bound, levels, group: Default::default(), sizing: None, begins }
    }

    /// Takes one step.
    pub fn step(&mut self, tree: &impl Tree) -> Step {
        if std::mem::take(&mut self.begins) {
            return self.apart(RelPath::root());
        }
        if let Some(sizing) = self.sizing.take() {
            return self.size(sizing, tree);
        }
        let Some(level) = self.levels.last_mut() else { return Step::End };
        let Some(names) = &mut level.names else {
            let mut names = tree.directories(&level.dir);
            names.retain(|name| level.after.as_ref().is_none_or(|after| name > after));
            names.sort_unstable_by(|a, b| b.cmp(a));
            level.names = Some(names);
            return Step::More;
        };
        match names.pop() {
            Some(name) => {
                let top = level.dir.join(&name);
                let open = vec![top.clone()];
                self.sizing = Some(Sizing { top, open, cost: Cost { names: 1, bytes: 0 } });
                Step::More
            }
            None => {
                self.levels.pop();
                self.take_group()
            }
        }
    }

    /// Reads one directory to determine the size of a tree.
    fn size(&mut self, mut sizing: Sizing, tree: &impl Tree) -> Step {
        if let Some(dir) = sizing.open.pop() {
            let most = self.bound.names.saturating_sub(sizing.cost.names).saturating_add(1);
            for entry in tree.entries(&dir, usize::try_from(most).unwrap_or(usize::MAX)) {
                sizing.cost += Cost { names: 1, bytes: entry.bytes };
                if entry.dir {
                    sizing.open.push(dir.join(&entry.name));
                }
            }
            if self.bound.holds(sizing.cost) {
                self.sizing = Some(sizing);
                return Step::More;
            }
            if !self.group.0.is_empty() {
                // The neighbours before it are a part. It is sized again after that.
                sizing.open.push(dir);
                self.sizing = Some(sizing);
                return self.take_group();
            }
            return self.apart(sizing.top);
        }
        let mut both = self.group.1;
        both += sizing.cost;
        if self.group.0.is_empty()
            || (self.bound.holds(both) && self.group.0.len() < PART_DIRECTORIES)
        {
            self.group.0.push(sizing.top);
            self.group.1 = both;
            return Step::More;
        }
        let full = std::mem::replace(&mut self.group, (vec![sizing.top], sizing.cost));
        Step::Part(Part::Whole(full.0))
    }

    fn take_group(&mut self) -> Step {
        let (paths, _) = std::mem::take(&mut self.group);
        if paths.is_empty() { Step::More } else { Step::Part(Part::Whole(paths)) }
    }

    /// Divides a directory: its names are a part, and its subdirectories follow.
    fn apart(&mut self, dir: RelPath) -> Step {
        self.levels.push(Level::new(dir.clone(), None));
        Step::Part(Part::Names(dir))
    }
}

/// When the next part may begin, after a part from `began` to `ended`. The cost is spread over the time by the rate,
/// and at least half of the time nothing is compared.
pub fn next_part(
    schedule: &VerifySchedule,
    cost: Cost,
    began: Duration,
    ended: Duration,
) -> Duration {
    let elapsed = ended.saturating_sub(began);
    let by_rate = schedule.rate.map_or(Duration::ZERO, |rate| {
        let units = cost.units(schedule.checksum);
        Duration::from_millis(units.saturating_mul(1_000) / rate.max(1))
    });
    began + by_rate.max(elapsed * 2)
}

/// The delay after a part has failed `times` times.
pub fn retry(times: u32) -> Duration {
    (RETRY * (1 << times.saturating_sub(1).min(10))).min(RETRY_MOST)
}

/// The state of a remote whose schedule is new at `now_ms`. The first run begins after one period.
pub fn first(schedule: &VerifySchedule, remote: &str, now_ms: i64) -> VerifyState {
    let spread = match schedule.when {
        VerifyWhen::Every(seconds) => jitter(Duration::from_secs(seconds), remote),
        // A cron expression has its own spread each time.
        VerifyWhen::Cron(_) => Duration::ZERO,
    };
    VerifyState { since_ms: now_ms + millis(spread), ..VerifyState::default() }
}

/// When the next run begins, in milliseconds since 1970. `None` if the expression never matches, which the
/// configuration refuses.
pub fn due<Tz: TimeZone>(
    schedule: &VerifySchedule,
    state: &VerifyState,
    remote: &str,
    zone: &Tz,
) -> Option<i64> {
    match &schedule.when {
        VerifyWhen::Every(seconds) => {
            Some(state.since_ms.saturating_add(millis(Duration::from_secs(*seconds))))
        }
        VerifyWhen::Cron(text) => {
            let since: DateTime<Tz> = zone.timestamp_millis_opt(state.since_ms).single()?;
            let at = next_by_cron(&cron::parse(text).ok()?, remote, &since)?;
            Some(at.timestamp_millis())
        }
    }
}

/// Corrects the time of the next run at a start, after the clock was set or after a long pause.
pub fn resume<Tz: TimeZone>(
    schedule: &VerifySchedule,
    state: &mut VerifyState,
    remote: &str,
    now_ms: i64,
    zone: &Tz,
) {
    if state.since_ms > now_ms + millis(SPREAD_MAX) {
        state.since_ms = now_ms;
    }
    let missed = |due: i64| now_ms - due > MISSED_MS;
    if matches!(schedule.when, VerifyWhen::Cron(_))
        && state.run.is_none()
        && due(schedule, state, remote, zone).is_some_and(missed)
    {
        state.since_ms = now_ms;
    }
}

/// The current run has ended. Returns true if the next one should already have begun.
pub fn ended<Tz: TimeZone>(
    schedule: &VerifySchedule,
    state: &mut VerifyState,
    remote: &str,
    now_ms: i64,
    zone: &Tz,
) -> bool {
    let Some(mut run) = state.run.take() else { return false };
    state.since_ms = run.began_ms;
    run.ended_ms = Some(now_ms);
    run.after = None;
    state.last = Some(run);
    let late = due(schedule, state, remote, zone).is_some_and(|due| due <= now_ms);
    if matches!(schedule.when, VerifyWhen::Cron(_)) {
        state.since_ms = now_ms;
    }
    late
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
