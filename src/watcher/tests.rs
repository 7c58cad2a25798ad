//! The real loop over real inotify: what is in the journal after real changes. `SEED` and `ROUNDS` repeat or lengthen
//! the random test, `WATCHER_DEBUG` shows each event and mark.

use super::*;
use crate::config::model::{Alarms, FilterRules, LocalPath, NameRules, Place, Toggles};
use crate::journal::{Events, Marked, Scope};
use crate::message::WatcherState;
use crate::path::RelPath;
use crate::sys::{channel, inotify, wake};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

type Side = Channel<ToWatcher, FromWatcher>;

struct World {
    dir: tempfile::TempDir,
    queue: OwnedFd,
    toggles: Toggles,
    filter: FilterRules,
}

struct Running {
    side: Side,
    thread: Option<JoinHandle<i32>>,
    wake: OwnedFd,
    root: PathBuf,
    state: PathBuf,
    heard: Vec<FromWatcher>,
}

const PATIENCE: Duration = Duration::from_secs(20);

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
        Self { dir, queue: inotify::create().unwrap(), toggles: Toggles::MODERN, filter }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn launch(&self) -> Running {
        let (ours, theirs) = channel::pair().unwrap();
        let mut side = Side::new(ours);
        let (reader, writer) = wake::pipe().unwrap();
        let localpath = LocalPath {
            watch: self.path("root").into(),
            place: Place::default(),
            filter: self.filter.clone(),
            inotify: self.toggles,
            remotes: vec![],
            fail_log: None,
            crontab: None,
            delay_ms: 0,
            large_file_bytes: 0,
            first_copy: false,
            plugins: vec![],
            alarms: Alarms::default(),
        };
        let start = WatcherStart {
            localpath,
            state_dir: self.path("state"),
            wakes: vec!["r".into()],
            debug: std::env::var_os("WATCHER_DEBUG").is_some(),
        };
        let fds = vec![self.queue.try_clone().unwrap(), writer];
        side.send(&ToWatcher::Start(Box::new(start)), fds).unwrap();
        let thread = std::thread::spawn(move || serve(theirs, None));
        Running {
            side,
            thread: Some(thread),
            wake: reader,
            root: self.path("root"),
            state: self.path("state"),
            heard: Vec::new(),
        }
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

    /// Does something while the watcher waits for the journal's lock, so that it reads all of it only afterwards.
    fn behind(&self, changes: impl FnOnce()) {
        let other = rusqlite::Connection::open(self.state.join(crate::journal::FILE_NAME)).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        fs::write(self.root.join("settle-blocked"), "x").unwrap();
        std::thread::sleep(Duration::from_millis(30));
        changes();
        other.execute_batch("COMMIT").unwrap();
    }

    fn end(&mut self) -> bool {
        let thread = self.thread.take().unwrap();
        until("the end", || thread.is_finished().then_some(()));
        thread.join().unwrap() == 0
    }

    fn stop(mut self) {
        self.side.send(&ToWatcher::Stop, vec![]).unwrap();
        assert!(self.end());
    }
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

#[test]
fn a_file_is_marked_and_the_pusher_woken() {
    let world = World::new();
    let run = world.start();
    let seq = run.last();
    fs::write(run.root.join("a"), "x").unwrap();
    let mark = run.marked(seq, "a");
    assert_eq!(mark.scope, Scope::Entry);
    assert!(mark.events.has(Events::WRITE));
    until("a wake", || (rustix::io::read(&run.wake, &mut [0; 8]).is_ok()).then_some(()));
    run.settle();
    let seq = run.last();
    fs::set_permissions(run.root.join("a"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(run.marked(seq, "a").events.0 & Events::ATTRIB.0, Events::ATTRIB.0);
    let seq = run.last();
    symlink("nowhere", run.root.join("link")).unwrap();
    run.marked(seq, "link");
    nix::unistd::mkfifo(&run.root.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    run.marked(seq, "fifo");
    fs::remove_file(run.root.join("link")).unwrap();
    until("deletion", || {
        run.since(seq).get("link").filter(|m| m.events.has(Events::DELETE)).map(drop)
    });
    run.stop();
}

#[test]
fn nothing_is_missed_in_nested_directories_made_at_once() {
    let world = World::new();
    let run = world.start();
    let seq = run.last();
    let mut all = Vec::new();
    for top in 0..60 {
        let mut dir = PathBuf::from(format!("t{top}"));
        for deep in 0..6 {
            dir = dir.join(format!("d{deep}"));
            fs::create_dir_all(run.root.join(&dir)).unwrap();
            fs::write(run.root.join(&dir).join("f"), "x").unwrap();
            all.push(rel(dir.join("f").to_str().unwrap()));
        }
    }
    run.settle();
    let marks = run.since(seq);
    let missed: Vec<_> = all.iter().filter(|p| !marks.contains_key(&p.to_string())).collect();
    assert!(missed.is_empty(), "{missed:?}");
    // And every directory is watched now.
    let seq = run.last();
    for path in &all {
        fs::write(run.root.join(path.as_path()), "y").unwrap();
    }
    run.settle();
    let marks = run.since(seq);
    let missed: Vec<_> = all.iter().filter(|p| !marks.contains_key(&p.to_string())).collect();
    assert!(missed.is_empty(), "{missed:?}");
    run.stop();
}

#[test]
fn renames_in_out_and_inside() {
    let world = World::new();
    let (root, out) = (world.path("root"), world.path("out"));
    fs::create_dir_all(root.join("d/sub")).unwrap();
    fs::create_dir_all(out.join("n/sub")).unwrap();
    fs::write(out.join("n/sub/f"), "x").unwrap();
    let run = world.start();
    let seq = run.last();
    fs::rename(root.join("d"), root.join("e")).unwrap();
    assert_eq!(run.marked(seq, "e").scope, Scope::Tree);
    assert_eq!(run.marked(seq, "d").scope, Scope::Tree);
    fs::write(root.join("e/sub/f"), "x").unwrap();
    run.marked(seq, "e/sub/f");
    fs::rename(out.join("n"), root.join("n")).unwrap();
    assert_eq!(run.marked(seq, "n").scope, Scope::Tree);
    fs::write(root.join("n/sub/g"), "x").unwrap();
    run.marked(seq, "n/sub/g");
    fs::rename(root.join("n"), out.join("m")).unwrap();
    std::thread::sleep(event::PAIR_WITHIN * 2);
    run.settle();
    let seq = run.last();
    fs::write(out.join("m/sub/h"), "x").unwrap();
    run.settle();
    assert!(run.since(seq).keys().all(|p| !p.contains("h")), "what has left is not watched");
    run.stop();
}

fn stale_moves(root: &Path, rounds: std::ops::Range<u32>) {
    for round in rounds {
        let name = |n: &str| root.join(format!("{n}{round}"));
        fs::create_dir(name("d")).unwrap();
        fs::rename(name("d"), name("e")).unwrap();
        fs::create_dir(name("d")).unwrap();
        fs::create_dir(name("d").join("s")).unwrap();
        fs::rename(name("e"), name("f")).unwrap();
        fs::rename(name("d"), name("e")).unwrap();
        fs::create_dir(name("g")).unwrap();
        fs::rename(name("g"), name("h")).unwrap();
        fs::create_dir(name("g")).unwrap();
    }
}

#[test]
fn stale_moves_are_found_out() {
    let world = World::new();
    let root = world.path("root");
    let run = world.start();
    run.settle();
    run.behind(|| stale_moves(&root, 0..20));
    stale_moves(&root, 20..40);
    run.settle();
    let seq = run.last();
    for round in 0..40 {
        for dir in ["e", "f", "g", "h"].map(|n| format!("{n}{round}")) {
            fs::write(root.join(&dir).join("x"), "").unwrap();
        }
    }
    run.settle();
    let marks = run.since(seq);
    for round in 0..40 {
        for dir in ["e", "f", "g", "h"] {
            let path = format!("{dir}{round}/x");
            assert!(marks.contains_key(&path), "{path}");
        }
    }
    run.stop();
}

#[test]
fn an_overflow_is_a_scan_from_the_checkpoint() {
    let world = World::new();
    let root = world.path("root");
    fs::create_dir_all(root.join("old/deep")).unwrap();
    let mut run = world.launch();
    run.watching();
    run.settle();
    // The watcher is gone while the queue overflows; the queue lives on here.
    drop(std::mem::replace(&mut run.side, Side::new(channel::pair().unwrap().0)));
    run.end();
    for n in 0..9_000 {
        fs::write(root.join(format!("f{n}")), "").unwrap();
    }
    fs::create_dir_all(root.join("new/deep")).unwrap();
    fs::write(root.join("new/deep/f"), "").unwrap();
    fs::write(root.join("old/deep/f"), "").unwrap();
    let seq = run.last();
    let mut run = world.launch();
    run.hears("a scan", |m| matches!(m, FromWatcher::State(WatcherState::Scanning)));
    run.watching();
    run.settle();
    let marks = run.since(seq);
    for path in ["f0", "f8999", "new/deep/f", "old/deep/f"] {
        assert!(covered(&marks, &rel(path)), "{path}");
    }
    let seq = run.last();
    fs::write(root.join("new/deep/g"), "").unwrap();
    run.marked(seq, "new/deep/g");
    run.stop();
}

#[test]
fn changes_while_stopped_are_found_at_the_start() {
    let world = World::new();
    let root = world.path("root");
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/b/gone"), "").unwrap();
    let run = world.start();
    run.settle();
    run.stop();
    let world = World { queue: inotify::create().unwrap(), ..world };
    fs::write(root.join("a/b/new"), "x").unwrap();
    fs::remove_file(root.join("a/b/gone")).unwrap();
    let seq = Journal::open_read_only(&world.path("state")).unwrap().last_seq().unwrap();
    assert!(
        Journal::open_read_only(&world.path("state")).unwrap().checkpoint().unwrap().unwrap().clean
    );
    let run = world.start();
    let marks = run.since(seq);
    assert!(covered(&marks, &rel("a/b/new")) && covered(&marks, &rel("a/b/gone")), "{marks:?}");
    run.settle();
    assert!(!run.journal().checkpoint().unwrap().unwrap().clean);
    run.stop();
}

#[test]
fn a_first_scan_cut_short_loses_nothing() {
    let world = World::new();
    let root = world.path("root");
    for dir in 0..16 {
        fs::create_dir(root.join(format!("d{dir}"))).unwrap();
        for file in 0..1000 {
            fs::write(root.join(format!("d{dir}/{file}")), "").unwrap();
        }
    }
    let made = crate::sys::clock::file_ns();
    until("the next tick of file times", || (crate::sys::clock::file_ns() > made).then_some(()));
    let Running { side, mut thread, state, .. } = world.launch();
    until("a journal", || Journal::open_read_only(&state).ok().filter(|j| j.last_seq().is_ok()));
    // Its supervisor is gone: it leaves with its scan unfinished.
    drop(side);
    let thread = thread.take().unwrap();
    until("the end", || thread.is_finished().then_some(()));
    let world = World { queue: inotify::create().unwrap(), ..world };
    fs::write(root.join("d7/7"), "x").unwrap();
    let run = world.start();
    let marks = run.since(0);
    assert!(covered(&marks, &rel("d7/7")), "{:?}", marks.keys());
    // There is to be no first copy: what was there before the first start is nobody's business.
    assert!(marks.len() == 1, "{:?}", marks.keys());
    run.stop();
}

#[test]
fn a_root_that_was_on_a_network_file_system_is_not_taken_for_a_local_one() {
    let world = World::new();
    let (root, state) = (world.path("root"), world.path("state"));
    world.start().stop();
    Journal::open(&state).unwrap().remote("r", None).unwrap();
    Journal::open(&state).unwrap().forget_checkpoint().unwrap();
    // What a start with the file system mounted leaves: no checkpoint, and this.
    let mut known = known::Known::read(&state).unwrap().unwrap();
    known.network = true;
    known.write(&state).unwrap();
    let world = World { queue: inotify::create().unwrap(), ..world };
    let mut run = world.launch();
    run.hears(
        "held",
        |m| matches!(m, FromWatcher::State(WatcherState::Held(w)) if w.contains("network")),
    );
    assert_eq!(run.journal().checkpoint().unwrap(), None);
    run.side.send(&ToWatcher::AdoptRoot, vec![]).unwrap();
    run.watching();
    assert!(run.journal().remote_names().unwrap() == ["r"]);
    assert!(!known::Known::read(&state).unwrap().unwrap().network);
    assert!(Journal::open(&state).unwrap().remote("r", None).unwrap().reconcile.is_some());
    let seq = run.last();
    fs::write(root.join("x"), "x").unwrap();
    run.marked(seq, "x");
    run.stop();
}

#[test]
fn a_journal_found_damaged_at_the_start_is_told() {
    let world = World::new();
    world.start().stop();
    let db = world.path("state").join(crate::journal::FILE_NAME);
    for damage in [
        "UPDATE checkpoint SET state = '{'",
        "DELETE FROM checkpoint; INSERT INTO open VALUES ('no bytes')",
        "DELETE FROM open; INSERT INTO mount VALUES ('no bytes')",
    ] {
        rusqlite::Connection::open(&db).unwrap().execute_batch(damage).unwrap();
        let mut run = world.launch();
        run.hears(damage, |m| matches!(m, FromWatcher::Damaged(_)));
        assert!(!run.end(), "{damage}");
    }
}

#[test]
fn a_root_that_is_released_before_it_is_there_is_compared() {
    let world = World::new();
    let root = world.path("root");
    let mut run = world.start();
    Journal::open(&run.state).unwrap().remote("r", None).unwrap();
    fs::remove_dir(&root).unwrap();
    run.hears("held", |m| matches!(m, FromWatcher::State(WatcherState::Held(_))));
    run.side.send(&ToWatcher::AdoptRoot, vec![]).unwrap();
    until("the wish", || Journal::open(&run.state).unwrap().remote("r", None).unwrap().reconcile);
    until("the old root forgotten", || run.journal().checkpoint().unwrap().is_none().then_some(()));
    fs::create_dir(&root).unwrap();
    run.watching();
    run.stop();
}

#[test]
fn written_stopped_closed_started() {
    use std::io::Write;
    let world = World::new();
    let run = world.start();
    let seq = run.last();
    let mut file = fs::File::create(run.root.join("w")).unwrap();
    file.write_all(b"x").unwrap();
    until("open", || run.journal().open_paths().unwrap().contains(&rel("w")).then_some(()));
    assert!(!run.since(seq).contains_key("w"), "not marked before it is closed");
    run.stop();
    drop(file);
    let world = World { queue: inotify::create().unwrap(), ..world };
    let run = world.start();
    run.marked(seq, "w");
    assert!(run.journal().open_paths().unwrap().is_empty());
    run.stop();
}

#[test]
fn changes_that_no_close_follows_come() {
    use std::io::Write;
    let world = World::new();
    let root = world.path("root");
    for name in ["cut", "dated", "held"] {
        fs::write(root.join(name), "content").unwrap();
    }
    let run = world.start();
    run.settle();
    let seq = run.last();
    let mut held = fs::OpenOptions::new().append(true).open(root.join("held")).unwrap();
    held.write_all(b"more").unwrap();
    nix::unistd::truncate(&root.join("cut"), 3).unwrap();
    let now = std::time::SystemTime::now();
    let second = Duration::from_secs(1);
    fs::File::open(root.join("dated")).unwrap().set_modified(now - second).unwrap();
    run.marked(seq, "cut");
    run.marked(seq, "dated");
    // One look for all: the file that a process has open for writing waits for its close.
    assert!(!run.since(seq).contains_key("held"));
    assert_eq!(run.journal().open_paths().unwrap(), [rel("held")]);
    drop(held);
    run.marked(seq, "held");
    run.stop();
}

#[test]
fn a_file_nobody_touches_after_its_creation_comes() {
    let world = World::new();
    let run = world.start();
    let seq = run.last();
    let mode = nix::sys::stat::Mode::S_IRWXU;
    let kind = nix::sys::stat::SFlag::S_IFREG;
    nix::sys::stat::mknod(&run.root.join("node"), kind, mode, 0).unwrap();
    run.marked(seq, "node");
    run.stop();
}

#[test]
fn a_directory_whose_modification_time_alone_is_set_is_marked() {
    let world = World::new();
    fs::create_dir(world.path("root/d")).unwrap();
    let running = world.start();
    let seq = running.last();
    let times = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
    fs::File::open(world.path("root/d")).unwrap().set_times(times).unwrap();
    assert!(running.marked(seq, "d").events.has(Events::ATTRIB | Events::DIR));
    running.stop();
}

#[test]
fn a_change_to_one_name_marks_every_name() {
    let world = World::new();
    let root = world.path("root");
    fs::create_dir(root.join("d")).unwrap();
    fs::write(root.join("old"), "x").unwrap();
    fs::hard_link(root.join("old"), root.join("d/old2")).unwrap();
    fs::write(root.join("single"), "x").unwrap();
    let run = world.start();
    let seq = run.last();
    fs::write(root.join("old"), "y").unwrap();
    run.marked(seq, "d/old2");
    // A name that was single when it was seen: it must be searched for.
    let seq = run.last();
    fs::hard_link(root.join("single"), root.join("d/second")).unwrap();
    fs::write(root.join("d/second"), "z").unwrap();
    run.marked(seq, "d/second");
    run.marked(seq, "single");
    run.settle();
    let seq = run.last();
    fs::write(root.join("d/second"), "zz").unwrap();
    run.marked(seq, "single");
    // The mode of a fifo is that of all its names.
    let seq = run.last();
    nix::unistd::mkfifo(&root.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::hard_link(root.join("fifo"), root.join("d/fifo2")).unwrap();
    run.marked(seq, "d/fifo2");
    run.settle();
    let seq = run.last();
    fs::set_permissions(root.join("d/fifo2"), fs::Permissions::from_mode(0o600)).unwrap();
    run.marked(seq, "fifo");
    run.stop();
}

#[test]
fn what_is_excluded_is_not_watched() {
    let mut world = World::new();
    world.filter.exclude = vec!["cache".into(), "(.*)\\.tmp".into()];
    let root = world.path("root");
    fs::create_dir_all(root.join("cache/in")).unwrap();
    let run = world.start();
    let seq = run.last();
    fs::write(root.join("cache/in/f"), "x").unwrap();
    fs::write(root.join("a.tmp"), "x").unwrap();
    fs::rename(root.join("a.tmp"), root.join("a")).unwrap();
    run.marked(seq, "a");
    run.settle();
    let names: Vec<_> = run.since(seq).into_keys().filter(|k| !k.starts_with("settle")).collect();
    assert_eq!(names, ["a"]);
    run.stop();
}

/// A small file system of its own; unmounted at the end.
struct Mounted(PathBuf);

impl Mounted {
    /// `None` where this user may not mount.
    fn on(path: &Path, size: &str) -> Option<Self> {
        let mut command = std::process::Command::new("mount");
        command.args(["-t", "tmpfs", "-o", size, "none"]).arg(path);
        let status = command.stderr(std::process::Stdio::null()).status();
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

#[test]
fn a_mount_point_inside_is_remembered_and_read_again_when_it_is_back() {
    let world = World::new();
    let root = world.path("root");
    fs::create_dir(root.join("m")).unwrap();
    let Some(mounted) = Mounted::on(&root.join("m"), "size=1m") else { return };
    fs::write(root.join("m/f"), "x").unwrap();
    let run = world.start();
    until("a mount point", || (run.journal().mounts().unwrap() == [rel("m")]).then_some(()));
    run.settle();
    let seq = run.last();
    fs::write(root.join("m/f"), "y").unwrap();
    run.marked(seq, "m/f");
    run.settle();
    let seq = run.last();
    drop(mounted);
    run.settle();
    assert!(run.since(seq).keys().all(|p| p.starts_with("settle")), "{:?}", run.since(seq));
    let mounted = Mounted::on(&root.join("m"), "size=2m");
    assert_eq!(run.marked(seq, "m").scope, Scope::Tree);
    run.settle();
    let seq = run.last();
    fs::write(root.join("m/g"), "y").unwrap();
    run.marked(seq, "m/g");
    drop(mounted);
    run.settle();
    run.stop();
    // Not mounted at the next start: held, not marked.
    let world = World { queue: inotify::create().unwrap(), ..world };
    let seq = Journal::open_read_only(&world.path("state")).unwrap().last_seq().unwrap();
    let run = world.start();
    run.settle();
    assert!(!run.since(seq).contains_key("m"));
    assert_eq!(run.journal().mounts().unwrap(), [rel("m")]);
    run.stop();
}

#[test]
fn a_full_journal_is_an_overflow() {
    let world = World::new();
    let state = world.path("state");
    let Some(_mounted) = Mounted::on(&state, "size=3m") else { return };
    let run = world.start();
    run.settle();
    let seq = run.last();
    let ballast = vec![0u8; 4096];
    let mut file = fs::File::create(state.join("ballast")).unwrap();
    while std::io::Write::write_all(&mut file, &ballast).is_ok() {}
    let names: Vec<String> = (0..4_000).map(|n| format!("{n:0100}")).collect();
    names.iter().for_each(|n| fs::write(run.root.join(n), "x").unwrap());
    std::thread::sleep(Duration::from_millis(300));
    fs::write(run.root.join("last"), "x").unwrap();
    let before = run.since(seq).len();
    assert!(before < 4_000, "the state directory was not full");
    drop(file);
    fs::remove_file(state.join("ballast")).unwrap();
    run.marked(seq, "last");
    until("every name", || {
        let marks = run.since(seq);
        names.iter().all(|n| marks.contains_key(n)).then_some(())
    });
    run.settle();
    run.stop();
}

#[test]
fn a_root_that_goes_is_no_deletion_and_is_taken_back() {
    let world = World::new();
    let (root, away) = (world.path("root"), world.path("away"));
    fs::create_dir(root.join("d")).unwrap();
    fs::write(root.join("d/f"), "x").unwrap();
    let mut run = world.start();
    run.settle();
    let seq = run.last();
    fs::rename(&root, &away).unwrap();
    run.hears("held", |m| matches!(m, FromWatcher::State(WatcherState::Held(_))));
    fs::create_dir(&root).unwrap();
    run.hears(
        "another",
        |m| matches!(m, FromWatcher::State(WatcherState::Held(w)) if w.contains("another")),
    );
    assert!(run.since(seq).is_empty());
    fs::write(away.join("d/g"), "x").unwrap();
    fs::remove_dir(&root).unwrap();
    fs::rename(&away, &root).unwrap();
    run.watching();
    assert!(covered(&run.since(seq), &rel("d/g")));
    // A replaced root is taken only when the operator says so.
    fs::rename(&root, &away).unwrap();
    fs::create_dir(&root).unwrap();
    run.hears(
        "held",
        |m| matches!(m, FromWatcher::State(WatcherState::Held(w)) if w.contains("another")),
    );
    run.side.send(&ToWatcher::AdoptRoot, vec![]).unwrap();
    run.hears("reconcile", |m| matches!(m, FromWatcher::NeedReconcile(_)));
    run.watching();
    let seq = run.last();
    fs::write(root.join("x"), "x").unwrap();
    run.marked(seq, "x");
    run.stop();
}

/// Everything below a directory: path -> what a push would compare.
fn snapshot(root: &Path) -> BTreeMap<RelPath, (bool, u64, i64, i64, u64)> {
    let mut found = BTreeMap::new();
    let mut stack = vec![RelPath::root()];
    while let Some(dir) = stack.pop() {
        for entry in fs::read_dir(dir.below(root)).unwrap() {
            let entry = entry.unwrap();
            let path = dir.join(&entry.file_name());
            let m = entry.metadata().unwrap();
            let value = if m.is_dir() {
                stack.push(path.clone());
                (true, 0, 0, 0, 0)
            } else {
                (false, m.size(), m.mtime(), m.mtime_nsec(), m.ino())
            };
            found.insert(path, value);
        }
    }
    found
}

/// Prints how long a burst takes from its first change to its last mark, and what ten thousand directories cost.
#[test]
#[ignore = "a measurement"]
fn a_burst() {
    let world = World::new();
    let root = world.path("root");
    for n in 0..10_000 {
        fs::create_dir_all(root.join(format!("t{}/d{n}", n / 100))).unwrap();
    }
    let begun = Instant::now();
    let run = world.start();
    println!("watching 10,101 directories after {:?}", begun.elapsed());
    run.settle();
    let seq = run.last();
    let begun = Instant::now();
    for n in 0..20_000 {
        fs::write(root.join(format!("t0/d{}/f{n}", n % 100)), "x").unwrap();
    }
    println!("20,000 files (60,000 events) written after {:?}", begun.elapsed());
    run.settle();
    println!("marked after {:?}", begun.elapsed());
    assert!(run.since(seq).len() >= 20_000);
    run.stop();
}

/// Run it where watches are short:
/// `unshare -Ur sh -c 'echo 30 >/proc/sys/user/max_inotify_watches; exec TEST_PROGRAM --ignored short_of_watches'`
#[test]
#[ignore = "needs a user namespace with few watches"]
fn short_of_watches() {
    let world = World::new();
    let root = world.path("root");
    for n in 0..40 {
        fs::create_dir_all(root.join(format!("d{n}/sub"))).unwrap();
    }
    let mut run = world.launch();
    let said =
        run.hears("degraded", |m| matches!(m, FromWatcher::State(WatcherState::Degraded(_))));
    assert!(format!("{said:?}").contains("81 watches are needed"), "{said:?}");
    let seq = run.last();
    for n in 0..40 {
        fs::write(root.join(format!("d{n}/sub/f")), "x").unwrap();
    }
    let end = Instant::now() + Duration::from_secs(70);
    let all = |run: &Running| {
        let marks = run.since(seq);
        (0..40).all(|n| covered(&marks, &rel(&format!("d{n}/sub/f"))))
    };
    while !all(&run) {
        assert!(Instant::now() < end, "not found within a minute");
        std::thread::sleep(Duration::from_millis(100));
    }
    // There is room again: everything is watched after the next scan.
    for n in 2..40 {
        fs::remove_dir_all(root.join(format!("d{n}"))).unwrap();
    }
    let end = Instant::now() + Duration::from_secs(70);
    while !run.heard.iter().any(|m| matches!(m, FromWatcher::State(WatcherState::Watching))) {
        assert!(Instant::now() < end, "still degraded");
        run.listen();
        std::thread::sleep(Duration::from_millis(100));
    }
    run.stop();
}

/// A small generator of its own, so that a failure can be repeated.
struct Dice(u64);
impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

fn churn(root: &Path, out: &Path, dice: &mut Dice, steps: usize) {
    let dirs = ["", "a", "b", "a/x", "a/y", "b/x", "a/x/p", "b/x/p", "c", "c/y/q", "c/y"];
    for n in 0..steps {
        let at = |dice: &mut Dice| root.join(dirs[dice.roll(dirs.len())]);
        let (here, there) = (at(dice), at(dice));
        // Whatever does not work is no change.
        let _ = match dice.roll(12) {
            0..=2 => fs::create_dir_all(&here),
            3 | 4 => fs::write(here.join(format!("f{}", dice.roll(6))), format!("{n}")),
            5 => fs::remove_file(here.join(format!("f{}", dice.roll(6)))),
            6 | 7 if here != root => fs::rename(&here, &there),
            8 if here != root => fs::rename(&here, out.join(format!("m{}", dice.roll(4)))),
            9 => fs::rename(out.join(format!("m{}", dice.roll(4))), &there),
            10 => fs::rename(here.join("f1"), there.join("f2")),
            11 if here != root && dice.roll(3) == 0 => fs::remove_dir_all(&here),
            _ => Ok(()),
        };
    }
}

fn assert_covered(
    run: &Running,
    seq: i64,
    before: &BTreeMap<RelPath, (bool, u64, i64, i64, u64)>,
    seed: u64,
) {
    let after = snapshot(&run.root);
    let marks = run.since(seq);
    let paths = before.keys().chain(after.keys());
    for path in paths.filter(|p| before.get(*p) != after.get(*p)) {
        assert!(
            covered(&marks, path),
            "seed {seed}: {path} {:?} {:?}",
            before.get(path),
            after.get(path)
        );
    }
}

#[test]
fn random_operations_are_all_covered() {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or_else(|| crate::sys::clock::wall_ns() as u64 | 1);
    let mut dice = Dice(seed);
    let mut world = World::new();
    let rounds = std::env::var("ROUNDS").ok().and_then(|s| s.parse().ok()).unwrap_or(12);
    let mut run = world.start();
    for round in 0..rounds {
        run.settle();
        let before = snapshot(&run.root);
        let seq = run.last();
        if round % 4 == 3 {
            // Part of it while nobody watches.
            run.stop();
            let steps = dice.roll(200);
            churn(&world.path("root"), &world.path("out"), &mut dice, steps);
            world.queue = inotify::create().unwrap();
            run = world.start();
        }
        let steps = dice.roll(600);
        if dice.roll(2) == 0 {
            run.behind(|| churn(&world.path("root"), &world.path("out"), &mut dice, steps));
        } else {
            churn(&world.path("root"), &world.path("out"), &mut dice, steps);
        }
        run.settle();
        assert_covered(&run, seq, &before, seed);
        // Every directory there is now is watched.
        let seq = run.last();
        let now = snapshot(&run.root);
        let dirs: Vec<_> = now.iter().filter(|(_, v)| v.0).map(|(p, _)| p.clone()).collect();
        for dir in &dirs {
            fs::write(dir.below(&run.root).join("probe"), format!("{round}")).unwrap();
        }
        run.settle();
        let marks = run.since(seq);
        for dir in dirs {
            let probe = dir.join(std::ffi::OsStr::new("probe")).to_string();
            assert!(
                marks.contains_key(&probe),
                "seed {seed} round {round}: {probe} is not watched"
            );
        }
    }
    run.stop();
}
