//! One turn of the loop: events, a portion of the walks, one record.

use super::*;
use crate::reconcile_reason::ReconcileReason;
use crate::sys::fault_point::{Point, pass};
use crate::watcher::change_set::StatRequest;
use crate::watcher::maybe_open::LOOK_AFTER;

impl Service {
    /// One turn: events, a portion of the walks, one record. Returns false if the journal is damaged. `last` is set in
    /// the final turn. It is true if everything is known to be marked after that turn.
    pub(super) fn turn(&mut self, last: Option<bool>) -> io::Result<bool> {
        let mut changes = self.pending_changes.take().unwrap_or_default();
        let mut left = Vec::new();
        let (mut count, mut emptied, mut half_move) = (0, None, false);
        while count < TURN_EVENTS {
            let before = clock::file_ns();
            let notices = self.queue.read()?;
            if notices.is_empty() && std::mem::take(&mut half_move) {
                std::thread::sleep(HALF_MOVE_WAIT);
                continue;
            }
            if notices.is_empty() {
                emptied = Some(before);
                break;
            }
            half_move = notices.last().is_some_and(|last| last.what == What::MovedFrom);
            count += notices.len();
            self.take_notices(&notices, &mut changes, &mut left);
        }
        self.events_since_checkpoint |= count > 0;
        if count > 0 {
            pass(Point::WatcherRead);
        }
        let done = self.walk(emptied.is_some(), &mut changes, &mut left);
        self.look_at_files(&mut changes);
        if emptied.is_some() {
            self.look_for_writers(&mut changes);
            self.send_open(&mut changes);
        }
        done.into_iter().for_each(|d| self.walk_ended(d, &mut changes));
        // A scan examines every name anyway.
        if self.map_state == MapState::Complete {
            for path in self.map.links.found(&self.map.tree) {
                changes.mark(path, Scope::Entry, Events::WRITE | Events::SCAN);
            }
        }
        let overflow = left.contains(&Act::Overflow) || std::mem::take(&mut self.walker.lost);
        if emptied.is_some() && !overflow {
            self.pass_barriers(&mut changes);
        }
        let written = self.write(changes, emptied.filter(|_| !overflow), last);
        let complete = self.map_state == MapState::Complete;
        match written {
            Written::Damaged => return Ok(false),
            Written::Refused => {
                self.times.refused_until = clock::boot() + REFUSED_WAIT;
                self.map_state = MapState::Stale;
            }
            // Only now, because 'watching' means that everything before is in the journal.
            Written::Yes if complete && !matches!(self.state, WatcherState::Held(_)) => {
                self.settle_state();
                if self.walker.is_idle() {
                    self.say_watches();
                }
                if !overflow {
                    self.answer_barriers();
                }
            }
            Written::Yes => {}
        }
        if left.contains(&Act::RootLost) && !matches!(self.state, WatcherState::Held(_)) {
            // Even if the root exists again already, nothing in it is watched. The next check begins from scratch.
            self.hold(Reason::new(HelpTopic::RootGone, "it was unmounted or removed"));
        } else if left.contains(&Act::CheckRoot) {
            self.look_at_root();
        }
        if overflow {
            warn!(self.log, "events were lost; scanning for changes since the last checkpoint";
                "hint" => "raise fs.inotify.max_queued_events if this happens often");
            self.map_state = MapState::Stale;
        }
        Ok(true)
    }

    pub(super) fn take_notices(
        &mut self,
        notices: &[Notice],
        changes: &mut ChangeSet,
        left: &mut Vec<Act>,
    ) {
        let now = clock::boot();
        let idle = self.walker.is_idle();
        let mut acts = Vec::new();
        let mut context =
            ScanContext::new(&self.queue, &self.watch, &mut self.map, changes, &self.log);
        for notice in notices {
            if self.debug {
                debug!(self.log, "event"; "what" => ?notice.what, "wd" => notice.wd,
                    "dir" => context.map.tree.path(notice.wd).map(|p| p.to_string()), "name" => ?notice.name);
            }
            if idle && notice.wd >= 0 && !context.map.tree.contains(notice.wd) {
                // The predecessor left this watch. Its directory has left the tree.
                if notice.what != What::Ignored {
                    self.queue.remove(notice.wd);
                }
                continue;
            }
            context.map.step(notice, now, context.changes, &mut acts);
            for act in acts.drain(..) {
                left.extend(self.walker.act(act, &mut context));
            }
        }
    }

    /// Does the work of a turn that events do not cause.
    pub(super) fn walk(
        &mut self,
        emptied: bool,
        changes: &mut ChangeSet,
        left: &mut Vec<Act>,
    ) -> Vec<Done> {
        let now = clock::boot();
        let mut context =
            ScanContext::new(&self.queue, &self.watch, &mut self.map, changes, &self.log);
        if emptied {
            // This comes first, because a mount may be the only reason why the map does not match.
            if now >= self.times.mounts + SECOND {
                self.times.mounts = now;
                self.walker.look_at_mounts(self.mounts.as_mut(), &mut context);
            }
            self.walker.try_later(&mut context);
            let mut acts = Vec::new();
            context.map.expire(now, context.changes, &mut acts);
            for act in acts {
                left.extend(self.walker.act(act, &mut context));
            }
        }
        if self.walker.is_idle() {
            if let Some(root) = context.map.tree.root()
                && context.map.links.wants_search()
                && now >= self.times.links
            {
                self.times.links_begun = now;
                self.walker.start_link_search(root, context.map.links.take_wanted());
            } else if !context.map.unwatched.is_empty()
                && now >= self.times.unwatched + UNWATCHED_EVERY
            {
                self.times.unwatched = now;
                self.barriers.scan_begins();
                let (since, start) = (self.unwatched_base_ns, clock::file_ns());
                self.walker.start_unwatched(context.map, since, start);
            }
        }
        self.walker.portion(&mut context)
    }

    /// Calls lstat where the kind of a file or its links matter.
    pub(super) fn look_at_files(&mut self, changes: &mut ChangeSet) {
        let now = clock::boot();
        let mut looks: HashMap<i32, Vec<StatRequest>> = HashMap::new();
        for look in changes.take_stat_requests().into_values() {
            looks.entry(look.dir).or_default().push(look);
        }
        let mut context =
            ScanContext::new(&self.queue, &self.watch, &mut self.map, changes, &self.log);
        for (wd, looks) in looks {
            // The file may have been moved since the event, and the event of that move may be unread.
            let Some(dir) = self.walker.open(&mut context, wd) else { continue };
            let Some(path) = context.map.tree.path(wd) else { continue };
            for look in looks {
                let stat = files::lstat_at(dir.as_fd(), Path::new(&look.name)).ok();
                let path = path.join(&look.name);
                context.map.looked(path, &look, stat.as_ref(), now, context.changes);
            }
        }
    }

    /// Marks open files that have been quiet, and files that may have been written without an event, unless a process
    /// has them open for writing.
    pub(super) fn look_for_writers(&mut self, changes: &mut ChangeSet) {
        let began = clock::boot();
        if began < self.times.writers || self.map.next_look().is_none_or(|look| began < look) {
            return;
        }
        let (walker, watch) = (&self.walker, &self.watch);
        let lstat = |path: &RelPath| mount_probes::lstat(walker, watch, path);
        let id = |stat: &Stat| (stat.dev, stat.ino);
        let at = |inode, names: &[RelPath]| {
            let mut stat = names.iter().filter_map(|path| Some((path.clone(), lstat(path)?)));
            stat.find(|(_, stat)| id(stat) == inode)
        };
        let quiet: Vec<_> = self.map.take_quiet().into_iter().map(|p| (lstat(&p), p)).collect();
        let maybe_open = self.map.due_maybe_open(began);
        let known = quiet.iter().filter_map(|(stat, _)| stat.as_ref().map(id));
        let named = maybe_open.iter().filter(|(inode, names)| at(*inode, names).is_some());
        let wanted = known.chain(named.map(|(inode, _)| *inode)).collect();
        let written = self.privileges.writers.written(wanted);
        // The files are examined after that: what was written and closed meanwhile is not what was marked.
        for (before, path) in quiet {
            let stat = lstat(&path);
            let writer = before.is_some_and(|stat| written.contains(&id(&stat)));
            let looked = Looked { stat: stat.as_ref(), writer };
            self.map.looked_at_quiet(path, looked, began, changes);
        }
        for (inode, names) in maybe_open {
            let found = at(inode, &names);
            let at = found.as_ref().map(|(path, stat)| {
                let looked = Looked { stat: Some(stat), writer: written.contains(&inode) };
                (path.clone(), looked)
            });
            self.map.looked_at_maybe_open(inode, at, began, changes);
        }
        // This work takes at most a twentieth of the time.
        let now = clock::boot();
        self.times.writers = now + SECOND.max((now - began) * 20);
    }

    /// Marks files that are open, if a rule says that they are sent while open.
    fn send_open(&mut self, changes: &mut ChangeSet) {
        let now = clock::boot();
        for path in self.map.take_sends(now) {
            let stat = self.lstat(&path);
            self.map.send_open(path, stat.as_ref(), now, changes);
        }
    }

    pub(super) fn walk_ended(&mut self, done: Done, changes: &mut ChangeSet) {
        let now = clock::boot();
        match done.purpose {
            Purpose::Scan => {
                // If events were lost meanwhile, the scan must be repeated.
                if self.map_state == MapState::Scanning {
                    self.map_state = MapState::Complete;
                }
                self.not_before_ns = None;
                self.walker.first = false;
                self.walker.unproven_since_ns = None;
                self.times.unwatched = now;
                self.needed = done.dirs;
                for wd in std::mem::take(&mut self.old_wds) {
                    if !self.map.tree.contains(wd) {
                        self.queue.remove(wd);
                    }
                }
                // The scan has seen every name that exists.
                let wanted = self.map.links.take_wanted();
                self.map.links.searched(&wanted, &self.map.tree);
                for (path, still) in std::mem::take(&mut self.were_open) {
                    if let Some(stat) = self.lstat(&path) {
                        self.map.mark_links(&stat, Events::WRITE | Events::SCAN, changes);
                    }
                    match still {
                        Some(was) if self.map.split(&path).is_some() => {
                            self.map.still_open(path, was, now, changes);
                        }
                        Some(_) => changes.close(path),
                        None => {}
                    }
                }
                let (map, log) = (&mut self.map, &self.log);
                let mut context = ScanContext::new(&self.queue, &self.watch, map, changes, log);
                self.walker.look_for_missing(&mut context);
                if let Some(why) = self.reconcile_after.take() {
                    self.need_reconcile(ReconcileReason::Found(why));
                }
                info!(self.log, "watching"; "directories" => self.map.tree.count());
            }
            Purpose::Unwatched(start) => {
                self.unwatched_base_ns = start;
                self.barriers.scan_ended();
                self.say_again = true;
                self.needed = self.map.tree.count() as u64 + done.dirs;
            }
            Purpose::Links(_) => {
                self.times.links = now + SECOND + (now - self.times.links_begun) * 20;
            }
            Purpose::New | Purpose::Tree => {}
        }
    }

    /// Writes the record of this turn. It includes a checkpoint if the queue was empty at `emptied` and nothing is left
    /// to do.
    fn write(
        &mut self,
        mut changes: ChangeSet,
        emptied: Option<i64>,
        last: Option<bool>,
    ) -> Written {
        let now = clock::boot();
        for path in &self.walker.remounted {
            changes.mark(path.clone(), Scope::Tree, Events::MOVE | Events::DIR | Events::SCAN);
        }
        let at_ns = emptied.filter(|_| self.is_settled()).map(|at| {
            if self.map.unwatched.is_empty() {
                self.unwatched_base_ns = at;
            }
            at.min(self.unwatched_base_ns).min(at.saturating_sub(self.checkpoint_behind_ns(now)))
        });
        let since = now.saturating_sub(self.times.checkpoint);
        let due = !changes.is_empty()
            || last.is_some()
            || self.times.checkpoint.is_zero()
            || since >= CHECKPOINT_EVERY
            || (self.events_since_checkpoint && since >= CHECKPOINT_AFTER);
        let mut record = changes.into_record(None);
        if let (Some(watched), Some(at)) = (&self.watched_root, at_ns)
            && due
            && !watched.network
        {
            // This runs after the queue was empty, so a removal from now on makes its directory younger than the
            // checkpoint.
            let youngest = record.marks.last().map(|mark| &mark.path);
            let avoids = |path: &RelPath| self.walker.avoids(path);
            canaries::refresh(&mut self.canaries, youngest, &self.watch, avoids);
            let clean = last == Some(true);
            let (run, canaries) = (self.run, self.canaries.clone());
            record.checkpoint = Some(Checkpoint { run, canaries, ..watched.checkpoint(at, clean) });
        }
        record.mounts = self.walker.mounts_to_record();
        record.unresponsive = self.walker.avoided_to_record();
        if record.is_empty() {
            return Written::Yes;
        }
        if self.debug {
            record.marks.iter().for_each(|m| {
                debug!(self.log, "mark"; "path" => %m.path, "scope" => ?m.scope, "events" => m.events.bits());
            });
        }
        if record.checkpoint.is_some() {
            pass(Point::WatcherCheckpoints);
        }
        match self.journal.record(&record, clock::wall_ms()) {
            Ok(()) => {
                if record.checkpoint.is_some() {
                    pass(Point::WatcherCheckpointed);
                }
                if !record.marks.is_empty() {
                    pass(Point::WatcherMarked);
                }
                self.recorded(record, now);
                Written::Yes
            }
            Err(JournalError::Damaged(why)) => {
                error!(self.log, "the journal is damaged"; "error" => &why);
                self.say(&FromWatcher::Damaged(why));
                Written::Damaged
            }
            Err(JournalError::Refused(why)) => {
                self.refused(&why);
                Written::Refused
            }
        }
    }

    /// True if nothing is left to do but to read the queue.
    pub(in crate::watcher) fn is_settled(&self) -> bool {
        let complete = self.map_state == MapState::Complete;
        complete && self.walker.is_idle() && !self.map.links.wants_search()
    }

    /// True while it knows of a file that is open for writing.
    #[cfg(test)]
    pub(in crate::watcher) fn has_open_files(&self) -> bool {
        self.map.has_open_files()
    }

    /// How far a checkpoint must lie in the past, so that a scan from it finds what may have been written without an
    /// event.
    fn checkpoint_behind_ns(&self, now: Duration) -> i64 {
        let since = self.map.links.maybe_open_since().unwrap_or(now);
        let late = now.saturating_sub(since).saturating_sub(LOOK_AFTER);
        i64::try_from(late.as_nanos()).unwrap_or(i64::MAX)
    }

    /// The journal accepts no marks now.
    pub(super) fn refused(&mut self, why: &str) {
        if !matches!(self.state, WatcherState::Refused(_)) {
            error!(self.log, "the journal refuses marks; scanning again when it accepts them"; "error" => why);
        }
        self.say_state(WatcherState::Refused(refusal(&self.state_dir, why)));
    }

    /// The record is in the journal.
    fn recorded(&mut self, record: Record, now: Duration) {
        if let Some(checkpoint) = record.checkpoint {
            self.base_ns = checkpoint.at_ns;
            self.times.checkpoint = now;
            self.events_since_checkpoint = false;
        }
        if !record.mounts.is_empty() {
            self.note_mounts();
        }
        self.walker.changed_mounts.clear();
        if let Some(unresponsive) = record.unresponsive {
            self.walker.avoided_are_recorded(unresponsive);
        }
        self.walker.remounted.clear();
        if !record.marks.is_empty() {
            self.wake_all();
            self.worked = true;
        }
        if matches!(self.state, WatcherState::Refused(_)) {
            info!(self.log, "the journal accepts marks again");
            if self.map_state != MapState::Complete {
                self.say_state(WatcherState::Scanning);
            }
        }
    }

    /// Sets the state: watching, or degraded with the reason.
    pub(super) fn settle_state(&mut self) {
        if self.map.unwatched.is_empty() {
            self.unwatched_said = None;
        } else if self.walker.is_idle()
            && (self.unwatched_said.is_none() || std::mem::take(&mut self.say_again))
        {
            // This reason is sent when the problem begins and after each scan, not for each further directory.
            self.unwatched_said = Some(self.unwatched_why());
        } else if self.unwatched_said.is_none() {
            return;
        }
        let unmounted = |why| Reason::new(HelpTopic::NotMounted, why);
        let silent = |why| Reason::new(HelpTopic::MountSilent, why);
        let reasons: Vec<Reason> = self
            .unwatched_said
            .iter()
            .cloned()
            .chain(self.unmounted_why().map(unmounted))
            .chain(self.mount_probes.why().map(silent))
            .collect();
        let Some(first) = reasons.first() else {
            return self.say_state(WatcherState::Watching);
        };
        let help = first.help;
        let why: Vec<String> = reasons.into_iter().map(|reason| reason.why).collect();
        let why = why.join("; ");
        if !matches!(self.state, WatcherState::Degraded(_)) {
            debug!(self.log, "degraded"; "why" => &why);
        }
        self.say_state(WatcherState::Degraded(Reason { why, help }));
    }

    /// Names what cannot be watched, and the remedy.
    fn unwatched_why(&self) -> Reason {
        let unwatched = self.map.unwatched.len();
        let mut why = format!(
            "{unwatched} directories, and what is below them, are scanned every minute instead of watched: {}",
            self.walker.refusal.as_deref().unwrap_or("refused")
        );
        if self.walker.out_of_watches {
            let needed = self.needed.max((self.map.tree.count() + unwatched) as u64);
            let (name, limit) = watch_limit();
            let raised = (limit + needed).next_power_of_two();
            why.push_str(&format!(
                "; {needed} watches are needed, but the limit for all programs of this user is {limit}; run sysctl -w {name}={raised}"
            ));
            return Reason::new(HelpTopic::WatchLimit, why);
        }
        Reason::new(HelpTopic::Unwatched, why)
    }

    /// Names the mount points that are held, and the remedy.
    fn unmounted_why(&self) -> Option<String> {
        let unmounted = &self.walker.unmounted;
        if unmounted.is_empty() {
            return None;
        }
        let mut names: Vec<String> =
            unmounted.iter().take(UNMOUNTED_NAMED).map(ToString::to_string).collect();
        if unmounted.len() > names.len() {
            names.push(format!("{} more", unmounted.len() - names.len()));
        }
        Some(format!(
            "not mounted, so nothing is pushed or deleted there: {}; mount it again to continue; \
             if it is gone for good, run syncsup release {}",
            names.join(", "),
            self.watch.display()
        ))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    Yes,
    Refused,
    Damaged,
}

/// The name and value of the limit that applies. A user namespace, such as a container's, may have its own limit.
fn watch_limit() -> (&'static str, u64) {
    let limits = ["fs.inotify.max_user_watches", "user.max_inotify_watches"].map(|name| {
        let file = Path::new("/proc/sys").join(name.replace('.', "/"));
        let text = std::fs::read_to_string(file).unwrap_or_default();
        (name, text.trim().parse::<u64>().ok())
    });
    let known = limits.iter().filter_map(|(name, limit)| Some((*name, (*limit)?)));
    known.min_by_key(|(_, limit)| *limit).unwrap_or((limits[0].0, 0))
}
