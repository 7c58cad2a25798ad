//! The user that an instance of root becomes, before it starts any child. It keeps the capabilities that reading needs,
//! and so does every program that it starts, because they are ambient capabilities. Nothing gives it others again.

use super::confine;
use crate::language::{phrase, said, say};
use nix::unistd::{
    Gid, Uid, User, getegid, getgrouplist, getgroups, getresuid, setegid, seteuid, setgroups,
    setresgid, setresuid,
};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, configure_capability_in_ambient_set,
    set_capabilities, set_keep_capabilities,
};
use slog::Logger;
use std::ffi::{CString, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its first group.
    pub gid: u32,
    groups: Vec<Gid>,
    home: PathBuf,
}

/// What a process of root becomes a user for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To run an instance: its watchers see which files other processes have open.
    Instance,
    /// To run one command.
    Command,
}

impl Purpose {
    fn capabilities(self) -> CapabilitySet {
        match self {
            Purpose::Instance => CapabilitySet::DAC_READ_SEARCH | CapabilitySet::SYS_PTRACE,
            Purpose::Command => CapabilitySet::DAC_READ_SEARCH,
        }
    }
}

/// What a kernel without ambient capabilities cannot do.
const NOT_LEFT_TO_PROGRAMS: &str = phrase!(
    "a kernel before Linux 4.3 cannot leave rsync the right to read every file: run as root, or start it as a user that owns the files"
);

/// What tells a program whose files are its own, once this process has become another user.
static ENVIRONMENT: OnceLock<[(&str, OsString); 3]> = OnceLock::new();

/// The variables for programs that this process starts. Empty if it has the user that it was started by.
pub fn environment() -> &'static [(&'static str, OsString)] {
    ENVIRONMENT.get().map_or(&[], |variables| variables)
}

impl Account {
    /// The user of this name; `None` if there is none.
    pub fn named(name: &str) -> io::Result<Option<Self>> {
        User::from_name(name)?.map(Self::of).transpose()
    }

    /// The user of this number; `None` if it has no name.
    pub fn numbered(uid: u32) -> io::Result<Option<Self>> {
        User::from_uid(Uid::from_raw(uid))?.map(Self::of).transpose()
    }

    fn of(user: User) -> io::Result<Self> {
        let groups = getgrouplist(&CString::new(user.name.as_bytes())?, user.gid)?;
        let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
        Ok(Self { name: user.name, uid, gid, groups, home: user.dir })
    }

    /// Does something with the rights of this user, and to reach any directory, in a process that is root's and stays
    /// so.
    pub fn acting<T>(&self, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let (gid, groups) = (getegid(), getgroups()?);
        setgroups(&self.groups)?;
        setegid(Gid::from_raw(self.gid))?;
        // The kernel takes all capabilities out of effect, and puts them in effect again below.
        seteuid(Uid::from_raw(self.uid))?;
        let mut sets = capabilities(None)?;
        sets.effective = sets.permitted & CapabilitySet::DAC_READ_SEARCH;
        let done = set_capabilities(None, sets).map_err(io::Error::from).and_then(|()| act());
        seteuid(Uid::from_raw(0))?;
        setegid(gid)?;
        setgroups(&groups)?;
        done
    }

    /// Turns this process, which is root's and has one thread, into one of this user, for ever, without any right beyond
    /// those of the user. A process that is this user's already stays as it is.
    pub(super) fn assume_alone(&self) -> io::Result<()> {
        let uid = Uid::from_raw(self.uid);
        if uid == Uid::effective() {
            return Ok(());
        }
        confine::become_user(uid, Gid::from_raw(self.gid), &self.groups)
    }

    /// What tells a program whose files are its own.
    pub(super) fn variables(&self) -> [(&'static str, OsString); 3] {
        let name = || OsString::from(&self.name);
        [("HOME", self.home.clone().into_os_string()), ("USER", name()), ("LOGNAME", name())]
    }

    /// Turns this process, which is root's and has one thread, into one of this user, for ever. Returns the names of the
    /// capabilities that it should keep and does not have. After an error this process must exit.
    pub fn assume(&self, purpose: Purpose, log: &Logger) -> io::Result<Vec<&'static str>> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let kept = purpose.capabilities() & capabilities(None)?.permitted;
        setgroups(&self.groups)?;
        setresgid(gid, gid, gid)?;
        confine::bound(kept)?;
        set_keep_capabilities(true)?;
        setresuid(uid, uid, uid)?;
        set_keep_capabilities(false)?;
        let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: kept };
        set_capabilities(None, sets)?;
        for capability in kept.iter() {
            configure_capability_in_ambient_set(capability, true).map_err(|error| match error {
                Errno::INVAL => io::Error::other(said(NOT_LEFT_TO_PROGRAMS)),
                other => other.into(),
            })?;
        }
        confine::trace_nothing(log)?;
        let now = getresuid()?;
        let back = setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0));
        if [now.real, now.effective, now.saved] != [uid; 3] || (self.uid != 0 && back.is_ok()) {
            return Err(io::Error::other(say!("the system did not give up root")));
        }
        let _ = ENVIRONMENT.set(self.variables());
        let missing = purpose.capabilities().difference(kept);
        Ok(missing.iter_names().map(|(name, _)| name).collect())
    }
}

/// Checks that this process can create files in a directory; the error says why not.
pub fn can_create_in(directory: &Path) -> io::Result<()> {
    let access = Access::WRITE_OK | Access::EXEC_OK;
    match accessat(CWD, directory, access, AtFlags::EACCESS) {
        // A kernel before 5.8 answers that only for the real user. Creating a file answers it for any.
        Err(Errno::NOSYS) => tempfile::tempfile_in(directory).map(drop),
        answered => Ok(answered?),
    }
}
