//! Changes at full speed by two writers, a watcher that is held up and started again now and then, and a model of a slave: what a push would make of it is
//! done to a map, at the moment at which it looks at a mark. In the end map and tree must be the same. So a mark that
//! came before its change, and was pushed before it, is found here. `SEED` and `SECONDS` repeat or lengthen the test.

use super::random::{Dice, Value, churn, snapshot, value};
use super::*;
use crate::filter::Filter;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const WRITERS: usize = 2;

/// The slave.
struct Slave<'a> {
    root: &'a Path,
    filter: &'a Filter,
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
        let now = now.filter(|v| !self.filter.excludes(path, v.is_dir));
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

/// Churns for a while, each time with a file open for writing.
fn write(world: &World, mut dice: Dice) {
    let (root, out) = (world.path("root"), world.path("out"));
    for _ in 0..dice.roll(20) {
        let file = root.join(["a/x/f0", "b/f1", "a/f2"][dice.roll(3)]);
        let held = fs::File::options().append(true).create(true).open(file);
        churn(&root, &out, &mut dice, 20);
        // Whatever does not work is no change.
        let _ = held.and_then(|mut file| file.write_all(b"x"));
        std::thread::sleep(Duration::from_millis(dice.roll(12) as u64));
    }
}

/// Two writers at full speed; the watcher is held up now and then, and may be started again; pushes meanwhile.
fn round(world: &mut World, run: Running, dice: &mut Dice, slave: &mut Slave<'_>) -> Running {
    let journal = run.journal();
    let busy = AtomicUsize::new(WRITERS);
    let mut seeds = || Dice(dice.roll(usize::MAX) as u64 | 1);
    let (writers, mut pauses) = ([(); WRITERS].map(|()| seeds()), seeds());
    let restart = dice.roll(5) == 0;
    let new_queue = restart && dice.roll(2) == 0;
    let shared = &*world;
    let mut run = Some(run);
    std::thread::scope(|scope| {
        for dice in writers {
            let busy = &busy;
            scope.spawn(move || {
                write(shared, dice);
                busy.fetch_sub(1, Relaxed);
            });
        }
        scope.spawn(|| {
            while busy.load(Relaxed) > 0 {
                let hold = Duration::from_millis(pauses.roll(80) as u64);
                shared.behind(|| std::thread::sleep(hold));
                std::thread::sleep(Duration::from_millis(pauses.roll(80) as u64));
            }
        });
        if restart {
            run.take().into_iter().for_each(Running::stop);
            run = (!new_queue).then(|| shared.launch());
        }
        while busy.load(Relaxed) > 0 {
            if !slave.push(&journal) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    if new_queue {
        world.queue = inotify::create().unwrap();
    }
    run.unwrap_or_else(|| world.launch())
}

#[test]
fn a_mark_is_never_older_than_its_change() {
    let number = |name: &str| std::env::var(name).ok().and_then(|s| s.parse::<u64>().ok());
    let seed = number("SEED").unwrap_or_else(|| crate::sys::clock::wall_ns() as u64 | 1);
    let end = Instant::now() + Duration::from_secs(number("SECONDS").unwrap_or(6));
    let mut world = World::new();
    world.filter.exclude_glob = vec!["skip".into(), "/a/x".into(), "/c/y/q".into()];
    let filter = Filter::new(&world.filter).unwrap();
    let root = world.path("root");
    let mut run = world.start();
    let mut dice = Dice(seed);
    let journal = run.journal();
    let mut slave = Slave { root: &root, filter: &filter, names: BTreeMap::new(), cursor: 0 };
    while Instant::now() < end {
        run = round(&mut world, run, &mut dice, &mut slave);
        // A search for names of linked files waits for twenty times as long as the last one took.
        let patience = Instant::now() + Duration::from_secs(60);
        loop {
            while slave.push(&journal) {}
            let mut tree = snapshot(&root);
            tree.retain(|path, value| !filter.excludes(path, value.is_dir));
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
