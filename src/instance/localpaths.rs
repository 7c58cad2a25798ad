//! The localpaths of a configuration, each with the name of its state directory. Pure.

use super::names::localpath_id;
use crate::config::model::{Alarms, Config, LocalPath, Remote};
use std::collections::BTreeSet;

/// A localpath and the name of its state directory.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfiguredLocalPath {
    /// Stable over runs; see [`localpath_id`].
    pub id: String,
    /// The localpath without its remotes.
    pub localpath: LocalPath,
    /// Its remotes, each name once.
    pub remotes: Vec<Remote>,
    /// Children log each path.
    pub debug: bool,
}

/// The localpaths of a configuration that was checked: a directory that is named twice there is one localpath with the
/// remotes of both, or an error. So nothing depends on the order in which it names them.
pub fn configured(config: &Config) -> Vec<ConfiguredLocalPath> {
    let mut all = Vec::new();
    for localpath in &config.localpaths {
        let id = localpath_id(localpath.watch.as_path());
        let mut localpath = localpath.clone();
        let mut names = BTreeSet::new();
        let mut remotes = std::mem::take(&mut localpath.remotes);
        remotes.retain(|r| names.insert(r.name()));
        all.push(ConfiguredLocalPath { id, localpath, remotes, debug: config.debug });
    }
    all
}

impl ConfiguredLocalPath {
    /// The localpath as watchers and pushers get it: plugins are not their business, nor are their passwords.
    pub fn bare(&self) -> LocalPath {
        LocalPath { plugins: Vec::new(), alarms: Alarms::default(), ..self.localpath.clone() }
    }
}
