//! The subject of a call: a path, and what happened to it. Pure.
//!
//! A mark never says what to do. As for a push, the state of the path at the moment of the call decides: present is a
//! change, absent is a deletion. sersync called the plugin for every event that it had pushed, including deletions.

use crate::config::model::CallEvents;
use crate::journal::{Called, Due, Events, Scope};
use crate::stat::{Kind, Stat};
use std::path::Path;

/// What a plugin receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The absolute path, byte for byte.
    pub path: Vec<u8>,
    /// The part below the localpath, with its leading slash.
    pub below: Vec<u8>,
    /// It is, or was, a directory.
    pub dir: bool,
    /// It exists.
    pub present: bool,
    /// One inotify event that describes what happened, as sersync's `mask`.
    pub mask: u32,
}

/// What to do about a due row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Call the plugin. After success, record this about the path.
    Call(Subject, Option<Called>),
    /// Do not call. Record this.
    Skip(Option<Called>),
}

/// The granularity of the change time. A change this soon after a look may have the same change time.
const TICK_NS: i64 = 10_000_000;

const IN_ATTRIB: u32 = 0x4;
const IN_CLOSE_WRITE: u32 = 0x8;
const IN_MOVED_FROM: u32 = 0x40;
const IN_MOVED_TO: u32 = 0x80;
const IN_CREATE: u32 = 0x100;
const IN_DELETE: u32 = 0x200;
const IN_ISDIR: u32 = 0x4000_0000;

/// Decides about a path of the localpath `watch`. `stat` is what lstat returns now (`None`: the path is gone).
/// `file_ns` is the time with which file systems stamp changes. `before` is the state of the path at its last call.
pub fn decide(
    due: &Due,
    watch: &Path,
    stat: Option<&Stat>,
    file_ns: i64,
    before: Option<Called>,
    wanted: CallEvents,
) -> Decision {
    let dir = stat.map_or(due.events.contains(Events::DIR), |s| s.kind == Kind::Dir);
    let now = stat.map(|s| Called { dir, ino: s.ino, ctime_ns: s.ctime_ns });
    // After a kill, a scan finds paths again that were already called for.
    let same = match (before, now) {
        (Some(b), Some(n)) => b.dir == n.dir && b.ino == n.ino && (n.dir || b == n),
        _ => false,
    };
    if same && due.events.contains(Events::SCAN) {
        return Decision::Skip(before);
    }
    let happened = Events::WRITE | Events::ATTRIB | Events::CREATE | Events::DELETE | Events::MOVE;
    let only_scanned = due.scope == Scope::Children && !due.events.intersects(happened);
    let for_that = match stat {
        None => wanted.delete,
        Some(_) if is_attrib(due.events) => wanted.attrib,
        Some(_) => wanted.change,
    };
    // No call for the localpath itself, or for a directory in which a scan only found that names were added or removed.
    if due.path.is_root() || only_scanned || !for_that {
        return Decision::Skip(None);
    }
    let mut below = vec![b'/'];
    below.extend_from_slice(due.path.as_bytes());
    let path = due.path.below(watch).into_os_string().into_encoded_bytes();
    let mask = mask(due.events, stat.is_some(), dir);
    let known = now.filter(|n| n.dir || n.ctime_ns < file_ns - TICK_NS);
    Decision::Call(Subject { path, below, dir, present: stat.is_some(), mask }, known)
}

fn is_attrib(events: Events) -> bool {
    let content = Events::WRITE | Events::CREATE | Events::DELETE | Events::MOVE | Events::SCAN;
    events.contains(Events::ATTRIB) && !events.intersects(content)
}

fn mask(events: Events, present: bool, dir: bool) -> u32 {
    let event = match present {
        false if events.contains(Events::MOVE) => IN_MOVED_FROM,
        false => IN_DELETE,
        true if is_attrib(events) => IN_ATTRIB,
        true if events.contains(Events::WRITE) && !dir => IN_CLOSE_WRITE,
        true if events.contains(Events::MOVE) => IN_MOVED_TO,
        true if dir || events.contains(Events::CREATE) => IN_CREATE,
        true => IN_CLOSE_WRITE,
    };
    if dir { event | IN_ISDIR } else { event }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::RelPath;

    fn due(path: &[u8], scope: Scope, events: Events) -> Due {
        let path = RelPath::new(path).unwrap();
        Due { path, seq: 1, scope, events, attempts: 0, since_ms: 0 }
    }

    fn stat(kind: Kind) -> Stat {
        Stat { kind, size: 1, mtime_ns: 1, ctime_ns: 1, sparse: false, nlink: 1, dev: 1, ino: 7 }
    }

    const NOW: i64 = 1_000_000_000;

    fn decision(due: &Due, stat: Option<&Stat>, before: Option<Called>) -> Decision {
        decide(due, Path::new("/data"), stat, NOW, before, CallEvents::default())
    }

    fn subject(due: &Due, stat: Option<&Stat>) -> Subject {
        match decision(due, stat, None) {
            Decision::Call(subject, _) => subject,
            skip => panic!("{skip:?}"),
        }
    }

    #[test]
    fn paths_are_bytes_and_the_mask_is_inotifys() {
        let hostile = b"a b/$(x)\n\xff";
        let file = stat(Kind::File);
        let s = subject(&due(hostile, Scope::Entry, Events::WRITE), Some(&file));
        assert_eq!(s.path, b"/data/a b/$(x)\n\xff");
        assert_eq!(s.below, b"/a b/$(x)\n\xff");
        assert_eq!((s.present, s.dir, s.mask), (true, false, 8));
        let of = |events, stat: Option<&Stat>| subject(&due(b"x", Scope::Entry, events), stat).mask;
        let dir = stat(Kind::Dir);
        assert_eq!(of(Events::DELETE, None), 0x200);
        assert_eq!(of(Events::DELETE | Events::DIR, None), 0x4000_0200);
        assert_eq!(of(Events::MOVE | Events::DELETE, None), 0x40);
        assert_eq!(of(Events::MOVE, Some(&file)), 0x80);
        assert_eq!(of(Events::ATTRIB, Some(&file)), 4);
        assert_eq!(of(Events::CREATE | Events::DIR, Some(&dir)), 0x4000_0100);
        assert_eq!(of(Events::DELETE | Events::WRITE, Some(&file)), 8, "it came back");
    }

    #[test]
    fn a_scan_does_not_call_twice() {
        let file = stat(Kind::File);
        let found = due(b"x", Scope::Entry, Events::WRITE | Events::SCAN);
        let same = Called { dir: false, ino: 7, ctime_ns: 1 };
        assert_eq!(decision(&found, Some(&file), Some(same)), Decision::Skip(Some(same)));
        for other in [Called { ino: 8, ..same }, Called { ctime_ns: 2, ..same }] {
            let decision = decision(&found, Some(&file), Some(other));
            assert!(matches!(decision, Decision::Call(_, Some(called)) if called == same));
        }
        // After an event the plugin is called, whatever was called for before.
        let event = due(b"x", Scope::Entry, Events::WRITE);
        assert!(matches!(decision(&event, Some(&file), Some(same)), Decision::Call(..)));
        // A file that was written just now has no reliable state.
        let young = Stat { ctime_ns: NOW - 1, ..file };
        assert!(matches!(decision(&event, Some(&young), None), Decision::Call(_, None)));
        // A directory's change time changes with its entries.
        let moved = due(b"d", Scope::Tree, Events::SCAN | Events::DIR);
        let dir = Stat { ctime_ns: NOW, ..stat(Kind::Dir) };
        let known = Called { dir: true, ino: 7, ctime_ns: 3 };
        assert_eq!(decision(&moved, Some(&dir), Some(known)), Decision::Skip(Some(known)));
        assert!(matches!(decision(&moved, Some(&dir), None), Decision::Call(_, Some(_))));
    }

    #[test]
    fn unwanted_events_are_skipped() {
        let (file, dir) = (stat(Kind::File), stat(Kind::Dir));
        let scanned = due(b"d", Scope::Children, Events::SCAN | Events::DIR);
        assert_eq!(decision(&scanned, Some(&dir), None), Decision::Skip(None));
        let root = due(b"", Scope::Tree, Events::MOVE);
        assert_eq!(decision(&root, Some(&dir), None), Decision::Skip(None));
        let only = |change, attrib, delete| CallEvents { change, attrib, delete };
        for (events, stat, wanted, called) in [
            (Events::WRITE, Some(&file), only(true, false, false), true),
            (Events::WRITE, Some(&file), only(false, true, true), false),
            (Events::ATTRIB, Some(&file), only(true, false, true), false),
            (Events::DELETE, None, only(false, false, true), true),
            (Events::DELETE, None, only(true, true, false), false),
        ] {
            let due = due(b"x", Scope::Entry, events);
            let decision = decide(&due, Path::new("/"), stat, NOW, None, wanted);
            assert_eq!(matches!(decision, Decision::Call(..)), called, "{events:?} {wanted:?}");
        }
    }
}
