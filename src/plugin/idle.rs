//! The end of each turn: sends alarms and the status, writes the fail log, and decides how long to sleep.

use super::alarm::environment;
use super::fail_log;
use super::prepare::TRACE;
use super::run::Runner;
use crate::help_topic::HelpTopic;
use crate::journal::JournalError;
use crate::message::{ALIVE_EVERY_MS, FromPlugin, PluginState, PluginStatus};
use crate::path::plugin_fail_log_part;
use crate::sys::poll::{self, Interest};
use crate::sys::program::Program;
use crate::sys::{clock, wake};
use slog::{info, warn};
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::time::Duration;

/// The shortest interval between two status messages.
const STATUS_EVERY: Duration = Duration::from_millis(250);
/// The time limit of a command of `on_failure` or `on_recovery`.
const ALARM_TIMEOUT: Duration = Duration::from_secs(30);

impl Runner {
    fn alarm_after(&self) -> Duration {
        Duration::from_millis(self.start.localpath.alarms.after_ms)
    }

    /// Runs the commands that report a remote's trouble or its end. Each report is recorded before its command runs:
    /// one missing report is better than an endless repetition.
    pub fn sound_alarms(&mut self, now: Duration) -> Result<(), JournalError> {
        if self.start.localpath.alarms.is_empty() {
            return Ok(());
        }
        let pushed = |name: &str| self.journal.last_success(name).ok().flatten();
        for (remote, tell, since_ms) in self.alarms.due(self.alarm_after(), now, pushed) {
            let failure = tell == super::alarm::Tell::Failure;
            self.journal.set_alarm(&remote, failure.then_some(since_ms))?;
            self.alarms.told(&remote, &tell, since_ms);
            let alarms = &self.start.localpath.alarms;
            let words = if failure { &alarms.on_failure } else { &alarms.on_recovery };
            let argv: Vec<OsString> = words.iter().map(OsString::from).collect();
            if argv.is_empty() {
                continue;
            }
            let health = self.remotes.iter().find(|r| r.name == remote);
            let watch = self.start.localpath.watch.as_os_str().to_owned();
            let envs = environment(&tell, watch, &remote, health, clock::local(since_ms));
            let what =
                format!("{} for {remote}", if failure { "on_failure" } else { "on_recovery" });
            self.number += 1;
            let trace = self.start.state_dir.join(format!("{TRACE}{}", self.number));
            info!(self.log, "running {what}");
            let user = alarms.user.as_ref().map(|run_as| run_as.name.as_str());
            match Program::start(&argv, &envs, false, &trace, user) {
                Ok(program) => self.alarm_runs.push((what, program, now + ALARM_TIMEOUT)),
                Err(e) => warn!(self.log, "{what}: {e}"; "program" => words[0].clone()),
            }
        }
        Ok(())
    }

    /// Records the ends of those commands.
    pub fn land_alarms(&mut self, now: Duration) {
        let log = self.log.clone();
        self.alarm_runs.retain_mut(|(what, program, until)| {
            program.drain();
            match program.ended() {
                Ok(None) if now >= *until => {
                    warn!(log, "{what} took too long and was killed");
                    program.kill();
                    *until = now + ALARM_TIMEOUT;
                    true
                }
                Ok(None) => true,
                Ok(Some((exited, output))) => {
                    if exited != crate::stat::Exited::Code(0) {
                        let said = crate::path::printable(output.trim_ascii());
                        warn!(log, "{what} failed: {exited}"; "said" => said);
                    }
                    false
                }
                Err(e) => {
                    warn!(log, "{what}: {e}");
                    false
                }
            }
        });
    }

    /// Sends what is new to the supervisor, and a sign of life.
    pub fn tell(&mut self, now: Duration) -> Result<(), JournalError> {
        if self.said.dirty && now.saturating_sub(self.said.status_at) >= STATUS_EVERY {
            self.said.dirty = false;
            self.said.status_at = now;
            let status = self.status()?;
            if std::mem::take(&mut self.said.failed) {
                self.write_fail_log()?;
            }
            if self.said.status != status {
                let _ = self.control.send(&FromPlugin::Status(status.clone()), vec![]);
                self.said.status = status;
                self.said.alive_at = now;
            }
        }
        if now.saturating_sub(self.said.alive_at) >= Duration::from_millis(ALIVE_EVERY_MS)
            && !self.control.wants_write()
        {
            self.said.alive_at = now;
            let _ = self.control.send(&FromPlugin::Alive, vec![]);
        }
        Ok(())
    }

    fn status(&mut self) -> Result<Vec<PluginStatus>, JournalError> {
        let mut all = Vec::new();
        for (n, station) in self.stations.iter().enumerate() {
            let backlog = self.journal.plugin_backlog(&station.key)?;
            let before = self.said.status.get(n).map_or(0, |s| s.failing + s.given_up);
            self.said.failed |= before != backlog.failing + backlog.given_up;
            let held = self.hold.clone().or_else(|| self.retry_why.clone());
            let state = match () {
                () if held.is_some() => PluginState::Held,
                () if station.lane.failures() > 0 => PluginState::Failing,
                () if station.lane.flying() > 0 => PluginState::Calling,
                () if backlog.waiting > 0 => PluginState::Waiting,
                () => PluginState::Idle,
            };
            // The current error. The call that has waited longest may not have it.
            let now = station.last.clone().filter(|_| station.lane.failures() > 0);
            let fails = station.lane.failures() > 0 || backlog.failing + backlog.given_up > 0;
            all.push(PluginStatus {
                name: station.name.clone(),
                state,
                help: (held.is_none() && fails).then_some(HelpTopic::PluginFailing),
                reason: held.or(now).or(backlog.first_error),
                waiting: backlog.waiting,
                failing: backlog.failing,
                given_up: backlog.given_up,
                calls: backlog.calls,
                last_success_ms: backlog.last_success_ms,
            });
        }
        Ok(all)
    }

    /// Writes each plugin's part of the fail log. The supervisor builds the script from the parts.
    fn write_fail_log(&mut self) -> Result<(), JournalError> {
        for station in &self.stations {
            let failed = self.journal.failed_calls(&station.key, fail_log::MOST)?;
            let of = fail_log::Of {
                watch: self.start.localpath.watch.as_path(),
                run_dir: &self.start.run_dir,
                name: &station.name,
                call: &station.plugin.call,
            };
            let text = fail_log::part(of, &failed, clock::local);
            let path = self.start.state_dir.join(plugin_fail_log_part(&station.key));
            let written = if text.is_empty() {
                fs::remove_file(&path)
                    .or_else(|e| if e.kind() == ErrorKind::NotFound { Ok(()) } else { Err(e) })
            } else {
                let new = path.with_extension("new");
                fs::write(&new, &text).and_then(|()| fs::rename(&new, &path))
            };
            if let Err(e) = written {
                warn!(self.log, "cannot write the fail log"; "file" => path.display().to_string(),
                    "why" => e.to_string());
            }
        }
        Ok(())
    }

    /// When something is due because of time alone.
    fn next(&self, now: Duration) -> Result<Duration, JournalError> {
        let works = self.stop.is_none() && self.judged && self.hold.is_none();
        let may = works && self.retry.is_none();
        let soon = |yes: bool, at: Duration| yes.then_some(at);
        let call = match may {
            true => self.journal.next_call_ms(clock::wall_ms())?,
            false => None,
        };
        let call =
            call.map(|ms| now + Duration::from_millis((ms - clock::wall_ms()).max(0) as u64));
        let alarms = !self.start.localpath.alarms.is_empty();
        let gates = self.stations.iter().filter(|_| may).filter_map(|s| s.lane.gate(now));
        let runs = self.alarm_runs.iter().map(|(_, _, until)| *until);
        let times = [
            Some(self.said.alive_at + Duration::from_millis(ALIVE_EVERY_MS)),
            soon(self.said.dirty, self.said.status_at + STATUS_EVERY),
            soon(may, self.next_look),
            soon(may && self.more, now),
            call,
            self.retry,
            soon(alarms, now).and_then(|_| self.alarms.next(self.alarm_after())),
            soon(alarms && self.alarms.waits_for_recovery(), now + Duration::from_secs(1)),
            self.stop,
        ];
        let flights = self.flights.iter().filter_map(|f| f.until());
        let all = times.into_iter().flatten().chain(gates).chain(flights).chain(runs);
        Ok(all.min().unwrap_or(now))
    }

    /// Waits for the next event.
    pub fn sleep(&mut self, now: Duration) -> io::Result<()> {
        // If the journal cannot be read, it is tried again soon.
        let next = self.next(now).unwrap_or(now + STATUS_EVERY);
        let interest =
            if self.control.wants_write() { Interest::ReadWrite } else { Interest::Read };
        let mut fds = vec![
            (self.wake.as_fd(), Interest::Read),
            (self.signals.as_fd(), Interest::Read),
            (self.pool.ready().as_fd(), Interest::Read),
        ];
        if !self.orphaned {
            // A closed channel is always ready.
            fds.push((self.control.as_fd(), interest));
        }
        let programs = self.alarm_runs.iter().filter_map(|(_, program, _)| program.output());
        let outputs = self.flights.iter().filter_map(|f| f.output()).chain(programs);
        fds.extend(outputs.map(|fd| (fd, Interest::Read)));
        let ready = poll::wait(&fds, Some(next.saturating_sub(now)))?;
        drop(fds);
        if ready[0] {
            wake::drain(&self.wake);
            self.look_soon();
        }
        // The next read reports a closed channel.
        let _ = self.control.flush();
        Ok(())
    }
}
