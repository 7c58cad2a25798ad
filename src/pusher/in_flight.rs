//! The jobs that are under way, as far as decisions need to know them. Pure.

use super::lane::Lane;
use crate::reconcile_reason::ReconcileReason;
use std::collections::BTreeSet;

/// What may have an rsync at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Job {
    /// A push.
    Push(Lane),
    /// A dry run whose differences are owed afterwards.
    Compare,
    /// `syncsup verify`.
    Verify,
    /// The expiry of the trash.
    Expire,
}

/// How far a comparison is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Its dry run is at work; of everything, for this reason, or of a part.
    Running(Option<ReconcileReason>),
    /// The dry run of a part has ended, and its rows are being written.
    Writing,
}

/// `syncsup verify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// It is asked for and waits.
    Wanted,
    /// It compares, or its answer is being read.
    UnderWay,
}

/// The jobs under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InFlight {
    /// The lanes that push.
    pub pushes: BTreeSet<Lane>,
    /// The comparison.
    pub compare: Option<Comparison>,
    /// A comparison of everything whose rsync has ended, for this reason: its rows are written as they are pushed. That may
    /// take hours, and other comparisons go on beside it.
    pub spool: Option<ReconcileReason>,
    /// What a person reads.
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

    /// True when nothing is under way that is to be finished.
    pub fn idle(&self) -> bool {
        !self.pushing() && !self.comparing()
    }

    /// Why everything is being compared, while it is.
    pub fn everything(&self) -> Option<&ReconcileReason> {
        let running = match &self.compare {
            Some(Comparison::Running(why)) => why.as_ref(),
            Some(Comparison::Writing) | None => None,
        };
        self.spool.as_ref().or(running)
    }
}
