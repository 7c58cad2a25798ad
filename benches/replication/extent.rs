//! How much is measured.

use crate::process::max_queued_events;
use crate::rig::Sockets;
use crate::work::{Company, Sizes, Stream, Work};

/// The works, and how often each is done.
pub struct Extent {
    pub repetitions: usize,
    pub works: Vec<Work>,
}

impl Extent {
    /// Less than ten minutes.
    pub fn short() -> Extent {
        Extent { repetitions: 1, works: works(&SHORT) }
    }

    /// Hours.
    pub fn full() -> Extent {
        Extent { repetitions: 5, works: works(&FULL) }
    }
}

/// What differs between the short and the full form.
struct Sizing {
    /// How long a stream is.
    seconds: u64,
    /// The files of a tree that is there already, and the directories where they matter.
    tree: usize,
    directories: usize,
    /// The files of a burst to 10 remotes.
    burst: usize,
    /// The remotes of the largest fleet.
    fleet: usize,
    slow: Company,
    /// The files of a first copy.
    copied: usize,
    /// The files of other large works.
    many: usize,
    /// The MiB that are renamed.
    renamed: usize,
    outage_s: u64,
    /// The regions, and the leaves of each.
    tier: usize,
    /// The localpaths that are idle.
    localpaths: usize,
    idle_s: u64,
}

const SHORT: Sizing = Sizing {
    seconds: 3,
    tree: 20_000,
    directories: 2_000,
    burst: 3_000,
    fleet: 20,
    slow: Company::Slow { remotes: 3, mib: 5 },
    copied: 100_000,
    many: 30_000,
    renamed: 200,
    outage_s: 10,
    tier: 3,
    localpaths: 10,
    idle_s: 20,
};

const FULL: Sizing = Sizing {
    seconds: 20,
    tree: 100_000,
    directories: 10_000,
    burst: 10_000,
    fleet: 50,
    slow: Company::Slow { remotes: 10, mib: 40 },
    copied: 1_000_000,
    many: 300_000,
    renamed: 1_000,
    outage_s: 60,
    tier: 5,
    localpaths: 50,
    idle_s: 60,
};

fn works(sizing: &Sizing) -> Vec<Work> {
    let seconds = sizing.seconds;
    let plain = |rate| Stream::plain(rate, seconds);
    let small = |rate| Stream { sizes: Sizes::Small, ..plain(rate) };
    let pair = Stream { remotes: 2, ..small(100) };
    let mut works = vec![Work::Single { tree: sizing.tree, changes: 20 }];
    works.extend([50, 200, 500, 1_000, 2_000].map(|rate| Work::Stream(plain(rate))));
    works.push(Work::Stream(Stream { remotes: 3, ..plain(200) }));
    works.extend(
        [50, 200].map(|rate| Work::Stream(Stream { sockets: Sockets::NoDelay, ..plain(rate) })),
    );
    works.push(Work::Stream(Stream { remotes: sizing.fleet, ..small(20) }));
    works.push(Work::Stream(pair));
    works.push(Work::Stream(Stream { company: Company::DeadAndHung, ..pair }));
    works.push(Work::Stream(Stream { company: sizing.slow, ..small(20) }));
    works.push(Work::Tiers { regions: sizing.tier, leaves: sizing.tier, changes: 10 });
    works.extend([1, 3].map(|remotes| Work::Burst { files: 10_000, remotes }));
    works.push(Work::Burst { files: sizing.burst, remotes: 10 });
    works.push(Work::Remove { files: 10_000 });
    works.push(Work::Appends { rate: 100, seconds });
    works.push(Work::FirstCopy { files: sizing.copied });
    works.push(Work::Start { files: sizing.tree, directories: sizing.directories });
    works.push(Work::Return { files: sizing.many });
    works.push(Work::Rename { files: sizing.renamed });
    works.push(Work::Flat { files: sizing.many });
    // Two events for each file: it was written, and closed. A short form cannot fill a long queue.
    if sizing.many * 2 > max_queued_events() {
        works.push(Work::Overflow { files: sizing.many });
    }
    works.push(Work::Outage { seconds: sizing.outage_s });
    let (localpaths, seconds) = (sizing.localpaths, sizing.idle_s);
    works.push(Work::Idle { localpaths, remotes: 10, seconds });
    works
}
