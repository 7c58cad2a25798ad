//! Writes a model as YAML, syncsup.yaml(5): only what differs from the defaults, with the settings that all localpaths
//! share at the top. Parsing the result gives the same model.

use super::convert_values::{
    alarms, crontab, fail_log, filter, http, log_settings, max_delete, of_bytes, plugins, standby,
    strings, text, toggles, trash, verify_schedule,
};
use super::model::*;
use super::params::YAML_PARAMS;
use super::yaml_text::{self, Mapping, YamlValue, insert};
use crate::error::Result;
use crate::path::OsBytes;
use crate::rsync::params::without_dropped;

/// The configuration without parts that would only cause a warning and be dropped, such as the `-u` of sersync's
/// `-artuz`.
pub fn as_written_in_yaml(config: &Config) -> Config {
    let mut config = config.clone();
    for remote in config.localpaths.iter_mut().flat_map(|l| &mut l.remotes) {
        remote.peer.params = without_dropped(&remote.peer.params);
    }
    config
}

/// The YAML text of a configuration. A path that is not UTF-8 is a usage error, because YAML cannot represent it.
pub fn to_yaml(config: &Config) -> Result<String> {
    let config = &as_written_in_yaml(config);
    let mut bodies = Vec::new();
    for localpath in &config.localpaths {
        bodies.push(body(localpath)?);
    }
    let mut top = hoist(&mut bodies);
    if config.debug {
        insert(&mut top, "debug", true);
    }
    if config.no_sysctl {
        insert(&mut top, "sysctl", false);
    }
    if let Some(user) = &config.user {
        insert(&mut top, "user", user.name.as_str());
    }
    if let Some(log) = &config.log {
        insert(&mut top, "log", log_settings(log.settings));
    }
    if let Some(server) = &config.http {
        insert(&mut top, "http", http(server)?);
    }
    let mut localpaths = Vec::new();
    for (localpath, rest) in config.localpaths.iter().zip(bodies) {
        let mut map = Mapping::new();
        insert(&mut map, "watch", of_bytes(&localpath.watch, &localpath.place)?);
        map.extend(rest);
        localpaths.push(YamlValue::Mapping(map));
    }
    insert(&mut top, "localpaths", YamlValue::Sequence(localpaths));
    yaml_text::write(&top)
}

/// Moves the settings that every localpath has in common to the top, except the remotes.
fn hoist(bodies: &mut [Mapping]) -> Mapping {
    let mut top = Mapping::new();
    let Some(first) = bodies.first().cloned() else { return top };
    for (key, value) in first {
        let shared = key != "remotes" && bodies.iter().all(|b| b.get(&key) == Some(&value));
        if shared {
            bodies.iter_mut().for_each(|b| {
                b.shift_remove(&key);
            });
            top.insert(key, value);
        }
    }
    top
}

/// Everything of a localpath except its watch.
fn body(localpath: &LocalPath) -> Result<Mapping> {
    let mut map = Mapping::new();
    let place = &localpath.place;
    let shared = Shared::of(&localpath.remotes);
    let rsync = shared.to_mapping()?;
    if !rsync.is_empty() {
        insert(&mut map, "rsync", YamlValue::Mapping(rsync));
    }
    if shared.max_delete != MaxDelete::default() {
        insert(&mut map, "max_delete", max_delete(shared.max_delete));
    }
    if let Some(keep) = shared.trash_keep_ms {
        insert(&mut map, "trash", trash(keep));
    }
    toggles(&mut map, &localpath.inotify);
    filter(&mut map, &localpath.filter, place)?;
    fail_log(&mut map, localpath.fail_log.as_ref(), place)?;
    crontab(&mut map, localpath.crontab.as_ref(), place)?;
    verify_schedule(&mut map, localpath.verify_schedule.as_ref());
    if shared.standby != StandbyMode::default() {
        insert(&mut map, "standby", standby(shared.standby));
    }
    if localpath.pace_percent != PACE_PERCENT {
        let mut pace = Mapping::new();
        insert(&mut pace, "cpu", format!("{}%", localpath.pace_percent));
        insert(&mut map, "pace", YamlValue::Mapping(pace));
    }
    if let Some(ms) = localpath.delay_ms {
        insert(&mut map, "delay", format!("{ms}ms"));
    }
    if localpath.large_file_bytes != LARGE_FILE_BYTES {
        let bytes = localpath.large_file_bytes;
        let mib = bytes > 0 && bytes.is_multiple_of(1 << 20);
        insert(
            &mut map,
            "large_file",
            if mib { format!("{}MiB", bytes >> 20) } else { bytes.to_string() },
        );
    }
    if !localpath.open_after.is_empty() {
        let mut rules = Mapping::new();
        for rule in &localpath.open_after {
            insert(&mut rules, &rule.glob, format!("{}ms", rule.after_ms));
        }
        insert(&mut map, "open_after", YamlValue::Mapping(rules));
    }
    if !localpath.first_copy {
        insert(&mut map, "first_copy", false);
    }
    plugins(&mut map, &localpath.plugins, place)?;
    alarms(&mut map, &localpath.alarms);
    let remotes: Result<Vec<YamlValue>> =
        localpath.remotes.iter().map(|r| remote(r, &shared)).collect();
    insert(&mut map, "remotes", YamlValue::Sequence(remotes?));
    Ok(map)
}

/// The settings that all remotes of a localpath have in common, or the defaults.
struct Shared {
    params: Vec<OsBytes>,
    port: u16,
    auth: (Option<String>, Option<OsBytes>),
    timeout_s: u32,
    program: OsBytes,
    max_delete: MaxDelete,
    trash_keep_ms: Option<u64>,
    standby: StandbyMode,
    fsync: bool,
    place: Place,
}

impl Shared {
    fn of(remotes: &[Remote]) -> Self {
        fn same<'r, T: PartialEq + Clone>(
            mut values: impl Iterator<Item = T> + 'r,
            default: T,
        ) -> T {
            match values.next() {
                Some(first) if values.all(|v| v == first) => first,
                _ => default,
            }
        }
        let daemons = || {
            remotes.iter().filter_map(|r| match r.peer.target {
                Target::Daemon { port, .. } => Some((port, r)),
                Target::Ssh { .. } => None,
            })
        };
        Self {
            params: same(
                remotes.iter().map(|r| r.peer.params.clone()),
                vec![OsBytes::from(YAML_PARAMS)],
            ),
            port: same(daemons().map(|d| d.0), RSYNC_PORT),
            auth: same(
                daemons().map(|(_, r)| (r.peer.user.clone(), r.peer.password_file.clone())),
                (None, None),
            ),
            timeout_s: same(remotes.iter().map(|r| r.peer.timeout_s), TIMEOUT_S),
            program: same(
                remotes.iter().map(|r| r.peer.rsync_program.clone()),
                OsBytes::from("rsync"),
            ),
            max_delete: same(remotes.iter().map(|r| r.max_delete), MaxDelete::default()),
            trash_keep_ms: same(remotes.iter().map(|r| r.trash_keep_ms), None),
            standby: same(remotes.iter().map(|r| r.standby), StandbyMode::default()),
            fsync: same(remotes.iter().map(|r| r.peer.fsync), false),
            place: remotes.first().map(|r| r.place.clone()).unwrap_or_default(),
        }
    }

    fn to_mapping(&self) -> Result<Mapping> {
        let mut map = Mapping::new();
        if self.params != [OsBytes::from(YAML_PARAMS)] {
            insert(&mut map, "params", params(&self.params, &self.place)?);
        }
        if self.fsync {
            insert(&mut map, "fsync", true);
        }
        if self.port != RSYNC_PORT {
            insert(&mut map, "port", self.port);
        }
        let mut auth = Mapping::new();
        if let Some(user) = &self.auth.0 {
            insert(&mut auth, "user", user.as_str());
        }
        if let Some(file) = &self.auth.1 {
            insert(&mut auth, "password_file", of_bytes(file, &self.place)?);
        }
        if !auth.is_empty() {
            insert(&mut map, "auth", YamlValue::Mapping(auth));
        }
        if self.timeout_s != TIMEOUT_S {
            insert(&mut map, "timeout", format!("{}s", self.timeout_s));
        }
        if self.program != OsBytes::from("rsync") {
            insert(&mut map, "program", of_bytes(&self.program, &self.place)?);
        }
        Ok(map)
    }
}

/// One string if a shell would split it into the same words, else a list.
fn params(words: &[OsBytes], place: &Place) -> Result<YamlValue> {
    let texts: Vec<&str> = words.iter().map(|w| text(w, place)).collect::<Result<_>>()?;
    match shlex::try_join(texts.iter().copied()) {
        Ok(joined) if !texts.is_empty() => Ok(YamlValue::from(joined)),
        _ => strings(words, place),
    }
}

/// In rsync's notation if that is sufficient, else a map.
fn remote(remote: &Remote, shared: &Shared) -> Result<YamlValue> {
    let place = &remote.place;
    let mut map = Mapping::new();
    insert(&mut map, "host", remote.peer.host.as_str());
    let short;
    match &remote.peer.target {
        Target::Daemon { port, module } => {
            insert(&mut map, "module", of_bytes(module, place)?);
            let module = text(module, place)?;
            if *port == shared.port {
                short = Some(format!("{}::{module}", remote.peer.host));
            } else {
                insert(&mut map, "port", *port);
                short = Some(format!("{}:{port}::{module}", remote.peer.host));
            }
        }
        Target::Ssh { path, port, options, control_master } => {
            insert(&mut map, "path", of_bytes(path, place)?);
            let ssh = format!("{}:{}", remote.peer.host, text(path, place)?);
            let ssh = remote.peer.user.as_ref().map_or(ssh.clone(), |user| format!("{user}@{ssh}"));
            short = Some(ssh).filter(|_| port.is_none() && options.is_empty() && *control_master);
            if let Some(port) = port {
                insert(&mut map, "port", *port);
            }
            let mut ssh = Mapping::new();
            if !options.is_empty() {
                let words = options.iter().map(|o| o.as_str().into()).collect();
                insert(&mut ssh, "options", YamlValue::Sequence(words));
            }
            if !control_master {
                insert(&mut ssh, "control_master", false);
            }
            if !ssh.is_empty() {
                insert(&mut map, "ssh", YamlValue::Mapping(ssh));
            }
        }
    }
    let daemon = matches!(remote.peer.target, Target::Daemon { .. });
    if let Some(user) = remote.peer.user.as_ref().filter(|_| !daemon) {
        insert(&mut map, "user", user.as_str());
    }
    let extra = differences(remote, shared, daemon)?;
    match short {
        Some(short) if extra.is_empty() => Ok(YamlValue::from(short)),
        _ => {
            map.extend(extra);
            Ok(YamlValue::Mapping(map))
        }
    }
}

/// The settings in which a remote differs from the others of its localpath; an ssh login is part of its notation.
fn differences(remote: &Remote, shared: &Shared, daemon: bool) -> Result<Mapping> {
    let place = &remote.place;
    let mut extra = Mapping::new();
    if let Some(user) =
        remote.peer.user.as_ref().filter(|_| daemon && remote.peer.user != shared.auth.0)
    {
        insert(&mut extra, "user", user.as_str());
    }
    if let Some(file) =
        remote.peer.password_file.as_ref().filter(|_| remote.peer.password_file != shared.auth.1)
    {
        insert(&mut extra, "password_file", of_bytes(file, place)?);
    }
    if remote.peer.params != shared.params {
        insert(&mut extra, "params", params(&remote.peer.params, place)?);
    }
    if remote.peer.timeout_s != shared.timeout_s {
        insert(&mut extra, "timeout", format!("{}s", remote.peer.timeout_s));
    }
    if remote.max_delete != shared.max_delete {
        insert(&mut extra, "max_delete", max_delete(remote.max_delete));
    }
    if remote.trash_keep_ms != shared.trash_keep_ms {
        insert(&mut extra, "trash", remote.trash_keep_ms.map_or(YamlValue::Null, trash));
    }
    if remote.standby != shared.standby {
        insert(&mut extra, "standby", standby(remote.standby));
    }
    if remote.peer.fsync != shared.fsync {
        insert(&mut extra, "fsync", remote.peer.fsync);
    }
    if remote.peer.rsync_program != shared.program {
        insert(&mut extra, "program", of_bytes(&remote.peer.rsync_program, place)?);
    }
    Ok(extra)
}
