//! The loop: read the queue until it is empty, write one record with its checkpoint, wake the pushers at once.

use super::Control;
use crate::filter::Filter;
use crate::journal::{Events, Journal, JournalError, Scope};
use crate::message::{ALIVE_EVERY_MS, FromWatcher, ToWatcher, WatcherStart, WatcherState};
use crate::path::RelPath;
use crate::seen::{Notice, What};
use crate::sys::channel::Received;
use crate::sys::files::{self, Root};
use crate::sys::inotify::Queue;
use crate::sys::poll::{Interest, wait};
use crate::sys::signals::Signals;
use crate::sys::{clock, wake};
use crate::watcher::batch::Batch;
use crate::watcher::event::{Act, Map};
use crate::watcher::ground::{self, Identity};
use crate::watcher::scan::{Done, Ground, Purpose, Walker, is_mounted};
use crate::watcher::trust::{Trust, trust};
use slog::{Logger, debug, error, info, warn};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

/// Events of one transaction.
const TURN_EVENTS: usize = 4_096;
/// What could not be watched is scanned this often.
const UNWATCHED_EVERY: Duration = Duration::from_secs(60);
/// A checkpoint for events that marked nothing comes this much after the last.
const CHECKPOINT_AFTER: Duration = Duration::from_secs(5);
/// A checkpoint comes at least this often.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);
/// After a record that was refused.
const REFUSED_WAIT: Duration = Duration::from_secs(1);
/// A stop waits this long for walks that are not finished.
const FINISH_WITHIN: Duration = Duration::from_secs(2);
const SECOND: Duration = Duration::from_secs(1);

/// How the loop ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The supervisor said so.
    Stop,
    /// The supervisor is gone, or an operator ended this process.
    Leave,
}

/// Times since boot of what is done now and then.
#[derive(Default)]
struct Times {
    alive: Duration,
    second: Duration,
    checkpoint: Duration,
    unwatched: Duration,
    /// A search for names of files comes no sooner.
    links: Duration,
    links_begun: Duration,
    /// Nothing is read before: the journal refused.
    refused_until: Duration,
    mounts: Duration,
}

/// A running watcher.
pub struct Service {
    channel: Control,
    signals: Option<Signals>,
    log: Logger,
    debug: bool,
    watch: PathBuf,
    queue: Queue,
    wakes: HashMap<String, OwnedFd>,
    journal: Journal,
    map: Map,
    walker: Walker,
    identity: Option<Identity>,
    /// Everything before it is marked: the next scan starts here.
    base_ns: i64,
    /// The start of the last complete scan of what is not watched.
    unwatched_base_ns: i64,
    /// The reason for a reconcile that is said when the scan is done.
    reconcile_after: Option<String>,
    /// Files that were open when the scan began: their other names are marked after it.
    were_open: Vec<RelPath>,
    /// Watches of a map that was forgotten.
    old_wds: Vec<i32>,
    /// The map is being built.
    scanning: bool,
    /// The map must be built anew as soon as the journal takes marks.
    rebuild: bool,
    /// Directories seen by the last complete scan.
    needed: u64,
    state: WatcherState,
    watches_said: u64,
    refused_said: bool,
    events_since_checkpoint: bool,
    worked: bool,
    times: Times,
    end: Option<End>,
}

impl Service {
    /// Takes the descriptors apart; nothing is watched yet.
    pub fn new(
        channel: Control,
        signals: Option<Signals>,
        start: WatcherStart,
        fds: Vec<OwnedFd>,
        filter: Filter,
        journal: Journal,
        log: Logger,
    ) -> io::Result<Self> {
        let mut fds = fds.into_iter();
        let queue = fds.next().ok_or_else(|| io::Error::other("no inotify descriptor came"))?;
        let mut walker = Walker::default();
        walker.mounts = journal.mounts().map_err(io::Error::other)?.into_iter().collect();
        Ok(Self {
            channel,
            signals,
            log,
            debug: start.debug,
            watch: start.localpath.watch.as_path().to_owned(),
            queue: Queue::new(queue),
            wakes: start.wakes.into_iter().zip(fds).collect(),
            journal,
            map: Map::new(start.localpath.inotify, filter),
            walker,
            identity: None,
            base_ns: clock::file_ns(),
            unwatched_base_ns: 0,
            reconcile_after: None,
            were_open: Vec::new(),
            old_wds: Vec::new(),
            scanning: false,
            rebuild: false,
            needed: 0,
            state: WatcherState::Starting,
            watches_said: 0,
            refused_said: false,
            events_since_checkpoint: false,
            worked: false,
            times: Times::default(),
            end: None,
        })
    }

    /// Serves until the end; true after an orderly stop.
    pub fn serve(mut self) -> io::Result<bool> {
        self.say(&FromWatcher::State(WatcherState::Starting));
        self.look_at_root();
        loop {
            if let Some(end) = self.end {
                return self.finish(end);
            }
            self.wait()?;
            self.take_messages();
            self.now_and_then();
            if matches!(self.state, WatcherState::Held(_)) {
                self.discard()?;
            } else if clock::boot() >= self.times.refused_until {
                if self.rebuild {
                    self.rebuild();
                }
                if !self.turn(None)? {
                    return Ok(false);
                }
            }
        }
    }

    fn wait(&mut self) -> io::Result<()> {
        let now = clock::boot();
        let held = matches!(self.state, WatcherState::Held(_));
        let refused = now < self.times.refused_until;
        let mut until = self.times.second + SECOND;
        if !held && !refused {
            let search = self.map.links.wants_search().then_some(self.times.links);
            let retry = (!self.walker.is_idle()).then_some(now + Duration::from_millis(20));
            for time in [self.map.next_expiry(), search, retry].into_iter().flatten() {
                until = until.min(time);
            }
            if self.walker.has_jobs() || self.rebuild {
                until = now;
            }
        } else if refused {
            until = until.min(self.times.refused_until);
        }
        let interest =
            if self.channel.wants_write() { Interest::ReadWrite } else { Interest::Read };
        let mut fds = vec![(self.channel.as_fd(), interest)];
        fds.extend(self.signals.as_ref().map(|s| (s.as_fd(), Interest::Read)));
        if !refused {
            fds.push((self.queue.as_fd(), Interest::Read));
        }
        wait(&fds, Some(until.saturating_sub(now)))?;
        Ok(())
    }

    fn say(&mut self, message: &FromWatcher) {
        // When the supervisor is gone, the channel says so at the next read.
        if let Err(error) = self.channel.send(message, Vec::new()) {
            debug!(self.log, "cannot send"; "error" => %error);
        }
    }

    fn say_state(&mut self, state: WatcherState) {
        if self.state != state {
            self.say_watches();
            self.state = state.clone();
            self.say(&FromWatcher::State(state));
        }
    }

    fn say_watches(&mut self) {
        let watches = self.map.tree.len() as u64;
        if watches != self.watches_said {
            self.watches_said = watches;
            self.say(&FromWatcher::Watches(watches));
        }
    }

    fn take_messages(&mut self) {
        if self.signals.as_mut().is_some_and(|s| s.take().stop) {
            self.end.get_or_insert(End::Leave);
        }
        let _ = self.channel.flush();
        loop {
            match self.channel.receive() {
                Ok(Received::Message(message, fds)) => self.take_message(message, fds),
                Ok(Received::Nothing) => return,
                Ok(Received::Closed) | Err(_) => {
                    self.end = Some(End::Leave);
                    return;
                }
            }
        }
    }

    fn take_message(&mut self, message: ToWatcher, fds: Vec<OwnedFd>) {
        match message {
            ToWatcher::Start(_) => warn!(self.log, "a second start is ignored"),
            ToWatcher::AddWakes(names) => self.wakes.extend(names.into_iter().zip(fds)),
            ToWatcher::DropWake(name) => drop(self.wakes.remove(&name)),
            ToWatcher::AdoptRoot => self.adopt_root(),
            ToWatcher::Stop => self.end = Some(End::Stop),
        }
    }

    fn now_and_then(&mut self) {
        let now = clock::boot();
        if now >= self.times.alive + Duration::from_millis(ALIVE_EVERY_MS / 2) {
            self.times.alive = now;
            self.say(&FromWatcher::Alive);
        }
        if now < self.times.second + SECOND {
            return;
        }
        self.times.second = now;
        self.look_at_root();
        self.say_watches();
        if std::mem::take(&mut self.worked) {
            let cleaned = self.journal.clean(5_000);
            if let Err(error) = cleaned.and_then(|n| {
                self.worked = n > 0;
                self.journal.truncate_wal()
            }) {
                debug!(self.log, "cannot clean the journal"; "error" => %error);
            }
        } else {
            // The pushers settle long after the last mark.
            self.worked = self.journal.clean(5_000).is_ok_and(|n| n > 0);
        }
    }

    /// Holds when the root is gone or another, and begins when it is there.
    fn look_at_root(&mut self) {
        let held = matches!(self.state, WatcherState::Held(_));
        let found = ground::check(&self.watch, self.identity.as_ref());
        match found {
            Err(why) => self.hold(why),
            Ok(()) if held || self.identity.is_none() => self.begin(),
            Ok(()) => {}
        }
    }

    fn hold(&mut self, why: String) {
        if let WatcherState::Held(said) = &self.state
            && *said == why
        {
            return;
        }
        error!(self.log, "held: nothing is marked or deleted until the root is back"; "why" => &why);
        for wd in self.map.tree.wds() {
            self.queue.remove(wd);
        }
        // What was open is still in the journal.
        self.map.forget();
        self.walker.clear();
        self.say_state(WatcherState::Held(why));
    }

    /// The root is there: judge the checkpoint, and scan.
    fn begin(&mut self) {
        if let Err(error) = self.try_begin() {
            self.hold(error.to_string());
        }
    }

    fn try_begin(&mut self) -> io::Result<()> {
        let root = Root::open(&self.watch)?;
        if let Some(identity) = &self.identity {
            if !identity.is(&root.seen) {
                return Err(io::Error::other("another directory stands there"));
            }
            info!(self.log, "the root is back");
            return self.scan(&root, WatcherState::Scanning);
        }
        let identity = Identity::of(&root)?;
        let last = self.journal.checkpoint().map_err(io::Error::other)?;
        let now_ns = clock::file_ns();
        match trust(last.as_ref(), &identity.circumstances()) {
            Trust::OtherRoot(why) => {
                return Err(io::Error::other(format!(
                    "{why}; `syncsup release` takes it as it is"
                )));
            }
            Trust::First => self.base_ns = now_ns,
            Trust::Scan(since) => self.base_ns = since,
            Trust::ScanAndReconcile(since, why) => {
                self.base_ns = since;
                self.reconcile_after = Some(why);
            }
            Trust::Reconcile(why) => {
                self.base_ns = now_ns;
                self.need_reconcile(why);
            }
        }
        // A clean stop is only clean until the next start.
        if let Some(mut last) = last.filter(|c| c.clean) {
            last.clean = false;
            let record = Batch::default().into_record(Some(last));
            self.journal.record(&record, clock::wall_ms()).map_err(io::Error::other)?;
        }
        self.identity = Some(identity);
        self.scan(&root, WatcherState::Starting)
    }

    /// Builds the map anew and marks what changed since everything was last marked.
    fn scan(&mut self, root: &Root, state: WatcherState) -> io::Result<()> {
        self.old_wds.extend(self.map.tree.wds());
        self.were_open.extend(self.map.forget());
        self.walker.clear();
        self.were_open.extend(self.journal.open_paths().map_err(io::Error::other)?);
        let mut batch = Batch::default();
        for path in &self.were_open {
            batch.mark(path.clone(), Scope::Entry, Events::WRITE | Events::SCAN);
            batch.close(path.clone());
        }
        if !batch.is_empty() {
            let record = batch.into_record(None);
            self.journal.record(&record, clock::wall_ms()).map_err(io::Error::other)?;
            self.wake_all();
        }
        let since = self.base_ns;
        let mut batch = Batch::default();
        let mut ground = Ground {
            queue: &self.queue,
            watch: &self.watch,
            map: &mut self.map,
            batch: &mut batch,
            log: &self.log,
            root: None,
        };
        self.walker.start_scan(root, &mut ground, since)?;
        (self.scanning, self.rebuild) = (true, false);
        // The first checkpoint comes at once.
        self.times.checkpoint = Duration::ZERO;
        self.unwatched_base_ns = clock::file_ns();
        self.say_state(state);
        Ok(())
    }

    fn need_reconcile(&mut self, why: String) {
        warn!(self.log, "every remote is reconciled"; "why" => &why);
        // In the journal too: a message is lost when the supervisor dies now.
        let wanted = self.journal.remote_names().and_then(|names| {
            names.iter().try_for_each(|name| self.journal.want_reconcile(name, Some(&why)))
        });
        if let Err(error) = wanted {
            debug!(self.log, "cannot note the reconcile"; "error" => %error);
        }
        self.say(&FromWatcher::NeedReconcile(why));
    }

    fn adopt_root(&mut self) {
        info!(self.log, "the root is taken as it is now");
        self.hold("the root is being taken as it is now".into());
        self.walker.mounts.clear();
        self.walker.unmounted.clear();
        let forgotten =
            self.journal.forget_checkpoint().and_then(|()| self.journal.set_mounts(&[], true));
        if let Err(error) = forgotten {
            warn!(self.log, "cannot forget the old root"; "error" => %error);
            return;
        }
        self.identity = None;
        self.look_at_root();
        if self.identity.is_some() {
            self.need_reconcile("the root was replaced and released".into());
        }
    }

    /// While held, what the queue has is of no interest: a scan follows.
    fn discard(&mut self) -> io::Result<()> {
        while !self.queue.read()?.is_empty() {}
        Ok(())
    }

    fn wake_all(&self) {
        self.wakes.values().for_each(wake::wake);
    }

    /// One turn: events, a portion of the walks, one record. False when the journal is damaged. `last` is the final
    /// turn: true when everything is known to be marked after it.
    fn turn(&mut self, last: Option<bool>) -> io::Result<bool> {
        let mut batch = Batch::default();
        let mut left = Vec::new();
        let (mut count, mut emptied) = (0, None);
        while count < TURN_EVENTS {
            let before = clock::file_ns();
            let notices = self.queue.read()?;
            if notices.is_empty() {
                emptied = Some(before);
                break;
            }
            count += notices.len();
            self.take_notices(&notices, &mut batch, &mut left);
        }
        self.events_since_checkpoint |= count > 0;
        let done = self.walk(emptied.is_some(), &mut batch, &mut left);
        self.look_at_files(&mut batch);
        done.into_iter().for_each(|d| self.walk_ended(d, &mut batch));
        let overflow = left.contains(&Act::Overflow) || std::mem::take(&mut self.walker.lost);
        let written = self.write(batch, emptied.filter(|_| !overflow), last)?;
        match written {
            Written::Damaged => return Ok(false),
            Written::Refused => {
                self.times.refused_until = clock::boot() + REFUSED_WAIT;
                self.scanning = true;
                self.rebuild = true;
            }
            Written::Yes => {}
        }
        if left.contains(&Act::CheckRoot) {
            self.look_at_root();
        }
        if overflow {
            warn!(self.log, "events were lost: looking for what changed since the last checkpoint";
                "hint" => "raise fs.inotify.max_queued_events when this comes often");
            self.scanning = true;
            self.rebuild = true;
        }
        Ok(true)
    }

    /// Builds the map anew, from the last checkpoint.
    fn rebuild(&mut self) {
        match Root::open(&self.watch) {
            Ok(root) => {
                if let Err(error) = self.scan(&root, WatcherState::Scanning) {
                    warn!(self.log, "cannot scan yet"; "error" => %error);
                    self.times.refused_until = clock::boot() + REFUSED_WAIT;
                }
            }
            Err(error) => self.hold(error.to_string()),
        }
    }

    fn take_notices(&mut self, notices: &[Notice], batch: &mut Batch, left: &mut Vec<Act>) {
        let now = clock::boot();
        let idle = self.walker.is_idle();
        let mut acts = Vec::new();
        let mut ground = Ground {
            queue: &self.queue,
            watch: &self.watch,
            map: &mut self.map,
            batch,
            log: &self.log,
            root: None,
        };
        for notice in notices {
            if self.debug {
                debug!(self.log, "event"; "what" => ?notice.what, "wd" => notice.wd,
                    "dir" => ground.map.tree.path(notice.wd).map(|p| p.to_string()), "name" => ?notice.name);
            }
            if idle && notice.wd >= 0 && !ground.map.tree.contains(notice.wd) {
                // Left by a predecessor: a directory that has left the tree.
                if notice.what != What::Ignored {
                    self.queue.remove(notice.wd);
                }
                continue;
            }
            ground.map.step(notice, now, ground.batch, &mut acts);
            for act in acts.drain(..) {
                left.extend(self.walker.act(act, &mut ground));
            }
        }
    }

    /// What is to be done beside events.
    fn walk(&mut self, emptied: bool, batch: &mut Batch, left: &mut Vec<Act>) -> Vec<Done> {
        let now = clock::boot();
        let mut ground = Ground {
            queue: &self.queue,
            watch: &self.watch,
            map: &mut self.map,
            batch,
            log: &self.log,
            root: None,
        };
        if emptied {
            self.walker.try_later(&mut ground);
            let mut acts = Vec::new();
            ground.map.expire(now, ground.batch, &mut acts);
            for act in acts {
                left.extend(self.walker.act(act, &mut ground));
            }
            if !self.walker.unmounted.is_empty() && now >= self.times.mounts + SECOND {
                self.times.mounts = now;
                for path in self.walker.unmounted.clone() {
                    if is_mounted(&self.watch, &path) {
                        info!(self.log, "mounted again"; "mount_point" => %path);
                        self.walker.mounted_again(&path, &mut ground);
                    }
                }
            }
        }
        if self.walker.is_idle() {
            if let Some(root) = ground.map.tree.root()
                && ground.map.links.wants_search()
                && now >= self.times.links
            {
                self.times.links_begun = now;
                self.walker.start_link_search(root, ground.map.links.take_wanted());
            } else if !ground.map.unwatched.is_empty()
                && now >= self.times.unwatched + UNWATCHED_EVERY
            {
                self.times.unwatched = now;
                let (since, start) = (self.unwatched_base_ns, clock::file_ns());
                self.walker.start_unwatched(ground.map, since, start);
            }
        }
        self.walker.portion(&mut ground)
    }

    /// lstat, where the kind of a file or its links matter.
    fn look_at_files(&mut self, batch: &mut Batch) {
        for (path, look) in batch.take_looks() {
            let seen = files::lstat(&path.below(&self.watch)).ok();
            self.map.looked(path, &look, seen.as_ref(), batch);
        }
    }

    fn walk_ended(&mut self, done: Done, batch: &mut Batch) {
        let now = clock::boot();
        match done.purpose {
            Purpose::Scan => {
                self.scanning = false;
                self.times.unwatched = now;
                self.needed = done.dirs;
                for wd in std::mem::take(&mut self.old_wds) {
                    if !self.map.tree.contains(wd) {
                        self.queue.remove(wd);
                    }
                }
                // The scan has seen every name there is.
                let wanted = self.map.links.take_wanted();
                self.map.links.searched(&wanted, &self.map.tree);
                for path in std::mem::take(&mut self.were_open) {
                    if let Ok(seen) = files::lstat(&path.below(&self.watch)) {
                        self.map.mark_links(&seen, Events::WRITE | Events::SCAN, batch);
                    }
                }
                if let Some(why) = self.reconcile_after.take() {
                    self.need_reconcile(why);
                }
                info!(self.log, "watching"; "directories" => self.map.tree.len());
            }
            Purpose::Unwatched(start) => {
                self.unwatched_base_ns = start;
                self.needed = self.map.tree.len() as u64 + done.dirs;
            }
            Purpose::Links(_) => {
                self.times.links = now + SECOND + (now - self.times.links_begun) * 20;
            }
            Purpose::New | Purpose::Tree(_) => {}
        }
    }

    /// Writes the record of this turn, with a checkpoint when the queue was empty at `emptied` and nothing is left.
    fn write(
        &mut self,
        batch: Batch,
        emptied: Option<i64>,
        last: Option<bool>,
    ) -> io::Result<Written> {
        if !self.scanning && !matches!(self.state, WatcherState::Held(_)) {
            self.settle_state();
        }
        let now = clock::boot();
        let settled = self.walker.is_idle() && !self.scanning && !self.map.links.wants_search();
        let at_ns = emptied.filter(|_| settled).map(|at| {
            if self.map.unwatched.is_empty() {
                self.unwatched_base_ns = at;
            }
            at.min(self.unwatched_base_ns)
        });
        let since = now.saturating_sub(self.times.checkpoint);
        let due = !batch.is_empty()
            || last.is_some()
            || self.times.checkpoint.is_zero()
            || since >= CHECKPOINT_EVERY
            || (self.events_since_checkpoint && since >= CHECKPOINT_AFTER);
        let checkpoint = match (&self.identity, at_ns) {
            (Some(identity), Some(at)) if due && !identity.network => {
                Some(identity.checkpoint(at, last == Some(true)))
            }
            _ => None,
        };
        let marks = batch.has_marks();
        let record = batch.into_record(checkpoint);
        let mounts = std::mem::take(&mut self.walker.new_mounts);
        if record.is_empty() && mounts.is_empty() {
            return Ok(Written::Yes);
        }
        if self.debug {
            record.marks.iter().for_each(|m| {
                debug!(self.log, "mark"; "path" => %m.path, "scope" => ?m.scope, "events" => m.events.0);
            });
        }
        let mut result = self.journal.record(&record, clock::wall_ms());
        if result.is_ok() && !mounts.is_empty() {
            result = self.journal.set_mounts(&mounts, false);
        }
        match result {
            Ok(()) => {
                if let Some(checkpoint) = record.checkpoint {
                    self.base_ns = checkpoint.at_ns;
                    self.times.checkpoint = now;
                    self.events_since_checkpoint = false;
                }
                if marks {
                    self.wake_all();
                    self.worked = true;
                }
                if std::mem::take(&mut self.refused_said) {
                    info!(self.log, "the journal takes marks again");
                }
                Ok(Written::Yes)
            }
            Err(JournalError::Damaged(why)) => {
                error!(self.log, "the journal is damaged"; "error" => &why);
                self.say(&FromWatcher::Damaged(why));
                Ok(Written::Damaged)
            }
            Err(JournalError::Refused(why)) => {
                if !std::mem::replace(&mut self.refused_said, true) {
                    error!(self.log, "the journal refuses marks; scanning again when it takes them"; "error" => why);
                }
                self.walker.new_mounts = mounts;
                Ok(Written::Refused)
            }
        }
    }

    /// Watching, or degraded and why.
    fn settle_state(&mut self) {
        let unwatched = self.map.unwatched.len();
        if unwatched == 0 {
            return self.say_state(WatcherState::Watching);
        }
        if !self.walker.is_idle() {
            return;
        }
        let mut why = format!(
            "{unwatched} directories, with what is below them, are not watched but scanned every minute: {}",
            self.walker.refusal.as_deref().unwrap_or("refused")
        );
        if self.walker.out_of_watches {
            let needed = self.needed.max((self.map.tree.len() + unwatched) as u64);
            let limit = watch_limit();
            let raised = (limit.unwrap_or(0) + needed).next_power_of_two();
            let limit = limit.map_or("unknown".into(), |l| l.to_string());
            why.push_str(&format!(
                "; {needed} watches are needed here, and the limit for all programs of this user is {limit}: \
                 sysctl fs.inotify.max_user_watches={raised}"
            ));
        }
        if self.state != WatcherState::Degraded(why.clone()) {
            warn!(self.log, "degraded"; "why" => &why);
        }
        self.say_state(WatcherState::Degraded(why));
    }

    /// Marks what the queue still holds; after a stop in order the checkpoint says so.
    fn finish(&mut self, end: End) -> io::Result<bool> {
        if matches!(self.state, WatcherState::Held(_)) || self.identity.is_none() {
            return Ok(true);
        }
        let until = clock::boot() + FINISH_WITHIN;
        // Once is enough for what happened before the stop, unless walks are left.
        loop {
            if !self.turn(None)? {
                return Ok(false);
            }
            let left = self.scanning || !self.walker.is_idle();
            if !left || self.scanning || clock::boot() >= until {
                break;
            }
        }
        if matches!(self.state, WatcherState::Held(_)) {
            return Ok(true);
        }
        self.turn(Some(end == End::Stop))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    Yes,
    Refused,
    Damaged,
}

/// fs.inotify.max_user_watches
fn watch_limit() -> Option<u64> {
    std::fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").ok()?.trim().parse().ok()
}
