//! Deletes old trash on a remote, when a pusher starts and once a day.

use super::rsyncing::Rsyncing;
use crate::figures;
use crate::pusher::context::{Context, Purpose, broken};
use crate::pusher::job_error::JobError;
use crate::rsync::argv::rules_prefix;
use crate::rsync::exit_status::Verdict;
use crate::rsync::itemize::{Change, ChangeKind};
use crate::rsync::trash;
use crate::rsync_run::run::{Finished, Run};
use crate::sys::clock;
use crate::sys::rsync::Launch;
use slog::{info, warn};
use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::NamedTempFile;

const DAY: Duration = Duration::from_secs(86_400);
/// The delay after an expiry that failed.
const RETRY: Duration = Duration::from_secs(3_600);
/// An expiry that takes longer is killed. The next one continues the work.
const LONGEST: Duration = Duration::from_secs(1_800);
/// Added to the timeout, because the receiver may be silent while it deletes.
const GRACE_S: u32 = 30;

/// A running expiry.
pub struct Expiry {
    run: Run,
    until: Duration,
    _rules: NamedTempFile,
}

impl Expiry {
    /// Starts an expiry. An error is the delay before the next one.
    pub fn start(context: &Context, now: Duration) -> Result<Expiry, Duration> {
        let keep_ms = context.start.remote.trash_keep_ms.unwrap_or(u64::MAX);
        Self::of_older_than(context, keep_ms, now)
            .map_err(|error| failed(context, format!("{error:?}")))
    }

    fn of_older_than(context: &Context, keep_ms: u64, now: Duration) -> Result<Expiry, JobError> {
        let failed = |e: io::Error| JobError::System(format!("cannot expire the trash: {e}"));
        let keep_ms = i64::try_from(keep_ms).unwrap_or(i64::MAX);
        let limit = trash::stamp(&figures::utc(clock::wall_ms().saturating_sub(keep_ms).max(0)), 0);
        let (dir, rules) = prepare(context, &limit).map_err(failed)?;
        let peer = context.peer();
        let mut argv = trash::expire(peer, rules.path());
        context.leave_out_refused(&mut argv, Purpose::Plain);
        let launch = Launch { envs: trash::ENV, ..context.launch(&argv, &dir) };
        let rsync = launch.start(b"").map_err(failed)?;
        let timeout_s = context.start.remote.peer.timeout_s + GRACE_S;
        let run = Run::new(rsync, timeout_s, context.patience, now);
        Ok(Expiry { run, until: now + LONGEST, _rules: rules })
    }

    /// Advances it. When it has ended, the error is the delay before the next one.
    pub fn advance(mut self, context: &mut Context, now: Duration) -> Result<Expiry, Duration> {
        let ended = match self.run.ended(now) {
            Ok(None) if now >= self.until => self.run.kill().map(Some),
            other => other,
        };
        let finished = match ended {
            Ok(None) => return Ok(self),
            Ok(Some(exited)) => context.finish(self.run, exited),
            Err(e) => Err(broken(e)),
        };
        let why = match finished {
            Ok(finished) => expired(context, finished).err(),
            Err(error) => Some(format!("{error:?}")),
        };
        let keep = Duration::from_millis(context.start.remote.trash_keep_ms.unwrap_or(0));
        Err(match why {
            None => keep.clamp(Duration::from_secs(60), DAY),
            Some(why) => failed(context, why),
        })
    }
}

/// Logs a failure. Returns the delay before the next expiry.
fn failed(context: &Context, why: String) -> Duration {
    warn!(context.log, "cannot expire the trash"; "why" => why);
    RETRY
}

/// Counts and logs what was deleted. An error is rsync's message.
fn expired(context: &Context, mut finished: Finished) -> Result<(), String> {
    let (mut times, mut files) = (0u64, 0u64);
    let count = |change: Change| {
        if change.kind == ChangeKind::Deleted {
            let top = change.path.parent().is_some_and(|parent| parent.is_root());
            times += u64::from(top && change.is_dir);
            files += u64::from(!change.is_dir);
        }
    };
    finished.read(|| context.supervisor.beat(), count).map_err(|e| e.to_string())?;
    if times > 0 || files > 0 {
        info!(context.log, "old trash deleted"; "times" => times, "files" => files);
    }
    match finished.judgement.verdict {
        Verdict::Settled => Ok(()),
        _ => Err(finished.judgement.message),
    }
}

impl Rsyncing for Expiry {
    fn is_running(&self) -> bool {
        true
    }

    fn idles(&self, now: Duration) -> bool {
        self.run.idles(now)
    }

    /// No job waits for it.
    fn poll_after(&self) -> Option<Duration> {
        None
    }

    fn kill(&mut self) {
        // An error means that it has already exited.
        let _ = self.run.kill();
    }
}

/// The empty directory that is pushed over the trash, and the rules that put only old entries at risk.
fn prepare(context: &Context, limit: &str) -> io::Result<(PathBuf, NamedTempFile)> {
    let state = &context.start.state_dir;
    let dir = state.join("empty");
    match DirBuilder::new().mode(0o700).create(&dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    if fs::read_dir(&dir)?.next().is_some() {
        return Err(io::Error::other(format!("{} is not empty", dir.display())));
    }
    let mut rules = NamedTempFile::with_prefix_in(rules_prefix(&context.name), state)?;
    rules.write_all(&trash::older_than(limit))?;
    Ok((dir, rules))
}
