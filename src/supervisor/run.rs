//! The supervisor's loop: waits for signals, commands and children, and handles each in turn.

use super::control::ControlSocket;
use super::localpath::SupervisedLocalPath;
use super::notifications::Notification;
use super::run_files::RunFiles;
use super::state::Supervisor;
use super::{InstanceOptions, banner, configuration, fail_log, kernel};
use crate::config::model::Config;
use crate::config::probe::Machine;
use crate::config::sender;
use crate::error::{Error, Result};
use crate::instance::run_as;
use crate::language::{Language, say};
use crate::log_settings::LogTarget;
use crate::message::ToPusher;
use crate::sys::account::Purpose;
use crate::sys::confine::no_core_files;
use crate::sys::poll::wait;
use crate::sys::session::{self, monotonic};
use crate::sys::signals::Signals;
use crate::sys::{domain, files, log, process, sysctl};
use slog::{info, warn};
use std::time::Duration;

/// The time for clients to read their last answers.
const LAST_ANSWER: Duration = Duration::from_secs(2);
/// The longest time of one turn of the loop.
const TURN: Duration = Duration::from_secs(1);
/// The same while every child rests.
const IDLE_TURN: Duration = Duration::from_secs(10);

/// Runs an instance until it is told to stop. `give_up`: return an error if it cannot be started (a daemon's starter
/// waits for that); otherwise every child is retried for ever.
pub fn run(
    options: InstanceOptions,
    give_up: bool,
    notify: &mut dyn FnMut(Notification),
) -> Result<()> {
    no_core_files().map_err(|e| Error::system(say!("cannot limit core files"), e))?;
    let mut signals =
        Signals::catch().map_err(|e| Error::system(say!("cannot catch signals"), e))?;
    let loaded = configuration::read(&options);
    // What the user's terminal shows is in the user's language, and the log in English.
    let logged = (Language::current() != Language::English)
        .then(|| Language::English.during(|| configuration::read(&options)));
    let settings = loaded.config.log.as_ref().map(|log| log.settings).unwrap_or_default();
    log::set(settings);
    let log = log::logger(options.debug);
    let mut raised = None;
    if !loaded.has_errors()
        && let Some(account) = run_as::to_become(&loaded.config)
    {
        // What only root can do comes first. Nothing that belongs to that user has run or been obeyed until then.
        options.directories.hand_over(&account)?;
        raised = raise_limits(&options, &loaded.config, &log);
        run_as::assume(&account, Purpose::Instance, &log)?;
    }
    let (config, warnings) = configuration::examine(loaded)?;
    warnings.iter().for_each(|warning| notify(Notification::Warned(warning.to_string())));
    let logged = logged.map(|logged| Language::English.during(|| configuration::examine(logged)));
    let warnings = match logged {
        Some(Ok((_, warnings))) => warnings,
        Some(Err(_)) | None => warnings,
    };
    // The version of the local rsync does not prevent a start.
    let versions = Language::English.during(|| sender::versions(&config, &Machine));
    for warning in warnings.into_iter().chain(versions) {
        warn!(log, "{}", warning.without_severity());
    }
    if !domain::is_supported() {
        info!(log, "this kernel has no Landlock: an rsync can read files outside of its localpath");
    }
    if !files::reports_mounts() {
        info!(
            log,
            "this kernel does not tell a bind mount from a directory: unmounting one looks like deleting it"
        );
    }
    options.directories.prepare()?;
    if settings.target == Some(LogTarget::File) && !give_up {
        let directories = &options.directories;
        log::redirect(&directories.log_file()).map_err(|e| directories.log_refused(e))?;
    }
    session::raise_file_limit();
    let mut files = RunFiles::take(&options)?;
    let raised = raised.or_else(|| raise_limits(&options, &config, &log));
    let mut supervisor = match Supervisor::new(options, config, log) {
        Ok(supervisor) => supervisor,
        Err(error) => {
            files.leave(LAST_ANSWER);
            return Err(error);
        }
    };
    let (options, config, slots) =
        (&supervisor.options, &supervisor.config, supervisor.shared.slots.limit());
    notify(Notification::Banner(banner::lines(options, config, slots, raised.as_deref())));
    Language::English.speak();
    let ended = supervisor.turn_until_end(&mut signals, &mut files, give_up, notify);
    for client in std::mem::take(&mut supervisor.last_answers) {
        let answer = crate::message::Answer::Done(vec!["stopped".into()]);
        files.control.answer(client, &answer, monotonic());
    }
    info!(supervisor.shared.log, "stopped");
    files.leave(LAST_ANSWER);
    ended
}

/// Raises the kernel's limits, if configured and permitted. Returns what was done.
fn raise_limits(options: &InstanceOptions, config: &Config, log: &slog::Logger) -> Option<String> {
    if !options.sysctl || config.no_sysctl || session::user() != 0 {
        return None;
    }
    let limits = kernel::limits(config.localpaths.len());
    let raised = kernel::raise(&limits, sysctl::read, sysctl::write);
    if let Some(what) = &raised.done {
        info!(log, "raised {what}; use --no-sysctl to prevent this");
    }
    // As in most containers: the limits set outside apply.
    if let Some(why) = &raised.refused {
        info!(log, "not raised: {why}");
    }
    raised.done
}

impl Supervisor {
    fn turn_until_end(
        &mut self,
        signals: &mut Signals,
        files: &mut RunFiles,
        give_up: bool,
        notify: &mut dyn FnMut(Notification),
    ) -> Result<()> {
        let mut ended = Ok(());
        self.follow_at = (self.options.reconcile && !give_up).then(monotonic);
        while !(self.stopping
            && self.localpaths.iter().all(SupervisedLocalPath::is_gone)
            && self.reporter.is_gone())
        {
            let (child_ended, now) = self.poll_once(signals, files)?;
            // At the end of each turn in any case, so that a lost signal delays nothing longer.
            let reap = child_ended || now >= self.next_reap;
            if reap {
                self.next_reap = now + TURN;
            }
            for localpath in &mut self.localpaths {
                localpath.tick(reap, &mut self.shared, now);
            }
            if reap {
                process::reap_adopted();
            }
            self.forget_waiters(now);
            self.forget_verifying(now);
            self.grant(now);
            self.write_fail_logs(now);
            self.localpaths.retain(|l| l.is_configured() || !l.is_gone());
            self.notify_starter(notify);
            self.notify_progress(notify, now);
            self.keep_alive(now);
            if self.reporter.tick(reap, now) {
                let status = self.report();
                self.reporter.show(status, now);
            }
            if give_up
                && !self.started
                && !self.stopping
                && let Some(error) = self.start_failure()
            {
                ended = Err(error);
                self.stop(now);
            }
        }
        ended
    }

    /// Waits for an event, and reads it. Returns true if a child has exited, and the current time.
    fn poll_once(
        &mut self,
        signals: &mut Signals,
        files: &mut RunFiles,
    ) -> Result<(bool, Duration)> {
        let timeout = self.timeout(files);
        let mut fds = vec![(std::os::fd::AsFd::as_fd(signals), crate::sys::poll::Interest::Read)];
        let control = files.control.interests();
        let clients = control.len();
        fds.extend(control);
        let mut children = Vec::new();
        for (n, localpath) in self.localpaths.iter().enumerate() {
            for (child, interest) in localpath.interests() {
                children.push((n, child));
                fds.push(interest);
            }
        }
        let reporter = fds.len();
        fds.extend(self.reporter.interests());
        let ready = wait(&fds, Some(timeout)).map_err(|e| Error::system("cannot poll", e))?;
        drop(fds);
        let now = monotonic();
        for ((localpath, child), _) in
            children.into_iter().zip(&ready[1 + clients..]).filter(|(_, ready)| **ready)
        {
            self.localpaths[localpath].hear(child, &mut self.shared, now);
        }
        if ready[reporter..].contains(&true) {
            self.reporter.hear(now);
        }
        self.serve(&mut files.control, &ready[1..=clients], now);
        let arrived = signals.take();
        if arrived.reload && !self.stopping {
            let _ = self.reload(now);
        }
        if arrived.stop {
            self.stop(now);
        }
        Ok((arrived.child, now))
    }

    /// Handles the ready descriptors of the control socket.
    fn serve(&mut self, control: &mut ControlSocket, ready: &[bool], now: Duration) {
        let began = monotonic();
        let requests = control.turn(ready, now);
        if let Some(refused) = control.refused(now) {
            warn!(self.shared.log, "{refused}");
        }
        if requests.is_empty() {
            return;
        }
        for (client, asked) in requests {
            if let Some(answer) = self.answer(client, asked, now) {
                control.answer(client, &answer, now);
            }
        }
        let ended = monotonic();
        control.took(ended.saturating_sub(began), ended);
    }

    fn timeout(&self, files: &RunFiles) -> Duration {
        let now = monotonic();
        let localpaths = self.localpaths.iter().filter_map(SupervisedLocalPath::next_at);
        let next = localpaths
            .chain(files.control.next_at())
            .chain(self.next_alive)
            .chain(self.reporter.next_at())
            .min();
        let rests = self.localpaths.iter().all(SupervisedLocalPath::rests);
        let most = if rests && !self.stopping { IDLE_TURN } else { TURN };
        next.map_or(most, |at| at.saturating_sub(now)).min(most)
    }

    /// Stops everything for good.
    pub(super) fn stop(&mut self, now: Duration) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        info!(self.shared.log, "stopping");
        self.systemd.stopping();
        for localpath in &mut self.localpaths {
            localpath.stop(now);
        }
        self.reporter.stop(now);
    }

    /// Writes the fail logs that have changed.
    fn write_fail_logs(&mut self, now: Duration) {
        for script in std::mem::take(&mut self.shared.fail_logs) {
            let of = |localpath: &&SupervisedLocalPath| {
                localpath
                    .configured
                    .localpath
                    .fail_log
                    .as_ref()
                    .is_some_and(|l| l.path.as_path() == script)
            };
            let parts: Vec<_> = self
                .localpaths
                .iter()
                .filter(of)
                .flat_map(SupervisedLocalPath::fail_log_parts)
                .collect();
            let unwritten = self.unwritten.entry(script.clone()).or_default();
            match fail_log::write(&script, &parts) {
                Ok(aside) => {
                    unwritten.over();
                    if let Some(aside) = aside {
                        warn!(self.shared.log, "the fail log was not written by syncsup and was renamed; import it with `syncsup journal import`";
                            "file" => aside.display().to_string());
                    }
                }
                Err(e) if unwritten.worth_logging(now) => {
                    warn!(self.shared.log, "cannot write the fail log"; "file" => script.display().to_string(),
                    "why" => e.to_string());
                }
                Err(_) => {}
            }
        }
    }

    /// Sends pushers their slots. If a pusher has died, its slot goes to the next one.
    fn grant(&mut self, now: Duration) {
        while let Some((key, kind)) = self.shared.granted.pop() {
            let mut pushers = self.localpaths.iter_mut().flat_map(|l| &mut l.pushers);
            match pushers.find(|p| p.key == key && p.process.runs()) {
                Some(pusher) => {
                    let active = self.shared.active.at_work(key, now);
                    pusher.process.send(&ToPusher::Slot { kind, active }, vec![], now);
                }
                None => {
                    let granted = self.shared.slots.done(key, kind);
                    self.shared.granted.extend(granted);
                }
            }
        }
        for host in std::mem::take(&mut self.shared.short) {
            let pushers = self.localpaths.iter_mut().flat_map(|l| &mut l.pushers);
            for pusher in pushers.filter(|p| p.remote.peer.host == host && p.process.runs()) {
                pusher.process.send(&ToPusher::DropStandby, vec![], now);
            }
        }
        for key in self.shared.slots.yields() {
            let mut pushers = self.localpaths.iter_mut().flat_map(|l| &mut l.pushers);
            if let Some(pusher) = pushers.find(|p| p.key == key) {
                pusher.process.send(&ToPusher::Yield, vec![], now);
            }
        }
    }
}
