//! Files that are written through a descriptor whose own name is gone: neither the writing nor the close is an event.

use super::*;
use rustix::fs::{AtFlags, CWD, OFlags, linkat};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

/// A descriptor, and a name of its file that it was not opened by.
type Case = (File, &'static str);

fn nameless(root: &Path) -> Option<Case> {
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(OFlags::TMPFILE.bits() as i32);
    let Ok(mut file) = options.open(root) else {
        eprintln!("not tried: no files without a name here");
        return None;
    };
    file.write_all(b"before").unwrap();
    let from = format!("/proc/self/fd/{}", file.as_raw_fd());
    linkat(CWD, from, CWD, root.join("nameless"), AtFlags::SYMLINK_FOLLOW).unwrap();
    Some((file, "nameless"))
}

/// What happens to the name by which a file is open that has further ones.
fn cases(root: &Path, out: &Path) -> Vec<Case> {
    let at = |name: &str| root.join(name);
    let open = |name: &str| OpenOptions::new().append(true).open(at(name)).unwrap();
    let mut cases = Vec::from_iter(nameless(root));

    let removed = (open("removed"), "removed+");
    fs::remove_file(at("removed")).unwrap();

    let mut written = (open("written"), "written+");
    written.0.write_all(b"by its own name").unwrap();
    fs::remove_file(at("written")).unwrap();

    let replaced = (open("replaced"), "replaced+");
    fs::rename(at("other"), at("replaced")).unwrap();

    let moved_out = (open("moved out"), "moved out+");
    fs::rename(at("moved out"), out.join("moved out")).unwrap();

    let excluded = (open("excluded.tmp"), "excluded");
    fs::hard_link(at("excluded.tmp"), at("excluded")).unwrap();

    let fresh = (File::create(at("fresh")).unwrap(), "fresh+");
    fs::hard_link(at("fresh"), at("fresh+")).unwrap();
    fs::remove_file(at("fresh")).unwrap();

    let third = (open("one of three"), "one of three++");
    fs::remove_file(at("one of three")).unwrap();
    fs::remove_file(at("one of three+")).unwrap();

    let below_out = (open("going/f"), "going+");
    fs::rename(at("going"), out.join("going")).unwrap();

    let below = (open("moving/f"), "moving+");
    fs::rename(at("moving"), at("moved")).unwrap();
    fs::remove_file(at("moved/f")).unwrap();

    let there_and_back = (open("back"), "back+");
    fs::rename(at("back"), out.join("back")).unwrap();
    fs::rename(out.join("back"), at("back")).unwrap();
    fs::remove_file(at("back")).unwrap();

    cases.extend([removed, written, replaced, moved_out, excluded, fresh, third]);
    cases.extend([below_out, below, there_and_back]);
    cases
}

#[test]
fn a_file_whose_open_name_goes_is_marked_under_the_others() {
    let mut world = World::new();
    world.filter.exclude = vec![".*\\.tmp".into()];
    let (root, out) = (world.path("root"), world.path("out"));
    for dir in ["going", "moving"] {
        fs::create_dir(root.join(dir)).unwrap();
    }
    let links = [
        ("removed", "removed+"),
        ("written", "written+"),
        ("replaced", "replaced+"),
        ("moved out", "moved out+"),
        ("one of three", "one of three+"),
        ("one of three", "one of three++"),
        ("going/f", "going+"),
        ("moving/f", "moving+"),
        ("back", "back+"),
    ];
    for (name, further) in links {
        fs::write(root.join(name), "x").unwrap();
        fs::hard_link(root.join(name), root.join(further)).unwrap();
    }
    ["other", "excluded.tmp"].iter().for_each(|name| fs::write(root.join(name), "y").unwrap());
    let mut run = world.start();
    run.settle();
    let mut cases = cases(&root, &out);
    for starts in 0..2 {
        for (_, name) in &cases {
            until(name, || run.journal().open_paths().unwrap().contains(&rel(name)).then_some(()));
        }
        if starts == 0 {
            run.stop();
            world.queue = inotify::create().unwrap();
            run = world.start();
        }
    }
    let seq = run.last();
    cases.iter_mut().for_each(|(file, _)| file.write_all(b"the last").unwrap());
    let names: Vec<&str> = cases.iter().map(|(_, name)| *name).collect();
    assert!(names.iter().all(|name| !run.since(seq).contains_key(*name)), "they are open");
    drop(cases);
    for name in names {
        run.marked(seq, name);
    }
    until("nothing is open", || run.journal().open_paths().unwrap().is_empty().then_some(()));
    run.stop();
}

#[test]
fn a_file_that_is_closed_while_it_is_examined_is_marked() {
    const FILES: usize = 900;
    let world = World::new();
    let root = world.path("root");
    let (name, further) = (|n: usize| format!("{n}"), |n: usize| format!("{n}+"));
    for n in 0..FILES {
        fs::write(root.join(name(n)), "x").unwrap();
        fs::hard_link(root.join(name(n)), root.join(further(n))).unwrap();
    }
    let run = world.start();
    run.settle();
    let open = |n: usize| OpenOptions::new().append(true).open(root.join(name(n))).unwrap();
    let files: Vec<File> = (0..FILES).map(open).collect();
    (0..FILES).for_each(|n| fs::remove_file(root.join(name(n))).unwrap());
    let seq = run.last();
    // Before, during and after their first examination.
    for mut file in files.into_iter().rev() {
        file.write_all(b"more").unwrap();
        drop(file);
        std::thread::sleep(Duration::from_millis(5));
    }
    until("every mark", || {
        let marked = run.since(seq);
        (0..FILES).all(|n| marked.contains_key(&*further(n))).then_some(())
    });
    run.stop();
}

#[test]
fn writes_without_a_name_before_a_barrier_are_marked_before_its_answer() {
    let world = World::new();
    let root = world.path("root");
    fs::write(root.join("a"), "x").unwrap();
    fs::hard_link(root.join("a"), root.join("b")).unwrap();
    let mut run = world.start();
    run.settle();
    let seq = run.last();
    let mut file = OpenOptions::new().append(true).open(root.join("a")).unwrap();
    fs::remove_file(root.join("a")).unwrap();
    file.write_all(b"more").unwrap();
    run.side.send(&ToWatcher::Barrier { ticket: 7, below: vec![] }, vec![]).unwrap();
    run.hears("the answer", |m| matches!(m, FromWatcher::Reached { ticket: 7, .. }));
    assert!(run.since(seq).contains_key("b"), "{:?}", run.since(seq));
    run.stop();
}

#[test]
fn further_names_of_unwritten_files_mark_nothing_more() {
    let world = World::new();
    let root = world.path("root");
    for name in ["a", "b", "c"] {
        fs::write(root.join(name), "x").unwrap();
        fs::hard_link(root.join(name), root.join(format!("{name}+"))).unwrap();
    }
    let run = world.start();
    run.settle();
    let seq = run.last();
    fs::remove_file(root.join("a")).unwrap();
    fs::rename(root.join("b"), root.join("d")).unwrap();
    fs::rename(root.join("c"), world.path("out/c")).unwrap();
    // A file made after them is looked at after them.
    let mode = nix::sys::stat::Mode::S_IRWXU;
    let kind = nix::sys::stat::SFlag::S_IFREG;
    nix::sys::stat::mknod(&root.join("node"), kind, mode, 0).unwrap();
    until("a look", || {
        let marks = run.since(seq);
        marks.get("node").filter(|_| run.journal().open_paths().unwrap().is_empty()).map(drop)
    });
    let marks = run.since(seq);
    let names: Vec<&str> =
        marks.keys().map(String::as_str).filter(|n| !n.starts_with("s")).collect();
    assert_eq!(names, ["a", "b", "c", "d", "node"]);
    run.stop();
}
