//! The simulated world: what happens in it step by step, and what must be true of it.

use super::rsync::{Found, Slave, Transfer};
use super::waits::Waits;
use crate::config::model::*;
use crate::journal::FILE_NAME;
use crate::message::{PusherStart, ToPusher, WatcherStart};
use crate::reconcile_reason::ReconcileReason;
use crate::rsync::peer::{Peer, Target};
use crate::sys::clock::{self, simulated};
use crate::sys::lock::{self, Lock};
use crate::sys::rsync::simulated::STARTED;
use crate::sys::{inotify, wake};
use crate::{pusher, watcher};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use rusqlite::Connection;
use slog::Logger;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::{Duration, UNIX_EPOCH};
use tempfile::TempDir;

/// The names of files and directories. Few, so that they meet.
pub const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// Turns of the pusher within which a calm world must be in order.
const CALM_MOST: usize = 3_000;
/// An old receiver exits within its timeout.
const RECEIVER_MOST: Duration = Duration::from_secs(90);
/// A slave that loses its power loses what is younger than this.
const LOST_MOST: Duration = Duration::from_secs(20);
/// Turns within which its master notices.
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
    watcher: Option<watcher::simulated::Simulated>,
    pusher: Option<pusher::simulated::Simulated>,
    /// The journal, to count what pushes are still to come.
    db: Option<Connection>,
    transfers: Vec<Transfer>,
    slave: Rc<RefCell<Slave>>,
    /// `c` is excluded. What the slave has of that name stays.
    filtered: bool,
    kept: BTreeMap<PathBuf, String>,
    reachable: bool,
    /// Connections were refused in this number.
    refused: usize,
    /// The localpath is held.
    held: bool,
    /// The slave as it was at this time.
    saved: Option<Duration>,
    /// The slave has lost what it had acknowledged.
    fell_back: bool,
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
        for name in ["master", "slave", "state", "run", "elsewhere"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        STARTED.set(Some(Vec::new()));
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
            pusher: None,
            db: None,
            transfers: Vec::new(),
            slave: Rc::new(RefCell::new(Slave { old: seed.is_multiple_of(5), ..Slave::default() })),
            filtered: seed.is_multiple_of(3),
            kept: BTreeMap::new(),
            reachable: true,
            refused: 0,
            held: false,
            saved: None,
            fell_back: false,
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
        world.begin_pusher();
        world.db = Some(Connection::open(world.path("state").join(FILE_NAME)).unwrap());
        world
    }

    /// Fills the slave and the master with a few names.
    fn fill(&mut self) {
        for _ in 0..self.random.usize(..12) {
            let (name, root) = (self.name(), ["slave", "master"][self.random.usize(..2)]);
            let path = self.path(root).join(name);
            let _ = path.parent().map(fs::create_dir_all);
            let _ = match self.random.bool() {
                true => fs::create_dir(&path),
                false => fs::write(&path, ["x", "y", "zz"][self.random.usize(..3)]),
            };
        }
        let kept = tree(&self.path("slave")).into_iter();
        self.kept = kept.filter(|(name, _)| self.excludes(name)).collect();
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

    fn remote(&self) -> Remote {
        let target = Target::Daemon { port: 1, module: "m".into() };
        let remote = Remote::new(Peer::new("127.0.0.1", target));
        Remote { standby: self.standby, max_delete: MaxDelete::Unlimited, ..remote }
    }

    fn logger(&self) -> Logger {
        match self.shown {
            true => crate::sys::log::logger(true),
            false => Logger::root(slog::Discard, slog::o!()),
        }
    }

    /// The simulation turns both, so their pipe wakes nobody.
    fn begin_watcher(&mut self) {
        let (_, wake) = wake::pipe().unwrap();
        let start = WatcherStart {
            localpath: self.localpath(),
            state_dir: self.path("state"),
            wakes: vec![self.remote().name()],
            debug: self.shown,
        };
        let queue = self.queue.try_clone().unwrap();
        self.watcher = None;
        self.watcher =
            Some(watcher::simulated::Simulated::begin(start, queue, wake, self.logger()));
        self.ask_barriers();
    }

    fn ask_barriers(&mut self) {
        let watcher = self.watcher.as_mut().unwrap();
        self.waits.barriers().for_each(|message| watcher.tell(&message));
    }

    fn begin_pusher(&mut self) {
        let (wake, _) = wake::pipe().unwrap();
        let start = PusherStart {
            localpath: self.localpath(),
            remote: self.remote(),
            state_dir: self.path("state"),
            run_dir: self.path("run"),
            instance: "simulation".into(),
            settings: "s".into(),
            reconcile: None,
            debug: false,
        };
        self.pusher = None;
        self.pusher = Some(pusher::simulated::Simulated::begin(start, lock(), wake, self.logger()));
        self.held = false;
        let pusher = self.pusher.as_mut().unwrap();
        self.waits.awaited().for_each(|message| pusher.tell(&message));
    }

    /// The supervisor ends the rsyncs of a dead pusher before it starts another.
    fn kill_pusher(&mut self) {
        self.transfers.iter().for_each(Transfer::kill);
        self.begin_pusher();
    }

    /// The supervisor, and so everything that it started. What the kernel has queued is lost.
    fn kill_all(&mut self) {
        self.queue = inotify::create().unwrap();
        self.waits.end();
        self.begin_watcher();
        self.kill_pusher();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        simulated::NOW.set(Some(self.now));
    }

    fn watch(&mut self) {
        let (watcher, pusher) = (self.watcher.as_mut().unwrap(), self.pusher.as_mut().unwrap());
        watcher.turn();
        if let Some(why) = watcher.reconcile.take() {
            pusher.tell(&ToPusher::Reconcile(why));
        }
        for (ticket, seq) in watcher.reached.drain(..) {
            if let Some(message) = self.waits.reached(ticket, seq) {
                pusher.tell(&message);
            }
        }
    }

    fn push(&mut self) {
        self.pusher.as_mut().unwrap().turn();
        self.look_at_waits();
        let started: Vec<_> =
            STARTED.with_borrow_mut(|all| all.as_mut().unwrap().drain(..).collect());
        for process in started {
            let transfer = Transfer::new(process, &self.path("slave"), self.slave.clone(), self.at);
            if self.shown {
                println!("{} starts {}", self.at, transfer.shown());
            }
            if !self.reachable {
                transfer.refuse();
                self.refused += 1;
            }
            self.transfers.push(transfer);
        }
        for at in 0..self.transfers.len() {
            if self.transfers[at].read_input() {
                self.look_for_overlap(at);
            }
        }
        self.transfers.retain(|transfer| !transfer.is_over() || transfer.lingers());
    }

    /// A wait that returns has everything on the slave that did not change after it began.
    fn look_at_waits(&mut self) {
        for ticket in std::mem::take(&mut self.pusher.as_mut().unwrap().settled) {
            self.note(format!("wait {ticket} returns"));
            let slave = tree(&self.path("slave"));
            let open: Vec<u64> =
                self.writers.iter().map(|w| w.1.metadata().unwrap().ino()).collect();
            let master = self.path("master");
            let mut waits = std::mem::take(&mut self.waits);
            let spared = |name: &Path| {
                let is_open = fs::symlink_metadata(master.join(name))
                    .is_ok_and(|stat| open.contains(&stat.ino()));
                let keeps = self.kept.keys().any(|kept| kept.starts_with(name));
                let temporary = name.file_name().is_some_and(|n| n.as_encoded_bytes()[0] == b'.');
                is_open || keeps || temporary || self.excludes(name)
            };
            let differ = waits.settled(ticket, &slave, spared);
            self.waits = waits;
            let log = || self.log.join("\n");
            assert!(differ.is_empty() || self.fell_back, "wait: {differ:#?}\n{}", log());
        }
    }

    /// No two pushes touch the same name at the same time. The attributes of a directory may be set while names below it
    /// are pushed.
    fn look_for_overlap(&self, new: usize) {
        let names = self.transfers[new].touches();
        let others = self.transfers.iter().enumerate().filter(|(at, _)| *at != new);
        for other in others.flat_map(|(_, other)| other.touches()) {
            for name in &names {
                let above = match () {
                    () if name.starts_with(&other) => &other,
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
    fn transfer(&mut self) {
        if self.transfers.is_empty() {
            return;
        }
        let which = self.random.usize(..self.transfers.len());
        let transfer = &mut self.transfers[which];
        if transfer.is_over() {
            // An old receiver may be slow.
            if self.random.u8(..4) == 0 {
                transfer.linger();
            }
            return;
        }
        let there = &self.there;
        if let Found::Broken(what) = transfer.step(&|name| there.get(name).copied()) {
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
        let names: Vec<PathBuf> = self.kept.keys().cloned().collect();
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
        match self.random.u8(..112) {
            99..103 => {
                self.note("wait");
                self.waits.begin(self.at);
                self.ask_barriers();
            }
            103 => {
                self.note("sync");
                let message = ToPusher::Reconcile(ReconcileReason::Sync);
                self.pusher.as_mut().unwrap().tell(&message);
            }
            104 => {
                self.note("the queue overflows");
                self.watcher.as_mut().unwrap().overflow();
            }
            105 | 106 => self.hold(!self.held),
            107..110 => match self.saved.take() {
                Some(saved) if self.now < saved + LOST_MOST => self.fall_back(),
                _ => self.save(),
            },
            110 => {
                let set_by_ms = [-7_200_000, -40_000, 30_000, 86_400_000][self.random.usize(..4)];
                self.note(format!("the clock is set by {set_by_ms} ms"));
                simulated::SET_BY_MS.set(simulated::SET_BY_MS.get() + set_by_ms);
            }
            0..25 => self.change(),
            25..40 => self.watch(),
            40..65 => self.push(),
            65..87 => self.transfer(),
            87..92 => {
                let ms = [1, 20, 500, 5_000][self.random.usize(..4)];
                self.pass(Duration::from_millis(ms));
            }
            92..94 => {
                self.note("kill the pusher");
                self.kill_pusher();
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
            95..97 if !self.transfers.is_empty() => {
                self.note("kill an rsync");
                let reading = self.transfers.iter().position(Transfer::has_read);
                let which = reading.unwrap_or(self.random.usize(..self.transfers.len()));
                self.transfers[which].kill();
            }
            97..99 => {
                self.reachable = !self.reachable;
                self.note(format!("reachable: {}", self.reachable));
                if !self.reachable {
                    self.transfers.iter().filter(|t| !t.is_over()).for_each(Transfer::cut);
                }
            }
            _ => {
                let name = self.name();
                let mut slave = self.slave.borrow_mut();
                match slave.refused.is_empty() {
                    true => drop(slave.refused.insert(name)),
                    false => slave.refused.clear(),
                }
                let line = format!("refused: {:?}", slave.refused);
                drop(slave);
                self.note(line);
            }
        }
    }

    /// The watcher holds the localpath, or no longer does.
    fn hold(&mut self, held: bool) {
        self.held = held;
        self.note(format!("held: {held}"));
        let why = held.then(|| "its root is missing".to_owned());
        self.pusher.as_mut().unwrap().tell(&ToPusher::Hold(why));
    }

    /// The slave's disk has this now.
    fn save(&mut self) {
        let (from, to) = (self.path("slave"), self.path("saved"));
        let _ = fs::remove_dir_all(&to);
        copy(&from, &to);
        self.saved = Some(self.now);
    }

    /// The slave loses its power, and what it had acknowledged since it was saved. Its master notices that it is away.
    fn fall_back(&mut self) {
        if self.held || !self.reachable {
            return;
        }
        self.note("the slave falls back");
        (self.fell_back, self.reachable) = (true, false);
        self.transfers.iter().filter(|t| !t.is_over()).for_each(Transfer::cut);
        // Receivers die with it.
        self.transfers.retain(|transfer| !transfer.is_over() || !transfer.lingers());
        fs::remove_dir_all(self.path("slave")).unwrap();
        fs::rename(self.path("saved"), self.path("slave")).unwrap();
        let before = self.refused;
        let name = self.path("master").join(PROBE);
        fs::write(&name, self.at.to_string()).unwrap();
        self.take_stock();
        for _ in 0..NOTICE_MOST {
            self.watch();
            self.push();
            if self.refused > before {
                return;
            }
            self.pass(Duration::from_millis(100));
        }
        // It was not asked in time. An operator who knows of it asks for a reconcile.
        self.pusher.as_mut().unwrap().tell(&ToPusher::Reconcile(ReconcileReason::Sync));
    }

    /// True if nothing waits or runs.
    fn is_quiet(&self) -> bool {
        let count =
            |db: &Connection| db.query_row("SELECT count(*) FROM owed", [], |row| row.get(0));
        self.db.as_ref().map(count) == Some(Ok(0))
            && self.transfers.iter().all(Transfer::waits)
            && self.watcher.as_ref().is_some_and(|watcher| watcher.is_watching())
            && self.pusher.as_ref().is_some_and(|pusher| pusher.is_quiet())
    }

    /// Nothing changes any more and nothing dies. The slave must become equal.
    pub fn calm(&mut self, at: u64, random: fastrand::Rng) {
        (self.at, self.random) = (at, random);
        self.note("calm");
        let calm = self.now;
        self.reachable = true;
        self.hold(false);
        self.writers.clear();
        self.slave.borrow_mut().refused.clear();
        self.make_way();
        for _ in 0..CALM_MOST {
            self.at += 1;
            self.watch();
            self.push();
            while self.transfers.iter().any(|t| !t.is_over() && !t.waits()) {
                self.transfer();
            }
            let late = self.now > calm + RECEIVER_MOST;
            for transfer in self.transfers.iter_mut().filter(|transfer| transfer.lingers()) {
                if late || self.random.u8(..8) == 0 {
                    transfer.linger();
                }
            }
            if self.is_quiet() {
                break;
            }
            let pusher = self.pusher.as_ref().map(|pusher| pusher.next_time(self.now));
            let watcher = self.watcher.as_ref().map(|watcher| watcher.next_time(self.now));
            let next = pusher.into_iter().chain(watcher).min().unwrap_or_default();
            let wait = next.saturating_sub(self.now).min(Duration::from_secs(60));
            self.pass(wait.max(Duration::from_millis(1)));
        }
        let (mut master, slave) = (tree(&self.path("master")), tree(&self.path("slave")));
        master.retain(|name, _| !self.excludes(name));
        for (name, what) in &self.kept {
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
        let differ: Vec<String> = missing.chain(more).collect();
        assert!(differ.is_empty(), "{differ:#?}\n{}", self.log.join("\n"));
        assert!(self.is_quiet(), "it never rests\n{}", self.log.join("\n"));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        STARTED.set(None);
        simulated::NOW.set(None);
    }
}

/// A lock for all pushers: the modelled rsyncs of a dead one are killed before the next begins.
fn lock() -> &'static Lock {
    static LOCK: OnceLock<Lock> = OnceLock::new();
    LOCK.get_or_init(|| {
        let file = tempfile::NamedTempFile::new().unwrap();
        lock::take(file.path(), true).unwrap().unwrap()
    })
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
fn copy(from: &Path, to: &Path) {
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
