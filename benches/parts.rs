//! The pure and the local parts, one by one: `cargo bench --bench parts`. How long a part takes says where the time of
//! [`replication`](../replication) goes; only that one compares with other systems.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::hint::black_box;
use syncsup::config::model::{FilterRules, NameRules};
use syncsup::filter::Filter;
use syncsup::journal::{Events, Journal, Mark, Owe, Record, Scope, Settlement};
use syncsup::path::RelPath;
use syncsup::pusher::plan::{Limits, Lstat, Marked, plan};
use syncsup::stat::{Kind, Stat};
use syncsup::watcher::tree::Tree;

const NAMES: usize = 10_000;

fn paths() -> Vec<RelPath> {
    let path = |n: usize| RelPath::new(format!("some/dir{}/file{n}.html", n % 100));
    (0..NAMES).filter_map(path).collect()
}

fn filter(c: &mut Criterion) {
    let paths = paths();
    let mut group = c.benchmark_group("filter 10,000 paths");
    let editors = FilterRules { names: NameRules::Editors, ..FilterRules::default() };
    let globs = ["*.tmp", "cache/", "*.swp", "logs/**/*.gz"].map(String::from).to_vec();
    let regexes = ["(.*)/\\.svn", "(.*)\\.(bak|old)", "tmp/[0-9]+"];
    let regexes = FilterRules {
        exclude: regexes.map(|r| r.into()).to_vec(),
        names: NameRules::Sersync,
        ..FilterRules::default()
    };
    for (name, rules) in [
        ("default", editors.clone()),
        ("globs", FilterRules { exclude_glob: globs, ..editors }),
        ("regexes", regexes),
    ] {
        let filter = Filter::new(&rules).expect("rules");
        group.bench_function(name, |b| {
            b.iter(|| paths.iter().filter(|path| filter.excludes(black_box(path), false)).count());
        });
    }
    group.finish();
}

fn tree(c: &mut Criterion) {
    let names: Vec<OsString> = (0..NAMES).map(|n| format!("dir{n}").into()).collect();
    let build = || {
        let mut tree = Tree::default();
        tree.start(1);
        for (wd, name) in (2..).zip(&names) {
            // Ten in each directory.
            tree.place(wd / 10 + 1, name, wd + 1);
        }
        tree
    };
    c.bench_function("map of 10,000 watches", |b| b.iter(build));
    let built = build();
    c.bench_function("10,000 paths of watches", |b| {
        b.iter(|| (2..NAMES as i32).filter(|wd| built.path(black_box(*wd)).is_some()).count());
    });
}

fn journal(c: &mut Criterion) {
    let paths = paths();
    let record = |count: usize| Record {
        marks: paths[..count].iter().map(|p| Mark::entry(p.clone(), Events::WRITE)).collect(),
        ..Record::default()
    };
    let open = || {
        let dir = tempfile::tempdir().expect("a directory");
        let mut journal = Journal::open(dir.path()).expect("a journal");
        journal.remote("r", None).expect("a remote");
        (dir, journal)
    };
    let (_dir, mut journal) = open();
    for count in [1, 100, NAMES] {
        let record = record(count);
        c.bench_function(&format!("record {count} marks and read them"), |b| {
            b.iter(|| {
                let before = journal.last_seq().expect("a number");
                journal.record(&record, 1).expect("recorded");
                let marks = journal.marks_after(before, NAMES as u32).expect("marks");
                let end = Settlement { cursor: marks.last().map(|m| m.seq), ..Default::default() };
                journal.settle("r", &end, 1).expect("settled");
            });
        });
    }
    let owe = |path: &RelPath| Owe {
        path: path.clone(),
        scope: Scope::Entry,
        events: Events::RECONCILE | Events::BULK,
        error: None,
        attempts: 0,
        next_try_ms: 0,
        since_ms: 0,
    };
    let owed = Settlement { owe: paths.iter().map(owe).collect(), ..Settlement::default() };
    c.bench_function("owe 10,000 names and settle them", |b| {
        b.iter(|| {
            journal.settle("r", &owed, 1).expect("owed");
            let rows = journal.due_bulk("r", 1, NAMES as u32).expect("rows");
            let done = rows.into_iter().map(|row| (row.path, row.generation)).collect();
            let end = Settlement { done, ..Settlement::default() };
            journal.settle("r", &end, 1).expect("settled");
        });
    });
}

struct Disk(BTreeMap<RelPath, Stat>);

impl Lstat for Disk {
    fn lstat(&self, path: &RelPath) -> Result<Stat, i32> {
        const ENOENT: i32 = 2;
        self.0.get(path).copied().ok_or(ENOENT)
    }
}

fn planning(c: &mut Criterion) {
    let stat = |kind| Stat {
        kind,
        size: 1_000,
        mtime_ns: 1,
        ctime_ns: 1,
        sparse: false,
        nlink: 1,
        dev: 1,
        ino: 1,
    };
    let paths = paths();
    let mut names = BTreeMap::new();
    for path in &paths {
        names.extend(path.prefixes().map(|above| (above, stat(Kind::Dir))));
        names.insert(path.clone(), stat(Kind::File));
    }
    let disk = Disk(names);
    let limits = Limits {
        large: u64::MAX,
        batch_bytes: u64::MAX,
        hard_links: false,
        delete: true,
        renames: true,
        whole: false,
        one_device: None,
    };
    let row = |path: &RelPath| Marked {
        path: path.clone(),
        scope: Scope::Entry,
        events: Events::WRITE,
        origin: None,
    };
    c.bench_function("plan of 10,000 marks", |b| {
        b.iter_batched(
            || paths.iter().map(row).collect::<Vec<_>>(),
            |rows| plan(rows, &disk, limits, |_, _| false),
            BatchSize::LargeInput,
        );
    });
}

criterion_group!(parts, filter, tree, journal, planning);
criterion_main!(parts);
