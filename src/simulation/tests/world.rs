//! The simulated world: what happens in it step by step, and what must be true of it.

use super::kinds::{Kind, Kinds};
use super::life::{Change, Life};
use super::rsync::{Found, Slave};
use super::side::Side;
use super::waits::Waits;
use crate::config::model::*;
use crate::help_topic::{HelpTopic, Reason};
use crate::journal::FILE_NAME;
use crate::message::{
    FromChild, FromPusher, FromWatcher, PusherStart, SlotKind, Ticket, ToPusher, WatcherStart,
    WatcherState,
};
use crate::path::OsBytes;
use crate::reconcile_reason::ReconcileReason;
use crate::rsync::peer::{Peer, Target};
use crate::supervisor::pusher::SupervisedPusher;
use crate::supervisor::root_state::RootState;
use crate::supervisor::slots::{SlotHolder, SlotPool};
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
/// How often the supervisor looks for silent processes.
const SUPERVISED_EVERY: Duration = Duration::from_secs(1);
/// The clock that stamps files moves on in ticks, so that files written soon after another have the same time.
const TICK: Duration = Duration::from_millis(4);
/// The age of what a slave has when the world begins.
const OLDER: Duration = Duration::from_secs(10);
/// The steps of the schedule in one tick.
const STEPS_OF_TICK: u64 = 30;

/// A localpath, its remote, and what runs.
pub struct World {
    /// What happens is printed.
    shown: bool,
    /// How often each kind of event happens.
    kinds: Kinds,
    dir: TempDir,
    random: fastrand::Rng,
    now: Duration,
    /// Files of this size are large. In half of the worlds a few bytes are much.
    large_bytes: u64,
    /// When the world began, by the clock that stamps files.
    began: Duration,
    /// The step of the schedule, after those that were taken before it.
    at: u64,
    /// The steps that were taken before the schedule began.
    before: u64,
    /// The supervisor's copy of the watcher's inotify descriptor.
    queue: OwnedFd,
    watcher: Option<Simulated>,
    /// The watcher's life.
    life: Life,
    /// What the supervisor knows of the root.
    root: RootState,
    slots: SlotPool,
    sides: Vec<Side>,
    /// The journal, to count what pushes are still to come.
    db: Option<Connection>,
    /// `c` is excluded. What a slave has of that name stays.
    filtered: bool,
    /// The guard lets no comparison delete anything before it is released.
    guarded: bool,
    waits: Waits,
    /// Files of the master that a program has open for writing.
    writers: Vec<(PathBuf, File)>,
    /// The names on the master, with the step since which each has been there without interruption.
    there: BTreeMap<PathBuf, u64>,
    /// A directory elsewhere, and the name that it will take.
    copy: Option<(PathBuf, PathBuf)>,
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
        let now = Duration::from_secs(1_000);
        simulated::NOW.set(Some(now));
        simulated::SET_BY_MS.set(0);
        let guarded = seed % 8 == 5;
        let standby = match (seed / 2).is_multiple_of(2) {
            true => StandbyMode::Active,
            false => StandbyMode::Off,
        };
        // One in four worlds has two remotes.
        let sides = (0..1 + u64::from(seed.is_multiple_of(4))).map(|number| {
            let like = Slave {
                old: (seed + number).is_multiple_of(5),
                coarse: (seed + number) % 6 == 1,
                ..Slave::default()
            };
            let supervised = supervised(number, remote(number, guarded, standby), now);
            Side::new(dir.path(), like, supervised, now)
        });
        let mut world = World {
            shown,
            kinds: Kinds::of(seed),
            random: fastrand::Rng::with_seed(seed),
            now,
            large_bytes: if seed.is_multiple_of(2) { 2 } else { 1 << 20 },
            began: Duration::from_nanos(clock::file_ns() as u64),
            at: 0,
            before: 0,
            queue: inotify::create().unwrap(),
            watcher: None,
            life: Life::new(now),
            root: RootState::Unknown,
            slots: SlotPool::new(1 + seed as usize % 3),
            sides: sides.collect(),
            db: None,
            filtered: seed.is_multiple_of(3),
            guarded,
            waits: Waits::default(),
            writers: Vec::new(),
            there: BTreeMap::new(),
            copy: None,
            log: Vec::new(),
            dir,
        };
        if seed % 7 < 3 {
            world.fill();
        }
        world.supervise();
        world.db = Some(Connection::open(world.path("state").join(FILE_NAME)).unwrap());
        // Half of the worlds begin after their first reconcile.
        if (seed / 8) % 2 == 1 {
            world.at = 1;
            world.come_to_rest();
            world.before = world.at;
            // What was released there says nothing of what the guard must hold later.
            world.sides.iter_mut().for_each(|side| side.released = false);
        }
        world
    }

    /// Fills the slaves and the master with a few names.
    fn fill(&mut self) {
        // Directories with files that are the same everywhere.
        for _ in 0..[0, 0, 6][self.random.usize(..3)] {
            let dir = NAMES[self.random.usize(..NAMES.len())];
            let name = Path::new(dir).join(NAMES[self.random.usize(..NAMES.len())]);
            let content = ["x", "y", "zz"][self.random.usize(..3)];
            let slaves = self.sides.iter().map(|side| side.slave().to_owned());
            for root in slaves.chain([self.path("master")]) {
                fs::create_dir_all(root.join(dir)).unwrap();
                fs::write(root.join(&name), content).unwrap();
                set_time(&root.join(&name), self.began - OLDER);
            }
        }
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
                // What a slave has is older than what the master has, even if both are written within one tick.
                set_time(&path, self.began - OLDER);
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
        let line = format!("{} {}", self.at - self.before, what.into());
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
            wakes: self.sides.iter().map(|side| side.remote().name()).collect(),
            debug: self.shown,
        };
        let queue = self.queue.try_clone().unwrap();
        self.watcher = Some(Simulated::begin(start, queue, pipes, self.logger()));
        self.ask_barriers();
    }

    fn ask_barriers(&mut self) {
        if let Some(watcher) = &mut self.watcher {
            for message in self.waits.barriers() {
                watcher.tell(&message);
                self.life.sent(self.now);
            }
        }
    }

    fn begin_pusher(&mut self, side: usize) {
        let start = PusherStart {
            localpath: self.localpath(),
            remote: self.sides[side].remote().clone(),
            state_dir: self.path("state"),
            run_dir: self.path("run"),
            instance: "simulation".into(),
            settings: "s".into(),
            reconcile: self.sides[side].pending(),
            requests: self.sides[side].requests(),
            debug: false,
        };
        let (log, now) = (self.logger(), self.now);
        let pusher = &mut self.sides[side];
        pusher.begin(start, log);
        if let Some(hold) = self.root.hold() {
            pusher.tell(&ToPusher::Hold(hold), now);
        }
        self.waits.awaited(side).for_each(|message| pusher.tell(&message, now));
    }

    /// A turn of the supervisor: what has died is reaped, what is silent is killed, what is due is started.
    fn supervise(&mut self) {
        for change in self.life.turn(self.now) {
            match change {
                Change::Reaped => self.note("the watcher is reaped"),
                Change::Starts => self.begin_watcher(),
            }
        }
        if !self.life.exists() {
            self.watcher = None;
        }
        for side in 0..self.sides.len() {
            for change in self.sides[side].supervise(self.now) {
                match change {
                    Change::Reaped => {
                        self.note(format!("pusher {side} is reaped"));
                        let granted = self.slots.gone(self.sides[side].key());
                        self.grant(granted);
                    }
                    Change::Starts => self.begin_pusher(side),
                }
            }
        }
    }

    fn kill_watcher(&mut self) {
        self.life.kill();
        self.watcher = None;
    }

    /// The supervisor, and so everything that it started. What the kernel has queued is lost.
    fn kill_all(&mut self) {
        self.queue = inotify::create().unwrap();
        self.waits.end();
        self.watcher = None;
        (self.life, self.root) = (Life::new(self.now), RootState::Unknown);
        self.slots = SlotPool::new(self.slots.limit());
        for side in &mut self.sides {
            let fresh = supervised(side.key(), side.remote().clone(), self.now);
            side.forget(fresh, self.now);
        }
    }

    /// Slots go to these pushers.
    fn grant(&mut self, granted: Vec<(SlotHolder, SlotKind)>) {
        let active = self.sides.len() as u32;
        for (holder, kind) in granted {
            self.sides[holder as usize].tell(&ToPusher::Slot { kind, active }, self.now);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        simulated::NOW.set(Some(self.now));
    }

    /// A turn of the watcher, and what the supervisor does with its messages.
    fn watch(&mut self) {
        let Some(watcher) = self.watcher.as_mut().filter(|_| self.life.runs()) else { return };
        let said = watcher.turn();
        if let Some(last) = said.last() {
            self.life.heard(last.rests(), self.now);
        }
        for message in said {
            match message {
                FromWatcher::State(state) => self.root_is(&state),
                FromWatcher::Reached { ticket, seq } => self.reached(ticket, seq),
                FromWatcher::NeedReconcile(why) => {
                    let now = self.now;
                    self.sides.iter_mut().for_each(|side| side.request_reconcile(&why, now));
                }
                FromWatcher::Damaged(why) => panic!("{why}"),
                FromWatcher::OutOfReach => panic!("a simulated watcher is not confined"),
                FromWatcher::Alive
                | FromWatcher::Rests
                | FromWatcher::Watches(_)
                | FromWatcher::Open(_) => {}
            }
        }
    }

    fn reached(&mut self, ticket: Ticket, seq: i64) {
        if let Some(message) = self.waits.reached(ticket, seq, self.sides.len()) {
            self.sides.iter_mut().for_each(|side| side.tell(&message, self.now));
        }
    }

    /// A watcher says this of the root.
    fn root_is(&mut self, state: &WatcherState) {
        let root = self.root.after(state);
        if root != self.root {
            self.root = root;
            if let Some(hold) = self.root.hold() {
                let message = ToPusher::Hold(hold);
                self.sides.iter_mut().for_each(|side| side.tell(&message, self.now));
            }
        }
    }

    /// A turn of a pusher, and what the supervisor does with its messages.
    fn push(&mut self, side: usize) {
        let said = self.sides[side].turn(self.now);
        let wrong = self.sides[side].has_false_alarm();
        assert!(!wrong, "nothing is lost\n{}", self.log.join("\n"));
        for (names, others) in self.sides[side].begin_rsyncs(self.at, self.shown) {
            self.look_for_overlap(&names, &others);
        }
        let key = self.sides[side].key();
        for message in said {
            match message {
                FromPusher::WantSlot(kind) => {
                    let granted = self.slots.want(key, kind);
                    self.grant(granted);
                }
                FromPusher::SlotDone(kind) => {
                    let granted = self.slots.done(key, kind);
                    self.grant(granted);
                }
                FromPusher::Settled(ticket) => self.look_at_wait(side, ticket),
                _ => {}
            }
        }
    }

    /// A wait that returns has everything on the slave that did not change after it began.
    fn look_at_wait(&mut self, side: usize, ticket: Ticket) {
        self.note(format!("wait {ticket} returns for {side}"));
        let slave = self.sides[side].tree();
        let open: Vec<u64> = self.writers.iter().map(|w| w.1.metadata().unwrap().ino()).collect();
        let master = self.path("master");
        let mut waits = std::mem::take(&mut self.waits);
        let spared = |name: &Path| {
            let is_open = fs::symlink_metadata(master.join(name))
                .is_ok_and(|stat| open.contains(&stat.ino()));
            let keeps = self.sides[side].kept.keys().any(|kept| kept.starts_with(name));
            let mut by_hand = self.sides[side].by_hand.iter();
            let by_hand = by_hand.any(|other| other.starts_with(name) || name.starts_with(other));
            let temporary = name.file_name().is_some_and(|n| n.as_encoded_bytes()[0] == b'.');
            is_open || keeps || by_hand || temporary || self.excludes(name)
        };
        let coarse = self.sides[side].like.borrow().coarse;
        let differ = waits.settled(ticket, side, &slave, coarse, spared);
        self.waits = waits;
        let right = differ.is_empty() || self.sides[side].fell_back;
        assert!(right, "wait: {differ:#?}\n{}", self.log.join("\n"));
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
        self.look_at_guard(side);
    }

    /// What nobody named since the world began is deleted by comparisons only.
    fn look_at_guard(&self, side: usize) {
        let side = &self.sides[side];
        let deleted = std::mem::take(&mut side.like.borrow_mut().deleted);
        if self.guarded && !side.released && !side.fell_back {
            let wrong = deleted.iter().find(|name| !self.waits.touched(name));
            assert_eq!(wrong, None, "deleted without a release\n{}", self.log.join("\n"));
        }
    }

    /// A name, at most three levels deep: often one that an rsync is at.
    fn name(&mut self) -> PathBuf {
        let at_risk: Vec<&Path> = self.sides.iter().flat_map(Side::at_risk).collect();
        if !at_risk.is_empty() && self.random.u8(..3) == 0 {
            return at_risk[self.random.usize(..at_risk.len())].to_owned();
        }
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
        if self.copy.is_some() && self.random.u8(..4) == 0 {
            self.move_copy_in();
            return self.take_stock();
        }
        match self.random.u8(..22) {
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
                    [&name, &to].into_iter().for_each(|name| self.waits.name(name, self.at));
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
            20 | 21 => {
                let files = self.there.keys().filter(|name| master.join(name).is_file());
                let dirs: Vec<PathBuf> =
                    files.filter_map(|file| file.parent()).map(Path::to_owned).collect();
                let dir = self.random.choice(dirs).filter(|dir| !dir.as_os_str().is_empty());
                if let Some(name) = dir {
                    self.move_behind_copy(name);
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

    /// A directory is moved away, and a copy of it will take its name: the same content, and other times.
    fn move_behind_copy(&mut self, name: PathBuf) {
        let copy = self.path("elsewhere").join("copy");
        let _ = fs::remove_dir_all(&copy);
        for (path, dir) in self.below(&name) {
            let below = path.strip_prefix(&name).unwrap();
            let (from, to) = (self.path("master").join(&path), copy.join(below));
            let _ = match dir {
                true => fs::create_dir(&to),
                false if from.is_symlink() => Ok(()),
                false => fs::copy(&from, &to).map(drop),
            };
        }
        let to = self.name();
        let master = self.path("master");
        if fs::rename(master.join(&name), master.join(&to)).is_ok() {
            self.note(format!("mv {} {}, which leaves a copy", name.display(), to.display()));
            self.copy = Some((copy, name));
        }
    }

    fn move_copy_in(&mut self) {
        let Some((copy, name)) = self.copy.take() else { return };
        if fs::rename(copy, self.path("master").join(&name)).is_ok() {
            self.note(format!("move the copy of {0} to {0}", name.display()));
            self.waits.name(&name, self.at);
        }
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
        let ticks = self.at / STEPS_OF_TICK;
        set_time(path, self.began + TICK * ticks as u32);
    }

    /// One event of the schedule, with random numbers for it.
    pub fn step(&mut self, at: u64, random: fastrand::Rng) {
        (self.at, self.random) = (self.before + at, random);
        let side = self.random.usize(..self.sides.len());
        if self.random.bool() {
            self.supervise();
        }
        match self.kinds.pick(&mut self.random) {
            Kind::Change => self.change(),
            Kind::Watch => self.watch(),
            Kind::Push => self.push(side),
            Kind::Transfer => self.transfer(side),
            Kind::Pass => {
                let ms = [1, 20, 500, 5_000][self.random.usize(..4)];
                self.pass(Duration::from_millis(ms));
            }
            Kind::Continue => self.resume(),
            Kind::KillPusher => {
                // Rather one whose rsync has read something.
                let reading = self.sides.iter().position(|side| side.at_risk().next().is_some());
                let side = reading.unwrap_or(side);
                self.note(format!("kill pusher {side}"));
                self.sides[side].kill();
            }
            Kind::KillWatcher => {
                self.note("kill the watcher");
                self.kill_watcher();
            }
            Kind::KillSupervisor => {
                self.note("kill the supervisor");
                self.kill_all();
            }
            Kind::KillRsync => {
                if self.sides[side].kill_one(&mut self.random) {
                    self.note(format!("kill an rsync for {side}"));
                }
            }
            Kind::Halt => {
                let pusher = self.random.bool();
                let life = if pusher { &mut self.sides[side].life } else { &mut self.life };
                life.halt(self.now);
                self.note(if pusher {
                    format!("stop pusher {side}")
                } else {
                    "stop the watcher".into()
                });
            }
            Kind::Reach => {
                let reachable = !self.sides[side].reachable;
                self.note(format!("{side} is reachable: {reachable}"));
                self.sides[side].reach(reachable);
            }
            Kind::Refuse => self.refuse(side),
            Kind::Wait => {
                self.note("wait");
                self.waits.begin(self.at);
                self.ask_barriers();
            }
            Kind::Sync => {
                self.note("sync");
                self.sides[side].request_reconcile(&ReconcileReason::Sync, self.now);
            }
            Kind::ByHand => self.change_by_hand(side),
            Kind::Release => {
                if self.sides[side].is_guarded() {
                    self.note(format!("release {side}"));
                    self.sides[side].release(self.now);
                }
            }
            Kind::Overflow => {
                self.note("the queue overflows");
                self.watcher.iter_mut().for_each(Simulated::overflow);
            }
            Kind::Hold => self.hold(self.root.held().is_none()),
            Kind::FallBack => {
                match self.sides[side].may_fall_back(self.now) && self.root.held().is_none() {
                    true => self.fall_back(side),
                    false => self.sides[side].save(self.now),
                }
            }
            Kind::SetClock => {
                let set_by_ms = [-7_200_000, -40_000, 30_000, 86_400_000][self.random.usize(..4)];
                self.note(format!("the clock is set by {set_by_ms} ms"));
                simulated::SET_BY_MS.set(simulated::SET_BY_MS.get() + set_by_ms);
            }
        }
    }

    /// A slave lets nobody touch one name more, or every name again.
    fn refuse(&mut self, side: usize) {
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

    /// Somebody changes the slave, and asks for a reconcile.
    fn change_by_hand(&mut self, side: usize) {
        let name = self.name();
        let kept = |kept: &PathBuf| kept.starts_with(&name);
        if self.excludes(&name) || self.sides[side].kept.keys().any(kept) {
            return;
        }
        if self.sides[side].change_by_hand(&name, &mut self.random, self.now) {
            self.note(format!("change {} on slave {side} by hand", name.display()));
        }
    }

    /// The watcher holds the localpath, or no longer does.
    fn hold(&mut self, held: bool) {
        self.note(format!("held: {held}"));
        self.root_is(&match held {
            true => WatcherState::Held(Reason::new(HelpTopic::RootGone, HELD)),
            false => WatcherState::Watching,
        });
    }

    /// What signals have stopped continues.
    fn resume(&mut self) {
        self.note("what was stopped continues");
        self.life.resume();
        self.sides.iter_mut().for_each(|side| side.life.resume());
    }

    /// A slave loses its power, and its master notices that it is away.
    fn fall_back(&mut self, side: usize) {
        self.note(format!("slave {side} falls back"));
        let before = self.sides[side].refused;
        self.sides[side].fall_back();
        fs::write(self.path("master").join(PROBE), self.at.to_string()).unwrap();
        self.take_stock();
        self.resume();
        for _ in 0..NOTICE_MOST {
            self.supervise();
            self.watch();
            self.push(side);
            if self.sides[side].refused > before {
                return;
            }
            self.pass(Duration::from_millis(100));
        }
        // It was not asked in time. An operator who knows of it asks for a reconcile.
        self.sides[side].request_reconcile(&ReconcileReason::Sync, self.now);
    }

    /// True if nothing waits or runs.
    fn is_quiet(&self) -> bool {
        let count =
            |db: &Connection| db.query_row("SELECT count(*) FROM owed", [], |row| row.get(0));
        self.db.as_ref().map(count) == Some(Ok(0))
            && self.life.runs()
            && self.watcher.as_ref().is_some_and(|watcher| watcher.is_watching())
            && self.sides.iter().all(Side::is_quiet)
    }

    /// Nothing changes any more and nothing dies. The slaves must become equal.
    pub fn calm(&mut self, at: u64, random: fastrand::Rng) {
        (self.at, self.random) = (self.before + at, random);
        self.note("calm");
        if self.root.held().is_some() {
            self.hold(false);
        }
        self.writers.clear();
        for side in &mut self.sides {
            side.reach(true);
            side.like.borrow_mut().refused.clear();
        }
        self.come_to_rest();
        for side in &self.sides {
            let differ = self.differences(side);
            let number = side.number;
            assert!(differ.is_empty(), "{number}: {differ:#?}\n{}", self.log.join("\n"));
        }
        assert!(self.is_quiet(), "it never rests\n{}", self.log.join("\n"));
    }

    /// Every process takes its turns until none has anything left to do.
    fn come_to_rest(&mut self) {
        let calm = self.now;
        self.make_way();
        self.take_stock();
        for _ in 0..CALM_MOST {
            self.at += 1;
            self.supervise();
            self.watch();
            let late = self.now > calm + RECEIVER_MOST;
            for side in 0..self.sides.len() {
                self.push(side);
                if self.sides[side].is_guarded() {
                    self.sides[side].release(self.now);
                }
                while self.sides[side].works() {
                    self.transfer(side);
                }
                self.sides[side].linger(|| late || self.random.u8(..8) == 0);
            }
            if self.is_quiet() {
                break;
            }
            let now = self.now;
            let pushers = self.sides.iter().filter_map(|side| side.next_time(now));
            let watcher = self.watcher.as_ref().filter(|_| self.life.runs());
            let watcher = watcher.map(|watcher| watcher.next_time(now));
            let next = pushers.chain(watcher).chain(self.life.next_at()).min();
            // The supervisor looks every second at what a signal has stopped.
            let halted =
                self.life.is_halted() || self.sides.iter().any(|side| side.life.is_halted());
            let most = if halted { SUPERVISED_EVERY } else { Duration::from_secs(60) };
            let wait = next.unwrap_or_default().saturating_sub(now).min(most);
            self.pass(wait.max(Duration::from_millis(1)));
        }
    }

    /// In what a slave differs from the master.
    fn differences(&self, side: &Side) -> Vec<String> {
        let (mut master, mut slave) = (tree(&self.path("master")), side.tree());
        master.retain(|name, _| !self.excludes(name));
        for (name, what) in &side.kept {
            master.insert(name.clone(), what.clone());
            let above = name.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
            above.for_each(|dir| drop(master.insert(dir.to_owned(), "a directory".into())));
        }
        if side.like.borrow().coarse {
            [&mut master, &mut slave].into_iter().for_each(in_seconds);
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

/// Gives a file this time since 1970.
fn set_time(path: &Path, time: Duration) {
    let file = File::options().append(true).open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(UNIX_EPOCH + time)).unwrap();
}

/// A remote of the world.
fn remote(number: u64, guarded: bool, standby: StandbyMode) -> Remote {
    let module = OsBytes::from(format!("m{number}").into_bytes());
    let remote = Remote::new(Peer::new("127.0.0.1", Target::Daemon { port: 1, module }));
    let max_delete = if guarded { MaxDelete::Entries(0) } else { MaxDelete::Unlimited };
    Remote { standby, max_delete, ..remote }
}

/// What a supervisor that has just begun knows of a remote.
fn supervised(key: SlotHolder, remote: Remote, now: Duration) -> SupervisedPusher {
    let log = Logger::root(slog::Discard, slog::o!());
    SupervisedPusher::new(key, remote, None, &log, now).unwrap()
}

/// Leaves out of the times of files what a coarse file system does not store.
pub fn in_seconds(tree: &mut BTreeMap<PathBuf, String>) {
    for what in tree.values_mut().filter(|what| what.starts_with('"')) {
        if let Some((whole, _)) = what.rsplit_once('.') {
            *what = whole.to_owned();
        }
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
