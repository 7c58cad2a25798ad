//! Whether a remote still has what it has acknowledged (rule 26). Pure.
//!
//! No error reports that a slave lost its power, that its disk was replaced or that its module was not mounted. There
//! are two signs: an outage, after which the paths of the last minute are pushed again and the names in the root are
//! compared, and a directory that a push had to create although it was not marked.

use crate::config::model::Toggles;
use crate::journal::Events;
use crate::path::RelPath;
use crate::rsync::exit_status::{Judgement, Trouble, Verdict};
use crate::rsync::itemize::{Change, ChangeKind};
use crate::stat::Stat;

/// Whether a remote may have lost data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Nothing indicates a loss.
    No,
    /// It is unreachable. When it is back, what it settled in the minute before is pushed again, and then the names in
    /// its root are compared.
    Unreachable,
    /// The names in its root must be compared.
    Names,
}

impl Doubt {
    /// The text for a status.
    pub fn message(self) -> Option<&'static str> {
        match self {
            Doubt::No => None,
            Doubt::Unreachable => {
                Some("it was unreachable: the names in its root are compared when it is back")
            }
            Doubt::Names => Some("comparing the names in its root: it may have lost data"),
        }
    }
}

/// True if a remote may have lost data in the outage that this failure indicates.
pub fn is_outage(judgement: &Judgement) -> bool {
    match judgement.verdict {
        // The cause is local, or the slave is full, and it has lost nothing.
        Verdict::Remote(Trouble::Killed | Trouble::Full | Trouble::ConnectionLimited) => false,
        Verdict::Remote(Trouble::Unreachable | Trouble::Broken | Trouble::Storage) => true,
        // A missing directory of a module is one of these.
        Verdict::Configuration => true,
        Verdict::Settled
        | Verdict::Partial
        | Verdict::Gone
        | Verdict::Upset
        | Verdict::Source
        | Verdict::FormB
        | Verdict::NoDelete
        | Verdict::Refused(_) => false,
    }
}

/// The differences between the names in the root that may be a sign of a loss.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Names that the remote lacks.
    pub missing: Vec<RelPath>,
    /// Names that only the remote has.
    pub surplus: Vec<RelPath>,
}

/// One name is enough for a sign. More are kept, because some may be in flight.
const NAMES_MOST: usize = 10_000;

impl Names {
    /// Adds one line of rsync's output. Only names whose events mark them are a sign: `toggles` says which events mark,
    /// and `skipped` is true for names that no event marks.
    pub fn add(&mut self, change: &Change, toggles: Toggles, skipped: bool) {
        let in_root = change.path.parent().is_some_and(|dir| dir.is_root());
        if !in_root || skipped || self.missing.len() + self.surplus.len() >= NAMES_MOST {
            return;
        }
        let comes = toggles.move_to
            && match change.differs.kind {
                b'd' => toggles.create_folder,
                b'f' => toggles.close_write,
                _ => false,
            };
        let goes = toggles.delete && toggles.move_from;
        match change.kind {
            ChangeKind::Created if comes => self.missing.push(change.path.clone()),
            ChangeKind::Deleted if goes => self.surplus.push(change.path.clone()),
            ChangeKind::Created
            | ChangeKind::Deleted
            | ChangeKind::Sent
            | ChangeKind::Attributes => {}
        }
    }
}

/// True if a directory that a push had to create is a sign of a loss, unless it was marked.
pub fn is_sign(change: &Change, toggles: Toggles) -> bool {
    let created = change.kind == ChangeKind::Created && change.differs.kind == b'd';
    created && !change.path.is_root() && toggles.create_folder && toggles.move_to
}

/// True if a directory may have been moved into the localpath after `seen_ns`, a file time: a move changes only its
/// ctime.
pub fn may_have_moved_in(stat: &Stat, seen_ns: i64) -> bool {
    stat.ctime_ns > seen_ns && stat.ctime_ns != stat.mtime_ns
}

/// True if these events do not explain why a remote lacks a directory: they are of a directory that was there before, and
/// not of a file whose name it has taken since.
pub fn only_changed(events: Events) -> bool {
    let changes = Events::WRITE | Events::ATTRIB | Events::CONTENT;
    let all_known = events.difference(changes | Events::DIR).is_empty();
    events.contains(Events::DIR) && events.intersects(changes) && all_known
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rsync::exit_status::verdict;
    use crate::rsync::itemize::{Line, parse};
    use crate::stat::{Exited, Kind};

    fn change(line: &str) -> Change {
        let Line::Change(change) = parse(line.as_bytes()) else { panic!("{line}") };
        change
    }

    #[test]
    fn a_directory_that_was_just_moved_in_may_not_be_marked_yet() {
        let stat = |ctime_ns, mtime_ns| Stat {
            kind: Kind::Dir,
            size: 4096,
            mtime_ns,
            ctime_ns,
            sparse: false,
            nlink: 2,
            dev: 1,
            ino: 2,
        };
        assert!(may_have_moved_in(&stat(11, 5), 10));
        assert!(!may_have_moved_in(&stat(9, 5), 10), "the watcher has seen it");
        assert!(!may_have_moved_in(&stat(11, 11), 10), "an entry was created in it");
    }

    #[test]
    fn only_trouble_of_the_remote_is_an_outage() {
        for (code, message, outage) in [
            (10, "rsync: failed to connect to h: Connection refused (111)", true),
            (12, "rsync: connection unexpectedly closed (0 bytes received so far) [sender]", true),
            (30, "rsync error: timeout in data send/receive (code 30)", true),
            (35, "rsync error: timeout waiting for daemon connection (code 35)", true),
            (255, "ssh: connect to host h port 22: No route to host", true),
            (5, "@ERROR: chdir failed", true),
            (11, "rsync: write failed on \"f\" (in m): Input/output error (5)", true),
            (11, "rsync: write failed on \"f\" (in m): No space left on device (28)", false),
            (5, "@ERROR: max connections (4) reached -- try again later", false),
            (0, "", false),
            (23, "rsync: send_files failed to open \"f\": Permission denied (13)", false),
            (24, "file has vanished: \"f\"", false),
            (3, "rsync: change_dir \"/m\" failed", false),
        ] {
            let judgement = verdict(Exited::Code(code), message.as_bytes());
            assert_eq!(is_outage(&judgement), outage, "{code}: {message}");
        }
        assert!(!is_outage(&verdict(Exited::Signal(9), b"")), "killed locally");
    }

    #[test]
    fn only_names_that_events_mark_are_a_sign() {
        let all = Toggles::MODERN;
        for (line, toggles, skipped, sign) in [
            ("cd+++++++++ d/", all, false, (1, 0)),
            ("<f+++++++++ f", all, false, (1, 0)),
            ("*deleting   d/", all, false, (0, 1)),
            ("*deleting   f", all, false, (0, 1)),
            ("<f+++++++++ .hidden", all, true, (0, 0)),
            ("<f+++++++++ d/below", all, false, (0, 0)),
            ("<f.st...... f", all, false, (0, 0)),
            (".d..t...... d/", all, false, (0, 0)),
            (".d..t...... ./", all, false, (0, 0)),
            ("cd+++++++++ ./", all, false, (0, 0)),
            ("cS+++++++++ fifo", all, false, (0, 0)),
            ("cd+++++++++ d/", Toggles { create_folder: false, ..all }, false, (0, 0)),
            ("<f+++++++++ f", Toggles { close_write: false, ..all }, false, (0, 0)),
            ("<f+++++++++ f", Toggles { move_to: false, ..all }, false, (0, 0)),
            ("*deleting   f", Toggles { delete: false, ..all }, false, (0, 0)),
            ("*deleting   f", Toggles { move_from: false, ..all }, false, (0, 0)),
        ] {
            let mut names = Names::default();
            names.add(&change(line), toggles, skipped);
            assert_eq!((names.missing.len(), names.surplus.len()), sign, "{line} {toggles:?}");
        }
    }

    #[test]
    fn only_changes_do_not_explain_a_missing_directory() {
        for (events, only) in [
            (Events::ATTRIB | Events::DIR, true),
            (Events::CONTENT | Events::DIR, true),
            (Events::ATTRIB, false),
            (Events::WRITE, false),
            (Events::DIR, false),
            (Events::CREATE | Events::DIR, false),
            (Events::CREATE | Events::ATTRIB, false),
            (Events::MOVE | Events::DIR, false),
            (Events::ATTRIB | Events::SCAN, false),
            (Events::RECONCILE, false),
            (Events::ATTRIB | Events::AGAIN, false),
            (Events::default(), false),
        ] {
            assert_eq!(only_changed(events), only, "{events:?}");
        }
    }

    #[test]
    fn only_created_directories_that_events_mark_are_a_sign() {
        let all = Toggles::MODERN;
        for (line, toggles, sign) in [
            ("cd+++++++++ d/e/", all, true),
            ("cd+++++++++ d/", all, true),
            ("cd+++++++++ ./", all, false),
            ("<f+++++++++ d/f", all, false),
            (".d..t...... d/", all, false),
            ("*deleting   d/", all, false),
            ("cd+++++++++ d/", Toggles { create_folder: false, ..all }, false),
            ("cd+++++++++ d/", Toggles { move_to: false, ..all }, false),
        ] {
            assert_eq!(is_sign(&change(line), toggles), sign, "{line} {toggles:?}");
        }
    }
}
