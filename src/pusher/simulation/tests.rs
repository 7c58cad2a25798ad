//! A pusher in a simulated world: its real code over a real journal and real trees, in one thread, with a clock that the
//! simulation sets and with rsyncs that it models. One seed gives one schedule: what changes on the master and when the
//! watcher marks it, when an rsync takes its next step, what dies and when.
//!
//! When the world is calm again, the slave must equal the master, and nothing may have been deleted that was never gone.
//!
//! `SYNCSUP_SIMULATE_S=60 cargo test --lib simulation` runs other schedules for a minute, `SYNCSUP_SEED=N` one.

#[path = "tests/rsync.rs"]
mod rsync;

use super::prepare::prepare_under;
use super::run::Pusher;
use super::supervisor_link::Control;
use crate::config::model::*;
use crate::journal::{Events, FILE_NAME, Journal, Mark, Record, Scope};
use crate::message::{FromPusher, PusherStart, ToPusher};
use crate::path::RelPath;
use crate::rsync::peer::{Peer, Target};
use crate::sys::channel::{self, Channel, Received};
use crate::sys::clock::{self, simulated};
use crate::sys::lock::{self, Lock};
use crate::sys::rsync::simulated::STARTED;
use crate::sys::wake;
use rsync::{Found, Transfer};
use rusqlite::Connection;
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, FileTimes};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant, UNIX_EPOCH};
use tempfile::TempDir;

/// The names of files and directories. Few, so that they meet.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// The schedules of an ordinary test.
const SCHEDULES: u64 = 200;
/// Schedules that once failed.
const FOUND: [u64; 1] = [211_927_178_119];
/// Events of a schedule, before the calm.
const STEPS: usize = 60;
/// Turns of the pusher within which a calm world must be in order.
const CALM_MOST: usize = 3_000;
/// An old receiver exits within its timeout.
const RECEIVER_MOST: Duration = Duration::from_secs(90);
/// The clock that stamps files moves on in ticks, so that files written soon after another have the same time.
const TICK: Duration = Duration::from_millis(4);
/// The steps of the schedule in one tick.
const STEPS_OF_TICK: u64 = 30;

/// A pusher, and the supervisor's end of its channel.
struct Running {
    pusher: Pusher,
    side: Channel<ToPusher, FromPusher>,
    _wake: OwnedFd,
}

struct World {
    dir: TempDir,
    random: fastrand::Rng,
    now: Duration,
    /// Files of this size are large. In half of the worlds a few bytes are much.
    large_bytes: u64,
    /// When the world began, by the clock that stamps files.
    began: Duration,
    /// The step of the schedule.
    at: u64,
    /// Marks that the watcher has not written yet.
    queue: VecDeque<Mark>,
    journal: Journal,
    /// The same file, to count what pushes are still to come.
    db: Connection,
    running: Option<Running>,
    transfers: Vec<Transfer>,
    reachable: bool,
    /// The names on the master, with the step since which each has been there without interruption.
    there: BTreeMap<PathBuf, u64>,
    log: Vec<String>,
}

impl World {
    fn new(seed: u64) -> World {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        for name in ["master", "slave", "state", "run"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let mut world = World {
            random: fastrand::Rng::with_seed(seed),
            now: Duration::from_secs(1_000),
            large_bytes: if seed.is_multiple_of(2) { 2 } else { 1 << 20 },
            began: Duration::from_nanos(clock::file_ns() as u64),
            at: 0,
            queue: VecDeque::new(),
            journal: Journal::open(&dir.path().join("state")).unwrap(),
            db: Connection::open(dir.path().join("state").join(FILE_NAME)).unwrap(),
            running: None,
            transfers: Vec::new(),
            reachable: true,
            there: BTreeMap::new(),
            log: Vec::new(),
            dir,
        };
        STARTED.set(Some(Vec::new()));
        simulated::NOW.set(Some(world.now));
        world.begin();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn note(&mut self, what: impl Into<String>) {
        let line = format!("{} {}", self.at, what.into());
        if seed().is_some() {
            println!("{line}");
        }
        self.log.push(line);
    }

    /// Starts a pusher.
    fn begin(&mut self) {
        let (ours, theirs) = channel::pair().unwrap();
        let (reader, writer) = wake::pipe().unwrap();
        let target = Target::Daemon { port: 1, module: "m".into() };
        let remote =
            Remote { standby: StandbyMode::Off, ..Remote::new(Peer::new("127.0.0.1", target)) };
        let localpath = LocalPath {
            watch: self.path("master").into(),
            place: Place::default(),
            filter: FilterRules { names: NameRules::None, ..FilterRules::default() },
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
        };
        let start = PusherStart {
            localpath,
            remote: Remote { max_delete: MaxDelete::Unlimited, ..remote },
            state_dir: self.path("state"),
            run_dir: self.path("run"),
            instance: "simulation".into(),
            settings: "s".into(),
            reconcile: None,
            debug: false,
        };
        let logger = match seed() {
            Some(_) => crate::sys::log::logger(true),
            None => slog::Logger::root(slog::Discard, slog::o!()),
        };
        let prepared = prepare_under(lock(), Control::new(theirs), start, logger).unwrap();
        let pusher = Pusher::begin(prepared, None, reader).unwrap();
        // The model has no hard links.
        pusher.context.cannot_rename("simulated");
        let mut side = Channel::new(ours);
        side.send(&ToPusher::Hold(None), vec![]).unwrap();
        self.running = Some(Running { pusher, side, _wake: writer });
    }

    /// The supervisor ends the rsyncs of a dead pusher before it starts another.
    fn kill_pusher(&mut self) {
        self.running = None;
        self.transfers.iter().for_each(Transfer::kill);
        self.begin();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        simulated::NOW.set(Some(self.now));
    }

    /// One turn of the pusher, and what it asks of the supervisor.
    fn turn(&mut self) {
        let Some(running) = &mut self.running else { return };
        running.pusher.state.step(super::state::Event::Woken, clock::boot());
        running.pusher.turn().unwrap();
        while let Ok(Received::Message(message, _)) = running.side.receive() {
            if let FromPusher::WantSlot(kind) = message {
                running.side.send(&ToPusher::Slot { kind, active: 1 }, vec![]).unwrap();
            }
        }
        let started: Vec<_> =
            STARTED.with_borrow_mut(|all| all.as_mut().unwrap().drain(..).collect());
        for process in started {
            let transfer = Transfer::new(process, &self.dir.path().join("slave"), self.at);
            if seed().is_some() {
                println!("{} starts {}", self.at, transfer.shown());
            }
            if !self.reachable {
                transfer.refuse();
            }
            self.transfers.push(transfer);
        }
        self.transfers.retain(|transfer| !transfer.is_over() || transfer.lingers());
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

    /// The watcher writes what it has read.
    fn mark(&mut self, most: usize) {
        let marks: Vec<Mark> = (0..most).map_while(|_| self.queue.pop_front()).collect();
        let now_ms = clock::wall_ms();
        self.journal.record(&Record { marks, ..Record::default() }, now_ms).unwrap();
        self.journal.clean(1_000).unwrap();
    }

    /// A name, at most three levels deep.
    fn name(&mut self) -> PathBuf {
        let depth = self.random.usize(1..4);
        (0..depth).map(|_| NAMES[self.random.usize(..NAMES.len())]).collect()
    }

    fn event(&mut self, path: &Path, scope: Scope, events: Events) {
        let path = RelPath::new(path.as_os_str().as_encoded_bytes()).unwrap();
        self.queue.push_back(Mark::new(path, scope, events));
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

    /// Changes the master as a program does, and queues what the kernel reports of it.
    fn change(&mut self) {
        let name = self.name();
        let master = self.path("master");
        let path = master.join(&name);
        let parent = path.parent().unwrap().to_owned();
        let is_dir = fs::symlink_metadata(&path).is_ok_and(|stat| stat.is_dir());
        let there = fs::symlink_metadata(&path).is_ok();
        match self.random.u8(..10) {
            0..4 if parent.is_dir() && !is_dir => {
                if fs::symlink_metadata(&path).is_ok_and(|stat| stat.is_symlink()) {
                    return;
                }
                let content = ["x", "y", "zz"][self.random.usize(..3)];
                self.note(format!("write {} {content}", name.display()));
                fs::write(&path, content).unwrap();
                self.stamp(&path);
                self.event(&name, Scope::Entry, Events::WRITE);
            }
            4 if parent.is_dir() && !there => {
                self.note(format!("mkdir {}", name.display()));
                fs::create_dir(&path).unwrap();
                self.event(&name, Scope::Children, Events::CREATE | Events::DIR);
            }
            5 if there => {
                self.note(format!("rm {}", name.display()));
                for (gone, dir) in self.below(&name).into_iter().rev() {
                    let path = master.join(&gone);
                    let _ = if dir { fs::remove_dir(&path) } else { fs::remove_file(&path) };
                    let kind = if dir { Events::DIR } else { Events::empty() };
                    self.event(&gone, Scope::Entry, Events::DELETE | kind);
                }
            }
            6 | 7 if there => {
                let to = self.name();
                if to.starts_with(&name) || !master.join(&to).parent().unwrap().is_dir() {
                    return;
                }
                if fs::rename(&path, master.join(&to)).is_ok() {
                    self.note(format!("mv {} {}", name.display(), to.display()));
                    let kind = if is_dir { Events::DIR } else { Events::empty() };
                    let scope = if is_dir { Scope::Tree } else { Scope::Entry };
                    self.event(&name, Scope::Entry, Events::MOVE | Events::DELETE | kind);
                    self.event(&to, scope, Events::MOVE | kind);
                }
            }
            8 if parent.is_dir() && !there => {
                self.note(format!("ln -s {}", name.display()));
                std::os::unix::fs::symlink("target", &path).unwrap();
                self.event(&name, Scope::Entry, Events::CREATE);
            }
            _ => {}
        }
        let names: Vec<PathBuf> =
            self.below(Path::new("")).into_iter().map(|(name, _)| name).collect();
        self.there.retain(|name, _| names.contains(name));
        for name in names {
            self.there.entry(name).or_insert(self.at);
        }
    }

    /// Gives a file the time of a clock with long ticks.
    fn stamp(&self, path: &Path) {
        let file = File::options().append(true).open(path).unwrap();
        let ticks = self.at / STEPS_OF_TICK;
        let time = UNIX_EPOCH + self.began + TICK * ticks as u32;
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
    }

    /// One event of the schedule.
    fn step(&mut self) {
        self.at += 1;
        match self.random.u8(..100) {
            0..25 => self.change(),
            25..40 => self.mark(1 + self.at as usize % 3),
            40..65 => self.turn(),
            65..88 => self.transfer(),
            88..93 => {
                let ms = [1, 20, 500, 5_000][self.random.usize(..4)];
                self.pass(Duration::from_millis(ms));
            }
            93..95 => {
                self.note("kill the pusher");
                self.kill_pusher();
            }
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
            _ => {}
        }
    }

    /// True if nothing waits or runs.
    fn is_quiet(&self) -> bool {
        let Some(running) = &self.running else { return false };
        let name = &running.pusher.context.name;
        let work = self
            .journal
            .work(name, running.pusher.context.remote_state.cursor, i64::MAX / 4)
            .unwrap();
        let owes = self.db.query_row("SELECT count(*) FROM owed", [], |row| row.get::<_, u32>(0));
        owes == Ok(0)
            && !work.marks.any()
            && self.transfers.is_empty()
            && running.pusher.state.reconcile().wanted().is_none()
    }

    /// Nothing changes any more and nothing dies. The slave must become equal.
    fn calm(&mut self) {
        self.note("calm");
        let calm = self.now;
        self.reachable = true;
        self.mark(usize::MAX);
        for _ in 0..CALM_MOST {
            self.at += 1;
            self.turn();
            while self.transfers.iter().any(|transfer| !transfer.is_over()) {
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
            let next = self.running.as_ref().unwrap().pusher.next_time(self.now);
            let wait = next.saturating_sub(self.now).min(Duration::from_secs(60));
            self.pass(wait.max(Duration::from_millis(1)));
        }
        let (master, slave) = (tree(&self.path("master")), tree(&self.path("slave")));
        let differ: Vec<_> = master
            .iter()
            .filter(|(name, what)| slave.get(*name) != Some(what))
            .map(|(name, what)| {
                format!("{}: {what}, on the slave {:?}", name.display(), slave.get(name))
            })
            .chain(
                slave
                    .keys()
                    .filter(|name| !master.contains_key(*name))
                    .map(|name| format!("{}: only on the slave", name.display())),
            )
            .collect();
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
fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
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

fn schedule(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.calm();
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The schedule to run alone. What happens in it is printed.
fn seed() -> Option<u64> {
    number("SYNCSUP_SEED")
}

#[test]
fn a_calm_world_is_equal() {
    if let Some(seed) = seed() {
        return schedule(seed);
    }
    FOUND.iter().for_each(|seed| schedule(*seed));
    // The same schedules each time, unless more are asked for.
    let seconds = number("SYNCSUP_SIMULATE_S");
    let first = seconds.map_or(0, |_| fastrand::u64(..1 << 40));
    let (began, mut count) = (Instant::now(), 0);
    let more = |count| match seconds {
        Some(seconds) => began.elapsed() < Duration::from_secs(seconds),
        None => count < SCHEDULES,
    };
    while more(count) {
        let seed = first + count;
        if let Err(why) = std::panic::catch_unwind(|| schedule(seed)) {
            println!("SYNCSUP_SEED={seed}, schedule {count}");
            std::panic::resume_unwind(why);
        }
        count += 1;
    }
    println!("{count} schedules from seed {first}");
}
