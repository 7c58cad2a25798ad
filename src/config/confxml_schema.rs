//! Which elements and attributes a `confxml.xml` may have.

use super::diagnostic::{Notes, did_you_mean};
use super::xml::Element;
use crate::language::say;

/// A known element: its place, its attributes, its children, and which of these may be repeated.
type Known =
    (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

#[rustfmt::skip]
const SCHEMA: &[Known] = &[
    ("head", &["version"], &["host", "debug", "fileSystem", "filter", "inotify", "sersync", "plugin"], &["sersync", "plugin"]),
    ("head/host", &["hostip", "port"], &[], &[]),
    ("head/debug", &["start"], &[], &[]),
    ("head/fileSystem", &["xfs"], &[], &[]),
    ("head/filter", &["start"], &["exclude"], &["exclude"]),
    ("head/filter/exclude", &["expression"], &[], &[]),
    ("head/inotify", &[], &TOGGLES, &[]),
    ("head/sersync", &[], &["localpath", "rsync", "failLog", "crontab", "plugin"], &["localpath"]),
    ("head/sersync/localpath", &["watch"], &["remote"], &["remote"]),
    ("head/sersync/localpath/remote", &["ip", "name"], &[], &[]),
    ("head/sersync/rsync", &[], &["commonParams", "auth", "userDefinedPort", "timeout", "ssh"], &[]),
    ("head/sersync/rsync/commonParams", &["params"], &[], &[]),
    ("head/sersync/rsync/auth", &["start", "users", "passwordfile"], &[], &[]),
    ("head/sersync/rsync/userDefinedPort", &["start", "port"], &[], &[]),
    ("head/sersync/rsync/timeout", &["start", "time"], &[], &[]),
    ("head/sersync/rsync/ssh", &["start"], &[], &[]),
    ("head/sersync/failLog", &["path", "timeToExecute"], &[], &[]),
    ("head/sersync/crontab", &["start", "schedule"], &["crontabfilter"], &[]),
    ("head/sersync/crontab/crontabfilter", &["start"], &["exclude"], &["exclude"]),
    ("head/sersync/crontab/crontabfilter/exclude", &["expression"], &[], &[]),
    ("head/sersync/plugin", &["start", "name"], &[], &[]),
    ("head/plugin", &["name"], &["param", "filter", "localpath"], &[]),
    ("head/plugin/param", &["prefix", "suffix", "ignoreError"], &[], &[]),
    ("head/plugin/filter", &["start"], &["include"], &["include"]),
    ("head/plugin/filter/include", &["expression"], &[], &[]),
    ("head/plugin/localpath", &["watch"], &["deshost", "cdninfo", "sendurl", "regexurl"], &[]),
    ("head/plugin/localpath/deshost", &["ip", "port", "url"], &[], &[]),
    ("head/plugin/localpath/cdninfo", &["domainname", "port", "username", "passwd"], &[], &[]),
    ("head/plugin/localpath/sendurl", &["base"], &[], &[]),
    ("head/plugin/localpath/regexurl", &["regex", "match"], &[], &[]),
];

/// The elements of `inotify`.
pub(super) const TOGGLES: [&str; 8] = [
    "delete",
    "createFolder",
    "createFile",
    "closeWrite",
    "moveFrom",
    "moveTo",
    "attrib",
    "modify",
];

/// Walks the tree and reports what is unknown or repeated.
pub(super) fn known(element: &Element, path: &str, notes: &mut Notes) {
    const START: Known = ("", &["start"], &[], &[]);
    let toggle = path.starts_with("head/inotify/").then_some(&START);
    let Some((_, attributes, children, many)) = SCHEMA.iter().find(|k| k.0 == path).or(toggle)
    else {
        return;
    };
    for attribute in element.attributes.iter().filter(|a| !attributes.contains(&a.name.as_str())) {
        let hint = did_you_mean(&attribute.name, attributes);
        notes.error(
            attribute.line,
            say!("unknown attribute {} of <{}>{}", attribute.name, element.name, hint),
        );
    }
    for (index, child) in element.children.iter().enumerate() {
        let name = child.name.as_str();
        if !children.contains(&name) {
            let hint = did_you_mean(name, children);
            notes.error(
                child.line,
                say!("unknown element <{}> in <{}>{}", name, element.name, hint),
            );
            continue;
        }
        let before = element.children[..index].iter().find(|c| c.name == name);
        if let (Some(before), false) = (before, many.contains(&name)) {
            notes.error(
                child.line,
                say!("<{}> is given twice (first in line {}); keep one", name, before.line),
            );
        }
        known(child, &format!("{path}/{name}"), notes);
    }
}
