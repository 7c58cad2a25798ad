//! The localpaths and remotes that `syncsup status NAME` means. Pure.

use crate::error::{Error, Result};
use crate::language::{listed, say};
use crate::message::{InstanceStatus, LocalPathStatus};
use std::collections::BTreeSet;

/// The number of names in an error.
const NAMED: usize = 20;

/// What of the instances has these names: a localpath with everything, or a remote of each localpath. Everything, if
/// there is no name. Errors: usage, if a name is not found.
pub fn named(mut instances: Vec<InstanceStatus>, names: &[String]) -> Result<Vec<InstanceStatus>> {
    if names.is_empty() {
        return Ok(instances);
    }
    let paths = || instances.iter().flat_map(|i| &i.localpaths);
    for name in names {
        if !paths().any(|l| is_path(name, l) || l.remotes.iter().any(|r| r.name == *name)) {
            return Err(unknown(name, paths()));
        }
    }
    for instance in &mut instances {
        instance.localpaths.retain_mut(|l| {
            if names.iter().any(|name| is_path(name, l)) {
                return true;
            }
            l.remotes.retain(|r| names.contains(&r.name));
            l.plugins.clear();
            l.plugin_runner = None;
            !l.remotes.is_empty()
        });
    }
    instances.retain(|i| !i.localpaths.is_empty());
    Ok(instances)
}

/// `/data/` equals `/data`.
fn is_path(name: &str, localpath: &LocalPathStatus) -> bool {
    let watch = localpath.watch.to_string();
    name == watch || (name.len() > 1 && name.trim_end_matches('/') == watch)
}

fn unknown<'a>(name: &str, paths: impl Iterator<Item = &'a LocalPathStatus>) -> Error {
    let mut known: Vec<String> = Vec::new();
    let mut seen = BTreeSet::new();
    for localpath in paths {
        let remotes = localpath.remotes.iter().map(|r| r.name.clone());
        let all = std::iter::once(localpath.watch.to_string()).chain(remotes);
        known.extend(all.filter(|name| seen.insert(name.clone())));
    }
    let more = match known.len().saturating_sub(NAMED) {
        0 => String::new(),
        n => say!(" and {} more", n),
    };
    known.truncate(NAMED);
    let known = listed(&known);
    Error::usage(say!("{}: no such localpath or remote; there are: {}{}", name, known, more))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{PluginState, PusherState};
    use crate::reporter::samples;

    fn shown(all: &[InstanceStatus], names: &[&str]) -> Vec<String> {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let found = named(all.to_vec(), &names).unwrap();
        let paths = found.iter().flat_map(|i| &i.localpaths);
        let line = |l: &LocalPathStatus| {
            let remotes = l.remotes.iter().map(|r| r.name.as_str());
            let plugins = l.plugins.iter().map(|p| p.name.as_str());
            [l.watch.to_string()]
                .iter()
                .map(String::as_str)
                .chain(remotes)
                .chain(plugins)
                .collect::<Vec<_>>()
                .join(" ")
        };
        paths.map(line).collect()
    }

    #[test]
    fn names_select_localpaths_and_remotes() {
        let two = samples::instance(2, &[PusherState::InSync, PusherState::Held]);
        let mut other = samples::with_plugin(PluginState::Idle);
        other.localpaths[0].watch = "/srv".into();
        let all = [two, other];
        let (first, second) = ("10.0.0.2::www", "10.0.0.3::www");
        assert_eq!(shown(&all, &[]).len(), 3);
        assert_eq!(shown(&all, &["/data/www/"]), [format!("/data/www {first} {second}")]);
        let wanted = [format!("/data/www {second}"), format!("/data/static {second}")];
        assert_eq!(shown(&all, &[second]), wanted);
        let wanted = [format!("/data/static {first} {second}"), format!("/srv {first} http")];
        assert_eq!(shown(&all, &["/srv", "/data/static"]), wanted);
        let wanted = ["/data/www", "/data/static", "/srv"].map(|watch| format!("{watch} {first}"));
        assert_eq!(shown(&all, &[first]), wanted, "a plugin is none of a remote");
    }

    #[test]
    fn an_unknown_name_is_an_error_with_the_names_that_there_are() {
        let error = |status: InstanceStatus| named(vec![status], &["x".into()]).unwrap_err().text;
        assert_eq!(
            error(samples::instance(1, &[PusherState::InSync])),
            "x: no such localpath or remote; there are: /data/www, 10.0.0.2::www"
        );
        let many = error(samples::troubled(50, 6));
        assert!(
            many.ends_with(" and 36 more") && many.matches("10.0.0.2::www").count() == 1,
            "{many}"
        );
    }
}
