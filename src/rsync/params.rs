//! The user's own rsync parameters (`commonParams`, `params`), pure: parses them with the table of [`super::options`],
//! reports their errors, and selects the parameters for each rsync.
//!
//! They replace `-a` and come before our options, so that ours win in a conflict. Each is written as `--NAME=VALUE`, or
//! as a letter with its value. No other argument can then be mistaken for its value, and it cannot take another
//! argument as its value.

use super::charset::{self, Charsets};
use super::options::{self, Class, Opt, Value};
use crate::language::phrase;
use crate::path::OsBytes;

/// One option of the user, parsed.
#[derive(Clone, Debug)]
pub struct Item {
    /// The option.
    pub option: &'static Opt,
    /// Its text, as the user wrote it.
    name: Name,
    /// False for a name that turns the option off.
    on: bool,
    value: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Short(u8),
    Long(&'static str),
}

/// The faults of an argument; each is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not begin with `-`, or is only `-`.
    NotAnOption(Vec<u8>),
    /// `--`, which ends the options.
    End,
    /// A long option (without dashes) that rsync does not know.
    UnknownLong(Vec<u8>),
    /// A letter of an argument that rsync does not know.
    UnknownLetter(Vec<u8>, char),
    /// A long option with a single dash, which rsync reads as letters (`-delete` is `-d -e lete`): the argument, the
    /// name.
    OneDash(Vec<u8>, &'static str),
    /// An option without its value.
    NoValue(String),
    /// An option with an empty value.
    EmptyValue(String),
    /// An option whose value, in the next argument, is itself an option.
    OptionAsValue(String, Vec<u8>),
    /// An option with a value that it does not take.
    UnwantedValue(String),
    /// A value that rsync would refuse, or that would do harm: the option, the value, the fault.
    BadValue(String, Vec<u8>, &'static str),
    /// An option that would break replication: as written, the reason, and what to do.
    Refused(String, &'static str, &'static str),
}

/// Parameters with an unexpected effect; each is a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// An option that is left out: as written, and the reason.
    Dropped(String, &'static str),
    /// An option with a surprising effect: as written, and the effect.
    Warned(String, &'static str),
    /// Times are not kept.
    NoTimes,
}

/// The kind of filter rules in the user's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnFilters {
    /// None.
    None,
    /// Plain `--exclude=PATTERN` only: these come before our rules and protect the names that they match.
    Excludes,
    /// Includes, rule files or merge rules: only a run of rsync can tell what they match.
    Rules,
}

impl Item {
    /// The option as the user wrote it, without its value.
    fn written(&self) -> String {
        match self.name {
            Name::Short(letter) => format!("-{}", char::from(letter)),
            Name::Long(name) => format!("--{name}"),
        }
    }

    /// The option with its value, as separate arguments.
    fn words(&self) -> Vec<OsBytes> {
        match (self.name, &self.value) {
            // The letter also means `--progress`.
            (Name::Short(b'P'), _) => vec![OsBytes::from("--partial")],
            (Name::Short(letter), None) => vec![OsBytes::from(vec![b'-', letter])],
            // In one argument with its value, which might otherwise look like an option.
            (Name::Short(letter), Some(value)) => {
                let long =
                    self.option.long.first().map(|name| [b"--", name.as_bytes(), b"="].concat());
                let word = [long.unwrap_or_else(|| vec![b'-', letter]), value.clone()].concat();
                vec![OsBytes::from(word)]
            }
            (Name::Long(name), None) => vec![OsBytes::from(format!("--{name}").as_str())],
            (Name::Long(name), Some(value)) if self.option.is("iconv") => {
                let value = charset::spelled_out(value);
                vec![OsBytes::from([b"--", name.as_bytes(), b"=", value.as_slice()].concat())]
            }
            (Name::Long(name), Some(value)) => {
                let word = [b"--", name.as_bytes(), b"=", value.as_slice()].concat();
                vec![OsBytes::from(word)]
            }
        }
    }

    fn is_filter(&self) -> bool {
        self.option.class == Class::Filter
    }
}

/// Parses the user's parameters into options and faults.
fn read(params: &[OsBytes]) -> (Vec<Item>, Vec<Fault>) {
    let (mut items, mut faults) = (Vec::new(), Vec::new());
    let mut words = params.iter().map(OsBytes::as_bytes);
    while let Some(word) = words.next() {
        if word == b"--" {
            faults.push(Fault::End);
        } else if let Some(long) = word.strip_prefix(b"--") {
            let at = long.iter().position(|&b| b == b'=');
            let (name, value) = (&long[..at.unwrap_or(long.len())], at.map(|at| &long[at + 1..]));
            let Some((option, on)) = options::long(name) else {
                faults.push(Fault::UnknownLong(name.to_vec()));
                continue;
            };
            let names = option.long.iter().chain(option.off);
            let Some(name) = names.copied().find(|n| n.as_bytes() == name) else { continue };
            // A name that turns an option off takes no value.
            let wants = option.has_value() && on;
            match (value, wants) {
                (Some(_), false) => faults.push(Fault::UnwantedValue(format!("--{name}"))),
                (value, false) => items.push(Item::new(option, Name::Long(name), on, value)),
                (Some(value), true) => {
                    items.push(Item::new(option, Name::Long(name), on, Some(value)))
                }
                (None, true) => {
                    let item = Item::new(option, Name::Long(name), on, None);
                    next_word(item, words.next(), &mut items, &mut faults);
                }
            }
        } else if let Some(name) = one_dash(word) {
            faults.push(Fault::OneDash(word.to_vec(), name));
        } else if word.len() > 1 && word[0] == b'-' {
            let mut rest = &word[1..];
            while let Some((&letter, tail)) = rest.split_first() {
                rest = tail;
                let Some(option) = options::short(letter) else {
                    let text = String::from_utf8_lossy(&word[word.len() - tail.len() - 1..]);
                    let letter = text.chars().next().unwrap_or('?');
                    rest = tail.get(letter.len_utf8().saturating_sub(1)..).unwrap_or_default();
                    faults.push(Fault::UnknownLetter(word.to_vec(), letter));
                    continue;
                };
                let name = Name::Short(letter);
                if !option.has_value() {
                    items.push(Item::new(option, name, true, None));
                    continue;
                }
                rest = &[];
                if tail.is_empty() {
                    let item = Item::new(option, name, true, None);
                    next_word(item, words.next(), &mut items, &mut faults);
                } else {
                    // rsync's option parser takes both `-fRULE` and `-f=RULE`.
                    let value = tail.strip_prefix(b"=").unwrap_or(tail);
                    items.push(Item::new(option, name, true, Some(value)));
                }
            }
        } else {
            faults.push(Fault::NotAnOption(word.to_vec()));
        }
    }
    (items, faults)
}

/// The long name after a single dash.
fn one_dash(word: &[u8]) -> Option<&'static str> {
    let name = word.strip_prefix(b"-")?.split(|&b| b == b'=').next()?;
    let (option, _) = options::long(name).filter(|_| name.len() > 2)?;
    option.long.iter().chain(option.off).copied().find(|n| n.as_bytes() == name)
}

impl Item {
    fn new(option: &'static Opt, name: Name, on: bool, value: Option<&[u8]>) -> Self {
        Self { option, name, on, value: value.map(<[u8]>::to_vec) }
    }
}

/// The value of an option in the next argument. rsync would accept an option as the value: `-a --exclude --delete`.
fn next_word(item: Item, word: Option<&[u8]>, items: &mut Vec<Item>, faults: &mut Vec<Fault>) {
    match word {
        None => faults.push(Fault::NoValue(item.written())),
        Some(word) if item.option.value != Value::Option && is_option(word) => {
            faults.push(Fault::OptionAsValue(item.written(), word.to_vec()));
        }
        Some(word) => items.push(Item { value: Some(word.to_vec()), ..item }),
    }
}

/// True for an argument that consists only of options.
fn is_option(word: &[u8]) -> bool {
    if let Some(long) = word.strip_prefix(b"--") {
        let name = long.split(|&b| b == b'=').next().unwrap_or_default();
        return !name.is_empty() && options::long(name).is_some();
    }
    let Some(letters) = word.strip_prefix(b"-").filter(|letters| !letters.is_empty()) else {
        return false;
    };
    let value = letters.iter().position(|&b| options::short(b).is_some_and(Opt::has_value));
    letters[..value.unwrap_or(letters.len())].iter().all(|&b| options::short(b).is_some())
}

fn parse(params: &[OsBytes]) -> Vec<Item> {
    read(params).0
}

/// The faults of the parameters.
pub fn faults(params: &[OsBytes]) -> Vec<Fault> {
    let (items, mut faults) = read(params);
    for item in items.iter().filter(|item| item.on) {
        if let Class::Refused(why, instead) = item.option.class {
            faults.push(Fault::Refused(item.written(), why, instead));
        } else if let Some(fault) = item.value.as_deref().and_then(|value| bad_value(item, value)) {
            faults.push(fault);
        }
    }
    if converts(&items).is_some() {
        let bad = items.iter().filter(|item| item.is_filter() && !may_stay_unconverted(item));
        faults.extend(bad.map(|item| Fault::Refused(item.written(), UNCONVERTED, UNCONVERTED_DO)));
    }
    let backs_up = |name: &str| last(&items, name).is_some_and(|item| item.on);
    if backs_up("backup") && !backs_up("backup-dir") {
        faults.push(Fault::Refused(
            "--backup".into(),
            phrase!("the copies that it leaves beside the files keep a directory from being deleted"),
            phrase!("add a --backup-dir outside of what is replicated, or use `trash` of a YAML configuration"),
        ));
    }
    if times_on(&items, "one-file-system") > 1 {
        faults.push(Fault::Refused(
            "-xx".into(),
            phrase!("given twice, it deletes on a remote what is below a directory that is a mount point here"),
            phrase!("write -x once"),
        ));
    }
    faults
}

/// How often an option is turned on, since it was last turned off.
fn times_on(items: &[Item], name: &str) -> usize {
    items.iter().rev().filter(|item| item.option.is(name)).take_while(|item| item.on).count()
}

const UNCONVERTED: &str = phrase!(
    "with --iconv rsync converts names but not filter rules, so a remote would delete or keep the wrong names"
);
const UNCONVERTED_DO: &str = phrase!("write it in the `filter` section");

/// True for a filter rule that means the same in every charset that contains ASCII.
fn may_stay_unconverted(item: &Item) -> bool {
    let Some(value) = item.value.as_deref() else { return !item.on };
    let merges = [&b"."[..], b":", b"merge", b"dir-merge"];
    match item.option.value {
        Value::File => false,
        Value::Rule if merges.iter().any(|word| value.starts_with(word)) => false,
        _ => value.is_ascii(),
    }
}

/// The charsets between which names are converted.
fn converts(items: &[Item]) -> Option<&[u8]> {
    let last = last(items, "iconv").filter(|item| item.on)?;
    last.value.as_deref().filter(|value| *value != b"-")
}

/// The fault of a value.
fn bad_value(item: &Item, value: &[u8]) -> Option<Fault> {
    let bad = |what| Some(Fault::BadValue(item.written(), value.to_vec(), what));
    // An empty suffix keeps the name; an empty list of suffixes compresses everything; an empty rule is none.
    let may_be_empty =
        item.is_filter() || item.option.is("suffix") || item.option.is("skip-compress");
    if value.is_empty() && !may_be_empty {
        return Some(Fault::EmptyValue(item.written()));
    }
    match item.option.value {
        Value::Number => {
            let number = value.strip_prefix(b"-").unwrap_or(value);
            (number.is_empty() || !number.iter().all(u8::is_ascii_digit))
                .then(|| bad(phrase!("is not a number")))
                .flatten()
        }
        Value::File if value == b"-" => {
            bad(phrase!("is the standard input, where rsync reads syncsup's list; name a file"))
        }
        Value::Rule if reads_stdin(value) => {
            bad(phrase!("reads the standard input, where rsync reads syncsup's list; name a file"))
        }
        Value::AbsoluteFile if !value.starts_with(b"/") => {
            bad(phrase!("would lie in the localpath, and be replicated; write an absolute path"))
        }
        Value::Option => remote_option(item, value),
        Value::None
        | Value::Word
        | Value::File
        | Value::AbsoluteFile
        | Value::OutsideDir
        | Value::PartialDir
        | Value::Rule => None,
    }
}

/// A rule that merges a file called `-`: `. -`, `merge -`, `.s_-`.
fn reads_stdin(rule: &[u8]) -> bool {
    let merges = rule.starts_with(b".") || rule.starts_with(b"merge");
    let file = rule.rsplit(|b| b" _".contains(b)).next();
    merges && file == Some(b"-")
}

/// Options that must not be given for the other end alone.
fn remote_option(item: &Item, value: &[u8]) -> Option<Fault> {
    let bad = |what| Some(Fault::BadValue(item.written(), value.to_vec(), what));
    let (inner, faults) = read(&[OsBytes::from(value.to_vec())]);
    if !faults.is_empty() || inner.is_empty() {
        return bad(phrase!("is not an rsync option with its value in the same word"));
    }
    let changes = |item: &Item| match item.option.class {
        Class::Refused(..) | Class::Dropped(_) | Class::Setting | Class::Filter => true,
        // If the local rsync lacks it, the other end does not get the data that it expects.
        Class::PushOnly | Class::Window | Class::Replaced => true,
        Class::Passed | Class::Warned(_) | Class::Connection | Class::Kept => false,
    };
    if inner.iter().any(changes) {
        return bad(phrase!("would change the meaning of a push at the other end"));
    }
    None
}

/// The warnings about the parameters, each once.
pub fn remarks(params: &[OsBytes]) -> Vec<Remark> {
    let items = parse(params);
    let mut found: Vec<Remark> = Vec::new();
    for item in items.iter().filter(|item| item.on) {
        let same_reason = |why: &str| {
            found
                .iter()
                .any(|r| matches!(r, Remark::Dropped(_, w) | Remark::Warned(_, w) if *w == why))
        };
        match item.option.class {
            Class::Dropped(why) if !same_reason(why) => {
                found.push(Remark::Dropped(shown(item), why));
            }
            Class::Warned(why) if !same_reason(why) => found.push(Remark::Warned(shown(item), why)),
            _ => {}
        }
    }
    if !keeps_times(&items) {
        found.push(Remark::NoTimes);
    }
    found
}

/// The option as written, and the meaning of its letter.
fn shown(item: &Item) -> String {
    match (item.name, item.option.long.first()) {
        (Name::Short(_), Some(long)) => format!("{} (--{long})", item.written()),
        _ => item.written(),
    }
}

/// Whether equal files are recognized by their times, or without them.
fn keeps_times(items: &[Item]) -> bool {
    let mut times = false;
    let mut content = false;
    for item in items {
        match item.option.name().as_str() {
            "--archive" => times = true,
            "--times" => times = item.on,
            "--checksum" => content = item.on,
            _ => {}
        }
    }
    times || content
}

/// The last option with this name in the manual (without dashes): the last one counts.
fn last<'i>(items: &'i [Item], name: &str) -> Option<&'i Item> {
    items.iter().rfind(|item| item.option.is(name))
}

/// The rsync that an argument is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It changes the remote.
    Push,
    /// It compares.
    Compare,
}

/// The user's parameters for a push or a comparison, letters one by one. With `filters` off, the user's filter rules
/// are left out.
pub fn clean(params: &[OsBytes], used: Use, filters: bool) -> Vec<OsBytes> {
    let stands = |item: &Item| match item.option.class {
        Class::Passed | Class::Warned(_) | Class::Connection | Class::Kept => true,
        Class::Filter => filters,
        Class::PushOnly => used == Use::Push,
        Class::Window
        | Class::Setting
        | Class::Replaced
        | Class::Dropped(_)
        | Class::Refused(..) => false,
    };
    parse(params).iter().filter(|item| stands(item)).flat_map(Item::words).collect()
}

/// The user's parameters that a transfer of another kind, or in the other direction, also needs: how the other end is
/// reached, and which further attributes of a file are kept.
pub fn of_transport(params: &[OsBytes]) -> Vec<OsBytes> {
    let stands = |item: &Item| matches!(item.option.class, Class::Connection | Class::Kept);
    parse(params).iter().filter(|item| stands(item)).flat_map(Item::words).collect()
}

/// True when files may be made sparse on the remote, because no parameter of the user says how files are written.
pub fn leaves_sparse_open(params: &[OsBytes]) -> bool {
    const WRITES: [&str; 6] =
        ["sparse", "inplace", "append", "append-verify", "preallocate", "write-devices"];
    !parse(params).iter().any(|item| WRITES.iter().any(|name| item.option.is(name)))
}

/// The parameters without those that `check` reports as left out, and without those that became keys of the
/// configuration.
pub fn without_dropped(params: &[OsBytes]) -> Vec<OsBytes> {
    let goes =
        |item: &Item| matches!(item.option.class, Class::Dropped(_)) && item.on || is_set(item);
    let items = parse(params);
    if !items.iter().any(goes) {
        return params.to_vec();
    }
    let mut kept: Vec<OsBytes> = Vec::new();
    // Letters without a value stay in one argument.
    let mut cluster: Vec<u8> = Vec::new();
    for item in items.iter().filter(|item| !goes(item)) {
        match (item.name, &item.value) {
            (Name::Short(letter), None) => cluster.push(letter),
            (Name::Short(b'P'), _) => cluster.push(b'P'),
            _ => {
                flush(&mut cluster, &mut kept);
                kept.extend(item.words());
            }
        }
    }
    flush(&mut cluster, &mut kept);
    // An empty list would mean `-a`.
    if kept.is_empty() { params.to_vec() } else { kept }
}

fn flush(cluster: &mut Vec<u8>, kept: &mut Vec<OsBytes>) {
    if !cluster.is_empty() {
        let letters = std::mem::take(cluster);
        kept.push(OsBytes::from([b"-", letters.as_slice()].concat()));
    }
}

/// True for an option that [`settings`] turns into a key.
fn is_set(item: &Item) -> bool {
    item.option.class == Class::Setting && !item.option.is("contimeout")
}

/// The values of the parameters for which a configuration has keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `--port`.
    pub port: Option<u16>,
    /// `--timeout`, in seconds.
    pub timeout_s: Option<u32>,
    /// `--password-file`.
    pub password_file: Option<OsBytes>,
}

/// The keys that are set by the parameters.
pub fn settings(params: &[OsBytes]) -> Settings {
    let items = parse(params);
    let value = |name| last(&items, name).filter(|item| item.on).and_then(|i| i.value.clone());
    Settings {
        port: value("port").and_then(number).filter(|&port| port != 0),
        timeout_s: value("timeout").and_then(number).filter(|&seconds| seconds != 0),
        password_file: value("password-file").map(OsBytes::from),
    }
}

/// Seconds that a connection to a daemon may take (`--contimeout`), if the parameters set it; 0 means no limit.
pub fn connect_timeout_s(params: &[OsBytes]) -> Option<u32> {
    let items = parse(params);
    match last(&items, "contimeout")? {
        item if !item.on => Some(0),
        item => item.value.clone().and_then(number),
    }
}

/// The user's tolerance for times (`--modify-window`), in seconds; -1 compares nanoseconds.
pub fn modify_window(params: &[OsBytes]) -> Option<i32> {
    last(&parse(params), "modify-window")?.value.clone().and_then(number)
}

/// True when files on another file system than the root are not replicated (`-x`).
pub fn one_file_system(params: &[OsBytes]) -> bool {
    last(&parse(params), "one-file-system").is_some_and(|item| item.on)
}

fn number<N: std::str::FromStr>(value: Vec<u8>) -> Option<N> {
    String::from_utf8(value).ok()?.parse().ok()
}

/// The kind of filter rules in the parameters. With any rule, form B must be used, because `--delete-missing-args`
/// deletes what the rules exclude.
pub fn own_filters(params: &[OsBytes]) -> OwnFilters {
    let mut found = OwnFilters::None;
    for item in parse(params).iter().filter(|item| item.is_filter()) {
        let plain = match &item.value {
            // A pattern may itself begin with a rule's prefix, and `!` clears the list.
            Some(value) => {
                item.option.is("exclude") && !value.starts_with(b"+ ") && value.as_slice() != b"!"
            }
            None => false,
        };
        if !plain {
            return OwnFilters::Rules;
        }
        found = OwnFilters::Excludes;
    }
    found
}

/// True if rules of the user name files with more rules, in the tree or elsewhere, which may name others.
pub fn merges_rules(params: &[OsBytes]) -> bool {
    const MERGE: [&[u8]; 4] = [b".", b":", b"merge", b"dir-merge"];
    let merges = |item: &Item| match &item.value {
        // `-F` and `-C`.
        None => item.is_filter(),
        Some(rule) => {
            item.option.is("filter")
                && MERGE.iter().any(|start| rule.trim_ascii_start().starts_with(start))
        }
    };
    parse(params).iter().any(merges)
}

/// True if the parameters let [`super::argv::Form::Rename`] give files new names: others would write into a file that has
/// two names, compare its content, or transfer it in any case.
pub fn let_rename(params: &[OsBytes]) -> bool {
    const AGAINST: [&str; 8] = [
        "atimes",
        "backup",
        "checksum",
        "executability",
        "hard-links",
        "ignore-times",
        "inplace",
        "iconv",
    ];
    !AGAINST.iter().any(|name| has(params, name)) && own_filters(params) == OwnFilters::None
}

/// The remote shell in the parameters (`-e`, `--rsh`), the last one.
pub fn remote_shell(params: &[OsBytes]) -> Option<Vec<u8>> {
    last(&parse(params), "rsh").and_then(|item| item.value.clone())
}

/// The charsets between which names are converted (`--iconv`); `None` when they are not.
pub fn charsets(params: &[OsBytes]) -> Option<Charsets> {
    converts(&parse(params)).map(|value| Charsets::new(&charset::spelled_out(value)))
}

/// True when hard links between files are also made on the remote: `-H`.
pub fn hard_links(params: &[OsBytes]) -> bool {
    last(&parse(params), "hard-links").is_some_and(|item| item.on)
}

/// The local log file of rsync (`--log-file`).
pub fn log_file(params: &[OsBytes]) -> Option<OsBytes> {
    last(&parse(params), "log-file")?.value.clone().map(OsBytes::from)
}

/// True when the parameters contain the option with this name in the manual (without dashes).
pub fn has(params: &[OsBytes], name: &str) -> bool {
    last(&parse(params), name).is_some_and(|item| item.on)
}

/// A parameter with a directory of the remote that lies in the replicated tree: the option, its value. `in_module` is
/// true when an absolute path refers to the destination: a daemon's module without a path in it.
pub fn inside_destination(params: &[OsBytes], in_module: bool) -> Vec<(String, OsBytes)> {
    let items = parse(params);
    let trimmed = |bytes: &[u8]| {
        let end = bytes.iter().rposition(|&b| b != b'/').map_or(0, |at| at + 1);
        let start = bytes.iter().position(|&b| b != b'/').unwrap_or(end).min(end);
        bytes[start..end].to_vec()
    };
    let excluded = |dir: &[u8]| {
        items.iter().any(|item| {
            item.option.is("exclude") && item.value.as_deref().map(trimmed) == Some(trimmed(dir))
        })
    };
    let inside = |item: &&Item| {
        let Some(value) = item.value.as_deref() else { return false };
        let absolute = value.starts_with(b"/");
        let lies = match item.option.value {
            Value::OutsideDir if !absolute => value != b".." && !value.starts_with(b"../"),
            Value::OutsideDir | Value::PartialDir => absolute && in_module,
            _ => false,
        };
        lies && !excluded(value)
    };
    items
        .iter()
        .filter(inside)
        .filter_map(|item| Some((item.written(), OsBytes::from(item.value.clone()?))))
        .collect()
}

/// Options that an rsync of this version does not know: as written, and the first version that knows them.
pub fn newer_than(params: &[OsBytes], version: (u32, u32, u32)) -> Vec<(String, (u32, u32, u32))> {
    let items = parse(params);
    let newer = |item: &Item| {
        let since = item.option.since.filter(|since| *since > version)?;
        let stands = !matches!(item.option.class, Class::Replaced | Class::Dropped(_));
        stands.then(|| (item.written(), since))
    };
    items.iter().filter_map(newer).collect()
}

#[cfg(test)]
#[path = "params_tests.rs"]
mod tests;
