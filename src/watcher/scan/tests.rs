//! Walks over a real directory with a real queue, a portion at a time: what happens between two portions happens here.

use super::*;
use crate::config::model::{FilterRules, NameRules, Toggles};
use crate::filter::Filter;
use crate::stat::{Notice, What};
use crate::sys::files;
use crate::sys::inotify;
use crate::sys::inotify::Queue;
use crate::watcher::change_set::ChangeSet;
use crate::watcher::event::PAIR_WITHIN;
use slog::Logger;
use std::fs;
use std::path::PathBuf;

/// A watched directory, and what the loop has besides.
struct Rig {
    dir: tempfile::TempDir,
    queue: Queue,
    map: Map,
    walker: Walker,
    log: Logger,
}

fn rel(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

impl Rig {
    /// Watches `root`, beside which is `out`.
    fn new() -> Self {
        Self::excluding(&[])
    }

    fn excluding(globs: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        fs::create_dir(dir.path().join("out")).unwrap();
        let exclude_glob = globs.iter().map(|glob| (*glob).into()).collect();
        let rules = FilterRules { names: NameRules::None, exclude_glob, ..FilterRules::default() };
        let mut rig = Self {
            dir,
            queue: Queue::new(inotify::create().unwrap()),
            map: Map::new(Toggles::MODERN, Filter::new(&rules).unwrap()),
            walker: Walker::default(),
            log: Logger::root(slog::Discard, slog::o!()),
        };
        rig.walk_with_context(|walker, context| {
            let root = Root::open(context.watch).unwrap();
            walker.start_scan(&root, context, clock::file_ns()).unwrap();
        });
        rig.finish();
        rig
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join("root").join(path)
    }

    fn out(&self, path: &str) -> PathBuf {
        self.dir.path().join("out").join(path)
    }

    fn walk_with_context(
        &mut self,
        act: impl FnOnce(&mut Walker, &mut ScanContext<'_>),
    ) -> ChangeSet {
        let mut changes = ChangeSet::default();
        let watch = self.dir.path().join("root");
        let mut context =
            ScanContext::new(&self.queue, &watch, &mut self.map, &mut changes, &self.log);
        act(&mut self.walker, &mut context);
        changes
    }

    /// Takes all events.
    fn events(&mut self) -> ChangeSet {
        let mut notices = Vec::new();
        loop {
            let some = self.queue.read().unwrap();
            if some.is_empty() {
                break;
            }
            notices.extend(some);
        }
        self.take(notices)
    }

    fn take(&mut self, notices: Vec<Notice>) -> ChangeSet {
        self.walk_with_context(|walker, context| {
            let mut acts = Vec::new();
            for notice in notices {
                context.map.step(&notice, clock::boot(), context.changes, &mut acts);
                for act in acts.drain(..) {
                    walker.act(act, context);
                }
            }
        })
    }

    /// Everything that is still waited for is over.
    fn expire(&mut self) -> ChangeSet {
        self.walk_with_context(|walker, context| {
            let mut acts = Vec::new();
            context.map.expire(clock::boot() + PAIR_WITHIN, context.changes, &mut acts);
            for act in acts {
                walker.act(act, context);
            }
        })
    }

    /// True when a file that comes here now is marked.
    fn sees(&mut self, path: &str) -> bool {
        self.events();
        self.expire();
        self.finish();
        // Moved here: a process that another test forks may have what is written here open for a moment longer.
        let made = self.out("made");
        fs::write(&made, "").unwrap();
        fs::rename(made, self.at(path)).unwrap();
        let marks = self.events().into_record(None).marks;
        marks.iter().any(|mark| mark.path == rel(path))
    }

    fn portion(&mut self) -> ChangeSet {
        self.walk_with_context(|walker, context| drop(walker.portion(context)))
    }

    /// Walks to the end.
    fn finish(&mut self) -> ChangeSet {
        self.walk_with_context(|walker, context| {
            while !walker.is_idle() {
                walker.try_later(context);
                walker.portion(context);
            }
        })
    }
}

/// What a record marks as a tree.
fn trees(changes: ChangeSet) -> Vec<RelPath> {
    let marks = changes.into_record(None).marks;
    marks.into_iter().filter(|m| m.scope == Scope::Tree).map(|m| m.path).collect()
}

fn covered(trees: &[RelPath], path: &str) -> bool {
    trees.iter().any(|tree| rel(path).is_within(tree))
}

/// More names than a portion has.
fn fill(dir: &Path) {
    fs::create_dir(dir).unwrap();
    (0..PORTION * 10).for_each(|n| fs::write(dir.join(format!("f{n}")), "").unwrap());
}

#[test]
fn a_walk_that_begins_late_marks_what_happened_before_it() {
    let mut rig = Rig::new();
    fs::create_dir_all(rig.out("small/sub")).unwrap();
    fill(&rig.out("large"));
    for name in ["small", "large"] {
        fs::rename(rig.out(name), rig.at(name)).unwrap();
    }
    assert_eq!(trees(rig.events()), [rel("small"), rel("large")]);
    rig.portion();
    // The last one is walked first. The record is written now, and pushers look at the tree; then, before anybody watches:
    fs::write(rig.at("small/sub/f"), "").unwrap();
    assert!(trees(rig.events()).is_empty(), "nobody watches it yet");
    let marked = trees(rig.finish());
    assert!(covered(&marked, "small/sub/f"), "{marked:?}");
}

#[test]
fn a_path_moved_out_of_a_walk_is_marked_at_its_new_place() {
    let mut rig = Rig::new();
    fill(&rig.out("large"));
    let names: Vec<String> = (0..50).map(|n| format!("s{n}")).collect();
    for name in &names {
        fs::create_dir_all(rig.out("large").join(name).join("sub")).unwrap();
    }
    fs::create_dir(rig.at("to")).unwrap();
    rig.events();
    rig.finish();
    fs::rename(rig.out("large"), rig.at("large")).unwrap();
    rig.events();
    rig.portion();
    for name in &names {
        fs::rename(rig.at("large").join(name), rig.at("to").join(name)).unwrap();
    }
    rig.events();
    for name in &names {
        fs::write(rig.at("to").join(name).join("sub/f"), "").unwrap();
    }
    let mut marked = trees(rig.events());
    marked.extend(trees(rig.finish()));
    for name in &names {
        assert!(covered(&marked, &format!("to/{name}/sub/f")), "{name}: {marked:?}");
    }
}

#[test]
fn a_link_search_that_meets_new_directories_marks_everything() {
    let mut rig = Rig::new();
    fs::write(rig.at("one"), "").unwrap();
    fs::hard_link(rig.at("one"), rig.out("two")).unwrap();
    rig.events();
    fs::create_dir_all(rig.at("d/a/b")).unwrap();
    fs::write(rig.at("d/a/b/f"), "").unwrap();
    let root = rig.map.tree.root().unwrap();
    rig.walker.start_link_search(root, Vec::new());
    let mut marked = trees(rig.finish());
    marked.extend(trees(rig.events()));
    marked.extend(trees(rig.finish()));
    assert!(covered(&marked, "d/a/b/f"), "{marked:?}");
}

#[test]
fn a_directory_that_is_moved_again_is_still_rescanned() {
    let mut rig = Rig::new();
    for name in ["d", "other"] {
        fs::create_dir(rig.at(name)).unwrap();
    }
    rig.events();
    rig.finish();
    fs::rename(rig.at("d"), rig.at("e")).unwrap();
    let first = rig.queue.read().unwrap();
    // Another process makes it while the rename is reported.
    fs::create_dir(rig.at("e/new")).unwrap();
    fs::rename(rig.at("e"), rig.at("other/f")).unwrap();
    let mut second = rig.queue.read().unwrap();
    let new = second.remove(0);
    assert_eq!((new.what, new.name.to_str()), (What::Create, Some("new")));
    let at = first.iter().position(|n| n.what == What::MovedTo).unwrap();
    let notices = [&first[..at], &[new], &first[at..], &second].concat();
    rig.take(notices);
    rig.finish();
    assert!(rig.sees("other/f/new/file"));
}

#[test]
fn an_exchange_reports_the_arrival_before_the_departure() {
    let mut rig = Rig::excluding(&["excluded"]);
    for path in ["root/d", "root/a", "root/b", "root/c", "root/excluded", "out/d"] {
        fs::create_dir(rig.dir.path().join(path)).unwrap();
    }
    rig.events();
    rig.finish();
    files::exchange(&rig.out("d"), &rig.at("d")).unwrap();
    assert!(rig.sees("d/f"), "from outside");
    files::exchange(&rig.at("a"), &rig.at("b")).unwrap();
    fs::rename(rig.at("a"), rig.out("a")).unwrap();
    assert!(rig.sees("b/f"), "and the other one left");
    files::exchange(&rig.at("excluded"), &rig.at("c")).unwrap();
    assert!(rig.sees("c/f"), "with what is excluded");
}

#[test]
fn a_directory_moved_out_of_an_exclusion_is_watched() {
    let mut rig = Rig::excluding(&["/a/deep/cache", "/a/tmp"]);
    for path in ["a/deep/cache/in", "a/tmp", "c"] {
        fs::create_dir_all(rig.at(path)).unwrap();
    }
    rig.events();
    rig.finish();
    fs::rename(rig.at("a"), rig.at("b")).unwrap();
    assert!(rig.sees("b/deep/cache/in/f"), "it was below an excluded directory");
    assert!(rig.sees("b/tmp/f"), "it was excluded itself");
    // Nothing in it was excluded: it is not read again.
    fs::rename(rig.at("c"), rig.at("d")).unwrap();
    rig.events();
    assert!(rig.walker.is_idle());
}

#[test]
fn a_directory_moved_during_its_scan_is_scanned_completely() {
    let mut rig = Rig::new();
    fill(&rig.out("large"));
    let names: Vec<String> = (0..50).map(|n| format!("s{n}")).collect();
    for name in &names {
        fs::create_dir(rig.out("large").join(name)).unwrap();
    }
    fs::rename(rig.out("large"), rig.at("large")).unwrap();
    rig.events();
    rig.portion();
    fs::rename(rig.at("large"), rig.at("other")).unwrap();
    let notices = rig.queue.read().unwrap();
    // A turn may end between the halves of a move.
    let at = notices.iter().position(|n| n.what == What::MovedTo).unwrap();
    rig.take(notices[..at].to_vec());
    rig.portion();
    rig.take(notices[at..].to_vec());
    rig.finish();
    for name in &names {
        assert!(rig.sees(&format!("other/{name}/f")), "{name}");
    }
}

#[test]
fn an_exchanged_unwatchable_directory_is_not_forgotten() {
    let mut rig = Rig::new();
    let root = rig.map.tree.root().unwrap();
    rig.map.unwatched.extend([rel("a"), rel("b")]);
    let mut acts = Vec::new();
    for (cookie, what, name) in [
        (1, What::MovedFrom, "a"),
        (1, What::MovedTo, "b"),
        (2, What::MovedFrom, "b"),
        (2, What::MovedTo, "a"),
    ] {
        let notice = Notice { wd: root, what, is_dir: true, cookie, name: name.into() };
        acts.clear();
        rig.map.step(&notice, clock::boot(), &mut ChangeSet::default(), &mut acts);
        if what == What::MovedTo {
            // Refused again.
            rig.map.unwatched.insert(rel(name));
        }
    }
    let of_b = |act: &Act| matches!(act, Act::Enter { name, why: Why::Left, .. } if name == "b");
    assert!(rig.map.unwatched.contains(&rel("b")) || acts.iter().any(of_b), "{acts:?}");
}

#[test]
fn open_files_move_with_their_directory() {
    let mut rig = Rig::new();
    fs::create_dir(rig.at("d")).unwrap();
    rig.events();
    rig.finish();
    let _gone = fs::File::create(rig.at("d/old")).unwrap();
    rig.events();
    fs::rename(rig.at("d"), rig.out("d")).unwrap();
    fs::create_dir(rig.at("d")).unwrap();
    rig.events();
    rig.finish();
    let _open = fs::File::create(rig.at("d/new")).unwrap();
    rig.events();
    rig.expire();
    let mut changes = ChangeSet::default();
    rig.map.mark_open(&[], &mut changes);
    let open: Vec<RelPath> = changes.into_record(None).marks.into_iter().map(|m| m.path).collect();
    assert_eq!(open, [rel("d/new")]);
}

#[test]
fn a_scan_marks_changes_since_the_checkpoint() {
    let stat = |kind, ctime_ns| Stat {
        sparse: false,
        kind,
        size: 0,
        mtime_ns: ctime_ns,
        ctime_ns,
        nlink: 1,
        dev: 1,
        ino: 1,
    };
    let since = 100 * SLACK_NS;
    let (old, new) = (since - SLACK_NS - 1, since - SLACK_NS);
    assert_eq!(scope_to_mark(&stat(Kind::File, old), true, since), None);
    assert_eq!(scope_to_mark(&stat(Kind::File, new), false, since), Some(Scope::Entry));
    assert_eq!(scope_to_mark(&stat(Kind::Symlink, new), true, since), Some(Scope::Entry));
    assert_eq!(scope_to_mark(&stat(Kind::Dir, new), false, since), Some(Scope::Children));
    assert_eq!(scope_to_mark(&stat(Kind::Dir, new), true, since), Some(Scope::Tree));
    assert!(!needs_content(&stat(Kind::File, new)));
    let set = |kind| Stat { mtime_ns: new - 3_000_000_000, ..stat(kind, new) };
    assert!(needs_content(&set(Kind::File)) && !needs_content(&set(Kind::Dir)));
    assert_eq!(scope_to_mark(&stat(Kind::Dir, old), true, since), None);
}
