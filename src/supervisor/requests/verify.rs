//! `syncsup verify`: passes a pusher's findings to the client, one part at a time, so that no process stores all of
//! them.

use crate::language::say;
use crate::message::{Answer, Ticket, ToPusher, VerifyJob, VerifyPart};
use crate::path::OsBytes;
use crate::supervisor::pusher::Verifying;
use crate::supervisor::state::Supervisor;
use std::time::Duration;

/// A client that has sent no request for this time no longer reads.
const FORGOTTEN: Duration = Duration::from_secs(300);
/// A client that has sent no request for this time may be replaced by another.
const IDLE: Duration = Duration::from_secs(2);

impl Supervisor {
    pub(in crate::supervisor) fn verify(
        &mut self,
        watch: &OsBytes,
        remote: &str,
        job: VerifyJob,
        now: Duration,
    ) -> Answer {
        let ticket = self.next_ticket();
        let localpaths =
            self.localpaths.iter_mut().filter(|l| l.is_configured() && l.watch() == watch);
        let mut pushers = localpaths.flat_map(|l| &mut l.pushers).filter(|p| !p.removed);
        let Some(pusher) = pushers.find(|p| p.name == remote) else {
            return Answer::Refused(say!("{} is not a remote of {}", remote, watch));
        };
        let reads = |v: &Verifying| now.saturating_sub(v.asked) < IDLE;
        if pusher.verifying.as_ref().is_some_and(reads) {
            return Answer::Refused(say!("{} of {} is being verified already", remote, watch));
        }
        if !pusher.process.runs() {
            return Answer::Refused(say!("the pusher of {} is not running", remote));
        }
        pusher.process.send(&ToPusher::Verify(ticket, job), vec![], now);
        pusher.verifying = Some(Verifying { ticket, asked: now, part: None });
        Answer::Ticket(ticket)
    }

    /// The next part; empty while none is available.
    pub(in crate::supervisor) fn verified(
        &mut self,
        ticket: Ticket,
        now: Duration,
    ) -> Option<VerifyPart> {
        let mut pushers = self.localpaths.iter_mut().flat_map(|l| &mut l.pushers);
        let pusher = pushers.find(|p| p.verifying.as_ref().is_some_and(|v| v.ticket == ticket))?;
        let verifying = pusher.verifying.as_mut()?;
        verifying.asked = now;
        let Some(part) = verifying.part.take() else { return Some(VerifyPart::default()) };
        match part.end {
            Some(_) => pusher.verifying = None,
            // A progress part was not requested, and the first part with results is sent without a request.
            None if part.progress.is_some() => {}
            None => pusher.process.send(&ToPusher::VerifyMore(ticket), vec![], now),
        }
        Some(part)
    }

    /// Stops the comparisons that no client reads any more.
    pub(in crate::supervisor) fn forget_verifying(&mut self, now: Duration) {
        for pusher in self.localpaths.iter_mut().flat_map(|l| &mut l.pushers) {
            let old = |v: &mut Verifying| now.saturating_sub(v.asked) > FORGOTTEN;
            if let Some(verifying) = pusher.verifying.take_if(old) {
                pusher.process.send(&ToPusher::DropVerify(verifying.ticket), vec![], now);
            }
        }
    }
}
