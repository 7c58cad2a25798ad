//! Marks become pushes.

use super::bench::{Bench, WRITTEN, localpath, synced};
use crate::rsync::rig::{Rig, make, receivers};
use std::fs;
use std::path::Path;
use syncsup::journal::{Events, Scope};
use syncsup::message::PusherState;

#[test]
fn a_new_remote_is_filled_and_then_follows_marks() {
    for program in receivers() {
        let rig = Rig::new(&program);
        make(&rig.src(), ["a", "d/b", "d/e/c", "#x", "-y", "new\nline", "d/q*[z]\\"], "one");
        make(&rig.dst(), ["stale", "d/old/x"], "old");
        let mut bench = Bench::start(&rig, localpath(&rig), None);
        bench.identical(&rig);
        make(&rig.src(), ["a", "d/b", "f/g"], "two");
        fs::remove_file(rig.src().join("d/e/c")).unwrap();
        fs::remove_dir(rig.src().join("d/e")).unwrap();
        bench.mark(&[
            ("a", Scope::Entry, WRITTEN),
            ("d/b", Scope::Entry, WRITTEN),
            ("f", Scope::Children, Events::CREATE | Events::DIR),
            ("f/g", Scope::Entry, WRITTEN),
            ("d/e/c", Scope::Entry, Events::DELETE),
            ("d/e", Scope::Entry, Events::DELETE | Events::DIR),
        ]);
        bench.identical(&rig);
        assert!(bench.status.pushed_files >= 4);
        bench.stop();
    }
}

#[test]
fn large_files_are_pushed_separately_and_swapped_directories_are_found() {
    let (rig, mut bench) = synced(["cur/a", "cur/sub/b", "x"]);
    make(&rig.src(), ["new/c"], "two");
    fs::write(rig.src().join("x"), vec![7; 3 << 20]).unwrap();
    fs::rename(rig.src().join("cur"), rig.src().join("old")).unwrap();
    fs::rename(rig.src().join("new"), rig.src().join("cur")).unwrap();
    let moved = Events::MOVE | Events::DIR;
    bench.mark(&[
        ("old", Scope::Tree, moved),
        ("cur", Scope::Tree, moved),
        ("x", Scope::Entry, WRITTEN),
    ]);
    bench.identical(&rig);
    bench.stop();
}

#[test]
fn other_content_with_the_same_size_and_time_is_sent() {
    let rig = Rig::new(Path::new("rsync"));
    make(&rig.src(), ["a"], "one");
    crate::rsync::rig::set_mtime(&rig.src().join("a"), 1_000_000);
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.identical(&rig);
    make(&rig.src(), ["a"], "two");
    crate::rsync::rig::set_mtime(&rig.src().join("a"), 1_000_000);
    bench.mark(&[("a", Scope::Entry, WRITTEN | Events::ATTRIB)]);
    bench.until("the content", |_| fs::read(rig.dst().join("a")).unwrap() == b"two");
    bench.identical(&rig);
    bench.stop();
}

/// 25,000 names on their way, slowly: more than 60 bytes each.
pub fn slow_first_copy(rig: &Rig, content: &str) -> Bench {
    first_copy_at(rig, content, 400)
}

/// A first copy under way that sends at most `kib_per_s`.
pub fn first_copy_at(rig: &Rig, content: &str, kib_per_s: u32) -> Bench {
    let many: Vec<String> = (0..25_000).map(|n| format!("z{}/f{n}", n / 1_000)).collect();
    make(&rig.src(), &many, content);
    let mut remote = rig.remote.clone();
    remote.peer.params = vec!["-a".into(), format!("--bwlimit={kib_per_s}").as_str().into()];
    let mut bench = Bench::with(rig, localpath(rig), remote, None);
    bench.until("a copy under way", |_| copied(rig) > 0);
    bench
}

/// The number of directories of which the last file was copied.
pub fn copied(rig: &Rig) -> usize {
    let last = |n: u32| rig.dst().join(format!("z{n}/f{}", n * 1_000 + 999));
    (0..25).filter(|n| last(*n).exists()).count()
}

/// A first copy may take hours: new marks wait only for the portions that hold their paths.
#[test]
fn marks_are_pushed_beside_a_first_copy() {
    let rig = Rig::new(Path::new("rsync"));
    let mut bench = slow_first_copy(&rig, &"one".repeat(100));
    make(&rig.src(), ["new/a"], "new");
    bench.mark(&[
        ("new", Scope::Children, Events::CREATE | Events::DIR),
        ("new/a", Scope::Entry, WRITTEN),
    ]);
    bench.until("the new one", |_| rig.dst().join("new/a").exists());
    assert!(copied(&rig) < 25, "only after the first copy");
    let changed: Vec<String> = (0..250).map(|n| format!("z{}/f{}", n / 10, n * 100)).collect();
    make(&rig.src(), &changed, "second");
    let gone: Vec<String> = (0..25).map(|n| format!("z{n}/f{}", n * 1_000 + 5)).collect();
    gone.iter().for_each(|name| fs::remove_file(rig.src().join(name)).unwrap());
    let changed = changed.iter().map(|name| (name.as_str(), Scope::Entry, WRITTEN));
    let gone = gone.iter().map(|name| (name.as_str(), Scope::Entry, Events::DELETE));
    bench.mark(&changed.chain(gone).collect::<Vec<_>>());
    bench.identical(&rig);
    bench.stop();
}

#[test]
fn a_first_copy_completes_over_a_single_connection() {
    let rig = Rig::with(Path::new("rsync"), "max connections = 1\n");
    let many: Vec<String> = (0..25_000).map(|n| format!("z{}/f{n}", n / 1_000)).collect();
    make(&rig.src(), &many, "one");
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.until("a copy without trouble", |status| {
        assert!(status.state != PusherState::Backoff, "{status:?}");
        copied(&rig) == 25 && status.state == PusherState::InSync
    });
    bench.identical(&rig);
    bench.stop();
}
