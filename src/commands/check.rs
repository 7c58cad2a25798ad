//! `syncsup check`: prints what a configuration means, or everything that is wrong with it.

use super::invocation::Invocation;
use super::{print, status, table};
use crate::config::diagnostic::{Severity, has_errors};
use crate::config::model::{Call, Config, LocalPath, Remote, plugin_titles};
use crate::config::probe::{Machine, Probe};
use crate::config::{self, check, credentials};
use crate::error::{Error, Exit, Result};
use crate::help_topic::{HelpTopic, Reason};
use crate::instance::directories::{self, instance};
use crate::instance::run_as;
use crate::language::{Language, counted, say, words};
use crate::rsync::argv::{self, Check, Form, Options};
use crate::rsync::exit_status::{Judgement, Trouble, Verdict, login_failed, verdict};
use crate::rsync::itemize;
use crate::rsync::{params, refused};
use crate::rsync::{ssh, trash};
use crate::shell::quoted_text;
use crate::stat::Exited;
use crate::sys::account::Purpose;
use crate::sys::log;
use crate::sys::output::complain;
use crate::sys::rsync::{Launch, Rsync};
use crate::sys::{own, terminal};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// A remote must answer `--connect` within this time.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// The number of remotes that are tried at the same time.
const AT_ONCE: usize = 16;

/// Exit status 0 if the configuration can be used, 2 if not. With `connect`, 1 if a remote cannot be reached.
pub fn run(invocation: &Invocation, connect: bool) -> Result<Exit> {
    let files = invocation.files_or_default()?;
    let mut loaded = config::read_to_run(&files, invocation.user.as_deref(), &run_as::find);
    loaded.diagnostics.extend(match directories::credentials() {
        Some(directory) => credentials::resolve(&mut loaded.config, Some(&directory)),
        None => credentials::unseen(&mut loaded.config),
    });
    if let Some(account) = run_as::to_become(&loaded.config) {
        // Programs that belong to that user are run below, and what it cannot do is what counts.
        run_as::assume(&account, Purpose::Command, &log::logger(false))?;
    }
    let mut diagnostics = loaded.diagnostics.clone();
    diagnostics.extend(check::roots(&loaded.config, &Machine));
    diagnostics.extend(run_as::beyond(&loaded.config));
    if !has_errors(&diagnostics) {
        diagnostics.extend(check::machine(&loaded.config, &Machine));
    }
    // The errors come last: they are what must be mended now.
    diagnostics.sort_by_key(|found| found.severity == Severity::Error);
    for found in &diagnostics {
        complain(&found.to_string());
    }
    if has_errors(&diagnostics) {
        let errors = diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
        return Err(Error::usage(say!(
            "{}; syncsup cannot start with this configuration",
            counted(errors as u64, words::ERRORS)
        )));
    }
    let place = RunPlace {
        dir: &invocation.directories.run,
        instance: instance(&invocation.files_or_default()?),
    };
    let unusable = place.without_master(&loaded.config);
    unusable.iter().for_each(|unusable| complain(unusable));
    let meaning = understood(&loaded.config, &place, Language::current());
    print(&table::within(&meaning, terminal::size().map(|size| size.columns)));
    if connect && !try_all(&loaded.config)? {
        return Ok(Exit::No);
    }
    // Without errors, all of them are warnings.
    match diagnostics.len() + unusable.len() {
        0 => print("ok\n"),
        warnings => print(&say!("ok, {}\n", counted(warnings as u64, words::WARNINGS))),
    }
    Ok(Exit::Ok)
}

/// The directory in which the running instance keeps its connections.
struct RunPlace<'a> {
    dir: &'a Path,
    instance: String,
}

impl RunPlace<'_> {
    /// The remote as its pusher reaches it over the shared connection.
    fn through(&self, remote: &Remote) -> Remote {
        let socket = ssh::socket(&remote.peer, self.dir, &self.instance).ok().flatten();
        let through = |socket: std::path::PathBuf| ssh::through(&remote.peer, &socket);
        let peer = socket.map_or_else(|| remote.peer.clone(), through);
        Remote { peer, ..remote.clone() }
    }

    /// Why remotes cannot share a connection. Each reason appears once.
    fn without_master(&self, config: &Config) -> BTreeSet<String> {
        let remotes = config.localpaths.iter().flat_map(|l| &l.remotes);
        let why = remotes.filter_map(|r| ssh::socket(&r.peer, self.dir, &self.instance).err());
        why.map(|why| say!("warning: each push over ssh opens a connection of its own: {}", why))
            .collect()
    }
}

/// Every localpath, its remotes, and the rsync command.
fn understood(config: &Config, place: &RunPlace<'_>, language: Language) -> String {
    let head = [words::LOCALPATH, words::REMOTE_OR_PLUGIN, words::RSYNC_OR_CALL];
    let mut rows = vec![head.map(|text| language.pick(text).to_owned()).to_vec()];
    for localpath in &config.localpaths {
        for (n, remote) in localpath.remotes.iter().enumerate() {
            let watch = if n == 0 { localpath.watch.to_string() } else { String::new() };
            let remote = &place.through(remote);
            let line = shell_words(&argv(remote, localpath.inotify.delete));
            rows.push(vec![watch, remote.name(), line]);
        }
        for (name, plugin) in plugin_titles(&localpath.plugins).iter().zip(&localpath.plugins) {
            rows.push(vec![String::new(), say!("plugin {}", name), called(&plugin.call)]);
        }
    }
    let mut text = table::columns(&rows);
    if let Some(server) = &config.http {
        let token = match &server.token_file {
            Some(file) => say!("token in {}", file),
            None => say!("no token"),
        };
        let lag = language.span(server.max_lag_ms);
        text += &say!("http://{}/ ({}; unhealthy from {} behind)\n", server.listen, token, lag);
    }
    text
}

/// What a plugin calls, without passwords.
fn called(call: &Call) -> String {
    match call {
        Call::Command { prefix, suffix, .. } => {
            format!("{prefix} PATH {suffix}").trim_end().to_owned()
        }
        Call::Socket { host, port, .. } => format!("{host}:{port}"),
        Call::Http { url, .. } => without_secrets(url),
        Call::RefreshCdn { host, port, base_url, .. } => format!("{host}:{port} {base_url}"),
    }
}

/// A URL without the parts that may be secret: user, password and query.
pub(super) fn without_secrets(url: &str) -> String {
    let (url, query) = url.split_once('?').map_or((url, ""), |(url, _)| (url, "?..."));
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.rsplit_once('@').map_or(host.to_owned(), |(_, host)| format!("...@{host}"));
    format!("{scheme}://{host}{path}{query}")
}

/// The words as typed into a shell, on one line.
fn shell_words(words: &[OsString]) -> String {
    let quoted = words.iter().map(|word| quoted_text(word.as_bytes()));
    quoted.collect::<Vec<_>>().join(" ")
}

/// Tries every remote with an empty dry-run push, and prints one line per remote, and how many of several answer.
/// Returns false if one fails.
fn try_all(config: &Config) -> Result<bool> {
    let scratch =
        own::directory().map_err(|e| Error::system(say!("cannot make a directory"), e))?;
    let all: Vec<(&LocalPath, &Remote)> =
        config.localpaths.iter().flat_map(|l| l.remotes.iter().map(move |r| (l, r))).collect();
    let mut answering = 0_usize;
    for some in all.chunks(AT_ONCE) {
        let started: Vec<_> =
            some.iter().map(|(l, r)| (l, r, start(l, r, scratch.path(), &[]))).collect();
        let end = Instant::now() + ANSWER_WITHIN;
        for (localpath, remote, run) in started {
            let local = |e: std::io::Error| Reason::new(HelpTopic::LocalError, e.to_string());
            let result = run.map_err(local);
            let result = result.and_then(|run| tried(run, localpath, remote, scratch.path(), end));
            let place = format!("{} -> {}", localpath.watch, remote.name());
            match result {
                Ok(refused) => {
                    answering += 1;
                    print(&say!("{}: answers\n", place));
                    for option in refused {
                        let instead = refused::instead(option).unwrap_or_default();
                        print(&say!(
                            "{}: refuses --{} (`refuse options`): {}\n",
                            place,
                            option,
                            instead
                        ));
                    }
                }
                Err(Reason { why, help }) => {
                    let help = status::help(help);
                    print(&say!("{}: FAILED: {}\n    {}\n", place, why, help));
                }
            }
        }
    }
    // The line of a single remote says it already.
    if all.len() > 1 {
        let remotes = counted(all.len() as u64, words::REMOTES);
        print(&say!("{} of {} answer\n", answering, remotes));
    }
    Ok(answering == all.len())
}

/// The end of a try. If the daemon refuses an option that has a substitute, the option is left out and the remote is
/// tried again. Returns all options that were left out.
fn tried(
    mut run: Rsync,
    localpath: &LocalPath,
    remote: &Remote,
    scratch: &Path,
    end: Instant,
) -> std::result::Result<Vec<&'static str>, Reason> {
    let mut left_out: Vec<&'static str> = Vec::new();
    loop {
        let Err(failed) = outcome(run, remote, end) else { return Ok(left_out) };
        let Verdict::Refused(option) = failed.verdict else { return Err(failed.reason()) };
        let own = option == refused::CHECKSUM && params::has(&remote.peer.params, option);
        if own || left_out.contains(&option) || refused::instead(option).is_none() {
            return Err(failed.reason());
        }
        left_out.push(option);
        run = start(localpath, remote, scratch, &left_out)
            .map_err(|e| Reason::new(HelpTopic::LocalError, e.to_string()))?;
    }
}

/// Starts an empty dry-run push with every option that pushes and comparisons have.
fn start(
    localpath: &LocalPath,
    remote: &Remote,
    scratch: &Path,
    refused: &[&str],
) -> std::io::Result<Rsync> {
    let delete = localpath.inotify.delete;
    let options = Options {
        check: Check::Content,
        dry: true,
        delete,
        force: delete,
        stats: true,
        unchanged: false,
    };
    let mut words = argv::argv(&remote.peer, &Form::Tree, options);
    if remote.trash_keep_ms.is_some() {
        trash::keep(&mut words, "TIME");
    }
    refused::leave_out(&mut words, refused);
    let directory = localpath.watch.as_path();
    let (envs, unset) = (argv::ENV, argv::ENV_REMOVE);
    Launch { argv: &words, envs, unset, directory, scratch, confined: None }.start(b"")
}

/// The command line of a push, as the pusher would run it.
fn argv(remote: &Remote, delete: bool) -> Vec<OsString> {
    let options = Options {
        check: Check::Quick,
        dry: false,
        delete,
        force: delete,
        stats: true,
        unchanged: false,
    };
    let mut words = argv::argv(&remote.peer, &Form::Batch { delete }, options);
    if remote.trash_keep_ms.is_some() {
        trash::keep(&mut words, "TIME");
    }
    words
}

/// Waits for the run to end, or kills it. An error describes the failure as `status` would show it.
fn outcome(mut run: Rsync, remote: &Remote, end: Instant) -> std::result::Result<(), Judgement> {
    let failed = |help: HelpTopic, message: String| Judgement {
        verdict: Verdict::Remote(Trouble::Unreachable),
        message,
        help,
        end_unseen: false,
        deletions_skipped: false,
    };
    let ended = loop {
        if let Some(ended) =
            run.ended().map_err(|e| failed(HelpTopic::LocalError, e.to_string()))?
        {
            break ended;
        }
        if Instant::now() >= end {
            let _ = run.kill();
            let message = say!("no answer within {} s", ANSWER_WITHIN.as_secs());
            return Err(failed(HelpTopic::NoAnswer, message));
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let last = run
        .printed_last(itemize::CLOSING_BYTES)
        .map_err(|e| failed(HelpTopic::LocalError, e.to_string()))?;
    if ended == Exited::Code(0) && itemize::is_closed(&last) {
        return Ok(());
    }
    let words = run.complaints().map_err(|e| failed(HelpTopic::LocalError, e.to_string()))?;
    let mut judgement = verdict(ended, &words);
    if judgement.verdict == Verdict::Configuration && login_failed(&words) {
        let file = remote.peer.password_file.as_ref();
        let file = file.map(|file| Machine.password_file(file.as_path()));
        let hint = check::login_hint(remote, file.as_ref(), Machine.user());
        judgement.message = say!("{}; {}", judgement.message, hint);
    }
    Err(match judgement.verdict.is_an_end() && !itemize::is_closed(&last) {
        true => judgement.without_statistics(ended),
        false => judgement,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_hidden() {
        let shown = |url: &str| called(&Call::Http { url: url.into(), ca_file: None });
        assert_eq!(shown("http://u:geheim@h/x"), "http://...@h/x");
        assert_eq!(shown("http://h/x"), "http://h/x");
        assert_eq!(shown("https://h:1/x?token=geheim"), "https://h:1/x?...");
        assert_eq!(shown("https://h?u@token"), "https://h?...");
    }

    #[test]
    fn arguments_are_quoted_on_one_line() {
        let words = ["rsync", "-e", "ssh -p 1", "--exclude=*\\.o", "a\nb"].map(OsString::from);
        assert_eq!(
            shell_words(&words),
            r#"rsync -e 'ssh -p 1' '--exclude=*\.o' "$(printf 'a\012b')""#
        );
    }
}
