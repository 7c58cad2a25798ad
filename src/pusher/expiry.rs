//! What the trash of a remote has kept for long enough is deleted: when a pusher starts, and once a day.

mod turn;

use super::context::{Context, How, Stuck};
use crate::figures;
use crate::rsync::argv;
use crate::rsync::argv::rules_prefix;
use crate::rsync::trash;
use crate::rsync_run::run::Run;
use crate::sys::clock;
use crate::sys::process::Rsync;
use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::NamedTempFile;

const DAY: Duration = Duration::from_secs(86_400);
/// An expiry that is due waits no longer than this for a moment at which nothing is pushed.
const PATIENCE: Duration = Duration::from_secs(10);
/// After one that failed.
const RETRY: Duration = Duration::from_secs(3_600);
/// One that takes longer is ended; the next goes on with it.
const LONGEST: Duration = Duration::from_secs(1_800);
/// The receiver may say nothing while it deletes.
const GRACE_S: u32 = 30;

/// An expiry under way.
pub struct Expiry {
    run: Run,
    until: Duration,
    _rules: NamedTempFile,
}

impl Expiry {
    fn start(context: &Context, keep_ms: u64, now: Duration) -> Result<Expiry, Stuck> {
        let failed = |e: io::Error| Stuck::System(format!("the trash cannot be looked after: {e}"));
        let keep_ms = i64::try_from(keep_ms).unwrap_or(i64::MAX);
        let limit = trash::stamp(&figures::utc(clock::wall_ms().saturating_sub(keep_ms).max(0)), 0);
        let (dir, rules) = prepare(context, &limit).map_err(failed)?;
        let peer = context.peer();
        let mut argv = trash::expire(peer, rules.path());
        context.leave_out_refused(&mut argv, How::Plain);
        let (unset, scratch) = (argv::ENV_REMOVE, &context.start.state_dir);
        let rsync = Rsync::start(&argv, trash::ENV, unset, &dir, b"", scratch).map_err(failed)?;
        let timeout_s = context.start.remote.peer.timeout_s + GRACE_S;
        let run = Run::new(rsync, timeout_s, context.patience, now);
        Ok(Expiry { run, until: now + LONGEST, _rules: rules })
    }

    /// How long the rsync has not moved.
    pub fn stalled(&self, now: Duration) -> Duration {
        self.run.stalled(now)
    }

    /// Ends the rsync.
    pub fn kill(&mut self) {
        // It has ended already.
        let _ = self.run.kill();
    }
}

/// The empty directory that is pushed over the trash, and the rules that put only what is old at risk.
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
