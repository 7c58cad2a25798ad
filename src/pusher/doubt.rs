//! Whether a remote still has what it has acknowledged (rule 26). Pure.
//!
//! A slave's own power cut, a disk that was replaced, a module that was not mounted: nothing of that is said by anybody.
//! What shows it are an outage, after which the last minute and the names in the root are looked at, and a directory that a
//! push had to make though nobody had marked it.

use crate::config::model::Toggles;
use crate::journal::Events;
use crate::path::RelPath;
use crate::rsync::exit_status::{Judgement, Trouble, Verdict};
use crate::rsync::itemize::{Change, ChangeKind};
use crate::stat::Stat;

/// What is not known of a remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Nothing happened that it could have lost something in.
    No,
    /// It is out of reach: when it is back, what it settled in the minute before is pushed once more, and then the names in
    /// its root are compared.
    Away,
    /// The names in its root are to be compared.
    Names,
}

impl Doubt {
    /// For a status.
    pub fn words(self) -> Option<&'static str> {
        match self {
            Doubt::No => None,
            Doubt::Away => Some("it was out of reach: what it had is compared when it is back"),
            Doubt::Names => Some("comparing the names in its root: it may have lost something"),
        }
    }
}

/// True when a remote may have lost something in the trouble that this is a sign of.
pub fn is_outage(judgement: &Judgement) -> bool {
    match judgement.verdict {
        // Of this side; and a slave that is full goes on as it is.
        Verdict::Remote(Trouble::Killed | Trouble::Full | Trouble::ConnectionLimited) => false,
        Verdict::Remote(Trouble::Unreachable | Trouble::Broken | Trouble::Storage) => true,
        // A module's directory that is gone, too.
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

/// What a comparison of the names in the root found, as far as it may be a sign.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Missing there.
    pub missing: Vec<RelPath>,
    /// Too much there.
    pub surplus: Vec<RelPath>,
}

/// One that differs is enough; some more, for those that are on their way.
const NAMES_MOST: usize = 10_000;

impl Names {
    /// Takes one line in. Only names that events would have marked, as `toggles` say, are a sign; `skipped` says what marks
    /// by no event.
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

/// True when a directory that a push had to make is a sign, if nobody had marked it.
pub fn tells(change: &Change, toggles: Toggles) -> bool {
    let made = change.kind == ChangeKind::Created && change.differs.kind == b'd';
    made && !change.path.is_root() && toggles.create_folder && toggles.move_to
}

/// True when a directory may have been moved here after `seen_ns`, a file time: a move changes its ctime alone.
pub fn may_have_come(stat: &Stat, seen_ns: i64) -> bool {
    stat.ctime_ns > seen_ns && stat.ctime_ns != stat.mtime_ns
}

/// True when what happened to a directory here is no reason for a remote to lack it.
pub fn only_changed(events: Events) -> bool {
    let changes = Events::WRITE | Events::ATTRIB | Events::CONTENT | Events::DIR;
    events.intersects(changes) && events.difference(changes).is_empty()
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
    fn a_directory_that_was_moved_here_just_now_may_be_about_to_be_marked() {
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
        assert!(may_have_come(&stat(11, 5), 10));
        assert!(!may_have_come(&stat(9, 5), 10), "the watcher has seen it");
        assert!(!may_have_come(&stat(11, 11), 10), "something was made in it");
    }

    #[test]
    fn what_an_outage_is() {
        for (code, words, outage) in [
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
            let judgement = verdict(Exited::Code(code), words.as_bytes());
            assert_eq!(is_outage(&judgement), outage, "{code}: {words}");
        }
        assert!(!is_outage(&verdict(Exited::Signal(9), b"")), "ended here");
    }

    #[test]
    fn which_names_are_a_sign() {
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
    fn a_directory_that_was_only_changed_was_there() {
        for (events, only) in [
            (Events::ATTRIB, true),
            (Events::ATTRIB | Events::DIR, true),
            (Events::CONTENT, true),
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
    fn which_directories_tell() {
        let all = Toggles::MODERN;
        for (line, toggles, tell) in [
            ("cd+++++++++ d/e/", all, true),
            ("cd+++++++++ d/", all, true),
            ("cd+++++++++ ./", all, false),
            ("<f+++++++++ d/f", all, false),
            (".d..t...... d/", all, false),
            ("*deleting   d/", all, false),
            ("cd+++++++++ d/", Toggles { create_folder: false, ..all }, false),
            ("cd+++++++++ d/", Toggles { move_to: false, ..all }, false),
        ] {
            assert_eq!(tells(&change(line), toggles), tell, "{line} {toggles:?}");
        }
    }
}
