//! The works.

mod company;
mod files;
mod fleet;
mod measured;
mod outage;
mod scene;
mod stream;
mod tree;

use crate::system::System;
pub use company::Company;
pub use measured::{Lag, Measured};
pub use stream::{Sizes, Stream};

/// One kind of work.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Single changes in an idle tree.
    Single { tree: usize, changes: usize },
    /// New files at a rate.
    Stream(Stream),
    /// Files of 4 KiB, all at once.
    Burst { files: usize, remotes: usize },
    /// `rm -rf` of these.
    Remove { files: usize },
    /// One file that is appended to at a rate.
    Appends { rate: u32, seconds: u64 },
    /// The start over a tree whose slave is empty.
    FirstCopy { files: usize },
    /// Every file of a tree changes while the remote is down. The lag is that from its return to its first file.
    Return { files: usize },
    /// A directory of files of 1 MiB gets another name, and a file of as many bytes.
    Rename { files: usize },
    /// New files in one directory.
    Flat { files: usize },
    /// Every file of a tree changes while the system stands still, and events are lost.
    Overflow { files: usize },
    /// 1,000 changes while the remote is down for this time. The lag is that from its return to its first file.
    Outage { seconds: u64 },
    /// The start over a tree that the slave has. The lag is that from the start to watches on all directories.
    Start { files: usize, directories: usize },
    /// Changes that pass two tiers, one at a time.
    Tiers { regions: usize, leaves: usize, changes: usize },
    /// No change.
    Idle { localpaths: usize, remotes: usize, seconds: u64 },
}

impl Work {
    /// The name in the tables.
    pub fn name(&self) -> String {
        match self {
            Work::Single { tree, .. } => format!("one change, idle tree of {tree}"),
            Work::Stream(stream) => stream.name(),
            Work::Burst { files, remotes: 1 } => format!("{files} x 4 KiB at once"),
            Work::Burst { files, remotes } => format!("{files} x 4 KiB at once, {remotes} remotes"),
            Work::Remove { files } => format!("rm -rf of {files} files"),
            Work::Appends { rate, .. } => format!("a log appended {rate} times a second"),
            Work::FirstCopy { files } => format!("first copy of {files} files"),
            Work::Return { files } => format!("a remote back after {files} changes"),
            Work::Rename { files } => {
                format!("{files} x 1 MiB and one file of {files} MiB renamed")
            }
            Work::Flat { files } => format!("{files} files created in one directory"),
            Work::Overflow { files } => format!("events of {files} changes lost"),
            Work::Outage { seconds } => format!("a remote back after {seconds} s"),
            Work::Start { files, directories } => {
                format!("start over {files} files in {directories} directories")
            }
            Work::Tiers { regions, leaves, .. } => {
                format!("one change, {regions} regions with {leaves} leaves each")
            }
            Work::Idle { localpaths, remotes, .. } => {
                format!("idle, {localpaths} localpaths with {remotes} remotes each")
            }
        }
    }

    /// True if it is measured of this system.
    pub fn suits(&self, system: System) -> bool {
        match self {
            Work::Stream(stream) => stream.suits(system),
            Work::Start { .. } | Work::Tiers { .. } => {
                matches!(system, System::Lsyncd | System::Syncsup)
            }
            Work::Idle { .. } => system == System::Syncsup,
            Work::Single { .. } | Work::Appends { .. } => true,
            // A limit of what pushes cost does not matter where they are few and large.
            Work::Burst { .. }
            | Work::Remove { .. }
            | Work::FirstCopy { .. }
            | Work::Return { .. }
            | Work::Rename { .. }
            | Work::Flat { .. }
            | Work::Overflow { .. }
            | Work::Outage { .. } => system != System::Unpaced,
        }
    }

    /// Runs it on this system.
    pub fn run(&self, system: System) -> Result<Measured, String> {
        match *self {
            Work::Single { tree, changes } => stream::single(system, tree, changes),
            Work::Stream(stream) => stream.run(system),
            Work::Burst { files, remotes } => tree::burst(system, files, remotes),
            Work::Remove { files } => tree::remove(system, files),
            Work::Appends { rate, seconds } => stream::appends(system, rate, seconds),
            Work::FirstCopy { files } => tree::first_copy(system, files),
            Work::Return { files } => outage::all(system, files),
            Work::Rename { files } => tree::rename(system, files),
            Work::Flat { files } => tree::flat(system, files),
            Work::Overflow { files } => tree::overflow(system, files),
            Work::Outage { seconds } => outage::some(system, seconds),
            Work::Start { files, directories } => tree::start(system, files, directories),
            Work::Tiers { regions, leaves, changes } => {
                fleet::tiers(system, regions, leaves, changes)
            }
            Work::Idle { localpaths, remotes, seconds } => {
                fleet::idle(system, localpaths, remotes, seconds)
            }
        }
    }
}
