//! sersync 2.5.x's `confxml.xml`: the meaning of its elements. Every localpath and every remote counts, where sersync
//! took the first localpath only.

use super::confxml_plugin;
use super::confxml_schema::{TOGGLES, known};
use super::confxml_values::{boolean, optional, required};
use super::diagnostic::{Notes, Parsed};
use super::model::*;
use super::xml::{Element, read};
use super::{lint, params, values};
use crate::filter::{Filter, whole_regex};
use crate::language::say;
use crate::path::OsBytes;
use std::path::Path;

/// Reads the bytes of a `confxml.xml`; `file` is only for messages.
pub fn parse(bytes: &[u8], file: &Path) -> Parsed {
    let mut notes = Notes::new(file);
    let mut config = Config { files: vec![file.to_owned()], ..Config::default() };
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        notes.error(1, say!("the file is UTF-16; save it as UTF-8"));
    } else {
        let repaired =
            lint::repair(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes), &mut notes);
        let root = read(&repaired, &mut notes);
        if !is_sersyncs(&repaired) {
            // Its content is not shown: it may be any file.
            notes.list.clear();
            let (line, text) = match root {
                Some(root) => (root.line, say!("the root element is not sersync's <head>")),
                None => (1, say!("no <head> element")),
            };
            notes.error(line, say!("{}: this is not a confxml.xml", text));
        } else if let Some(head) = root {
            if head.name == "head" {
                known(&head, "head", &mut notes);
                Reading { head: &head, notes: &mut notes }.config(&mut config);
            } else {
                notes.error(
                    head.line,
                    say!("<{}> is not sersync's <head>; this is not a confxml.xml", head.name),
                );
            }
        }
    }
    Parsed { config, diagnostics: notes.into_sorted() }
}

/// True if the file contains an element of sersync, however broken the rest is.
fn is_sersyncs(bytes: &[u8]) -> bool {
    let names: [&[u8]; 4] = [b"<head", b"<sersync", b"<localpath", b"<inotify"];
    names.iter().any(|name| bytes.windows(name.len()).any(|w| w.eq_ignore_ascii_case(name)))
}

/// The settings of the rsync section for all remotes of its sersync section.
struct Rsync {
    params: Vec<OsBytes>,
    user: Option<String>,
    password_file: Option<OsBytes>,
    /// The line that names it.
    password_line: usize,
    port: u16,
    timeout_s: u32,
    ssh: bool,
}

struct Reading<'e, 'n, 'f> {
    head: &'e Element,
    notes: &'n mut Notes<'f>,
}

impl<'e> Reading<'e, '_, '_> {
    fn config(&mut self, config: &mut Config) {
        let head = self.head;
        config.debug = head.child("debug").is_some_and(|e| self.boolean(e, "start"));
        head.child("fileSystem").map(|e| self.boolean(e, "xfs"));
        if let Some(host) = head.child("host") {
            self.optional(host, "port", values::port);
        }
        let filter = self.filter();
        let inotify = self.toggles();
        if head.child("sersync").is_none() {
            self.notes.error(
                head.line,
                say!("no <sersync> element: nothing to replicate; add it with a <localpath>"),
            );
        }
        let sections = confxml_plugin::sections(head, self.notes);
        config.sections = sections.iter().filter_map(|(_, plugin)| plugin.clone()).collect();
        for sersync in head.all("sersync") {
            let rsync = self.rsync(sersync);
            let template = LocalPath {
                watch: OsBytes::default(),
                place: Place::default(),
                filter: filter.clone(),
                inotify,
                remotes: Vec::new(),
                fail_log: self.fail_log(sersync),
                crontab: self.crontab(sersync),
                verify_schedule: None,
                delay_ms: None,
                pace_percent: PACE_PERCENT,
                open_after: Vec::new(),
                large_file_bytes: LARGE_FILE_BYTES,
                first_copy: false,
                plugins: confxml_plugin::started(sersync, &sections, self.notes),
                alarms: Alarms::default(),
            };
            if sersync.child("localpath").is_none() {
                self.notes.error(
                    sersync.line,
                    say!("no <localpath>: nothing to replicate; add <localpath watch=\"/DIR\">"),
                );
            }
            for localpath in sersync.all("localpath") {
                config.localpaths.extend(self.localpath(localpath, &template, &rsync));
            }
        }
    }

    fn localpath(
        &mut self,
        element: &Element,
        template: &LocalPath,
        rsync: &Rsync,
    ) -> Option<LocalPath> {
        let watch = self.required(element, "watch", values::absolute);
        let remotes: Vec<_> = element.all("remote").filter_map(|r| self.remote(r, rsync)).collect();
        if element.child("remote").is_none() {
            self.notes.error(
                element.line,
                say!("localpath has no remote; add <remote ip=\"HOST\" name=\"MODULE\"/>"),
            );
        }
        Some(LocalPath {
            watch: watch?,
            place: self.notes.place(element.line),
            remotes,
            ..template.clone()
        })
    }

    fn remote(&mut self, element: &Element, rsync: &Rsync) -> Option<Remote> {
        let address = self.required(element, "ip", values::text);
        let what = if rsync.ssh { values::absolute } else { values::module };
        let name = self.required(element, "name", |v| {
            what(v).map_err(|e| {
                match (v.starts_with(b"/"), rsync.ssh) {
                    (true, _) => format!("{e} (<ssh start=\"true\"/>)"),
                    (false, true) => say!("{}; with <ssh start=\"true\"/> the name is a directory on the remote, not a module", e),
                    (false, false) => e,
                }
            })
        });
        let (login, host) = match address.as_deref().and_then(|a| a.split_once('@')) {
            Some((login, host)) => (Some(login.to_owned()), Some(host.to_owned())),
            None => (None, address),
        };
        let line = element.attribute("ip").map_or(element.line, |a| a.1);
        let login = match login.map(|login| values::user(&login)).transpose() {
            Ok(login) => login,
            Err(text) => {
                self.notes.error(line, format!("remote ip: {text}"));
                return None;
            }
        };
        let host = host.and_then(|h| self.notes.take(line, "remote ip", values::host(&h)));
        let target = if rsync.ssh {
            Target::Ssh { path: name?, port: None, options: Vec::new(), control_master: true }
        } else {
            Target::Daemon { port: rsync.port, module: name? }
        };
        Some(Remote {
            place: self.notes.place(element.line),
            password_place: self.notes.place(rsync.password_line),
            ..Remote::new(Peer {
                user: login.or(rsync.user.clone()),
                password_file: rsync.password_file.clone(),
                params: rsync.params.clone(),
                timeout_s: rsync.timeout_s,
                ..Peer::new(host?, target)
            })
        })
    }

    fn rsync(&mut self, sersync: &Element) -> Rsync {
        let section = sersync.child("rsync");
        let mut rsync = Rsync {
            params: vec![OsBytes::from(params::SERSYNC_PARAMS)],
            user: None,
            password_file: None,
            password_line: 0,
            port: RSYNC_PORT,
            timeout_s: TIMEOUT_S,
            ssh: false,
        };
        match section.and_then(|s| s.child("commonParams")).map(|e| (e, e.attribute("params"))) {
            Some((_, Some((value, line)))) => {
                if let Some(words) =
                    self.notes.take(line, "commonParams params", params::split(value))
                {
                    params::check(&words, line, self.notes);
                    let settings = crate::rsync::params::settings(&words);
                    rsync.port = settings.port.unwrap_or(RSYNC_PORT);
                    rsync.timeout_s = settings.timeout_s.unwrap_or(TIMEOUT_S);
                    (rsync.password_file, rsync.password_line) = (settings.password_file, line);
                    rsync.params = words;
                }
            }
            missing => {
                let line = missing.map_or(sersync.line, |(e, _)| e.line);
                self.notes
                    .warn(line, say!("no commonParams params; using {}", params::SERSYNC_PARAMS));
            }
        }
        let Some(section) = section else { return rsync };
        rsync.ssh = section.child("ssh").is_some_and(|e| self.boolean(e, "start"));
        if let Some(e) = section.child("userDefinedPort") {
            let on = self.boolean(e, "start");
            if on && rsync.ssh {
                self.notes.warn(e.line, say!("userDefinedPort has no effect with ssh: it is the port of a daemon; give the port of sshd in the configuration of ssh (Port), or in YAML as `ssh: {port: N}`"));
            }
            rsync.port = self.when(on, e, "port", values::port).unwrap_or(rsync.port);
        }
        if let Some(e) = section.child("timeout") {
            let on = self.boolean(e, "start");
            let seconds = |t: &str| values::positive(t, &say!("seconds"));
            rsync.timeout_s = self.when(on, e, "time", seconds).unwrap_or(rsync.timeout_s);
        }
        if let Some(e) = section.child("auth")
            && self.boolean(e, "start")
        {
            if rsync.ssh {
                self.notes.warn(e.line, say!("auth has no effect with ssh: ssh logs in with its own keys; write USER@HOST in ip for another user"));
            } else {
                rsync.user = self.required(e, "users", user);
                if let Some(file) = self.required(e, "passwordfile", values::absolute) {
                    (rsync.password_file, rsync.password_line) = (Some(file), e.line);
                }
            }
        }
        rsync
    }

    fn filter(&mut self) -> FilterRules {
        let mut rules = FilterRules { names: NameRules::Sersync, ..FilterRules::default() };
        let Some(section) = self.head.child("filter") else { return rules };
        let on = self.boolean(section, "start");
        let mut good = true;
        for e in section.all("exclude") {
            let pattern = self
                .required(e, "expression", |v| whole_regex(v).map(|_| OsBytes::from(v.to_vec())));
            good &= pattern.is_some();
            rules.exclude.extend(pattern.filter(|_| on));
        }
        if let (true, Err(errors)) = (good, Filter::new(&rules)) {
            errors.into_iter().for_each(|e| self.notes.error(section.line, e.text));
        }
        rules
    }

    fn toggles(&mut self) -> Toggles {
        let mut toggles = Toggles::SERSYNC;
        let Some(section) = self.head.child("inotify") else { return toggles };
        let fields = [
            &mut toggles.delete,
            &mut toggles.create_folder,
            &mut toggles.create_file,
            &mut toggles.close_write,
            &mut toggles.move_from,
            &mut toggles.move_to,
            &mut toggles.attrib,
            &mut toggles.modify,
        ];
        for (name, field) in TOGGLES.into_iter().zip(fields) {
            if let Some(element) = section.child(name) {
                *field = self.boolean(element, "start");
            }
        }
        toggles
    }

    fn fail_log(&mut self, sersync: &Element) -> Option<FailLog> {
        let e = sersync.child("failLog")?;
        let path = self.required(e, "path", values::absolute);
        let minutes = self.optional(e, "timeToExecute", |t| values::positive(t, &say!("minutes")));
        Some(FailLog {
            path: path?,
            place: self.notes.place(e.line),
            retry_minutes: minutes.unwrap_or(RETRY_MINUTES),
        })
    }

    fn crontab(&mut self, sersync: &Element) -> Option<Crontab> {
        let e = sersync.child("crontab")?;
        let on = self.boolean(e, "start");
        let every = self.when(on, e, "schedule", |t| values::positive(t, &say!("minutes")));
        let mut exclude = Vec::new();
        if let Some(filter) = e.child("crontabfilter") {
            let on = self.boolean(filter, "start");
            let raw = |v: &[u8]| {
                (!v.is_empty())
                    .then(|| OsBytes::from(v.to_vec()))
                    .ok_or_else(|| say!("is empty; remove it"))
            };
            for pattern in filter.all("exclude") {
                exclude.extend(self.required(pattern, "expression", raw).filter(|_| on));
            }
        }
        Some(Crontab { schedule: Schedule::Every(every?), exclude })
    }

    /// A switch; if it is missing, it is off.
    fn boolean(&mut self, element: &Element, name: &str) -> bool {
        boolean(element, name, self.notes)
    }

    fn required<T>(
        &mut self,
        e: &Element,
        name: &str,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Option<T> {
        required(e, name, self.notes, read)
    }

    fn optional<T>(
        &mut self,
        e: &Element,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        optional(e, name, self.notes, read)
    }

    /// The value, required where its switch is on; a bad one is reported even when the switch is off.
    fn when<T>(
        &mut self,
        on: bool,
        e: &Element,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        if on && e.attribute(name).is_none() {
            self.notes.error(e.line, say!("<{}> has no attribute {}; add it", e.name, name));
        }
        self.optional(e, name, read).filter(|_| on)
    }
}

/// An rsync auth user.
fn user(value: &[u8]) -> Result<String, String> {
    values::user(&values::text(value)?)
}
