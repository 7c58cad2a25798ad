//! `syncsup wait` in the simulation: a barrier at the watcher, then the marks that the pusher settles. It must not return
//! before what was there when it began is on the slave.

use super::world::in_seconds;
use crate::message::{Ticket, ToPusher, ToWatcher};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A wait that has not returned.
struct Wait {
    ticket: Ticket,
    /// The step at which it began.
    began: u64,
    /// The last mark of the changes before it, once the watcher has read them.
    seq: Option<i64>,
    /// The remotes that have not settled them.
    left: BTreeSet<usize>,
}

/// The waits, and what they wait for.
#[derive(Default)]
pub struct Waits {
    open: Vec<Wait>,
    last: Ticket,
    /// What is on the master, by name.
    known: BTreeMap<PathBuf, String>,
    /// The step at which each name changed last.
    changed: BTreeMap<PathBuf, u64>,
}

impl Waits {
    /// Begins one. The watcher is to be told.
    pub fn begin(&mut self, at: u64) {
        self.last += 1;
        self.open.push(Wait { ticket: self.last, began: at, seq: None, left: BTreeSet::new() });
    }

    /// The supervisor is dead, and its clients with it.
    pub fn end(&mut self) {
        self.open.clear();
    }

    /// What the watcher has to be told. It ignores what it knows.
    pub fn barriers(&self) -> impl Iterator<Item = ToWatcher> {
        let open = self.open.iter().filter(|wait| wait.seq.is_none());
        open.map(|wait| ToWatcher::Barrier { ticket: wait.ticket, below: Vec::new() })
    }

    /// What a new pusher of this remote has to be told.
    pub fn awaited(&self, side: usize) -> impl Iterator<Item = ToPusher> {
        let open = self.open.iter().filter(move |wait| wait.left.contains(&side));
        let open = open.filter_map(|wait| Some((wait.ticket, wait.seq?)));
        open.map(|(ticket, seq)| ToPusher::Await { ticket, seq, below: Vec::new() })
    }

    /// The watcher has marked everything before this wait. Returns what the pushers of this number of remotes are told.
    pub fn reached(&mut self, ticket: Ticket, seq: i64, sides: usize) -> Option<ToPusher> {
        let wait = self.open.iter_mut().find(|wait| wait.ticket == ticket && wait.seq.is_none())?;
        (wait.seq, wait.left) = (Some(seq), (0..sides).collect());
        Some(ToPusher::Await { ticket, seq, below: Vec::new() })
    }

    /// The master is like this after this step.
    pub fn look(&mut self, master: BTreeMap<PathBuf, String>, at: u64) {
        let names: BTreeSet<&PathBuf> = self.known.keys().chain(master.keys()).collect();
        for name in names {
            if self.known.get(name) != master.get(name) {
                self.changed.insert(name.clone(), at);
            }
        }
        self.known = master;
    }

    /// An event names this name, although what is there may look as before.
    pub fn name(&mut self, name: &Path, at: u64) {
        self.changed.insert(name.to_owned(), at);
    }

    /// True if an event may have named this name or one above it. A file that was there when the world began was young
    /// enough for the first scan.
    pub fn touched(&self, name: &Path) -> bool {
        let changed = |name: &Path| {
            let later = self.changed.get(name).is_some_and(|at| *at > 0);
            later || self.known.get(name).is_some_and(|what| what != "a directory")
        };
        name.ancestors().any(changed)
    }

    /// A wait returns for a remote. Says what is not on the slave although it should be. Names for
    /// which `spared` is true may differ, and parts of a second where the slave's times are coarse.
    pub fn settled(
        &mut self,
        ticket: Ticket,
        side: usize,
        slave: &BTreeMap<PathBuf, String>,
        coarse: bool,
        spared: impl Fn(&Path) -> bool,
    ) -> Vec<String> {
        let Some(wait) = self.open.iter_mut().find(|wait| wait.ticket == ticket) else {
            return Vec::new();
        };
        let began = wait.began;
        wait.left.remove(&side);
        self.open.retain(|wait| wait.seq.is_none() || !wait.left.is_empty());
        let (mut known, mut slave) = (self.known.clone(), slave.clone());
        if coarse {
            [&mut known, &mut slave].into_iter().for_each(in_seconds);
        }
        let names: BTreeSet<&PathBuf> = self.changed.keys().chain(slave.keys()).collect();
        let old = |name: &Path| self.changed.get(name).is_none_or(|at| *at <= began);
        let names = names.into_iter().filter(|name| old(name) && !spared(name));
        let differ = names.filter(|name| known.get(*name) != slave.get(*name));
        let shown = |name: &PathBuf| {
            format!("{}: {:?}, there {:?}", name.display(), known.get(name), slave.get(name))
        };
        differ.map(shown).collect()
    }
}
