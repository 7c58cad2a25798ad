//! A new configuration while everything runs: only what changed is touched.

use super::site::Site;
use super::state::Supervisor;
use super::{configuration, topology};
use crate::error::{Error, Result};
use crate::sys::session::monotonic;
use slog::{error, info, warn};
use std::time::Duration;
use topology::Wanted;

impl Supervisor {
    /// Reads the configuration again; with errors the old one stays. Returns what it did, for the user.
    pub(super) fn reload(&mut self, now: Duration) -> Result<Vec<String>> {
        // Before everything is watched it is not ready, and a reload does not make it so.
        if self.started {
            self.notify.reloading(monotonic());
        }
        let done = self.take_over(now);
        if let Err(e) = &done {
            e.text.lines().for_each(|line| error!(self.shared.log, "not reloaded: {line}"));
        }
        if self.started {
            self.notify.ready();
        }
        done
    }

    fn take_over(&mut self, now: Duration) -> Result<Vec<String>> {
        let (config, warnings) = configuration::reload(&self.options, &self.config)?;
        let new = Self::wanted(&self.options, &config);
        let old: Vec<Wanted> =
            self.sites.iter().filter(|s| !s.retiring).map(|s| s.wanted.clone()).collect();
        let diff = topology::diff(&old, &new);
        // Everything that can fail comes first: then nothing is half done.
        let opened = self.open_new(&old, &new, now)?;
        for wanted in new.iter().filter(|w| old.iter().any(|o| o.id == w.id)) {
            let Self { sites, shared, .. } = self;
            let site = sites.iter_mut().find(|s| s.wanted.id == wanted.id && !s.retiring);
            if let Some(site) = site {
                site.reconfigure(wanted.clone(), &diff, shared, now)?;
            }
        }
        for site in self.sites.iter_mut().filter(|s| !new.iter().any(|w| w.id == s.wanted.id)) {
            site.retiring = true;
            site.stop(now);
        }
        self.sites.extend(opened);
        // A fail log may have lost a remote, or all of them.
        let logs = old.iter().chain(&new).filter_map(|w| w.localpath.fail_log.as_ref());
        self.shared.fail_logs.extend(logs.map(|log| log.path.as_path().to_owned()));
        self.reporter.want(config.http.clone());
        self.config = config;
        for warning in &warnings {
            warn!(self.shared.log, "{}", warning.without_severity());
        }
        let line = format!(
            "reloaded: {} started, {} stopped, {} restarted, {} untouched",
            diff.start.len(),
            diff.stop.len(),
            diff.restart.len(),
            diff.same.len()
        );
        info!(self.shared.log, "{line}");
        Ok(warnings.iter().map(ToString::to_string).chain([line]).collect())
    }

    fn open_new(&mut self, old: &[Wanted], new: &[Wanted], now: Duration) -> Result<Vec<Site>> {
        let mut opened = Vec::new();
        for wanted in new.iter().filter(|w| !old.iter().any(|o| o.id == w.id)) {
            if self.sites.iter().any(|s| s.retiring && s.wanted.id == wanted.id) {
                let watch = &wanted.localpath.watch;
                let text = format!("localpath {watch} is still stopping; reload again in a moment");
                return Err(Error::usage(text));
            }
            let state = &self.options.directories.state;
            opened.push(Site::open(wanted.clone(), state, None, &mut self.shared, now)?);
        }
        Ok(opened)
    }
}
