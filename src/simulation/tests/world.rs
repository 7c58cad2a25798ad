//! The simulated world: what happens in it step by step, and what must be true of it.

use super::rsync::Found;
use super::side::Side;
use super::waits::Waits;
use crate::config::model::*;
use crate::journal::FILE_NAME;
use crate::message::{PusherStart, ToPusher, WatcherStart};
use crate::path::OsBytes;
use crate::reconcile_reason::ReconcileReason;
use crate::rsync::peer::{Peer, Target};
use crate::sys::clock::{self, simulated};
use crate::sys::rsync::simulated::STARTED;
use crate::sys::{inotify, wake};
use crate::watcher::simulated::Simulated;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use rusqlite::Connection;
use slog::Logger;
use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};
use tempfile::TempDir;

/// The names of files and directories. Few, so that they meet.
pub const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// Turns of the pusher within which a calm world must be in order.
const CALM_MOST: usize = 3_000;
/// An old receiver exits within its timeout.
const RECEIVER_MOST: Duration = Duration::from_secs(90);
/// Why the localpath is held.
const HELD: &str = "its root is missing";
/// Turns within which the master of a slave that has lost its power notices.
const NOTICE_MOST: usize = 100;
/// A file that is written for that.
const PROBE: &str = "probe";
/// The clock that stamps files moves on in ticks, so that files written soon after another have the same time.
const TICK: Duration = Duration::from_millis(4);
/// The steps of the schedule in one tick.
const STEPS_OF_TICK: u64 = 30;

/// A localpath, its remote, and what runs.
pub struct World {
    /// What happens is printed.
    shown: bool,
    dir: TempDir,
    random: fastrand::Rng,
    now: Duration,
    /// Files of this size are large. In half of the worlds a few bytes are much.
    large_bytes: u64,
    standby: StandbyMode,
    /// When the world began, by the clock that stamps files.
    began: Duration,
    /// The step of the schedule.
    at: u64,
    /// The supervisor's copy of the watcher's inotify descriptor.
    queue: OwnedFd,
    watcher: Option<Simulated>,
    sides: Vec<Side>,
    /// The journal, to count what pushes are still to come.
    db: Option<Connection>,
    /// `c` is excluded. What a slave has of that name stays.
    filtered: bool,
    /// The localpath is held.
    held: bool,
    waits: Waits,
    /// Files of the master that a program has open for writing.
    writers: Vec<(PathBuf, File)>,
    /// The names on the master, with the step since which each has been there without interruption.
    there: BTreeMap<PathBuf, u64>,
    log: Vec<String>,
}

impl World {
    /// The world of a seed, before anything happens.
    pub fn new(seed: u64, shown: bool) -> World {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        for name in ["master", "state", "run", "elsewhere"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        STARTED.set(Some(Vec::new()));
        // One in four worlds has two remotes.
        let sides = 0..1 + usize::from(seed.is_multiple_of(4));
        let old = |number| (seed + number as u64).is_multiple_of(5);
        let sides = sides.map(|number| Side::new(number, dir.path(), old(number), shown)).collect();
        let mut world = World {
            shown,
            random: fastrand::Rng::with_seed(seed),
            now: Duration::from_secs(1_000),
            large_bytes: if seed.is_multiple_of(2) { 2 } else { 1 << 20 },
            standby: if (seed / 2).is_multiple_of(2) {
                StandbyMode::Active
            } else {
                StandbyMode::Off
            },
            began: Duration::from_nanos(clock::file_ns() as u64),
            at: 0,
            queue: inotify::create().unwrap(),
            watcher: None,
            sides,
            db: None,
            filtered: seed.is_multiple_of(3),
            held: false,
            waits: Waits::default(),
            writers: Vec::new(),
            there: BTreeMap::new(),
            log: Vec::new(),
            dir,
        };
        simulated::NOW.set(Some(world.now));
        simulated::SET_BY_MS.set(0);
        if seed % 7 < 3 {
            world.fill();
        }
        world.begin_watcher();
        (0..world.sides.len()).for_each(|side| world.begin_pusher(side));
        world.db = Some(Connection::open(world.path("state").join(FILE_NAME)).unwrap());
        world
    }

    /// Fills the slaves and the master with a few names.
    fn fill(&mut self) {
        for _ in 0..self.random.usize(..12) {
            let name = self.name();
            let side = self.random.usize(..self.sides.len() * 2);
            let root = self.sides.get(side).map(|side| side.slave().to_owned());
            let path = root.clone().unwrap_or_else(|| self.path("master")).join(name);
            let _ = path.parent().map(fs::create_dir_all);
            if self.random.bool() {
                let _ = fs::create_dir(&path);
            } else if fs::write(&path, ["x", "y", "zz"][self.random.usize(..3)]).is_ok()
                && root.is_some()
            {
                // What a slave has is older than what the master has.
                self.stamp(&path);
            }
        }
        for at in 0..self.sides.len() {
            let kept = self.sides[at].tree().into_iter();
            self.sides[at].kept = kept.filter(|(name, _)| self.excludes(name)).collect();
        }
        self.take_stock();
    }

    fn excludes(&self, name: &Path) -> bool {
        self.filtered && name.iter().any(|part| part == "c")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn note(&mut self, what: impl Into<String>) {
        let line = format!("{} {}", self.at, what.into());
        if self.shown {
            println!("{line}");
        }
        self.log.push(line);
    }

    fn localpath(&self) -> LocalPath {
        LocalPath {
            watch: self.path("master").into(),
            place: Place::default(),
            filter: FilterRules {
                names: NameRules::None,
                exclude_glob: self.filtered.then(|| "c".into()).into_iter().collect(),
                ..FilterRules::default()
            },
            inotify: Toggles::MODERN,
            remotes: vec![],
            fail_log: None,
            crontab: None,
            verify_schedule: None,
            delay_ms: Some(0),
            pace_percent: 100,
            open_after: vec![],
            large_file_bytes: self.large_bytes,
            first_copy: true,
            plugins: vec![],
            alarms: Alarms::default(),
        }
    }

    fn remote(&self, side: usize) -> Remote {
        let target =
            Target::Daemon { port: 1, module: OsBytes::from(format!("m{side}").into_bytes()) };
        let remote = Remote::new(Peer::new("127.0.0.1", target));
        Remote { standby: self.standby, max_delete: MaxDelete::Unlimited, ..remote }
    }

    fn logger(&self) -> Logger {
        match self.shown {
            true => crate::sys::log::logger(true),
            false => Logger::root(slog::Discard, slog::o!()),
        }
    }

    /// The simulation turns every process, so their pipes wake nobody.
    fn begin_watcher(&mut self) {
        let pipes = self.sides.iter().map(|_| wake::pipe().unwrap().1).collect();
        let start = WatcherStart {
            localpath: self.localpath(),
            state_dir: self.path("state"),
            wakes: self.sides.iter().map(|side| self.remote(side.number).name()).collect(),
            debug: self.shown,
        };
        let queue = self.queue.try_clone().unwrap();
        self.watcher = None;
        self.watcher = Some(Simulated::begin(start, queue, pipes, self.logger()));
        self.ask_barriers();
    }

    fn ask_barriers(&mut self) {
        let watcher = self.watcher.as_mut().unwrap();
        self.waits.barriers().for_each(|message| watcher.tell(&message));
    }

    fn begin_pusher(&mut self, side: usize) {
        let start = PusherStart {
            localpath: self.localpath(),
            remote: self.remote(side),
            state_dir: self.path("state"),
            run_dir: self.path("run"),
            instance: "simulation".into(),
            settings: "s".into(),
            reconcile: None,
            debug: false,
        };
        let log = self.logger();
        let pusher = &mut self.sides[side];
        pusher.begin(start, log);
        if self.held {
            pusher.tell(&ToPusher::Hold(Some(HELD.to_owned())));
        }
        self.waits.awaited(side).for_each(|message| pusher.tell(&message));
    }

    /// The supervisor ends the rsyncs of a dead pusher before it starts another.
    fn kill_pusher(&mut self, side: usize) {
        self.sides[side].kill_all();
        self.begin_pusher(side);
    }

    /// The supervisor, and so everything that it started. What the kernel has queued is lost.
    fn kill_all(&mut self) {
        self.queue = inotify::create().unwrap();
        self.waits.end();
        self.held = false;
        self.begin_watcher();
        (0..self.sides.len()).for_each(|side| self.kill_pusher(side));
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        simulated::NOW.set(Some(self.now));
    }

    fn watch(&mut self) {
        let watcher = self.watcher.as_mut().unwrap();
        watcher.turn();
        let reached = watcher.reached.drain(..);
        let mut told: Vec<ToPusher> = reached
            .filter_map(|(ticket, seq)| self.waits.reached(ticket, seq, self.sides.len()))
            .collect();
        told.extend(watcher.reconcile.take().map(ToPusher::Reconcile));
        for side in &mut self.sides {
            told.iter().for_each(|message| side.tell(message));
        }
    }

    fn push(&mut self, side: usize) {
        for (names, others) in self.sides[side].push(self.at) {
            self.look_for_overlap(&names, &others);
        }
        self.look_at_waits(side);
    }

    /// A wait that returns has everything on the slave that did not change after it began.
    fn look_at_waits(&mut self, side: usize) {
        for ticket in std::mem::take(&mut self.sides[side].pusher().settled) {
            self.note(format!("wait {ticket} returns for {side}"));
            let slave = self.sides[side].tree();
            let open: Vec<u64> =
                self.writers.iter().map(|w| w.1.metadata().unwrap().ino()).collect();
            let master = self.path("master");
            let mut waits = std::mem::take(&mut self.waits);
            let spared = |name: &Path| {
                let is_open = fs::symlink_metadata(master.join(name))
                    .is_ok_and(|stat| open.contains(&stat.ino()));
                let keeps = self.sides[side].kept.keys().any(|kept| kept.starts_with(name));
                let temporary = name.file_name().is_some_and(|n| n.as_encoded_bytes()[0] == b'.');
                is_open || keeps || temporary || self.excludes(name)
            };
            let differ = waits.settled(ticket, side, &slave, spared);
            self.waits = waits;
            let right = differ.is_empty() || self.sides[side].fell_back;
            assert!(right, "wait: {differ:#?}\n{}", self.log.join("\n"));
        }
    }

    /// No two pushes to a remote touch the same name at the same time. The attributes of a directory may be set while
    /// names below it are pushed.
    fn look_for_overlap(&self, names: &[PathBuf], others: &[PathBuf]) {
        for other in others {
            for name in names {
                let above = match () {
                    () if name.starts_with(other) => other,
                    () if other.starts_with(name) => name,
                    () => continue,
                };
                let log = || self.log.join("\n");
                let dir = self.path("master").join(above).is_dir();
                assert!(dir, "two pushes touch {}\n{}", above.display(), log());
            }
        }
    }

    /// One step of one rsync.
    fn transfer(&mut self, side: usize) {
        let there = &self.there;
        let there = |name: &Path| there.get(name).copied();
        if let Found::Broken(what) = self.sides[side].transfer(&mut self.random, &there) {
            panic!("{what}\n{}", self.log.join("\n"));
        }
    }

    /// A name, at most three levels deep.
    fn name(&mut self) -> PathBuf {
        let depth = self.random.usize(1..4);
        (0..depth).map(|_| NAMES[self.random.usize(..NAMES.len())]).collect()
    }

    /// Every name below one, itself first.
    fn below(&self, name: &Path) -> Vec<(PathBuf, bool)> {
        let path = self.path("master").join(name);
        let Ok(stat) = fs::symlink_metadata(&path) else { return Vec::new() };
        let mut out = vec![(name.to_owned(), stat.is_dir())];
        if stat.is_dir() {
            let mut names: Vec<_> =
                fs::read_dir(&path).unwrap().map(|f| f.unwrap().file_name()).collect();
            names.sort();
            names.iter().for_each(|below| out.extend(self.below(&name.join(below))));
        }
        out
    }

    /// Changes the master as a program does.
    fn change(&mut self) {
        let name = self.name();
        let (master, elsewhere) = (self.path("master"), self.path("elsewhere"));
        let path = master.join(&name);
        let stat = fs::symlink_metadata(&path).ok();
        let (there, is_file) = (stat.is_some(), stat.as_ref().is_some_and(|stat| stat.is_file()));
        let in_dir = path.parent().is_some_and(Path::is_dir);
        let content = ["x", "y", "zz"][self.random.usize(..3)];
        match self.random.u8(..20) {
            0..6 if in_dir && (is_file || !there) => {
                self.note(format!("write {} {content}", name.display()));
                fs::write(&path, content).unwrap();
                if self.random.bool() {
                    self.stamp(&path);
                }
            }
            6 if in_dir && (is_file || !there) => {
                self.note(format!("open {} {content}", name.display()));
                let mut file = File::options().create(true).append(true).open(&path).unwrap();
                file.write_all(content.as_bytes()).unwrap();
                self.writers.push((name, file));
            }
            7 if !self.writers.is_empty() => {
                let which = self.random.usize(..self.writers.len());
                if self.random.bool() {
                    let (name, mut file) = self.writers.swap_remove(which);
                    file.write_all(content.as_bytes()).unwrap();
                    self.note(format!("close what was {}", name.display()));
                } else {
                    let (name, file) = &mut self.writers[which];
                    file.write_all(content.as_bytes()).unwrap();
                    let line = format!("write what was {}", name.display());
                    self.note(line);
                }
            }
            8 | 9 if in_dir && !there => {
                self.note(format!("mkdir {}", name.display()));
                fs::create_dir(&path).unwrap();
            }
            10 | 11 if there => {
                self.note(format!("rm {}", name.display()));
                for (gone, dir) in self.below(&name).into_iter().rev() {
                    let path = master.join(&gone);
                    let _ = if dir { fs::remove_dir(&path) } else { fs::remove_file(&path) };
                }
            }
            12..15 if there => {
                let to = self.name();
                if fs::rename(&path, master.join(&to)).is_ok() {
                    self.note(format!("mv {} {}", name.display(), to.display()));
                }
            }
            15 if there => {
                let to = self.name();
                let flags = RenameFlags::RENAME_EXCHANGE;
                if renameat2(AT_FDCWD, &path, AT_FDCWD, &master.join(&to), flags).is_ok() {
                    self.note(format!("exchange {} {}", name.display(), to.display()));
                }
            }
            16 if there => {
                let away = elsewhere.join(NAMES[self.random.usize(..NAMES.len())]);
                if fs::rename(&path, away).is_ok() {
                    self.note(format!("move {} out", name.display()));
                }
            }
            17 => {
                let from = elsewhere.join(NAMES[self.random.usize(..NAMES.len())]);
                if fs::rename(from, &path).is_ok() {
                    self.note(format!("move in {}", name.display()));
                }
            }
            18 if in_dir && !there => {
                self.note(format!("ln -s {}", name.display()));
                std::os::unix::fs::symlink("target", &path).unwrap();
            }
            19 if is_file => {
                let to = self.name();
                if fs::hard_link(&path, master.join(&to)).is_ok() {
                    self.note(format!("ln {} {}", name.display(), to.display()));
                }
            }
            _ => {}
        }
        self.take_stock();
    }

    /// Notes which names are there.
    fn take_stock(&mut self) {
        let names: Vec<PathBuf> =
            self.below(Path::new("")).into_iter().map(|(name, _)| name).collect();
        self.there.retain(|name, _| names.contains(name));
        for name in names {
            self.there.entry(name).or_insert(self.at);
        }
        self.waits.look(tree(&self.path("master")), self.at);
    }

    /// What is excluded on the slave keeps its directories. The master then may not have a file in their place.
    fn make_way(&mut self) {
        let kept = self.sides.iter().flat_map(|side| side.kept.keys());
        let names: Vec<PathBuf> = kept.cloned().collect();
        for above in names.iter().flat_map(|name| name.ancestors().skip(1)) {
            let path = self.path("master").join(above);
            if !self.excludes(above) && fs::symlink_metadata(&path).is_ok_and(|stat| !stat.is_dir())
            {
                self.note(format!("rm {}", above.display()));
                fs::remove_file(&path).unwrap();
            }
        }
    }

    /// Gives a file the time of a clock with long ticks.
    fn stamp(&self, path: &Path) {
        let file = File::options().append(true).open(path).unwrap();
        let ticks = self.at / STEPS_OF_TICK;
        let time = UNIX_EPOCH + self.began + TICK * ticks as u32;
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
    }

    /// One event of the schedule, with random numbers for it.
    pub fn step(&mut self, at: u64, random: fastrand::Rng) {
        (self.at, self.random) = (at, random);
        let side = self.random.usize(..self.sides.len());
        match self.random.u8(..112) {
            99..103 => {
                self.note("wait");
                self.waits.begin(self.at);
                self.ask_barriers();
            }
            103 => {
                self.note("sync");
                let message = ToPusher::Reconcile(ReconcileReason::Sync);
                self.sides[side].tell(&message);
            }
            104 => {
                self.note("the queue overflows");
                self.watcher.as_mut().unwrap().overflow();
            }
            105 | 106 => self.hold(!self.held),
            107..110 => match self.sides[side].may_fall_back(self.now) && !self.held {
                true => self.fall_back(side),
                false => self.sides[side].save(self.now),
            },
            110 => {
                let set_by_ms = [-7_200_000, -40_000, 30_000, 86_400_000][self.random.usize(..4)];
                self.note(format!("the clock is set by {set_by_ms} ms"));
                simulated::SET_BY_MS.set(simulated::SET_BY_MS.get() + set_by_ms);
            }
            0..25 => self.change(),
            25..40 => self.watch(),
            40..65 => self.push(side),
            65..87 => self.transfer(side),
            87..92 => {
                let ms = [1, 20, 500, 5_000][self.random.usize(..4)];
                self.pass(Duration::from_millis(ms));
            }
            92..94 => {
                self.note(format!("kill pusher {side}"));
                self.kill_pusher(side);
            }
            94 => match self.random.bool() {
                true => {
                    self.note("kill the watcher");
                    self.begin_watcher();
                }
                false => {
                    self.note("kill the supervisor");
                    self.kill_all();
                }
            },
            95..97 => {
                if self.sides[side].kill_one(&mut self.random) {
                    self.note(format!("kill an rsync for {side}"));
                }
            }
            97..99 => {
                let reachable = !self.sides[side].reachable;
                self.note(format!("{side} is reachable: {reachable}"));
                self.sides[side].reach(reachable);
            }
            _ => {
                let name = self.name();
                let like = self.sides[side].like.clone();
                let mut slave = like.borrow_mut();
                match slave.refused.is_empty() {
                    true => drop(slave.refused.insert(name)),
                    false => slave.refused.clear(),
                }
                let line = format!("{side} refuses {:?}", slave.refused);
                drop(slave);
                self.note(line);
            }
        }
    }

    /// The watcher holds the localpath, or no longer does.
    fn hold(&mut self, held: bool) {
        self.held = held;
        self.note(format!("held: {held}"));
        let why = held.then(|| HELD.to_owned());
        self.sides.iter_mut().for_each(|side| side.tell(&ToPusher::Hold(why.clone())));
    }

    /// A slave loses its power, and its master notices that it is away.
    fn fall_back(&mut self, side: usize) {
        self.note(format!("slave {side} falls back"));
        let before = self.sides[side].refused;
        self.sides[side].fall_back();
        fs::write(self.path("master").join(PROBE), self.at.to_string()).unwrap();
        self.take_stock();
        for _ in 0..NOTICE_MOST {
            self.watch();
            self.push(side);
            if self.sides[side].refused > before {
                return;
            }
            self.pass(Duration::from_millis(100));
        }
        // It was not asked in time. An operator who knows of it asks for a reconcile.
        self.sides[side].tell(&ToPusher::Reconcile(ReconcileReason::Sync));
    }

    /// True if nothing waits or runs.
    fn is_quiet(&self) -> bool {
        let count =
            |db: &Connection| db.query_row("SELECT count(*) FROM owed", [], |row| row.get(0));
        self.db.as_ref().map(count) == Some(Ok(0))
            && self.watcher.as_ref().is_some_and(|watcher| watcher.is_watching())
            && self.sides.iter().all(Side::is_quiet)
    }

    /// Nothing changes any more and nothing dies. The slaves must become equal.
    pub fn calm(&mut self, at: u64, random: fastrand::Rng) {
        (self.at, self.random) = (at, random);
        self.note("calm");
        let calm = self.now;
        self.hold(false);
        self.writers.clear();
        for side in &mut self.sides {
            side.reach(true);
            side.like.borrow_mut().refused.clear();
        }
        self.make_way();
        self.take_stock();
        for _ in 0..CALM_MOST {
            self.at += 1;
            self.watch();
            let late = self.now > calm + RECEIVER_MOST;
            for side in 0..self.sides.len() {
                self.push(side);
                while self.sides[side].works() {
                    self.transfer(side);
                }
                self.sides[side].linger(|| late || self.random.u8(..8) == 0);
            }
            if self.is_quiet() {
                break;
            }
            let now = self.now;
            let pushers = self.sides.iter_mut().map(|side| side.pusher().next_time(now));
            let watcher = self.watcher.as_ref().map(|watcher| watcher.next_time(now));
            let next = pushers.chain(watcher).min().unwrap_or_default();
            let wait = next.saturating_sub(now).min(Duration::from_secs(60));
            self.pass(wait.max(Duration::from_millis(1)));
        }
        for side in &self.sides {
            let differ = self.differences(side);
            let number = side.number;
            assert!(differ.is_empty(), "{number}: {differ:#?}\n{}", self.log.join("\n"));
        }
        assert!(self.is_quiet(), "it never rests\n{}", self.log.join("\n"));
    }

    /// In what a slave differs from the master.
    fn differences(&self, side: &Side) -> Vec<String> {
        let (mut master, slave) = (tree(&self.path("master")), side.tree());
        master.retain(|name, _| !self.excludes(name));
        for (name, what) in &side.kept {
            master.insert(name.clone(), what.clone());
            let above = name.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
            above.for_each(|dir| drop(master.insert(dir.to_owned(), "a directory".into())));
        }
        let missing = master
            .iter()
            .filter(|(name, what)| slave.get(*name) != Some(what))
            .map(|(name, what)| format!("{}: {what}, there {:?}", name.display(), slave.get(name)));
        let more = slave.keys().filter(|name| !master.contains_key(*name));
        let more = more.map(|name| format!("{}: only on the slave", name.display()));
        missing.chain(more).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        STARTED.set(None);
        simulated::NOW.set(None);
    }
}

/// What is below a directory, by name.
pub fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    fn add(root: &Path, name: &Path, out: &mut BTreeMap<PathBuf, String>) {
        for found in fs::read_dir(root.join(name)).unwrap().flatten() {
            let (below, path) = (name.join(found.file_name()), found.path());
            let stat = fs::symlink_metadata(&path).unwrap();
            let what = if stat.is_dir() {
                add(root, &below, out);
                "a directory".to_owned()
            } else if stat.is_symlink() {
                format!("a link to {:?}", fs::read_link(&path).unwrap())
            } else {
                format!(
                    "{:?} of {}.{:09}",
                    fs::read_to_string(&path).unwrap(),
                    stat.mtime(),
                    stat.mtime_nsec()
                )
            };
            out.insert(below, what);
        }
    }
    let mut out = BTreeMap::new();
    add(root, Path::new(""), &mut out);
    out
}

/// Copies a tree with its times.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for found in fs::read_dir(from).unwrap().flatten() {
        let (path, to) = (found.path(), to.join(found.file_name()));
        let stat = fs::symlink_metadata(&path).unwrap();
        if stat.is_dir() {
            copy(&path, &to);
        } else if stat.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&path).unwrap(), &to).unwrap();
        } else {
            fs::copy(&path, &to).unwrap();
            let times = FileTimes::new().set_modified(stat.modified().unwrap());
            File::options().append(true).open(&to).unwrap().set_times(times).unwrap();
        }
    }
    let times = FileTimes::new().set_modified(fs::metadata(from).unwrap().modified().unwrap());
    File::open(to).unwrap().set_times(times).unwrap();
}
