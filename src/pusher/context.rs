//! What all jobs of a pusher share: the journal, the filter, the remote, the verified root.

mod rsyncs;
mod standby;

pub use rsyncs::Sent;

use super::coarse_times;
use super::fail_log;
use super::job_error::JobError;
use super::linked::{self, Linked};
use super::master::Master;
use super::plan::{self, Limits, Marked};
use super::remote_state::RemoteState;
use super::root_lstat::RootLstat;
use super::sent_times::SentTimes;
use super::standby::Standby;
use super::supervisor_link::SupervisorLink;
use crate::config::check::login_hint;
use crate::config::probe::{Machine, Probe};
use crate::filter::Filter;
use crate::help_topic::{HelpTopic, Reason};
use crate::journal::{Journal, JournalError, Owed, RootCheck, Settlement};
use crate::message::{FromPusher, PusherStart};
use crate::path::{RelPath, fail_log_part};
use crate::rsync::argv;
use crate::rsync::charset::Charsets;
use crate::rsync::complaint::{self, Complaint};
use crate::rsync::excluded::{self, Known, Shown};
use crate::rsync::exit_status::{Judgement, Verdict, login_failed};
use crate::rsync::itemize::{Change, ChangeKind};
use crate::rsync::params::{self, OwnFilters};
use crate::rsync::peer::{Peer, Target};
use crate::rsync::{refused, ssh};
use crate::rsync_run::dry_run::Compared;
use crate::rsync_run::patience::Patience;
use crate::rsync_run::run::{Finished, Run, shortened};
use crate::stat::{Exited, Kind, Stat};
use crate::sys::clock;
use crate::sys::files::{Root, boot_id};
use crate::sys::log::Seldom;
use crate::sys::port::PortTry;
use crate::sys::process;
use crate::sys::rsync::Confined;
use slog::{Logger, debug, info, warn};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// The remote end of an rsync that has exited locally exits within this time, also if its disk is busy.
pub const LINGER_MOST: Duration = Duration::from_secs(10);

/// The largest number of names that cannot be converted that are remembered.
const UNCONVERTIBLE_MOST: usize = 10_000;

/// The purpose of an rsync, besides its form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// No special purpose.
    #[default]
    Plain,
    /// It keeps files sparse.
    Sparse,
    /// It compares, possibly by content.
    Compare,
}

/// What the jobs share.
pub struct Context {
    /// The pusher's part of the configuration.
    pub start: PusherStart,
    /// The remote's name.
    pub name: String,
    /// What is replicated.
    pub filter: Filter,
    /// The journal of the localpath.
    pub journal: Journal,
    /// The remote's row.
    pub remote_state: RemoteState,
    /// An old receiver may still be writing paths with marks up to this number.
    pub repush_upto: i64,
    /// How long an rsync waits for the remote's first response.
    pub patience: Patience,
    /// The connection that pushes over ssh share.
    pub master: Master,
    /// The link to the supervisor, for heartbeats during long work.
    pub supervisor: SupervisorLink,
    /// An rsync that waits for the next push.
    standby: RefCell<Standby>,
    /// The files that were pushed soon after they were written.
    pub sent_times: RefCell<SentTimes>,
    /// The CPU time that was reported so far: of this process, and of its rsyncs.
    cost_seen: Cell<(Duration, Duration)>,
    /// The logger.
    pub log: Logger,
    /// Checks that the root is the one whose changes are in the journal.
    root_check: RefCell<RootCheck>,
    /// Limits the log lines about a fail log that cannot be written.
    unwritten: Cell<Seldom>,
    /// This remote's part of the fail log is not empty.
    fail_log_shows: Cell<bool>,
    /// The localpath with symbolic links resolved, as rsync prints it.
    real_root: PathBuf,
    /// The time in the name of the latest trash directory, in microseconds.
    stamped_us: Cell<i64>,
    /// When the last rsync exited that the remote had accepted, in time since boot.
    served: Duration,
    /// Excluded paths that the remote has.
    excluded: RefCell<Known>,
    /// The remote refuses the option that keeps files sparse.
    refuses_sparse: Cell<bool>,
    /// The remote gives moved files new names.
    renames: Cell<bool>,
    /// Files that the remote may have under two names.
    pub linked: Linked,
    /// The window within which the remote's times are equal, if they are coarse.
    window: Option<i32>,
    /// A first copy has shown whether the remote's times are coarse.
    times_known: Cell<bool>,
    /// The charsets between which names are converted.
    charsets: Option<Charsets>,
    /// What the rsyncs are confined to, if anything.
    pub confined: Option<Confined>,
    /// Names that rsync could not convert.
    unconvertible: RefCell<BTreeSet<RelPath>>,
    /// Options that the remote's daemon refuses and that have a substitute.
    refused: RefCell<BTreeSet<&'static str>>,
}

impl Context {
    /// A new context.
    pub fn new(
        start: PusherStart,
        journal: Journal,
        remote_state: RemoteState,
        filter: Filter,
        master: Master,
        supervisor: SupervisorLink,
        log: Logger,
    ) -> Self {
        let name = start.remote.name();
        let root_check = RefCell::new(RootCheck::new(boot_id().unwrap_or_default()));
        let charsets = params::charsets(&start.remote.peer.params);
        let standby = RefCell::new(Standby::new(start.remote.standby));
        let watch = start.localpath.watch.as_path();
        let real_root = watch.canonicalize().unwrap_or_else(|_| watch.to_owned());
        Self {
            start,
            name,
            filter,
            journal,
            remote_state,
            repush_upto: 0,
            patience: Patience::default(),
            master,
            supervisor,
            standby,
            sent_times: RefCell::new(SentTimes::new(i64::MIN)),
            cost_seen: Cell::default(),
            log,
            root_check,
            unwritten: Cell::default(),
            fail_log_shows: Cell::new(false),
            real_root,
            stamped_us: Cell::new(0),
            served: Duration::ZERO,
            excluded: RefCell::default(),
            refuses_sparse: Cell::new(false),
            renames: Cell::new(true),
            linked: Linked::default(),
            window: None,
            times_known: Cell::new(false),
            charsets,
            confined: None,
            unconvertible: RefCell::default(),
            refused: RefCell::default(),
        }
    }

    /// False if nothing may ever be deleted on the remote.
    pub fn delete(&self) -> bool {
        self.start.localpath.inotify.delete
    }

    /// True if hard links are preserved. All names of one file are then pushed together.
    pub fn hard_links(&self) -> bool {
        params::hard_links(&self.start.remote.peer.params)
    }

    /// The device of the root, if no other file system is replicated.
    pub fn one_device(&self, root: &Root) -> Option<u64> {
        params::one_file_system(&self.start.remote.peer.params).then_some(root.stat.dev)
    }

    /// True for a directory in which a comparison may begin. rsync stays on the file system of each name in its list,
    /// so the list must not contain a directory of a file system that is not replicated.
    pub fn enters(&self, root: &Root, stat: &Stat) -> bool {
        stat.kind == Kind::Dir && self.one_device(root).is_none_or(|device| device == stat.dev)
    }

    /// Starts a try whether the remote's port answers. `None` if that would tell nothing, or cannot be started.
    pub fn try_port(&self) -> Option<PortTry> {
        let peer = &self.start.remote.peer;
        // These connect another way.
        if params::remote_shell(&peer.params).is_some()
            || argv::CONNECTS_ELSEWHERE.iter().any(|name| std::env::var_os(name).is_some())
        {
            return None;
        }
        let (port, greeting) = match &peer.target {
            Target::Daemon { port, .. } => (*port, argv::DAEMON_GREETING),
            Target::Ssh { port, .. } => (port.unwrap_or(ssh::PORT), ssh::GREETING),
        };
        PortTry::start(&peer.host, port, greeting).ok()
    }

    /// True if form B is needed: the receiver does not support `--delete-missing-args`, or the user's parameters
    /// contain filters that only form B respects.
    pub fn form_b(&self) -> bool {
        self.remote_state.form_b || argv::has_own_filters(&self.start.remote.peer.params)
    }

    /// True if names are converted between charsets. rsync does not convert its rules.
    pub fn converts(&self) -> bool {
        self.charsets.is_some()
    }

    /// False if this name, or one above it, cannot be expressed in the remote's charset.
    pub fn can_convert(&self, path: &RelPath) -> bool {
        let Some(charsets) = self.charsets else { return true };
        let unconvertible = self.unconvertible.borrow();
        charsets.can_convert(path) && !path.prefixes().any(|prefix| unconvertible.contains(&prefix))
    }

    /// Learns names that rsync could not convert. Returns true if there are new ones.
    pub fn learn_unconvertible(&self, finished: &Finished) -> bool {
        if !self.converts() || finished.judgement.verdict == Verdict::Settled {
            return false;
        }
        let mut unconvertible = self.unconvertible.borrow_mut();
        let before = unconvertible.len();
        let complaints = complaint::unconverted(&finished.stderr, &self.real_root);
        unconvertible
            .extend(complaints.into_iter().filter(|path| !path.is_root()).take(UNCONVERTIBLE_MOST));
        unconvertible.len() > before && unconvertible.len() <= UNCONVERTIBLE_MOST
    }

    /// The rules that put these names at risk, for both sides. `None` if the names cannot be converted to the remote's
    /// charset.
    pub fn risk_rules(&self, names: &[RelPath]) -> Option<Vec<u8>> {
        let Some(charsets) = self.charsets else { return Some(argv::risk_rules(names, &[])) };
        let there = |path: &RelPath| RelPath::new(charsets.there(path.as_bytes())?);
        let converted: Option<Vec<RelPath>> = names.iter().map(there).collect();
        Some([argv::above_rules(names), argv::risk_rules(&converted?, &[])].concat())
    }

    /// lstat below an open root.
    pub fn lstat_below<'a>(&'a self, root: &'a Root) -> Result<RootLstat<'a>, JournalError> {
        let (mounts, silent) = (self.journal.mounts()?, self.journal.silent_mounts()?);
        Ok(RootLstat::new(root, mounts, silent, &self.supervisor))
    }

    /// Opens the root and checks that it is the one whose changes are in the journal (rule 6). In an unmounted or
    /// replaced root everything would look deleted.
    pub fn open_root(&self) -> Result<Root, JobError> {
        let watch = self.start.localpath.watch.as_path();
        let unreadable = |e: io::Error| {
            let help = match e.kind() {
                io::ErrorKind::NotFound => HelpTopic::RootGone,
                _ => HelpTopic::RootUnreadable,
            };
            JobError::Root(Reason::new(help, format!("{}: {e}", self.start.localpath.watch)))
        };
        let root = Root::open(watch).map_err(unreadable)?;
        let id = root.id().map_err(unreadable)?;
        let checkpoint = self.journal.checkpoint()?;
        if self.root_check.borrow_mut().is_same(checkpoint.as_ref(), id) {
            return Ok(root);
        }
        let why = format!(
            "{}: not the directory that was watched before; if this is intended: syncsup release {}",
            self.start.localpath.watch, self.start.localpath.watch
        );
        Err(JobError::Root(Reason::new(HelpTopic::RootReplaced, why)))
    }

    /// Remembers that the receiver does not support `--delete-missing-args`.
    pub fn remember_form_b(&mut self) -> Result<(), JobError> {
        self.remote_state.form_b = true;
        info!(
            self.log,
            "this receiver does not support --delete-missing-args; deleting another way"
        );
        Ok(self.journal.set_form_b(&self.name, true)?)
    }

    /// Writes this remote's part of the fail log into the state directory. The supervisor assembles the script from the
    /// parts. `trouble` says why nothing can be pushed now; the part then contains everything that waits. Without rows
    /// there is no part, and without `failLog` nothing is written.
    pub fn write_fail_log(&self, trouble: Option<&str>) -> Result<(), JournalError> {
        if self.start.localpath.fail_log.is_none() {
            return Ok(());
        }
        let (start, file) = (&self.start, fail_log_part(&self.name));
        let (rows, root) = self.shown_rows(trouble)?;
        let excluded = if self.has_rules() || !self.filter.is_expressible() {
            fail_log::Excluded::Other
        } else if self.filter.is_empty() {
            fail_log::Excluded::Nothing
        } else {
            let (names, files) = (&self.filter.patterns().exact, self.filter.file_patterns());
            fail_log::Excluded::Patterns { names, files }
        };
        let facts = fail_log::Facts { form_b: self.form_b(), excluded, root };
        let text = fail_log::part(&start.localpath, &start.remote, facts, &rows, clock::local);
        let path = start.state_dir.join(file);
        self.fail_log_shows.set(!text.is_empty());
        if fs::read(&path).unwrap_or_default() == text {
            return Ok(());
        }
        let written = if text.is_empty() {
            fs::remove_file(&path)
                .or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
        } else {
            let new = path.with_extension("new");
            fs::write(&new, &text).and_then(|()| fs::rename(&new, &path))
        };
        let mut unwritten = self.unwritten.get();
        match written {
            Ok(()) => unwritten.over(),
            Err(e) if unwritten.worth_logging(clock::boot()) => {
                warn!(self.log, "cannot write the fail log"; "file" => path.display().to_string(), "why" => e.to_string());
            }
            Err(_) => {}
        }
        self.unwritten.set(unwritten);
        self.supervisor.send(&FromPusher::FailLog);
        Ok(())
    }

    /// True if this remote's part of the fail log is not empty.
    pub fn fail_log_shows(&self) -> bool {
        self.fail_log_shows.get()
    }

    /// The rows of the fail log, each with what a push would do now, and the inode of the root.
    fn shown_rows(
        &self,
        trouble: Option<&str>,
    ) -> Result<(Vec<fail_log::Row>, Option<u64>), JournalError> {
        let owed = match trouble {
            None => self.journal.failing(&self.name, fail_log::MOST)?,
            Some(message) => {
                let mut owed = self.journal.owing(&self.name, fail_log::MOST)?;
                let marks = self.journal.marks_after(self.remote_state.cursor, fail_log::MOST)?;
                fail_log::add_marks(&mut owed, marks, message);
                owed
            }
        };
        if owed.is_empty() {
            return Ok((Vec::new(), None));
        }
        // Without the root, or with another one, everything would look deleted.
        let root = self.open_root().ok();
        let files = root.as_ref().map(|root| self.lstat_below(root)).transpose()?;
        let limits = Limits {
            large: u64::MAX,
            batch_bytes: u64::MAX,
            hard_links: false,
            delete: self.delete(),
            renames: false,
            whole: false,
            one_device: root.as_ref().and_then(|root| self.one_device(root)),
        };
        let excluded = |path: &RelPath, is_dir: bool| self.filter.excludes(path, is_dir);
        let plan = |owed: &Owed| {
            let (path, scope, events) = (owed.path.clone(), owed.scope, owed.events);
            Some(plan::plan(
                [Marked { path, scope, events, origin: None }],
                files.as_ref()?,
                limits,
                excluded,
            ))
        };
        let rows = owed.into_iter().map(|owed| fail_log::Row { plan: plan(&owed), owed });
        Ok((rows.collect(), root.as_ref().map(|root| root.stat.ino)))
    }

    /// The replicated names that the slave's own `exclude` refuses, from the complaints of a dry run.
    pub fn refused_names(&self, stderr: &[u8]) -> Vec<RelPath> {
        let sub = argv::place_there(&self.start.remote.peer);
        let mut names = complaint::refused(stderr, &self.real_root, sub);
        let excludes = |path: &RelPath| {
            excluded::topmost(path, true, |p, dir| self.filter.excludes(p, dir)).is_some()
        };
        names.retain(|path| !path.is_root() && !excludes(path));
        names
    }

    /// rsync's message on what could not be compared, or on a name that the slave refuses and that is not shown as
    /// failing.
    pub fn incomplete(&self, compared: &Compared) -> Result<Option<String>, JournalError> {
        if let Some(message) = compared.incomplete() {
            return Ok(Some(message.to_owned()));
        }
        for path in self.refused_names(compared.stderr()) {
            self.supervisor.beat();
            if !self.journal.is_failing(&self.name, &path)? {
                return Ok(Some(compared.judgement().message.clone()));
            }
        }
        Ok(None)
    }

    /// The complaints in rsync's output.
    pub fn complaints(&self, stderr: &[u8]) -> Vec<Complaint> {
        let sub = argv::place_there(&self.start.remote.peer);
        let mut all = complaint::complaints(stderr, &self.real_root, sub);
        all.iter_mut().for_each(|c| c.message = shortened(std::mem::take(&mut c.message)));
        all
    }

    /// The result of an rsync that has exited. Adapts the patience to how long the remote took to answer.
    pub fn finish(&mut self, run: Run, exited: Exited) -> Result<Finished, JobError> {
        let mut finished = run.finish(exited).map_err(broken)?;
        if finished.judgement.verdict == Verdict::Configuration && login_failed(&finished.stderr) {
            let file = self.start.remote.peer.password_file.as_ref();
            let file = file.map(|file| Machine.password_file(file.as_path()));
            let hint = login_hint(&self.start.remote, file.as_ref(), Machine.user());
            finished.judgement.message =
                shortened(format!("{}; {hint}", finished.judgement.message));
        }
        let timeout = Duration::from_secs(u64::from(self.start.remote.peer.timeout_s));
        self.patience = self.patience.after(finished.waited, timeout);
        if !finished.judgement.connection_limited() || self.is_short_of_connections() {
            self.served = clock::boot();
        }
        Ok(finished)
    }

    /// The CPU time since the last call: of this process, and of its rsyncs.
    pub fn take_cost(&self) -> (Duration, Duration) {
        let (own, rsyncs) = process::cpu_times();
        let (own_before, rsyncs_before) = self.cost_seen.replace((own, rsyncs));
        (own.saturating_sub(own_before), rsyncs.saturating_sub(rsyncs_before))
    }

    /// True when something may be excluded: what is below a name is looked at before it goes.
    pub fn is_careful(&self) -> bool {
        self.has_rules() || !self.filter.is_empty()
    }

    /// True when the user's parameters hold rules, or names are converted, so that no rule of ours says what goes.
    pub fn has_rules(&self) -> bool {
        self.converts() || params::own_filters(&self.start.remote.peer.params) == OwnFilters::Rules
    }

    /// True if the remote refused a connection because of its limit, and may still count one that this pusher has just
    /// closed. The remote end exits a moment later.
    pub fn has_lingering_connection(&self, judgement: &Judgement, now: Duration) -> bool {
        judgement.connection_limited() && now < self.served + LINGER_MOST
    }

    /// True if the remote may be asked to give what it has new names.
    pub fn may_rename(&self) -> bool {
        let (start, peer) = (&self.start, &self.start.remote.peer);
        // The trash would not get what such a name replaces.
        let keeps = start.remote.trash_keep_ms.is_some();
        self.delete() && !keeps && self.renames.get() && params::let_rename(&peer.params)
    }

    /// The remote refused to give new names, or could not be asked. It is not asked again.
    pub fn cannot_rename(&self, message: &str) {
        debug!(self.log, "moved files are sent"; "why" => message);
        self.renames.set(false);
    }

    /// Reads from the journal which files the remote may have under two names. A predecessor could not part them, so
    /// they are pushed now.
    pub fn recall_linked(&mut self, now_ms: i64) -> Result<(), JournalError> {
        for (id, files) in self.journal.linked(&self.name)? {
            self.linked.add(id, files);
        }
        if self.linked.is_empty() {
            return Ok(());
        }
        let owe = self.linked.names().map(|name| linked::part(name.clone(), now_ms)).collect();
        self.journal.settle(&self.name, &Settlement { owe, ..Settlement::default() }, now_ms)
    }

    /// Records that the remote is about to get second names for files.
    pub fn link(&mut self, files: &[[RelPath; 2]]) -> Result<(), JournalError> {
        let id = self.journal.link(&self.name, files)?;
        self.linked.add(id, files.to_vec());
        Ok(())
    }

    /// Reads the window of the remote's times from the journal.
    pub fn recall_window(&mut self) -> Result<(), JournalError> {
        self.window = self.journal.times_window(&self.name)?;
        self.times_known.set(self.window.is_some());
        Ok(())
    }

    /// True if a first copy has shown whether the remote's times are coarse.
    pub fn knows_times(&self) -> bool {
        self.times_known.get()
    }

    /// The window within which the remote's times are equal, if it is known.
    pub fn window(&self) -> Option<i32> {
        self.window
    }

    /// True if comparisons treat some different times as equal.
    pub fn treats_times_as_equal(&self) -> bool {
        let users = params::modify_window(&self.start.remote.peer.params);
        users.or(self.window).is_some_and(|window| window >= 0)
    }

    /// Remembers that the remote's times are coarse.
    pub fn remember_window(&mut self, window: i32) -> Result<(), JobError> {
        let unit_s = window + 1;
        info!(self.log, "this remote stores coarse times; comparisons treat times within its unit as equal";
            "unit_s" => unit_s);
        self.window = Some(window);
        self.times_known.set(true);
        Ok(self.journal.set_times_window(&self.name, window)?)
    }

    /// Records that files of a first copy have confirmed the known window.
    pub fn confirm_times(&self) {
        self.times_known.set(true);
    }

    /// The window with which the times of files that were just pushed are checked. `None` if the user's parameters set
    /// it.
    pub fn check_window(&self) -> Option<i32> {
        let set = params::modify_window(&self.start.remote.peer.params).is_some();
        (!set).then_some(self.window.unwrap_or(coarse_times::EXACT))
    }

    /// True if the remote has just refused the option that keeps files sparse. The option is not used again.
    pub fn refused_sparse(&self, finished: &Finished) -> bool {
        matches!(finished.judgement.verdict, Verdict::Configuration | Verdict::Refused(_))
            && argv::refuses_sparse(&finished.stderr)
            && !self.refuses_sparse.replace(true)
    }

    /// Learns an excluded path that the remote has from a line of a dry run.
    pub fn note_excluded(&self, change: &Change) {
        if change.kind == ChangeKind::Deleted && change.is_dir {
            let top = excluded::topmost(&change.path, true, |p, dir| self.filter.excludes(p, dir));
            let mut known = self.excluded.borrow_mut();
            top.map(|top| known.learn(top, Shown::Listed, clock::boot()));
        }
    }

    /// Learns that the remote's `refuse options` forbids this option (its name in the manual). Returns true if it has a
    /// substitute.
    pub fn learn_refused(&self, option: &'static str) -> bool {
        let params = &self.start.remote.peer.params;
        // A comparison by content that the user requested has no substitute.
        let instead = refused::instead(option)
            .filter(|_| option != refused::CHECKSUM || !params::has(params, option));
        let Some(instead) = instead else { return false };
        // Another lane may already have learnt it.
        if self.refused.borrow_mut().insert(option) {
            warn!(self.log, "the remote's daemon refuses an option of rsync (`refuse options`)";
                "option" => format!("--{option}"), "instead" => instead,
                "help" => HelpTopic::RefusedOption.command());
        }
        true
    }

    /// Removes refused options from a command line. A comparison by content keeps `--checksum`, and fails.
    pub fn leave_out_refused(&self, argv: &mut Vec<OsString>, purpose: Purpose) {
        let refused = self.refused.borrow();
        let gone = refused
            .iter()
            .copied()
            .filter(|name| purpose != Purpose::Compare || *name != refused::CHECKSUM);
        refused::leave_out(argv, &gone.collect::<Vec<_>>());
    }

    /// The directories of the remote that are known to contain excluded names. rsync lists them as deleted inside a
    /// deleted directory, although it keeps them.
    pub fn holders(&self) -> excluded::Holders {
        let mut holders = excluded::Holders::default();
        for path in self.excluded.borrow().shown(Shown::Listed) {
            holders.stays(path, true);
        }
        holders
    }

    /// Learns from a failed comparison: excluded paths, unconvertible names, or options that the remote refuses.
    /// Returns true if it learnt something, so that a retry may succeed.
    pub fn learn_from(&self, finished: &Finished) -> bool {
        if let Verdict::Refused(option) = finished.judgement.verdict {
            return option != refused::CHECKSUM && self.learn_refused(option);
        }
        if self.learn_unconvertible(finished) {
            return true;
        }
        if finished.judgement.verdict != Verdict::Partial || self.filter.is_empty() {
            return false;
        }
        let excludes = |path: &RelPath, dir: bool| self.filter.excludes(path, dir);
        let mut known = self.excluded.borrow_mut();
        let mut news = false;
        let complaints = self.complaints(&finished.stderr);
        for path in complaints.into_iter().filter_map(|c| c.paths.into_iter().next()) {
            // Whether it is a directory on the remote is not known.
            if let Some(top) = excluded::topmost(&path, true, excludes) {
                news |= known.learn(top, Shown::Complained, clock::boot());
            }
        }
        news
    }

    /// The excluded paths at or below these names that the remote has and cannot enter.
    pub fn not_entered(&self, names: &HashSet<RelPath>) -> Vec<(RelPath, bool)> {
        let known = self.excluded.borrow();
        let below = |path: &&RelPath| path.prefixes().any(|prefix| names.contains(&prefix));
        known.shown(Shown::Complained).filter(below).map(|path| (path.clone(), true)).collect()
    }

    /// The number of entries that the remote has, if known.
    pub fn entries(&self) -> Option<u64> {
        self.remote_state.entries.and_then(|n| u64::try_from(n).ok())
    }

    /// The remote as it is reached now.
    pub(super) fn peer(&self) -> &Peer {
        self.master.peer().unwrap_or(&self.start.remote.peer)
    }
}

/// The error for an rsync that cannot be polled, or whose output cannot be read.
pub fn broken(error: io::Error) -> JobError {
    JobError::System(format!("rsync: {error}"))
}
