//! Plugins: real servers and commands are called for what changed, by names as hostile as they come.

mod alarms;
mod alone;
mod apart;
mod calls;
mod dies;
mod journal;
mod kills;
pub mod servers;
mod trouble;
mod users;

use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::{Setup, World};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// File names that a shell, a protocol or a careless program would trip over.
pub const HOSTILE: [&[u8]; 14] = [
    b"$(touch pwned).php",
    b"`touch pwned`",
    b"a b  c",
    b"-rf",
    b"new\nline",
    b"quote'\"s",
    b"semi;touch pwned;",
    b"#hash",
    b"percent%41&ok=no",
    b"back\\slash",
    b"invalid-\xff\xfe",
    "中文 名称".as_bytes(),
    b"x?y=z#w HTTP",
    b"cr\r\nHost: evil",
];

/// A world whose localpath has these plugins (YAML items, one a line).
pub fn world(remotes: usize, plugins: &[String]) -> World {
    world_with(remotes, plugins, "")
}

/// The same with more settings.
pub fn world_with(remotes: usize, plugins: &[String], settings: &str) -> World {
    let mut text = String::from("filter: {names: none}\nplugins:\n");
    plugins.iter().for_each(|p| text += &format!("  - {p}\n"));
    text += settings;
    // There are few tests: leaks are freed at exit.
    Setup { remotes, settings: text.leak(), ..Setup::default() }.build()
}

/// A path in the master by its bytes.
pub fn at(w: &World, name: &[u8]) -> PathBuf {
    w.master.join(OsStr::from_bytes(name))
}

/// A script that writes its arguments down, each ended by a NUL, one call a line of its own ended by `\n`.
pub fn recorder(dir: &Path, body: &str) -> (PathBuf, PathBuf) {
    let (script, record) = (dir.join("record.sh"), dir.join("record"));
    let text =
        format!("#!/bin/sh\n{body}\nprintf '%s\\0' \"$#\" \"$@\" >> '{}'\n", record.display());
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    (script, record)
}

/// The calls that a recorder wrote down.
pub fn recorded(record: &Path) -> Vec<Vec<Vec<u8>>> {
    let bytes = fs::read(record).unwrap_or_default();
    let mut words = bytes.split(|&b| b == 0).map(<[u8]>::to_vec).collect::<Vec<_>>().into_iter();
    let mut calls = Vec::new();
    while let Some(count) = words.next().filter(|w| !w.is_empty()) {
        let count: usize = String::from_utf8(count).unwrap().parse().expect("a count");
        calls.push(words.by_ref().take(count).collect());
    }
    calls
}

/// Waits until `status` shows nothing left to call.
#[track_caller]
pub fn wait_idle(w: &World) {
    w.wait_local("no calls left", |l| {
        l["plugins"].as_array().is_some_and(|all| {
            !all.is_empty() && all.iter().all(|p| p["waiting"] == 0 && p["state"] == "idle")
        })
    });
}

/// The process of the plugin runner, waited for.
pub fn runner(w: &World) -> crate::common::procs::Proc {
    let mut found = None;
    wait_for("a plugin runner", DEADLINE, || {
        let family = w.instance.family();
        found = family
            .into_iter()
            .find(|p| p.state != 'Z' && p.command.starts_with("syncsup: plugin runner "));
        found.is_some()
    });
    found.expect("found just now")
}
