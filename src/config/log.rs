//! `log:` and `--log-format`. Pure.

use super::diagnostic::{Diagnostic, Notes};
use super::model::{Log, Place};
use super::node::{Fields, Node};
use crate::language::say;
use crate::log_settings::{LogFormat, LogLevel, LogSettings, LogTarget, value};

/// Reads the value of `log`.
pub(super) fn read(node: &Node, notes: &mut Notes) -> Option<Log> {
    if node.is_null() {
        return None;
    }
    let fields = Fields::of(node, "log", &["level", "format", "target"], notes)?;
    let settings = LogSettings {
        level: one(&fields, "level", &LogLevel::WORDS, notes),
        format: one(&fields, "format", &LogFormat::WORDS, notes),
        target: one(&fields, "target", &LogTarget::WORDS, notes),
    };
    Some(Log { place: notes.place(node.line), settings })
}

fn one<T: Copy>(
    fields: &Fields<'_>,
    name: &str,
    words: &[(&str, T)],
    notes: &mut Notes,
) -> Option<T> {
    let node = fields.get(name)?;
    let known = node.text().and_then(|text| value(words, text));
    notes.take(node.line, &format!("log {name}"), known)
}

/// The command line overrides the files.
pub fn overlay(log: &mut Option<Log>, format: Option<LogFormat>) {
    if format.is_some() {
        let log = log.get_or_insert_with(|| Log {
            place: Place::default(),
            settings: LogSettings::default(),
        });
        log.settings.format = format;
    }
}

/// The warning of a reload: what runs keeps its log.
pub fn changed(old: Option<&Log>, new: Option<&Log>) -> Option<Diagnostic> {
    let settings = |log: Option<&Log>| log.map(|log| log.settings).unwrap_or_default();
    (settings(old) != settings(new)).then(|| {
        let place = new.or(old).map(|log| log.place.clone()).unwrap_or_default();
        Diagnostic::warning(&place, say!("log has changed, which takes effect at the next start"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Option<Log>, String) {
        let text = format!("{text}\nlocalpaths: [{{watch: /a, remotes: ['h::m']}}]\n");
        let parsed = crate::config::parse(text.as_bytes(), "a.yaml".as_ref());
        let said = parsed.diagnostics.iter().map(ToString::to_string).collect();
        (parsed.config.log, said)
    }

    #[test]
    fn the_settings_are_read_and_words_are_checked() {
        let (log, said) = parse("log: {level: warning, format: json, target: syslog}");
        let all = LogSettings {
            level: Some(LogLevel::Warning),
            format: Some(LogFormat::Json),
            target: Some(LogTarget::Syslog),
        };
        assert_eq!((log.map(|log| log.settings), said.as_str()), (Some(all), ""));
        assert_eq!(parse("log:"), (None, String::new()));
        for (bad, why) in [
            (
                "log: {level: loud}",
                "a.yaml:1: log level: `loud` is not one of error, warning, info, debug",
            ),
            ("log: {format: xml}", "a.yaml:1: log format: `xml` is not one of text, json"),
            (
                "log: {target: /var/log/x}",
                "a.yaml:1: log target: `/var/log/x` is not one of stderr, file, syslog",
            ),
            ("log: {where: file}", "a.yaml:1: "),
            ("log: syslog", "a.yaml:1: log "),
        ] {
            let (_, said) = parse(bad);
            assert!(said.starts_with(why), "{bad}: {said}");
        }
    }

    #[test]
    fn the_command_line_wins_and_what_runs_keeps_its_log() {
        let mut log = parse("log: {format: text, level: error}").0;
        overlay(&mut log, None);
        let before = log.clone();
        overlay(&mut log, Some(LogFormat::Json));
        let settings = log.as_ref().map(|log| log.settings).unwrap_or_default();
        assert_eq!(
            (settings.format, settings.level),
            (Some(LogFormat::Json), Some(LogLevel::Error))
        );
        assert!(
            changed(before.as_ref(), before.as_ref()).is_none() && changed(None, None).is_none()
        );
        let said = changed(before.as_ref(), log.as_ref()).unwrap().to_string();
        assert!(said.starts_with("a.yaml:1: warning: log has changed"), "{said}");
        let mut none = None;
        overlay(&mut none, Some(LogFormat::Json));
        assert!(none.is_some());
    }
}
