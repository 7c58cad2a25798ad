//! TEMPORARY, only in this branch: what other branches bring under the same names. On merge delete this file and its
//! `pub mod` line, and write `crate::config`, `crate::watcher::run`, `crate::pusher::run` where `crate::standin` stands.

use crate::message::{FromPusher, FromWatcher, PusherStatus, ToPusher, ToWatcher, WatcherState};
use crate::sys::channel::{Channel, Received};
use crate::sys::poll::{Interest, wait};
use serde::{Serialize, de::DeserializeOwned};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Stands for `crate::config` of the branch `config`: YAML with `watch`, `filter.exclude` and `remotes: [rsync://HOST:PORT/MODULE]` only.
pub mod config {
    use crate::config::model::*;
    use std::path::{Path, PathBuf};

    /// As in the branch.
    #[derive(Clone, Copy, PartialEq)]
    pub enum Severity {
        /// Odd.
        Warning,
        /// Wrong.
        Error,
    }
    /// As in the branch.
    #[derive(Clone)]
    pub struct Diagnostic {
        /// How bad.
        pub severity: Severity,
        text: String,
    }
    impl std::fmt::Display for Diagnostic {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(&self.text)
        }
    }
    /// As in the branch.
    #[derive(Default)]
    pub struct Loaded {
        /// The model.
        pub config: Config,
        /// Findings.
        pub diagnostics: Vec<Diagnostic>,
    }
    impl Loaded {
        /// As in the branch.
        pub fn has_errors(&self) -> bool {
            self.diagnostics.iter().any(|d| d.severity == Severity::Error)
        }
    }
    /// As in the branch.
    pub mod probe {
        /// As in the branch.
        pub struct Machine;
    }
    /// As in the branch.
    pub mod check {
        use super::*;
        /// As in the branch.
        pub fn roots(config: &Config, _: &probe::Machine) -> Vec<Diagnostic> {
            let missing = config.localpaths.iter().filter(|l| !l.watch.as_path().is_dir());
            missing
                .map(|l| error(Path::new("f"), format!("watch=\"{}\": no such directory", l.watch)))
                .collect()
        }
        /// As in the branch.
        pub fn machine(_: &Config, _: &probe::Machine) -> Vec<Diagnostic> {
            vec![]
        }
    }
    /// As in the branch.
    pub mod convert {
        use super::*;
        /// As in the branch.
        pub fn to_yaml(_: &Config) -> crate::error::Result<String> {
            Err(crate::error::Error::usage("conversion comes with the branch config"))
        }
    }

    /// As in the branch.
    pub mod diagnostic {
        /// As in the branch, without the edit distance.
        pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
            known.iter().copied().find(|k| k.get(..3).is_some() && k.get(..3) == word.get(..3))
        }
    }

    #[derive(serde::Deserialize)]
    struct File {
        localpaths: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        watch: String,
        remotes: Vec<String>,
        #[serde(default)]
        filter: Rules,
    }
    #[derive(Default, serde::Deserialize)]
    struct Rules {
        exclude: Vec<String>,
    }

    fn error(file: &Path, text: String) -> Diagnostic {
        Diagnostic { severity: Severity::Error, text: format!("{}:1: {text}", file.display()) }
    }

    /// As in the branch.
    pub fn load(files: &[PathBuf], probe: &probe::Machine) -> Loaded {
        let mut loaded = read(files);
        loaded.diagnostics.extend(check::roots(&loaded.config, probe));
        loaded
    }

    /// As in the branch.
    pub fn read(files: &[PathBuf]) -> Loaded {
        let mut loaded = Loaded::default();
        for file in files {
            let parsed = std::fs::read(file)
                .map_err(|e| e.to_string())
                .and_then(|b| serde_yaml::from_slice::<File>(&b).map_err(|e| e.to_string()));
            match parsed {
                Ok(f) => loaded.config.localpaths.extend(f.localpaths.into_iter().map(localpath)),
                Err(e) => loaded.diagnostics.push(error(file, e)),
            }
            loaded.config.files.push(file.clone());
        }
        loaded
    }

    fn localpath(entry: Entry) -> LocalPath {
        let exclude = entry.filter.exclude.iter().map(|e| e.as_str().into()).collect();
        LocalPath {
            watch: entry.watch.as_str().into(),
            place: Place::default(),
            filter: FilterRules { exclude, ..Default::default() },
            inotify: Toggles::MODERN,
            remotes: entry.remotes.iter().filter_map(|r| remote(r)).collect(),
            fail_log: None,
            crontab: None,
            delay_ms: DELAY_MS,
            large_file_bytes: LARGE_FILE_BYTES,
            first_copy: true,
            plugins: vec![],
        }
    }

    fn remote(text: &str) -> Option<Remote> {
        let (at, module) = text.strip_prefix("rsync://")?.split_once('/')?;
        let (host, port) = at.split_once(':')?;
        Some(Remote {
            place: Place::default(),
            host: host.into(),
            target: Target::Daemon { port: port.parse().ok()?, module: module.into() },
            user: None,
            password_file: None,
            params: vec!["-az".into()],
            timeout_s: TIMEOUT_S,
            max_delete: MaxDelete::Half,
            rsync_program: "rsync".into(),
        })
    }
}

/// Stands for `crate::pusher::rsync::argv(remote, &Form::Batch { delete }, Options { dry, delete, .. })`.
pub fn argv(
    remote: &crate::config::model::Remote,
    delete: bool,
    dry: bool,
) -> Vec<std::ffi::OsString> {
    let mut words = vec![remote.rsync_program.as_os_str().to_owned()];
    words.extend(remote.params.iter().map(|p| p.as_os_str().to_owned()));
    words.extend(dry.then(|| "-n".into()));
    words.extend(delete.then(|| "--delete-missing-args".into()));
    words.extend(["--from0", "--files-from=-", "--contimeout=5", "./"].map(Into::into));
    words.push(format!("{}/", remote.name()).into());
    words
}

/// Stands for the role: says that it watches, obeys Stop, and holds when its root is
/// missing.
pub fn watcher(channel: OwnedFd) -> i32 {
    let mut channel: Channel<FromWatcher, ToWatcher> = Channel::new(channel);
    let (mut watch, mut state) = (None::<std::path::PathBuf>, None);
    loop {
        let Some(message) = next(&mut channel, &FromWatcher::Alive) else { return 0 };
        match message {
            Some(ToWatcher::Start(start)) => {
                let _ = channel.send(&FromWatcher::Watches(start.wakes.len() as u64), vec![]);
                watch = Some(start.localpath.watch.as_path().to_owned());
            }
            Some(ToWatcher::Stop) => return 0,
            _ => {}
        }
        let Some(dir) = &watch else { continue };
        let held = !dir.exists();
        let now = if held {
            WatcherState::Held("no such directory".into())
        } else {
            WatcherState::Watching
        };
        if state.as_ref() != Some(&now) {
            let _ = channel.send(&FromWatcher::State(now.clone()), vec![]);
            state = Some(now);
        }
    }
}

/// Stands for the role: answers, takes a slot for a moment, notes reconciles and holds in its status.
pub fn pusher(channel: OwnedFd) -> i32 {
    let mut channel: Channel<FromPusher, ToPusher> = Channel::new(channel);
    let mut status = PusherStatus::default();
    loop {
        let Some(message) = next(&mut channel, &FromPusher::Alive) else { return 0 };
        match message {
            Some(ToPusher::Start(start)) => {
                let _ = channel.send(&FromPusher::WantSlot, vec![]);
                if let Err(crate::journal::JournalError::Damaged(why)) =
                    crate::journal::Journal::open(&start.state_dir)
                        .and_then(|mut j| j.remote(&start.remote.name(), None))
                {
                    let _ = channel.send(&FromPusher::Damaged(why), vec![]);
                    continue;
                }
                status.reconciles_done += u64::from(start.reconcile.is_some());
                status.reason = start.reconcile;
            }
            Some(ToPusher::Slot) => {
                status.pushed_files += 1;
                let _ = channel.send(&FromPusher::SlotDone, vec![]);
            }
            Some(ToPusher::Reconcile(why)) => {
                status.reconciles_done += 1;
                status.reason = Some(why);
            }
            Some(ToPusher::Hold(why)) => {
                status.state = if why.is_some() {
                    crate::message::PusherState::Held
                } else {
                    crate::message::PusherState::InSync
                };
                status.reason = why;
            }
            Some(ToPusher::Stop { .. }) => return 0,
            Some(ToPusher::Release) => status.deleted += 1,
            Some(ToPusher::Retry) | None => continue,
        }
        let _ = channel.send(&FromPusher::Status(Box::new(status.clone())), vec![]);
    }
}

/// The next message; `Some(None)` after a moment without one; `None` at the end of the channel.
fn next<Out: Serialize, In: DeserializeOwned>(
    channel: &mut Channel<Out, In>,
    alive: &Out,
) -> Option<Option<In>> {
    match channel.receive() {
        Ok(Received::Message(message, _)) => return Some(Some(message)),
        Ok(Received::Nothing) => {}
        Ok(Received::Closed) | Err(_) => return None,
    }
    let waited = Some(Duration::from_millis(100));
    if !wait(&[(channel.as_fd(), Interest::Read)], waited).ok()?[0] {
        channel.send(alive, vec![]).ok()?;
    }
    Some(None)
}
