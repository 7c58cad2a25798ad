//! The `rsync` section of a YAML configuration, and the settings that a remote may override.

use super::diagnostic::Notes;
use super::model::{MaxDelete, RSYNC_PORT, StandbyMode, TIMEOUT_S, TRASH_KEEP_MS};
use super::node::{Fields, Node, Value};
use super::yaml_values::{
    max_delete, minutes, param_words, port, seconds, secret, set, set_option, standby, words,
};
use super::{params, values};
use crate::language::say;
use crate::path::OsBytes;
use crate::rsync::params::Settings;

/// The settings of ssh.
#[derive(Clone)]
pub(super) struct Ssh {
    pub(super) on: bool,
    pub(super) port: Option<u16>,
    pub(super) options: Vec<String>,
    pub(super) control_master: bool,
}

impl Default for Ssh {
    fn default() -> Self {
        Self { on: false, port: None, options: Vec::new(), control_master: true }
    }
}

/// The settings that a remote may override.
#[derive(Clone)]
pub(super) struct Rsync {
    pub(super) params: Vec<OsBytes>,
    pub(super) port: u16,
    pub(super) user: Option<String>,
    pub(super) password_file: Option<OsBytes>,
    /// The line that names it.
    pub(super) password_line: usize,
    pub(super) timeout_s: u32,
    pub(super) ssh: Ssh,
    pub(super) program: OsBytes,
    pub(super) max_delete: MaxDelete,
    pub(super) trash_keep_ms: Option<u64>,
    pub(super) standby: StandbyMode,
    pub(super) fsync: bool,
}

impl Default for Rsync {
    fn default() -> Self {
        Self {
            params: vec![OsBytes::from(params::YAML_PARAMS)],
            port: RSYNC_PORT,
            user: None,
            password_file: None,
            password_line: 0,
            timeout_s: TIMEOUT_S,
            ssh: Ssh::default(),
            program: OsBytes::from("rsync"),
            max_delete: MaxDelete::default(),
            trash_keep_ms: None,
            standby: StandbyMode::default(),
            fsync: false,
        }
    }
}

impl Rsync {
    /// The keys that the `rsync` section and a remote share.
    pub(super) fn read_common(&mut self, fields: &Fields, notes: &mut Notes) {
        if let Some(node) = fields.get("params")
            && let Some(words) = notes.take(node.line, "params", param_words(node))
        {
            params::check(&words, node.line, notes);
            self.take_settings(crate::rsync::params::settings(&words), node.line);
            self.params = words;
        }
        set(&mut self.timeout_s, fields.get("timeout"), "timeout", notes, seconds);
        set(&mut self.program, fields.get("program"), "program", notes, |n| match n.text()? {
            "rsync" => Ok(OsBytes::from("rsync")),
            text => values::absolute(text.as_bytes()),
        });
        set(&mut self.max_delete, fields.get("max_delete"), "max_delete", notes, max_delete);
        self.read_trash(fields.get("trash"), notes);
        set(&mut self.standby, fields.get("standby"), "standby", notes, standby);
        set(&mut self.fsync, fields.get("fsync"), "fsync", notes, Node::boolean);
        self.read_password_file("password_file", fields, notes);
        if let Some(node) = fields.get("ssh") {
            self.read_ssh(node, notes);
        }
    }

    fn read_password_file(&mut self, what: &str, fields: &Fields, notes: &mut Notes) {
        if let Some(node) = fields.get("password_file") {
            self.password_line = node.line;
            set_option(&mut self.password_file, Some(node), what, notes, secret);
        }
    }

    /// Settings that the parameters on this line contain. If both are given, the keys apply.
    fn take_settings(&mut self, settings: Settings, line: usize) {
        self.port = settings.port.unwrap_or(self.port);
        self.timeout_s = settings.timeout_s.unwrap_or(self.timeout_s);
        if let Some(file) = settings.password_file {
            (self.password_file, self.password_line) = (Some(file), line);
        }
    }

    /// `null` removes an inherited trash.
    pub(super) fn read_trash(&mut self, node: Option<&Node>, notes: &mut Notes) {
        let Some(node) = node else { return };
        if node.is_null() {
            self.trash_keep_ms = None;
        } else if let Some(fields) = Fields::of(node, "trash", &["keep"], notes) {
            let mut keep = TRASH_KEEP_MS;
            set(&mut keep, fields.get("keep"), "trash keep", notes, |n| {
                minutes(n).map(|minutes| u64::from(minutes) * 60_000)
            });
            self.trash_keep_ms = Some(keep);
        }
    }

    fn read_ssh(&mut self, node: &Node, notes: &mut Notes) {
        if !matches!(node.value, Value::Map(_)) {
            set(&mut self.ssh.on, Some(node), "ssh", notes, Node::boolean);
            return;
        }
        const KNOWN: &[&str] = &["port", "options", "control_master"];
        if let Some(fields) = Fields::of(node, "ssh", KNOWN, notes) {
            set_option(&mut self.ssh.port, fields.get("port"), "ssh port", notes, port);
            let master = fields.get("control_master");
            let place = &mut self.ssh.control_master;
            set(place, master, "ssh control_master", notes, Node::boolean);
            set(&mut self.ssh.options, fields.get("options"), "ssh options", notes, |n| {
                match &n.value {
                    Value::Scalar { text, .. } => {
                        shlex::split(text).ok_or_else(|| say!("`{}`: close the quote", text))
                    }
                    _ => words(n),
                }
            });
        }
    }

    /// The `rsync` section.
    pub(super) fn read(&mut self, node: &Node, notes: &mut Notes) {
        const KNOWN: &[&str] = &["params", "port", "auth", "timeout", "ssh", "fsync", "program"];
        let Some(fields) = Fields::of(node, "rsync", KNOWN, notes) else { return };
        self.read_common(&fields, notes);
        set(&mut self.port, fields.get("port"), "rsync port", notes, port);
        match fields.get("auth") {
            Some(auth) if auth.is_null() => (self.user, self.password_file) = (None, None),
            Some(auth) => {
                if let Some(fields) = Fields::of(auth, "auth", &["user", "password_file"], notes) {
                    let user = |n: &Node| n.text().and_then(values::user);
                    set_option(&mut self.user, fields.get("user"), "auth user", notes, user);
                    self.read_password_file("auth password_file", &fields, notes);
                }
            }
            None => {}
        }
    }
}
