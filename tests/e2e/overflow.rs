//! The kernel's queue overflows: a scan finds what was lost, no full comparison, no restart.

use crate::common::world::{Setup, populate};
use nix::sys::signal::Signal;
use std::fs;

#[test]
fn after_an_overflow_a_scan_from_the_checkpoint_finds_everything() {
    let mut w = Setup { remotes: 2, log_rsyncs: true, ..Setup::default() }.build();
    populate(&w.master, 40, 20);
    w.run(&[]);
    w.wait_identical();
    w.wait_in_sync();
    let (watcher, compared) = (w.instance.watcher(), w.full_comparisons().len());

    // It is to be stopped for longer than a supervisor lets its children be silent.
    let supervisor = w.instance.supervisor();
    supervisor.signal(Signal::SIGSTOP);
    watcher.signal(Signal::SIGSTOP);
    w.overflow(["dir000/file000", "dir000/file001"]);
    // Then come the changes that no event tells of.
    for i in 0..100 {
        w.write(&format!("dir{:03}/new{i}", i % 30), format!("{i}"));
        w.write(&format!("fresh/{}/{i}", i % 5), "x");
    }
    w.write("dir030/file000", "rewritten");
    fs::remove_file(w.at("dir031/file001")).unwrap();
    fs::remove_dir_all(w.at("dir032")).unwrap();
    fs::rename(w.at("dir033"), w.at("renamed")).unwrap();
    fs::rename(w.at("dir034"), w.at("dir035/into")).unwrap();
    fs::rename(w.at("dir036/file003"), w.at("dir037/file004")).unwrap();
    fs::create_dir(w.at("dir034")).unwrap();
    watcher.signal(Signal::SIGCONT);
    supervisor.signal(Signal::SIGCONT);

    w.wait_identical();
    // The map of watches is right again, for moved and for new directories.
    w.write("renamed/file000", "after");
    w.write("dir035/into/file000", "after");
    w.write("dir034/again", "after");
    w.write("fresh/3/after", "after");
    w.wait_identical();
    assert!(watcher.runs(), "the watcher was restarted\n{}", w.instance.report());
    let more = w.full_comparisons().split_off(compared);
    assert!(more.is_empty(), "compared in full: {more:?}");
}
