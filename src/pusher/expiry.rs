//! What the trash of a remote has kept for long enough is deleted: when a pusher starts, and once a day.

use super::desk::{Desk, How, Stuck, broken};
use super::lanes::Busy;
use super::run::Pusher;
use crate::figures;
use crate::message::FromPusher;
use crate::rsync::argv;
use crate::rsync::argv::rules_prefix;
use crate::rsync::exit_status::Verdict;
use crate::rsync::itemize::ChangeKind;
use crate::rsync::trash;
use crate::rsync_run::run::{Finished, Run};
use crate::sys::clock;
use crate::sys::process::Rsync;
use slog::{info, warn};
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
    fn start(desk: &Desk, keep_ms: u64, now: Duration) -> Result<Expiry, Stuck> {
        let failed = |e: io::Error| Stuck::System(format!("the trash cannot be looked after: {e}"));
        let keep_ms = i64::try_from(keep_ms).unwrap_or(i64::MAX);
        let limit = trash::stamp(&figures::utc(clock::wall_ms().saturating_sub(keep_ms).max(0)), 0);
        let (dir, rules) = prepare(desk, &limit).map_err(failed)?;
        let peer = desk.peer();
        let mut argv = trash::expire(peer, rules.path());
        desk.leave_out_refused(&mut argv, How::Plain);
        let (unset, scratch) = (argv::ENV_REMOVE, &desk.start.state_dir);
        let rsync = Rsync::start(&argv, trash::ENV, unset, &dir, b"", scratch).map_err(failed)?;
        let timeout_s = desk.start.remote.peer.timeout_s + GRACE_S;
        let run = Run::new(rsync, timeout_s, desk.patience, now);
        Ok(Expiry { run, until: now + LONGEST, _rules: rules })
    }

    /// How long the rsync has not moved.
    pub fn stalled(&self, now: Duration) -> Duration {
        self.run.stalled(now)
    }

    /// Ends the rsync.
    pub fn kill(&mut self) {
        // Gone already: as wished.
        let _ = self.run.kill();
    }
}

/// The empty directory that is pushed over the trash, and the rules that put only what is old at risk.
fn prepare(desk: &Desk, limit: &str) -> io::Result<(PathBuf, NamedTempFile)> {
    let state = &desk.start.state_dir;
    let dir = state.join("empty");
    match DirBuilder::new().mode(0o700).create(&dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    if fs::read_dir(&dir)?.next().is_some() {
        return Err(io::Error::other(format!("{} is not empty", dir.display())));
    }
    let mut rules = NamedTempFile::with_prefix_in(rules_prefix(&desk.name), state)?;
    rules.write_all(&trash::older_than(limit))?;
    Ok((dir, rules))
}

impl Pusher {
    /// Starts an expiry when one is due; returns 1 when a slot is missing for it.
    pub(super) fn start_expiry(&mut self, now: Duration) -> u32 {
        let Some(keep_ms) = self.desk.start.remote.trash_keep_ms else { return 0 };
        let due = *self.expiry_due.get_or_insert(now);
        if self.lanes.expiry.is_some() || now < due {
            return 0;
        }
        // What is to be pushed goes first, but where there is always something to be pushed.
        let busy = self.lanes.pushing() || self.lanes.compare.is_some();
        if busy && now < due + PATIENCE {
            return 0;
        }
        if !self.slots.take() {
            return 1;
        }
        match Expiry::start(&self.desk, keep_ms, now) {
            Ok(work) => self.lanes.expiry = Some(Busy { work, slot: true }),
            Err(stuck) => {
                self.give_slot_back();
                self.expiry_due = Some(now + RETRY);
                warn!(self.desk.log, "the trash is not looked after"; "why" => format!("{stuck:?}"));
            }
        }
        0
    }

    /// Looks at the expiry under way.
    pub(super) fn advance_expiry(&mut self, now: Duration) {
        let Some(mut busy) = self.lanes.expiry.take() else { return };
        let ended = match busy.work.run.ended(now) {
            Ok(None) if now >= busy.work.until => busy.work.run.kill().map(Some),
            other => other,
        };
        let exited = match ended {
            Ok(None) => {
                self.lanes.expiry = Some(busy);
                return;
            }
            Ok(Some(exited)) => Ok(exited),
            Err(e) => Err(broken(e)),
        };
        self.return_slot(busy.slot);
        let finished = exited.and_then(|exited| self.desk.finish(busy.work.run, exited));
        let why = match finished {
            Ok(finished) => self.expired(finished).err(),
            Err(stuck) => Some(format!("{stuck:?}")),
        };
        let keep = Duration::from_millis(self.desk.start.remote.trash_keep_ms.unwrap_or(0));
        let next = match &why {
            None => keep.clamp(Duration::from_secs(60), DAY),
            Some(_) => RETRY,
        };
        self.expiry_due = Some(now + next);
        if let Some(why) = why {
            warn!(self.desk.log, "the trash is not looked after"; "why" => why);
        }
    }

    /// Counts what went; an error is rsync's words.
    fn expired(&self, mut finished: Finished) -> Result<(), String> {
        let (mut times, mut files) = (0u64, 0u64);
        finished
            .read(
                || self.desk.voice.beat(),
                |change| {
                    if change.kind == ChangeKind::Deleted {
                        let top = change.path.parent().is_some_and(|parent| parent.is_root());
                        times += u64::from(top && change.is_dir);
                        files += u64::from(!change.is_dir);
                    }
                },
            )
            .map_err(|e| e.to_string())?;
        if times > 0 || files > 0 {
            info!(self.desk.log, "old trash deleted"; "times" => times, "files" => files);
        }
        match finished.judgement.verdict {
            Verdict::Settled => Ok(()),
            _ => Err(finished.judgement.words),
        }
    }

    /// Ends the expiry under way, if there is one.
    pub(super) fn end_expiry(&mut self) {
        if let Some(mut busy) = self.lanes.expiry.take() {
            busy.work.kill();
            if busy.slot {
                self.voice.send(&FromPusher::SlotDone);
            }
        }
    }
}
