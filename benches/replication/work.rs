//! The works, and what is measured.

use crate::rig::{Arrivals, Rig, Sockets, wait};
use crate::system::{Running, System};
use crate::tree::Tree;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// One kind of work.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Single changes in an idle tree.
    Single { tree: usize, changes: usize },
    /// New files of 10 to 100 KiB at a rate.
    Stream { rate: u32, seconds: u64, remotes: usize, sockets: Sockets },
    /// Files of 4 KiB, all at once.
    Burst { files: usize, remotes: usize },
    /// `rm -rf` of these.
    Remove { files: usize },
    /// One file that is appended to at a rate.
    Appends { rate: u32, seconds: u64 },
    /// 1,000 changes while the remote is down for this time. The lag is that from its return to its first file.
    Outage { seconds: u64 },
}

/// What is measured. `None` means that the work has no such figure.
#[derive(Clone, Copy, Debug, Default)]
pub struct Measured {
    pub p50_s: Option<f64>,
    pub p95_s: Option<f64>,
    /// From the end of the work to identical trees.
    pub complete_s: Option<f64>,
    pub cpu_s: f64,
    /// Arrivals of the appended file.
    pub pushes: Option<usize>,
    /// Names that differ at the end.
    pub lost: usize,
}

impl Measured {
    /// The median of each figure.
    pub fn median(all: Vec<Measured>) -> Measured {
        let middle = |of: fn(&Measured) -> Option<f64>| {
            let mut values: Vec<f64> = all.iter().filter_map(of).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        Measured {
            p50_s: middle(|m| m.p50_s),
            p95_s: middle(|m| m.p95_s),
            complete_s: middle(|m| m.complete_s),
            cpu_s: middle(|m| Some(m.cpu_s)).unwrap_or_default(),
            pushes: middle(|m| m.pushes.map(|n| n as f64)).map(|n| n as usize),
            lost: all.iter().map(|m| m.lost).max().unwrap_or(0),
        }
    }

    /// The cells of a row.
    pub fn cells(&self) -> String {
        let ms = |s: Option<f64>| s.map_or("-".to_owned(), |s| format!("{:.1} ms", s * 1e3));
        let s = |s: Option<f64>| s.map_or("-".to_owned(), |s| format!("{s:.2} s"));
        let pushes = self.pushes.map_or("-".to_owned(), |n| n.to_string());
        let (p50, p95, complete) = (ms(self.p50_s), ms(self.p95_s), s(self.complete_s));
        format!("{p50} | {p95} | {complete} | {:.2} s | {pushes} | {}", self.cpu_s, self.lost)
    }

    fn lags(&mut self, mut lags: Vec<f64>) {
        lags.sort_by(f64::total_cmp);
        let at = |share: f64| lags.get((lags.len() as f64 * share) as usize).copied();
        (self.p50_s, self.p95_s) = (at(0.5), at(0.95));
    }
}

/// What a work needs while it runs.
struct Scene {
    rig: Rig,
    running: Running,
    cpu_before_s: f64,
}

impl Scene {
    /// A running system over the tree that `fill` makes.
    fn new(
        system: System,
        remotes: usize,
        fill: impl FnOnce(&Rig) -> Result<(), String>,
    ) -> Result<Scene, String> {
        Scene::with(system, remotes, Sockets::AsTheyAre, fill)
    }

    fn with(
        system: System,
        remotes: usize,
        sockets: Sockets,
        fill: impl FnOnce(&Rig) -> Result<(), String>,
    ) -> Result<Scene, String> {
        let rig = Rig::new(remotes, sockets)?;
        fill(&rig)?;
        // The slaves have it already.
        System::Bulk.start(&rig)?.finish(&rig)?;
        let running = system.start(&rig)?;
        let cpu_before_s = running.cpu_s() + rig.daemon_cpu_s();
        Ok(Scene { rig, running, cpu_before_s })
    }

    /// Waits until the slaves equal the master. `done` is cheap and says when to compare.
    fn finish(
        mut self,
        mut measured: Measured,
        mut done: impl FnMut() -> bool,
    ) -> Result<Measured, String> {
        let ended = Instant::now();
        self.running.finish(&self.rig)?;
        let seen = if self.running.is_live() { wait("arrivals", &mut done) } else { Ok(()) };
        measured.complete_s = match measured.p95_s {
            // It is over when the last change has arrived.
            Some(_) if self.running.is_live() => None,
            Some(_) | None => Some(ended.elapsed().as_secs_f64()),
        };
        std::thread::sleep(Duration::from_millis(500));
        measured.cpu_s = self.running.cpu_s() + self.rig.daemon_cpu_s() - self.cpu_before_s;
        let master = Tree::read(&self.rig.source);
        // A bare rsync treats times within a second as equal, which shows only at directories.
        let counts = |line: &String| !line.contains("  master dir ");
        let differ = |slave| master.diff(&Tree::read(slave)).iter().filter(|l| counts(l)).count();
        measured.lost = self.rig.slaves.iter().map(|slave| differ(slave)).sum();
        if measured.lost == 0 { Ok(measured) } else { seen.map(|()| measured) }
    }
}

impl Work {
    /// The name in the tables.
    pub fn name(&self) -> String {
        match self {
            Work::Single { tree, .. } => format!("one change, idle tree of {tree}"),
            Work::Stream { rate, remotes: 1, sockets: Sockets::AsTheyAre, .. } => {
                format!("{rate}/s of 10-100 KiB")
            }
            Work::Stream { rate, sockets: Sockets::NoDelay, .. } => {
                format!("{rate}/s of 10-100 KiB, slave with TCP_NODELAY")
            }
            Work::Stream { rate, remotes, .. } => {
                format!("{rate}/s of 10-100 KiB, {remotes} remotes")
            }
            Work::Burst { files, remotes: 1 } => format!("{files} x 4 KiB at once"),
            Work::Burst { files, remotes } => format!("{files} x 4 KiB at once, {remotes} remotes"),
            Work::Remove { files } => format!("rm -rf of {files} files"),
            Work::Appends { rate, .. } => format!("a log appended {rate} times a second"),
            Work::Outage { seconds } => format!("a remote back after {seconds} s"),
        }
    }

    /// Runs it on this system.
    pub fn run(&self, system: System) -> Result<Measured, String> {
        match *self {
            Work::Single { tree, changes } => single(system, tree, changes),
            Work::Stream { rate, seconds, remotes, sockets } => {
                stream(system, rate, seconds, remotes, sockets)
            }
            Work::Burst { files, remotes } => burst(system, files, remotes),
            Work::Remove { files } => remove(system, files),
            Work::Appends { rate, seconds } => appends(system, rate, seconds),
            Work::Outage { seconds } => outage(system, seconds),
        }
    }
}

/// The directories `d0` … of the master.
fn directories(rig: &Rig, count: usize) -> Result<(), String> {
    let make = |n: usize| fs::create_dir(rig.source.join(format!("d{n}")));
    (0..count).try_for_each(make).map_err(|e| e.to_string())
}

fn there(rig: &Rig, slave: usize, count: usize) -> Vec<PathBuf> {
    (0..count).map(|n| rig.slaves[slave].join(format!("d{n}"))).collect()
}

fn fill(rig: &Rig, files: usize, bytes: usize) -> Result<(), String> {
    directories(rig, 100)?;
    let content = vec![b'x'; bytes];
    let write = |n: usize| fs::write(rig.source.join(format!("d{}/f{n}", n % 100)), &content);
    (0..files).try_for_each(write).map_err(|e| e.to_string())
}

fn single(system: System, tree: usize, changes: usize) -> Result<Measured, String> {
    let scene = Scene::new(system, 1, |rig| fill(rig, tree, 900))?;
    let mut arrivals = Arrivals::watch(&there(&scene.rig, 0, 100))?;
    let mut lags = Vec::new();
    for n in (0..changes).filter(|_| scene.running.is_live()) {
        let name = format!("new{n}");
        let path = scene.rig.source.join(format!("d{}", n % 100)).join(&name);
        fs::write(path, vec![b'y'; 2_000]).map_err(|e| e.to_string())?;
        let written = Instant::now();
        wait("a change", || {
            arrivals.read();
            arrivals.seen.contains_key(&OsString::from(&name))
        })?;
        lags.push(arrivals.seen[&OsString::from(&name)].duration_since(written).as_secs_f64());
        std::thread::sleep(Duration::from_millis(300));
    }
    let mut measured = Measured::default();
    measured.lags(lags);
    scene.finish(measured, || true)
}

fn stream(
    system: System,
    rate: u32,
    seconds: u64,
    remotes: usize,
    sockets: Sockets,
) -> Result<Measured, String> {
    let scene = Scene::with(system, remotes, sockets, |rig| directories(rig, 20))?;
    let slaves: Result<Vec<Arrivals>, String> =
        (0..remotes).map(|n| Arrivals::watch(&there(&scene.rig, n, 20))).collect();
    let mut slaves = slaves?;
    let mut written: HashMap<OsString, Instant> = HashMap::new();
    let began = Instant::now();
    let mut random = fastrand::Rng::with_seed(7);
    let mut content = vec![0; 100 << 10];
    random.fill(&mut content);
    for n in 0..u64::from(rate) * seconds {
        let due = Duration::from_secs_f64(n as f64 / f64::from(rate));
        while began.elapsed() < due {
            slaves.iter_mut().for_each(Arrivals::read);
            std::thread::sleep(Duration::from_micros(300));
        }
        let name = format!("f{n}");
        let path = scene.rig.source.join(format!("d{}/{name}", n % 20));
        let bytes = random.usize(10 << 10..100 << 10);
        fs::write(path, &content[..bytes]).map_err(|e| e.to_string())?;
        written.insert(name.into(), Instant::now());
    }
    if scene.running.is_live() {
        wait("the last change", || {
            slaves.iter_mut().for_each(Arrivals::read);
            slaves.iter().all(|slave| slave.seen.len() >= written.len())
        })?;
    }
    let lag = |(name, at): (&OsString, &Instant)| {
        written.get(name).map(|written| at.saturating_duration_since(*written).as_secs_f64())
    };
    let mut measured = Measured::default();
    measured.lags(slaves.iter().flat_map(|slave| slave.seen.iter().filter_map(lag)).collect());
    scene.finish(measured, || true)
}

fn burst(system: System, files: usize, remotes: usize) -> Result<Measured, String> {
    let scene = Scene::new(system, remotes, |_| Ok(()))?;
    fill(&scene.rig, files, 4 << 10)?;
    let slaves = scene.rig.slaves.clone();
    let last = format!("d{}", (files - 1) % 100);
    scene.finish(Measured::default(), || {
        slaves.iter().all(|slave| slave.join(&last).exists() && count(slave) == files + 101)
    })
}

/// The number of names below a directory of a slave, two levels deep. Temporary files of rsync do not count.
fn count(slave: &PathBuf) -> usize {
    let names = |path: &PathBuf| fs::read_dir(path).into_iter().flatten().flatten();
    let plain = |name: &OsString| !name.as_encoded_bytes().starts_with(b".");
    let below = |path: PathBuf| names(&path).filter(|name| plain(&name.file_name())).count();
    names(slave).map(|name| 1 + below(name.path())).sum()
}

fn remove(system: System, files: usize) -> Result<Measured, String> {
    let scene = Scene::new(system, 1, |rig| fill(rig, files, 1_000))?;
    for n in 0..100 {
        let path = scene.rig.source.join(format!("d{n}"));
        fs::remove_dir_all(path).map_err(|e| e.to_string())?;
    }
    let slave = scene.rig.slaves[0].clone();
    scene.finish(Measured::default(), || count(&slave) <= 1)
}

fn appends(system: System, rate: u32, seconds: u64) -> Result<Measured, String> {
    let scene = Scene::new(system, 1, |rig| {
        directories(rig, 1)?;
        fs::write(rig.source.join("d0/log"), vec![b'x'; 1 << 20]).map_err(|e| e.to_string())
    })?;
    let mut arrivals = Arrivals::watch(&there(&scene.rig, 0, 1))?;
    let (path, copy) = (scene.rig.source.join("d0/log"), scene.rig.slaves[0].join("d0/log"));
    let mut sizes = Vec::new();
    let mut lags = Vec::new();
    let began = Instant::now();
    let mut look = |sizes: &mut Vec<(u64, Instant)>, lags: &mut Vec<f64>| {
        let before = arrivals.count;
        arrivals.read();
        if arrivals.count > before {
            let now = Instant::now();
            let arrived = fs::metadata(&copy).map_or(0, |copy| copy.len());
            sizes.retain(|(size, at)| {
                let waits = *size > arrived;
                if !waits {
                    lags.push(now.duration_since(*at).as_secs_f64());
                }
                waits
            });
        }
        arrivals.count
    };
    for n in 0..u64::from(rate) * seconds {
        let due = Duration::from_secs_f64(n as f64 / f64::from(rate));
        while began.elapsed() < due {
            look(&mut sizes, &mut lags);
            std::thread::sleep(Duration::from_micros(300));
        }
        let mut file = OpenOptions::new().append(true).open(&path).map_err(|e| e.to_string())?;
        file.write_all(&[b'y'; 100]).map_err(|e| e.to_string())?;
        drop(file);
        sizes.push(((1 << 20) + (n + 1) * 100, Instant::now()));
    }
    let mut count = 0;
    if scene.running.is_live() {
        wait("the last line", || {
            count = look(&mut sizes, &mut lags);
            sizes.is_empty()
        })?;
    }
    let mut measured = Measured { pushes: Some(count), ..Measured::default() };
    measured.lags(lags);
    scene.finish(measured, || true)
}

fn outage(system: System, seconds: u64) -> Result<Measured, String> {
    let mut scene = Scene::new(system, 1, |rig| directories(rig, 20))?;
    let cpu_before_s = scene.rig.daemon_cpu_s();
    scene.rig.stop_daemon();
    scene.cpu_before_s -= cpu_before_s;
    for n in 0..1_000 {
        let path = scene.rig.source.join(format!("d{}/f{n}", n % 20));
        fs::write(path, [b'x'; 1_000]).map_err(|e| e.to_string())?;
        std::thread::sleep(Duration::from_millis(seconds));
    }
    let mut arrivals = Arrivals::watch(&there(&scene.rig, 0, 20))?;
    scene.rig.start_daemon()?;
    let began = Instant::now();
    let mut measured = Measured::default();
    if scene.running.is_live() {
        wait("the first file", || {
            arrivals.read();
            arrivals.count > 0
        })?;
        measured.p50_s = Some(began.elapsed().as_secs_f64());
    }
    scene.finish(measured, || {
        arrivals.read();
        arrivals.seen.len() >= 1_000
    })
}
