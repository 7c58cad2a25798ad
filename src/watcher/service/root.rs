//! Handles a root that appears or disappears, and begins the scans that follow.

use super::*;
use crate::reconcile_reason::ReconcileReason;
use std::collections::BTreeSet;

/// The root is not held any more, and not yet watched.
const ADOPTED: &str = "the root is being taken as it is now";

/// Why a scan could not begin.
pub(super) enum BeginError {
    /// The journal is damaged. Only the supervisor can repair that.
    Damaged(String),
    /// The journal refuses to be read or written. The watcher retries.
    Journal(String),
    /// The root cannot be read, or is another one. The watcher retries.
    Root(Reason),
}

impl From<JournalError> for BeginError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Damaged(why) => BeginError::Damaged(why),
            JournalError::Refused(why) => BeginError::Journal(why),
        }
    }
}

impl From<io::Error> for BeginError {
    fn from(error: io::Error) -> Self {
        BeginError::Root(Reason::new(HelpTopic::RootUnreadable, error.to_string()))
    }
}

impl Service {
    /// Holds the localpath if the root is gone or is another directory. Begins a scan if the root exists.
    pub(super) fn look_at_root(&mut self) {
        let held = matches!(self.state, WatcherState::Held(_));
        let found = watched_root::check(&self.watch, self.watched_root.as_ref());
        match found {
            Err(reason) => self.hold(reason),
            Ok(()) if held || self.watched_root.is_none() => self.begin(),
            Ok(()) => {}
        }
    }

    pub(super) fn hold(&mut self, reason: Reason) {
        if let WatcherState::Held(said) = &self.state
            && *said == reason
        {
            return;
        }
        debug!(self.log, "held: nothing is marked or deleted until the root is back"; "why" => &reason.why);
        for wd in self.map.tree.wds() {
            self.queue.remove(wd);
        }
        // The journal still has the files that were open.
        self.map.forget();
        self.walker.clear();
        self.barriers.not_passed();
        self.say_state(WatcherState::Held(reason));
    }

    /// The root exists: decides how much the checkpoint is worth, and scans.
    pub(super) fn begin(&mut self) {
        match self.try_begin() {
            Ok(()) => {}
            Err(BeginError::Damaged(why)) => self.damaged(why),
            Err(BeginError::Journal(why)) => {
                self.hold(Reason::new(HelpTopic::JournalRefused, why));
            }
            Err(BeginError::Root(reason)) => self.hold(reason),
        }
    }

    /// Only the supervisor can repair this. It sets the journal aside after all processes that use it have exited.
    pub(super) fn damaged(&mut self, why: String) {
        error!(self.log, "the journal is damaged"; "error" => &why);
        self.say(&FromWatcher::Damaged(why));
        self.end = Some(End::Damaged);
    }

    pub(super) fn try_begin(&mut self) -> Result<(), BeginError> {
        let root = self.open_root()?;
        if let Some(watched) = &self.watched_root {
            if !watched.is(&root.id()?) {
                let why = "another directory is in its place";
                return Err(BeginError::Root(Reason::new(HelpTopic::RootReplaced, why)));
            }
            info!(self.log, "the root is back");
            self.revalidate(&root)?;
            return self.scan(&root, WatcherState::Scanning);
        }
        let watched = WatchedRoot::of(&root)?;
        let last = self.journal.checkpoint()?;
        let noted = RootRecord::read(&self.state_dir)?;
        if let Some(why) =
            root_record::other_root(noted.as_ref(), last.is_some(), &watched.record(None))
        {
            let why = format!("{why}; `syncsup release` accepts it as it is");
            return Err(BeginError::Root(Reason::new(HelpTopic::RootReplaced, why)));
        }
        let now_ns = clock::file_ns();
        let now = watched.circumstances(self.put_back(&root, &last, noted.as_ref()));
        self.walker.unproven_since_ns = unproven_since_ns(last.as_ref(), &now);
        let validity = validity(last.as_ref(), &now);
        let not_before_ns = noted.as_ref().and_then(|noted| noted.not_before_ns);
        self.walker.first = match validity {
            Validity::First | Validity::Reconcile(_) => true,
            // The first scan was interrupted and wrote no checkpoint of its own.
            Validity::Scan(since) => not_before_ns.is_some_and(|start| since < start),
            Validity::ScanAndReconcile(..) | Validity::OtherRoot(_) => false,
        };
        self.heed(validity, not_before_ns, now_ns)?;
        if let Some(noted) = &noted {
            self.walker.recall_mounts(&noted.mounts);
        }
        // This is written before the checkpoint, because the checkpoint is valid only with it.
        let mounts = self.walker.mounts.keys().cloned().collect();
        let run = last.as_ref().and_then(|last| last.run);
        // A watcher that follows one that died continues its run.
        let fresh = last.as_ref().is_none_or(|last| last.clean || last.run.is_none());
        let this = match watched.network {
            true => None,
            false if fresh => Some(root_record::run_after(noted.as_ref(), run)),
            false => run,
        };
        let current =
            RootRecord { mounts, run, next_run: this, ..watched.record(self.not_before_ns) };
        self.root_record = noted.clone();
        if noted.as_ref() != Some(&RootRecord { run: this, next_run: None, ..current.clone() }) {
            self.note_root(current.clone())?;
        }
        self.run = this;
        self.canaries = last.as_ref().map(|last| last.canaries.clone()).unwrap_or_default();
        let checkpoint = match last {
            // A clean stop counts only until the next start.
            Some(last) => fresh.then_some(Checkpoint { clean: false, run: this, ..last }),
            // If a watcher dies in its first scan, its successor finds what changed since.
            None => (!watched.network)
                .then(|| Checkpoint { run: this, ..watched.checkpoint(now_ns - 1, false) }),
        };
        let mut record = ChangeSet::default().into_record(checkpoint);
        record.mounts = self.walker.mounts_to_record();
        // What a predecessor found may no longer be true.
        let unresponsive = self.journal.silent_mounts()?;
        self.walker.avoided_are_recorded(unresponsive.into_iter().collect());
        record.unresponsive = self.walker.avoided_to_record();
        if !record.is_empty() {
            // This comes before the watcher reports that anything may be pushed.
            self.journal.record_on_disk(&record, clock::wall_ms())?;
        }
        if let Some(unresponsive) = record.unresponsive {
            self.walker.avoided_are_recorded(unresponsive);
        }
        let current = RootRecord { run: this, next_run: None, ..current };
        if self.root_record.as_ref() != Some(&current) {
            self.note_root(current)?;
        }
        self.watched_root = Some(watched);
        self.mounts = Mounts::open().ok();
        if let Some(mounts) = &mut self.mounts {
            // The scan finds what is mounted by now.
            let _ = mounts.look(&self.watch, true);
        }
        self.scan(&root, WatcherState::Starting)
    }

    /// Names the part that is older than the rest: the file system, the journal or the state directory.
    fn put_back(
        &self,
        root: &Root,
        last: &Option<Checkpoint>,
        noted: Option<&RootRecord>,
    ) -> Option<String> {
        let last = last.as_ref()?;
        if !root_record::fits(noted, last.run) {
            let dir = self.state_dir.display();
            return Some(format!(
                "the journal and root.json in {dir} are of different runs: one was restored to an older state"
            ));
        }
        self.put_back_below(root, last)
    }

    fn put_back_below(&self, root: &Root, last: &Checkpoint) -> Option<String> {
        let mounts: Vec<RelPath> = self.walker.mounts.keys().cloned().collect();
        canaries::put_back(last, root, &self.watch, &mounts, |path| self.walker.avoids(path))
    }

    fn note_root(&mut self, current: RootRecord) -> Result<(), BeginError> {
        current.write(&self.state_dir).map_err(|e| {
            let dir = self.state_dir.display();
            let why = format!("cannot record the root in {dir}: {e}");
            BeginError::Root(Reason::new(HelpTopic::JournalRefused, why))
        })?;
        self.root_record = Some(current);
        Ok(())
    }

    /// Sets where the first scan begins, and what it cannot find. `not_before_ns` is the value in the earlier record of
    /// the root.
    fn heed(
        &mut self,
        validity: Validity,
        not_before_ns: Option<i64>,
        now_ns: i64,
    ) -> Result<(), BeginError> {
        match validity {
            Validity::OtherRoot(why) => {
                let why = format!(
                    "{why}; if it is the right one, run syncsup release {}",
                    self.watch.display()
                );
                return Err(BeginError::Root(Reason::new(HelpTopic::RootReplaced, why)));
            }
            Validity::First => {
                self.base_ns = now_ns;
                self.not_before_ns = (!self.first_copy).then_some(now_ns);
            }
            Validity::Scan(since) => {
                self.base_ns = since;
                // This checkpoint comes from a first start that was interrupted. Its slack must not reach back before
                // that start.
                self.not_before_ns =
                    not_before_ns.filter(|start| since < start.saturating_add(SLACK_NS));
            }
            Validity::ScanAndReconcile(since, why) => {
                self.base_ns = since;
                self.reconcile_after = Some(why);
            }
            Validity::Reconcile(why) => {
                self.base_ns = now_ns;
                self.need_reconcile(ReconcileReason::Found(why));
            }
        }
        Ok(())
    }

    /// Rebuilds the map and marks what changed since the time up to which everything is marked.
    pub(super) fn scan(&mut self, root: &Root, state: WatcherState) -> Result<(), BeginError> {
        self.old_wds.extend(self.map.tree.wds());
        let mut open = self.map.forget();
        self.walker.clear();
        self.barriers.not_passed();
        open.extend(self.journal.open_paths()?);
        let mut changes = ChangeSet::default();
        self.mark_were_open(open, &mut changes)?;
        if !changes.is_empty() {
            let record = changes.into_record(None);
            self.journal.record(&record, clock::wall_ms())?;
            self.wake_all();
        }
        let start = self.not_before_ns.map(|start| start.saturating_add(SLACK_NS));
        let since = self.base_ns.max(start.unwrap_or(i64::MIN));
        let mut changes = ChangeSet::default();
        let mut context =
            ScanContext::new(&self.queue, &self.watch, &mut self.map, &mut changes, &self.log);
        self.walker.start_scan(root, &mut context, since)?;
        self.map_state = MapState::Scanning;
        self.unwatched_said = None;
        // The first checkpoint is written immediately.
        self.times.checkpoint = Duration::ZERO;
        self.unwatched_base_ns = clock::file_ns();
        // After a refusal, the state changes only when the journal has accepted a record.
        if !matches!(self.state, WatcherState::Refused(_)) {
            self.say_state(state);
        }
        Ok(())
    }

    /// Marks files that were open. A file that a process still has open for writing stays open.
    fn mark_were_open(
        &mut self,
        open: Vec<RelPath>,
        changes: &mut ChangeSet,
    ) -> Result<(), BeginError> {
        if open.is_empty() && self.were_open.is_empty() {
            return Ok(());
        }
        let (now, now_ms) = (clock::boot(), clock::wall_ms());
        let known = self.journal.open_since()?;
        let since = |path: &RelPath| {
            let ms = known.get(path).map_or(0, |ms| now_ms.saturating_sub(*ms).max(0));
            now.saturating_sub(Duration::from_millis(ms as u64))
        };
        let all: BTreeSet<RelPath> =
            open.into_iter().chain(self.were_open.drain().map(|(p, _)| p)).collect();
        let lstat = |path: &RelPath| self.lstat(path);
        let stat: Vec<_> = all.into_iter().map(|path| (lstat(&path), path)).collect();
        let id = |stat: &Stat| (stat.dev, stat.ino);
        let ids = stat.iter().filter_map(|(stat, _)| stat.as_ref().map(id)).collect();
        let written = self.privileges.writers.written(ids);
        for (stat, path) in stat {
            let still = stat.filter(|stat| written.contains(&id(stat)));
            let still = still.map(|stat| (stat.ctime_ns, since(&path)));
            changes.mark(path.clone(), Scope::Entry, Events::WRITE | Events::SCAN);
            if still.is_none() {
                changes.close(path.clone());
            }
            self.were_open.insert(path, still);
        }
        Ok(())
    }

    /// Runs before a scan of a root that was watched already. A scan finds too little if other machines change files,
    /// or if the clock was set back since the last checkpoint. Fails if the journal cannot record that.
    pub(super) fn revalidate(&mut self, root: &Root) -> Result<(), BeginError> {
        let Some(watched) = &self.watched_root else { return Ok(()) };
        let why = if watched.network {
            "events of a network file system were lost".into()
        } else {
            let last = self.journal.checkpoint()?;
            let put_back = last.as_ref().and_then(|last| self.put_back_below(root, last));
            match validity(last.as_ref(), &watched.circumstances(put_back)) {
                Validity::Reconcile(why) => why,
                _ => return Ok(()),
            }
        };
        let now_ns = clock::file_ns();
        if !self.need_reconcile(ReconcileReason::Found(why)) {
            let why = "the journal cannot record a reconcile";
            return Err(BeginError::Root(Reason::new(HelpTopic::JournalRefused, why)));
        }
        self.base_ns = self.base_ns.min(now_ns);
        Ok(())
    }

    /// Requests a reconcile. True if the journal has recorded the request.
    pub(super) fn need_reconcile(&mut self, why: ReconcileReason) -> bool {
        debug!(self.log, "reconciling every remote"; "why" => %why);
        // The journal records it too, because the message is lost if the supervisor dies now.
        let wanted = self.journal.remote_names().and_then(|names| {
            names.iter().try_for_each(|name| self.journal.want_reconcile(name, Some(&why)))
        });
        if let Err(error) = &wanted {
            warn!(self.log, "cannot record the reconcile"; "error" => %error);
        }
        self.say(&FromWatcher::NeedReconcile(why));
        wanted.is_ok()
    }

    /// Writes the mount points to the root record, which is outside the journal.
    pub(super) fn note_mounts(&mut self) {
        if let Some(noted) = &mut self.root_record {
            noted.mounts = self.walker.mounts.keys().cloned().collect();
            if let Err(error) = noted.write(&self.state_dir) {
                debug!(self.log, "cannot record the mount points"; "error" => %error);
            }
        }
    }

    pub(super) fn adopt_root(&mut self) {
        info!(self.log, "the root and its mount points are accepted as they are now");
        // No error: it is held for a moment.
        self.hold(Reason::new(HelpTopic::RootAdopted, ADOPTED));
        // This comes first: if the process dies after this point, its successor knows of no other root.
        if !self.need_reconcile(ReconcileReason::RootReleased) {
            return;
        }
        if let Err(error) = RootRecord::forget(&self.state_dir) {
            warn!(self.log, "cannot forget the old root"; "error" => %error);
            return;
        }
        let forgotten =
            self.journal.forget_checkpoint().and_then(|()| self.journal.forget_mounts());
        if let Err(error) = forgotten {
            warn!(self.log, "cannot forget the old root"; "error" => %error);
            return;
        }
        self.walker.forget_mounts();
        self.watched_root = None;
        self.look_at_root();
    }

    /// While the localpath is held, events in the queue are not needed, because a scan follows.
    pub(super) fn discard(&mut self) -> io::Result<()> {
        while !self.queue.read()?.is_empty() {}
        Ok(())
    }

    /// Rebuilds the map from the last checkpoint.
    pub(super) fn rebuild(&mut self) {
        // A map that does not match may belong to a root that no longer exists.
        if let Err(reason) = watched_root::check(&self.watch, self.watched_root.as_ref()) {
            return self.hold(reason);
        }
        let begun = self.open_root().and_then(|root| {
            self.revalidate(&root)?;
            self.scan(&root, WatcherState::Scanning)
        });
        match begun {
            Ok(()) => {}
            Err(BeginError::Damaged(why)) => self.damaged(why),
            Err(BeginError::Journal(why)) => {
                self.refused(&why);
                self.times.refused_until = clock::boot() + REFUSED_WAIT;
            }
            Err(BeginError::Root(reason)) => self.hold(reason),
        }
    }

    /// Opens the root. For one that this process cannot reach, the supervisor starts another one.
    fn open_root(&mut self) -> Result<Root, BeginError> {
        Root::open(&self.watch).map_err(|error| {
            if !self.privileges.miss_the_root(&self.watch, &error) {
                return error.into();
            }
            self.say(&FromWatcher::OutOfReach);
            BeginError::Root(Reason::new(HelpTopic::RootAdopted, ADOPTED))
        })
    }
}
