//! Applies a new configuration while everything runs. Only the changed parts are affected.

use super::localpath::SupervisedLocalPath;
use super::state::Supervisor;
use super::{configuration, topology};
use crate::config::diagnostic::Diagnostic;
use crate::error::{Error, Result};
use crate::instance::localpaths::ConfiguredLocalPath;
use crate::language::{Language, say};
use crate::sys::fault_point::{Point, pass};
use crate::sys::session::monotonic;
use slog::{error, info, warn};
use std::time::Duration;

/// What a reload has done.
struct Reloaded {
    warnings: Vec<Diagnostic>,
    counts: Counts,
}

/// How many processes were started, stopped, restarted, left alone.
struct Counts([usize; 4]);

impl Counts {
    fn line(&self) -> String {
        let [started, stopped, restarted, same] = self.0;
        say!(
            "reloaded: {} started, {} stopped, {} restarted, {} untouched",
            started,
            stopped,
            restarted,
            same
        )
    }
}

impl Supervisor {
    /// Reads the configuration again. If it has errors, the old one remains. Returns messages for the user, in the
    /// language that is spoken. The log is English.
    pub(super) fn reload(&mut self, now: Duration) -> Result<Vec<String>> {
        let translated = (Language::current() != Language::English)
            .then(|| configuration::reload(&self.options, &self.config));
        let Reloaded { warnings, counts } =
            match (Language::English.during(|| self.reload_in_english(now)), translated) {
                (Ok(reloaded), Some(Ok((_, warnings)))) => Reloaded { warnings, ..reloaded },
                (Ok(reloaded), None | Some(Err(_))) => reloaded,
                (Err(_), Some(Err(error))) | (Err(error), None | Some(Ok(_))) => return Err(error),
            };
        Ok(warnings.iter().map(ToString::to_string).chain([counts.line()]).collect())
    }

    fn reload_in_english(&mut self, now: Duration) -> Result<Reloaded> {
        // Before everything is watched, the instance is not ready, and a reload does not make it ready.
        if self.started {
            self.systemd.reloading(monotonic());
        }
        let done = self.take_over(now);
        if let Err(e) = &done {
            e.text.lines().for_each(|line| error!(self.shared.log, "not reloaded: {line}"));
        }
        if self.started {
            self.systemd.ready();
        }
        done
    }

    fn take_over(&mut self, now: Duration) -> Result<Reloaded> {
        let (config, warnings) = configuration::reload(&self.options, &self.config)?;
        let new = Self::configured(&self.options, &config);
        let old: Vec<ConfiguredLocalPath> = self
            .localpaths
            .iter()
            .filter(|l| l.is_configured())
            .map(|l| l.configured.clone())
            .collect();
        let diff = topology::diff(&old, &new);
        // The steps that can fail come first, so that no reload is applied halfway.
        let opened = self.open_new(&old, &new, now)?;
        pass(Point::SupervisorReloads);
        for configured in new.iter().filter(|w| old.iter().any(|o| o.id == w.id)) {
            let Self { localpaths, shared, .. } = self;
            let localpath = localpaths
                .iter_mut()
                .find(|l| l.configured.id == configured.id && l.is_configured());
            if let Some(localpath) = localpath {
                localpath.reconfigure(configured.clone(), &diff, shared, now)?;
                pass(Point::SupervisorReloads);
            }
        }
        for localpath in
            self.localpaths.iter_mut().filter(|l| !new.iter().any(|w| w.id == l.configured.id))
        {
            localpath.retire(now);
        }
        self.localpaths.extend(opened);
        // A fail log may have lost one remote, or all remotes.
        let logs = old.iter().chain(&new).filter_map(|w| w.localpath.fail_log.as_ref());
        self.shared.fail_logs.extend(logs.map(|log| log.path.as_path().to_owned()));
        self.reporter.want(config.http.clone());
        self.config = config;
        for warning in &warnings {
            warn!(self.shared.log, "{}", warning.without_severity());
        }
        let lists = [&diff.start, &diff.stop, &diff.restart, &diff.same];
        let counts = Counts(lists.map(|list| list.len()));
        info!(self.shared.log, "{}", counts.line());
        Ok(Reloaded { warnings, counts })
    }

    fn open_new(
        &mut self,
        old: &[ConfiguredLocalPath],
        new: &[ConfiguredLocalPath],
        now: Duration,
    ) -> Result<Vec<SupervisedLocalPath>> {
        let mut opened = Vec::new();
        for configured in new.iter().filter(|w| !old.iter().any(|o| o.id == w.id)) {
            if self
                .localpaths
                .iter()
                .any(|l| !l.is_configured() && l.configured.id == configured.id)
            {
                let watch = &configured.localpath.watch;
                let text = say!("localpath {} is still stopping; reload again in a moment", watch);
                return Err(Error::usage(text));
            }
            let state = &self.options.directories.state;
            opened.push(SupervisedLocalPath::open(
                configured.clone(),
                state,
                None,
                &mut self.shared,
                now,
            )?);
        }
        Ok(opened)
    }
}
