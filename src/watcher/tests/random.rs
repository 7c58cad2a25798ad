//! Random changes. `SEED` and `ROUNDS` repeat or lengthen the test.

use super::*;
use crate::sys::files;
use std::os::unix::fs::{MetadataExt, symlink};

/// What a push would compare of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    pub is_dir: bool,
    /// Size, mtime in nanoseconds and inode of a file.
    file: (u64, i64, u64),
    mode: u32,
}

/// What stands at a path; `None` for nothing. Of a further name (`l…`) only to which file it leads: what is written through
/// a name that is gone before anybody looks at it is not seen under the others.
pub fn value(path: &Path) -> Option<Value> {
    let m = fs::symlink_metadata(path).ok()?;
    let further = path.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b'l');
    let file = match (m.is_dir(), further) {
        (true, _) => (0, 0, 0),
        (false, true) => (0, 0, m.ino()),
        (false, false) => (m.size(), m.mtime() * 1_000_000_000 + m.mtime_nsec(), m.ino()),
    };
    let mode = if further { 0 } else { m.mode() };
    Some(Value { is_dir: m.is_dir(), file, mode })
}

/// Everything below a directory.
pub fn snapshot(root: &Path) -> BTreeMap<RelPath, Value> {
    let mut found = BTreeMap::new();
    let mut stack = vec![RelPath::root()];
    while let Some(dir) = stack.pop() {
        for entry in fs::read_dir(dir.below(root)).unwrap() {
            let entry = entry.unwrap();
            let path = dir.join(&entry.file_name());
            let value = value(&entry.path()).unwrap();
            if value.is_dir {
                stack.push(path.clone());
            }
            found.insert(path, value);
        }
    }
    found
}

/// Prints how long a burst takes from its first change to its last mark, and what ten thousand directories cost.
#[test]
#[ignore = "a measurement"]
fn a_burst_is_marked_completely() {
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

/// A small generator of its own, so that a failure can be repeated.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

pub fn churn(root: &Path, out: &Path, dice: &mut Dice, steps: usize) {
    let dirs = [
        "", "a", "b", "a/x", "a/y", "b/x", "a/x/p", "b/x/p", "c", "c/y/q", "c/y", "skip",
        "a/skip/x",
    ];
    for n in 0..steps {
        let at = |dice: &mut Dice| root.join(dirs[dice.roll(dirs.len())]);
        let mode = |dice: &mut Dice| fs::Permissions::from_mode(0o700 + dice.roll(64) as u32);
        let (here, there) = (at(dice), at(dice));
        // Whatever does not work is no change.
        let _ = match dice.roll(17) {
            0..=2 => fs::create_dir_all(&here),
            3 | 4 => fs::write(here.join(format!("f{}", dice.roll(6))), format!("{n}")),
            5 => fs::remove_file(here.join(format!("f{}", dice.roll(6)))),
            6 | 7 if here != root => fs::rename(&here, &there),
            8 if here != root => fs::rename(&here, out.join(format!("m{}", dice.roll(4)))),
            9 => fs::rename(out.join(format!("m{}", dice.roll(4))), &there),
            10 => fs::rename(here.join("f1"), there.join("f2")),
            11 if here != root && dice.roll(3) == 0 => fs::remove_dir_all(&here),
            12 => fs::hard_link(here.join("f1"), there.join(format!("l{}", dice.roll(3)))),
            13 if here != root && there != root => files::exchange(&here, &there),
            14 if here != root => symlink(dirs[dice.roll(9)], &here),
            15 if here != root => fs::remove_file(&here),
            16 => fs::set_permissions(&here, mode(dice)),
            _ => Ok(()),
        };
    }
}

fn assert_covered(run: &Running, seq: i64, before: &BTreeMap<RelPath, Value>, seed: u64) {
    let after = snapshot(&run.root);
    let marks = run.since(seq);
    // A further name whose file has no other by the time of the look waits for a close, and is marked later.
    let open = run.journal().open_paths().unwrap();
    let waits = |p: &RelPath| open.contains(p) && p.name().as_encoded_bytes()[0] == b'l';
    let paths = before.keys().chain(after.keys());
    // What is no directory any more goes with all that was below it.
    let gone = |p: &RelPath| !after.get(p).is_some_and(|v| v.is_dir) && covered(&marks, p);
    for path in paths.filter(|p| before.get(*p) != after.get(*p)) {
        assert!(
            covered(&marks, path) || path.prefixes().any(|p| gone(&p)) || waits(path),
            "seed {seed}: {path} {:?} {:?}",
            before.get(path),
            after.get(path)
        );
    }
}

#[test]
fn random_operations_are_all_marked() {
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
        let dirs: Vec<_> = now.iter().filter(|(_, v)| v.is_dir).map(|(p, _)| p.clone()).collect();
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
