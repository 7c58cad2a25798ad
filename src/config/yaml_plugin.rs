//! The `plugins` list of a YAML configuration.

use super::diagnostic::{Notes, did_you_mean};
use super::model::Plugin;
use super::node::{Fields, Node, Value};
use super::values;
use crate::filter::whole_regex;
use crate::path::OsBytes;

const NAMES: &[&str] = &["command", "socket", "http", "refresh_cdn"];

/// Every plugin that is whole; what is wrong is told.
pub(super) fn plugins(node: &Node, notes: &mut Notes) -> Vec<Plugin> {
    let items = match &node.value {
        Value::List(items) => items,
        Value::Null => return Vec::new(),
        _ => {
            notes.error(
                node.line,
                format!(
                    "plugins is {}; write a list, such as `- command: {{prefix: /bin/sh}}`",
                    node.kind()
                ),
            );
            return Vec::new();
        }
    };
    items.iter().filter_map(|item| plugin(item, notes)).collect()
}

fn plugin(node: &Node, notes: &mut Notes) -> Option<Plugin> {
    let [(key, body)] = (match &node.value {
        Value::Map(fields) => fields.as_slice(),
        _ => &[],
    }) else {
        notes.error(
            node.line,
            format!("a plugin is a map of one key; write one of {}", NAMES.join(", ")),
        );
        return None;
    };
    match key.text.as_str() {
        "command" => command(body, notes),
        "socket" => {
            address(body, "socket", notes).map(|(host, port)| Plugin::Socket { host, port })
        }
        "http" => address(body, "http", notes).map(|(host, port)| Plugin::Http { host, port }),
        "refresh_cdn" => refresh_cdn(body, notes),
        name => {
            notes.error(key.line, format!("`{name}` is not a plugin{}", did_you_mean(name, NAMES)));
            None
        }
    }
}

/// A value that must be there.
fn need<T>(
    fields: &Fields,
    node: &Node,
    name: &str,
    notes: &mut Notes,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<T> {
    let Some(value) = fields.get(name) else {
        notes.error(node.line, format!("plugin has no {name}; add it"));
        return None;
    };
    notes.take(value.line, &format!("plugin {name}"), value.text().and_then(read))
}

fn word(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

fn command(node: &Node, notes: &mut Notes) -> Option<Plugin> {
    let fields =
        Fields::of(node, "command", &["prefix", "suffix", "ignore_error", "include"], notes)?;
    let prefix = need(&fields, node, "prefix", notes, word);
    let suffix = match fields.get("suffix") {
        Some(_) => need(&fields, node, "suffix", notes, word),
        None => Some(String::new()),
    };
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
    Some(Plugin::Command { prefix: prefix?, suffix: suffix?, ignore_error, include })
}

fn address(node: &Node, what: &str, notes: &mut Notes) -> Option<(String, u16)> {
    let fields = Fields::of(node, what, &["host", "port"], notes)?;
    let host = need(&fields, node, "host", notes, values::host);
    let port = need(&fields, node, "port", notes, values::port);
    Some((host?, port?))
}

fn refresh_cdn(node: &Node, notes: &mut Notes) -> Option<Plugin> {
    const KNOWN: &[&str] = &["host", "port", "user", "password", "base_url", "url_match"];
    let fields = Fields::of(node, "refresh_cdn", KNOWN, notes)?;
    let host = need(&fields, node, "host", notes, values::host);
    let port = need(&fields, node, "port", notes, values::port);
    let user = need(&fields, node, "user", notes, word);
    let password = need(&fields, node, "password", notes, word);
    let base_url = need(&fields, node, "base_url", notes, word);
    let url_match = fields.get("url_match").map(|_| need(&fields, node, "url_match", notes, word));
    Some(Plugin::RefreshCdn {
        host: host?,
        port: port?,
        user: user?,
        password: password?,
        base_url: base_url?,
        url_match: url_match.flatten(),
    })
}
