//! The settings of a YAML configuration, read key by key over their defaults.

use super::diagnostic::Notes;
use super::model::*;
use super::node::{Fields, Node};
use super::notation::{duration_ms, size};
use super::run_as;
use super::yaml_rsync::Rsync;
use super::yaml_values::{
    delay, max_delete, minutes, names, open_after, path, percent, set, set_option, standby, words,
};
use super::{cron, yaml_plugin, yaml_verify};
use crate::filter::{Filter, RuleList};
use crate::language::say;
use crate::path::OsBytes;

/// The settings that a localpath may override.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) rsync: Rsync,
    toggles: Toggles,
    filter: FilterRules,
    /// With the line that names it.
    fail_path: Option<(OsBytes, usize)>,
    retry_minutes: u32,
    schedule: Option<Schedule>,
    crontab_exclude: Vec<OsBytes>,
    verify_schedule: Option<VerifySchedule>,
    delay_ms: Option<u64>,
    pace_percent: u32,
    large_file_bytes: u64,
    open_after: Vec<OpenRule>,
    first_copy: bool,
    plugins: Vec<Plugin>,
    alarms: Alarms,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rsync: Rsync::default(),
            toggles: Toggles::MODERN,
            filter: FilterRules::default(),
            fail_path: None,
            retry_minutes: RETRY_MINUTES,
            schedule: None,
            crontab_exclude: Vec::new(),
            verify_schedule: None,
            delay_ms: None,
            pace_percent: PACE_PERCENT,
            large_file_bytes: LARGE_FILE_BYTES,
            open_after: Vec::new(),
            first_copy: true,
            plugins: Vec::new(),
            alarms: Alarms::default(),
        }
    }
}

impl Settings {
    /// Reads the given keys over the inherited settings.
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
        set(&mut self.delay_ms, fields.get("delay"), "delay", notes, delay);
        if let Some(node) = fields.get("pace")
            && let Some(fields) = Fields::of(node, "pace", &["cpu"], notes)
        {
            set(&mut self.pace_percent, fields.get("cpu"), "pace cpu", notes, percent);
        }
        set(&mut self.large_file_bytes, fields.get("large_file"), "large_file", notes, |n| {
            size(n.text()?)
        });
        set(&mut self.open_after, fields.get("open_after"), "open_after", notes, open_after);
        set(&mut self.rsync.max_delete, fields.get("max_delete"), "max_delete", notes, max_delete);
        self.rsync.read_trash(fields.get("trash"), notes);
        set(&mut self.rsync.standby, fields.get("standby"), "standby", notes, standby);
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
        if let Some(node) = fields.get("alarm_user") {
            a.user = run_as::read(node, notes);
        }
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
            set_option(&mut self.fail_path, fields.get("path"), "fail_log path", notes, |n| {
                path(n).map(|path| (path, n.line))
            });
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
            notes.error(cron.line, say!("crontab has both `every` and `cron`; write one of them"));
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
        if self.schedule.is_none() && fields.lack("every") && fields.lack("cron") {
            let text =
                say!("crontab has no time; add `every: 600m`, or `cron: '30 2 * * mon-fri'`");
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
            fail_log: self.fail_path.map(|(path, line)| FailLog {
                path,
                place: notes.place(line),
                retry_minutes: minutes,
            }),
            crontab: self.schedule.map(|schedule| Crontab { schedule, exclude }),
            verify_schedule: self.verify_schedule,
            delay_ms: self.delay_ms,
            pace_percent: self.pace_percent,
            large_file_bytes: self.large_file_bytes,
            open_after: self.open_after,
            first_copy: self.first_copy,
            plugins: self.plugins,
            alarms: self.alarms,
        }
    }
}
