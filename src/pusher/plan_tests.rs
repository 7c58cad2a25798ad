use super::*;
use std::cell::Cell;

#[derive(Default)]
struct Disk {
    names: HashMap<RelPath, Result<Stat, i32>>,
    lookups: Cell<usize>,
}

impl Disk {
    fn resize(&mut self, path: &str, size: u64) {
        self.names.insert(p(path), Ok(Stat { size, ..stat(Kind::File) }));
    }
}

impl Lstat for Disk {
    fn lstat(&self, path: &RelPath) -> Result<Stat, i32> {
        self.lookups.set(self.lookups.get() + 1);
        self.names.get(path).copied().unwrap_or(Err(ENOENT))
    }
}

fn p(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}
fn paths(texts: &[&str]) -> Vec<RelPath> {
    texts.iter().map(|t| p(t)).collect()
}
fn stat(kind: Kind) -> Stat {
    Stat {
        kind,
        size: 1,
        mtime_ns: 100 * SECOND,
        ctime_ns: 100 * SECOND,
        sparse: false,
        nlink: 1,
        dev: 1,
        ino: 1,
    }
}
fn disk(names: &[(&str, Kind)]) -> Disk {
    let names = names.iter().map(|&(name, kind)| (p(name), Ok(stat(kind)))).collect();
    Disk { names, lookups: Cell::new(0) }
}
fn mark(path: &str, events: Events) -> Marked {
    Marked { path: p(path), scope: Scope::Entry, events, origin: None }
}
fn scoped(path: &str, scope: Scope) -> Marked {
    Marked { path: p(path), scope, events: Events::SCAN, origin: None }
}
const LIMITS: Limits = Limits {
    large: 1000,
    batch_bytes: u64::MAX,
    hard_links: false,
    delete: true,
    renames: true,
    whole: false,
    one_device: None,
};
fn go(rows: Vec<Marked>, disk: &Disk) -> Plan {
    plan(rows, disk, LIMITS, |_, _| false)
}
fn absent(path: &str, may_be_dir: bool) -> Absent {
    Absent { path: p(path), may_be_dir }
}

#[test]
fn existing_names_are_sent_and_missing_ones_deleted() {
    let disk = disk(&[("d", Kind::Dir), ("d/f", Kind::File), ("l", Kind::Symlink)]);
    let rows = ["d/f", "d", "l", "d/gone"].map(|path| mark(path, Events::WRITE | Events::DELETE));
    let plan = go(rows.into(), &disk);
    assert_eq!(plan.present, paths(&["d", "d/f", "l"]));
    assert_eq!(plan.absent, [absent("d/gone", false)]);
    assert!(plan.replaced.is_empty() && plan.failed.is_empty());
}

#[test]
fn the_first_missing_or_non_directory_prefix_is_listed_instead() {
    let disk = disk(&[("a", Kind::Dir), ("link", Kind::Symlink), ("file", Kind::File)]);
    let rows = ["a/b/c/d", "a/b/x", "link/c", "file/x/y"]
        .map(|path| mark(path, Events::CREATE | Events::DELETE));
    let plan = go(rows.into(), &disk);
    assert_eq!(plan.absent, [absent("a/b", true)]);
    assert_eq!(plan.present, paths(&["file", "link"]));
    let want = [("a/b/c/d", "a/b"), ("a/b/x", "a/b"), ("file/x/y", "file"), ("link/c", "link")];
    assert_eq!(plan.replaced, want.map(|(from, to)| (p(from), p(to))).into());
}

#[test]
fn larger_files_beyond_a_number_of_bytes_go_into_portions() {
    let mut disk = Disk::default();
    let sizes =
        [("a", BULKY), ("b", 3 * BULKY), ("c", BULKY), ("d", 2 * BULKY), ("e", 5), ("f", BULKY)];
    for (name, size) in sizes {
        disk.names.insert(p(name), Ok(Stat { size, ..stat(Kind::File) }));
    }
    let limits = Limits { large: u64::MAX, batch_bytes: 2 * BULKY, ..LIMITS };
    let rows = |events: Events| sizes.map(|(name, _)| mark(name, Events::WRITE | events));
    let first = plan(rows(Events::empty()), &disk, limits, |_, _| false);
    assert_eq!((first.present, first.rest), (paths(&["a", "c", "e"]), paths(&["b", "d", "f"])));
    assert_eq!(first.regular.len(), 6);
    let again = plan(rows(Events::BULK), &disk, limits, |_, _| false);
    assert!(again.rest.is_empty(), "once is enough");
    let one = plan([mark("b", Events::WRITE)], &disk, limits, |_, _| false);
    assert_eq!(one.present, paths(&["b"]), "the first one always fits");
}

#[test]
fn a_missing_path_without_a_mark_of_its_deletion_is_not_deleted() {
    let disk = disk(&[("d", Kind::Dir)]);
    let silent = [
        Events::WRITE,
        Events::CREATE | Events::DIR,
        Events::MOVE,
        Events::SCAN | Events::WRITE,
        Events::RECONCILE,
        Events::AGAIN | Events::WRITE,
        Events::ECHO | Events::ATTRIB,
    ];
    for events in silent {
        for scope in [Scope::Entry, Scope::Children, Scope::Tree] {
            let gone = |path| Marked { path: p(path), scope, events, origin: None };
            let plan = go(vec![gone("d/gone"), gone("away/x")], &disk);
            assert_eq!(plan.absent, [], "{events:?} {scope:?}");
            assert_eq!(plan.skipped, paths(&["away/x", "d/gone"]), "{events:?} {scope:?}");
            // One mark of a deletion is enough.
            let plan = go(vec![gone("d/gone"), mark("d/gone", Events::DELETE)], &disk);
            assert_eq!(plan.absent.len(), 1, "{events:?} {scope:?}");
        }
    }
}

#[test]
fn an_absent_directory_covers_names_below_it() {
    let rows =
        vec![mark("d", Events::DELETE), mark("d/x", Events::DELETE), mark("d/e/y", Events::DELETE)];
    let plan = go(rows, &disk(&[]));
    assert_eq!(plan.absent, [absent("d", true)]);
}

#[test]
fn a_directory_that_was_deleted_and_created_again_is_compared() {
    let disk = disk(&[("d", Kind::Dir), ("e", Kind::Dir)]);
    let rows =
        vec![mark("d", Events::DELETE | Events::DIR), mark("e", Events::ATTRIB | Events::DIR)];
    let plan = go(rows, &disk);
    assert_eq!(plan.children, paths(&["d"]));
    assert_eq!(plan.present, paths(&["e"]));
}

#[test]
fn a_file_whose_mtime_was_set_after_its_plan_is_detected() {
    let now = |mtime_ns| Stat { mtime_ns, ..stat(Kind::File) };
    assert!(set_meanwhile(100 * SECOND, &now(7)));
    assert!(!set_meanwhile(7, &now(7)), "the mtime was already set when it was planned");
    assert!(!set_meanwhile(7, &now(99 * SECOND)), "written, so an event marks it");
}

#[test]
fn an_error_is_not_taken_for_absence() {
    for errno in [1, 5, 13, 36, 40, 107, 116] {
        let mut disk = disk(&[("d", Kind::Dir)]);
        disk.names.insert(p("d/bad"), Err(errno));
        let plan =
            go(vec![mark("d/bad", Events::DELETE), mark("d/bad/below", Events::DELETE)], &disk);
        assert_eq!(plan.failed, [(p("d/bad"), errno), (p("d/bad/below"), errno)]);
        assert!(plan.absent.is_empty());
    }
    let mut disk = disk(&[]);
    disk.names.insert(p("x"), Err(ENOTDIR));
    assert_eq!(go(vec![mark("x", Events::DELETE)], &disk).absent, [absent("x", false)]);
}

#[test]
fn every_path_is_looked_up_once() {
    let mut disk = Disk::default();
    let mut rows = Vec::new();
    for i in 0..10_000 {
        let directory = format!("d{}", i % 100);
        disk.names.insert(p(&directory), Ok(stat(Kind::Dir)));
        let file = format!("{directory}/f{i}");
        disk.names.insert(p(&file), Ok(stat(Kind::File)));
        rows.push(mark(&file, Events::WRITE));
        rows.push(mark(&file, Events::ATTRIB));
    }
    let plan = go(rows, &disk);
    assert_eq!(plan.present.len(), 10_000);
    assert_eq!(disk.lookups.get(), 10_100);
}

#[test]
fn a_file_with_a_set_mtime_is_compared_by_content() {
    let mut disk = disk(&[("new", Kind::File), ("dir", Kind::Dir), ("link", Kind::Symlink)]);
    let set = |mtime_ns, size| Ok(Stat { mtime_ns, size, ..stat(Kind::File) });
    disk.names.insert(p("old"), set(97 * SECOND, 1));
    disk.names.insert(p("future"), set(900 * SECOND, 1));
    disk.names.insert(p("edge"), set(98 * SECOND, 1));
    disk.names.insert(p("chmod"), set(0, 1));
    disk.names.insert(p("found"), set(0, 1));
    disk.names.insert(p("both"), set(0, 1));
    disk.names.insert(p("big"), set(0, 1000));
    disk.names.insert(p("bigfresh"), set(100 * SECOND, 5000));
    let mut rows: Vec<_> = ["new", "dir", "link", "old", "future", "edge", "big", "bigfresh"]
        .map(|path| mark(path, Events::WRITE))
        .into();
    rows.extend([mark("chmod", Events::ATTRIB), mark("found", Events::RECONCILE)]);
    rows.extend([mark("both", Events::ATTRIB), mark("both", Events::MOVE)]);
    let plan = go(rows, &disk);
    assert_eq!(plan.checksum, paths(&["both", "future", "old"]));
    assert_eq!(plan.present, paths(&["chmod", "dir", "edge", "found", "link", "new"]));
    let large = |path, checksum| Large { path: p(path), checksum };
    assert_eq!(plan.large, [large("big", true), large("bigfresh", false)]);
}

#[test]
fn a_tree_covers_the_scopes_below_it() {
    let disk = disk(&[
        ("t", Kind::Dir),
        ("t/c", Kind::Dir),
        ("t-x", Kind::Dir),
        ("t/u", Kind::Dir),
        ("f", Kind::File),
    ]);
    let rows = vec![
        scoped("t", Scope::Tree),
        scoped("t/u", Scope::Tree),
        scoped("t/c", Scope::Children),
        scoped("t-x", Scope::Children),
        scoped("t-x", Scope::Entry),
        scoped("f", Scope::Tree),
        scoped("gone", Scope::Tree),
        mark("gone", Events::DELETE),
        mark("", Events::default()),
    ];
    let plan = go(rows, &disk);
    assert_eq!(plan.tree, paths(&["t"]));
    assert_eq!(plan.children, paths(&["t-x"]));
    assert_eq!(plan.present, paths(&["f"]));
    assert_eq!(plan.absent, [absent("gone", true)]);
    assert!(plan.root);
    let plan = go(
        vec![scoped("", Scope::Tree), scoped("t", Scope::Tree), scoped("t-x", Scope::Children)],
        &disk,
    );
    assert_eq!((plan.tree, plan.children.len()), (paths(&[""]), 0));
}

#[test]
fn excluded_paths_are_skipped() {
    let disk =
        disk(&[("ex", Kind::Dir), ("ex/f", Kind::File), ("d", Kind::Dir), ("d/a.tmp", Kind::File)]);
    let rows = ["ex/f", "d/a.tmp", "d/b.tmp", "d/ok"].map(|path| mark(path, Events::DELETE));
    let excluded =
        |path: &RelPath, dir: bool| (dir && path == &p("ex")) || path.as_bytes().ends_with(b".tmp");
    let out = plan(rows, &disk, LIMITS, excluded);
    assert_eq!(out.skipped, paths(&["d/a.tmp", "d/b.tmp", "ex/f"]));
    assert_eq!(out.absent, [absent("d/ok", false)]);
    assert!(out.present.is_empty());
    // A missing name that may have been an excluded directory is skipped, and so is one below it.
    let rows = vec![scoped("gone", Scope::Entry), mark("gone/f", Events::DELETE)];
    let out = plan(rows, &disk, LIMITS, |path, dir| dir && path == &p("gone"));
    assert_eq!((out.absent.len(), out.skipped), (0, paths(&["gone", "gone/f"])));
}

#[test]
fn nothing_is_deleted_when_deletions_are_off() {
    let disk = disk(&[("d", Kind::Dir)]);
    let rows = vec![mark("d/gone", Events::DELETE), mark("gone", Events::DELETE)];
    let out = plan(rows, &disk, Limits { delete: false, ..LIMITS }, |_, _| false);
    assert_eq!((out.absent.len(), out.present), (0, paths(&["d"])));
}

#[test]
fn a_file_moved_soon_after_it_was_written_is_compared_by_content() {
    let mut disk = disk(&[("fresh", Kind::File)]);
    for (name, ms) in [("written", 1_000), ("moved", 11), ("scanned", 11), ("renamed at once", 10)]
    {
        let ctime_ns = 100 * SECOND + ms * SECOND / 1_000;
        disk.names.insert(p(name), Ok(Stat { ctime_ns, ..stat(Kind::File) }));
    }
    let rows = [
        ("fresh", Events::MOVE),
        ("written", Events::WRITE),
        ("moved", Events::MOVE),
        ("scanned", Events::SCAN),
        ("renamed at once", Events::MOVE),
    ];
    let plan = go(rows.map(|(path, events)| mark(path, events)).into(), &disk);
    assert_eq!(plan.checksum, paths(&["moved", "scanned"]));
    assert_eq!(plan.present, paths(&["fresh", "renamed at once", "written"]));
}

#[test]
fn with_one_file_system_only_the_entry_of_a_mount_point_is_replicated() {
    let mut disk = disk(&[("d", Kind::Dir), ("d/f", Kind::File)]);
    let on = |kind| Ok(Stat { dev: 2, ..stat(kind) });
    disk.names.insert(p("d/m"), on(Kind::Dir));
    disk.names.insert(p("d/m/sub"), on(Kind::Dir));
    disk.names.insert(p("d/m/f"), on(Kind::File));
    disk.names.insert(p("d/m/link"), on(Kind::Symlink));
    // A file system of the root's own device, mounted inside another.
    disk.names.insert(p("d/m/own"), Ok(stat(Kind::Dir)));
    // rsync also sends a single file of another file system.
    disk.names.insert(p("d/mounted file"), on(Kind::File));
    let limits = Limits { one_device: Some(1), ..LIMITS };
    let below = ["d/m/f", "d/m/gone", "d/m/gone/x", "d/m/link", "d/m/own", "d/m/sub", "d/m/sub/x"];
    for scope in [Scope::Entry, Scope::Children, Scope::Tree] {
        let gone = Events::DELETE | Events::DIR;
        let row = |path: &&str| Marked { path: p(path), scope, events: gone, origin: None };
        let rows = below.iter().chain(&["d/m", "d/mounted file"]).map(row).collect::<Vec<_>>();
        let plan = plan(rows.clone(), &disk, limits, |_, _| false);
        assert_eq!(plan.present, paths(&["d/m", "d/mounted file"]), "{scope:?}");
        assert_eq!(plan.skipped, paths(&below), "{scope:?}");
        assert!(plan.absent.is_empty() && plan.tree.is_empty() && plan.children.is_empty());
        let all = go(rows, &disk);
        assert!(
            all.skipped.is_empty() && !all.absent.is_empty(),
            "without -x everything is replicated"
        );
    }
}

fn moved(path: &str, origin: &str, scope: Scope, events: Events) -> Marked {
    Marked { path: p(path), scope, events, origin: Some(p(origin)) }
}

#[test]
fn what_was_moved_has_its_old_name_on_the_remote() {
    let mut disk = disk(&[("dir", Kind::Dir), ("file", Kind::File), ("small", Kind::File)]);
    disk.resize("file", RENAMED_LEAST);
    let away = Events::MOVE | Events::DELETE;
    let rows = |old: Events| {
        vec![
            mark("old dir", away | Events::DIR | old),
            moved("dir", "old dir", Scope::Tree, Events::MOVE | Events::DIR),
            // Through another name.
            mark("old file", away | old),
            moved("between", "old file", Scope::Entry, away),
            moved("file", "between", Scope::Entry, Events::MOVE),
            mark("old small", away),
            moved("small", "old small", Scope::Entry, Events::MOVE),
        ]
    };
    let limits = Limits { large: u64::MAX, ..LIMITS };
    let renamed = |rows: Vec<Marked>, limits, disk: &Disk, excluded: &str| {
        let plan = plan(rows, disk, limits, |path, _| path.to_string() == excluded);
        assert!(
            plan.renamed.iter().all(|r| plan.tree.contains(&r.to) || plan.checksum.contains(&r.to))
        );
        let pairs = plan.renamed.into_iter();
        pairs.map(|r| format!("{} {}", r.from, r.to)).collect::<Vec<_>>()
    };
    let both = ["old dir dir", "old file file"];
    assert_eq!(renamed(rows(Events::empty()), limits, &disk, ""), both);
    // The content of a directory has marks of its own; that of a file would be an old one.
    assert_eq!(renamed(rows(Events::WRITE), limits, &disk, ""), both[..1]);
    assert!(renamed(rows(Events::CREATE), limits, &disk, "").is_empty(), "the remote lacks it");
    assert_eq!(renamed(rows(Events::empty()), limits, &disk, "old dir"), both[1..]);
    let never = Limits { renames: false, ..limits };
    assert!(renamed(rows(Events::empty()), never, &disk, "").is_empty());
    // Its old name was taken by something else.
    disk.names.insert(p("old dir"), Ok(stat(Kind::Dir)));
    disk.names.insert(p("old file"), Ok(stat(Kind::File)));
    assert!(renamed(rows(Events::empty()), limits, &disk, "").is_empty());
}

#[test]
fn moves_in_a_circle_end() {
    let mut disk = disk(&[("a", Kind::File)]);
    disk.resize("a", RENAMED_LEAST);
    let away = Events::MOVE | Events::DELETE;
    let rows = vec![
        moved("a", "b", Scope::Entry, away),
        moved("b", "c", Scope::Entry, away),
        moved("c", "b", Scope::Entry, away),
    ];
    let plan = plan(rows, &disk, Limits { large: 1, ..LIMITS }, |_, _| false);
    assert!(plan.renamed.len() <= 1);
    assert_eq!(plan.large, [Large { path: p("a"), checksum: true }]);
}

#[test]
fn a_missing_directory_is_pushed_whole_unless_an_earlier_push_may_still_run() {
    let disk = disk(&[("d", Kind::Dir), ("file", Kind::File)]);
    let whole = Events::RECONCILE | Events::DIR | Events::WHOLE | Events::BULK;
    let row = |path: &str, events| Marked { events, ..scoped(path, Scope::Tree) };
    let limits = Limits { whole: true, ..LIMITS };
    let lists = |row: Marked, limits| {
        let plan = plan([row], &disk, limits, |_, _| false);
        (plan.whole, plan.tree, plan.present)
    };
    let (none, d) = (Vec::new(), paths(&["d"]));
    assert_eq!(lists(row("d", whole), limits), (d.clone(), none.clone(), none.clone()));
    for events in [whole | Events::AGAIN, whole.difference(Events::BULK)] {
        assert_eq!(lists(row("d", events), limits), (none.clone(), d.clone(), none.clone()));
    }
    assert_eq!(lists(row("d", whole), LIMITS).1, d, "the settings have changed");
    assert_eq!(lists(row("file", whole), limits).2, paths(&["file"]), "it is a file now");
    let root = lists(row("", whole | Events::AGAIN), limits);
    assert_eq!(root.0, [RelPath::root()], "it compares by itself");
}
