//! What holds for any input, one function for each kind of text that others can write. The targets of a fuzzer, and of
//! tests over `tests/fuzz/corpus`; nothing else builds them. A function panics if its promise is broken.

use crate::config::convert::{as_written_in_yaml, to_yaml};
use crate::config::model::Config;
use crate::config::{self, sersync_log};
use crate::journal::{FILE_NAME, Journal};
use crate::message::{FromPlugin, FromPusher, FromReporter, FromWatcher, Request};
use crate::message::{ToPlugin, ToPusher, ToReporter, ToWatcher};
use crate::path::{OsBytes, RelPath};
use crate::reporter::View;
use crate::reporter::access::Access;
use crate::reporter::answer::{Asked, answer};
use crate::rsync::argv::{self, Form, Options};
use crate::rsync::complaint;
use crate::rsync::exit_status::verdict;
use crate::rsync::itemize::{self, Change, ChangeKind, Line, Totals};
use crate::rsync::params;
use crate::rsync::peer::{Peer, Target};
use crate::stat::Exited;
use rusqlite::types::Value;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::time::Duration;

/// What a target does with an input.
pub type Run = fn(&[u8]);

/// The targets, by the names of their corpora.
pub const TARGETS: &[(&str, Run)] = &[
    ("configuration", configuration),
    ("itemized", itemized),
    ("complaints", complaints),
    ("messages", messages),
    ("journal", journal),
    ("sersync_log", sersync_logs),
    ("requests", requests),
    ("parameters", parameters),
];

/// An XML or YAML file: what is accepted is the same when it is converted to YAML and read again, and every finding is
/// about a line of the file.
pub fn configuration(bytes: &[u8]) {
    let parsed = config::parse(bytes, Path::new("input"));
    let lines = bytes.split(|b| *b == b'\n').count();
    for found in &parsed.diagnostics {
        let line = found.place.line;
        // The end of a file may be the place.
        assert!(line <= lines + 1, "{found}: the file has {lines} lines");
    }
    if parsed.has_errors() {
        return;
    }
    // YAML has no word for some bytes, and says which.
    let Ok(yaml) = to_yaml(&parsed.config) else { return };
    let again = config::parse(yaml.as_bytes(), Path::new("input"));
    assert!(!again.has_errors(), "{:?}\n{yaml}", again.diagnostics);
    let files = Vec::new();
    let plain = |config: &Config| Config {
        files: files.clone(),
        sections: Vec::new(),
        ..as_written_in_yaml(config)
    };
    assert_eq!(plain(&again.config), plain(&parsed.config), "{yaml}");
}

/// The output of an rsync: a line with a name is about that name, whatever the name is.
pub fn itemized(bytes: &[u8]) {
    let mut totals = Totals::default();
    for line in bytes.split(|b| *b == b'\n') {
        if let Line::Text(text) = itemize::parse(line) {
            totals.read(&text);
        }
    }
    itemize::is_closed(bytes);
    let Some(path) = name(bytes) else { return };
    for (what, slash, kind) in [
        (">f+++++++++ ", "", ChangeKind::Created),
        ("cd+++++++++ ", "/", ChangeKind::Created),
        (">f.st...... ", "", ChangeKind::Sent),
        (".f...p..... ", "", ChangeKind::Attributes),
        ("*deleting   ", "", ChangeKind::Deleted),
    ] {
        let line = [what.as_bytes(), &printed(path.as_bytes()), slash.as_bytes()].concat();
        match itemize::parse(&line) {
            Line::Change(Change { path: of, kind: is, .. }) => {
                assert_eq!((&of, is), (&path, kind), "{line:?}");
            }
            other => panic!("{line:?} is {other:?}"),
        }
    }
}

/// The messages of rsync that quote a name.
const MESSAGES: &[(&str, &str)] = &[
    ("rsync: [sender] link_stat \"/srv/", "\" failed: Permission denied (13)"),
    ("rsync: [sender] send_files failed to open \"/srv/", "\": Permission denied (13)"),
    ("rsync: [receiver] mkstemp \"", "\" (in www) failed: No space left on device (28)"),
    ("rsync: [generator] delete_file: unlink(", ") failed: Permission denied (13)"),
    ("rsync: [generator] recv_generator: mkdir \"", "\" (in www) failed: File exists (17)"),
    ("file has vanished: \"/srv/", "\""),
    ("cannot delete non-empty directory: ", ""),
    ("ERROR: daemon refused to receive file \"", "\""),
    ("skipping non-regular file \"", "\""),
];

/// The complaints of an rsync: its exit status and its own words decide, and a name in them does not.
pub fn complaints(bytes: &[u8]) {
    let root = Path::new("/srv");
    let (code, text) = bytes.split_first().unwrap_or((&23, b""));
    let exit = Exited::Code(i32::from(*code % 40));
    verdict(exit, text);
    complaint::complaints(text, root, b"");
    complaint::refused(text, root, b"");
    let Some(path) = name(text) else { return };
    let name = printed(path.as_bytes());
    for (before, after) in MESSAGES {
        let said = |name: &[u8]| [before.as_bytes(), name, after.as_bytes(), b"\n"].concat();
        let (hostile, plain) = (said(&name), said(b"x"));
        let of = |stderr: &[u8]| verdict(exit, stderr).verdict;
        assert_eq!(of(&hostile), of(&plain), "{exit:?} {}", String::from_utf8_lossy(&hostile));
        let found = complaint::complaints(&hostile, root, b"");
        let meant = found.iter().any(|complaint| complaint.paths.contains(&path));
        assert!(meant, "{} names {found:?}", String::from_utf8_lossy(&hostile));
    }
}

/// A message on a control channel: what is understood is the same when it is sent again.
pub fn messages(bytes: &[u8]) {
    fn of<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
        let Ok(message) = serde_json::from_slice::<T>(bytes) else { return };
        let text = |message: &T| serde_json::to_string(message).expect("no key but text");
        let sent = text(&message);
        let again = serde_json::from_str::<T>(&sent).map(|again| text(&again));
        assert_eq!(again.ok().as_deref(), Some(&*sent));
    }
    of::<ToWatcher>(bytes);
    of::<FromWatcher>(bytes);
    of::<ToPusher>(bytes);
    of::<FromPusher>(bytes);
    of::<ToPlugin>(bytes);
    of::<FromPlugin>(bytes);
    of::<ToReporter>(bytes);
    of::<FromReporter>(bytes);
    of::<Request>(bytes);
}

/// Rows of a journal that something else wrote: they are read, or refused.
pub fn journal(bytes: &[u8]) {
    let directory = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let journal = Journal::open(directory.path()).expect("a new journal");
    let db = rusqlite::Connection::open(directory.path().join(FILE_NAME)).expect("the same");
    let mut words = bytes.split(|b| *b == b'\n');
    let mut value = || match words.next().unwrap_or_default() {
        [] => Value::Null,
        [b'i', digits @ ..] => {
            let text = std::str::from_utf8(digits).unwrap_or_default();
            Value::Integer(text.parse().unwrap_or(7))
        }
        [b't', text @ ..] => Value::Text(String::from_utf8_lossy(text).into_owned()),
        blob => Value::Blob(blob.to_vec()),
    };
    for (table, columns) in [("change", 6), ("owed", 9), ("open", 1), ("checkpoint", 2)] {
        let places = vec!["?"; columns].join(", ");
        let values: Vec<Value> = (0..columns).map(|_| value()).collect();
        // What the schema does not accept cannot be there.
        let sql = format!("INSERT INTO {table} VALUES ({places})");
        let _ = db.execute(&sql, rusqlite::params_from_iter(values));
    }
    let _ = db.execute("UPDATE owed SET remote = 'r'", []);
    let _ = journal.marks_after(0, 9);
    let _ = journal.work("r", 0, 9);
    for bound in [0, i64::MAX / 2] {
        let _ = journal.due("r", bound, 9);
        let _ = journal.due_dirs("r", false, bound, 9);
        let _ = journal.due_large("r", bound, 9);
        let _ = journal.due_bulk("r", bound, 9);
    }
    let _ = (journal.failing("r", 9), journal.backlog("r"), journal.owing("r", 9));
    let _ = (journal.open_paths(), journal.open_since(), journal.checkpoint());
}

/// A fail log of sersync: every path that is read lies below its localpath, and every line is one of the file.
pub fn sersync_logs(bytes: &[u8]) {
    let lines = bytes.split(|b| *b == b'\n').count();
    let (lost, odd) = sersync_log::parse(bytes);
    assert!(
        lost.iter().map(|lost| lost.line).chain(odd.iter().map(|o| o.line)).all(|l| l <= lines)
    );
}

/// A request to the reporter: without the token there is no answer, and no header of a stranger comes back in one.
pub fn requests(bytes: &[u8]) {
    let mut parts = bytes.splitn(4, |b| *b == b'\n');
    let mut part = || parts.next().unwrap_or_default();
    let (method, path) = (String::from_utf8_lossy(part()), String::from_utf8_lossy(part()));
    let (host, authorization) = (part(), part());
    let asked = Asked {
        method: &method,
        path: &path,
        host: Some(host),
        authorization: Some(authorization),
    };
    let token = b"a token of enough bytes".to_vec();
    for access in [Access::Local, Access::Token(token.clone()), Access::Broken("why".into())] {
        let closed = match &access {
            Access::Local => false,
            Access::Token(_) => !authorization.windows(token.len()).any(|part| part == token),
            Access::Broken(_) => true,
        };
        let view = View { access, ..View::default() };
        let given = answer(&view, asked, "nonce", Duration::ZERO);
        // A password may be written in base64.
        let basic = authorization.to_ascii_lowercase().starts_with(b"basic");
        assert!(!closed || basic || matches!(given.status, 401 | 503), "{given:?}");
        assert!(given.headers.iter().all(|(_, value)| !value.contains(['\r', '\n'])));
    }
}

/// Parameters of a user: whatever is accepted, a command line ends as ours does, and deletes nothing where nothing may be
/// deleted.
pub fn parameters(bytes: &[u8]) {
    let words = bytes.split(|b| *b == b'\n').filter(|word| !word.contains(&0));
    let words: Vec<OsBytes> = words.map(|word| OsBytes::from(word.to_vec())).collect();
    params::remarks(&words);
    params::settings(&words);
    if !params::faults(&words).is_empty() {
        return;
    }
    let module = OsBytes::from("www");
    let peer = Peer { params: words, ..Peer::new("h", Target::Daemon { port: 873, module }) };
    for form in [Form::Send, Form::Batch { delete: true }, Form::Tree, Form::Root] {
        for dry in [false, true] {
            let argv = argv::argv(&peer, &form, Options { dry, ..Options::default() });
            let text: Vec<_> = argv.iter().map(|word| word.to_string_lossy()).collect();
            let end = &text[text.len() - 3..];
            assert_eq!(
                (&*end[0], &*end[1], &*end[2]),
                ("--", "./", "rsync://h:873/www/"),
                "{text:?}"
            );
            let options = &text[1..text.len() - 3];
            assert!(!options.iter().any(|word| *word == "--"), "{text:?}");
            let deletes = |word: &str| word.starts_with("--del") || word == "--force";
            assert!(!options.iter().any(|word| deletes(word)), "{text:?}");
            if argv::is_dry(&form, Options { dry, ..Options::default() }) {
                assert!(options.iter().any(|word| *word == "-n"), "{text:?}");
            }
        }
    }
}

/// The first line as a name: what a file can be called, without a newline only because rsync prints one as an escape.
fn name(bytes: &[u8]) -> Option<RelPath> {
    RelPath::new(bytes).filter(|path| !path.is_root())
}

/// The name as rsync prints it where the locale is `C`.
fn printed(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, &byte) in name.iter().enumerate() {
        let escape = name[at..]
            .strip_prefix(b"\\#")
            .is_some_and(|rest| rest.len() >= 3 && rest[..3].iter().all(u8::is_ascii_digit));
        match byte {
            b'\\' if escape => out.extend(b"\\#134"),
            b'\t' | b' '..=b'~' => out.push(byte),
            _ => out.extend(format!("\\#{byte:03o}").into_bytes()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::panic;
    use std::time::Instant;

    /// How long each target gets random input, in seconds.
    fn seconds() -> f64 {
        std::env::var("SYNCSUP_FUZZ_S").ok().and_then(|text| text.parse().ok()).unwrap_or(1.0)
    }

    fn corpus(target: &str) -> Vec<Vec<u8>> {
        let directory =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
        let mut files: Vec<_> =
            fs::read_dir(&directory).unwrap().flatten().map(|f| f.path()).collect();
        files.sort();
        assert!(files.len() >= 3, "{}", directory.display());
        files.iter().map(|file| fs::read(file).unwrap()).collect()
    }

    /// An input made from one of the corpus, with words of others.
    fn mutated(corpus: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
        let mut input = corpus[random.usize(..corpus.len())].clone();
        for _ in 0..random.usize(1..6) {
            let at = random.usize(..=input.len());
            let end = (at + random.usize(..9)).min(input.len());
            match random.u8(..6) {
                0 => drop(input.drain(at..end)),
                1 => input[at..end].iter_mut().for_each(|byte| *byte = random.u8(..)),
                2 => input.insert(at, b"\"'\\#\n\0:- /=<>&"[random.usize(..14)]),
                3 => {
                    let part = input[at..end].to_vec();
                    input.splice(at..at, part.repeat(random.usize(1..4)));
                }
                _ => {
                    let other = &corpus[random.usize(..corpus.len())];
                    let words: Vec<&[u8]> =
                        other.split_inclusive(|b| b" \n\"<>".contains(b)).collect();
                    if !words.is_empty() {
                        let word = words[random.usize(..words.len())].to_vec();
                        input.splice(at..end, word);
                    }
                }
            }
        }
        input
    }

    fn holds(target: &str) {
        let run = TARGETS.iter().find(|(name, _)| *name == target).expect("a target").1;
        let corpus = corpus(target);
        corpus.iter().for_each(|input| run(input));
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        let began = Instant::now();
        while began.elapsed().as_secs_f64() < seconds() {
            let input = mutated(&corpus, &mut random);
            if let Err(why) = panic::catch_unwind(|| run(&input)) {
                println!(
                    "seed {seed}; keep this input in tests/fuzz/corpus/{target}: {:?}",
                    String::from_utf8_lossy(&input)
                );
                println!("its bytes: {input:?}");
                panic::resume_unwind(why);
            }
        }
    }

    macro_rules! targets {
        ($($name:ident),*) => {
            $(#[test] fn $name() { holds(stringify!($name)); })*
            #[test]
            fn every_target_is_a_test_and_a_fuzzer() {
                let tests = [$(stringify!($name)),*];
                assert_eq!(TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>(), tests);
            }
        };
    }

    targets!(
        configuration,
        itemized,
        complaints,
        messages,
        journal,
        sersync_log,
        requests,
        parameters
    );
}
