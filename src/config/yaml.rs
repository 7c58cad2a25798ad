//! The YAML configuration, syncsup.yaml(5). Settings at the top are defaults. A localpath may override them, and a
//! remote within it may override those.

use super::diagnostic::{Notes, Parsed};
use super::model::*;
use super::node::{Fields, Node, read};
use super::notation::{self, PlaceThere};
use super::yaml_rsync::Rsync;
use super::yaml_settings::Settings;
use super::{http, log, run_as, values, yaml_hint};
use crate::language::say;
use crate::path::OsBytes;
use std::path::Path;

/// The error for a file without any known key; it does not show the content.
fn no_configuration() -> String {
    say!(
        "this is not a configuration: it has neither the <head> of a confxml.xml nor the keys of a syncsup.yaml; give the right file with -o; known here: {}",
        top_keys().join(", ")
    )
}

/// Keys that are allowed at the top and in a localpath.
const SETTINGS: [&str; 18] = [
    "rsync",
    "inotify",
    "filter",
    "fail_log",
    "crontab",
    "verify_schedule",
    "delay",
    "pace",
    "large_file",
    "open_after",
    "max_delete",
    "trash",
    "standby",
    "first_copy",
    "on_failure",
    "on_recovery",
    "alarm_after",
    "alarm_user",
];

/// Reads the bytes of a YAML file; `file` is only for messages.
pub fn parse(bytes: &[u8], file: &Path) -> Parsed {
    let mut notes = Notes::new(file);
    let mut config = Config { files: vec![file.to_owned()], ..Config::default() };
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            let text = text.strip_prefix('\u{feff}').unwrap_or(text);
            let root = read(text, &mut notes);
            let ours =
                |root: &Node| yaml_hint::is_configuration(text) || root.has_only(&top_keys());
            match root {
                Some(root) if ours(&root) => top(&root, &mut config, &mut notes),
                // Its content is not shown: it may be any file, such as /etc/shadow.
                Some(_) => notes.error(0, no_configuration()),
                None if notes.list.is_empty() => {
                    notes.error(0, say!("the file is empty; write at least one localpath"));
                }
                None => {}
            }
        }
        Err(error) => {
            let line = bytes[..error.valid_up_to()].iter().filter(|&&b| b == b'\n').count() + 1;
            notes.error(line, say!("this line is not UTF-8; save the file as UTF-8"));
        }
    }
    Parsed { config, diagnostics: notes.into_sorted() }
}

fn top_keys() -> Vec<&'static str> {
    let mut known = vec!["localpaths", "plugins", "debug", "sysctl", "user", "log", "http", "host"];
    known.splice(1..1, SETTINGS);
    known
}

fn top(root: &Node, config: &mut Config, notes: &mut Notes) {
    let Some(fields) = Fields::of(root, &say!("the configuration"), &top_keys(), notes) else {
        return;
    };
    let mut settings = Settings::default();
    settings.read(&fields, notes);
    if let Some(node) = fields.get("debug") {
        config.debug = notes.take(node.line, "debug", node.boolean()).unwrap_or(false);
    }
    if let Some(node) = fields.get("sysctl") {
        config.no_sysctl = !notes.take(node.line, "sysctl", node.boolean()).unwrap_or(true);
    }
    if let Some(node) = fields.get("user") {
        config.user = run_as::read(node, notes);
    }
    if let Some(node) = fields.get("log") {
        config.log = log::read(node, notes);
    }
    if let Some(node) = fields.get("http") {
        config.http = http::read(node, notes);
    }
    let Some(node) = fields.get("localpaths") else {
        if fields.lack("localpaths") {
            notes.error(root.line, say!("no localpaths: nothing to replicate; add `localpaths: [{watch: /DIR, remotes: [HOST::MODULE]}]`"));
        }
        return;
    };
    match node.items() {
        Ok([]) => notes
            .error(node.line, say!("localpaths is an empty list; add one with watch and remotes")),
        Ok(items) => {
            for item in items {
                config.localpaths.extend(localpath(item, &settings, notes));
            }
        }
        Err(text) => notes.error(node.line, format!("localpaths {text}")),
    }
}

fn localpath(node: &Node, defaults: &Settings, notes: &mut Notes) -> Option<LocalPath> {
    let mut known = vec!["watch", "remotes", "plugins"];
    known.splice(2..2, SETTINGS);
    let fields = Fields::of(node, &say!("a localpath"), &known, notes)?;
    let mut settings = defaults.clone();
    settings.read(&fields, notes);
    let watch = match fields.get("watch") {
        Some(w) => {
            let path = w.text().and_then(|t| values::absolute(t.as_bytes()));
            notes.take(w.line, "localpath watch", path)
        }
        None => {
            if fields.lack("watch") {
                notes.error(node.line, say!("localpath has no watch; add `watch: /DIR`"));
            }
            None
        }
    };
    let list = fields.get("remotes").map(|n| (n, n.items()));
    let mut remotes = Vec::new();
    match list {
        None if fields.lack("remotes") => {
            notes.error(node.line, say!("localpath has no remotes; add `remotes: [HOST::MODULE]`"))
        }
        None => {}
        Some((n, Ok([]))) => {
            notes.error(n.line, say!("localpath has no remotes; add `remotes: [HOST::MODULE]`"))
        }
        Some((_, Ok(items))) => {
            for item in items {
                remotes.extend(remote(item, &settings.rsync, notes));
            }
        }
        Some((n, Err(text))) => notes.error(n.line, format!("remotes {text}")),
    }
    Some(settings.into_localpath(watch?, node.line, remotes, notes))
}

fn remote(node: &Node, defaults: &Rsync, notes: &mut Notes) -> Option<Remote> {
    if let Ok(text) = node.text() {
        let parsed = notes.take(node.line, "remote", notation::remote(text))?;
        let target = match parsed.place {
            PlaceThere::Daemon { .. } if defaults.ssh.on => {
                notes.error(node.line, say!("remote `{}` is an rsync daemon, but ssh is true; write HOST:/PATH, or ssh: false", text));
                return None;
            }
            PlaceThere::Daemon { port, module } => {
                Target::Daemon { port: port.unwrap_or(defaults.port), module }
            }
            PlaceThere::Ssh { path } => ssh_target(path, None, defaults),
        };
        return Some(build(node, parsed.host, target, parsed.user, defaults, notes));
    }
    remote_map(node, defaults, notes)
}

fn ssh_target(path: OsBytes, port: Option<u16>, settings: &Rsync) -> Target {
    let ssh = &settings.ssh;
    let (port, options) = (port.or(ssh.port), ssh.options.clone());
    Target::Ssh { path, port, options, control_master: ssh.control_master }
}

/// The auth user and password file of the settings apply to a daemon; an ssh login is part of the remote.
fn build(
    node: &Node,
    host: String,
    target: Target,
    user: Option<String>,
    settings: &Rsync,
    notes: &Notes,
) -> Remote {
    let daemon = matches!(target, Target::Daemon { .. });
    Remote {
        place: notes.place(node.line),
        peer: Peer {
            host,
            target,
            user: user.or_else(|| settings.user.clone().filter(|_| daemon)),
            password_file: settings.password_file.clone().filter(|_| daemon),
            params: settings.params.clone(),
            timeout_s: settings.timeout_s,
            fsync: settings.fsync,
            rsync_program: settings.program.clone(),
        },
        password_place: notes.place(settings.password_line),
        max_delete: settings.max_delete,
        trash_keep_ms: settings.trash_keep_ms,
        standby: settings.standby,
    }
}

fn remote_map(node: &Node, defaults: &Rsync, notes: &mut Notes) -> Option<Remote> {
    const KNOWN: &[&str] = &[
        "host",
        "module",
        "path",
        "port",
        "user",
        "password_file",
        "params",
        "timeout",
        "ssh",
        "max_delete",
        "trash",
        "standby",
        "fsync",
        "program",
    ];
    let fields = Fields::of(node, &say!("a remote"), KNOWN, notes)?;
    let mut settings = defaults.clone();
    settings.read_common(&fields, notes);
    let user = text(&fields, "user", notes)
        .and_then(|(user, line)| notes.take(line, "remote user", values::user(user)));
    let host = match text(&fields, "host", notes) {
        Some((host, line)) => notes.take(line, "remote host", values::host(host)),
        None if fields.lack("host") => {
            notes.error(node.line, say!("remote has no host; add `host: NAME`"));
            None
        }
        None => None,
    };
    let target = target(node, &fields, &settings, notes);
    Some(build(node, host?, target?, user, &settings, notes))
}

/// A word and its line.
fn text<'n>(fields: &Fields<'n>, name: &str, notes: &mut Notes) -> Option<(&'n str, usize)> {
    let n = fields.get(name)?;
    notes.take(n.line, &format!("remote {name}"), n.text()).map(|t| (t, n.line))
}

fn target(node: &Node, fields: &Fields, settings: &Rsync, notes: &mut Notes) -> Option<Target> {
    let port = text(fields, "port", notes)
        .and_then(|(p, line)| notes.take(line, "remote port", values::port(p)));
    match (text(fields, "module", notes), text(fields, "path", notes)) {
        (Some((module, line)), None) => {
            if settings.ssh.on {
                notes.error(
                    line,
                    say!("remote has a module, but ssh is true; write path, or ssh: false"),
                );
            }
            let module = notes.take(line, "remote module", values::module(module.as_bytes()));
            module.map(|module| Target::Daemon { port: port.unwrap_or(settings.port), module })
        }
        (None, Some((path, line))) => {
            if let Some(file) = fields.get("password_file") {
                notes.error(
                    file.line,
                    say!("password_file has no effect with ssh: ssh logs in with its own keys"),
                );
            }
            let path = notes.take(line, "remote path", values::absolute(path.as_bytes()));
            path.map(|path| ssh_target(path, port, settings))
        }
        (Some((_, line)), Some(_)) => {
            notes.error(
                line,
                say!("remote has both module and path; module is for a daemon, path for ssh: keep one"),
            );
            None
        }
        (None, None) => {
            if fields.lack("module") && fields.lack("path") {
                notes.error(
                    node.line,
                    say!("remote has no module; add `module: NAME`, or `path: /DIR` for ssh"),
                );
            }
            None
        }
    }
}
