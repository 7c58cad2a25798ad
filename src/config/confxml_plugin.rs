//! The plugin sections of a `confxml.xml`, such as `<plugin name="command">`.

use super::confxml_values::{boolean, optional, required};
use super::diagnostic::{Notes, did_you_mean};
use super::model::{
    Call, Framing, Manner, PLUGIN_KINDS as NAMES, Plugin, Secret, XML_COMMAND_TIMEOUT_MS,
};
use super::plugin_values::{base_url, shell_only, url, words};
use super::values;
use super::xml::Element;
use crate::filter::{search_regex, whole_regex};
use crate::language::say;
use crate::path::{OsBytes, as_written};

/// A section: its name, and the plugin if it is complete.
type Section = (String, Option<Plugin>);

/// Reads every section, started or not.
pub(super) fn sections(head: &Element, notes: &mut Notes) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for element in head.all("plugin") {
        let Some(name) = name_of(element, notes) else { continue };
        if sections.iter().any(|(n, _)| *n == name) {
            notes.error(element.line, say!("plugin section `{}` is given twice; keep one", name));
            continue;
        }
        let call = match name.as_str() {
            "command" => command(element, notes),
            "refreshCDN" => refresh_cdn(element, notes),
            kind => address(element, kind == "socket", notes),
        };
        let place = notes.place(element.line);
        // sersync's `command` watches the localpath of the sersync section.
        let watch = element.child("localpath").and_then(|e| e.attribute("watch"));
        let watch = watch.and_then(|(path, _)| values::absolute(path.trim_ascii()).ok());
        let mut manner = Manner::default();
        if matches!(call, Some(Call::Command { .. })) {
            manner.timeout_ms = XML_COMMAND_TIMEOUT_MS;
        }
        let plugin = call.map(|call| Plugin { place, call, watch, manner });
        sections.push((name, plugin));
    }
    sections
}

/// The plugins that `<plugin start="true" name="..."/>` of the sersync section starts.
pub(super) fn started(sersync: &Element, sections: &[Section], notes: &mut Notes) -> Vec<Plugin> {
    let Some(element) = sersync.child("plugin") else { return Vec::new() };
    let on = boolean(element, "start", notes);
    let Some(name) = name_of(element, notes) else { return Vec::new() };
    match sections.iter().find(|(n, _)| *n == name) {
        _ if !on => Vec::new(),
        Some((_, plugin)) => plugin.iter().cloned().map(|p| Plugin { watch: None, ..p }).collect(),
        None => {
            notes.error(element.line, say!("plugin `{}` is started, but has no section; add <plugin name=\"{}\"> to <head>", name, name));
            Vec::new()
        }
    }
}

fn name_of(element: &Element, notes: &mut Notes) -> Option<String> {
    required(element, "name", notes, |value| {
        let name = as_written(value);
        match NAMES.contains(&name.as_str()) {
            true => Ok(name),
            false => Err(say!("`{}` is not a plugin{}", name, did_you_mean(&name, &NAMES))),
        }
    })
}

fn child<'e>(element: &'e Element, name: &str, notes: &mut Notes) -> Option<&'e Element> {
    let child = element.child(name);
    if child.is_none() {
        notes.error(element.line, say!("<{}> has no <{}>; add it", element.name, name));
    }
    child
}

fn command(element: &Element, notes: &mut Notes) -> Option<Call> {
    let param = child(element, "param", notes)?;
    let words =
        |least: usize| move |v: &[u8]| values::text(v).and_then(|t| words(&t, least).map(|_| t));
    let prefix = required(param, "prefix", notes, words(1));
    let suffix = param.attribute("suffix").map(|_| required(param, "suffix", notes, words(0)));
    for part in
        [prefix.as_deref(), suffix.as_ref().and_then(|s| s.as_deref())].into_iter().flatten()
    {
        if let Some(text) = shell_only(part) {
            notes.warn(param.line, text);
        }
    }
    let ignore_error = boolean(param, "ignoreError", notes);
    let mut include = Vec::new();
    if let Some(filter) = element.child("filter") {
        let on = boolean(filter, "start", notes);
        for e in filter.all("include") {
            let pattern = required(e, "expression", notes, |v| {
                whole_regex(v).map(|_| OsBytes::from(v.to_vec()))
            });
            include.extend(pattern.filter(|_| on));
        }
    }
    Some(Call::Command {
        prefix: prefix?,
        suffix: suffix.unwrap_or(Some(String::new()))?,
        ignore_error,
        include,
        user: None,
    })
}

fn host(value: &[u8]) -> Result<String, String> {
    values::host(&values::text(value)?)
}

fn address(element: &Element, socket: bool, notes: &mut Notes) -> Option<Call> {
    let at = child(child(element, "localpath", notes)?, "deshost", notes)?;
    if !socket && at.attribute("url").is_some() {
        // As in sersync's source, which ignored the port in this case.
        let url = required(at, "url", notes, |v| url(&values::text(v)?));
        return Some(Call::Http { url: url?, ca_file: None });
    }
    let address = required(at, "ip", notes, host);
    let port = required(at, "port", notes, |v| values::port(&as_written(v)));
    let (host, port) = (address?, port?);
    Some(if socket {
        Call::Socket { host, port, framing: Framing::Connection }
    } else {
        Call::Http { url: format!("http://{host}:{port}/"), ca_file: None }
    })
}

fn refresh_cdn(element: &Element, notes: &mut Notes) -> Option<Call> {
    let localpath = child(element, "localpath", notes)?;
    let info = child(localpath, "cdninfo", notes)?;
    let address = required(info, "domainname", notes, host);
    let port = required(info, "port", notes, |v| values::port(&as_written(v)));
    let user = required(info, "username", notes, values::text);
    let password = required(info, "passwd", notes, values::text);
    let url = child(localpath, "sendurl", notes)?;
    let base_url = required(url, "base", notes, |v| base_url(&values::text(v)?));
    let mut url_match = None;
    if let Some(e) = localpath.child("regexurl")
        && optional(e, "regex", notes, values::boolean).unwrap_or(false)
    {
        url_match = required(e, "match", notes, |v| {
            values::text(v).and_then(|t| search_regex(v).map(|_| t))
        });
    }
    Some(Call::RefreshCdn {
        host: address?,
        port: port?,
        user: user?,
        password: Secret(password?),
        base_url: base_url?,
        url_match,
    })
}
