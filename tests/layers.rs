//! The house keeps its order: imports run downwards, roles do not know each other, only `sys` touches the system's
//! crates, and what calls itself pure is.
//!
//! A file calls itself pure when its own documentation says `Pure`, `a pure` or `(pure)`. Test modules are free.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms from the ground up. A room may use its own level and those below; the rooms of [`ROLES`] not their own.
const LEVELS: &[&[&str]] = &[
    &[
        "error",
        "path",
        "shell",
        "script",
        "figures",
        "stat",
        "reconcile_reason",
        "help_topic",
        "root_id",
        "trust",
        "log_settings",
        "language",
    ],
    &["rsync"],
    &["filter", "config", "message", "journal"],
    &["sys"],
    &["rsync_run"],
    &["instance"],
    ROLES,
    &["commands"],
    &["cli", "role", "main", "lib", "fuzz"],
];

/// One process each.
const ROLES: &[&str] = &["supervisor", "watcher", "pusher", "plugin", "reporter"];

/// The one command that becomes a process of its own, and which: `syncsup run` is the supervisor, in the foreground or as
/// a daemon. No other command imports a role: it asks one over its socket, or looks at what is on disk.
const BECOMES: (&str, &str) = ("commands/run.rs", "supervisor");

/// The crates that only `sys` may name.
const SYSTEM: &[&str] =
    &["nix", "rustix", "signal_hook", "inotify", "libc", "landlock", "seccompiler"];

/// What tells the time.
const CLOCKS: &[&str] = &["Instant::now", "SystemTime::now", "Utc::now", "Local::now", ".elapsed("];

/// The files that write to standard output and standard error.
const OUTPUT: &[&str] = &["sys/output.rs", "sys/log.rs"];

/// Files that are pure by design, whatever they say.
const PURE: &[&str] = &[
    "path.rs",
    "filter.rs",
    "stat.rs",
    "root_id.rs",
    "shell.rs",
    "supervisor/child.rs",
    "supervisor/topology.rs",
    "watcher/tree.rs",
    "watcher/event.rs",
    "pusher/batch.rs",
    "pusher/plan.rs",
    "pusher/lane.rs",
    "pusher/pending.rs",
    "pusher/phase.rs",
    "pusher/reconcile.rs",
    "pusher/slot.rs",
    "pusher/in_flight.rs",
    "pusher/scheduler.rs",
    "pusher/state.rs",
    "rsync/argv.rs",
    "rsync/exit_status.rs",
];

/// One source file.
struct Source {
    /// Below `src`: `watcher/tree.rs`.
    name: String,
    /// The module it is: `["watcher", "tree"]`.
    module: Vec<String>,
    doc: String,
    /// Without comments and test modules; the lines keep their numbers.
    code: String,
}

impl Source {
    fn room(&self) -> &str {
        &self.module[0]
    }

    fn new(name: &str, text: &str) -> Source {
        let path = name.trim_end_matches(".rs");
        let module: Vec<String> =
            path.trim_end_matches("/mod").split('/').map(str::to_string).collect();
        let doc = text.lines().filter(|l| l.starts_with("//!")).collect::<Vec<_>>().join("\n");
        Source { name: name.to_string(), module, doc, code: strip(text) }
    }

    fn is_pure(&self) -> bool {
        PURE.contains(&self.name.as_str())
            || ["Pure", "a pure", "(pure)"].iter().any(|w| self.doc.contains(w))
    }

    /// The rooms it uses, with the line: `crate::a`, `crate::{a, b}`, `super::super::a`.
    fn uses(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (at, _) in self.code.match_indices("crate::") {
            let free = !self.code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            if free {
                let line = self.line(at);
                found.extend(
                    heads(&self.code[at + "crate::".len()..]).into_iter().map(|room| (line, room)),
                );
            }
        }
        for (at, _) in self.code.match_indices("super::") {
            let rest = self.code[at..].trim_start_matches("super::");
            let up = (self.code.len() - at - rest.len()) / "super::".len();
            // A chain is met at each of its links; the first one counts.
            if up == self.module.len() && !self.code[..at].ends_with("super::") {
                let line = self.line(at);
                found.extend(heads(rest).into_iter().map(|room| (line, room)));
            }
        }
        found
    }

    fn line(&self, at: usize) -> usize {
        1 + self.code[..at].matches('\n').count()
    }
}

/// The first names of an import: `a::b` gives `a`, `{a::{b, c}, d}` gives `a` and `d`.
fn heads(rest: &str) -> Vec<String> {
    let word =
        |s: &str| s.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = rest.strip_prefix('{') else { return vec![word(rest)] };
    let (mut depth, mut names, mut start) = (0, Vec::new(), true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => start = true,
            c if start && !c.is_whitespace() => {
                names.push(word(&group[at..]));
                start = false;
            }
            _ => {}
        }
    }
    names
}

/// The text without comments and without what follows `#[cfg(test)]` up to the end of that item.
fn strip(text: &str) -> String {
    let mut out = String::new();
    // None outside a test item; else how many braces are open in it, and whether one was.
    let mut test: Option<(i32, bool)> = None;
    for line in text.lines() {
        let code = if line.trim_start().starts_with("//") {
            ""
        } else {
            line.split(" // ").next().unwrap_or(line)
        };
        if code.trim() == "#[cfg(test)]" {
            test = Some((0, false));
        } else if let Some((open, entered)) = &mut test {
            *open += code.matches('{').count() as i32 - code.matches('}').count() as i32;
            *entered |= code.contains('{');
            let attribute = code.trim_start().starts_with("#[");
            if *open <= 0 && (*entered || (code.contains(';') && !attribute)) {
                test = None;
            }
        } else {
            out.push_str(code);
        }
        out.push('\n');
    }
    out
}

/// Every source file but those that hold tests: `tests.rs`, and what is in a folder `tests`.
fn sources() -> Vec<Source> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut todo, mut files): (Vec<PathBuf>, Vec<Source>) = (vec![src.clone()], Vec::new());
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(&src).unwrap().to_str().unwrap().to_string();
            if path.is_dir() {
                if !path.ends_with("tests") {
                    todo.push(path);
                }
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
                files.push(Source::new(&name, &fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files
}

fn level(room: &str) -> Option<usize> {
    LEVELS.iter().position(|rooms| rooms.contains(&room))
}

/// What breaks the order in one file.
fn wrong_imports(file: &Source) -> Vec<String> {
    let Some(own) = level(file.room()) else {
        return vec![format!(
            "src/{}: no such room in the table of tests/layers.rs: '{}'",
            file.name,
            file.room()
        )];
    };
    let mut wrong = Vec::new();
    for (line, used) in file.uses() {
        let becomes = (file.name.as_str(), used.as_str()) == BECOMES;
        if file.room() == "commands" && ROLES.contains(&used.as_str()) && !becomes {
            wrong.push(format!("src/{}:{line}: a command imports the role {used}", file.name));
            continue;
        }
        // A macro or item of the crate's root is not a room.
        let Some(other) = level(&used) else { continue };
        let role_to_role =
            ROLES.contains(&file.room()) && ROLES.contains(&used.as_str()) && used != file.room();
        if other > own {
            wrong.push(format!(
                "src/{}:{line}: '{}' imports upwards: {used}",
                file.name,
                file.room()
            ));
        } else if role_to_role {
            wrong.push(format!(
                "src/{}:{line}: the role '{}' imports the role {used}",
                file.name,
                file.room()
            ));
        }
    }
    wrong
}

/// Where a file outside `sys` names one of the system's crates.
fn wrong_crates(file: &Source) -> Vec<String> {
    if file.room() == "sys" {
        return Vec::new();
    }
    let mut wrong = Vec::new();
    for name in SYSTEM {
        for (at, _) in file.code.match_indices(&format!("{name}::")) {
            let before = &file.code[..at];
            let part = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
            // `sys::inotify::X` is ours; `::inotify::X` is not.
            let below = before
                .strip_suffix("::")
                .is_some_and(|b| b.ends_with(|c: char| c.is_alphanumeric()));
            if !part && !below {
                wrong.push(format!(
                    "src/{}:{}: only src/sys may name {name}",
                    file.name,
                    file.line(at)
                ));
            }
        }
    }
    wrong
}

/// What a file that is pure may not have.
fn impure(file: &Source) -> Vec<String> {
    if !file.is_pure() {
        return Vec::new();
    }
    let system = file.uses().into_iter().filter(|(_, room)| room == "sys");
    let mut wrong: Vec<String> = system
        .map(|(line, _)| format!("src/{}:{line}: pure, but imports sys", file.name))
        .collect();
    for clock in CLOCKS {
        let times = file.code.match_indices(clock);
        wrong.extend(times.map(|(at, _)| {
            format!("src/{}:{}: pure, but looks at a clock", file.name, file.line(at))
        }));
    }
    wrong
}

fn assert_none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn imports_run_downwards_and_neither_roles_nor_commands_know_a_role() {
    assert_none(sources().iter().flat_map(wrong_imports).collect());
}

#[test]
fn only_sys_names_the_crates_of_the_system() {
    assert_none(sources().iter().flat_map(wrong_crates).collect());
}

#[test]
fn pure_files_import_neither_sys_nor_a_clock() {
    assert_none(sources().iter().flat_map(impure).collect());
}

/// What writes to standard output and standard error may fail at any time, and ends a process that does not think of it.
fn wrong_output(file: &Source) -> Vec<String> {
    if OUTPUT.contains(&file.name.as_str()) {
        return Vec::new();
    }
    let plain: String = file.code.chars().filter(|c| !c.is_whitespace() || *c == '\n').collect();
    let writes =
        ["print!(", "println!(", "dbg!(", "stdout()", "stderr()"].into_iter().flat_map(|word| {
            let found: Vec<usize> = plain.match_indices(word).map(|(at, _)| at).collect();
            found
                .into_iter()
                .filter(|&at| {
                    let rest = plain[at + word.len()..].trim_start();
                    // Is it a terminal, how large is it: nothing is written.
                    let asks = rest.starts_with(".is_terminal()") || rest.starts_with(')');
                    word.ends_with('(') || !asks && (rest.starts_with('.') || rest.starts_with(','))
                })
                .collect::<Vec<_>>()
        });
    let line = |at: usize| 1 + plain[..at].matches('\n').count();
    let told =
        |at| format!("{}:{}: only sys/output.rs and sys/log.rs write to it", file.name, line(at));
    writes.map(told).collect()
}

#[test]
fn one_file_writes_to_standard_output() {
    assert_none(sources().iter().flat_map(wrong_output).collect());
}

/// Every path that a text of uses says, one by one: `a::{b, c::{d}}` gives `a::b`, `a::c::d`.
fn spread(tree: &str) -> Vec<String> {
    let Some((before, rest)) = tree.split_once('{') else { return vec![tree.to_string()] };
    let (mut depth, mut parts, mut start) = (0, Vec::new(), 0);
    for (at, c) in rest.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&rest[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&rest[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.flat_map(|part| spread(part).into_iter().map(|p| format!("{before}{p}"))).collect()
}

/// The files that a file imports, by their modules. What a file names of its own children by `pub use` is no import.
fn imports(file: &Source, modules: &BTreeSet<Vec<String>>) -> BTreeSet<Vec<String>> {
    let named = |statement: &&str| {
        let mut text = statement.trim_start();
        // What depends on a condition is named in the same way.
        while let Some((_, rest)) = text.split_once('\n').filter(|_| text.starts_with("#[")) {
            text = rest.trim_start();
        }
        let visible = text.split_once(") use ").is_some_and(|(before, _)| !before.contains('\n'));
        text.starts_with("pub use ") || text.starts_with("pub(") && visible
    };
    let rest: String =
        file.code.split_inclusive(';').filter(|statement| !named(statement)).collect();
    let mut paths = Vec::new();
    let mut after = rest.as_str();
    while let Some(at) = after.find("use ") {
        let free = !after[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        after = &after[at + "use ".len()..];
        let Some(end) = after.find(';').filter(|_| free) else { continue };
        let tree: String = after[..end].chars().filter(|c| !c.is_whitespace()).collect();
        paths.extend(spread(&tree));
    }
    for head in ["crate::", "super::"] {
        for (at, _) in rest.match_indices(head).filter(|(at, _)| !rest[..*at].ends_with("::")) {
            let path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            paths.push(rest[at..].chars().take_while(|c| path(*c)).collect());
        }
    }
    paths.iter().filter_map(|path| resolve(&file.module, path, modules)).collect()
}

/// The file that a path leads to, from a module.
fn resolve(module: &[String], path: &str, modules: &BTreeSet<Vec<String>>) -> Option<Vec<String>> {
    let mut base = module.to_vec();
    let mut parts = path.split("::").peekable();
    match *parts.peek()? {
        "crate" => {
            parts.next();
            base.clear();
        }
        _ => {
            while parts.next_if_eq(&"super").is_some() {
                base.pop()?;
            }
            parts.next_if_eq(&"self");
        }
    }
    base.extend(parts.map(str::to_string));
    (1..=base.len()).rev().map(|n| base[..n].to_vec()).find(|m| modules.contains(m))
}

/// The files that import each other in a circle: what is left when those that nobody needs, or that need nobody, are gone.
fn circles(files: &[Source]) -> Vec<String> {
    let modules: BTreeSet<Vec<String>> = files.iter().map(|file| file.module.clone()).collect();
    let mut graph: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
    for file in files {
        let mut used = imports(file, &modules);
        used.remove(&file.module);
        graph.insert(file.module.clone(), used);
    }
    loop {
        let needed: BTreeSet<Vec<String>> = graph.values().flatten().cloned().collect();
        let before = graph.len();
        graph.retain(|module, used| !used.is_empty() && needed.contains(module));
        let left: BTreeSet<Vec<String>> = graph.keys().cloned().collect();
        graph.values_mut().for_each(|used| used.retain(|module| left.contains(module)));
        if graph.len() == before {
            break;
        }
    }
    let name = |module: &Vec<String>| module.join("::");
    let names = |used: &BTreeSet<Vec<String>>| used.iter().map(name).collect::<Vec<_>>().join(", ");
    graph.iter().map(|(module, used)| format!("{} imports {}", name(module), names(used))).collect()
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    assert_none(circles(&sources()));
    let file = |name: &str, text: &str| Source::new(name, text);
    let circle = [
        file("a/mod.rs", "mod b;\nmod c;\npub use b::B;\nuse crate::e::{E, F};"),
        file("a/b.rs", "use super::c::{C, D};"),
        file("a/c.rs", "fn f() { crate::a::b::g() }"),
        file("e.rs", "pub struct E;"),
    ];
    assert_eq!(circles(&circle), ["a::b imports a::c", "a::c imports a::b"]);
    assert!(circles(&circle[..2]).is_empty());
}

#[test]
fn these_tests_see_what_is_wrong() {
    let wrong = |name: &str, text: &str| {
        let file = Source::new(name, text);
        [wrong_imports(&file), wrong_crates(&file), impure(&file), wrong_output(&file)].concat()
    };
    for (name, text) in [
        ("watcher/scan.rs", "use crate::pusher::batch::Batch;"),
        ("watcher/scan.rs", "use crate::{error::Error, pusher::{batch, rsync}};"),
        ("journal/mod.rs", "fn f() { crate::sys::now() }"),
        ("journal/mod.rs", "use super::sys::now;"),
        ("journal/marks.rs", "use super::super::sys;"),
        ("path.rs", "use super::config::model;"),
        ("sys/mod.rs", "pub use crate::commands::status;"),
        ("attic.rs", ""),
        ("commands/run.rs", "use crate::pusher::y;"),
        ("commands/run/bars.rs", "use crate::supervisor::x;"),
        ("commands/status.rs", "use crate::supervisor::x;"),
        ("instance/lock.rs", "use crate::supervisor::x;"),
        ("watcher/mod.rs", "use nix::sys::stat;"),
        ("watcher/mod.rs", "use ::inotify::Inotify;"),
        ("journal/mod.rs", "let x = (rustix::fs::stat)(y);"),
        ("watcher/tree.rs", "use crate::sys::now;"),
        ("supervisor/slots.rs", "//! Slots. Pure.\nfn f() { std::time::Instant::now(); }"),
        ("watcher/mod.rs", "#[cfg(test)]\nmod tests {\n}\nuse nix::x;"),
        ("watcher/mod.rs", "#[cfg(test)]\nmod tests;\nuse nix::x;"),
        ("commands/stop.rs", "fn f() { println!(\"stopped\"); }"),
        ("commands/stop.rs", "fn f() { std::io::stdout()\n    .lock(); }"),
        ("commands/stop.rs", "fn f() { writeln!(io::stderr(), \"x\"); }"),
    ] {
        assert_eq!(wrong(name, text).len(), 1, "{name}: {text}: {:?}", wrong(name, text));
    }
    for (name, text) in [
        (
            "watcher/scan.rs",
            "use crate::{sys, watcher::tree, journal};\nuse super::tree;\nuse std::os::unix::fs;",
        ),
        ("sys/inotify.rs", "use nix::x;\nuse inotify::y;"),
        ("watcher/mod.rs", "use crate::sys::inotify::Watch;\n// nix::x\n/// [`nix::y`]\n"),
        (
            "watcher/tree.rs",
            "#[cfg(test)]\nmod tests {\n  use crate::sys;\n  fn f() { Instant::now(); }\n}\n",
        ),
        ("commands/run.rs", "use crate::supervisor::x;\nuse crate::instance::y;"),
        ("commands/sync.rs", "fn f() { io::stdout().is_terminal() && isatty(stdout()) }"),
        ("sys/output.rs", "fn f() { write(stdout(), b\"x\"); }"),
        ("main.rs", "use syncsup::cli;"),
    ] {
        assert_eq!(wrong(name, text), [""; 0], "{name}: {text}");
    }
}
