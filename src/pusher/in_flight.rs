//! The running jobs, as far as decisions depend on them. Pure.

use super::lane::Lane;
use crate::message::SlotKind;
use crate::reconcile_reason::ReconcileReason;
use std::collections::BTreeSet;

/// A kind of job that may run an rsync.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Job {
    /// A push.
    Push(Lane),
    /// A dry run whose differences become owed.
    Compare,
    /// `syncsup verify`.
    Verify,
    /// The expiry of the trash.
    Expire,
}

impl Job {
    /// The kind of slot that it needs.
    pub fn slot_kind(self) -> SlotKind {
        match self {
            Job::Push(Lane::Small) => SlotKind::Small,
            Job::Push(Lane::Large | Lane::Large2 | Lane::Bulk | Lane::Bulk2)
            | Job::Compare
            | Job::Verify
            | Job::Expire => SlotKind::Large,
        }
    }
}

/// The stage of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Its dry run is running. The reason is that of a reconcile; a partial comparison has none.
    Running(Option<ReconcileReason>),
    /// The dry run of a partial comparison has ended, and its rows are being written.
    Writing,
}

/// `syncsup verify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// It is requested and waits.
    Wanted,
    /// It compares, or its caller reads the answer.
    UnderWay,
}

/// The running jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InFlight {
    /// The lanes that push.
    pub pushes: BTreeSet<Lane>,
    /// The comparison.
    pub compare: Option<Comparison>,
    /// A reconcile whose rsync has ended, for this reason. Its rows are written as they are pushed. That may take
    /// hours, and other comparisons run meanwhile.
    pub spool: Option<ReconcileReason>,
    /// `syncsup verify`.
    pub verify: Option<Verification>,
}

impl InFlight {
    /// True while an rsync pushes.
    pub fn pushing(&self) -> bool {
        !self.pushes.is_empty()
    }

    /// True while `lane` pushes.
    pub fn busy(&self, lane: Lane) -> bool {
        self.pushes.contains(&lane)
    }

    /// True while an rsync pushes or compares.
    pub fn is_running(&self) -> bool {
        self.pushing() || matches!(self.compare, Some(Comparison::Running(_)))
    }

    /// True while any comparison is under way.
    pub fn comparing(&self) -> bool {
        self.compare.is_some() || self.spool.is_some()
    }

    /// True if no push or comparison is under way.
    pub fn idle(&self) -> bool {
        !self.pushing() && !self.comparing()
    }

    /// The reason of the reconcile that is comparing, if one is.
    pub fn reconcile(&self) -> Option<&ReconcileReason> {
        let running = match &self.compare {
            Some(Comparison::Running(why)) => why.as_ref(),
            Some(Comparison::Writing) | None => None,
        };
        self.spool.as_ref().or(running)
    }
}
