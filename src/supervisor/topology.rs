//! The children that a configuration requires, and the changes of a new configuration. Pure.
//!
//! A localpath has one watcher, a pusher for each of its remotes, and a plugin runner when it has plugins or alarms.

use crate::config::model::{FilterRules, LocalPath, Remote};
use crate::instance::localpaths::ConfiguredLocalPath;
use crate::path::fnv1a;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// One child of the supervisor, identified by its task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChildId {
    /// The watcher of a localpath.
    Watcher {
        /// The localpath's state directory name.
        localpath: String,
    },
    /// The pusher of one of its remotes.
    Pusher {
        /// The localpath's state directory name.
        localpath: String,
        /// The remote's name.
        remote: String,
    },
    /// The plugin runner of a localpath.
    Runner {
        /// The localpath's state directory name.
        localpath: String,
    },
}

/// The work of a reload. Children in `same` are not affected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// New ones.
    pub start: BTreeSet<ChildId>,
    /// No longer required.
    pub stop: BTreeSet<ChildId>,
    /// Their part of the configuration changed.
    pub restart: BTreeSet<ChildId>,
    /// Untouched.
    pub same: BTreeSet<ChildId>,
}

/// True if a localpath needs a plugin runner.
pub fn needs_runner(localpath: &LocalPath) -> bool {
    !localpath.plugins.is_empty() || !localpath.alarms.is_empty()
}

/// A hash of everything that determines a remote's contents: filter, toggles and rsync's parameters. If it differs from
/// the one in the journal, a reconcile is due.
pub fn settings(localpath: &LocalPath, remote: &Remote) -> String {
    // The places of syncsup's own files do not affect the remote.
    let filter = FilterRules { inside: Vec::new(), ..localpath.filter.clone() };
    let parts = (&filter, &localpath.inotify, &remote.peer.params);
    format!("{:016x}", fnv1a(text(&parts).as_bytes()))
}

/// Compares two lists of configured localpaths.
pub fn diff(old: &[ConfiguredLocalPath], new: &[ConfiguredLocalPath]) -> Diff {
    let (old, new) = (parts(old), parts(new));
    let mut diff = Diff::default();
    for (id, part) in &new {
        let list = match old.get(id) {
            None => &mut diff.start,
            Some(before) if before == part => &mut diff.same,
            Some(_) => &mut diff.restart,
        };
        list.insert(id.clone());
    }
    diff.stop = old.into_keys().filter(|id| !new.contains_key(id)).collect();
    diff
}

/// Every child and its part of the configuration, as text.
fn parts(configured: &[ConfiguredLocalPath]) -> BTreeMap<ChildId, String> {
    let mut all = BTreeMap::new();
    for w in configured {
        all.insert(ChildId::Watcher { localpath: w.id.clone() }, watcher_part(w));
        for remote in &w.remotes {
            let id = ChildId::Pusher { localpath: w.id.clone(), remote: remote.name() };
            all.insert(id, pusher_part(w, remote));
        }
        if needs_runner(&w.localpath) {
            all.insert(ChildId::Runner { localpath: w.id.clone() }, runner_part(w));
        }
    }
    all
}

/// A watcher does not use schedules, delays, plugins or remotes.
fn watcher_part(w: &ConfiguredLocalPath) -> String {
    let l = &w.localpath;
    text(&(&l.watch, &l.filter, &l.inotify, &l.fail_log, &l.open_after, w.debug))
}

fn pusher_part(w: &ConfiguredLocalPath, remote: &Remote) -> String {
    let mut localpath = w.bare();
    localpath.place = Default::default();
    localpath.open_after = Vec::new();
    let mut remote = remote.clone();
    remote.place = Default::default();
    text(&(localpath, remote, w.debug))
}

fn runner_part(w: &ConfiguredLocalPath) -> String {
    let l = &w.localpath;
    let plugins: Vec<_> = l.plugins.iter().map(|p| (&p.call, &p.manner)).collect();
    text(&(&l.watch, plugins, &l.alarms, w.debug))
}

fn text(value: &impl Serialize) -> String {
    // Only maps with keys that are not text can fail, and the model has none.
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{config, localpath, remote};
    use super::*;
    use crate::instance::localpaths::configured;

    fn watcher(w: &ConfiguredLocalPath) -> ChildId {
        ChildId::Watcher { localpath: w.id.clone() }
    }

    fn pusher(w: &ConfiguredLocalPath, remote: &str) -> ChildId {
        ChildId::Pusher { localpath: w.id.clone(), remote: remote.into() }
    }

    fn set<const N: usize>(ids: [ChildId; N]) -> BTreeSet<ChildId> {
        ids.into()
    }

    #[test]
    fn each_localpath_has_one_watcher_and_each_remote_one_pusher() {
        let wanted =
            configured(&config(vec![localpath("/a", &["x", "y", "x"]), localpath("/b", &["z"])]));
        let names: Vec<Vec<String>> =
            wanted.iter().map(|w| w.remotes.iter().map(Remote::name).collect()).collect();
        assert_eq!(names, [vec!["x::m", "y::m"], vec!["z::m"]]);
        assert_ne!(wanted[1].id, wanted[0].id);
        assert!(wanted[0].localpath.remotes.is_empty());
    }

    #[test]
    fn the_position_in_the_file_changes_nothing() {
        let old = configured(&config(vec![localpath("/a", &["x"])]));
        let mut new = old.clone();
        new[0].localpath.place.line = 99;
        new[0].remotes[0].place.line = 77;
        let diff = diff(&old, &new);
        assert_eq!(diff.same.len(), 2);
        assert!(diff.start.is_empty() && diff.stop.is_empty() && diff.restart.is_empty());
    }

    #[test]
    fn only_changed_processes_are_touched() {
        let old = configured(&config(vec![
            localpath("/a", &["x", "y"]),
            localpath("/b", &["x"]),
            localpath("/c", &["x"]),
        ]));
        let mut new = old.clone();
        // /a: x gets other parameters, y is removed, z is added.
        new[0].remotes[0].peer.params.push("-z".into());
        new[0].remotes[1] = remote("z");
        // /b: another filter. /c is removed, /d is added.
        new[1].localpath.filter.exclude.push("x.*".into());
        new[2] = configured(&config(vec![localpath("/d", &["x"])])).remove(0);
        let diff = diff(&old, &new);
        let (a, b, c, d) = (&new[0], &new[1], &old[2], &new[2]);
        assert_eq!(diff.start, set([pusher(a, "z::m"), watcher(d), pusher(d, "x::m")]));
        assert_eq!(diff.stop, set([pusher(a, "y::m"), watcher(c), pusher(c, "x::m")]));
        assert_eq!(diff.restart, set([pusher(a, "x::m"), watcher(b), pusher(b, "x::m")]));
        assert_eq!(diff.same, set([watcher(a)]));
    }

    #[test]
    fn a_changed_schedule_reconfigures_only_the_pusher() {
        let old = configured(&config(vec![localpath("/a", &["x"])]));
        let mut new = old.clone();
        new[0].localpath.delay_ms = Some(4);
        let diff = diff(&old, &new);
        assert_eq!(diff.restart, set([pusher(&new[0], "x::m")]));
    }

    #[test]
    fn changed_plugins_reconfigure_only_the_runner() {
        let old = configured(&config(vec![localpath("/a", &["x"])]));
        let runner = |w: &ConfiguredLocalPath| ChildId::Runner { localpath: w.id.clone() };
        let mut with = old.clone();
        with[0].localpath.alarms.on_failure = vec!["mail".into()];
        let d = diff(&old, &with);
        assert_eq!((d.start, d.restart.len()), (set([runner(&with[0])]), 0));
        let mut other = with.clone();
        other[0].localpath.alarms.after_ms += 1;
        let d = diff(&with, &other);
        assert_eq!((d.restart, d.same.len()), (set([runner(&with[0])]), 2));
        assert_eq!(diff(&with, &old).stop, set([runner(&with[0])]));
        assert!(with[0].bare().alarms.is_empty());
    }

    #[test]
    fn only_settings_that_affect_the_remote_reset_its_state() {
        let (l, r) = (localpath("/a", &[]), remote("x"));
        let before = settings(&l, &r);
        let mut other = r.clone();
        other.peer.timeout_s += 1;
        other.trash_keep_ms = Some(60_000);
        assert_eq!(settings(&l, &other), before);
        other.peer.params.push("-z".into());
        assert_ne!(settings(&l, &other), before);
        let mut off = l.clone();
        off.inotify.delete = false;
        assert_ne!(settings(&off, &r), before);
        let mut filtered = l;
        filtered.filter.exclude.push("a".into());
        assert_ne!(settings(&filtered, &r), before);
    }
}
