//! One remote of the simulated world: its pusher, the rsyncs that it has started, and the slave.

use super::rsync::{Found, Slave, Transfer};
use super::world::{copy, tree};
use crate::message::{PusherStart, ToPusher};
use crate::pusher::simulated::Simulated;
use crate::sys::lock::{self, Lock};
use crate::sys::rsync::simulated::STARTED;
use crate::sys::wake;
use slog::Logger;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::Duration;

/// A slave that loses its power loses what is younger than this.
const LOST_MOST: Duration = Duration::from_secs(20);

/// A remote.
pub struct Side {
    /// Its number.
    pub number: usize,
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
    /// The slave has lost what it had acknowledged.
    pub fell_back: bool,
    /// What happens is printed.
    shown: bool,
}

impl Side {
    /// A slave in this directory, without a pusher. Its receiver may be an old one.
    pub fn new(number: usize, dir: &Path, old: bool, shown: bool) -> Side {
        let slave = dir.join(format!("slave{number}"));
        fs::create_dir(&slave).unwrap();
        Side {
            number,
            pusher: None,
            transfers: Vec::new(),
            saved: (dir.join(format!("saved{number}")), None),
            slave,
            like: Rc::new(RefCell::new(Slave { old, ..Slave::default() })),
            kept: BTreeMap::new(),
            reachable: true,
            refused: 0,
            fell_back: false,
            shown,
        }
    }

    /// A pusher begins. The simulation turns it, so its pipe wakes nobody.
    pub fn begin(&mut self, start: PusherStart, log: Logger) {
        let (wake, _) = wake::pipe().unwrap();
        self.pusher = None;
        self.pusher = Some(Simulated::begin(start, lock(), wake, log));
    }

    /// The pusher.
    pub fn pusher(&mut self) -> &mut Simulated {
        self.pusher.as_mut().unwrap()
    }

    /// A message of the supervisor.
    pub fn tell(&mut self, message: &ToPusher) {
        self.pusher().tell(message);
    }

    /// The slave's directory.
    pub fn slave(&self) -> &Path {
        &self.slave
    }

    /// What is on the slave.
    pub fn tree(&self) -> BTreeMap<PathBuf, String> {
        tree(&self.slave)
    }

    /// A turn of the pusher, at this step. Returns the names of each list that was read to its end, with the names that
    /// other rsyncs of this remote touch.
    pub fn push(&mut self, at: u64) -> Vec<(Vec<PathBuf>, Vec<PathBuf>)> {
        self.pusher().turn();
        let started: Vec<_> =
            STARTED.with_borrow_mut(|all| all.as_mut().unwrap().drain(..).collect());
        for process in started {
            let transfer = Transfer::new(process, &self.slave, self.like.clone(), at);
            if self.shown {
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
    pub fn kill_all(&self) {
        self.transfers.iter().for_each(Transfer::kill);
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
            && self.pusher.as_ref().is_some_and(|pusher| pusher.is_quiet())
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
