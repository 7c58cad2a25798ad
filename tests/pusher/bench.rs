//! The supervisor's and the watcher's side of one pusher.

use crate::rsync::rig::{Rig, make, p, tree};
use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use syncsup::config::model::{Alarms, FilterRules, LocalPath, Place, Remote, Toggles};
use syncsup::journal::{Checkpoint, Events, Journal, Mark, Record, Scope};
use syncsup::message::{
    FromPusher, PusherStart, PusherState, PusherStatus, ReconcileRequest, SlotKind, ToPusher,
};
use syncsup::pusher;
use syncsup::supervisor::slots::SlotPool;
use syncsup::sys::channel::{self, Channel, Received};
use syncsup::sys::{clock, files, poll, wake};

pub const DEADLINE: Duration = Duration::from_secs(180);

/// The supervisor's and the watcher's side of one pusher.
pub struct Bench {
    pub control: Channel<ToPusher, FromPusher>,
    pub wake: OwnedFd,
    pub journal: Journal,
    pub status: PusherStatus,
    thread: Option<std::thread::JoinHandle<i32>>,
    pub state: PathBuf,
    /// What is left of `-n`.
    pub slots: SlotPool,
    /// How many it has asked for.
    pub wants: usize,
}

pub fn localpath(rig: &Rig) -> LocalPath {
    LocalPath {
        watch: rig.src().as_path().into(),
        place: Place::default(),
        filter: FilterRules::default(),
        inotify: Toggles::MODERN,
        remotes: vec![],
        fail_log: None,
        crontab: None,
        verify_schedule: None,
        open_after: vec![],
        delay_ms: Some(1),
        pace_percent: 25,
        large_file_bytes: 1 << 20,
        first_copy: true,
        plugins: vec![],
        alarms: Alarms::default(),
    }
}

/// A source that holds these files, and a slave that has them.
pub fn synced<T: AsRef<[u8]>>(names: impl IntoIterator<Item = T>) -> (Rig, Bench) {
    let rig = Rig::new(Path::new("rsync"));
    make(&rig.src(), names, "one");
    let mut bench = Bench::start(&rig, localpath(&rig), None);
    bench.identical(&rig);
    (rig, bench)
}

impl Bench {
    pub fn start(rig: &Rig, localpath: LocalPath, reconcile: Option<&str>) -> Self {
        Self::with(rig, localpath, rig.remote.clone(), reconcile)
    }

    pub fn with(rig: &Rig, localpath: LocalPath, remote: Remote, reconcile: Option<&str>) -> Self {
        let state = rig.base().join("state");
        fs::create_dir_all(&state).unwrap();
        let mut journal = Journal::open(&state).unwrap();
        let checkpoint = Checkpoint {
            at_ns: clock::wall_ns(),
            boot_id: files::boot_id().unwrap(),
            clock_offset_ns: 0,
            root: files::Root::open(&rig.src()).unwrap().id().unwrap(),
            clean: false,
            run: None,
            canaries: vec![],
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
            reconcile: reconcile.map(|why| why.to_owned().into()),
            requests: 1,
            debug: std::env::var_os("SYNCSUP_DEBUG").is_some(),
        };
        control.send(&ToPusher::Start(Box::new(start)), vec![reader]).unwrap();
        // The watcher has judged the root.
        control.send(&ToPusher::Hold(None), vec![]).unwrap();
        let status = PusherStatus { state: PusherState::Down, ..PusherStatus::default() };
        Self {
            control,
            wake: writer,
            journal,
            status,
            thread: Some(thread),
            state,
            slots: SlotPool::new(100),
            wants: 0,
        }
    }

    pub fn request_reconcile(&mut self, why: &str) {
        let number = self.status.requests_recorded + 1;
        let request = ReconcileRequest { why: why.to_owned().into(), number };
        self.control.send(&ToPusher::Reconcile(request), vec![]).unwrap();
    }

    pub fn mark(&mut self, marks: &[(&str, Scope, Events)]) {
        let marks =
            marks.iter().map(|(path, scope, events)| Mark::new(p(path), *scope, *events)).collect();
        self.journal.record(&Record { marks, ..Record::default() }, clock::wall_ms()).unwrap();
        wake::wake(&self.wake);
    }

    /// Serves the pusher until `done`.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&PusherStatus) -> bool) {
        let end = Instant::now() + DEADLINE;
        loop {
            match self.control.receive().unwrap() {
                Received::Message(FromPusher::WantSlot(kind), _) => {
                    self.wants += 1;
                    let granted = self.slots.want(1, kind);
                    self.grant(granted);
                }
                Received::Message(FromPusher::SlotDone(kind), _) => {
                    let granted = self.slots.done(1, kind);
                    self.grant(granted);
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

    fn grant(&mut self, slots: Vec<(u64, SlotKind)>) {
        for (_, kind) in slots {
            self.control.send(&ToPusher::Slot { kind, active: 1 }, vec![]).unwrap();
        }
    }

    pub fn identical(&mut self, rig: &Rig) {
        let (src, dst) = (rig.src(), rig.dst());
        self.until("identical", |_| below(&src) == below(&dst));
        self.until("in sync", |status| status.state == PusherState::InSync);
    }

    pub fn stop(mut self) {
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
pub fn below(base: &Path) -> BTreeMap<Vec<u8>, (u32, i64, i64, Vec<u8>)> {
    let mut all = tree(base);
    all.remove(&b""[..]);
    all
}

pub const WRITTEN: Events = Events::WRITE.union(Events::CREATE);
