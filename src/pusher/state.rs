//! Decides what a pusher does next: events in, actions out. Pure: the time is given.
//!
//! The loop ([`super::run`]) reads, calls [`State::step`], and carries the actions out in order. An action that has an
//! answer returns it as an event, which is handled before the next action. If an action fails, the rest are dropped:
//! the journal holds the remaining work, and the next turn begins by reading it.

use super::batch::{Aftermath, PARENTS_MOST};
use super::doubt::{self, Doubt, Names};
use super::health::{Health, MetBy, backoff};
use super::in_flight::{Comparison, InFlight, Job, Verification};
use super::job_error::LocalError;
use super::lane::Lane;
use super::pace::Pace;
use super::pending::Pending;
use super::phase::{Phase, StopCause};
use super::reach::Reach;
use super::reconcile::{Counted, Reconcile};
use super::scheduler::{Blocked, Scheduler, TurnView};
use super::slot::{Returned, Slot};
use crate::help_topic::{HelpTopic, Reason};
use crate::journal::{Events, Held, Owe, Settlement, Work};
use crate::message::{ReconcileRequest, SlotKind};
use crate::reconcile_reason::ReconcileReason;
use crate::rsync::exit_status::{Judgement, Trouble, Verdict};
use slog::{Logger, error, info, warn};
use std::collections::BTreeSet;
use std::time::Duration;

/// The delay before a comparison is retried that concurrent changes broke, or that found no free connection.
const UPSET_WAIT: Duration = Duration::from_millis(100);
/// The shortest interval between two comparisons of the names in the root.
const NAMES_WAIT: Duration = Duration::from_secs(1);
/// What is logged with a sign of a loss.
pub const MAY_HAVE_LOST: &str = "the remote may have lost data";
/// Failures in a row before the backlog of a remote is bounded. By then the receiver of the last push has exited.
const BOUND_AFTER: u32 = 3;

/// Settings that do not change while the process runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct PusherSettings {
    /// An idle pusher waits for this long after the first mark, so that more marks gather.
    pub delay: Duration,
    /// The same while a standby is ready.
    pub delay_with_standby: Duration,
    /// The share of one core that pushes of the whole instance may cost, in percent; 100 is no limit.
    pub pace_percent: u32,
    /// True if the trash expires.
    pub expires: bool,
    /// True if the scheduled reconcile excludes names and there is no other reconcile: names that the remote lacks are
    /// then no sign of a loss.
    pub partial_schedule: bool,
}

/// Whether the shared connection is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// It is open, or no connection is shared.
    Ready,
    /// A standby is ready.
    Standby,
    /// It is being opened, and the first push should wait for it.
    Opening,
}

/// Why this process does not exit cleanly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unclean {
    /// Pushes were killed.
    Killed,
    /// Killed receivers may have left temporary files in more directories than are compared one by one. A reconcile
    /// follows when the remote is back.
    LeftoversEverywhere,
}

/// A job to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobSpec {
    /// A push of what waits for this lane.
    Push(Lane),
    /// A comparison.
    Compare(CompareSpec),
    /// `syncsup verify`.
    Verify,
    /// The expiry of the trash.
    Expire,
}

/// What a comparison covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompareSpec {
    /// A reconcile, for this reason.
    Reconcile(ReconcileReason),
    /// The names in the root, which show whether a remote has lost everything.
    Names,
    /// Owed directories, all of one kind.
    Owed(OwedDirs),
}

/// Which owed directories may be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwedDirs {
    /// All of them.
    Any,
    /// Those that live events marked, to which the delete guard does not apply.
    Live,
}

impl JobSpec {
    fn job(&self) -> Job {
        match self {
            JobSpec::Push(lane) => Job::Push(*lane),
            JobSpec::Compare(_) => Job::Compare,
            JobSpec::Verify => Job::Verify,
            JobSpec::Expire => Job::Expire,
        }
    }
}

/// How a push ended.
#[derive(Debug)]
pub enum PushEnd {
    /// Every path is accounted for.
    Settled(Settlement),
    /// It failed because of the remote, not because of a path. Nothing is settled.
    Trouble {
        /// What rsync's exit status means.
        judgement: Judgement,
        /// One of this pusher's connections has just closed, and the daemon may still count it.
        lingering: bool,
        /// What may be left on the remote.
        aftermath: Aftermath,
    },
    /// A local error stopped it.
    LocalError(LocalError),
    /// It was abandoned.
    Abandoned(Aftermath),
    /// The result is unknown, because the journal failed.
    Unknown,
}

/// How a comparison ended.
#[derive(Debug)]
pub enum CompareEnd {
    /// A file changed its type while rsync read it, and rsync gave up.
    Upset,
    /// Every difference is owed.
    Done {
        /// Why, if it was a reconcile.
        why: Option<ReconcileReason>,
        /// The delete guard applies to it.
        guarded: bool,
        /// What could not be compared, and must be compared later.
        incomplete: Option<String>,
        /// The number of entries that the remote has, after a reconcile.
        entries: u64,
    },
    /// It would delete too much. The operator must release it first.
    Guarded(Held),
    /// The names in the root were compared.
    Names(Names),
    /// It failed because of the remote.
    Trouble {
        /// What rsync's exit status means.
        judgement: Judgement,
        /// One of this pusher's connections has just closed, and the daemon may still count it.
        lingering: bool,
    },
    /// A local error stopped it.
    LocalError(LocalError),
    /// The result is unknown, because the journal failed.
    Unknown,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// The first event: what the predecessor left, and what the start requests.
    Begun {
        /// The predecessor exited cleanly.
        clean: bool,
        /// A reconcile that the start requests.
        reconcile: Option<ReconcileReason>,
        /// The number of the supervisor's last request.
        requests: u64,
        /// Directories in which a receiver that was killed with the predecessor may have left a temporary file.
        leftovers: Vec<Owe>,
        /// The settings differ from those that the remote's state was made with.
        new_settings: bool,
    },
    /// A turn of the loop.
    Tick(Connection),
    /// The journal may have changed.
    Woken,
    /// The answer to [`Action::ReadJournal`].
    JournalRead {
        /// What waits.
        work: Work,
        /// Large files that wait and that no push in flight touches.
        large: usize,
    },
    /// The journal cannot be used now.
    JournalRefused,
    /// The supervisor grants a slot of this kind. This number of remotes is active.
    Slot(SlotKind, u32),
    /// A push has cost this much local CPU time.
    Cost {
        /// The names that it carried.
        names: usize,
        /// The time of this process.
        own: Duration,
        /// The time of its rsyncs.
        rsyncs: Duration,
    },
    /// The answer to [`Action::TryPort`]: whether the port answers.
    PortTried(bool),
    /// The supervisor requests a reconcile.
    Reconcile(ReconcileRequest),
    /// The journal has recorded the supervisor's request with this number.
    RequestRecorded(u64),
    /// The operator releases what the delete guard holds.
    Release,
    /// The release is recorded.
    Released,
    /// The remote answered, and everything before that is recorded.
    Answered,
    /// The reconcile for the leftovers of killed receivers is requested.
    LeftoversWanted,
    /// The answer to [`Action::CheckNames`]: a sign that the remote has lost data.
    NamesChecked(Option<String>),
    /// The watcher holds the localpath for this reason, or ends the hold.
    Hold(Option<Reason>),
    /// Failed paths were made due. The remote is retried, too.
    FailuresDue,
    /// The process must stop within this time.
    Stop(Duration, StopCause),
    /// `syncsup verify` is requested, or requests a second comparison.
    VerifyWanted,
    /// `syncsup verify` has ended.
    VerifyEnded,
    /// The answer to [`Action::Start`].
    Started(JobSpec, Vec<Blocked>),
    /// The answer to [`Action::Start`] if there was nothing to do, or the job ended immediately. It returns a slot that
    /// was not needed.
    NotStarted(JobSpec, Vec<Blocked>, Option<Slot>),
    /// A push ended.
    Pushed {
        /// Its lane.
        lane: Lane,
        /// How it ended.
        end: Box<PushEnd>,
        /// A sign that the remote has lost data.
        loss: Option<String>,
    },
    /// A comparison continues, and has counted so far.
    Comparing(Comparison, Counted),
    /// Rows of a comparison were written, or are about to be.
    Rows,
    /// The dry run of a reconcile has ended. The last field is the number of bytes pushed before.
    Spooled(ReconcileReason, Counted, u64),
    /// The rows of that reconcile are being written.
    Spooling(ReconcileReason, Counted),
    /// The comparison ended.
    Compared(CompareEnd),
    /// The reconcile whose rows are written as they are pushed ended.
    SpoolEnded(CompareEnd),
    /// The answer to [`Action::Reconciled`].
    Reconciled {
        /// Why it ran.
        why: ReconcileReason,
        /// The request that remains.
        left: Option<ReconcileReason>,
        /// When it ended, in milliseconds since 1970.
        at_ms: i64,
    },
    /// The answer to [`Action::OweRecent`].
    RecentOwed(RecentlySettled),
    /// The answer to [`Action::BoundBacklog`] if marks were dropped. A reconcile replaces them, for this reason.
    ComparedInstead(ReconcileReason),
    /// A job other than a push has written owed rows, or has a new status.
    Owed,
    /// The scrub has used the operator's approval.
    ApprovalUsed,
    /// The delete guard holds what the scrub found.
    ScrubGuarded(Held),
    /// The expiry ended. The next one is due after this time.
    Expired(Duration),
}

/// Whether all that a remote settled recently is owed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecentlySettled {
    /// All is owed again.
    All,
    /// There was more than is owed again.
    More,
}

/// What the shell must do.
#[derive(Debug)]
pub enum Action {
    /// Read the journal: [`Event::JournalRead`].
    ReadJournal,
    /// Start a job: [`Event::Started`] or [`Event::NotStarted`]. A probe has no slot.
    Start(JobSpec, Option<Slot>),
    /// Kill every rsync: [`Event::Pushed`] with [`PushEnd::Abandoned`] for each push.
    Abandon,
    /// Let the scrub continue.
    Scrub {
        /// Nothing is being pushed or waits to be pushed.
        quiet: bool,
    },
    /// Postpone the running part of the scrub.
    PutOffScrub,
    /// Request these slots.
    WantSlots(Vec<SlotKind>),
    /// Record the settings that the remote's state is made with from now on.
    KeepSettings,
    /// Record that pushes may be in flight from now on.
    Begin,
    /// Record the request for a reconcile.
    WantReconcile(ReconcileReason),
    /// Record that the delete guard holds this, or that the hold has ended.
    SetHeld(Option<Held>),
    /// Write owed rows.
    Owe(Vec<Owe>),
    /// Record that the end of a push was not seen.
    Unseen(Settlement),
    /// Record what a push has settled. The string says why nothing else can be pushed now.
    Settle(Settlement, Option<String>),
    /// Make failed paths due.
    RetryNow,
    /// Owe again what the remote settled recently, as marked by these events: [`Event::RecentOwed`].
    OweRecent(Events),
    /// Record that a reconcile has completed: [`Event::Reconciled`].
    Reconciled {
        /// Why it ran.
        why: ReconcileReason,
        /// It settles its request.
        settled: bool,
        /// The number of entries that the remote has.
        entries: u64,
    },
    /// Drop the marks of a remote in trouble if there are too many: [`Event::ComparedInstead`].
    BoundBacklog,
    /// Update the fail log. The string says why nothing can be pushed now.
    WriteFailLog(Option<String>),
    /// The shared connection may be broken.
    DropConnection,
    /// Try whether the port of the remote answers: [`Event::PortTried`]. Without an event if it cannot be tried.
    TryPort,
    /// The batch that had read marks has ended.
    BatchEnded {
        /// All its marks are settled or owed; otherwise none is.
        settled: bool,
    },
    /// Everything before it is recorded: continue with this event.
    Then(Box<Event>),
    /// Check whether these names in the root are a sign of loss: [`Event::NamesChecked`].
    CheckNames(Names),
    /// Report a changed status.
    Report,
    /// End the process.
    Exit {
        /// The next start need not look for unfinished pushes.
        clean: bool,
    },
}

/// All state that a pusher's decisions depend on.
#[derive(Debug)]
pub struct State {
    settings: PusherSettings,
    log: Logger,
    phase: Phase,
    health: Health,
    reach: Reach,
    doubt: Doubt,
    reconcile: Reconcile,
    pending: Pending,
    /// Large files that wait and that no push in flight touches.
    large: usize,
    in_flight: InFlight,
    scheduler: Scheduler,
    connection: Connection,
    pace: Pace,
    unclean: BTreeSet<Unclean>,
}

impl State {
    /// The initial state. `reconcile` is as the journal has it. `returned` counts returned slots.
    pub fn new(
        settings: PusherSettings,
        reconcile: Reconcile,
        returned: Returned,
        log: Logger,
    ) -> Self {
        Self {
            settings,
            log,
            phase: Phase::AwaitingRoot,
            health: Health::Good,
            reach: Reach::default(),
            doubt: Doubt::No,
            reconcile,
            pending: Pending::default(),
            large: 0,
            in_flight: InFlight::default(),
            scheduler: Scheduler::new(returned),
            connection: Connection::Ready,
            pace: Pace::new(settings.pace_percent),
            unclean: BTreeSet::new(),
        }
    }

    /// Handles an event and returns the actions to carry out.
    pub fn step(&mut self, event: Event, now: Duration) -> Vec<Action> {
        let mut out = Vec::new();
        match event {
            Event::Begun { clean, reconcile, requests, leftovers, new_settings } => {
                if let Some(why) = reconcile {
                    self.want_reconcile(why, &mut out);
                }
                out.push(Action::Then(Box::new(Event::RequestRecorded(requests))));
                self.reconcile.begins_after(requests);
                // After the request: a crash between the two must not lose it (rule 11).
                if new_settings {
                    out.push(Action::KeepSettings);
                }
                self.begun(clean, leftovers, &mut out);
            }
            Event::Tick(connection) => self.tick(connection, now, &mut out),
            Event::Woken => self.pending.touch(),
            Event::JournalRead { work, large } => self.journal_read(work, large, now, &mut out),
            Event::JournalRefused => self.pending.refused(now),
            Event::Slot(kind, active) => {
                self.pace.divide(active);
                self.scheduler.granted(kind);
            }
            Event::Cost { names, own, rsyncs } => self.pace.measured(names, own, rsyncs),
            Event::PortTried(answers) => {
                if self.reach.tried(answers, now) {
                    self.health.retry_now(now);
                }
            }
            Event::Reconcile(request) => self.reconcile_requested(request, now, &mut out),
            Event::RequestRecorded(number) => self.reconcile.recorded(number),
            Event::Release => self.release(&mut out),
            Event::Released => self.released(&mut out),
            Event::Answered => self.answered(&mut out),
            Event::LeftoversWanted => {
                self.unclean.remove(&Unclean::LeftoversEverywhere);
            }
            Event::NamesChecked(sign) => self.names_checked(sign, now, &mut out),
            Event::Hold(reason) => self.hold(reason, now, &mut out),
            Event::FailuresDue => self.retry_now(now, &mut out),
            Event::Stop(within, cause) => self.phase.stop(now + within, cause),
            Event::VerifyWanted => {
                self.in_flight.verify = Some(Verification::Wanted);
                self.changed(&mut out);
            }
            Event::VerifyEnded => {
                self.in_flight.verify = None;
                self.changed(&mut out);
            }
            Event::Started(spec, blocked) => self.started(spec, &blocked, now, &mut out),
            Event::NotStarted(spec, blocked, unused) => {
                self.not_started(&spec, &blocked, unused, now, &mut out);
            }
            Event::Pushed { lane, end, loss } => self.pushed(lane, *end, loss, now, &mut out),
            Event::Comparing(comparison, counted) => {
                if let Comparison::Running(Some(why)) = &comparison {
                    self.reconcile.compares(why, counted);
                }
                self.in_flight.compare = Some(comparison);
            }
            Event::Rows => {
                self.pending.touch();
                self.scheduler.portions_again();
            }
            Event::Spooled(why, counted, pushed_bytes) => {
                self.reconcile.compares(&why, counted);
                self.reconcile.counted(pushed_bytes);
                self.in_flight.compare = None;
                self.in_flight.spool = Some(why);
            }
            Event::Spooling(why, counted) => self.reconcile.compares(&why, counted),
            Event::Compared(end) => {
                self.in_flight.compare = None;
                self.compared(end, now, &mut out);
            }
            Event::SpoolEnded(end) => {
                self.in_flight.spool = None;
                self.compared(end, now, &mut out);
            }
            Event::Reconciled { why, left, at_ms } => self.reconciled(&why, left, at_ms),
            Event::RecentOwed(recent) => self.recent_owed(recent, &mut out),
            Event::ComparedInstead(why) => {
                warn!(self.log, "too many marks wait for this remote: a reconcile will replace them when it is back"; "why" => %why);
                self.reconcile.replace_marks(why);
                self.changed(&mut out);
            }
            Event::Owed => self.changed(&mut out),
            Event::ApprovalUsed => self.reconcile.forget_approval(),
            Event::ScrubGuarded(held) => self.guarded(held, &mut out),
            Event::Expired(after) => self.scheduler.expired(now + after),
        }
        out
    }

    /// The next deadline, if no event arrives before.
    pub fn next_deadline(&self, now: Duration) -> Duration {
        let able = self.may_start(now) && !self.in_flight.busy(Lane::Small);
        let (stopping, work) = (self.phase.is_stopping(), self.pending.work);
        let at_once = self.pending.is_stale() && !stopping && self.pending.retry_at().is_none();
        let times = [
            Some(self.pending.next_read()).filter(|_| !stopping),
            at_once.then_some(now),
            self.pending.gathers_until().filter(|at| able && *at > now),
            self.pace.next_at(now).filter(|_| able && (work.marks.any() || work.due)),
            self.pending.retry_at().filter(|_| !stopping),
            self.phase.next_at(),
            self.reconcile.next_at(now),
            self.health.until().filter(|at| *at > now),
            self.reach.next_at().filter(|_| self.waits_for_answer(now)),
        ];
        times.into_iter().flatten().min().unwrap_or(now)
    }

    /// Whether the pusher may work.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Whether the remote answers.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Whether the remote still has what it acknowledged.
    pub fn doubt(&self) -> Doubt {
        self.doubt
    }

    /// The reconcile.
    pub fn reconcile(&self) -> &Reconcile {
        &self.reconcile
    }

    /// The reconcile, to update its progress.
    pub fn reconcile_mut(&mut self) -> &mut Reconcile {
        &mut self.reconcile
    }

    /// What waits in the journal.
    pub fn pending(&self) -> &Pending {
        &self.pending
    }

    /// The running jobs.
    pub fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    /// True if a connection may be opened at `now`. The shared connection is then opened, too.
    pub fn wants_connection(&self, now: Duration) -> bool {
        self.may_connect(now) && self.health == Health::Good
    }

    /// True if a standby may be kept: the remote is healthy, and accepts more than one connection.
    pub fn lets_standby(&self, now: Duration) -> bool {
        self.wants_connection(now)
            && !self.scheduler.is_connection_limited(now)
            && self.in_flight.verify.is_none()
    }

    /// True if a job waits for a slot.
    pub fn waits_for_slot(&self) -> bool {
        self.scheduler.waits_for_slot()
    }

    /// True if no job runs and no work is due.
    pub fn is_idle(&self) -> bool {
        let work = self.pending.work;
        self.in_flight.idle() && !(work.marks.any() || work.due || work.dirs || work.bulk)
    }

    /// True if a reconcile of this remote has completed at some time. Otherwise differences on the remote are no sign
    /// of a loss.
    pub fn was_reconciled(&self) -> bool {
        self.reconcile.reconciled_at_ms().is_some() && !self.settings.partial_schedule
    }

    /// True if what a push finds missing on the remote is a sign of a loss, and no reconcile that would find it is
    /// running or requested.
    pub fn detects_losses(&self) -> bool {
        let comparing = self.in_flight.reconcile().is_some() || self.reconcile.wanted().is_some();
        !comparing && self.was_reconciled()
    }

    /// True if the names in the root must be compared. A reconcile compares them, too.
    pub fn wants_names(&self) -> bool {
        self.doubt != Doubt::No
            && self.was_reconciled()
            && self.reconcile.held().is_none()
            && self.reconcile.wanted().is_none()
    }

    /// True if the scrub may continue: the remote answers, the root is valid, and no reconcile or verify is running or
    /// requested.
    pub fn may_scrub(&self) -> bool {
        self.health == Health::Good
            && self.phase == Phase::Running
            && self.in_flight.verify.is_none()
            && self.in_flight.reconcile().is_none()
            && self.reconcile.wanted().is_none()
            && self.reconcile.held().is_none()
    }

    /// Why `syncsup verify` cannot run now.
    pub fn cannot_verify(&self) -> Option<String> {
        if let Some(held) = self.phase.held() {
            return Some(held.why.clone());
        }
        self.health.message().map(ToString::to_string)
    }

    /// True while the remote is retried later, and its port is tried meanwhile.
    fn waits_for_answer(&self, now: Duration) -> bool {
        let backs_off = matches!(self.health, Health::Backoff { .. });
        self.phase == Phase::Running && backs_off && !self.health.may_try(now)
    }

    fn may_connect(&self, now: Duration) -> bool {
        self.phase == Phase::Running && self.pending.is_usable(now) && self.health.may_try(now)
    }

    /// True if an rsync may start at `now`.
    fn may_start(&self, now: Duration) -> bool {
        self.may_connect(now) && self.connection != Connection::Opening
    }

    /// The journal and the status have changed.
    fn changed(&mut self, out: &mut Vec<Action>) {
        self.pending.touch();
        out.push(Action::Report);
    }
}

/// The turn.
impl State {
    fn begun(&mut self, clean: bool, leftovers: Vec<Owe>, out: &mut Vec<Action>) {
        self.owe_leftovers(leftovers, out);
        // The remote was not watched while this pusher did not run. After a clean exit, comparing the names in the root
        // is enough.
        if !clean {
            out.push(Action::OweRecent(Events::ATTRIB));
        }
        self.doubt = if self.was_reconciled() { Doubt::Names } else { Doubt::No };
        out.push(Action::Begin);
        out.push(Action::Report);
    }

    fn tick(&mut self, connection: Connection, now: Duration, out: &mut Vec<Action>) {
        self.connection = connection;
        if let Phase::Stopping { until, .. } = self.phase {
            if self.in_flight.idle() || now >= until {
                let clean = self.in_flight.idle() && self.unclean.is_empty();
                out.push(Action::Exit { clean });
            }
            return;
        }
        if !self.pending.is_usable(now) {
            return;
        }
        self.pending.used();
        if self.waits_for_answer(now) && self.reach.begins(now) {
            out.push(Action::TryPort);
        }
        if self.phase.retry(now) {
            out.push(Action::Report);
        }
        if self.pending.wants_read(now) {
            out.push(Action::ReadJournal);
        } else {
            self.begin_turn(now, out);
        }
    }

    fn journal_read(&mut self, work: Work, large: usize, now: Duration, out: &mut Vec<Action>) {
        let idle = !self.in_flight.busy(Lane::Small);
        self.large = large;
        let delay = match self.connection {
            Connection::Standby => self.settings.delay_with_standby,
            Connection::Ready | Connection::Opening => self.settings.delay,
        };
        if self.pending.was_read(work, idle, delay, now) {
            out.push(Action::Report);
        }
        self.begin_turn(now, out);
    }

    fn begin_turn(&mut self, now: Duration, out: &mut Vec<Action>) {
        self.scheduler.begin_turn();
        self.start_next(now, out);
    }

    /// Starts the next job of this turn, or ends the turn.
    fn start_next(&mut self, now: Duration, out: &mut Vec<Action>) {
        if !self.may_start(now) {
            self.scheduler.give_back();
            return;
        }
        let probing = self.health != Health::Good;
        let view = TurnView {
            work: self.pending.work,
            large: self.large,
            gathered: self.pending.has_gathered(now) && (probing || self.pace.allows(now)),
            probing,
            compare: self.wants_compare(now),
            expires: self.settings.expires,
            in_flight: &self.in_flight,
        };
        if let Some((job, slot)) = self.scheduler.next(&view, now) {
            let spec = match job {
                Job::Push(lane) => JobSpec::Push(lane),
                Job::Compare => JobSpec::Compare(self.compare_spec(now)),
                Job::Verify => JobSpec::Verify,
                Job::Expire => JobSpec::Expire,
            };
            match &spec {
                JobSpec::Compare(_) => self.reconcile.put_off(None),
                // Only one of the two runs at a time.
                JobSpec::Verify => out.push(Action::PutOffScrub),
                JobSpec::Push(_) | JobSpec::Expire => {}
            }
            out.push(Action::Start(spec, slot));
            return;
        }
        let end = self.scheduler.end_turn(&view);
        if end.read_again {
            self.pending.touch();
        }
        if !end.ask.is_empty() {
            out.push(Action::WantSlots(end.ask));
        }
        out.push(Action::Scrub { quiet: end.quiet });
    }

    fn started(
        &mut self,
        spec: JobSpec,
        blocked: &[Blocked],
        now: Duration,
        out: &mut Vec<Action>,
    ) {
        self.scheduler.answered(spec.job(), None, blocked);
        match spec {
            JobSpec::Push(lane) => {
                self.in_flight.pushes.insert(lane);
                match lane {
                    Lane::Small => {
                        self.pending.pushed();
                        self.pace.spend(now);
                    }
                    Lane::Large | Lane::Large2 => self.large = self.large.saturating_sub(1),
                    Lane::Bulk | Lane::Bulk2 => {}
                }
                self.pending.touch();
            }
            JobSpec::Compare(what) => {
                let why = match what {
                    CompareSpec::Reconcile(why) => {
                        self.reconcile.begins();
                        Some(why)
                    }
                    CompareSpec::Names | CompareSpec::Owed(_) => None,
                };
                self.in_flight.compare = Some(Comparison::Running(why));
                self.changed(out);
            }
            JobSpec::Verify => self.in_flight.verify = Some(Verification::UnderWay),
            JobSpec::Expire => {}
        }
        self.start_next(now, out);
    }

    fn not_started(
        &mut self,
        spec: &JobSpec,
        blocked: &[Blocked],
        unused: Option<Slot>,
        now: Duration,
        out: &mut Vec<Action>,
    ) {
        if *spec != JobSpec::Expire {
            self.scheduler.answered(spec.job(), unused, blocked);
        }
        if blocked.is_empty() {
            if *spec == JobSpec::Push(Lane::Small) {
                self.pending.pushed();
            }
            self.changed(out);
        }
        self.start_next(now, out);
    }

    fn wants_compare(&self, now: Duration) -> bool {
        let work = self.pending.work;
        let dirs = match self.owed_dirs() {
            OwedDirs::Live => {
                work.live_dirs && (!work.due || work.bulk || self.reconcile.is_under_way())
            }
            OwedDirs::Any => work.dirs,
        };
        self.reconcile.may_compare(now) && (dirs || self.wants_reconcile(now) || self.wants_names())
    }

    fn compare_spec(&self, now: Duration) -> CompareSpec {
        match self.reconcile.wanted() {
            Some(why) if self.wants_reconcile(now) => CompareSpec::Reconcile(why.clone()),
            Some(_) | None if self.wants_names() => CompareSpec::Names,
            Some(_) | None => CompareSpec::Owed(self.owed_dirs()),
        }
    }

    /// While the delete guard holds the remote, directories to which it applies wait for the operator. They also wait
    /// until no names are owed: a comparison would find these names again, and the guard would count them twice.
    /// Directories that live events marked wait for owed names, too, but not for those of a reconcile, whose push may
    /// take hours.
    fn owed_dirs(&self) -> OwedDirs {
        let by_name = self.pending.work.due || self.pending.work.bulk;
        if self.reconcile.held().is_some() || by_name { OwedDirs::Live } else { OwedDirs::Any }
    }

    fn wants_reconcile(&self, now: Duration) -> bool {
        self.reconcile.held().is_none()
            && self.reconcile.wanted().is_some()
            && self.in_flight.spool.is_none()
            && self.reconcile.may_reconcile(now)
    }
}

/// Messages of the supervisor.
impl State {
    fn reconcile_requested(
        &mut self,
        request: ReconcileRequest,
        now: Duration,
        out: &mut Vec<Action>,
    ) {
        let ReconcileRequest { why, number } = request;
        if why != ReconcileReason::Schedule {
            self.health.retry_now(now);
            // The operator may have fixed the cause of the failures.
            out.push(Action::RetryNow);
        }
        self.reconcile.received(number);
        self.want_reconcile(why, out);
        out.push(Action::Then(Box::new(Event::RequestRecorded(number))));
    }

    fn want_reconcile(&mut self, why: ReconcileReason, out: &mut Vec<Action>) {
        // A reconcile for any other reason compares more than a scheduled one, which excludes what `crontabfilter`
        // names.
        if why == ReconcileReason::Schedule && self.reconcile.wanted().is_some() {
            return;
        }
        if why.is_asked() {
            // The master may have been repaired since the guard held it.
            self.reconcile.look_again();
        }
        self.reconcile.request(why.clone());
        out.push(Action::WantReconcile(why));
        self.changed(out);
    }

    fn release(&mut self, out: &mut Vec<Action>) {
        // Nothing is approved in advance.
        if self.reconcile.held().is_some() {
            out.push(Action::SetHeld(None));
            out.push(Action::Then(Box::new(Event::Released)));
        }
    }

    fn released(&mut self, out: &mut Vec<Action>) {
        if let Some(held) = self.reconcile.release() {
            info!(self.log, "released by the operator"; "deletions" => held.deletions);
        }
        self.changed(out);
    }

    fn hold(&mut self, reason: Option<Reason>, now: Duration, out: &mut Vec<Action>) {
        let held = reason.is_some();
        self.phase.set_hold(reason);
        self.changed(out);
        if held {
            // A running rsync would keep the file system busy, and push from a root that is gone.
            if !self.in_flight.idle() {
                self.unclean.insert(Unclean::Killed);
            }
            self.in_flight.pushes.clear();
            self.in_flight.compare = None;
            self.in_flight.spool = None;
            self.scheduler.abandoned(now);
            out.push(Action::Abandon);
        }
    }

    fn retry_now(&mut self, now: Duration, out: &mut Vec<Action>) {
        self.health.retry_now(now);
        self.changed(out);
    }
}

/// Results of jobs.
impl State {
    fn pushed(
        &mut self,
        lane: Lane,
        end: PushEnd,
        loss: Option<String>,
        now: Duration,
        out: &mut Vec<Action>,
    ) {
        self.in_flight.pushes.remove(&lane);
        self.scheduler.ended(lane);
        self.changed(out);
        let settled = matches!(end, PushEnd::Settled(_));
        if lane == Lane::Small && !settled {
            out.push(Action::BatchEnded { settled });
        }
        match end {
            PushEnd::Settled(end) => {
                // Before it is settled: a crash between the two must not lose it.
                self.suspect_loss(loss, out);
                self.settled(end, out);
            }
            PushEnd::Trouble { judgement, lingering, .. }
                if self.limits_connections(&judgement, lingering, now) => {}
            PushEnd::Trouble { judgement, aftermath, .. } => {
                self.in_trouble(&judgement, MetBy::Push, now, out);
                self.suspect_loss(loss, out);
                self.aftermath(aftermath, out);
                self.bound_backlog(out);
            }
            PushEnd::Abandoned(aftermath) => self.aftermath(aftermath, out),
            PushEnd::LocalError(error) => self.local_error(error, now),
            PushEnd::Unknown => {}
        }
        if lane == Lane::Small && settled {
            out.push(Action::BatchEnded { settled });
        }
    }

    fn settled(&mut self, end: Settlement, out: &mut Vec<Action>) {
        let success = end.success;
        if success {
            self.back_from_outage(out);
        }
        let trouble = self.health.message().filter(|_| !success).map(str::to_owned);
        out.push(Action::Settle(end, trouble));
        if success {
            out.push(Action::Then(Box::new(Event::Answered)));
        }
    }

    /// The remote answers again. This runs before anything else is settled, because the settle times say what was
    /// settled before the outage.
    fn back_from_outage(&mut self, out: &mut Vec<Action>) {
        if self.doubt == Doubt::Unreachable {
            // Its disk may have kept names, sizes and times, but not the content.
            out.push(Action::OweRecent(Events::CONTENT));
        }
    }

    fn recent_owed(&mut self, recent: RecentlySettled, out: &mut Vec<Action>) {
        if self.doubt != Doubt::Unreachable {
            // After a start the names are compared anyway.
            return self.changed(out);
        }
        self.doubt = if self.was_reconciled() { Doubt::Names } else { Doubt::No };
        if recent == RecentlySettled::More
            && self.was_reconciled()
            && self.reconcile.wanted().is_none()
        {
            let why = "it was unreachable, and had settled too much in the minute before to push all again";
            self.want_reconcile(ReconcileReason::Found(why.to_owned()), out);
        }
        self.changed(out);
    }

    /// The remote answered.
    fn answered(&mut self, out: &mut Vec<Action>) {
        if self.health == Health::Good {
            return;
        }
        info!(self.log, "the remote is back"; "failures" => self.health.failures());
        self.health = Health::Good;
        self.reach.works();
        out.push(Action::RetryNow);
        if self.unclean.contains(&Unclean::LeftoversEverywhere) {
            self.want_reconcile(ReconcileReason::Leftovers, out);
            out.push(Action::Then(Box::new(Event::LeftoversWanted)));
        }
        out.push(Action::WriteFailLog(None));
    }

    /// A comparison succeeded. It also does when the remote's disk is full or the directory's parent is missing, and
    /// then every push still fails.
    fn compared_well(&mut self, out: &mut Vec<Action>) {
        let work = self.pending.work;
        let pushes = work.marks.any() || work.due || work.large || work.bulk;
        if self.health.met_by() == Some(MetBy::Push) && pushes {
            return;
        }
        self.back_from_outage(out);
        out.push(Action::Then(Box::new(Event::Answered)));
    }

    fn in_trouble(
        &mut self,
        judgement: &Judgement,
        met_by: MetBy,
        now: Duration,
        out: &mut Vec<Action>,
    ) {
        if doubt::is_outage(judgement) {
            self.doubt = Doubt::Unreachable;
        }
        let reason = judgement.reason();
        let next = match judgement.verdict {
            Verdict::Remote(trouble) => {
                if matches!(
                    trouble,
                    Trouble::Unreachable | Trouble::ConnectionLimited | Trouble::Broken
                ) {
                    out.push(Action::DropConnection);
                }
                self.reach.failed(trouble, now);
                let failures = match trouble {
                    Trouble::Killed => 1,
                    _ => self.health.failures_at(now),
                };
                let wait = backoff(failures, jitter(now));
                self.health.after_trouble(now, wait, reason, met_by)
            }
            _ => self.health.after_refusal(now, reason, met_by),
        };
        if next.worth_logging(&self.health) {
            let again_in = next.until().unwrap_or(now).saturating_sub(now);
            let values = slog::o!("why" => judgement.message.clone(), "failures" => next.failures(),
                "again_in_s" => again_in.as_secs(), "help" => judgement.help.command());
            let log = self.log.new(values);
            match next {
                // Held until an operator acts.
                Health::Misconfigured { .. } => error!(log, "cannot push to the remote"),
                Health::Good | Health::Backoff { .. } => warn!(log, "cannot push to the remote"),
            }
        }
        self.health = next;
        out.push(Action::WriteFailLog(self.health.message().map(str::to_owned)));
    }

    /// True if the remote refuses a connection because it still serves, or counts, another one of this pusher. That is
    /// no trouble: connections are then opened one at a time for a while.
    fn limits_connections(
        &mut self,
        judgement: &Judgement,
        lingering: bool,
        now: Duration,
    ) -> bool {
        let limits = judgement.connection_limited() && (self.in_flight.is_running() || lingering);
        if limits && self.scheduler.limit_connections(now) {
            info!(self.log, "one connection at a time"; "why" => &judgement.message);
        }
        limits
    }

    fn local_error(&mut self, error: LocalError, now: Duration) {
        match error {
            LocalError::Root(reason) => {
                if self.phase.root_gone(reason.clone(), now) {
                    error!(self.log, "held"; "why" => reason.why, "help" => reason.help.command());
                }
            }
            LocalError::System(why) => {
                let wait = backoff(self.health.failures_at(now), jitter(now));
                let reason = Reason::new(HelpTopic::LocalError, why);
                let next = self.health.after_trouble(now, wait, reason.clone(), MetBy::Any);
                if next.worth_logging(&self.health) {
                    warn!(self.log, "cannot push"; "why" => reason.why,
                        "help" => reason.help.command());
                }
                self.health = next;
            }
        }
    }

    /// Requests a reconcile if a push or comparison found a sign of a loss.
    fn suspect_loss(&mut self, sign: Option<String>, out: &mut Vec<Action>) {
        if let Some(why) = sign {
            warn!(self.log, "{}", MAY_HAVE_LOST; "why" => &why);
            self.want_reconcile(ReconcileReason::Found(why), out);
        }
    }

    fn aftermath(&mut self, aftermath: Aftermath, out: &mut Vec<Action>) {
        self.owe_leftovers(aftermath.leftovers, out);
        out.extend(aftermath.unseen.map(Action::Unseen));
    }

    /// Has these directories compared, because a killed receiver may have left a temporary file in one of them.
    fn owe_leftovers(&mut self, leftovers: Vec<Owe>, out: &mut Vec<Action>) {
        match leftovers.len() {
            0 => {}
            1..=PARENTS_MOST => out.push(Action::Owe(leftovers)),
            // A remote that stays in trouble must not be compared after each attempt.
            _ if self.health != Health::Good => {
                self.unclean.insert(Unclean::LeftoversEverywhere);
            }
            _ => self.want_reconcile(ReconcileReason::Leftovers, out),
        }
    }

    /// Bounds the backlog of a remote in trouble. Without a bound, every name that was ever touched would be kept for
    /// it, even names of temporary files. A reconcile finds those that still differ. The delete guard then applies to
    /// all deletions, because the journal no longer knows which of them were marked by name.
    fn bound_backlog(&mut self, out: &mut Vec<Action>) {
        // While the guard holds the reconcile, only marked names are pushed, so their marks must stay.
        if self.health.failures() >= BOUND_AFTER && self.reconcile.held().is_none() {
            out.push(Action::BoundBacklog);
        }
    }

    fn compared(&mut self, end: CompareEnd, now: Duration, out: &mut Vec<Action>) {
        self.changed(out);
        match end {
            CompareEnd::Upset => self.reconcile.put_off(Some(now + UPSET_WAIT)),
            CompareEnd::Done { why, guarded, incomplete, entries } => {
                // The operator's approval was for this comparison, if the guard applies to it.
                if guarded {
                    self.reconcile.forget_approval();
                }
                self.compared_well(out);
                if let Some(why) = why {
                    self.reconcile_compared(why, incomplete, entries, now, out);
                }
            }
            CompareEnd::Guarded(held) => {
                self.guarded(held, out);
                self.compared_well(out);
            }
            CompareEnd::Names(names) => {
                self.compared_well(out);
                // Once recent paths are owed again, names that differ are a sign.
                out.push(Action::CheckNames(names));
            }
            CompareEnd::Trouble { judgement, lingering } => {
                if self.limits_connections(&judgement, lingering, now) {
                    self.reconcile.put_off(Some(now + UPSET_WAIT));
                } else {
                    self.in_trouble(&judgement, MetBy::Any, now, out);
                    self.bound_backlog(out);
                }
            }
            CompareEnd::LocalError(error) => self.local_error(error, now),
            CompareEnd::Unknown => {}
        }
    }

    fn names_checked(&mut self, sign: Option<String>, now: Duration, out: &mut Vec<Action>) {
        if self.doubt == Doubt::Names {
            self.doubt = Doubt::No;
            self.suspect_loss(sign, out);
        }
        // A push may have to succeed first.
        let later = self.wants_names().then_some(now + NAMES_WAIT);
        self.reconcile.put_off(later);
    }

    fn reconcile_compared(
        &mut self,
        why: ReconcileReason,
        incomplete: Option<String>,
        entries: u64,
        now: Duration,
        out: &mut Vec<Action>,
    ) {
        let Some(message) = incomplete else {
            if self.reconcile.passed() {
                info!(self.log, "no longer held: the delete guard lets this comparison pass");
                out.push(Action::SetHeld(None));
            }
            // A request that arrived meanwhile stays, for another reason or for the same one.
            let settled = self.reconcile.settles();
            out.push(Action::Reconciled { why, settled, entries });
            return;
        };
        if let Some(incomplete) = self.reconcile.was_incomplete(message, now) {
            warn!(self.log, "reconcile incomplete"; "why" => &incomplete.message,
                "times" => incomplete.times, "again_in_s" => incomplete.wait().as_secs(),
                "help" => HelpTopic::Incomplete.command());
        }
    }

    fn reconciled(&mut self, why: &ReconcileReason, left: Option<ReconcileReason>, at_ms: i64) {
        let found = self.reconcile.found();
        self.reconcile.finish(left, at_ms);
        if self.doubt == Doubt::Names {
            self.doubt = Doubt::No;
        }
        info!(self.log, "reconciled"; "why" => %why, "different" => found.paths,
            "to_delete" => found.deletions);
    }

    /// The delete guard holds what a comparison found.
    fn guarded(&mut self, held: Held, out: &mut Vec<Action>) {
        error!(self.log, "held"; "why" => &held.why, "help" => HelpTopic::Guard.command());
        self.reconcile.hold(held.clone());
        out.push(Action::SetHeld(Some(held)));
        out.push(Action::Report);
    }
}

/// A number between 0 and 1, so that many pushers do not retry at the same time.
fn jitter(now: Duration) -> f64 {
    f64::from(now.subsec_nanos() % 1_000_003) / 1_000_003.0
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
