//! Landlock domains: the only files and ports that a thread, and every program that it starts, can still reach. A
//! descriptor that is already open stays usable.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};
use std::io;
use std::path::PathBuf;

/// The newest Landlock whose rights this file knows. An older one enforces what it can.
const KNOWN: ABI = ABI::V6;

/// Directories with libraries, without which no program starts.
pub const LIBRARIES: &[&str] = &[
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/local/lib",
    "/usr/local/lib64",
    "/gnu/store",
    "/nix/store",
];

/// What stays in reach. A directory stands for everything below it. A path that does not exist is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// May be read and listed.
    pub reads: Vec<PathBuf>,
    /// May be read and run.
    pub runs: Vec<PathBuf>,
    /// May be written, but neither created nor removed.
    pub writes: Vec<PathBuf>,
    /// Directories in which files may be created and written.
    pub creates_in: Vec<PathBuf>,
    /// Directories of the process's own: anything below them may be read, written, created, renamed and removed.
    pub owns: Vec<PathBuf>,
    /// The TCP ports of the peers that it may connect to; `None` is any.
    pub ports: Option<Vec<u16>>,
    /// May connect to abstract Unix sockets, and send signals, outside of the domain.
    pub talks: bool,
}

/// True if the kernel has Landlock, and it is switched on.
pub fn is_supported() -> bool {
    let strict = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    strict.handle_access(AccessFs::Execute).and_then(Ruleset::create).is_ok()
}

/// True if a process in a domain can give a file a name in another directory, where both are its own (Linux 5.19).
pub fn links_between_directories() -> bool {
    let strict = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    strict.handle_access(AccessFs::Refer).and_then(Ruleset::create).is_ok()
}

/// True if a domain of this kernel refuses TCP ports (Linux 6.7).
#[cfg(test)]
pub fn refuses_ports() -> bool {
    let strict = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    strict.handle_access(AccessNet::ConnectTcp).and_then(Ruleset::create).is_ok()
}

/// True if a domain of this kernel refuses signals to processes outside of it (Linux 6.12).
#[cfg(test)]
pub fn refuses_signals() -> bool {
    let strict = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    strict.scope(Scope::Signal).and_then(Ruleset::create).is_ok()
}

/// Takes everything else out of reach of this thread, and of what it starts, for ever. True if the kernel did so; false
/// if it has no Landlock.
pub fn stay_within(reach: &Reach) -> io::Result<bool> {
    enter(reach).map_err(io::Error::other)
}

fn enter(reach: &Reach) -> Result<bool, landlock::RulesetError> {
    let mut ruleset = Ruleset::default().handle_access(AccessFs::from_all(KNOWN))?;
    if reach.ports.is_some() {
        ruleset = ruleset.handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?;
    }
    if !reach.talks {
        ruleset = ruleset.scope(Scope::from_all(KNOWN))?;
    }
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = AccessFs::WriteFile | AccessFs::Truncate;
    let mut created = allow(ruleset.create()?, &reach.reads, read)?;
    created = allow(created, &reach.runs, read | AccessFs::Execute)?;
    created = allow(created, &reach.writes, write | AccessFs::ReadFile)?;
    created = allow(created, &reach.creates_in, write | AccessFs::MakeReg)?;
    created = allow(created, &reach.owns, read | write | make_and_remove())?;
    if let Some(ports) = reach.ports.as_ref().filter(|ports| !ports.is_empty()) {
        // A client that binds port 0 lets the kernel choose one.
        created = created.add_rule(NetPort::new(0, AccessNet::BindTcp))?;
        for port in ports {
            created = created.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
        }
    }
    Ok(created.restrict_self()?.ruleset != RulesetStatus::NotEnforced)
}

fn make_and_remove() -> BitFlags<AccessFs> {
    AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer
}

fn allow(
    created: RulesetCreated,
    paths: &[PathBuf],
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, landlock::RulesetError> {
    created.add_rules(path_beneath_rules(paths, access))
}
