//! The `plugins` list of a YAML configuration.

use super::diagnostic::{Notes, did_you_mean};
use super::model::{Call, CallEvents, Framing, Manner, Plugin, Secret};
use super::node::{Fields, Node, Value};
use super::notation::duration_ms;
use super::plugin_values::{base_url, no_nul, shell_only, url, words};
use super::{run_as, values};
use crate::filter::{search_regex, whole_regex};
use crate::language::{listed, say};
use crate::path::OsBytes;

const NAMES: &[&str] = &["command", "socket", "http", "refresh_cdn"];
/// Keys that all kinds share.
const MANNER: [&str; 6] = ["timeout", "parallel", "retry", "attempts", "keep", "events"];

/// Every plugin without errors; errors are reported.
pub(super) fn plugins(node: &Node, notes: &mut Notes) -> Vec<Plugin> {
    let items = match &node.value {
        Value::List(items) => items,
        Value::Null => return Vec::new(),
        _ => {
            notes.error(
                node.line,
                say!(
                    "plugins is {}; write a list, such as `- command: {prefix: /bin/sh}`",
                    node.kind()
                ),
            );
            return Vec::new();
        }
    };
    items.iter().filter_map(|item| plugin(item, notes)).collect()
}

/// Reads the keys of one kind.
type Reader = fn(&Fields, &Node, &mut Notes) -> Option<Call>;

fn plugin(node: &Node, notes: &mut Notes) -> Option<Plugin> {
    let [(key, body)] = (match &node.value {
        Value::Map(fields) => fields.as_slice(),
        _ => &[],
    }) else {
        notes
            .error(node.line, say!("a plugin is a map of one key; write one of {}", listed(NAMES)));
        return None;
    };
    let (own, read): (&[&str], Reader) = match key.text.as_str() {
        "command" => (&["prefix", "suffix", "ignore_error", "include", "user"], command),
        "socket" => (&["host", "port", "separator"], socket),
        "http" => (&["url", "host", "port", "ca_file"], http),
        "refresh_cdn" => {
            (&["host", "port", "user", "password", "base_url", "url_match"], refresh_cdn)
        }
        name => {
            let near = did_you_mean(name, NAMES);
            notes.error(key.line, say!("`{}` is not a plugin{}", name, near));
            return None;
        }
    };
    let known: Vec<&str> = own.iter().copied().chain(MANNER).collect();
    let fields = Fields::of(body, &key.text, &known, notes)?;
    let call = read(&fields, body, notes);
    let manner = manner(&fields, notes);
    Some(Plugin { place: notes.place(key.line), call: call?, watch: None, manner })
}

/// When and how often it is called. A bad value is reported, and the default is used.
fn manner(fields: &Fields, notes: &mut Notes) -> Manner {
    let mut manner = Manner::default();
    let span = |text: &str| match duration_ms(text, None)? {
        0 => Err(say!("is nothing; write a duration, such as 30s")),
        ms => Ok(ms),
    };
    let times = [
        ("timeout", &mut manner.timeout_ms),
        ("retry", &mut manner.retry_ms),
        ("keep", &mut manner.keep_ms),
    ];
    for (name, place) in times {
        if let Some(ms) = may(fields, name, notes, span) {
            *place = ms;
        }
    }
    for (name, place) in [("parallel", &mut manner.parallel), ("attempts", &mut manner.attempts)] {
        if let Some(n) = may(fields, name, notes, |t| values::positive(t, name)) {
            *place = n;
        }
    }
    if let Some(node) = fields.get("events") {
        let mut events = CallEvents { change: false, attrib: false, delete: false };
        for item in notes.take(node.line, "events", node.items()).unwrap_or_default() {
            let place = item.text().and_then(|t| match t {
                "change" => Ok(&mut events.change),
                "attrib" => Ok(&mut events.attrib),
                "delete" => Ok(&mut events.delete),
                other => Err(say!("`{}` is not change, attrib or delete", other)),
            });
            if let Some(place) = notes.take(item.line, "events", place) {
                *place = true;
            }
        }
        manner.events = events;
    }
    manner
}

/// A required value.
fn need<T>(
    fields: &Fields,
    node: &Node,
    name: &str,
    notes: &mut Notes,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<T> {
    if fields.lack(name) {
        notes.error(node.line, say!("plugin has no {}; add it", name));
    }
    may(fields, name, notes, read)
}

/// An optional value.
fn may<T>(
    fields: &Fields,
    name: &str,
    notes: &mut Notes,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<T> {
    let value = fields.get(name)?;
    notes.take(value.line, &format!("plugin {name}"), value.text().and_then(read))
}

fn word(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

fn command(fields: &Fields, node: &Node, notes: &mut Notes) -> Option<Call> {
    let line = |least: usize| move |t: &str| words(t, least).map(|_| t.to_owned());
    let prefix = need(fields, node, "prefix", notes, line(1));
    let suffix = match fields.get("suffix") {
        Some(_) => need(fields, node, "suffix", notes, line(0)),
        None => Some(String::new()),
    };
    for (name, text) in [("prefix", &prefix), ("suffix", &suffix)] {
        if let (Some(text), Some(at)) = (text.as_deref().and_then(shell_only), fields.get(name)) {
            notes.warn(at.line, text);
        }
    }
    let ignore = fields.get("ignore_error");
    let ignore_error =
        ignore.and_then(|n| notes.take(n.line, "ignore_error", n.boolean())).unwrap_or(false);
    let mut include = Vec::new();
    if let Some(list) = fields.get("include") {
        for item in notes.take(list.line, "include", list.items()).unwrap_or_default() {
            let read =
                item.text().and_then(|t| whole_regex(t.as_bytes()).map(|_| OsBytes::from(t)));
            include.extend(notes.take(item.line, "include", read));
        }
    }
    let user = fields.get("user").and_then(|node| run_as::read(node, notes));
    Some(Call::Command { prefix: prefix?, suffix: suffix?, ignore_error, include, user })
}

fn socket(fields: &Fields, node: &Node, notes: &mut Notes) -> Option<Call> {
    let host = need(fields, node, "host", notes, values::host);
    let port = need(fields, node, "port", notes, values::port);
    let framing = may(fields, "separator", notes, |t| match t {
        "newline" => Ok(Framing::Newline),
        "nul" => Ok(Framing::Nul),
        "none" => Ok(Framing::Connection),
        other => Err(say!("`{}` is not newline, nul or none", other)),
    });
    Some(Call::Socket { host: host?, port: port?, framing: framing.unwrap_or_default() })
}

fn http(fields: &Fields, node: &Node, notes: &mut Notes) -> Option<Call> {
    let ca_file = may(fields, "ca_file", notes, |t| values::absolute(t.as_bytes()));
    if fields.get("url").is_some() {
        if let Some(other) = fields.get("host").or(fields.get("port")) {
            notes.error(other.line, say!("http has both a url and a host or port; keep the url"));
        }
        return need(fields, node, "url", notes, url).map(|url| Call::Http { url, ca_file });
    }
    let host = need(fields, node, "host", notes, values::host);
    let port = need(fields, node, "port", notes, values::port);
    Some(Call::Http { url: format!("http://{}:{}/", host?, port?), ca_file })
}

fn refresh_cdn(fields: &Fields, node: &Node, notes: &mut Notes) -> Option<Call> {
    let host = need(fields, node, "host", notes, values::host);
    let port = need(fields, node, "port", notes, values::port);
    let user = need(fields, node, "user", notes, word);
    let password = need(fields, node, "password", notes, word);
    let base = need(fields, node, "base_url", notes, base_url);
    let pattern = |t: &str| search_regex(t.as_bytes()).map(|_| t.to_owned());
    let url_match =
        fields.get("url_match").map(|_| need(fields, node, "url_match", notes, pattern));
    Some(Call::RefreshCdn {
        host: host?,
        port: port?,
        user: user?,
        password: Secret(password?),
        base_url: base?,
        url_match: url_match.flatten(),
    })
}

/// A command of `on_failure` or `on_recovery`: one string, split as a shell would, or a list of words.
pub(super) fn alarm(node: &Node) -> Result<Vec<String>, String> {
    match &node.value {
        Value::Null => Ok(Vec::new()),
        Value::List(items) if !items.is_empty() => {
            let word = |i: &Node| i.text().and_then(|text| no_nul(text).map(|()| text.to_owned()));
            items.iter().map(word).collect()
        }
        _ => words(node.text()?, 1),
    }
}
