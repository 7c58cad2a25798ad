//! A push: one batch of marked paths, made equal on the remote by one rsync after another.
//!
//! This is the only code that changes a remote. What is done with a path is decided by what is there at the moment
//! of the push, never by what was marked.

use super::batch::{self, Limits, Plan};
use super::desk::{Desk, RootLook, Stuck};
use super::flight::{Flight, Landed};
use super::itemize::ChangeKind;
use super::ledger::{Findings, Ledger, Times};
use super::outcome::{Judgement, Verdict};
use super::rsync;
use super::step::{self, Step};
use crate::journal::{Events, Scope, Settlement, Totals};
use crate::path::RelPath;
use crate::seen::Kind;
use crate::sys::clock;
use crate::sys::files::Root;
use slog::debug;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io;
use std::time::Duration;

/// Plans of one batch that vanishing files may upset before the rest is left for later.
const REPLANS: u32 = 3;
/// An rsync that has not moved for this long may wait for somebody to open a fifo.
const BLOCKED_AFTER: Duration = Duration::from_secs(2);
/// The longest wait before a failed path is pushed again, when no `failLog` says otherwise.
const RETRY_MOST_MS: i64 = 300_000;

/// Which paths a push takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// All but large files.
    Small,
    /// One large file.
    Large,
}

/// A batch being pushed.
pub struct Push {
    lane: Lane,
    ledger: Ledger,
    root: Root,
    findings: Findings,
    steps: VecDeque<Step>,
    flight: Option<(Step, Aim, Flight)>,
    pushed: Totals,
    replans: u32,
    /// Regular files of the plan, with their mtimes.
    regular: BTreeMap<RelPath, i64>,
    blocked_looked: Duration,
    /// Names that the plan found absent.
    absent: Vec<RelPath>,
    /// The remote answered: an rsync of this push has ended well.
    answered: bool,
}

/// Why a step's rsync runs.
enum Aim {
    /// To do what the step says.
    Do,
    /// Once more with `-n`, after a partial end: what still differs has failed.
    Verify(Landed),
}

/// How a push goes on.
pub enum Progress {
    /// An rsync runs.
    Running,
    /// Every path is accounted for: write this.
    Done(Settlement),
    /// The remote, not a path, is the reason: nothing is settled.
    Remote(Judgement),
}

impl Push {
    /// Plans a batch and starts its first rsync. `deferred` paths are touched by another push in flight.
    pub fn start(
        desk: &mut Desk,
        lane: Lane,
        ledger: Ledger,
        deferred: HashSet<RelPath>,
        now: Duration,
    ) -> Result<(Push, Progress), Stuck> {
        let mut push = Push {
            lane,
            ledger,
            root: desk.open_root()?,
            findings: Findings { deferred, ..Findings::default() },
            steps: VecDeque::new(),
            flight: None,
            pushed: Totals::default(),
            replans: 0,
            answered: false,
            regular: BTreeMap::new(),
            blocked_looked: Duration::ZERO,
            absent: Vec::new(),
        };
        push.plan(desk)?;
        let progress = push.next(desk, now)?;
        Ok((push, progress))
    }

    /// The paths in hand.
    pub fn paths(&self) -> impl Iterator<Item = &RelPath> {
        self.ledger.items.iter().map(|item| &item.path)
    }

    /// The last mark of the batch.
    pub fn cursor(&self) -> Option<i64> {
        self.ledger.cursor
    }

    /// What is written when the end of this push was not seen.
    pub fn unseen(&self) -> Settlement {
        self.ledger.unseen()
    }

    /// How long the rsync in flight has not moved.
    pub fn stalled(&self, now: Duration) -> Duration {
        self.flight.as_ref().map_or(Duration::ZERO, |(_, _, flight)| flight.stalled(now))
    }

    /// Ends the rsync in flight.
    pub fn kill(&mut self) {
        if let Some((_, _, flight)) = &mut self.flight {
            // Gone already: as wished.
            let _ = flight.kill();
        }
    }

    /// Looks at the rsync in flight and goes on when it has ended.
    pub fn advance(&mut self, desk: &mut Desk, now: Duration) -> Result<Progress, Stuck> {
        let Some((step, aim, mut flight)) = self.flight.take() else { return self.next(desk, now) };
        let Some(exited) = flight.ended(now).map_err(broken)? else {
            if flight.stalled(now) >= BLOCKED_AFTER && self.is_blocked(now) {
                debug!(desk.log, "a file became a fifo under rsync's eyes");
                flight.kill().map_err(broken)?;
                self.ledger.again();
                return self.unsteady(desk, &step, now);
            }
            self.flight = Some((step, aim, flight));
            return Ok(Progress::Running);
        };
        let landed = flight.land(exited).map_err(broken)?;
        debug!(desk.log, "rsync ended"; "how" => exited.to_string(), "words" => &landed.judgement.words);
        match aim {
            Aim::Do => self.judge(desk, step, landed, now),
            Aim::Verify(first) => self.verified(desk, &step, &first, landed, now),
        }
    }

    /// rsync opens a name that it has seen as a file; when that is a fifo by now, it waits for ever.
    fn is_blocked(&mut self, now: Duration) -> bool {
        if now.saturating_sub(self.blocked_looked) < Duration::from_secs(1) {
            return false;
        }
        self.blocked_looked = now;
        let other = |path| self.root.lstat(path).is_ok_and(|seen| seen.kind == Kind::Other);
        self.regular.keys().any(other)
    }

    /// The step was upset by changes: the batch is planned anew, or, after some times, what the step was to do comes
    /// again soon.
    fn unsteady(&mut self, desk: &Desk, step: &Step, now: Duration) -> Result<Progress, Stuck> {
        if self.replans < REPLANS {
            self.replans += 1;
            self.plan(desk)?;
        } else {
            self.findings.unsteady.extend(step.names());
        }
        self.next(desk, now)
    }

    fn plan(&mut self, desk: &Desk) -> Result<(), Stuck> {
        let look = RootLook::new(&self.root, desk.journal.mounts()?);
        let large = match self.lane {
            Lane::Small => desk.start.localpath.large_file_bytes,
            Lane::Large => u64::MAX,
        };
        let deferred = &self.findings.deferred;
        let rows = self.ledger.items.iter().filter(|item| !deferred.contains(&item.path));
        let rows = rows.map(|item| batch::Marked {
            path: item.path.clone(),
            scope: item.scope,
            // It failed: perhaps on a directory there that nobody here knows of.
            events: if item.attempts > 0 { item.events | Events::DIR } else { item.events },
        });
        let limits = Limits { large, delete: desk.delete() };
        let plan =
            batch::plan(rows, &look, limits, |path, is_dir| desk.filter.excludes(path, is_dir));
        self.steps = step::steps(desk, &plan)?;
        self.find(plan);
        Ok(())
    }

    /// Takes what the plan found about its paths.
    fn find(&mut self, plan: Plan) {
        let children: HashSet<&RelPath> = plan.children.iter().collect();
        let wide = |path: &RelPath| {
            plan.tree.iter().any(|top| path.is_within(top)) || children.contains(path)
        };
        let words = |errno| format!("cannot look at it: {}", io::Error::from_raw_os_error(errno));
        let items = self.ledger.items.iter();
        self.findings.wide = items
            .filter(|item| match item.scope {
                Scope::Entry => children.contains(&item.path),
                Scope::Children | Scope::Tree => wide(&item.path),
            })
            .map(|item| (item.path.clone(), item.scope.max(Scope::Children)))
            .collect();
        self.findings.failed =
            plan.failed.into_iter().map(|(path, errno)| (path, words(errno))).collect();
        self.findings.replaced = plan.replaced;
        self.regular = plan.regular;
        self.absent = plan.absent.into_iter().map(|absent| absent.path).collect();
        self.findings.large = plan.large.into_iter().map(|large| large.path).collect();
    }

    /// Starts the next step, or ends the push.
    fn next(&mut self, desk: &Desk, now: Duration) -> Result<Progress, Stuck> {
        let Some(step) = self.steps.pop_front() else {
            return Ok(Progress::Done(self.settlement(desk)));
        };
        self.fly(desk, step, Aim::Do, now)
    }

    fn fly(&mut self, desk: &Desk, step: Step, aim: Aim, now: Duration) -> Result<Progress, Stuck> {
        let rsync = step.start(desk, &self.root, matches!(aim, Aim::Verify(_)))?;
        let flight = Flight::new(rsync, desk.start.remote.timeout_s, now)
            .reading(step.bytes_by_content(&self.root));
        self.flight = Some((step, aim, flight));
        Ok(Progress::Running)
    }

    /// What the end of a step means.
    fn judge(
        &mut self,
        desk: &mut Desk,
        step: Step,
        landed: Landed,
        now: Duration,
    ) -> Result<Progress, Stuck> {
        match landed.judgement.verdict {
            Verdict::Settled => self.stepped(desk, step, landed, now),
            Verdict::Partial if step.looks() => {
                self.fail(step.names(), &landed);
                self.next(desk, now)
            }
            Verdict::Partial => self.fly(desk, step, Aim::Verify(landed), now),
            Verdict::Gone | Verdict::Upset => self.unsteady(desk, &step, now),
            Verdict::FormB if !desk.row.form_b => {
                desk.remember_form_b()?;
                self.plan(desk)?;
                self.next(desk, now)
            }
            Verdict::Source => Err(Stuck::Root(landed.judgement.words)),
            Verdict::FormB | Verdict::NoDelete | Verdict::Configuration | Verdict::Remote(_) => {
                Ok(Progress::Remote(landed.judgement))
            }
        }
    }

    /// A step went well.
    fn stepped(
        &mut self,
        desk: &mut Desk,
        step: Step,
        mut landed: Landed,
        now: Duration,
    ) -> Result<Progress, Stuck> {
        self.answered = true;
        let mut deleted = Vec::new();
        let report = landed
            .read(|change| {
                if change.kind == ChangeKind::Deleted {
                    deleted.push((change.path, change.is_dir));
                }
            })
            .map_err(broken)?;
        let names: HashSet<RelPath> = step.names().into_iter().collect();
        if step.looks() {
            deleted.retain(|(path, _)| path.prefixes().any(|prefix| names.contains(&prefix)));
            if let Step::Way { names } = step {
                self.make_way(desk, names, &deleted);
                return self.next(desk, now);
            }
            let goes = step::deletable(&deleted, |path, is_dir| desk.filter.excludes(path, is_dir));
            self.delete(desk, goes, step::parents(&names))?;
            return self.next(desk, now);
        }
        let ignored = report.not_regular.iter().filter(|path| names.contains(*path));
        if !desk.form_b() && ignored.clone().any(|path| self.root.lstat(path).is_err()) {
            // The slave's `refuse options` made rsync ignore an absent name, with exit 0.
            desk.remember_form_b()?;
            self.plan(desk)?;
            return self.next(desk, now);
        }
        self.pushed.files += report.totals.transferred;
        self.pushed.bytes += report.totals.transferred_bytes;
        self.pushed.deleted += deleted.len() as u64;
        for (path, words) in desk.complaints(&landed.stderr) {
            self.findings.failed.insert(path, words);
        }
        if report.deletions_skipped || report.not_empty.iter().any(|path| names.contains(path)) {
            // Looked at in a second run: what is still there has failed.
            return self.fly(desk, step, Aim::Verify(landed), now);
        }
        self.next(desk, now)
    }

    /// The dry run after a partial end: what it still prints has failed, with rsync's words; the rest is settled.
    fn verified(
        &mut self,
        desk: &Desk,
        step: &Step,
        first: &Landed,
        mut again: Landed,
        now: Duration,
    ) -> Result<Progress, Stuck> {
        match again.judgement.verdict {
            Verdict::Remote(_) | Verdict::Configuration => {
                return Ok(Progress::Remote(again.judgement));
            }
            Verdict::Source => return Err(Stuck::Root(again.judgement.words)),
            Verdict::Upset | Verdict::FormB | Verdict::NoDelete => {
                // It ended before it had looked at everything.
                self.findings.unsteady.extend(step.names());
                return self.next(desk, now);
            }
            Verdict::Settled | Verdict::Partial | Verdict::Gone => {}
        }
        self.answered = true;
        let names: HashSet<RelPath> = step.names().into_iter().collect();
        let words = &first.judgement.words;
        let known: HashMap<RelPath, String> = desk.complaints(&first.stderr).into_iter().collect();
        let failed = &mut self.findings.failed;
        let mut fail = |path: &RelPath| {
            let words = known.get(path).unwrap_or(words);
            failed.insert(
                path.clone(),
                if words.is_empty() { "not done".into() } else { words.clone() },
            );
        };
        again
            .read(|change| {
                // A deletion below a name that was to go: the name has failed.
                if let Some(name) = change.path.prefixes().find(|prefix| names.contains(prefix))
                    && (change.kind == ChangeKind::Deleted || name == change.path)
                {
                    fail(&name);
                }
            })
            .map_err(broken)?;
        // What rsync cannot even read shows in no dry run.
        known.keys().filter(|path| names.contains(*path)).for_each(&mut fail);
        self.next(desk, now)
    }

    /// Sends names that take the place of directories, except where that would delete what is excluded.
    fn make_way(&mut self, desk: &Desk, names: Vec<RelPath>, deleted: &[(RelPath, bool)]) {
        let kept = deleted.iter().filter(|(path, is_dir)| desk.filter.excludes(path, *is_dir));
        let kept: HashSet<RelPath> = kept.flat_map(|(path, _)| path.prefixes()).collect();
        let (stuck, free): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| kept.contains(name));
        let words = || "a directory there holds what the filter excludes, and stays".to_owned();
        self.findings.failed.extend(stuck.into_iter().map(|name| (name, words())));
        if let Some(step) = step::send(free, true, true) {
            self.steps.push_front(step);
        }
    }

    /// Deletes names that a look found, next. What no rule can name fails: it would stay without a word.
    fn delete(
        &mut self,
        desk: &Desk,
        names: Vec<RelPath>,
        from: Vec<RelPath>,
    ) -> Result<(), Stuck> {
        let (long, names): (Vec<_>, Vec<_>) =
            names.into_iter().partition(rsync::too_long_for_a_rule);
        let words = || "the path is too long for a filter rule of rsync".to_owned();
        self.findings.failed.extend(long.into_iter().map(|path| (path, words())));
        if !names.is_empty() {
            self.steps.push_front(step::delete(desk, names, from)?);
        }
        Ok(())
    }

    fn fail(&mut self, names: Vec<RelPath>, landed: &Landed) {
        let words = &landed.judgement.words;
        self.findings.failed.extend(names.into_iter().map(|name| (name, words.clone())));
    }

    fn settlement(&mut self, desk: &Desk) -> Settlement {
        let set = |(path, planned): &(RelPath, i64)| {
            self.root.lstat(path).is_ok_and(|seen| batch::set_meanwhile(*planned, &seen))
        };
        let regular = std::mem::take(&mut self.regular);
        self.findings.unproven = regular.into_iter().filter(set).map(|(path, _)| path).collect();
        let dir = |path: &RelPath| self.root.lstat(path).is_ok_and(|seen| seen.kind == Kind::Dir);
        self.findings.reborn =
            std::mem::take(&mut self.absent).into_iter().filter(|path| dir(path)).collect();
        let now_ms = clock::wall_ms();
        let minutes =
            desk.start.localpath.fail_log.as_ref().map(|log| i64::from(log.retry_minutes));
        let times = Times {
            now_ms,
            echo_ms: now_ms + i64::from(desk.start.remote.timeout_s) * 1_000,
            retry_most_ms: minutes.map_or(RETRY_MOST_MS, |minutes| minutes * 60_000),
        };
        let mut end = std::mem::take(&mut self.ledger).settle(&self.findings, self.pushed, times);
        end.success = self.answered;
        end
    }
}

fn broken(error: io::Error) -> Stuck {
    Stuck::System(format!("rsync: {error}"))
}
