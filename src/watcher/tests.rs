//! The real loop over real inotify: what is in the journal after real changes. `WATCHER_DEBUG` shows each event and mark.

mod events;
mod model;
mod places;
mod privileges;
mod random;
mod roots;
mod starts;
mod unnamed;

use super::privileges::Privileges;
use super::service::Control;
use super::start::{serve, start_of};
use super::*;
use crate::config::model::{Alarms, FilterRules, LocalPath, NameRules, OpenRule, Place, Toggles};
use crate::journal::{Events, Journal, Marked, Scope};
use crate::message::{FromWatcher, ToWatcher, WatcherStart, WatcherState};
use crate::path::RelPath;
use crate::sys::channel::{Channel, Received};
use crate::sys::{channel, inotify, wake};
use slog::{Discard, Logger, o};
use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

type Side = Channel<ToWatcher, FromWatcher>;

struct World {
    dir: tempfile::TempDir,
    queue: OwnedFd,
    toggles: Toggles,
    filter: FilterRules,
    open_after: Vec<OpenRule>,
    /// Its watchers give up what they do not need.
    limited: bool,
}

struct Running {
    side: Side,
    thread: Option<JoinHandle<i32>>,
    wake: OwnedFd,
    root: PathBuf,
    state: PathBuf,
    heard: Vec<FromWatcher>,
}

const PATIENCE: Duration = Duration::from_secs(60);

fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn rel(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        fs::create_dir(dir.path().join("state")).unwrap();
        fs::create_dir(dir.path().join("out")).unwrap();
        let filter = FilterRules { names: NameRules::None, ..FilterRules::default() };
        Self {
            dir,
            queue: inotify::create().unwrap(),
            toggles: Toggles::MODERN,
            filter,
            open_after: vec![],
            limited: true,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn start_message(&self) -> WatcherStart {
        let localpath = LocalPath {
            watch: self.path("root").into(),
            place: Place::default(),
            filter: self.filter.clone(),
            inotify: self.toggles,
            remotes: vec![],
            fail_log: None,
            crontab: None,
            verify_schedule: None,
            delay_ms: Some(0),
            pace_percent: 25,
            open_after: self.open_after.clone(),
            large_file_bytes: 0,
            first_copy: false,
            plugins: vec![],
            alarms: Alarms::default(),
        };
        WatcherStart {
            localpath,
            state_dir: self.path("state"),
            wakes: vec!["r".into()],
            debug: std::env::var_os("WATCHER_DEBUG").is_some(),
        }
    }

    fn launch(&self) -> Running {
        let (ours, theirs) = channel::pair().unwrap();
        let mut side = Side::new(ours);
        let (reader, writer) = wake::pipe().unwrap();
        let fds = vec![self.queue.try_clone().unwrap(), writer];
        side.send(&ToWatcher::Start(Box::new(self.start_message())), fds).unwrap();
        let limited = self.limited;
        let thread = std::thread::spawn(move || {
            let mut control = Control::new(theirs);
            let (start, fds) = crate::sys::begin::first_message(&mut control, start_of).unwrap();
            // This thread alone gives them up.
            let privileges = match limited {
                true => Privileges::limit(&start, &Logger::root(Discard, o!())).unwrap(),
                false => Privileges::all(),
            };
            serve(control, None, start, fds, privileges)
        });
        Running {
            side,
            thread: Some(thread),
            wake: reader,
            root: self.path("root"),
            state: self.path("state"),
            heard: Vec::new(),
        }
    }

    /// Does something that a watcher reads only afterwards.
    fn behind(&self, changes: impl FnOnce()) {
        behind(&self.path("state"), &self.path("root"), changes);
    }

    fn start(&self) -> Running {
        let mut running = self.launch();
        running.watching();
        running
    }
}

impl Running {
    fn listen(&mut self) {
        while let Ok(Received::Message(message, _)) = self.side.receive() {
            self.heard.push(message);
        }
    }

    fn hears(&mut self, what: &str, wanted: impl Fn(&FromWatcher) -> bool) -> FromWatcher {
        until(what, || {
            self.listen();
            self.heard.iter().position(&wanted).map(|at| self.heard.remove(at))
        })
    }

    fn watching(&mut self) {
        self.hears("watching", |m| matches!(m, FromWatcher::State(WatcherState::Watching)));
    }

    fn journal(&self) -> Journal {
        Journal::open_read_only(&self.state).unwrap()
    }

    fn last(&self) -> i64 {
        self.journal().last_seq().unwrap()
    }

    fn since(&self, seq: i64) -> BTreeMap<String, Marked> {
        let marks = self.journal().marks_after(seq, 1_000_000).unwrap();
        marks.into_iter().map(|m| (m.path.to_string(), m)).collect()
    }

    fn marked(&self, seq: i64, path: &str) -> Marked {
        until(path, || self.since(seq).remove(path))
    }

    /// Waits until everything that happened before is in the journal: a change made now comes after it.
    fn settle(&self) {
        let name = format!("settle-{}", self.last());
        let seq = self.last();
        fs::write(self.root.join(&name), "").unwrap();
        self.marked(seq, &name);
        // One tick of the file clock is milliseconds: an older checkpoint may be of the same.
        let base = crate::sys::clock::file_ns();
        until("a checkpoint", || {
            self.journal().checkpoint().unwrap().filter(|c| c.at_ns > base).or_else(|| {
                fs::write(self.root.join(&name), "").unwrap();
                None
            })
        });
    }

    /// Does something that the watcher reads only afterwards.
    fn behind(&self, changes: impl FnOnce()) {
        behind(&self.state, &self.root, changes);
    }

    /// More events than the queue of this machine holds, whatever somebody raised it to, and than a turn that has just
    /// begun takes out of it: equal neighbours would be merged,
    /// so two files take turns.
    fn overflow(&self) {
        let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        let turns = ["turn-a", "turn-b"].map(|name| self.root.join(name));
        turns.iter().for_each(|file| fs::write(file, "").unwrap());
        for n in 0..limit.trim().parse::<u32>().unwrap() + 20_000 {
            let mode = fs::Permissions::from_mode(if n % 4 < 2 { 0o600 } else { 0o644 });
            fs::set_permissions(&turns[n as usize % 2], mode).unwrap();
        }
    }

    fn end(&mut self) -> bool {
        let thread = self.thread.take().unwrap();
        until("the end", || thread.is_finished().then_some(()));
        thread.join().unwrap() == 0
    }

    fn stop(mut self) {
        self.side.send(&ToWatcher::Last, vec![]).unwrap();
        assert!(self.end());
    }
}

/// Does something while the watcher waits for the journal's lock, so that it reads all of it only afterwards.
fn behind(state: &Path, root: &Path, changes: impl FnOnce()) {
    let other = rusqlite::Connection::open(state.join(crate::journal::FILE_NAME)).unwrap();
    other.busy_timeout(PATIENCE).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    fs::write(root.join("settle-blocked"), "x").unwrap();
    std::thread::sleep(Duration::from_millis(30));
    changes();
    other.execute_batch("COMMIT").unwrap();
}

/// True when a mark since then covers the path.
fn covered(marks: &BTreeMap<String, Marked>, path: &RelPath) -> bool {
    let by = |p: &RelPath, scope| marks.get(&p.to_string()).is_some_and(|m| m.scope >= scope);
    if by(path, Scope::Entry) || path.parent().is_some_and(|p| by(&p, Scope::Children)) {
        return true;
    }
    let mut above = path.parent();
    while let Some(dir) = above {
        if by(&dir, Scope::Tree) {
            return true;
        }
        above = dir.parent();
    }
    false
}

/// A small file system of its own; unmounted at the end.
struct Mounted(PathBuf);

impl Mounted {
    /// `None` where this user may not mount.
    fn on(path: &Path, size: &str) -> Option<Self> {
        Self::mount(path, &["-t", "tmpfs", "-o", size, "none"])
    }

    /// A directory at a second name; unmounted at the end. `None` where this user may not mount.
    fn bind(from: &Path, path: &Path) -> Option<Self> {
        Self::mount(path, &["--bind", from.to_str()?])
    }

    fn mount(path: &Path, words: &[&str]) -> Option<Self> {
        let mut command = std::process::Command::new("mount");
        let status = command.args(words).arg(path).stderr(std::process::Stdio::null()).status();
        if !status.is_ok_and(|s| s.success()) {
            eprintln!("not tried: only root may mount");
            return None;
        }
        Some(Self(path.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
