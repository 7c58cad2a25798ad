//! The settings of a YAML configuration: read over their defaults, key by key.

use super::diagnostic::{Notes, nearest};
use super::model::*;
use super::node::{Fields, Node, Value};
use super::notation::{duration_ms, size};
use super::{cron, params, values, yaml_plugin, yaml_verify};
use crate::filter::{Filter, RuleList};
use crate::path::OsBytes;

/// How ssh is used.
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

/// What a remote may override.
#[derive(Clone)]
pub(super) struct Rsync {
    pub(super) params: Vec<OsBytes>,
    pub(super) port: u16,
    pub(super) user: Option<String>,
    pub(super) password_file: Option<OsBytes>,
    pub(super) timeout_s: u32,
    pub(super) ssh: Ssh,
    pub(super) program: OsBytes,
    pub(super) max_delete: MaxDelete,
    pub(super) trash_keep_ms: Option<u64>,
}

/// What a localpath may override.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) rsync: Rsync,
    toggles: Toggles,
    filter: FilterRules,
    fail_path: Option<OsBytes>,
    retry_minutes: u32,
    schedule: Option<Schedule>,
    crontab_exclude: Vec<OsBytes>,
    verify_schedule: Option<VerifySchedule>,
    delay_ms: u64,
    large_file_bytes: u64,
    first_copy: bool,
    plugins: Vec<Plugin>,
    alarms: Alarms,
}

impl Default for Settings {
    fn default() -> Self {
        let rsync = Rsync {
            params: vec![OsBytes::from(params::YAML_PARAMS)],
            port: RSYNC_PORT,
            user: None,
            password_file: None,
            timeout_s: TIMEOUT_S,
            ssh: Ssh::default(),
            program: OsBytes::from("rsync"),
            max_delete: MaxDelete::default(),
            trash_keep_ms: None,
        };
        Self {
            rsync,
            toggles: Toggles::MODERN,
            filter: FilterRules::default(),
            fail_path: None,
            retry_minutes: RETRY_MINUTES,
            schedule: None,
            crontab_exclude: Vec::new(),
            verify_schedule: None,
            delay_ms: DELAY_MS,
            large_file_bytes: LARGE_FILE_BYTES,
            first_copy: true,
            plugins: Vec::new(),
            alarms: Alarms::default(),
        }
    }
}

/// Puts the value of a key into its place when it is there and good.
pub(super) fn set<T>(
    place: &mut T,
    node: Option<&Node>,
    what: &str,
    notes: &mut Notes,
    read: impl Fn(&Node) -> Result<T, String>,
) {
    if let Some(node) = node
        && let Some(value) = notes.take(node.line, what, read(node))
    {
        *place = value;
    }
}

/// As [`set`], where `null` takes the inherited value away.
fn set_option<T>(
    place: &mut Option<T>,
    node: Option<&Node>,
    what: &str,
    notes: &mut Notes,
    read: impl Fn(&Node) -> Result<T, String>,
) {
    set(place, node, what, notes, |n| if n.is_null() { Ok(None) } else { read(n).map(Some) });
}

fn path(node: &Node) -> Result<OsBytes, String> {
    values::absolute(node.text()?.as_bytes())
}

fn port(node: &Node) -> Result<u16, String> {
    values::port(node.text()?)
}

fn minutes(node: &Node) -> Result<u32, String> {
    let text = node.text()?;
    match duration_ms(text, None)? {
        ms if ms > 0 && ms % 60_000 == 0 => {
            u32::try_from(ms / 60_000).map_err(|_| format!("`{text}` is too long"))
        }
        _ => Err(format!("`{text}` is not a whole number of minutes; write at least 1m")),
    }
}

fn seconds(node: &Node) -> Result<u32, String> {
    let text = node.text()?;
    match duration_ms(text, Some(1000))? {
        ms if ms > 0 && ms % 1000 == 0 => {
            u32::try_from(ms / 1000).map_err(|_| format!("`{text}` is too long"))
        }
        _ => Err(format!("`{text}` is not a whole number of seconds; write at least 1s")),
    }
}

fn max_delete(node: &Node) -> Result<MaxDelete, String> {
    match node.text()? {
        "half" => Ok(MaxDelete::Half),
        "unlimited" => Ok(MaxDelete::Unlimited),
        text => text
            .parse()
            .map(MaxDelete::Entries)
            .map_err(|_| format!("`{text}` is not half, unlimited or a number")),
    }
}

fn names(node: &Node) -> Result<NameRules, String> {
    match node.text()? {
        "sersync" => Ok(NameRules::Sersync),
        "editors" => Ok(NameRules::Editors),
        "none" => Ok(NameRules::None),
        text => {
            let near = nearest(text, &["sersync", "editors", "none"])
                .map(|n| format!("; did you mean `{n}`?"));
            Err(format!("`{text}` is not sersync, editors or none{}", near.unwrap_or_default()))
        }
    }
}

fn words(node: &Node) -> Result<Vec<String>, String> {
    node.items()?.iter().map(|i| i.text().map(str::to_owned)).collect()
}

/// One string is split as a shell would; a list is taken as it is.
fn param_words(node: &Node) -> Result<Vec<OsBytes>, String> {
    match &node.value {
        Value::Scalar { text, .. } => params::split(text.as_bytes()),
        Value::List(_) => Ok(words(node)?.iter().map(|w| OsBytes::from(w.as_str())).collect()),
        _ => Err(format!("is {}; write a string or a list", node.kind())),
    }
}

impl Rsync {
    /// The keys that the `rsync` section and a remote share.
    pub(super) fn read_common(&mut self, fields: &Fields, notes: &mut Notes) {
        if let Some(node) = fields.get("params")
            && let Some(words) = notes.take(node.line, "params", param_words(node))
        {
            params::check(&words, node.line, notes);
            self.params = words;
        }
        set(&mut self.timeout_s, fields.get("timeout"), "timeout", notes, seconds);
        set(&mut self.program, fields.get("program"), "program", notes, |n| match n.text()? {
            "rsync" => Ok(OsBytes::from("rsync")),
            text => values::absolute(text.as_bytes()),
        });
        set(&mut self.max_delete, fields.get("max_delete"), "max_delete", notes, max_delete);
        self.read_trash(fields.get("trash"), notes);
        set_option(
            &mut self.password_file,
            fields.get("password_file"),
            "password_file",
            notes,
            path,
        );
        if let Some(node) = fields.get("ssh") {
            self.read_ssh(node, notes);
        }
    }

    /// `null` takes an inherited trash away.
    fn read_trash(&mut self, node: Option<&Node>, notes: &mut Notes) {
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
                        shlex::split(text).ok_or_else(|| format!("`{text}`: close the quote"))
                    }
                    _ => words(n),
                }
            });
        }
    }

    fn read(&mut self, node: &Node, notes: &mut Notes) {
        const KNOWN: &[&str] = &["params", "port", "auth", "timeout", "ssh", "program"];
        let Some(fields) = Fields::of(node, "rsync", KNOWN, notes) else { return };
        self.read_common(&fields, notes);
        set(&mut self.port, fields.get("port"), "rsync port", notes, port);
        match fields.get("auth") {
            Some(auth) if auth.is_null() => (self.user, self.password_file) = (None, None),
            Some(auth) => {
                if let Some(fields) = Fields::of(auth, "auth", &["user", "password_file"], notes) {
                    let text = |n: &Node| n.text().map(str::to_owned);
                    set_option(&mut self.user, fields.get("user"), "auth user", notes, text);
                    let file = fields.get("password_file");
                    set_option(&mut self.password_file, file, "auth password_file", notes, path);
                }
            }
            None => {}
        }
    }
}

impl Settings {
    /// Reads what is there over what is inherited.
    pub(super) fn read(&mut self, fields: &Fields, notes: &mut Notes) {
        if let Some(node) = fields.get("rsync") {
            self.rsync.read(node, notes);
        }
        if let Some(node) = fields.get("inotify") {
            self.read_toggles(node, notes);
        }
        if let Some(node) = fields.get("filter") {
            self.read_filter(node, notes);
        }
        if let Some(node) = fields.get("fail_log") {
            self.read_fail_log(node, notes);
        }
        if let Some(node) = fields.get("crontab") {
            self.read_crontab(node, notes);
        }
        if let Some(node) = fields.get("verify_schedule") {
            yaml_verify::read(&mut self.verify_schedule, node, notes);
        }
        set(&mut self.delay_ms, fields.get("delay"), "delay", notes, |n| {
            duration_ms(n.text()?, None)
        });
        set(&mut self.large_file_bytes, fields.get("large_file"), "large_file", notes, |n| {
            size(n.text()?)
        });
        set(&mut self.rsync.max_delete, fields.get("max_delete"), "max_delete", notes, max_delete);
        self.rsync.read_trash(fields.get("trash"), notes);
        set(&mut self.first_copy, fields.get("first_copy"), "first_copy", notes, Node::boolean);
        if let Some(node) = fields.get("plugins") {
            self.plugins = yaml_plugin::plugins(node, notes);
        }
        let a = &mut self.alarms;
        for (name, place) in
            [("on_failure", &mut a.on_failure), ("on_recovery", &mut a.on_recovery)]
        {
            set(place, fields.get(name), name, notes, yaml_plugin::alarm);
        }
        set(&mut a.after_ms, fields.get("alarm_after"), "alarm_after", notes, |n| {
            duration_ms(n.text()?, None)
        });
    }

    fn read_toggles(&mut self, node: &Node, notes: &mut Notes) {
        let t = &mut self.toggles;
        let fields: [(&str, &mut bool); 8] = [
            ("delete", &mut t.delete),
            ("create_folder", &mut t.create_folder),
            ("create_file", &mut t.create_file),
            ("close_write", &mut t.close_write),
            ("move_from", &mut t.move_from),
            ("move_to", &mut t.move_to),
            ("attrib", &mut t.attrib),
            ("modify", &mut t.modify),
        ];
        let known: Vec<&str> = fields.iter().map(|f| f.0).collect();
        let Some(given) = Fields::of(node, "inotify", &known, notes) else { return };
        for (name, place) in fields {
            set(place, given.get(name), &format!("inotify {name}"), notes, Node::boolean);
        }
    }

    /// The lists are added to the inherited ones.
    fn read_filter(&mut self, node: &Node, notes: &mut Notes) {
        let Some(fields) = Fields::of(node, "filter", &["exclude", "exclude_glob", "names"], notes)
        else {
            return;
        };
        set(&mut self.filter.names, fields.get("names"), "filter names", notes, names);
        for (name, list) in
            [("exclude", RuleList::Exclude), ("exclude_glob", RuleList::ExcludeGlob)]
        {
            let Some(node) = fields.get(name) else { continue };
            let Some(found) = notes.take(node.line, name, words(node)) else { continue };
            let mut rules = FilterRules::default();
            match list {
                RuleList::Exclude => {
                    rules.exclude = found.iter().map(|w| OsBytes::from(w.as_str())).collect()
                }
                RuleList::ExcludeGlob => rules.exclude_glob = found,
            }
            if let Err(errors) = Filter::new(&rules) {
                let items = node.items().unwrap_or_default();
                for error in errors {
                    let line = items.get(error.index).map_or(node.line, |i| i.line);
                    notes.error(line, format!("{name}: {}", error.text));
                }
            }
            self.filter.exclude.extend(rules.exclude);
            self.filter.exclude_glob.extend(rules.exclude_glob);
        }
    }

    fn read_fail_log(&mut self, node: &Node, notes: &mut Notes) {
        if node.is_null() {
            self.fail_path = None;
        } else if let Some(fields) = Fields::of(node, "fail_log", &["path", "retry"], notes) {
            set(&mut self.retry_minutes, fields.get("retry"), "fail_log retry", notes, minutes);
            set_option(&mut self.fail_path, fields.get("path"), "fail_log path", notes, path);
        }
    }

    fn read_crontab(&mut self, node: &Node, notes: &mut Notes) {
        if node.is_null() {
            (self.schedule, self.crontab_exclude) = (None, Vec::new());
            return;
        }
        let Some(fields) = Fields::of(node, "crontab", &["every", "cron", "exclude"], notes) else {
            return;
        };
        let (every, cron) = (fields.get("every"), fields.get("cron"));
        if let (Some(_), Some(cron)) = (every, cron) {
            notes.error(cron.line, "crontab has both `every` and `cron`; write one of them");
        }
        set_option(&mut self.schedule, every, "crontab every", notes, |n| {
            minutes(n).map(Schedule::Every)
        });
        set_option(&mut self.schedule, cron, "crontab cron", notes, |n| {
            let text = n.text()?.trim();
            cron::parse(text).map(|_| Schedule::Cron(text.to_owned()))
        });
        let patterns = |n: &Node| Ok(words(n)?.iter().map(|w| OsBytes::from(w.as_str())).collect());
        set(&mut self.crontab_exclude, fields.get("exclude"), "crontab exclude", notes, patterns);
        if self.schedule.is_none() && every.is_none() && cron.is_none() {
            let text =
                "crontab does not say when; add `every: 600m`, or `cron: '30 2 * * mon-fri'`";
            notes.error(node.line, text);
        }
    }

    /// The localpath with these settings.
    pub(super) fn into_localpath(
        self,
        watch: OsBytes,
        line: usize,
        remotes: Vec<Remote>,
        notes: &Notes,
    ) -> LocalPath {
        let (minutes, exclude) = (self.retry_minutes, self.crontab_exclude);
        LocalPath {
            watch,
            place: notes.place(line),
            filter: self.filter,
            inotify: self.toggles,
            remotes,
            fail_log: self.fail_path.map(|path| FailLog { path, retry_minutes: minutes }),
            crontab: self.schedule.map(|schedule| Crontab { schedule, exclude }),
            verify_schedule: self.verify_schedule,
            delay_ms: self.delay_ms,
            large_file_bytes: self.large_file_bytes,
            first_copy: self.first_copy,
            plugins: self.plugins,
            alarms: self.alarms,
        }
    }
}
