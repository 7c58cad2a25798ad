//! Changes at a rate.

use super::company::Company;
use super::files::{filled, make, names};
use super::measured::{Lag, Measured};
use super::scene::Scene;
use crate::arrivals::Arrivals;
use crate::rig::{Rig, Sockets, wait};
use crate::system::System;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::ops::Range;
use std::time::{Duration, Instant};

/// New files at a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    pub rate: u32,
    pub seconds: u64,
    pub sizes: Sizes,
    pub remotes: usize,
    pub sockets: Sockets,
    pub company: Company,
}

/// How large the files of a stream are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// 1 to 4 KiB.
    Small,
    /// 10 to 100 KiB.
    Medium,
}

impl Sizes {
    fn kib(self) -> Range<usize> {
        match self {
            Sizes::Small => 1..4,
            Sizes::Medium => 10..100,
        }
    }
}

/// The directories that new files are in.
const DIRECTORIES: usize = 20;

impl Stream {
    /// Files of 10 to 100 KiB to one remote.
    pub fn plain(rate: u32, seconds: u64) -> Stream {
        Stream {
            rate,
            seconds,
            sizes: Sizes::Medium,
            remotes: 1,
            sockets: Sockets::AsTheyAre,
            company: Company::None,
        }
    }

    /// The name in the tables.
    pub fn name(&self) -> String {
        let (rate, kib) = (self.rate, self.sizes.kib());
        let remotes = match self.remotes {
            1 => String::new(),
            remotes => format!(", {remotes} remotes"),
        };
        let sockets = match self.sockets {
            Sockets::AsTheyAre => "",
            Sockets::NoDelay => ", slave with TCP_NODELAY",
        };
        let company = self.company.name();
        format!("{rate}/s of {}-{} KiB{remotes}{sockets}{company}", kib.start, kib.end)
    }

    /// True if it is measured of this system.
    pub fn suits(&self, system: System) -> bool {
        match (self.company, system) {
            // It has no lag, and nothing would be seen of the company.
            (Company::DeadAndHung | Company::Slow { .. }, System::Bulk) => false,
            (_, System::Unpaced) => self.sizes == Sizes::Medium,
            (_, System::Bulk | System::Lsyncd | System::Syncsup) => true,
        }
    }

    /// Runs it on this system.
    pub fn run(&self, system: System) -> Result<Measured, String> {
        let mut rig = Rig::wide(&self.company.slaves(self.remotes), self.sockets)?;
        make(rig.source(), DIRECTORIES)?;
        let held = self.company.join(&mut rig)?;
        let scene = Scene::over(system, rig)?;
        self.company.begin(&scene.rig)?;
        let mut measured = Measured::default();
        measured.lags(self.lags(&scene)?);
        scene.finish(measured, || held.done())
    }

    /// Writes, and sees the arrivals at all slaves of the first localpath.
    fn lags(&self, scene: &Scene) -> Result<Vec<Lag>, String> {
        let mut arrivals = Arrivals::watch(&scene.rig.slaves(), &names(DIRECTORIES))?;
        let mut written = Vec::new();
        let kib = self.sizes.kib();
        let mut random = fastrand::Rng::with_seed(7);
        let mut content = vec![0; kib.end << 10];
        random.fill(&mut content);
        let began = Instant::now();
        for n in 0..u64::from(self.rate) * self.seconds {
            until(began, n, self.rate, || arrivals.read());
            let name = format!("f{n}");
            let directory = n as usize % DIRECTORIES;
            let path = scene.rig.source().join(format!("d{directory}/{name}"));
            let bytes = random.usize(kib.start << 10..kib.end << 10);
            fs::write(path, &content[..bytes]).map_err(|e| e.to_string())?;
            written.push((OsString::from(name), Instant::now()));
        }
        if scene.running.is_live() {
            wait("the last change", || {
                arrivals.read();
                arrivals.at_least(written.len())
            })?;
        }
        let lag = |(name, written): &(OsString, Instant)| {
            let arrived = arrivals.seen.iter().filter_map(|seen| seen.get(name));
            arrived.map(|arrived| Lag::between(began, *written, *arrived)).collect::<Vec<Lag>>()
        };
        Ok(written.iter().flat_map(lag).collect())
    }
}

/// Waits until change `n` of a stream is due. `meanwhile` looks, also when the stream is late.
fn until(began: Instant, n: u64, rate: u32, mut meanwhile: impl FnMut()) {
    let due = Duration::from_secs_f64(n as f64 / f64::from(rate));
    loop {
        meanwhile();
        if began.elapsed() >= due {
            return;
        }
        std::thread::sleep(Duration::from_micros(300));
    }
}

/// Single changes in an idle tree.
pub fn single(system: System, tree: usize, changes: usize) -> Result<Measured, String> {
    let scene = Scene::over(system, filled(tree, 900)?)?;
    let mut arrivals = Arrivals::watch(&scene.rig.slaves(), &names(100))?;
    let mut measured = Measured::default();
    if scene.running.is_live() {
        measured.lags(one_by_one(&scene.rig, &mut arrivals, changes)?);
    }
    scene.finish(measured, || true)
}

/// Each change waits until the one before it has arrived everywhere.
pub fn one_by_one(rig: &Rig, arrivals: &mut Arrivals, changes: usize) -> Result<Vec<Lag>, String> {
    let began = Instant::now();
    let mut lags = Vec::new();
    for n in 0..changes {
        let name = OsString::from(format!("new{n}"));
        let path = rig.source().join(format!("d{}", n % DIRECTORIES)).join(&name);
        fs::write(path, [b'y'; 2_000]).map_err(|e| e.to_string())?;
        let written = Instant::now();
        wait("a change", || {
            arrivals.read();
            arrivals.everywhere(&name)
        })?;
        let arrived = arrivals.seen.iter().filter_map(|seen| seen.get(&name));
        lags.extend(arrived.map(|arrived| Lag::between(began, written, *arrived)));
        std::thread::sleep(Duration::from_millis(300));
    }
    Ok(lags)
}

/// One file that is appended to at a rate.
pub fn appends(system: System, rate: u32, seconds: u64) -> Result<Measured, String> {
    let rig = Rig::new(1, Sockets::AsTheyAre)?;
    make(rig.source(), 1)?;
    fs::write(rig.source().join("d0/log"), vec![b'x'; 1 << 20]).map_err(|e| e.to_string())?;
    let scene = Scene::over(system, rig)?;
    let mut arrivals = Arrivals::watch(&scene.rig.slaves(), &names(1))?;
    let (path, copy) = (scene.rig.source().join("d0/log"), scene.slave()?.join("d0/log"));
    let mut sizes = Vec::new();
    let mut lags = Vec::new();
    let began = Instant::now();
    let mut look = |sizes: &mut Vec<(u64, Instant)>| {
        let before = arrivals.count;
        arrivals.read();
        if arrivals.count > before {
            let now = Instant::now();
            let arrived = fs::metadata(&copy).map_or(0, |copy| copy.len());
            sizes.retain(|(size, at)| {
                let waits = *size > arrived;
                if !waits {
                    lags.push(Lag::between(began, *at, now));
                }
                waits
            });
        }
        arrivals.count
    };
    for n in 0..u64::from(rate) * seconds {
        until(began, n, rate, || {
            look(&mut sizes);
        });
        let mut file = OpenOptions::new().append(true).open(&path).map_err(|e| e.to_string())?;
        file.write_all(&[b'y'; 100]).map_err(|e| e.to_string())?;
        drop(file);
        sizes.push(((1 << 20) + (n + 1) * 100, Instant::now()));
    }
    let mut count = 0;
    if scene.running.is_live() {
        wait("the last line", || {
            count = look(&mut sizes);
            sizes.is_empty()
        })?;
    }
    let mut measured = Measured { pushes: Some(count), ..Measured::default() };
    measured.lags(lags);
    scene.finish(measured, || true)
}
