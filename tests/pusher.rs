//! A real pusher between a journal that the test writes and a real rsync daemon.

#[path = "rsync_forms/rig.rs"]
mod rig;

use rig::{Rig, make, p, receivers, tree};
use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use syncsup::config::model::{Alarms, FilterRules, LocalPath, Place, Remote, Toggles};
use syncsup::journal::{Checkpoint, Events, Journal, Mark, Record, Scope};
use syncsup::message::{FromPusher, PusherStart, PusherState, PusherStatus, ToPusher};
use syncsup::pusher;
use syncsup::sys::channel::{self, Channel, Received};
use syncsup::sys::{clock, files, poll, wake};

const DEADLINE: Duration = Duration::from_secs(30);

/// The supervisor's and the watcher's side of one pusher.
struct Bench {
    control: Channel<ToPusher, FromPusher>,
    wake: OwnedFd,
    journal: Journal,
    status: PusherStatus,
    thread: Option<std::thread::JoinHandle<i32>>,
    state: PathBuf,
}

fn localpath(rig: &Rig) -> LocalPath {
    LocalPath {
        watch: rig.src().as_path().into(),
        place: Place::default(),
        filter: FilterRules::default(),
        inotify: Toggles::MODERN,
        remotes: vec![],
        fail_log: None,
        crontab: None,
        delay_ms: 1,
        large_file_bytes: 1 << 20,
        first_copy: true,
        plugins: vec![],
        alarms: Alarms::default(),
    }
}

impl Bench {
    fn start(rig: &Rig, localpath: LocalPath, reconcile: Option<&str>) -> Self {
        Self::with(rig, localpath, rig.remote.clone(), reconcile)
    }

    fn with(rig: &Rig, localpath: LocalPath, remote: Remote, reconcile: Option<&str>) -> Self {
        let state = rig.base().join("state");
        fs::create_dir_all(&state).unwrap();
        let mut journal = Journal::open(&state).unwrap();
        let root = files::stat(&rig.src()).unwrap();
        let checkpoint = Checkpoint {
            at_ns: clock::wall_ns(),
            boot_id: files::boot_id().unwrap(),
            clock_offset_ns: 0,
            root_dev: root.dev,
            root_ino: root.ino,
            fs_id: files::Root::open(&rig.src()).unwrap().file_system().unwrap().id,
            clean: false,
        };
        journal.record(&Record { checkpoint: Some(checkpoint), ..Record::default() }, 0).unwrap();
        let (ours, theirs) = channel::pair().unwrap();
        let thread = std::thread::spawn(move || pusher::run(theirs));
        let mut control: Channel<ToPusher, FromPusher> = Channel::new(ours);
        let (reader, writer) = wake::pipe().unwrap();
        let start = PusherStart {
            localpath,
            remote,
            state_dir: state.clone(),
            run_dir: state.clone(),
            instance: "test".into(),
            settings: "1".into(),
            reconcile: reconcile.map(str::to_owned),
            debug: std::env::var_os("SYNCSUP_DEBUG").is_some(),
        };
        control.send(&ToPusher::Start(Box::new(start)), vec![reader]).unwrap();
        // The watcher has judged the root.
        control.send(&ToPusher::Hold(None), vec![]).unwrap();
        let status = PusherStatus { state: PusherState::Down, ..PusherStatus::default() };
        Self { control, wake: writer, journal, status, thread: Some(thread), state }
    }

    fn mark(&mut self, marks: &[(&str, Scope, Events)]) {
        let marks =
            marks.iter().map(|(path, scope, events)| Mark::new(p(path), *scope, *events)).collect();
        self.journal.record(&Record { marks, ..Record::default() }, clock::wall_ms()).unwrap();
        wake::wake(&self.wake);
    }

    /// Serves the pusher until `done`.
    fn until(&mut self, what: &str, mut done: impl FnMut(&PusherStatus) -> bool) {
        let end = Instant::now() + DEADLINE;
        loop {
            match self.control.receive().unwrap() {
                Received::Message(FromPusher::WantSlot, _) => {
                    self.control.send(&ToPusher::Slot, vec![]).unwrap()
                }
                Received::Message(FromPusher::Status(status), _) => self.status = *status,
                Received::Message(..) => {}
                Received::Closed => panic!("the pusher ended; wanted: {what}"),
                Received::Nothing => {
                    if done(&self.status) {
                        return;
                    }
                    assert!(Instant::now() < end, "{what}; last: {:#?}", self.status);
                    let fds = [(self.control.as_fd(), poll::Interest::Read)];
                    poll::wait(&fds, Some(Duration::from_millis(20))).unwrap();
                }
            }
        }
    }

    fn identical(&mut self, rig: &Rig) {
        let (src, dst) = (rig.src(), rig.dst());
        self.until("identical", |_| below(&src) == below(&dst));
        self.until("in sync", |status| status.state == PusherState::InSync);
    }

    fn stop(mut self) {
        self.control.send(&ToPusher::Stop { grace_ms: 10_000 }, vec![]).unwrap();
        let end = Instant::now() + DEADLINE;
        while !matches!(self.control.receive().unwrap(), Received::Closed) {
            assert!(Instant::now() < end, "it does not stop");
            let fds = [(self.control.as_fd(), poll::Interest::Read)];
            poll::wait(&fds, Some(Duration::from_millis(20))).unwrap();
        }
        assert_eq!(self.thread.take().unwrap().join().unwrap(), 0);
    }
}

/// Without the root itself.
fn below(base: &Path) -> BTreeMap<Vec<u8>, (u32, i64, i64, Vec<u8>)> {
    let mut all = tree(base);
    all.remove(&b""[..]);
    all
}

const WRITTEN: Events = Events(Events::WRITE.0 | Events::CREATE.0);

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
fn what_is_excluded_is_neither_sent_nor_deleted() {
    for program in receivers() {
        let rig = Rig::new(&program);
        make(&rig.src(), ["d/a", "d/b.tmp", "e/x"], "one");
        make(&rig.dst(), ["d/keep.tmp", "e/sub/keep.tmp", "e/sub/gone", "cache/x"], "theirs");
        let mut path = localpath(&rig);
        path.filter.exclude_glob = vec!["*.tmp".into(), "/cache/".into()];
        let mut bench = Bench::start(&rig, path, None);
        let there = |name: &str| rig.dst().join(name).exists();
        bench.until("the first copy", |s| {
            there("d/a") && there("e/x") && !there("e/sub/gone") && s.state == PusherState::InSync
        });
        fs::remove_dir_all(rig.src().join("e")).unwrap();
        bench.mark(&[
            ("e/x", Scope::Entry, Events::DELETE),
            ("e", Scope::Entry, Events::DELETE | Events::DIR),
        ]);
        bench.until("e is emptied", |s| !there("e/x") && s.state == PusherState::InSync);
        for kept in ["d/keep.tmp", "e/sub/keep.tmp", "cache/x"] {
            assert!(there(kept), "{kept} is excluded");
        }
        assert!(!there("d/b.tmp"));
        bench.stop();
    }
}

#[test]
fn nothing_is_ever_deleted_when_delete_is_off() {
    let rig = Rig::new(Path::new("rsync"));
    make(&rig.src(), ["a", "d/b"], "one");
    make(&rig.dst(), ["stale"], "old");
    let mut path = localpath(&rig);
    path.inotify.delete = false;
    let mut bench = Bench::start(&rig, path, None);
    bench.until("the first copy", |s| {
        rig.dst().join("d/b").exists() && s.state == PusherState::InSync
    });
    fs::remove_dir_all(rig.src().join("d")).unwrap();
    make(&rig.src(), ["z"], "one");
    bench.mark(&[("d", Scope::Tree, Events::MOVE | Events::DIR), ("z", Scope::Entry, WRITTEN)]);
    bench.until("z", |s| rig.dst().join("z").exists() && s.state == PusherState::InSync);
    assert!(rig.dst().join("stale").exists() && rig.dst().join("d/b").exists());
    bench.stop();
}

#[test]
fn a_reconcile_that_would_delete_most_is_held_until_it_is_released() {
    let rig = Rig::new(Path::new("rsync"));
    make(&rig.src(), ["a"], "one");
    let names: Vec<String> = (0..150).map(|n| format!("d/{n}")).collect();
    make(&rig.dst(), &names, "old");
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.until("held", |s| s.state == PusherState::Held);
    assert!(
        bench.status.reason.as_ref().unwrap().contains("would delete 151"),
        "{:?}",
        bench.status
    );
    assert!(rig.dst().join("d/149").exists());
    bench.control.send(&ToPusher::Release, vec![]).unwrap();
    bench.identical(&rig);
    bench.stop();
}

#[test]
fn a_remote_that_is_down_is_caught_up_with_and_nothing_is_lost() {
    let mut rig = Rig::new(Path::new("rsync"));
    make(&rig.src(), ["a"], "one");
    rig.daemon.stop();
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.mark(&[("a", Scope::Entry, WRITTEN)]);
    bench.until("trouble", |s| s.state == PusherState::Backoff);
    assert!(bench.status.reason.is_some());
    let etc = rig.base().join("etc");
    rig.daemon.start_again(Path::new("rsync"), &etc);
    bench.identical(&rig);
    bench.stop();
}

#[test]
fn a_remote_that_is_down_while_too_many_names_come_and_go_is_compared() {
    let mut rig = Rig::new(Path::new("rsync"));
    make(&rig.src(), ["stays", "goes"], "one");
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.identical(&rig);
    rig.daemon.stop();
    fs::remove_file(rig.src().join("goes")).unwrap();
    make(&rig.src(), ["comes"], "two");
    bench.mark(&[("goes", Scope::Entry, Events::DELETE), ("comes", Scope::Entry, WRITTEN)]);
    // Names of temporary files that are gone again.
    let marks = (0..200_001).map(|n| Mark::entry(p(format!("tmp{n}")), Events::DELETE)).collect();
    bench.journal.record(&Record { marks, ..Record::default() }, clock::wall_ms()).unwrap();
    wake::wake(&bench.wake);
    let name = rig.remote.name();
    let counter = bench.journal.last_seq().unwrap();
    let journal = Journal::open_read_only(&bench.state).unwrap();
    bench.until("fewer names", |s| s.waiting == 0 && s.state == PusherState::Backoff);
    assert_eq!(journal.backlog(&name).unwrap().waiting, 0);
    assert!(journal.marks_after(counter, 1).unwrap().is_empty());
    let row = bench.journal.remote(&name, None).unwrap();
    assert_eq!(row.cursor, counter);
    assert!(row.reconcile.unwrap().contains("more than 200000 names"));
    let etc = rig.base().join("etc");
    rig.daemon.start_again(Path::new("rsync"), &etc);
    bench.identical(&rig);
    assert_eq!(bench.journal.remote(&name, None).unwrap().reconcile, None);
    bench.stop();
}

#[test]
fn a_root_that_was_replaced_deletes_nothing() {
    let rig = Rig::new(Path::new("rsync"));
    make(&rig.src(), ["a", "d/b"], "one");
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.identical(&rig);
    let aside = rig.base().join("aside");
    fs::rename(rig.src(), &aside).unwrap();
    fs::create_dir(rig.src()).unwrap();
    bench.mark(&[
        ("a", Scope::Entry, Events::DELETE),
        ("d", Scope::Tree, Events::DELETE | Events::DIR),
    ]);
    bench.until("held", |s| s.state == PusherState::Held);
    assert!(rig.dst().join("d/b").exists());
    fs::remove_dir(rig.src()).unwrap();
    fs::rename(&aside, rig.src()).unwrap();
    bench.identical(&rig);
    bench.stop();
}

#[test]
fn the_same_size_and_time_with_other_content_is_sent() {
    let rig = Rig::new(Path::new("rsync"));
    make(&rig.src(), ["a"], "one");
    rig::set_mtime(&rig.src().join("a"), 1_000_000);
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.identical(&rig);
    make(&rig.src(), ["a"], "two");
    rig::set_mtime(&rig.src().join("a"), 1_000_000);
    bench.mark(&[("a", Scope::Entry, WRITTEN | Events::ATTRIB)]);
    bench.until("the content", |_| fs::read(rig.dst().join("a")).unwrap() == b"two");
    bench.identical(&rig);
    bench.stop();
}

#[test]
fn a_path_that_fails_is_owed_with_its_words_and_the_others_go_through() {
    let rig = Rig::new(Path::new("rsync"));
    make(&rig.src(), ["a"], "one");
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.identical(&rig);
    // A name too long for the receiver's temporary: 255 bytes.
    let long = "n".repeat(255);
    make(&rig.src(), [long.as_str(), "b"], "two");
    bench.mark(&[(&long, Scope::Entry, WRITTEN), ("b", Scope::Entry, WRITTEN)]);
    bench.identical(&rig);
    // lstat fails with something else than ENOENT: never a deletion, and the others of its batch pass.
    let deep = "n".repeat(300);
    make(&rig.src(), ["c"], "three");
    bench.mark(&[(&deep, Scope::Entry, WRITTEN), ("c", Scope::Entry, WRITTEN)]);
    bench.until("one path fails", |s| s.failing == 1 && s.waiting == 0);
    assert!(bench.status.reason.as_ref().unwrap().contains("too long"), "{:?}", bench.status);
    assert!(rig.dst().join("c").exists());
    bench.stop();
}

#[test]
fn a_journal_emptied_and_marked_again_goes_on() {
    let rig = Rig::new(Path::new("rsync"));
    make(&rig.src(), ["a"], "one");
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.identical(&rig);
    for round in 0..3 {
        make(&rig.src(), ["a"], &format!("round {round}"));
        bench.mark(&[("a", Scope::Entry, WRITTEN)]);
        let mut journal = Journal::open(&bench.state).unwrap();
        bench.until("every mark to go", |_| {
            journal.clean(1000).unwrap();
            journal.marks_after(0, 10).unwrap().is_empty()
        });
        bench.identical(&rig);
    }
    let state = bench.state.clone();
    bench.stop();
    let name = rig.remote.name();
    assert!(Journal::open(&state).unwrap().remote(&name, None).unwrap().clean);
}

#[test]
fn nothing_is_pushed_before_the_root_was_judged_and_no_slot_is_kept() {
    let rig = Rig::new(Path::new("rsync"));
    make(&rig.src(), ["a"], "one");
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.identical(&rig);
    bench.control.send(&ToPusher::Hold(Some("not there".into())), vec![]).unwrap();
    make(&rig.src(), ["b"], "two");
    bench.mark(&[("b", Scope::Entry, WRITTEN)]);
    bench.control.send(&ToPusher::Slot, vec![]).unwrap();
    let mut back = false;
    let end = Instant::now() + DEADLINE;
    while !back {
        assert!(Instant::now() < end, "a slot that cannot be used comes back");
        back =
            matches!(bench.control.receive().unwrap(), Received::Message(FromPusher::SlotDone, _));
        let fds = [(bench.control.as_fd(), poll::Interest::Read)];
        poll::wait(&fds, Some(Duration::from_millis(5))).unwrap();
    }
    assert!(!rig.dst().join("b").exists());
    bench.control.send(&ToPusher::Hold(None), vec![]).unwrap();
    bench.identical(&rig);
    bench.stop();
}

#[test]
fn a_release_in_advance_approves_nothing() {
    let rig = Rig::new(Path::new("rsync"));
    make(&rig.src(), ["a"], "one");
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.identical(&rig);
    bench.control.send(&ToPusher::Release, vec![]).unwrap();
    let names: Vec<String> = (0..150).map(|n| format!("stray/{n}")).collect();
    make(&rig.dst(), &names, "old");
    bench.control.send(&ToPusher::Reconcile("asked".into()), vec![]).unwrap();
    bench.until("held", |s| s.state == PusherState::Held);
    assert!(rig.dst().join("stray/149").exists());
    bench.control.send(&ToPusher::Release, vec![]).unwrap();
    bench.identical(&rig);
    // Only once.
    make(&rig.dst(), &names, "old");
    bench.control.send(&ToPusher::Reconcile("asked".into()), vec![]).unwrap();
    bench.until("held again", |s| s.state == PusherState::Held);
    bench.stop();
}

#[test]
fn live_directories_are_compared_while_the_guard_holds() {
    let rig = Rig::new(Path::new("rsync"));
    make(&rig.src(), ["a", "c/d/x"], "one");
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.identical(&rig);
    let names: Vec<String> = (0..150).map(|n| format!("stray/{n}")).collect();
    make(&rig.dst(), &names, "old");
    bench.control.send(&ToPusher::Reconcile("asked".into()), vec![]).unwrap();
    bench.until("held", |s| s.state == PusherState::Held);
    // A directory moved in, and one swapped at its name; what a scan finds waits.
    make(&rig.src(), ["moved/in/y", "new/z", "scanned/s"], "two");
    fs::rename(rig.src().join("c"), rig.src().join("old")).unwrap();
    fs::rename(rig.src().join("new"), rig.src().join("c")).unwrap();
    let moved = Events::MOVE | Events::DIR;
    bench.mark(&[
        ("moved", Scope::Tree, moved),
        ("old", Scope::Tree, moved),
        ("c", Scope::Tree, moved | Events::DELETE),
        ("scanned", Scope::Tree, Events::SCAN | Events::DIR),
    ]);
    let there = |name: &str| rig.dst().join(name).exists();
    bench.until("the live ones", |s| {
        there("moved/in/y") && there("old/d/x") && there("c/z") && !there("c/d") && s.waiting == 0
    });
    assert!(there("stray/149") && !there("scanned/s"));
    assert_eq!(bench.status.state, PusherState::Held);
    bench.control.send(&ToPusher::Release, vec![]).unwrap();
    bench.identical(&rig);
    bench.stop();
}

#[test]
fn what_only_a_push_meets_is_over_when_a_push_goes_well() {
    let mut rig = Rig::new(Path::new("rsync"));
    make(&rig.src(), ["a", "d/b"], "one");
    rig.module(b"m/no/such");
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.until("trouble", |s| s.state == PusherState::Backoff);
    // A dry run passes where no push does.
    bench.control.send(&ToPusher::Reconcile("asked".into()), vec![]).unwrap();
    let log = rig.base().join("etc/log");
    let failures = || fs::read_to_string(&log).unwrap().matches("mkdir").count();
    let first = Instant::now();
    bench.until("four pushes that failed", |s| {
        assert_eq!(s.state, PusherState::Backoff, "it is not back before a push goes well");
        assert_eq!(s.reconciles_done, 1, "a comparison tells nothing while a push fails");
        failures() >= 4
    });
    assert!(first.elapsed() > Duration::from_secs(3), "1 s, 1 to 2 s, 2 to 4 s");
    fs::create_dir(rig.dst().join("no")).unwrap();
    let (src, dst) = (rig.src(), rig.dst().join("no/such"));
    bench.until("identical", |s| s.state == PusherState::InSync && below(&src) == below(&dst));
    bench.stop();
}

#[test]
fn a_slave_that_takes_the_connection_and_says_nothing_is_noticed_early() {
    let mut rig = Rig::new(Path::new("rsync"));
    make(&rig.src(), ["a"], "one");
    rig.remote.timeout_s = 100;
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.identical(&rig);
    rig.daemon.stop();
    let silent = std::net::TcpListener::bind(("127.0.0.1", rig.daemon.port)).unwrap();
    make(&rig.src(), ["a"], "two");
    bench.mark(&[("a", Scope::Entry, WRITTEN)]);
    bench.until("trouble", |s| s.state == PusherState::Backoff);
    assert!(bench.status.reason.as_ref().unwrap().contains("says nothing"), "{:?}", bench.status);
    drop(silent);
    let etc = rig.base().join("etc");
    rig.daemon.start_again(Path::new("rsync"), &etc);
    bench.identical(&rig);
    bench.stop();
}

#[test]
fn a_directory_that_cannot_be_read_is_named_and_the_rest_is_compared() {
    if !rig::is_root() {
        eprintln!("left out: only root can make a directory that the daemon may not read");
        return;
    }
    let nobody = Some(65_534);
    let mut rig = Rig::with(Path::new("rsync"), "uid = 65534\ngid = 65534\n");
    rig.params(&["-rlt"]);
    std::os::unix::fs::chown(rig.dst(), nobody, nobody).unwrap();
    make(&rig.src(), ["a", "d/b"], "one");
    let hidden = rig.dst().join("hidden");
    for dir in [rig.src().join("hidden"), hidden.clone()] {
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o000)).unwrap();
        rig::set_mtime(&dir, 1_000_000);
    }
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.until("what could be compared", |s| rig.dst().join("d/b").exists() && s.incomplete);
    bench.until("it waits", |s| s.state == PusherState::Behind);
    let reason = bench.status.reason.clone().unwrap();
    assert!(reason.contains("hidden") && reason.contains("Permission denied"), "{reason}");
    std::os::unix::fs::chown(&hidden, nobody, nobody).unwrap();
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o700)).unwrap();
    bench.control.send(&ToPusher::Reconcile("asked".into()), vec![]).unwrap();
    bench.until("in sync", |s| s.state == PusherState::InSync && !s.incomplete);
    bench.stop();
}

#[test]
fn what_a_push_that_failed_in_part_has_done_is_counted() {
    if !rig::is_root() {
        eprintln!("left out: only root can make a directory that the daemon may not write");
        return;
    }
    let nobody = Some(65_534);
    let mut rig = Rig::with(Path::new("rsync"), "uid = 65534\ngid = 65534\n");
    rig.params(&["-rlt"]);
    std::os::unix::fs::chown(rig.dst(), nobody, nobody).unwrap();
    make(&rig.src(), ["gone", "f"], "one");
    for dir in [rig.src().join("locked"), rig.dst().join("locked")] {
        fs::create_dir(&dir).unwrap();
        rig::set_mtime(&dir, 1_000_000);
    }
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.identical(&rig);
    let before = bench.status.clone();
    fs::remove_file(rig.src().join("gone")).unwrap();
    make(&rig.src(), ["f"], "three");
    make(&rig.src(), ["locked/x"], "not to be had");
    rig::set_mtime(&rig.src().join("locked"), 1_000_000);
    bench.mark(&[
        ("gone", Scope::Entry, Events::DELETE),
        ("f", Scope::Entry, WRITTEN),
        ("locked/x", Scope::Entry, WRITTEN),
    ]);
    let counted = |s: &PusherStatus| {
        (
            s.pushed_files - before.pushed_files,
            s.pushed_bytes - before.pushed_bytes,
            s.deleted - before.deleted,
        )
    };
    let mut journal = Journal::open(&bench.state).unwrap();
    let remote = rig.remote.name();
    bench.until("three tries", |s| {
        journal.clean(1_000).unwrap();
        s.failing == 1 && journal.failing(&remote, 1).unwrap().iter().any(|row| row.attempts >= 3)
    });
    bench.until("the count", |s| counted(s) == (1, 5, 1));
    bench.stop();
}

#[test]
fn the_guard_knows_what_the_pushes_have_made() {
    let rig = Rig::new(Path::new("rsync"));
    let names = |from: usize, to: usize| (from..to).map(|n| format!("d/{n}")).collect::<Vec<_>>();
    make(&rig.src(), names(0, 200), "one");
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.identical(&rig);
    make(&rig.src(), names(200, 300), "two");
    let marks = names(200, 300);
    let marks: Vec<_> = marks.iter().map(|name| (name.as_str(), Scope::Entry, WRITTEN)).collect();
    bench.mark(&marks);
    bench.identical(&rig);
    // Less than half of what is there now, more than all that was there at first.
    for name in names(0, 140) {
        fs::remove_file(rig.src().join(name)).unwrap();
    }
    bench.mark(&[("d", Scope::Tree, Events::SCAN | Events::DIR)]);
    bench.identical(&rig);
    let entries = |bench: &mut Bench, rig: &Rig| {
        bench.journal.remote(&rig.remote.name(), None).unwrap().entries.unwrap()
    };
    assert_eq!(entries(&mut bench, &rig), 162, "160 files, d and the root");
    for name in names(140, 260) {
        fs::remove_file(rig.src().join(name)).unwrap();
    }
    bench.mark(&[("d", Scope::Tree, Events::SCAN | Events::DIR)]);
    bench.until("held", |s| s.state == PusherState::Held);
    assert!(bench.status.reason.as_ref().unwrap().contains("120 of 162"), "{:?}", bench.status);
    bench.control.send(&ToPusher::Release, vec![]).unwrap();
    bench.identical(&rig);
    bench.stop();
}

/// A predecessor, or its rsync, that has not ended yet holds the lock. (Rule 2.)
#[test]
fn nothing_is_pushed_before_the_predecessor_has_ended() {
    let rig = Rig::new(Path::new("rsync"));
    make(&rig.src(), ["a"], "one");
    let state = rig.base().join("state");
    fs::create_dir_all(&state).unwrap();
    let name = rig.remote.name().replace(':', "%3A");
    let lock = state.join(format!("pusher-{name}.lock"));
    // Not inherited: whoever has it is ended, and the daemons of other tests are children of this process, too.
    let held = syncsup::sys::lock::take(&lock, false).unwrap().expect("nobody has it yet");
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.mark(&[("a", Scope::Entry, WRITTEN)]);
    let end = Instant::now() + Duration::from_secs(1);
    let mut alive = false;
    while Instant::now() < end {
        match bench.control.receive().unwrap() {
            Received::Message(FromPusher::Alive, _) => alive = true,
            Received::Message(message, _) => panic!("at work beside its predecessor: {message:?}"),
            Received::Closed => panic!("it gave up"),
            Received::Nothing => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    assert!(alive, "it would be taken for dead");
    assert!(!rig.dst().join("a").exists());
    drop(held);
    bench.identical(&rig);
    bench.stop();
}
