//! The localpaths of a configuration, each with the name of its state directory. Pure.

use super::names::localpath_id;
use crate::config::model::{Alarms, Config, LocalPath, Remote};
use std::collections::BTreeSet;

/// A localpath and the name of its state directory.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfiguredLocalPath {
    /// Stable across runs; see [`localpath_id`].
    pub id: String,
    /// The localpath without its remotes.
    pub localpath: LocalPath,
    /// Its remotes, each once.
    pub remotes: Vec<Remote>,
    /// Children log each path.
    pub debug: bool,
}

/// The localpaths of a checked configuration. A directory that is named twice in it is one localpath with the remotes
/// of both, or an error. So the result does not depend on the order in the files.
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
    /// The localpath for watchers and pushers: without the plugins and their passwords, which these processes do not
    /// need.
    pub fn bare(&self) -> LocalPath {
        LocalPath { plugins: Vec::new(), alarms: Alarms::default(), ..self.localpath.clone() }
    }
}
