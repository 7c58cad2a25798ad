//! The words of an rsync command line, its list and its rules. Every form here is run against real daemons by
//! `tests/rsync/forms.rs`.
//!
//! All forms run in the root of the localpath with `./` as their source, read their list (if any) from stdin and
//! print `%i %n` lines for [`super::itemize`].

use super::charset::Charsets;
use super::params::{self, OwnFilters, Use};
use super::peer::{Peer, Target};
use super::ssh;
use crate::path::{OsBytes, RelPath, file_name};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The directory in the root of a remote that keeps what pushes delete and overwrite there. The name is reserved: in the
/// root of a localpath it is never replicated, and on no remote ever deleted, whether the remote has a trash or not.
pub const TRASH: &str = ".syncsup-trash";

/// What one rsync is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// The entries of [`list`] are sent, none of them entered; missing ones are deleted when `delete`, else ignored.
    Batch {
        /// Delete what is listed and missing (`--delete-missing-args`).
        delete: bool,
    },
    /// The first half of form B: the entries of [`list`] are sent, missing ones ignored, nothing deleted.
    Send,
    /// The same with [`list_whole`]: directories that rsync reads itself. The options leave out what the filter does.
    SendWhole {
        /// From [`crate::filter::Filter::as_rsync_options`].
        options: &'static [&'static str],
    },
    /// The second half of form B: [`list_directories`] of existing parents of absent names, and a file with
    /// [`risk_rules`] that puts only those names at risk. Sends nothing but the attributes of the listed directories
    /// and their parents.
    ///
    /// With [`OwnFilters::Excludes`] the user's excludes stand before the rules and protect what they name. With
    /// [`OwnFilters::Rules`] his filters are left out: what may be deleted must first be found by a dry run
    /// ([`Form::Tree`], [`Form::Children`]) and given as single names.
    DeleteB {
        /// The file with the rules, as rsync can open it by name (`/proc/self/fd/N` for an inherited memfd).
        rules: PathBuf,
    },
    /// Deletes the entries of [`list`], each of which is missing here; also below directories that are missing themselves.
    /// It needs no rules, which a remote that converts names (`--iconv`) cannot read. Only names that a look has shown to
    /// be there: it deletes what the user's filters exclude, too. It ends with 24 where a directory above one is missing.
    DeleteNamed,
    /// Mode, owner and times of the root itself, which no list can name without the files in it. Reads no list.
    Root,
    /// Dry: the directories of [`list_directories`] and the names directly in them, deletions included.
    Children,
    /// Dry: the directories of [`list_directories`] and everything below, deletions included.
    Tree,
    /// Dry: everything, deletions included. Reads no list.
    Everything {
        /// Patterns in rsync's own language that are left out (sersync's `crontabfilter`).
        exclude: Vec<OsBytes>,
    },
}

/// What else a push wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Compare by content (design rule 3).
    pub checksum: bool,
    /// Change nothing. `Children`, `Tree` and `Everything` never do.
    pub dry: bool,
    /// Deletions are allowed at all; off, there is no `--delete…` and no `--force` in any form.
    pub delete: bool,
    /// A directory with content may be deleted, also to make way for what is sent (`--force`). Never without
    /// `delete`.
    pub force: bool,
    /// End with the totals of [`super::itemize::Totals`].
    pub stats: bool,
    /// Print a line for what is the same, too: how far a comparison is.
    pub unchanged: bool,
}

/// The environment an rsync is run with, besides what is inherited.
pub const ENV: &[(&str, &str)] = &[("LC_ALL", "C")];
/// What it must not inherit: each changes who is asked, what is sent or how the output looks. `RSYNC_CONNECT_PROG`
/// stays: it is how TLS is set up.
pub const ENV_REMOVE: &[&str] = &[
    "RSYNC_PASSWORD",
    "RSYNC_RSH",
    "RSYNC_ICONV",
    "RSYNC_PARTIAL_DIR",
    "RSYNC_OLD_ARGS",
    "RSYNC_PROTECT_ARGS",
    "CVSIGNORE",
    "LANGUAGE",
];

/// Seconds that a comparison of content may be silent, at least.
const CONTENT_TIMEOUT_S: u32 = 3_600;

/// The command line, program first.
pub fn argv(peer: &Peer, form: &Form, options: Options) -> Vec<OsString> {
    let mut words = Words(vec![peer.rsync_program.as_bytes().to_vec()]);
    words.0.extend(user_words(peer, form, options).iter().map(|w| w.as_bytes().to_vec()));
    common(&mut words, peer, form, options);
    form_words(&mut words, form, options);
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

/// The user's own parameters in the place of `-a`; `-a` when there are none.
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

fn common(words: &mut Words, peer: &Peer, form: &Form, options: Options) {
    let dry = is_dry(form, options);
    words.add_if(dry, "-n");
    words.add("--from0");
    // What is pushed was marked: a change of the same size within the user's window is one.
    let window = params::modify_window(&peer.params).filter(|_| dry).unwrap_or(-1);
    words.add(format!("--modify-window={window}"));
    words.add_if(options.delete && options.force, "--force");
    words.add_if(options.checksum, "--checksum");
    // Receivers below 3.2.4 do not know it: a comparison does without.
    words.add_if(peer.fsync && !dry, "--fsync");
    // It makes a daemon send one small packet more, which waits 40 ms for our acknowledgement where the slave has no
    // TCP_NODELAY: five times the cost of a small push. The watchdog ends a push that does not move.
    if matches!(form, Form::Children | Form::Tree | Form::Everything { .. }) {
        // A remote that compares content says nothing while it reads a large file.
        let least = if options.checksum { CONTENT_TIMEOUT_S } else { 0 };
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

/// How the remote is reached, and its password file.
pub fn connection(peer: &Peer) -> Vec<OsString> {
    let mut words = Words(Vec::new());
    connect(&mut words, peer);
    words.0.into_iter().map(OsString::from_vec).collect()
}

fn connect(words: &mut Words, peer: &Peer) {
    let shell = params::remote_shell(&peer.params);
    match &peer.target {
        // With a shell of the user's even a daemon is not spoken to directly, and rsync refuses these.
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
            // The remote path travels in the protocol, not through the shell there.
            words.add("-s");
            words.add("-e");
            words.0.push(ssh_command(shell, *port, options));
        }
    }
}

fn form_words(words: &mut Words, form: &Form, options: Options) {
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
            // Else the missing directories above are listed, and go with all they hold.
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
            options.iter().for_each(|option| words.add(*option));
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
    words.add_if(!matches!(form, Form::Root | Form::Everything { .. }), "--files-from=-");
}

/// Deletes, but not the trash. It is no exclude, which would match a listed directory of that name anywhere.
fn keep_trash(words: &mut Words, options: Options) {
    if options.delete {
        words.add("--delete");
        words.add(format!("--filter=P /{TRASH}"));
    }
}

/// `ssh` and its options in the one word rsync takes apart again: spaces separate, quotes group, a quote inside
/// quotes is doubled, and there is no escape.
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
            // The module's name is looked up as it is; only the path in it is globbed.
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

/// A name for rsync's matcher: once a pattern holds a wildcard, a backslash escapes; without one it is itself.
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

/// The list of entries for `Batch` and `Send`: a leading `/` each (rsync strips it; without it a name that begins
/// with `#` or `;` is a comment), NUL after each. The root is left out, since rsync would send the files in it:
/// see [`Form::Root`].
pub fn list<'a>(entries: impl IntoIterator<Item = &'a RelPath>) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries.into_iter().filter(|entry| !entry.is_root()) {
        out.push(b'/');
        out.extend(entry.as_bytes());
        out.push(0);
    }
    out
}

/// The list for `SendWhole`: `/D/` for the directories of which all names are among the entries, in their place.
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

/// The directories that a form with [`list_directories`] reads: the root where it reads no list.
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

/// The path in the module, or on the host: a receiver's names begin with it.
pub fn place_there(peer: &Peer) -> &[u8] {
    match &peer.target {
        Target::Daemon { module, .. } => {
            let bytes = module.as_bytes();
            bytes.iter().position(|&b| b == b'/').map_or(&b""[..], |slash| &bytes[slash..])
        }
        Target::Ssh { path, .. } => path.as_bytes(),
    }
}

/// How the names of this remote's rules files begin.
pub fn rules_prefix(peer: &str) -> String {
    format!("rules-{}-", file_name(peer))
}

/// True when the user's parameters hold filter rules: then form B must be used.
pub fn has_own_filters(remote_params: &[OsBytes]) -> bool {
    params::own_filters(remote_params) != OwnFilters::None
}

/// The rules that leave names out on both sides, NUL-separated: `patterns` in rsync's language, these directories and these
/// paths. What is too long for a rule is none. rsync converts no rule: where names are converted each is there twice.
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
    // Where names are converted it has no wildcard; the bytes of a converted character may be those of one.
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

/// Why a comparison is not whole that left out these names, which the remote cannot have in its charset.
pub fn unconvertible_message(names: &[RelPath]) -> Option<String> {
    let more = match names {
        [] => return None,
        [_] => String::new(),
        [_, others @ ..] => format!(" and {} more", others.len()),
    };
    Some(format!("cannot convert filename: {}{more}", names[0]))
}

/// Has a command line leave out what the rules in this file say, before any rule of the user's. His own rule files are of
/// lines, not of NUL-separated rules.
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

/// Has a command line write sparse files as such: else a slave needs all the room of which they say that they take it.
pub fn sparse(argv: &mut Vec<OsString>) {
    argv.insert(1, "-S".into());
}

/// True when a daemon refused that ([`sparse`]).
pub fn refuses_sparse(stderr: &[u8]) -> bool {
    let mut lines = stderr.split(|&b| b == b'\n');
    lines.any(|line| {
        let line = line.strip_prefix(b"rsync: ").unwrap_or(line);
        line.starts_with(b"The server is configured to refuse --sparse")
            || line.starts_with(b"The server is configured to refuse -S")
    })
}

/// The longest rule rsync takes; it discards longer ones with exit 0, so nothing is deleted by them.
pub const RULE_MAX: usize = 4000;

/// True when no rule can name this path: rsync would drop the rule, and the name would stay on the remote.
pub fn too_long_for_a_rule(path: &RelPath) -> bool {
    escaped(path.as_bytes(), true).len() + b"+ //***".len() > RULE_MAX
}

/// The rules of `DeleteB`: NUL-separated, for `--include-from`. Only the given names are put at risk:
///
/// - `whole`: the name, and everything below it when it is a directory there;
/// - `single`: the name alone; a directory goes only when it is, or has become, empty. So a directory that holds
///   something excluded is emptied of the rest by naming every path in it that may go.
///
/// rsync compares every name in the listed directories with every rule: 10,000 absent names in one directory of
/// 20,000 names cost 8 s, in a hundred directories 1.7 s.
pub fn risk_rules(whole: &[RelPath], single: &[RelPath]) -> Vec<u8> {
    let mut out = above_rules(whole.iter().chain(single));
    let mut rule = |name: Vec<u8>, tail: &[u8]| {
        out.extend([b"+ /", name.as_slice(), tail, b"\0"].concat());
    };
    for path in whole.iter().chain(single).filter(|path| !path.is_root()) {
        rule(escaped(path.as_bytes(), false), b"");
    }
    // `name/***` is the directory and what is below, but not a file of that name; hence both.
    for path in whole.iter().filter(|path| !path.is_root()) {
        rule(escaped(path.as_bytes(), true), b"/***");
    }
    out.extend(b"- *\0");
    out
}

/// The rules that both sides need to reach these names: the directories above them. A side that leaves one out holds it
/// for gone.
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
