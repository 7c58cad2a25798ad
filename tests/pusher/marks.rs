//! Marks become pushes.

use crate::bench::{Bench, WRITTEN, localpath};
use crate::rig::{Rig, make, receivers};
use std::fs;
use std::path::Path;
use syncsup::journal::{Events, Scope};

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
fn large_files_go_apart_and_directories_swapped_at_a_name_are_found() {
    let rig = Rig::new(Path::new("rsync"));
    make(&rig.src(), ["cur/a", "cur/sub/b", "x"], "one");
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.identical(&rig);
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
fn the_same_size_and_time_with_other_content_is_sent() {
    let rig = Rig::new(Path::new("rsync"));
    make(&rig.src(), ["a"], "one");
    crate::rig::set_mtime(&rig.src().join("a"), 1_000_000);
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.identical(&rig);
    make(&rig.src(), ["a"], "two");
    crate::rig::set_mtime(&rig.src().join("a"), 1_000_000);
    bench.mark(&[("a", Scope::Entry, WRITTEN | Events::ATTRIB)]);
    bench.until("the content", |_| fs::read(rig.dst().join("a")).unwrap() == b"two");
    bench.identical(&rig);
    bench.stop();
}

/// A first copy may take hours: a directory swapped meanwhile is compared beside it.
#[test]
fn live_directories_are_compared_beside_a_first_copy() {
    let rig = Rig::new(Path::new("rsync"));
    let many: Vec<String> = (0..25_000).map(|n| format!("z{}/f{n}", n / 1_000)).collect();
    make(&rig.src(), &many, "one");
    make(&rig.dst(), ["d/old"], "old");
    make(&rig.src(), ["d/new"], "new");
    let mut remote = rig.remote.clone();
    // 10,000 names at a time, of which each is more than 60 bytes on the way.
    remote.params = vec!["-a".into(), "--bwlimit=800".into()];
    let mut bench = Bench::with(&rig, localpath(&rig), remote, None);
    let copied = || (0..25).filter(|n| rig.dst().join(format!("z{n}")).exists()).count();
    bench.until("a copy under way", |_| copied() > 0);
    make(&rig.src(), ["e/new"], "new");
    fs::rename(rig.src().join("d"), rig.src().join("f")).unwrap();
    fs::rename(rig.src().join("e"), rig.src().join("d")).unwrap();
    let moved = Events::MOVE | Events::DIR;
    bench.mark(&[("d", Scope::Tree, moved | Events::DELETE), ("f", Scope::Tree, moved)]);
    let (d, f) = (rig.dst().join("d"), rig.dst().join("f"));
    bench.until("both compared", |_| {
        d.join("new").exists() && f.join("new").exists() && !d.join("old").exists()
    });
    assert!(copied() < 25, "only after the first copy");
    bench.identical(&rig);
    bench.stop();
}
