//! Faults of every kind at 200 changes a second for hours: everything becomes right again every ten minutes, and neither
//! the memory of the processes nor the journal grows.

use super::scene::Scene;
use super::{all, schedule};
use crate::common::namespace::with_private_mounts;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the faults go on between two moments at which everything must be right.
const STRETCH: Duration = Duration::from_secs(600);

/// Whose memory is looked at, by the beginning of their command lines.
const ROLES: [(&str, &str); 5] = [
    ("supervisor", "syncsup: supervisor"),
    ("watcher", "syncsup: watcher "),
    ("pushers", "syncsup: pusher "),
    ("reporter", "syncsup: reporter "),
    ("plugin_runner", "syncsup: plugin runner "),
];

/// One line of the table: resident KiB of each role, open descriptors of all, KiB of the journal and its log.
#[derive(Clone, Debug, Default)]
struct Sample {
    memory: [u64; ROLES.len()],
    descriptors: u64,
    journal: u64,
}

impl Sample {
    fn take(scene: &Scene) -> Sample {
        let mut sample = Sample::default();
        for (n, process) in scene.world.instance.family().iter().enumerate() {
            let named = |(_, argv0): &(&str, &str)| process.command.starts_with(argv0);
            // The first one is the supervisor, by whatever name.
            let role = if n == 0 { Some(0) } else { ROLES.iter().position(named) };
            let Some(role) = role else { continue };
            let status = fs::read_to_string(format!("/proc/{}/status", process.pid));
            let status = status.unwrap_or_default();
            let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kib = rss.and_then(|r| r.split_whitespace().next()?.parse::<u64>().ok());
            sample.memory[role] += kib.unwrap_or(0);
            let open = fs::read_dir(format!("/proc/{}/fd", process.pid));
            sample.descriptors += open.map_or(0, |open| open.count() as u64);
        }
        for dir in fs::read_dir(scene.world.instance.state_dir()).into_iter().flatten().flatten() {
            for name in ["journal.db", "journal.db-wal"] {
                let size = fs::metadata(dir.path().join(name)).map_or(0, |m| m.len());
                sample.journal += size / 1_024;
            }
        }
        sample
    }

    fn columns(&self) -> Vec<(&'static str, u64)> {
        let memory = ROLES.iter().zip(self.memory).map(|((name, _), kib)| (*name, kib));
        let rest = [("descriptors", self.descriptors), ("journal", self.journal)];
        memory.chain(rest).collect()
    }
}

/// The median of a column in a quarter of the samples, those left out in which a process was missing.
fn median(samples: &[Sample], quarter: usize, column: usize) -> u64 {
    let length = samples.len() / 4;
    let part = &samples[quarter * length..(quarter + 1) * length];
    let mut values: Vec<u64> =
        part.iter().map(|s| s.columns()[column].1).filter(|v| *v > 0).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

/// What grows from the second quarter to the last; the first one fills caches.
fn growing(samples: &[Sample]) -> Vec<String> {
    let columns = Sample::default().columns();
    let grown = columns.iter().enumerate().filter_map(|(n, (name, _))| {
        let (before, after) = (median(samples, 1, n), median(samples, 3, n));
        println!("{name}: {before}, then {after}");
        // A quarter more, and more than noise.
        let noise = if *name == "descriptors" { 20 } else { 8 << 10 };
        (after > before + before / 4 + noise).then(|| format!("{name}: {before}, then {after}"))
    });
    grown.collect()
}

/// Damaged journals are kept for an operator, who removes them.
fn remove_quarantined(scene: &Scene) -> usize {
    let dirs = fs::read_dir(scene.world.instance.state_dir()).into_iter().flatten().flatten();
    let files = dirs.flat_map(|dir| fs::read_dir(dir.path()).into_iter().flatten().flatten());
    let damaged = files.filter(|file| file.file_name().to_string_lossy().contains("damaged"));
    damaged.filter(|file| fs::remove_file(file.path()).is_ok()).count()
}

#[test]
#[ignore = "takes hours: make soak"]
fn memory_and_journal_stay_flat_for_hours() {
    let length = std::env::var("SYNCSUP_SOAK_S").map_or(8 * 3_600, |s| s.parse().expect("seconds"));
    let length = Duration::from_secs(length);
    with_private_mounts(move || {
        let seed = std::env::var("SYNCSUP_FAULT_SEED");
        let seed = seed.map_or_else(|_| fastrand::u64(..), |s| s.parse().expect("a number"));
        println!("soak: SYNCSUP_FAULT_SEED={seed}, {} s", length.as_secs());
        let mut scene = Scene::start(seed, 200);
        let mut faults = all(&scene);
        let every = Duration::from_secs(60).min(length / 80);
        let mut table = Table::create(every);
        let (began, mut stretch) = (Instant::now(), 0);
        while began.elapsed() < length {
            let span = STRETCH.min(length / 4).min(length.saturating_sub(began.elapsed()));
            let seed = seed.wrapping_add(stretch);
            if stretch > 0 {
                scene.churn(seed);
            }
            schedule::run(&mut scene, &mut faults, seed, span, &mut |scene| table.look(scene));
            scene.settle();
            stretch += 1;
            println!(
                "{} s: right again, {} journals were set aside",
                began.elapsed().as_secs(),
                remove_quarantined(&scene)
            );
        }
        let grown = growing(&table.samples);
        assert!(grown.is_empty(), "grows: {grown:?}; see {}", Table::PATH);
    });
}

/// The samples, also in a file.
struct Table {
    file: File,
    began: Instant,
    every: Duration,
    samples: Vec<Sample>,
}

impl Table {
    const PATH: &str = "target/soak.csv";

    fn create(every: Duration) -> Table {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(Table::PATH);
        fs::create_dir_all(path.parent().expect("a directory")).expect("target");
        let mut file = File::create(path).expect("the table");
        let names: Vec<&str> = Sample::default().columns().iter().map(|(name, _)| *name).collect();
        writeln!(file, "seconds,{}", names.join(",")).expect("a line");
        Table { file, began: Instant::now(), every, samples: Vec::new() }
    }

    /// Takes a sample when it is time.
    fn look(&mut self, scene: &Scene) {
        let now = self.began.elapsed();
        if now < self.every * (self.samples.len() as u32 + 1) {
            return;
        }
        let sample = Sample::take(scene);
        let values: Vec<String> = sample.columns().iter().map(|(_, v)| v.to_string()).collect();
        writeln!(self.file, "{},{}", now.as_secs(), values.join(",")).expect("a line");
        self.samples.push(sample);
    }
}
