//! The share of the expiry in the pusher's loop.

use super::{DAY, Expiry, PATIENCE, RETRY};
use crate::message::FromPusher;
use crate::pusher::context::broken;
use crate::pusher::jobs::Busy;
use crate::pusher::run::Pusher;
use crate::rsync::exit_status::Verdict;
use crate::rsync::itemize::ChangeKind;
use crate::rsync_run::run::Finished;
use slog::{info, warn};
use std::time::Duration;

impl Pusher {
    /// Starts an expiry when one is due; returns 1 when a slot is missing for it.
    pub(in crate::pusher) fn start_expiry(&mut self, now: Duration) -> u32 {
        let Some(keep_ms) = self.context.start.remote.trash_keep_ms else { return 0 };
        let due = *self.expiry_due.get_or_insert(now);
        if self.jobs.expiry.is_some() || now < due {
            return 0;
        }
        // What is to be pushed goes first, but where there is always something to be pushed.
        let busy = self.jobs.pushing() || self.jobs.compare.is_some();
        if busy && now < due + PATIENCE {
            return 0;
        }
        if !self.slots.take() {
            return 1;
        }
        match Expiry::start(&self.context, keep_ms, now) {
            Ok(work) => self.jobs.expiry = Some(Busy { work, slot: true }),
            Err(stuck) => {
                self.give_slot_back();
                self.expiry_due = Some(now + RETRY);
                warn!(self.context.log, "the trash is not looked after"; "why" => format!("{stuck:?}"));
            }
        }
        0
    }

    /// Looks at the expiry under way.
    pub(in crate::pusher) fn advance_expiry(&mut self, now: Duration) {
        let Some(mut busy) = self.jobs.expiry.take() else { return };
        let ended = match busy.work.run.ended(now) {
            Ok(None) if now >= busy.work.until => busy.work.run.kill().map(Some),
            other => other,
        };
        let exited = match ended {
            Ok(None) => {
                self.jobs.expiry = Some(busy);
                return;
            }
            Ok(Some(exited)) => Ok(exited),
            Err(e) => Err(broken(e)),
        };
        self.return_slot(busy.slot);
        let finished = exited.and_then(|exited| self.context.finish(busy.work.run, exited));
        let why = match finished {
            Ok(finished) => self.expired(finished).err(),
            Err(stuck) => Some(format!("{stuck:?}")),
        };
        let keep = Duration::from_millis(self.context.start.remote.trash_keep_ms.unwrap_or(0));
        let next = match &why {
            None => keep.clamp(Duration::from_secs(60), DAY),
            Some(_) => RETRY,
        };
        self.expiry_due = Some(now + next);
        if let Some(why) = why {
            warn!(self.context.log, "the trash is not looked after"; "why" => why);
        }
    }

    /// Counts what went; an error is rsync's words.
    fn expired(&self, mut finished: Finished) -> Result<(), String> {
        let (mut times, mut files) = (0u64, 0u64);
        finished
            .read(
                || self.context.supervisor.beat(),
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
            info!(self.context.log, "old trash deleted"; "times" => times, "files" => files);
        }
        match finished.judgement.verdict {
            Verdict::Settled => Ok(()),
            _ => Err(finished.judgement.words),
        }
    }

    /// Ends the expiry under way, if there is one.
    pub(in crate::pusher) fn end_expiry(&mut self) {
        if let Some(mut busy) = self.jobs.expiry.take() {
            busy.work.kill();
            if busy.slot {
                self.supervisor.send(&FromPusher::SlotDone);
            }
        }
    }
}
