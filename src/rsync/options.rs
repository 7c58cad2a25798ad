//! Every option of rsync (3.5.0's manual, and the names that only its parser knows), and how syncsup treats each one
//! that a user writes (design rule 22). Pure. `tests/rsync/options.rs` checks the table against the installed rsync.
//!
//! rsync accepts no abbreviations. A long option has its value after a `=` or in the next argument, even if that
//! argument looks like an option. A short option has its value in the rest of its argument, with or without a `=`, or
//! in the next argument.

/// One option.
#[derive(Debug)]
pub struct Opt {
    /// The long names that turn it on, the manual's name first; none for `-P` and the like.
    pub long: &'static [&'static str],
    /// The long names that turn it off (`no-times`).
    pub off: &'static [&'static str],
    /// Its letter.
    pub short: Option<u8>,
    /// Its value.
    pub value: Value,
    /// How syncsup treats it.
    pub class: Class,
    /// The first rsync version that knows it, if newer than 3.1.0.
    pub since: Option<(u32, u32, u32)>,
}

/// The kind of an option's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// No value; rsync refuses a `=`.
    None,
    /// Any string.
    Word,
    /// A number.
    Number,
    /// A file that rsync opens locally; `-` would be our list.
    File,
    /// A file that rsync opens locally. Its name is absolute, so that a push does not confuse it with a name in the
    /// tree.
    AbsoluteFile,
    /// A directory of the remote, which must not lie in the replicated tree.
    OutsideDir,
    /// The same, but rsync itself keeps a relative directory out of the replicated tree.
    PartialDir,
    /// A filter rule, which may name a file.
    Rule,
    /// An option for the other end.
    Option,
}

/// How an option is used in the rsyncs that are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Passed to every rsync that pushes or compares.
    Passed,
    /// The same, and `check` warns: the reason.
    Warned(&'static str),
    /// How the other end is reached, and how names and data travel: passed to every rsync that is started.
    Connection,
    /// Which further attributes of a file are kept: passed to every rsync that pushes, compares, or fetches.
    Kept,
    /// A filter rule.
    Filter,
    /// Passed to a push. In a comparison it would list what is equal.
    PushOnly,
    /// A tolerance for times: in a comparison it replaces ours.
    Window,
    /// A key of the configuration; its value is used where the key is not given.
    Setting,
    /// Left out silently: every form of a push sets it itself, or reads the output that it would change.
    Replaced,
    /// Left out with a warning: the reason.
    Dropped(&'static str),
    /// An error: the reason, and what to do.
    Refused(&'static str, &'static str),
}

const NOTHING: &str = phrase!("it would replicate nothing");
const REMOVE: &str = phrase!("remove it");
const SERVER: &str = phrase!("it is rsync's own");
const SOURCE: &str = phrase!("it deletes files on the master");
const DELETE: &str =
    phrase!("whether anything is deleted on a remote follows `delete` of the inotify section");
const ALTERNATE: &str =
    phrase!("syncsup uses it for renamed files, and rsync may skip a file that it finds there");
const ENDS: &str = phrase!("a push that it stops would start over again and again");
const BATCH: &str = phrase!("every push and every reconcile would overwrite that file");
const FOLLOWED: &str =
    phrase!("what a link points to is not watched, and a followed directory would arrive empty");
const FOLLOWED_DO: &str = phrase!(
    "remove it, and mount the directory in the link's place with `mount --bind`, or give it a \
     localpath of its own"
);
const NEVER: &str = phrase!("remotes would keep old files and count as in sync");
const TORN: &str = phrase!("an interrupted transfer leaves an incomplete file under its real name");
const SIZE: &str = phrase!("files that it leaves out are not replicated, and count as in sync");

const fn on(long: &'static [&'static str], class: Class) -> Opt {
    Opt { long, off: &[], short: None, value: Value::None, class, since: None }
}

const fn with(long: &'static [&'static str], value: Value, class: Class) -> Opt {
    Opt { long, off: &[], short: None, value, class, since: None }
}

impl Opt {
    const fn off(self, off: &'static [&'static str]) -> Self {
        Opt { off, ..self }
    }
    const fn letter(self, letter: u8) -> Self {
        Opt { short: Some(letter), ..self }
    }
    const fn since(self, major: u32, minor: u32, patch: u32) -> Self {
        Opt { since: Some((major, minor, patch)), ..self }
    }
    /// The name that the manual uses, with its dashes.
    pub fn name(&self) -> String {
        match (self.long.first(), self.short) {
            (Some(long), _) => format!("--{long}"),
            (None, Some(letter)) => format!("-{}", char::from(letter)),
            (None, None) => String::new(),
        }
    }
    /// True for the option with this name in the manual (without dashes), or with this letter if it has no name.
    pub fn is(&self, name: &str) -> bool {
        match self.long.first() {
            Some(long) => *long == name,
            None => self.short.is_some_and(|letter| name.as_bytes() == [letter]),
        }
    }
    /// True when the next argument is its value if its own argument has none.
    pub fn has_value(&self) -> bool {
        self.value != Value::None
    }
}

/// The option of a long name (without dashes), and whether the name turns it on.
pub fn long(name: &[u8]) -> Option<(&'static Opt, bool)> {
    let has = |names: &[&str]| names.iter().any(|n| n.as_bytes() == name);
    OPTIONS.iter().find_map(|o| (has(o.long) || has(o.off)).then(|| (o, has(o.long))))
}

/// The option of a letter.
pub fn short(letter: u8) -> Option<&'static Opt> {
    OPTIONS.iter().find(|o| o.short == Some(letter))
}

/// Every long name.
pub fn names() -> Vec<&'static str> {
    OPTIONS.iter().flat_map(|o| o.long.iter().chain(o.off)).copied().collect()
}

use crate::language::phrase;
use Class::{
    Connection, Dropped, Filter, Kept, Passed, PushOnly, Refused, Replaced, Setting, Warned, Window,
};
use Value::{AbsoluteFile, File, Number, OutsideDir, Rule, Word};

/// The table, in the order of rsync's own help.
pub static OPTIONS: &[Opt] = &[
    // Output options: this program reads the output, so every form sets them itself.
    on(&["verbose"], Replaced).off(&["no-verbose", "no-v"]).letter(b'v'),
    with(&["info"], Word, Replaced),
    with(&["debug"], Word, Replaced),
    with(&["stderr"], Word, Replaced).since(3, 2, 3),
    on(&["msgs2stderr"], Replaced).off(&["no-msgs2stderr"]),
    on(&["quiet"], Replaced).letter(b'q'),
    on(&["motd"], Replaced).off(&["no-motd"]),
    on(&["stats"], Replaced),
    on(&["8-bit-output"], Replaced).off(&["no-8-bit-output", "no-8"]).letter(b'8'),
    on(&["human-readable"], Replaced).off(&["no-human-readable", "no-h"]).letter(b'h'),
    on(&["progress"], Replaced).off(&["no-progress"]),
    on(&["itemize-changes"], Replaced).off(&["no-itemize-changes", "no-i"]).letter(b'i'),
    with(&["out-format", "log-format"], Word, Replaced),
    with(&["outbuf"], Word, Replaced),
    with(&["log-file"], AbsoluteFile, Passed),
    with(&["log-file-format"], Word, Passed),
    // Which files differ.
    on(&["checksum"], Passed).off(&["no-checksum", "no-c"]).letter(b'c'),
    on(&["ignore-times"], PushOnly).letter(b'I'),
    on(&["size-only"], Dropped(phrase!("a file of the same size and other content would stay old"))),
    with(&["modify-window"], Number, Window).letter(b'@'),
    on(&["update"], Dropped(phrase!("a file restored from a backup is older and would never be replicated")))
        .letter(b'u'),
    on(&["existing", "ignore-non-existing"], Refused(NEVER, REMOVE)),
    on(&["ignore-existing"], Refused(NEVER, REMOVE)),
    on(&["append"], Dropped(phrase!("a file that changed elsewhere than at its end would stay wrong")))
        .off(&["no-append"]),
    on(&["append-verify"], Dropped(phrase!("a file that did not grow would stay old"))),
    with(&["max-size"], Word, Warned(SIZE)),
    with(&["min-size"], Word, Warned(SIZE)),
    on(&["prune-empty-dirs"], Dropped(phrase!("an empty directory of the master would be missing on the remote")))
        .off(&["no-prune-empty-dirs", "no-m"])
        .letter(b'm'),
    // The depth of a push, and what it lists.
    on(&["archive"], Passed).letter(b'a'),
    on(&["recursive"], Replaced).off(&["no-recursive", "no-r"]).letter(b'r'),
    on(&["inc-recursive", "i-r"], Passed).off(&["no-inc-recursive", "no-i-r"]),
    on(&["relative"], Replaced).off(&["no-relative", "no-R"]).letter(b'R'),
    on(&["implied-dirs", "i-d"], Replaced).off(&["no-implied-dirs", "no-i-d"]),
    on(&["dirs"], Replaced).off(&["no-dirs", "no-d"]).letter(b'd'),
    on(&["old-dirs", "old-d"], Replaced),
    on(&["mkpath"], Passed).off(&["no-mkpath"]).since(3, 2, 3),
    with(&["files-from"], File, Refused(phrase!("the list of files is syncsup's"), REMOVE)),
    on(&["from0"], Replaced).off(&["no-from0"]).letter(b'0'),
    on(&["one-file-system"], Passed).off(&["no-one-file-system", "no-x"]).letter(b'x'),
    on(&["qsort"], Passed),
    // Backups.
    on(&["backup"], Passed).off(&["no-backup"]).letter(b'b'),
    with(&["backup-dir"], OutsideDir, Passed),
    with(&["suffix"], Word, Passed),
    // How a file is written.
    on(&["inplace"], Warned(TORN)).off(&["no-inplace"]),
    on(&["partial"], Warned(TORN)).off(&["no-partial"]),
    Opt { short: Some(b'P'), ..on(&[], Warned(TORN)) },
    with(&["partial-dir"], Value::PartialDir, Passed),
    with(&["temp-dir"], OutsideDir, Passed).letter(b'T'),
    on(&["delay-updates"], Passed).off(&["no-delay-updates"]),
    on(&["whole-file"], Passed).off(&["no-whole-file", "no-W"]).letter(b'W'),
    on(&["sparse"], Kept).off(&["no-sparse", "no-S"]).letter(b'S'),
    on(&["preallocate"], Passed),
    on(&["fsync"], Passed).since(3, 2, 4),
    with(&["block-size"], Word, Passed).letter(b'B'),
    on(&["fuzzy"], Passed).off(&["no-fuzzy", "no-y"]).letter(b'y'),
    with(&["checksum-choice", "cc"], Word, Passed).since(3, 1, 3),
    with(&["checksum-seed"], Number, Passed),
    with(&["max-alloc"], Word, Passed).since(3, 2, 0),
    // Links.
    on(&["links"], Passed).off(&["no-links", "no-l"]).letter(b'l'),
    on(&["copy-links"], Refused(FOLLOWED, FOLLOWED_DO)).letter(b'L'),
    on(&["copy-unsafe-links"], Refused(FOLLOWED, FOLLOWED_DO)),
    on(&["copy-dirlinks"], Refused(FOLLOWED, FOLLOWED_DO)).letter(b'k'),
    on(
        &["keep-dirlinks"],
        Refused(
            phrase!("a directory that takes the place of a link would be written through the link on the remote"),
            phrase!("remove it, and mount the directory in the link's place there with `mount --bind`"),
        ),
    )
    .letter(b'K'),
    on(&["safe-links"], Passed),
    on(&["insecure-links"], Warned(phrase!("rsync follows links that others created in the paths to its files")))
        .off(&["no-insecure-links"])
        .since(3, 5, 0),
    with(&["confine-root"], Word, Passed).since(3, 5, 0),
    on(&["munge-links"], Passed).off(&["no-munge-links"]),
    on(&["hard-links"], Kept).off(&["no-hard-links", "no-H"]).letter(b'H'),
    // Which attributes of a file are kept.
    on(&["perms"], Passed).off(&["no-perms", "no-p"]).letter(b'p'),
    on(&["executability"], Passed).letter(b'E'),
    with(&["chmod"], Word, Passed),
    on(&["acls"], Kept).off(&["no-acls", "no-A"]).letter(b'A'),
    on(&["xattrs"], Kept).off(&["no-xattrs", "no-X"]).letter(b'X'),
    on(&["owner"], Passed).off(&["no-owner", "no-o"]).letter(b'o'),
    on(&["group"], Passed).off(&["no-group", "no-g"]).letter(b'g'),
    on(&["devices"], Passed).off(&["no-devices"]),
    on(&["specials"], Passed).off(&["no-specials"]),
    on(&["drop-D"], Passed).off(&["no-drop-D"]).since(3, 5, 0),
    Opt { short: Some(b'D'), ..on(&[], Passed) }.off(&["no-D"]),
    on(&["copy-devices"], Refused(phrase!("it would send the contents of whole disks"), REMOVE)),
    on(&["write-devices"], Refused(phrase!("it would write into devices of the remote"), REMOVE))
        .off(&["no-write-devices"]),
    on(&["times"], Passed).off(&["no-times", "no-t"]).letter(b't'),
    on(
        &["atimes"],
        Warned(phrase!("reading a file changes its access time, so every reconcile finds it different")),
    )
    .off(&["no-atimes", "no-U"])
    .letter(b'U')
    .since(3, 2, 0),
    on(&["open-noatime"], Passed).off(&["no-open-noatime"]).since(3, 2, 0),
    on(&["crtimes"], Refused(phrase!("rsync cannot do it on Linux"), REMOVE))
        .off(&["no-crtimes", "no-N"])
        .letter(b'N'),
    on(&["omit-dir-times"], Passed).off(&["no-omit-dir-times", "no-O"]).letter(b'O'),
    on(&["omit-link-times"], Passed).off(&["no-omit-link-times", "no-J"]).letter(b'J'),
    on(&["super"], Passed).off(&["no-super"]),
    on(&["fake-super"], Passed),
    on(&["numeric-ids"], Kept).off(&["no-numeric-ids"]),
    with(&["usermap"], Word, Passed),
    with(&["groupmap"], Word, Passed),
    with(&["chown"], Word, Passed),
    with(&["copy-as"], Word, Passed).since(3, 2, 1),
    // Options that would replicate nothing, or something else.
    on(&["dry-run"], Refused(NOTHING, REMOVE)).letter(b'n'),
    on(&["list-only"], Refused(NOTHING, REMOVE)),
    on(&["help"], Refused(NOTHING, REMOVE)),
    on(&["version"], Refused(NOTHING, REMOVE)).letter(b'V'),
    with(&["write-batch"], Word, Refused(BATCH, REMOVE)),
    with(&["only-write-batch"], Word, Refused(NOTHING, REMOVE)),
    with(&["read-batch"], Word, Refused(phrase!("it ignores the master"), REMOVE)),
    with(&["compare-dest"], Word, Refused(ALTERNATE, REMOVE)),
    with(&["copy-dest"], Word, Refused(ALTERNATE, REMOVE)),
    with(&["link-dest"], Word, Refused(ALTERNATE, REMOVE)),
    with(&["stop-after", "time-limit"], Word, Refused(ENDS, REMOVE)).since(3, 2, 3),
    with(&["stop-at"], Word, Refused(ENDS, REMOVE)).since(3, 2, 3),
    on(&["server"], Refused(SERVER, REMOVE)),
    on(&["sender"], Refused(SERVER, REMOVE)),
    on(&["daemon"], Refused(phrase!("it starts a server instead of a transfer"), REMOVE)),
    with(&["config"], Word, Refused(phrase!("it is an option of a daemon"), REMOVE)),
    with(&["dparam"], Word, Refused(phrase!("it is an option of a daemon"), REMOVE)),
    on(&["detach"], Refused(phrase!("it is an option of a daemon"), REMOVE)).off(&["no-detach"]),
    // Deletions.
    on(&["remove-source-files", "remove-sent-files"], Refused(SOURCE, REMOVE)),
    on(&["delete"], Dropped(DELETE)),
    on(&["del", "delete-during"], Dropped(DELETE)),
    on(&["delete-before"], Dropped(DELETE)),
    on(&["delete-delay"], Dropped(DELETE)),
    on(&["delete-after"], Dropped(DELETE)),
    on(&["delete-excluded"], Dropped(DELETE)),
    on(&["delete-missing-args"], Dropped(DELETE)),
    on(&["ignore-missing-args"], Replaced),
    on(&["ignore-errors"], Dropped(phrase!("after a read error, a file may seem missing that was only not read")))
        .off(&["no-ignore-errors"]),
    on(&["force"], Replaced).off(&["no-force"]),
    with(
        &["max-delete"],
        Number,
        Refused(
            phrase!("a reconcile would stop there, and count the rest as in sync"),
            phrase!("remove it; `max_delete` of the remote, or `delete` of the inotify section, says what may be deleted"),
        ),
    ),
    // How the other end is reached.
    with(&["rsh"], Word, Connection).letter(b'e'),
    with(&["rsync-path"], Word, Connection),
    on(&["blocking-io"], Connection).off(&["no-blocking-io"]),
    with(&["remote-option"], Value::Option, Connection).letter(b'M'),
    with(&["address"], Word, Connection),
    with(&["port"], Number, Setting),
    with(&["sockopts"], Word, Connection),
    with(&["password-file"], AbsoluteFile, Setting),
    with(&["early-input"], AbsoluteFile, Connection).since(3, 2, 1),
    with(&["timeout"], Number, Setting).off(&["no-timeout"]),
    with(&["contimeout"], Number, Setting).off(&["no-contimeout"]),
    with(&["bwlimit"], Word, Connection).off(&["no-bwlimit"]),
    with(&["protocol"], Number, Connection),
    with(&["iconv"], Word, Connection).off(&["no-iconv"]),
    on(&["ipv4"], Connection).letter(b'4'),
    on(&["ipv6"], Connection).letter(b'6'),
    on(&["old-args"], Replaced).off(&["no-old-args"]).since(3, 2, 4),
    on(&["secluded-args", "protect-args"], Connection)
        .off(&["no-secluded-args", "no-protect-args", "no-s"])
        .letter(b's'),
    on(&["trust-sender"], Connection).since(3, 2, 5),
    on(&["compress", "old-compress", "new-compress"], Connection)
        .off(&["no-compress", "no-z"])
        .letter(b'z'),
    with(&["compress-choice", "zc"], Word, Connection).since(3, 2, 0),
    with(&["compress-level", "zl"], Number, Connection),
    with(&["compress-threads", "zt"], Number, Connection),
    with(&["skip-compress"], Word, Connection),
    // Filters.
    on(&["cvs-exclude"], Filter).letter(b'C'),
    with(&["filter"], Rule, Filter).letter(b'f'),
    Opt { short: Some(b'F'), ..on(&[], Filter) },
    with(&["exclude"], Word, Filter),
    with(&["include"], Word, Filter),
    with(&["exclude-from"], File, Filter),
    with(&["include-from"], File, Filter),
];
