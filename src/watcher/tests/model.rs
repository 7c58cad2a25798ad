//! Changes at full speed, a watcher that is held up now and then, and a model of a slave: what a push would make of it is
//! done to a map, at the moment at which it looks at a mark. In the end map and tree must be the same. So a mark that
//! came before its change, and was pushed before it, is found here. `SEED` and `SECONDS` repeat or lengthen the test.

use super::random::{Dice, Value, churn, snapshot, value};
use super::*;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The slave.
struct Slave<'a> {
    root: &'a Path,
    names: BTreeMap<RelPath, Value>,
    cursor: i64,
}

impl Slave<'_> {
    /// Pushes what is marked; false when there is nothing.
    fn push(&mut self, journal: &Journal) -> bool {
        let marks = journal.marks_after(self.cursor, 1_000).unwrap();
        for mark in &marks {
            self.look(&mark.path, mark.scope);
            self.cursor = self.cursor.max(mark.seq);
        }
        !marks.is_empty()
    }

    /// Makes the name equal, and as much below it as the scope says. Where something above it is missing or no directory,
    /// that is made equal instead.
    fn look(&mut self, path: &RelPath, scope: Scope) {
        for name in path.prefixes() {
            if !self.entry(&name) {
                return;
            }
        }
        if scope != Scope::Entry {
            self.directory(path, scope == Scope::Tree);
        }
    }

    /// Makes one name equal; true when it is a directory.
    fn entry(&mut self, path: &RelPath) -> bool {
        let now = value(&path.below(self.root));
        let is_dir = now.is_some_and(|v| v.is_dir);
        if !is_dir {
            self.names.retain(|p, _| !p.is_within(path));
        }
        self.names.extend(now.map(|v| (path.clone(), v)));
        is_dir
    }

    fn directory(&mut self, path: &RelPath, deep: bool) {
        let listed: Vec<RelPath> = fs::read_dir(path.below(self.root))
            .map(|dir| dir.flatten().map(|e| path.join(&e.file_name())).collect())
            .unwrap_or_default();
        let in_it = |p: &&RelPath| p.parent().as_ref() == Some(path) && !listed.contains(p);
        let gone: Vec<RelPath> = self.names.keys().filter(in_it).cloned().collect();
        for name in gone.iter().chain(&listed) {
            if self.entry(name) && deep {
                self.directory(name, true);
            }
        }
    }
}

/// Churns for a while at full speed, the watcher held up now and then, and pushes meanwhile.
fn round(run: &Running, out: &Path, dice: &mut Dice, slave: &mut Slave<'_>, journal: &Journal) {
    let busy = AtomicBool::new(true);
    let (changes, mut pauses) = (dice.roll(400), Dice(dice.roll(usize::MAX) as u64 | 1));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..changes / 20 {
                churn(&run.root, out, dice, 20);
                std::thread::sleep(Duration::from_millis(dice.roll(12) as u64));
            }
            busy.store(false, Relaxed);
        });
        scope.spawn(|| {
            while busy.load(Relaxed) {
                let hold = Duration::from_millis(pauses.roll(80) as u64);
                run.behind(|| std::thread::sleep(hold));
                std::thread::sleep(Duration::from_millis(pauses.roll(80) as u64));
            }
        });
        while busy.load(Relaxed) {
            if !slave.push(journal) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
}

#[test]
fn a_mark_is_never_older_than_its_change() {
    let number = |name: &str| std::env::var(name).ok().and_then(|s| s.parse::<u64>().ok());
    let seed = number("SEED").unwrap_or_else(|| crate::sys::clock::wall_ns() as u64 | 1);
    let end = Instant::now() + Duration::from_secs(number("SECONDS").unwrap_or(6));
    let world = World::new();
    let run = world.start();
    let mut dice = Dice(seed);
    let journal = run.journal();
    let mut slave = Slave { root: &run.root, names: BTreeMap::new(), cursor: 0 };
    while Instant::now() < end {
        round(&run, &world.path("out"), &mut dice, &mut slave, &journal);
        // A search for names of linked files waits for twenty times as long as the last one took.
        let patience = Instant::now() + Duration::from_secs(60);
        loop {
            while slave.push(&journal) {}
            let tree = snapshot(&run.root);
            if slave.names == tree {
                break;
            }
            let names = tree.keys().chain(slave.names.keys());
            let differ = names.filter(|p| tree.get(*p) != slave.names.get(*p));
            let differ =
                differ.map(|p| format!("{p}: {:?}, slave {:?}", tree.get(p), slave.names.get(p)));
            assert!(Instant::now() < patience, "SEED={seed}: {:#?}", differ.collect::<Vec<_>>());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    run.stop();
}
