//! `-m KIND`: the same configuration with only its plugins of one kind, as with sersync's modules. Pure.

use super::diagnostic::{Diagnostic, Severity};
use super::model::{Alarms, Config, LocalPath, PLUGIN_KINDS, Place, Plugin};
use crate::language::say;

/// The kind that `-m` selects; YAML's `refresh_cdn` is sersync's `refreshCDN`.
pub fn kind(name: &str) -> Option<&'static str> {
    let name = if name == "refresh_cdn" { "refreshCDN" } else { name };
    PLUGIN_KINDS.into_iter().find(|k| *k == name)
}

/// Keeps only the plugins of that kind, and no remotes. A section of a `confxml.xml` counts whether it is started or
/// not. `socket`, `http` and `refreshCDN` watch the directory in their section, as in sersync.
pub fn only(config: &mut Config, kind: &str) -> Option<Diagnostic> {
    // The address belongs to the instance that replicates; `--http` gives this instance its own.
    config.http = None;
    let wanted = |p: &Plugin| p.call.kind() == kind;
    let mut chosen: Vec<LocalPath> = Vec::new();
    for localpath in &config.localpaths {
        let section =
            config.sections.iter().find(|s| wanted(s) && s.place.file == localpath.place.file);
        let mut localpath = LocalPath {
            remotes: Vec::new(),
            crontab: None,
            verify_schedule: None,
            alarms: Alarms::default(),
            ..localpath.clone()
        };
        if let Some(log) = &mut localpath.fail_log {
            // This instance must not use the script of the instance that replicates.
            let name = [log.path.as_bytes(), b".", kind.as_bytes()].concat();
            log.path = name.into();
        }
        match section {
            Some(section) => {
                if let Some(watch) = &section.watch {
                    localpath.watch = watch.clone();
                    localpath.place = section.place.clone();
                }
                localpath.plugins = vec![section.clone()];
            }
            None => localpath.plugins.retain(wanted),
        }
        if !localpath.plugins.is_empty() && chosen.iter().all(|c| c.watch != localpath.watch) {
            chosen.push(localpath);
        }
    }
    let nothing = chosen.is_empty().then(|| {
        let file = config.files.first().cloned().unwrap_or_default();
        let text = say!("-m {}: no such plugin is configured; add <plugin name=\"{}\"> to <head>, or `{}` to `plugins` in YAML", kind, kind, kind);
        Diagnostic { severity: Severity::Error, place: Place { file, line: 0 }, column: 0, text }
    });
    config.localpaths = chosen;
    nothing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{confxml, yaml};
    use std::path::Path;

    const XML: &str = r#"<head><sersync><localpath watch="/a"><remote ip="h" name="m"/></localpath>
<localpath watch="/b"><remote ip="h" name="n"/></localpath></sersync>
<plugin name="command"><param prefix="/bin/true"/></plugin>
<plugin name="socket"><localpath watch="/c/"><deshost ip="h" port="1"/></localpath></plugin></head>"#;

    fn watches(config: &Config) -> Vec<String> {
        config.localpaths.iter().map(|l| l.watch.to_string()).collect()
    }

    #[test]
    fn sections_and_their_directories_are_read() {
        let config = confxml::parse(XML.as_bytes(), Path::new("c.xml")).config;
        let mut command = config.clone();
        assert!(only(&mut command, "command").is_none());
        assert_eq!(watches(&command), ["/a", "/b"]);
        assert!(command.localpaths.iter().all(|l| l.remotes.is_empty() && l.plugins.len() == 1));
        let mut socket = config.clone();
        assert!(only(&mut socket, "socket").is_none());
        assert_eq!(watches(&socket), ["/c"]);
        let mut http = config;
        assert!(only(&mut http, "http").unwrap().to_string().contains("-m http"));
    }

    #[test]
    fn yaml_plugins_are_selected_by_kind() {
        let text = "localpaths:\n- {watch: /a, remotes: ['h::m'], plugins: [{socket: {host: h, port: 1}}, {command: {prefix: x}}]}\n- {watch: /b, remotes: ['h::n']}\n";
        let mut config = yaml::parse(text.as_bytes(), Path::new("c.yaml")).config;
        assert!(only(&mut config, "command").is_none());
        assert_eq!(watches(&config), ["/a"]);
        assert_eq!(config.localpaths[0].plugins.len(), 1);
        assert_eq!(kind("refresh_cdn"), Some("refreshCDN"));
        assert_eq!(kind("refresh"), None);
    }
}
