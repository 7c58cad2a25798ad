//! The parts of a model as YAML values. Defaults are left out.

use super::model::*;
use super::yaml_text::{Mapping, YamlValue, insert};
use crate::error::{Error, Result};
use crate::language::say;
use crate::log_settings::{LogFormat, LogLevel, LogSettings, LogTarget, word};
use crate::path::OsBytes;

/// Bytes as text, as YAML requires.
pub(super) fn text<'b>(bytes: &'b OsBytes, place: &Place) -> Result<&'b str> {
    std::str::from_utf8(bytes.as_bytes()).map_err(|_| {
        Error::usage(say!("{}:{}: `{}` is not UTF-8, and YAML cannot express it; rename it, or keep the confxml.xml", place.file.display(), place.line, bytes))
    })
}

pub(super) fn of_bytes(bytes: &OsBytes, place: &Place) -> Result<YamlValue> {
    text(bytes, place).map(YamlValue::from)
}

/// The reporter.
pub(super) fn http(server: &HttpServer) -> Result<YamlValue> {
    let mut map = Mapping::new();
    insert(&mut map, "listen", server.listen.to_string());
    if let Some(file) = &server.token_file {
        insert(&mut map, "token_file", of_bytes(file, &server.place)?);
    }
    if server.max_lag_ms != MAX_LAG_MS {
        insert(&mut map, "max_lag", format!("{}ms", server.max_lag_ms));
    }
    Ok(YamlValue::Mapping(map))
}

/// The log.
pub(super) fn log_settings(settings: LogSettings) -> YamlValue {
    let mut map = Mapping::new();
    if let Some(level) = settings.level {
        insert(&mut map, "level", word(&LogLevel::WORDS, level));
    }
    if let Some(format) = settings.format {
        insert(&mut map, "format", word(&LogFormat::WORDS, format));
    }
    if let Some(target) = settings.target {
        insert(&mut map, "target", word(&LogTarget::WORDS, target));
    }
    YamlValue::Mapping(map)
}

pub(super) fn strings(list: &[OsBytes], place: &Place) -> Result<YamlValue> {
    let values: Result<Vec<YamlValue>> = list.iter().map(|b| of_bytes(b, place)).collect();
    values.map(YamlValue::Sequence)
}

/// The word for a standby mode.
pub(super) fn standby(mode: StandbyMode) -> &'static str {
    match mode {
        StandbyMode::Active => "active",
        StandbyMode::Always => "always",
        StandbyMode::Off => "off",
    }
}

pub(super) fn max_delete(guard: MaxDelete) -> YamlValue {
    match guard {
        MaxDelete::Half => "half".into(),
        MaxDelete::Entries(n) => n.into(),
        MaxDelete::Unlimited => "unlimited".into(),
    }
}

pub(super) fn toggles(map: &mut Mapping, toggles: &Toggles) {
    let default = Toggles::MODERN;
    let fields = [
        ("delete", toggles.delete, default.delete),
        ("create_folder", toggles.create_folder, default.create_folder),
        ("create_file", toggles.create_file, default.create_file),
        ("close_write", toggles.close_write, default.close_write),
        ("move_from", toggles.move_from, default.move_from),
        ("move_to", toggles.move_to, default.move_to),
        ("attrib", toggles.attrib, default.attrib),
        ("modify", toggles.modify, default.modify),
    ];
    let mut section = Mapping::new();
    for (name, value, _) in fields.into_iter().filter(|(_, value, default)| value != default) {
        insert(&mut section, name, value);
    }
    if !section.is_empty() {
        insert(map, "inotify", YamlValue::Mapping(section));
    }
}

pub(super) fn filter(map: &mut Mapping, rules: &FilterRules, place: &Place) -> Result<()> {
    let mut section = Mapping::new();
    if !rules.exclude.is_empty() {
        insert(&mut section, "exclude", strings(&rules.exclude, place)?);
    }
    if !rules.exclude_glob.is_empty() {
        let globs = rules.exclude_glob.iter().map(|g| YamlValue::from(g.as_str())).collect();
        insert(&mut section, "exclude_glob", YamlValue::Sequence(globs));
    }
    match rules.names {
        NameRules::Editors => {}
        NameRules::Sersync => insert(&mut section, "names", "sersync"),
        NameRules::None => insert(&mut section, "names", "none"),
    }
    if !section.is_empty() {
        insert(map, "filter", YamlValue::Mapping(section));
    }
    Ok(())
}

pub(super) fn fail_log(map: &mut Mapping, log: Option<&FailLog>, place: &Place) -> Result<()> {
    let Some(log) = log else { return Ok(()) };
    let mut section = Mapping::new();
    insert(&mut section, "path", of_bytes(&log.path, place)?);
    insert(&mut section, "retry", format!("{}m", log.retry_minutes));
    insert(map, "fail_log", YamlValue::Mapping(section));
    Ok(())
}

pub(super) fn verify_schedule(map: &mut Mapping, schedule: Option<&VerifySchedule>) {
    let Some(schedule) = schedule else { return };
    let mut section = Mapping::new();
    match &schedule.when {
        VerifyWhen::Every(seconds) => insert(&mut section, "every", format!("{seconds}s")),
        VerifyWhen::Cron(text) => insert(&mut section, "cron", text.as_str()),
    }
    match schedule.rate {
        Some(VERIFY_RATE) => {}
        Some(bytes) => insert(&mut section, "rate", format!("{bytes}/s")),
        None => insert(&mut section, "rate", "unlimited"),
    }
    if !schedule.checksum {
        insert(&mut section, "checksum", false);
    }
    insert(map, "verify_schedule", YamlValue::Mapping(section));
}

pub(super) fn crontab(map: &mut Mapping, crontab: Option<&Crontab>, place: &Place) -> Result<()> {
    let Some(crontab) = crontab else { return Ok(()) };
    let mut section = Mapping::new();
    match &crontab.schedule {
        Schedule::Every(minutes) => insert(&mut section, "every", format!("{minutes}m")),
        Schedule::Cron(text) => insert(&mut section, "cron", text.as_str()),
    }
    if !crontab.exclude.is_empty() {
        insert(&mut section, "exclude", strings(&crontab.exclude, place)?);
    }
    insert(map, "crontab", YamlValue::Mapping(section));
    Ok(())
}

pub(super) fn plugins(map: &mut Mapping, plugins: &[Plugin], place: &Place) -> Result<()> {
    let list: Result<Vec<YamlValue>> = plugins.iter().map(|p| plugin(p, place)).collect();
    let list = list?;
    if !list.is_empty() {
        insert(map, "plugins", YamlValue::Sequence(list));
    }
    Ok(())
}

pub(super) fn trash(keep_ms: u64) -> YamlValue {
    let mut section = Mapping::new();
    insert(&mut section, "keep", duration(keep_ms));
    YamlValue::Mapping(section)
}

pub(super) fn alarms(map: &mut Mapping, alarms: &Alarms) {
    for (name, words) in [("on_failure", &alarms.on_failure), ("on_recovery", &alarms.on_recovery)]
    {
        if !words.is_empty() {
            insert(map, name, YamlValue::from(words.clone()));
        }
    }
    if alarms.after_ms != ALARM_AFTER_MS {
        insert(map, "alarm_after", duration(alarms.after_ms));
    }
    if let Some(user) = &alarms.user {
        insert(map, "alarm_user", user.name.as_str());
    }
}

/// Milliseconds in the largest unit that gives a whole number, among the units that the parser reads.
fn duration(ms: u64) -> String {
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    match units.into_iter().find(|(_, long)| ms.is_multiple_of(*long)) {
        Some((unit, long)) => format!("{}{unit}", ms / long),
        None => format!("{ms}ms"),
    }
}

fn plugin(plugin: &Plugin, place: &Place) -> Result<YamlValue> {
    let mut body = Mapping::new();
    let name = match &plugin.call {
        Call::Command { prefix, suffix, ignore_error, include, user } => {
            insert(&mut body, "prefix", prefix.as_str());
            insert(&mut body, "suffix", suffix.as_str());
            insert(&mut body, "ignore_error", *ignore_error);
            if !include.is_empty() {
                insert(&mut body, "include", strings(include, place)?);
            }
            if let Some(user) = user {
                insert(&mut body, "user", user.name.as_str());
            }
            "command"
        }
        Call::Socket { host, port, framing } => {
            insert(&mut body, "host", host.as_str());
            insert(&mut body, "port", *port);
            if let Some(word) = separator(*framing) {
                insert(&mut body, "separator", word);
            }
            "socket"
        }
        Call::Http { url, ca_file } => {
            insert(&mut body, "url", url.as_str());
            if let Some(file) = ca_file {
                insert(&mut body, "ca_file", of_bytes(file, place)?);
            }
            "http"
        }
        Call::RefreshCdn { host, port, user, password, base_url, url_match } => {
            insert(&mut body, "host", host.as_str());
            insert(&mut body, "port", *port);
            insert(&mut body, "user", user.as_str());
            insert(&mut body, "password", password.0.as_str());
            insert(&mut body, "base_url", base_url.as_str());
            if let Some(pattern) = url_match {
                insert(&mut body, "url_match", pattern.as_str());
            }
            "refresh_cdn"
        }
    };
    manner(&mut body, &plugin.manner);
    let mut item = Mapping::new();
    insert(&mut item, name, YamlValue::Mapping(body));
    Ok(YamlValue::Mapping(item))
}

/// The word for the separator of paths; none for the default.
fn separator(framing: Framing) -> Option<&'static str> {
    match framing {
        Framing::Connection => None,
        Framing::Newline => Some("newline"),
        Framing::Nul => Some("nul"),
    }
}

fn manner(body: &mut Mapping, manner: &Manner) {
    let default = Manner::default();
    let times = [
        ("timeout", manner.timeout_ms, default.timeout_ms),
        ("retry", manner.retry_ms, default.retry_ms),
        ("keep", manner.keep_ms, default.keep_ms),
    ];
    for (name, ms, _) in times.into_iter().filter(|(_, ms, default)| ms != default) {
        insert(body, name, duration(ms));
    }
    let counts = [
        ("parallel", manner.parallel, default.parallel),
        ("attempts", manner.attempts, default.attempts),
    ];
    for (name, count, _) in counts.into_iter().filter(|(_, n, default)| n != default) {
        insert(body, name, count);
    }
    if manner.events != default.events {
        let CallEvents { change, attrib, delete } = manner.events;
        let all = [("change", change), ("attrib", attrib), ("delete", delete)];
        let words: Vec<&str> =
            all.into_iter().filter(|(_, on)| *on).map(|(word, _)| word).collect();
        insert(body, "events", YamlValue::from(words));
    }
}
