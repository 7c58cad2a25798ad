//! One remote of the simulated world: its pusher, what the supervisor knows of it, the rsyncs that it has started, and the
//! slave.

use super::life::{Change, Life};
use super::rsync::{Found, Slave, Transfer};
use super::world::{copy, tree};
use crate::config::model::Remote;
use crate::message::{FromChild, FromPusher, PusherStart, ReconcileRequest, ToPusher};
use crate::pusher::simulated::Simulated;
use crate::pusher::state::MAY_HAVE_LOST;
use crate::reconcile_reason::ReconcileReason;
use crate::supervisor::pusher::SupervisedPusher;
use crate::supervisor::slots::SlotHolder;
use crate::sys::lock::{self, Lock};
use crate::sys::rsync::simulated::STARTED;
use crate::sys::wake;
use slog::{Drain, Logger, OwnedKVList, Record, o};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A slave that loses its power loses what is younger than this.
const LOST_MOST: Duration = Duration::from_secs(20);

/// A remote.
pub struct Side {
    /// Its number.
    pub number: usize,
    /// The pusher's life.
    pub life: Life,
    supervised: SupervisedPusher,
    pusher: Option<Simulated>,
    transfers: Vec<Transfer>,
    slave: PathBuf,
    /// What the slave is like.
    pub like: Rc<RefCell<Slave>>,
    /// What the slave has of excluded names. It stays.
    pub kept: BTreeMap<PathBuf, String>,
    /// Connections to it are accepted.
    pub reachable: bool,
    /// The number of connections that were refused.
    pub refused: usize,
    /// Where the slave's disk is, and the time at which it was like that.
    saved: (PathBuf, Option<Duration>),
    /// The pusher has logged that the slave may have lost data.
    alarm: Arc<AtomicBool>,
    /// The slave has lost what it had acknowledged.
    pub fell_back: bool,
    /// What a comparison wants to delete was released once.
    pub released: bool,
    /// Names that were changed on the slave by hand.
    pub by_hand: BTreeSet<PathBuf>,
}

impl Side {
    /// A slave in this directory, without a pusher.
    pub fn new(dir: &Path, like: Slave, supervised: SupervisedPusher, now: Duration) -> Side {
        let number = supervised.key as usize;
        let slave = dir.join(format!("slave{number}"));
        fs::create_dir(&slave).unwrap();
        Side {
            number,
            life: Life::new(now),
            supervised,
            pusher: None,
            transfers: Vec::new(),
            saved: (dir.join(format!("saved{number}")), None),
            slave,
            like: Rc::new(RefCell::new(like)),
            kept: BTreeMap::new(),
            reachable: true,
            refused: 0,
            alarm: Arc::default(),
            fell_back: false,
            released: false,
            by_hand: BTreeSet::new(),
        }
    }

    /// The supervisor's name for it.
    pub fn key(&self) -> SlotHolder {
        self.supervised.key
    }

    /// Its configuration.
    pub fn remote(&self) -> &Remote {
        &self.supervised.remote
    }

    /// The supervisor is another one, which knows nothing of it.
    pub fn forget(&mut self, supervised: SupervisedPusher, now: Duration) {
        self.kill();
        self.end_rsyncs();
        (self.life, self.supervised) = (Life::new(now), supervised);
        if !self.by_hand.is_empty() {
            // The `sync` failed, and was repeated.
            self.request_reconcile(&ReconcileReason::Sync, now);
        }
    }

    /// Somebody changes a name of the slave, and asks for a reconcile. False if nothing was changed.
    pub fn change_by_hand(
        &mut self,
        name: &Path,
        random: &mut fastrand::Rng,
        now: Duration,
    ) -> bool {
        let path = self.slave.join(name);
        let stat = fs::symlink_metadata(&path).ok();
        let is_dir = stat.as_ref().is_some_and(fs::Metadata::is_dir);
        let changed = match random.u8(..3) {
            0 if is_dir => fs::remove_dir_all(&path),
            0 => fs::remove_file(&path),
            // Its size tells it from what the master has.
            1 if !is_dir => fs::write(&path, "by hand, on the slave"),
            _ => fs::create_dir(&path),
        };
        if changed.is_ok() {
            self.by_hand.insert(name.to_owned());
            self.request_reconcile(&ReconcileReason::Sync, now);
        }
        changed.is_ok()
    }

    /// A turn of the supervisor.
    pub fn supervise(&mut self, now: Duration) -> Vec<Change> {
        let changes = self.life.turn(now);
        if !self.life.exists() || changes.contains(&Change::Starts) {
            self.pusher = None;
        }
        if changes.contains(&Change::Reaped) {
            self.end_rsyncs();
        }
        changes
    }

    /// The reconcile with which the next pusher begins.
    pub fn pending(&self) -> Option<ReconcileReason> {
        self.supervised.pending()
    }

    /// The number of the supervisor's last request.
    pub fn requests(&self) -> u64 {
        self.supervised.requests()
    }

    /// A pusher begins. The simulation turns it, so its pipe wakes nobody.
    pub fn begin(&mut self, start: PusherStart, log: Logger) {
        self.supervised.begins();
        let (wake, _) = wake::pipe().unwrap();
        let heard = Heard { log, alarm: self.alarm.clone() };
        let log = Logger::root(heard, o!());
        self.pusher = Some(Simulated::begin(start, lock(), wake, log));
    }

    /// Kills the pusher. The supervisor has still to notice.
    pub fn kill(&mut self) {
        self.life.kill();
        self.pusher = None;
    }

    /// A message of the supervisor.
    pub fn tell(&mut self, message: &ToPusher, now: Duration) {
        if let Some(pusher) = &mut self.pusher {
            pusher.tell(message);
            self.life.sent(now);
        }
    }

    /// The supervisor wants a reconcile.
    pub fn request_reconcile(&mut self, why: &ReconcileReason, now: Duration) {
        self.supervised.request_reconcile(why, now);
        let request = ReconcileRequest { why: why.clone(), number: self.requests() };
        self.tell(&ToPusher::Reconcile(request), now);
    }

    /// True if its pusher has said that the slave may have lost data, which it has not.
    pub fn has_false_alarm(&self) -> bool {
        let lost = self.fell_back || !self.by_hand.is_empty();
        self.alarm.load(Ordering::Relaxed) && !lost
    }

    /// True if the guard holds a comparison.
    pub fn is_guarded(&self) -> bool {
        self.pusher.as_ref().is_some_and(Simulated::is_guarded)
    }

    /// An operator releases what the guard holds.
    pub fn release(&mut self, now: Duration) {
        self.released = true;
        self.tell(&ToPusher::Release, now);
    }

    /// When the pusher or the supervisor has something to do by itself, at the latest.
    pub fn next_time(&self, now: Duration) -> Option<Duration> {
        let pusher = self.pusher.as_ref().filter(|_| self.life.runs());
        pusher.map(|pusher| pusher.next_time(now)).into_iter().chain(self.life.next_at()).min()
    }

    /// The slave's directory.
    pub fn slave(&self) -> &Path {
        &self.slave
    }

    /// What is on the slave.
    pub fn tree(&self) -> BTreeMap<PathBuf, String> {
        tree(&self.slave)
    }

    /// A turn of the pusher. Returns its messages.
    pub fn turn(&mut self, now: Duration) -> Vec<FromPusher> {
        let Some(pusher) = self.pusher.as_mut().filter(|_| self.life.runs()) else {
            return Vec::new();
        };
        let said = pusher.turn();
        if let Some(last) = said.last() {
            self.life.heard(last.rests(), now);
        }
        for message in &said {
            match message {
                FromPusher::Status(status) => self.supervised.note((**status).clone()),
                FromPusher::Damaged(why) => panic!("{why}"),
                _ => {}
            }
        }
        said
    }

    /// The rsyncs that were started begin, at this step. Returns the names of each list that was read to its end, with the
    /// names that other rsyncs of this remote touch.
    pub fn begin_rsyncs(&mut self, at: u64, shown: bool) -> Vec<(Vec<PathBuf>, Vec<PathBuf>)> {
        let started: Vec<_> =
            STARTED.with_borrow_mut(|all| all.as_mut().unwrap().drain(..).collect());
        for process in started {
            let transfer = Transfer::new(process, &self.slave, self.like.clone(), at);
            if shown {
                println!("{at} starts {} for {}", transfer.shown(), self.number);
            }
            if !self.reachable {
                transfer.refuse();
                self.refused += 1;
            }
            self.transfers.push(transfer);
        }
        let mut read = Vec::new();
        for at in 0..self.transfers.len() {
            if self.transfers[at].read_input() {
                let others = self.transfers.iter().enumerate().filter(|(other, _)| *other != at);
                let others = others.flat_map(|(_, other)| other.touches()).collect();
                read.push((self.transfers[at].touches(), others));
            }
        }
        self.transfers.retain(|transfer| !transfer.is_over() || transfer.lingers());
        read
    }

    /// One step of one rsync. `there(path)` says since which step of the schedule a name has been on the master.
    pub fn transfer(
        &mut self,
        random: &mut fastrand::Rng,
        there: &dyn Fn(&Path) -> Option<u64>,
    ) -> Found {
        if self.transfers.is_empty() {
            return Found::Nothing;
        }
        let which = random.usize(..self.transfers.len());
        let transfer = &mut self.transfers[which];
        if transfer.is_over() {
            // An old receiver may be slow.
            if random.u8(..4) == 0 {
                transfer.linger();
            }
            return Found::Nothing;
        }
        transfer.step(there)
    }

    /// True while an rsync has something to do.
    pub fn works(&self) -> bool {
        self.transfers.iter().any(|transfer| !transfer.is_over() && !transfer.waits())
    }

    /// Receivers of dead rsyncs put in place what they have read, where `now` says so.
    pub fn linger(&mut self, mut now: impl FnMut() -> bool) {
        for transfer in self.transfers.iter_mut().filter(|transfer| transfer.lingers()) {
            if now() {
                transfer.linger();
            }
        }
    }

    /// The supervisor ends the rsyncs of a dead pusher.
    fn end_rsyncs(&self) {
        self.transfers.iter().for_each(Transfer::kill);
    }

    /// The names of which its rsyncs know something that may be outdated soon.
    pub fn at_risk(&self) -> impl Iterator<Item = &Path> {
        self.transfers.iter().filter_map(Transfer::at_risk)
    }

    /// Kills an rsync, if there is one: rather one that has read something. True if it did.
    pub fn kill_one(&self, random: &mut fastrand::Rng) -> bool {
        let reading = self.transfers.iter().find(|transfer| transfer.has_read());
        let any = || self.transfers.get(random.usize(..self.transfers.len().max(1)));
        reading.or_else(any).map(Transfer::kill).is_some()
    }

    /// The network is cut off, or is there again.
    pub fn reach(&mut self, reachable: bool) {
        self.reachable = reachable;
        if !reachable {
            self.transfers.iter().filter(|t| !t.is_over()).for_each(Transfer::cut);
        }
    }

    /// The slave's disk has this now.
    pub fn save(&mut self, now: Duration) {
        let _ = fs::remove_dir_all(&self.saved.0);
        copy(&self.slave, &self.saved.0);
        self.saved.1 = Some(now);
    }

    /// True if the slave's disk was written not long ago.
    pub fn may_fall_back(&self, now: Duration) -> bool {
        self.reachable && self.saved.1.is_some_and(|saved| now < saved + LOST_MOST)
    }

    /// The slave loses its power, and what it had acknowledged since its disk was written.
    pub fn fall_back(&mut self) {
        self.fell_back = true;
        self.saved.1 = None;
        self.reach(false);
        // Receivers die with it.
        self.transfers.retain(|transfer| !transfer.is_over() || !transfer.lingers());
        fs::remove_dir_all(&self.slave).unwrap();
        fs::rename(&self.saved.0, &self.slave).unwrap();
    }

    /// True if nothing waits or runs.
    pub fn is_quiet(&self) -> bool {
        self.transfers.iter().all(Transfer::waits)
            && self.life.runs()
            && self.pusher.as_ref().is_some_and(|pusher| pusher.is_quiet())
    }
}

/// What a pusher logs.
struct Heard {
    log: Logger,
    alarm: Arc<AtomicBool>,
}

impl Drain for Heard {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &Record, _: &OwnedKVList) -> Result<(), slog::Never> {
        if record.msg().to_string() == MAY_HAVE_LOST {
            self.alarm.store(true, Ordering::Relaxed);
        }
        self.log.log(record);
        Ok(())
    }
}

/// A lock for all pushers: the modelled rsyncs of a dead one are killed before the next begins.
fn lock() -> &'static Lock {
    static LOCK: OnceLock<Lock> = OnceLock::new();
    LOCK.get_or_init(|| {
        let file = tempfile::NamedTempFile::new().unwrap();
        lock::take(file.path(), true).unwrap().unwrap()
    })
}
