//! The kinds of events, and how often each happens. In each world other kinds are frequent and others are missing: a fault
//! that needs two of a rare kind is found in a world that has little else.

/// What happens in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The master is changed.
    Change,
    /// The watcher takes a turn.
    Watch,
    /// A pusher takes a turn.
    Push,
    /// An rsync takes a step.
    Transfer,
    /// Time passes.
    Pass,
    /// What a signal has stopped continues.
    Continue,
    /// A pusher is killed.
    KillPusher,
    /// The watcher is killed.
    KillWatcher,
    /// The supervisor is killed.
    KillSupervisor,
    /// An rsync is killed.
    KillRsync,
    /// A signal stops a process.
    Halt,
    /// A slave cannot be reached, or can again.
    Reach,
    /// A slave refuses a name.
    Refuse,
    /// `syncsup wait`.
    Wait,
    /// `syncsup sync`.
    Sync,
    /// A slave is changed by hand.
    ByHand,
    /// `syncsup release`.
    Release,
    /// The kernel's queue overflows.
    Overflow,
    /// The root is gone, or is there again.
    Hold,
    /// A slave's disk is written, or loses what is younger.
    FallBack,
    /// The clock is set.
    SetClock,
}

/// Without these, nothing happens at all. The numbers say how often.
const ALWAYS: [(Kind, u32); 6] = [
    (Kind::Change, 50),
    (Kind::Watch, 30),
    (Kind::Push, 50),
    (Kind::Transfer, 44),
    (Kind::Pass, 10),
    (Kind::Continue, 6),
];
/// These make trouble.
const SOMETIMES: [(Kind, u32); 15] = [
    (Kind::KillPusher, 4),
    (Kind::KillWatcher, 2),
    (Kind::KillSupervisor, 1),
    (Kind::KillRsync, 4),
    (Kind::Halt, 4),
    (Kind::Reach, 4),
    (Kind::Refuse, 2),
    (Kind::Wait, 8),
    (Kind::Sync, 2),
    (Kind::ByHand, 4),
    (Kind::Release, 4),
    (Kind::Overflow, 2),
    (Kind::Hold, 4),
    (Kind::FallBack, 6),
    (Kind::SetClock, 2),
];
/// A kind that makes trouble is this many times as frequent in a world.
const FACTORS: [u32; 5] = [0, 0, 1, 2, 6];

/// How often each kind happens in one world.
pub struct Kinds {
    kinds: Vec<(Kind, u32)>,
    total: u32,
}

impl Kinds {
    /// The world of a seed.
    pub fn of(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed.rotate_left(17));
        let sometimes =
            SOMETIMES.map(|(kind, often)| (kind, often * FACTORS[random.usize(..FACTORS.len())]));
        let kinds: Vec<_> = ALWAYS.into_iter().chain(sometimes).collect();
        let total = kinds.iter().map(|(_, often)| often).sum();
        Self { kinds, total }
    }

    /// The kind of one step.
    pub fn pick(&self, random: &mut fastrand::Rng) -> Kind {
        let mut at = random.u32(..self.total);
        for (kind, often) in &self.kinds {
            match at.checked_sub(*often) {
                Some(left) => at = left,
                None => return *kind,
            }
        }
        unreachable!("the numbers add up to the total")
    }
}
