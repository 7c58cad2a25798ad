//! The arguments of an rsync command line, its list and its rules. `tests/rsync/forms.rs` runs every form against real
//! daemons.
//!
//! All forms run in the root of the localpath with `./` as their source, read their list (if any) from stdin, and print
//! `%i %n` lines for [`super::itemize`].

use super::charset::Charsets;
use super::params::{self, OwnFilters, Use};
use super::peer::{Peer, Target};
use super::ssh;
use crate::path::{OsBytes, RelPath, file_name};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The directory in the root of a remote that keeps what pushes delete and overwrite on that remote. The name is
/// reserved. In the root of a localpath it is never replicated. On a remote it is never deleted, whether the remote has
/// a trash or not.
pub const TRASH: &str = ".syncsup-trash";

/// The work of one rsync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// Sends the entries of [`list`] and enters none of them. Deletes missing ones when `delete`, else ignores them.
    Batch {
        /// Delete entries that are listed and missing (`--delete-missing-args`).
        delete: bool,
    },
    /// The first half of form B: sends the entries of [`list`], ignores missing ones, deletes nothing.
    Send,
    /// The same with [`list_whole`]: rsync reads these directories itself. The options leave out what the filter
    /// excludes.
    SendWhole {
        /// From [`crate::filter::Filter::as_rsync_options`].
        options: Vec<OsBytes>,
    },
    /// Sends the entries of [`list`], and everything below those that are directories. Deletes nothing.
    SendTrees {
        /// The same.
        options: Vec<OsBytes>,
    },
    /// Sends everything, as rsync does without a list, which is cheaper. Deletes nothing. Reads no list.
    SendEverything {
        /// The same.
        options: Vec<OsBytes>,
    },
    /// The second half of form B. Takes [`list_directories`] of the existing parents of absent names, and a file with
    /// [`risk_rules`] that puts only those names at risk. Sends only the attributes of the listed directories and their
    /// parents.
    ///
    /// With [`OwnFilters::Excludes`] the user's excludes come before the rules and protect the names that they match.
    /// With [`OwnFilters::Rules`] the user's filters are left out. A dry run ([`Form::Tree`], [`Form::Children`]) must
    /// then first find what may be deleted, and it must be given as single names.
    DeleteB {
        /// The file with the rules, under a name that rsync can open (`/proc/self/fd/N` for an inherited memfd).
        rules: PathBuf,
    },
    /// Deletes the entries of [`list`], each of which is missing locally, also below directories that are missing
    /// themselves. It needs no rules, which a remote that converts names (`--iconv`) cannot read. Give it only names
    /// that a comparison has found on the remote, because it also deletes what the user's filters exclude. It exits
    /// with 24 where a directory above a name is missing.
    DeleteNamed,
    /// Gives files on the remote second names, as hard links: takes a [`list`] with both names of each file, which are
    /// hard links here. It sends no content: run it over placeholders that nobody can read. It sets no mode and no
    /// owner. It exits with 23 where the remote has no such file under either name.
    Rename,
    /// Sets mode, owner and times of the root itself, which no list can name without the files in it. Reads no list.
    Root,
    /// Dry run: the directories of [`list_directories`] and the names directly in them, deletions included.
    Children,
    /// Dry run: the directories of [`list_directories`] and everything below, deletions included.
    Tree,
    /// Dry run: everything, deletions included. Reads no list.
    Everything {
        /// Patterns in rsync's own language to leave out (sersync's `crontabfilter`).
        exclude: Vec<OsBytes>,
    },
}

/// What shows that the remote has a file already. Whatever it is, mode, owner and times are set if they differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// The same size and time (rsync's quick check).
    #[default]
    Quick,
    /// The same content (design rule 3).
    Content,
    /// Nothing: every file is sent, and replaces what the remote has under its name.
    Nothing,
}

impl Check {
    /// The content, or size and time.
    pub fn by_content(yes: bool) -> Self {
        if yes { Check::Content } else { Check::Quick }
    }
}

/// Further settings of a push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What shows that a file need not be sent.
    pub check: Check,
    /// Change nothing. `Children`, `Tree` and `Everything` never change anything.
    pub dry: bool,
    /// Allow deletions. If off, no form has `--delete…` or `--force`.
    pub delete: bool,
    /// Allow the deletion of a directory with content, also to make way for what is sent (`--force`). Never without
    /// `delete`.
    pub force: bool,
    /// Print the totals of [`super::itemize::Totals`] at the end.
    pub stats: bool,
    /// Also print a line for what is equal, to show how far a comparison has come.
    pub unchanged: bool,
}

/// The environment that an rsync gets in addition to the inherited one. A password file counts before the variable.
/// Without either, rsync would ask for a password on the terminal, where nobody answers.
pub const ENV: &[(&str, &str)] = &[("LC_ALL", "C"), ("RSYNC_PASSWORD", "")];
/// Variables that it must not inherit: each changes which peer is contacted, what is sent or how the output looks.
/// `RSYNC_CONNECT_PROG` stays, because it sets up TLS.
pub const ENV_REMOVE: &[&str] = &[
    "RSYNC_RSH",
    "RSYNC_ICONV",
    "RSYNC_PARTIAL_DIR",
    "RSYNC_OLD_ARGS",
    "RSYNC_PROTECT_ARGS",
    "CVSIGNORE",
    "LANGUAGE",
];

/// Variables with which rsync does not connect to the daemon's port.
pub const CONNECTS_ELSEWHERE: &[&str] = &["RSYNC_PROXY", "RSYNC_CONNECT_PROG"];
/// The first bytes that a daemon sends.
pub const DAEMON_GREETING: &[u8] = b"@RSYNCD:";

/// The lowest timeout of a comparison of content, in seconds.
const CONTENT_TIMEOUT_S: u32 = 3_600;

/// The command line, program first.
pub fn argv(peer: &Peer, form: &Form, options: Options) -> Vec<OsString> {
    let mut words = Words(vec![peer.rsync_program.as_bytes().to_vec()]);
    words.0.extend(user_words(peer, form, options).iter().map(|w| w.as_bytes().to_vec()));
    common(&mut words, peer, form, options);
    form_words(&mut words, form, options, &peer.params);
    words.add("--");
    words.add("./");
    words.0.push(destination(peer));
    words.0.into_iter().map(OsString::from_vec).collect()
}

struct Words(Vec<Vec<u8>>);

impl Words {
    fn add(&mut self, word: impl Into<String>) {
        self.0.push(word.into().into_bytes());
    }
    fn add_if(&mut self, yes: bool, word: &str) {
        if yes {
            self.add(word);
        }
    }
    fn add_bytes(&mut self, option: &str, value: &[u8]) {
        self.0.push([option.as_bytes(), value].concat());
    }
}

/// The user's own parameters in place of `-a`; `-a` without any.
fn user_words(peer: &Peer, form: &Form, options: Options) -> Vec<OsBytes> {
    let filters = match form {
        Form::Root => false,
        Form::DeleteB { .. } => params::own_filters(&peer.params) != OwnFilters::Rules,
        _ => true,
    };
    if peer.params.is_empty() {
        return vec![OsBytes::from("-a")];
    }
    let used = if is_dry(form, options) { Use::Compare } else { Use::Push };
    params::clean(&peer.params, used, filters)
}

/// True for a form that changes nothing.
pub fn is_dry(form: &Form, options: Options) -> bool {
    options.dry || matches!(form, Form::Children | Form::Tree | Form::Everything { .. })
}

/// True for a form that changes the remote by a list alone, so that its rsync may be started before the list is known.
pub fn can_wait(form: &Form, options: Options) -> bool {
    let alone = matches!(form, Form::Batch { .. } | Form::Send | Form::SendWhole { .. });
    alone && !is_dry(form, options)
}

fn common(words: &mut Words, peer: &Peer, form: &Form, options: Options) {
    let dry = is_dry(form, options);
    words.add_if(dry, "-n");
    words.add("--from0");
    // The pushed paths were marked: a change of the same size within the user's window is a real change.
    let window = params::modify_window(&peer.params).filter(|_| dry).unwrap_or(-1);
    words.add(format!("--modify-window={window}"));
    words.add_if(options.delete && options.force, "--force");
    match options.check {
        Check::Quick => {}
        Check::Content => words.add("--checksum"),
        Check::Nothing => words.add("--ignore-times"),
    }
    // Receivers below 3.2.4 do not know it, so a comparison does not use it.
    words.add_if(peer.fsync && !dry, "--fsync");
    // It makes a daemon send one more small packet. Where the slave does not set TCP_NODELAY, that packet waits 40 ms
    // for our acknowledgement: five times the cost of a small push. The watchdog kills a push that makes no progress.
    if matches!(form, Form::Children | Form::Tree | Form::Everything { .. }) {
        // A remote that compares content is silent while it reads a large file.
        let least = if options.check == Check::Content { CONTENT_TIMEOUT_S } else { 0 };
        words.add(format!("--timeout={}", peer.timeout_s.max(least)));
    }
    words.add("--out-format=%i %n");
    words.add_if(options.unchanged, "-ii");
    if options.stats {
        words.add("--stats");
        words.add("--no-human-readable");
    }
    connect(words, peer);
}

/// The arguments that describe how the remote is reached, and its password file.
pub fn connection(peer: &Peer) -> Vec<OsString> {
    let mut words = Words(Vec::new());
    connect(&mut words, peer);
    words.0.into_iter().map(OsString::from_vec).collect()
}

fn connect(words: &mut Words, peer: &Peer) {
    let shell = params::remote_shell(&peer.params);
    match &peer.target {
        // With a remote shell of the user, even a daemon is not reached directly, and rsync refuses these.
        Target::Daemon { .. } if shell.is_some() => words.add("--no-motd"),
        Target::Daemon { .. } => {
            words.add("--no-motd");
            let wait_s = params::connect_timeout_s(&peer.params);
            words.add(format!("--contimeout={}", wait_s.unwrap_or(ssh::CONNECT_TIMEOUT_S)));
            words.add_if(!params::has(&peer.params, "sockopts"), "--sockopts=TCP_NODELAY");
            if let Some(file) = &peer.password_file {
                words.add_bytes("--password-file=", file.as_bytes());
            }
        }
        Target::Ssh { port, options, .. } => {
            // The remote path travels in the protocol, not through the remote shell.
            words.add("-s");
            words.add("-e");
            words.0.push(ssh_command(shell, *port, options));
        }
    }
}

fn form_words(words: &mut Words, form: &Form, options: Options, params: &[OsBytes]) {
    match form {
        Form::Batch { delete } => {
            words.add("--no-recursive");
            words.add(if *delete && options.delete {
                "--delete-missing-args"
            } else {
                "--ignore-missing-args"
            });
        }
        Form::DeleteNamed => {
            words.add("--no-recursive");
            // Otherwise the missing directories above are listed and deleted with everything in them.
            words.add("--no-implied-dirs");
            words.add(if options.delete {
                "--delete-missing-args"
            } else {
                "--ignore-missing-args"
            });
        }
        Form::Send => {
            words.add("--no-recursive");
            words.add("--ignore-missing-args");
        }
        Form::SendWhole { options } => {
            words.add("--no-recursive");
            words.add("--ignore-missing-args");
            options.iter().for_each(|option| words.add_bytes("", option.as_bytes()));
        }
        Form::SendEverything { options } => {
            words.add("--recursive");
            words.add(format!("--exclude=/{TRASH}"));
            options.iter().for_each(|option| words.add_bytes("", option.as_bytes()));
        }
        Form::SendTrees { options } => {
            words.add("--recursive");
            words.add("--ignore-missing-args");
            options.iter().for_each(|option| words.add_bytes("", option.as_bytes()));
        }
        Form::Rename => {
            words.add("--no-recursive");
            words.add("--hard-links");
            for none in ["--no-perms", "--no-owner", "--no-group", "--omit-dir-times"] {
                words.add(none);
            }
            for (attribute, none) in [("acls", "--no-acls"), ("xattrs", "--no-xattrs")] {
                words.add_if(params::has(params, attribute), none);
            }
        }
        Form::DeleteB { rules } => {
            words.add("--no-recursive");
            words.add("--ignore-missing-args");
            words.add_if(options.delete, "--delete");
            words.0.push([b"--include-from=", rules.as_os_str().as_encoded_bytes()].concat());
        }
        Form::Root => {
            words.add("--no-recursive");
            words.add("--dirs");
            words.add("--exclude=*");
        }
        Form::Children => {
            words.add("--no-recursive");
            words.add("--ignore-missing-args");
            keep_trash(words, options);
        }
        Form::Tree => {
            words.add("--recursive");
            words.add("--ignore-missing-args");
            keep_trash(words, options);
        }
        Form::Everything { exclude } => {
            words.add("--recursive");
            words.add_if(options.delete, "--delete");
            words.add(format!("--exclude=/{TRASH}"));
            exclude.iter().for_each(|pattern| words.add_bytes("--exclude=", pattern.as_bytes()));
        }
    }
    let listless =
        matches!(form, Form::Root | Form::Everything { .. } | Form::SendEverything { .. });
    words.add_if(!listless, "--files-from=-");
}

/// Deletes, but not the trash. An exclude would match a listed directory of that name anywhere.
fn keep_trash(words: &mut Words, options: Options) {
    if options.delete {
        words.add("--delete");
        words.add(format!("--filter=P /{TRASH}"));
    }
}

/// `ssh` and its options in one argument, which rsync splits again. Spaces separate, quotes group, a quote inside
/// quotes is doubled, and no escape exists.
fn ssh_command(user: Option<Vec<u8>>, port: Option<u16>, options: &[String]) -> Vec<u8> {
    let mut command = user.unwrap_or_else(|| b"ssh".to_vec());
    let program = command.split(|&b| b == b' ').next().unwrap_or_default();
    if program.rsplit(|&b| b == b'/').next() != Some(b"ssh") {
        return command;
    }
    for option in ssh::connection_words(port, options) {
        command.push(b' ');
        if option.contains([' ', '\'', '"']) {
            command.extend(format!("'{}'", option.replace('\'', "''")).into_bytes());
        } else {
            command.extend(option.as_bytes());
        }
    }
    command
}

/// `rsync://user@host:port/module/path/` or `user@host:/path/`.
pub fn destination(peer: &Peer) -> Vec<u8> {
    let host = if peer.host.contains(':') && !peer.host.starts_with('[') {
        format!("[{}]", peer.host)
    } else {
        peer.host.clone()
    };
    let user = peer.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
    let mut out = Vec::new();
    let path = match &peer.target {
        Target::Daemon { port, module } => {
            out.extend(format!("rsync://{user}{host}:{port}/").into_bytes());
            let module = module.as_bytes().strip_prefix(b"/").unwrap_or(module.as_bytes());
            let end = module.iter().position(|&b| b == b'/').unwrap_or(module.len());
            // The module's name is used literally; only the path in it is globbed.
            out.extend(&module[..end]);
            &module[end..]
        }
        Target::Ssh { path, .. } => {
            out.extend(format!("{user}{host}:").into_bytes());
            path.as_bytes()
        }
    };
    out.extend(escaped(path, false));
    if !out.ends_with(b"/") {
        out.push(b'/');
    }
    out
}

/// Escapes a name for rsync's matcher. In a pattern with a wildcard, a backslash escapes. Without a wildcard, a
/// backslash is literal.
pub fn escaped(name: &[u8], wild: bool) -> Vec<u8> {
    if !wild && !name.iter().any(|b| b"*?[".contains(b)) {
        return name.to_vec();
    }
    let mut out = Vec::with_capacity(name.len() + 8);
    for &b in name {
        if b"*?[\\".contains(&b) {
            out.push(b'\\');
        }
        out.push(b);
    }
    out
}

/// The list of entries for `Batch` and `Send`. Each entry has a leading `/`, which rsync strips; without it a name that
/// begins with `#` or `;` is a comment. NUL ends each entry. The root is left out, because rsync would send the files
/// in it: see [`Form::Root`].
pub fn list<'a>(entries: impl IntoIterator<Item = &'a RelPath>) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries.into_iter().filter(|entry| !entry.is_root()) {
        out.push(b'/');
        out.extend(entry.as_bytes());
        out.push(0);
    }
    out
}

/// The list for `SendWhole`: a directory whose names are all among the entries is listed as `/D/` in their place.
pub fn list_whole(entries: &[RelPath], whole: &BTreeSet<RelPath>) -> Vec<u8> {
    let named = |path: &&RelPath| {
        !whole.contains(*path) && path.parent().is_none_or(|parent| !whole.contains(&parent))
    };
    let mut out = list_directories(whole);
    out.extend(list(entries.iter().filter(named)));
    out
}

/// The list of directories for `Children`, `Tree` and `DeleteB`: `/D/` each; the root is `/`.
pub fn list_directories<'a>(directories: impl IntoIterator<Item = &'a RelPath>) -> Vec<u8> {
    let mut out = Vec::new();
    for directory in directories {
        out.push(b'/');
        if !directory.is_root() {
            out.extend(directory.as_bytes());
            out.push(b'/');
        }
        out.push(0);
    }
    out
}

/// The directories that a form with [`list_directories`] reads: the root if the form reads no list.
pub fn listed(form: &Form, list: &[u8]) -> Vec<RelPath> {
    if matches!(form, Form::Everything { .. }) {
        return vec![RelPath::root()];
    }
    let names = list.split(|&b| b == 0).filter(|name| !name.is_empty());
    let bare = |name: &[u8]| {
        name.strip_suffix(b"/").and_then(|n| n.strip_prefix(b"/")).map(<[u8]>::to_vec)
    };
    names.map(|name| bare(name).and_then(RelPath::new).unwrap_or_default()).collect()
}

/// The path in the module or on the host. The names of a receiver begin with it.
pub fn place_there(peer: &Peer) -> &[u8] {
    match &peer.target {
        Target::Daemon { module, .. } => {
            let bytes = module.as_bytes();
            bytes.iter().position(|&b| b == b'/').map_or(&b""[..], |slash| &bytes[slash..])
        }
        Target::Ssh { path, .. } => path.as_bytes(),
    }
}

/// The start of the names of this remote's rules files.
pub fn rules_prefix(peer: &str) -> String {
    format!("rules-{}-", file_name(peer))
}

/// The start of the names of this remote's directories of placeholders.
pub fn placeholders_prefix(peer: &str) -> String {
    format!("placeholders-{}-", file_name(peer))
}

/// True when the user's parameters contain filter rules: form B must then be used.
pub fn has_own_filters(remote_params: &[OsBytes]) -> bool {
    params::own_filters(remote_params) != OwnFilters::None
}

/// The rules that leave names out on both sides, NUL-separated: `patterns` in rsync's language, these directories and
/// these paths. A name that is too long for a rule gets none. rsync converts no rule, so where names are converted each
/// rule appears in both charsets.
pub fn leave_out_rules<'a>(
    patterns: &[Vec<u8>],
    directories: impl IntoIterator<Item = &'a RelPath>,
    paths: impl IntoIterator<Item = &'a RelPath>,
    charsets: Option<Charsets>,
) -> Vec<u8> {
    let there = |text: &[u8]| {
        let charsets = charsets.filter(|_| !text.is_ascii())?;
        charsets.there(text)
    };
    let named = |path: &RelPath, end: &[u8]| {
        let one = |name: &[u8]| [b"/", escaped(name, false).as_slice(), end].concat();
        [Some(one(path.as_bytes())), there(path.as_bytes()).map(|name| one(&name))]
    };
    // Where names are converted, a pattern has no wildcard. The bytes of a converted character may equal those of a
    // wildcard.
    let pattern = |pattern: &Vec<u8>| {
        [Some(pattern.clone()), there(pattern).map(|pattern| escaped(&pattern, false))]
    };
    let directories = directories.into_iter().flat_map(|path| named(path, b"/"));
    let paths = paths.into_iter().flat_map(|path| named(path, b""));
    let mut out = Vec::new();
    for pattern in patterns.iter().flat_map(pattern).chain(directories).chain(paths).flatten() {
        if pattern.len() < RULE_MAX {
            out.extend([b"- ", pattern.as_slice(), b"\0"].concat());
        }
    }
    out
}

/// Why a comparison is incomplete that left out these names, which the remote's charset cannot represent.
pub fn unconvertible_message(names: &[RelPath]) -> Option<String> {
    let more = match names {
        [] => return None,
        [_] => String::new(),
        [_, others @ ..] => format!(" and {} more", others.len()),
    };
    Some(format!("cannot convert filename: {}{more}", names[0]))
}

/// Makes a command line leave out what the rules in this file match, before any rule of the user. The user's own rule
/// files consist of lines, not of NUL-separated rules.
pub fn leave_out(argv: &mut Vec<OsString>, rules: &Path) {
    let mut file = OsString::from("--exclude-from=");
    file.push(rules);
    argv.splice(1..1, ["--from0".into(), file, "--no-from0".into()]);
}

/// Makes a command line treat times that differ by at most this many seconds as equal.
pub fn within(argv: &mut Vec<OsString>, window: i32) {
    let end = argv.iter().position(|word| word == "--").unwrap_or(argv.len());
    argv.insert(end, format!("--modify-window={window}").into());
}

/// Makes a command line write sparse files as sparse. Otherwise a slave needs disk space for their full apparent size.
pub fn sparse(argv: &mut Vec<OsString>) {
    argv.insert(1, "-S".into());
}

/// True when a daemon refused that option ([`sparse`]).
pub fn refuses_sparse(stderr: &[u8]) -> bool {
    let mut lines = stderr.split(|&b| b == b'\n');
    lines.any(|line| {
        let line = line.strip_prefix(b"rsync: ").unwrap_or(line);
        line.starts_with(b"The server is configured to refuse --sparse")
            || line.starts_with(b"The server is configured to refuse -S")
    })
}

/// The longest rule that rsync takes. It discards a longer one with exit status 0, and the rule deletes nothing.
pub const RULE_MAX: usize = 4000;

/// True when no rule can name this path. rsync would drop the rule, and the name would stay on the remote.
pub fn too_long_for_a_rule(path: &RelPath) -> bool {
    escaped(path.as_bytes(), true).len() + b"+ //***".len() > RULE_MAX
}

/// The rules of `DeleteB`: NUL-separated, for `--include-from`. Only the given names are put at risk:
///
/// - `whole`: the name, and everything below it when it is a directory on the remote;
/// - `single`: the name alone; a directory is deleted only when it is, or has become, empty. To empty a directory that
///   holds something excluded, name every path in it that may be deleted.
///
/// rsync compares every name in the listed directories with every rule. 10,000 absent names in one directory of 20,000
/// names cost 8 s, in a hundred directories 1.7 s.
pub fn risk_rules(whole: &[RelPath], single: &[RelPath]) -> Vec<u8> {
    let mut out = above_rules(whole.iter().chain(single));
    let mut rule = |name: Vec<u8>, tail: &[u8]| {
        out.extend([b"+ /", name.as_slice(), tail, b"\0"].concat());
    };
    for path in whole.iter().chain(single).filter(|path| !path.is_root()) {
        rule(escaped(path.as_bytes(), false), b"");
    }
    // `name/***` matches the directory and everything below it, but not a file of that name; hence both.
    for path in whole.iter().filter(|path| !path.is_root()) {
        rule(escaped(path.as_bytes(), true), b"/***");
    }
    out.extend(b"- *\0");
    out
}

/// The same for whole names, without what these patterns match: names of any kind, and of files only. A directory that
/// holds such a name stays.
pub fn risk_rules_except(whole: &[RelPath], names: &[Vec<u8>], files: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rule = |kind: &[u8], pattern: &[u8], tail: &[u8]| {
        out.extend([kind, pattern, tail, b"\0"].concat());
    };
    for pattern in names {
        rule(b"- ", pattern, b"");
    }
    if !files.is_empty() {
        // The directories first, because no pattern means only files.
        for path in whole {
            rule(b"+ /", &escaped(path.as_bytes(), false), b"/");
            rule(b"+ /", &escaped(path.as_bytes(), true), b"/**/");
        }
        out.extend(above_rules(whole));
        for pattern in files {
            out.extend([b"- ", pattern.as_bytes(), b"\0"].concat());
        }
    }
    [out, risk_rules(whole, &[])].concat()
}

/// The rules that both sides need to reach these names: the directories above them. A side that leaves out a directory
/// treats it as missing.
pub fn above_rules<'a>(names: impl IntoIterator<Item = &'a RelPath>) -> Vec<u8> {
    let mut directories = BTreeSet::new();
    for path in names {
        let mut next = path.parent();
        while let Some(parent) = next.filter(|parent| !parent.is_root()) {
            next = parent.parent();
            if !directories.insert(parent) {
                break;
            }
        }
    }
    let rule = |dir: &RelPath| [b"+ /", escaped(dir.as_bytes(), false).as_slice(), b"/\0"].concat();
    directories.iter().flat_map(rule).collect()
}

#[cfg(test)]
#[path = "argv_tests.rs"]
mod tests;
