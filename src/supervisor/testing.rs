//! Small models for the unit tests of this module.

use crate::config::model::{
    Alarms, Config, FilterRules, LocalPath, Peer, Place, Remote, Target, Toggles,
};

/// A configuration of these localpaths.
pub fn config(localpaths: Vec<LocalPath>) -> Config {
    Config {
        files: vec!["/etc/test.yaml".into()],
        debug: false,
        no_sysctl: false,
        user: None,
        log: None,
        http: None,
        localpaths,
        sections: vec![],
    }
}

/// A localpath with a remote on each of these hosts.
pub fn localpath(watch: &str, hosts: &[&str]) -> LocalPath {
    LocalPath {
        watch: watch.into(),
        place: Place::default(),
        filter: FilterRules::default(),
        inotify: Toggles::MODERN,
        remotes: hosts.iter().map(|h| remote(h)).collect(),
        fail_log: None,
        crontab: None,
        verify_schedule: None,
        delay_ms: None,
        pace_percent: 25,
        open_after: vec![],
        large_file_bytes: 1 << 20,
        first_copy: true,
        plugins: vec![],
        alarms: Alarms::default(),
    }
}

/// The module `m` of a daemon.
pub fn remote(host: &str) -> Remote {
    let target = Target::Daemon { port: 873, module: "m".into() };
    Remote::new(Peer { params: vec!["-az".into()], ..Peer::new(host, target) })
}
