//! Changes while it watches.

use super::*;
use rustix::fs::{XattrFlags, setxattr};
use std::fs::{FileTimes, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};

#[test]
fn a_file_is_marked_and_the_pusher_is_woken() {
    let world = World::new();
    let run = world.start();
    let seq = run.last();
    fs::write(run.root.join("a"), "x").unwrap();
    let mark = run.marked(seq, "a");
    assert_eq!(mark.scope, Scope::Entry);
    assert!(mark.events.contains(Events::WRITE));
    until("a wake", || (rustix::io::read(&run.wake, &mut [0; 8]).is_ok()).then_some(()));
    run.settle();
    let seq = run.last();
    fs::set_permissions(run.root.join("a"), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(run.marked(seq, "a").events.contains(Events::ATTRIB));
    let seq = run.last();
    symlink("nowhere", run.root.join("link")).unwrap();
    run.marked(seq, "link");
    nix::unistd::mkfifo(&run.root.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    run.marked(seq, "fifo");
    fs::remove_file(run.root.join("link")).unwrap();
    until("deletion", || {
        run.since(seq).get("link").filter(|m| m.events.contains(Events::DELETE)).map(drop)
    });
    run.stop();
}

#[test]
fn nothing_is_missed_in_nested_directories_made_together() {
    let world = World::new();
    let run = world.start();
    let seq = run.last();
    let mut all = Vec::new();
    for top in 0..60 {
        let mut dir = PathBuf::from(format!("t{top}"));
        for deep in 0..6 {
            dir = dir.join(format!("d{deep}"));
            fs::create_dir_all(run.root.join(&dir)).unwrap();
            fs::write(run.root.join(&dir).join("f"), "x").unwrap();
            all.push(rel(dir.join("f").to_str().unwrap()));
        }
    }
    run.settle();
    let marks = run.since(seq);
    let missed: Vec<_> = all.iter().filter(|p| !marks.contains_key(&p.to_string())).collect();
    assert!(missed.is_empty(), "{missed:?}");
    // And every directory is watched now.
    let seq = run.last();
    for path in &all {
        fs::write(run.root.join(path.as_path()), "y").unwrap();
    }
    run.settle();
    let marks = run.since(seq);
    let missed: Vec<_> = all.iter().filter(|p| !marks.contains_key(&p.to_string())).collect();
    assert!(missed.is_empty(), "{missed:?}");
    run.stop();
}

#[test]
fn renames_in_out_and_inside_are_marked() {
    let world = World::new();
    let (root, out) = (world.path("root"), world.path("out"));
    fs::create_dir_all(root.join("d/sub")).unwrap();
    fs::create_dir_all(out.join("n/sub")).unwrap();
    fs::write(out.join("n/sub/f"), "x").unwrap();
    let run = world.start();
    let seq = run.last();
    fs::rename(root.join("d"), root.join("e")).unwrap();
    assert_eq!(run.marked(seq, "e").scope, Scope::Tree);
    assert_eq!(run.marked(seq, "d").scope, Scope::Tree);
    fs::write(root.join("e/sub/f"), "x").unwrap();
    run.marked(seq, "e/sub/f");
    fs::rename(out.join("n"), root.join("n")).unwrap();
    assert_eq!(run.marked(seq, "n").scope, Scope::Tree);
    fs::write(root.join("n/sub/g"), "x").unwrap();
    run.marked(seq, "n/sub/g");
    fs::rename(root.join("n"), out.join("m")).unwrap();
    std::thread::sleep(event::PAIR_WITHIN * 2);
    run.settle();
    let seq = run.last();
    fs::write(out.join("m/sub/h"), "x").unwrap();
    run.settle();
    assert!(run.since(seq).keys().all(|p| !p.contains("h")), "what has left is not watched");
    run.stop();
}

fn stale_moves(root: &Path, rounds: std::ops::Range<u32>) {
    for round in rounds {
        let name = |n: &str| root.join(format!("{n}{round}"));
        fs::create_dir(name("d")).unwrap();
        fs::rename(name("d"), name("e")).unwrap();
        fs::create_dir(name("d")).unwrap();
        fs::create_dir(name("d").join("s")).unwrap();
        fs::rename(name("e"), name("f")).unwrap();
        fs::rename(name("d"), name("e")).unwrap();
        fs::create_dir(name("g")).unwrap();
        fs::rename(name("g"), name("h")).unwrap();
        fs::create_dir(name("g")).unwrap();
    }
}

#[test]
fn stale_moves_are_detected() {
    let world = World::new();
    let root = world.path("root");
    let run = world.start();
    run.settle();
    run.behind(|| stale_moves(&root, 0..20));
    stale_moves(&root, 20..40);
    run.settle();
    let seq = run.last();
    for round in 0..40 {
        for dir in ["e", "f", "g", "h"].map(|n| format!("{n}{round}")) {
            fs::write(root.join(&dir).join("x"), "").unwrap();
        }
    }
    run.settle();
    let marks = run.since(seq);
    for round in 0..40 {
        for dir in ["e", "f", "g", "h"] {
            let path = format!("{dir}{round}/x");
            assert!(marks.contains_key(&path), "{path}");
        }
    }
    run.stop();
}

#[test]
fn changes_without_a_close_are_marked() {
    use std::io::Write;
    let world = World::new();
    let root = world.path("root");
    for name in ["cut", "dated", "held"] {
        fs::write(root.join(name), "content").unwrap();
    }
    let run = world.start();
    run.settle();
    let seq = run.last();
    let mut held = fs::OpenOptions::new().append(true).open(root.join("held")).unwrap();
    held.write_all(b"more").unwrap();
    nix::unistd::truncate(&root.join("cut"), 3).unwrap();
    let now = std::time::SystemTime::now();
    let second = Duration::from_secs(1);
    fs::File::open(root.join("dated")).unwrap().set_modified(now - second).unwrap();
    run.marked(seq, "cut");
    run.marked(seq, "dated");
    // The file that a process has open for writing waits for its close. A process that another test forks may have had
    // the others open for a moment, and their closes are marks, too.
    until("held alone is open", || {
        (run.journal().open_paths().unwrap() == [rel("held")]).then_some(())
    });
    assert!(!run.since(seq).contains_key("held"));
    drop(held);
    run.marked(seq, "held");
    run.stop();
}

#[test]
fn a_file_created_and_left_alone_is_marked() {
    let world = World::new();
    let run = world.start();
    let seq = run.last();
    let mode = nix::sys::stat::Mode::S_IRWXU;
    let kind = nix::sys::stat::SFlag::S_IFREG;
    nix::sys::stat::mknod(&run.root.join("node"), kind, mode, 0).unwrap();
    run.marked(seq, "node");
    run.stop();
}

#[test]
fn a_directory_with_only_a_set_modification_time_is_marked() {
    let world = World::new();
    fs::create_dir(world.path("root/d")).unwrap();
    let running = world.start();
    let seq = running.last();
    let times = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
    fs::File::open(world.path("root/d")).unwrap().set_times(times).unwrap();
    assert!(running.marked(seq, "d").events.contains(Events::ATTRIB | Events::DIR));
    running.stop();
}

#[test]
fn attributes_of_the_topmost_watched_directory_are_marked() {
    let world = World::new();
    fs::create_dir(world.path("root/m")).unwrap();
    fs::create_dir_all(world.path("out/bound")).unwrap();
    fs::create_dir(world.path("root/bind")).unwrap();
    let tmpfs = Mounted::on(&world.path("root/m"), "size=1m");
    let (outside, bind) = (world.path("out/bound"), world.path("root/bind"));
    let bound = tmpfs.as_ref().and_then(|_| Mounted::bind(&outside, &bind));
    let run = world.start();
    let path = |name: &str| if name.is_empty() { run.root.clone() } else { run.root.join(name) };
    let times = |name: &str, times: FileTimes| fs::File::open(path(name))?.set_times(times);
    let old = std::time::UNIX_EPOCH;
    type Change<'a> = (&'a str, &'a dyn Fn(&str) -> std::io::Result<()>);
    let changes: [Change<'_>; 5] = [
        ("mode", &|name| fs::set_permissions(path(name), Permissions::from_mode(0o751))),
        ("modification time", &|name| times(name, FileTimes::new().set_modified(old))),
        ("both times", &|name| times(name, FileTimes::new().set_modified(old).set_accessed(old))),
        ("attribute", &|name| Ok(setxattr(path(name), "user.syncsup", b"x", XattrFlags::empty())?)),
        ("group", &|name| chown(path(name), None, Some(12_345))),
    ];
    let names: &[&str] = if bound.is_some() { &["", "m", "bind"] } else { &[""] };
    for (name, (what, change)) in names.iter().flat_map(|n| changes.iter().map(move |c| (n, c))) {
        run.settle();
        let seq = run.last();
        if let Err(error) = change(name) {
            eprintln!("not tried: {what} of {name:?}: {error}");
            continue;
        }
        let mark = until(what, || run.since(seq).into_values().find(|m| m.path == rel(name)));
        assert!(mark.events.contains(Events::ATTRIB | Events::DIR) && mark.scope == Scope::Entry);
    }
    drop((tmpfs, bound));
    run.stop();
}

#[test]
fn root_attributes_mark_nothing_when_attrib_is_off() {
    let world = World { toggles: Toggles { attrib: false, ..Toggles::MODERN }, ..World::new() };
    let run = world.start();
    let seq = run.last();
    fs::set_permissions(&run.root, Permissions::from_mode(0o751)).unwrap();
    run.settle();
    assert!(run.since(seq).keys().all(|path| path.starts_with("settle")), "{:?}", run.since(seq));
    run.stop();
}

#[test]
fn a_change_to_one_name_marks_every_name() {
    let world = World::new();
    let root = world.path("root");
    fs::create_dir(root.join("d")).unwrap();
    fs::write(root.join("old"), "x").unwrap();
    fs::hard_link(root.join("old"), root.join("d/old2")).unwrap();
    fs::write(root.join("single"), "x").unwrap();
    let run = world.start();
    let seq = run.last();
    fs::write(root.join("old"), "y").unwrap();
    run.marked(seq, "d/old2");
    // A name that was single when it was seen: it must be searched for.
    let seq = run.last();
    fs::hard_link(root.join("single"), root.join("d/second")).unwrap();
    fs::write(root.join("d/second"), "z").unwrap();
    run.marked(seq, "d/second");
    run.marked(seq, "single");
    run.settle();
    let seq = run.last();
    fs::write(root.join("d/second"), "zz").unwrap();
    run.marked(seq, "single");
    // The mode of a fifo is that of all its names.
    let seq = run.last();
    nix::unistd::mkfifo(&root.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::hard_link(root.join("fifo"), root.join("d/fifo2")).unwrap();
    run.marked(seq, "d/fifo2");
    run.settle();
    let seq = run.last();
    fs::set_permissions(root.join("d/fifo2"), fs::Permissions::from_mode(0o600)).unwrap();
    run.marked(seq, "fifo");
    run.stop();
}

#[test]
fn writes_through_an_unwatched_name_mark_all_names() {
    let world = World::new();
    let root = world.path("root");
    fs::write(root.join("one"), "x").unwrap();
    fs::hard_link(root.join("one"), root.join("two")).unwrap();
    let run = world.start();
    run.settle();
    let seq = run.last();
    run.behind(|| {
        fs::create_dir(root.join("new")).unwrap();
        fs::hard_link(root.join("one"), root.join("new/three")).unwrap();
        fs::write(root.join("new/three"), "written").unwrap();
    });
    for name in ["new/three", "one", "two"] {
        run.marked(seq, name);
    }
    run.stop();
}

#[test]
fn a_link_in_a_directory_that_is_moved_again_is_known() {
    let world = World::new();
    let root = world.path("root");
    fs::create_dir(root.join("d")).unwrap();
    fs::write(root.join("one"), "x").unwrap();
    let run = world.start();
    run.settle();
    run.behind(|| {
        fs::hard_link(root.join("one"), root.join("d/two")).unwrap();
        fs::rename(root.join("d"), root.join("e")).unwrap();
    });
    run.settle();
    let seq = run.last();
    fs::write(root.join("e/two"), "written").unwrap();
    run.marked(seq, "one");
    run.stop();
}

#[test]
fn excluded_directories_are_not_watched() {
    let mut world = World::new();
    world.filter.exclude = vec!["cache".into(), "(.*)\\.tmp".into()];
    let root = world.path("root");
    fs::create_dir_all(root.join("cache/in")).unwrap();
    let run = world.start();
    let seq = run.last();
    fs::write(root.join("cache/in/f"), "x").unwrap();
    fs::write(root.join("a.tmp"), "x").unwrap();
    fs::rename(root.join("a.tmp"), root.join("a")).unwrap();
    run.marked(seq, "a");
    run.settle();
    let names: Vec<_> = run.since(seq).into_keys().filter(|k| !k.starts_with("settle")).collect();
    assert_eq!(names, ["a"]);
    run.stop();
}
