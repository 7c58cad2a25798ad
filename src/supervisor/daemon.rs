//! `-d`: the command starts the supervisor in a new session and waits until every localpath is watched.

use super::InstanceOptions;
use super::configuration;
use super::notifications::Notification;
use super::run::run;
use crate::error::{Error, Exit, Result};
use crate::instance::run_as;
use crate::language::{Language, say};
use crate::log_settings::LogTarget;
use crate::message::Role;
use crate::sys::channel::{Channel, Received, pair_for};
use crate::sys::output::complain;
use crate::sys::poll::{Interest, wait};
use crate::sys::{log, process, session};
use serde::{Deserialize, Serialize};
use slog::crit;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// The messages of the new process to the command that started it.
#[derive(Serialize, Deserialize)]
enum StartReport {
    /// A warning about the configuration.
    Warned(String),
    /// A line of the banner.
    Banner(String),
    /// Every localpath is watched, or held for the reasons given.
    Started(Vec<String>),
    /// It exits.
    Failed { exit: u8, text: String },
}

/// Starts a daemon with the command line `words`, and returns its pid when every localpath is watched. If a localpath
/// is held, the result is an error with exit status 1, although the daemon continues with the others. `print_line`
/// prints each line of the banner.
pub fn start(
    options: &InstanceOptions,
    words: &[OsString],
    print_line: &dyn Fn(&str),
) -> Result<u32> {
    let path = options.directories.log_file();
    let log = open_log(options)?;
    let (ours, theirs) = pair_for(Role::Supervisor)
        .map_err(|e| Error::system(say!("cannot create a channel"), e))?;
    let pid = session::start_supervisor(words, theirs, log)
        .map_err(|e| Error::system(say!("cannot start the supervisor"), e))?;
    let mut channel: Channel<InstanceOptions, StartReport> = Channel::new(ours);
    let lost = |why: &dyn std::fmt::Display| {
        let text = say!(
            "the supervisor (pid {}) exited during its start: {}; see {}",
            pid,
            why,
            path.display()
        );
        Error::new(Exit::System, text)
    };
    channel.send(options, vec![]).map_err(|e| lost(&e))?;
    loop {
        match channel.receive().map_err(|e| lost(&e))? {
            Received::Message(StartReport::Started(held), _) if held.is_empty() => return Ok(pid),
            Received::Message(StartReport::Started(held), _) => {
                let text = say!("{}\nthe supervisor (pid {}) is running", held.join("\n"), pid);
                return Err(Error::new(Exit::No, text));
            }
            Received::Message(StartReport::Warned(warning), _) => {
                complain(&format!("syncsup: {warning}"))
            }
            Received::Message(StartReport::Banner(line), _) => print_line(&line),
            Received::Message(StartReport::Failed { exit, text }, _) => {
                return Err(Error::new(exit_of(exit), text));
            }
            Received::Closed => return Err(lost(&say!("it sent no message"))),
            Received::Nothing => {}
        }
        let interest = if channel.wants_write() { Interest::ReadWrite } else { Interest::Read };
        wait(&[(channel.as_fd(), interest)], None).map_err(|e| lost(&e))?;
        channel.flush().map_err(|e| lost(&e))?;
    }
}

/// Opens the log. Where an instance of root becomes another user, that user has written in its directory: the file is
/// opened with its rights.
fn open_log(options: &InstanceOptions) -> Result<File> {
    let loaded = configuration::read(options);
    let target = loaded.config.log.as_ref().and_then(|log| log.settings.target);
    if target == Some(LogTarget::Stderr) {
        return log::standard_error()
            .map_err(|e| Error::system(say!("cannot use standard error"), e));
    }
    if loaded.config.user.is_some() && loaded.has_errors() {
        // Its directories may be those of the user that it would become. The supervisor would say the same.
        configuration::examine(loaded)?;
        return Err(Error::usage(say!("the configuration has errors")));
    }
    let account = run_as::to_become(&loaded.config);
    let path = options.directories.log_file();
    let refused = |e| options.directories.log_refused(e);
    match account {
        Some(account) => {
            options.directories.hand_over(&account)?;
            account.acting(|| log::open(&path)).map_err(refused)
        }
        None => {
            options.directories.prepare()?;
            log::open(&path).map_err(refused)
        }
    }
}

/// The role of the new process; returns its exit status.
pub fn supervise(channel: OwnedFd) -> i32 {
    Language::of_locale().speak();
    let mut channel: Option<Channel<StartReport, InstanceOptions>> = Some(Channel::new(channel));
    let ended = session::new_session()
        .map_err(|e| Error::system(say!("cannot create a session"), e))
        .and_then(|()| options(channel.as_mut()))
        .and_then(|options| {
            run(options, true, &mut |notification| match notification {
                Notification::Watching(_) | Notification::Comparing(_) => {}
                Notification::Warned(warning) => {
                    if let Some(channel) = &mut channel {
                        let _ = channel.send(&StartReport::Warned(warning), vec![]);
                    }
                }
                Notification::Banner(lines) => {
                    if let Some(channel) = &mut channel {
                        // A message has a maximum size. Single lines are far below it.
                        for line in lines {
                            let _ = channel.send(&StartReport::Banner(line), vec![]);
                        }
                    }
                }
                Notification::Started(held) => {
                    if let Some(channel) = &mut channel {
                        let _ = channel.send(&StartReport::Started(held), vec![]);
                    }
                    // The command that started it waits no longer.
                    channel = None;
                }
            })
        });
    let Err(error) = ended else { return 0 };
    // Written to the log. A full disk may refuse it, and that must not keep the error from the starter.
    let log = log::logger(false);
    error.text.lines().for_each(|line| crit!(log, "{line}"));
    if let Some(channel) = &mut channel {
        let report = StartReport::Failed { exit: error.exit as u8, text: error.text };
        let _ = channel.send(&report, vec![]);
    }
    error.exit as i32
}

fn options(channel: Option<&mut Channel<StartReport, InstanceOptions>>) -> Result<InstanceOptions> {
    let nobody = || {
        Error::system(
            say!("cannot read the options"),
            say!("the process that started this one is gone"),
        )
    };
    let channel = channel.ok_or_else(nobody)?;
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        match channel.receive() {
            Ok(Received::Message(options, _)) => return Ok(options),
            Ok(Received::Nothing) => {}
            Ok(Received::Closed) | Err(_) => break,
        }
        let left = Some(end.saturating_duration_since(Instant::now()));
        let _ = wait(&[(channel.as_fd(), Interest::Read)], left);
    }
    Err(nobody())
}

fn exit_of(status: u8) -> Exit {
    [Exit::No, Exit::Usage, Exit::NotRunning, Exit::AlreadyRunning]
        .into_iter()
        .find(|e| *e as u8 == status)
        .unwrap_or(Exit::System)
}

/// In a process just started in a role: takes its channel and sets its short name.
pub fn take_channel(name: &OsStr) -> Result<OwnedFd> {
    process::take_channel(name).map_err(|e| Error::system(say!("started without a channel"), e))
}
