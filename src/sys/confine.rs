//! What a process gives up at its start: core files, new privileges, calls that nothing here needs, capabilities. The
//! programs that it starts give up the same.

use super::domain::{Reach, stay_within};
use super::fault_point;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, capabilities, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};
use seccompiler::{SeccompAction, SeccompFilter, TargetArch, apply_filter};
use slog::{Logger, debug};
use std::io;
use std::path::PathBuf;

/// Calls that are refused with EPERM: they trace or read other processes, mount, load code into the kernel, set clocks
/// and names of the machine, or have a history of faults.
const DENIED: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_load,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

/// The kernel's key rings. A pusher keeps them: its ssh may find a Kerberos ticket there.
const KEYS: &[i64] = &[libc::SYS_add_key, libc::SYS_keyctl, libc::SYS_request_key];

/// What starts a program, and what makes or names a connection. A process that only answers needs none of it.
const STARTS_AND_CONNECTS: &[i64] = &[
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_listen,
    libc::SYS_socket,
];

/// What changes the mode, the owner and the extended attributes of a file. A domain refuses none of it. The times stay:
/// they are set on files that the process has made. The calls with numbers are new, and have them on every machine.
const ATTRIBUTES: &[i64] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    452, // fchmodat2
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fremovexattr,
    libc::SYS_fsetxattr,
    libc::SYS_lremovexattr,
    libc::SYS_lsetxattr,
    libc::SYS_removexattr,
    libc::SYS_setxattr,
    463, // setxattrat
    466, // removexattrat
];

/// The user and the group nobody. Their names are not looked up, because a server of names may not answer.
const NOBODY: u32 = 65_534;

/// What a process still does after it has given up the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// Reads files, and writes its own.
    Works,
    /// Starts rsync and ssh.
    Pushes,
    /// Is an rsync that sends files to a daemon.
    Sends,
    /// Answers connections on a socket that it has.
    Answers,
}

/// Capabilities that a process needs for some settings only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Also {
    /// It reads the extended attributes `trusted.*`, which only CAP_SYS_ADMIN shows.
    pub trusted_attributes: bool,
    /// It reads files of others and leaves their access times as they are.
    pub access_times: bool,
    /// It writes a log file, wherever that is.
    pub log: bool,
    /// It starts programs as other users, and kills them.
    pub other_users: bool,
}

impl Also {
    pub(super) fn capabilities(self) -> CapabilitySet {
        let of = |yes, capability| if yes { capability } else { CapabilitySet::empty() };
        of(self.trusted_attributes, CapabilitySet::SYS_ADMIN)
            | of(self.access_times, CapabilitySet::FOWNER)
            | of(self.log, CapabilitySet::DAC_OVERRIDE)
            | of(
                self.other_users,
                CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::KILL,
            )
    }
}

impl Does {
    fn denied(self) -> Vec<i64> {
        match self {
            Does::Pushes | Does::Sends => DENIED.to_vec(),
            Does::Works => [DENIED, KEYS].concat(),
            Does::Answers => [DENIED, KEYS, STARTS_AND_CONNECTS].concat(),
        }
    }

    /// Root reads every directory, writes its state in one of any owner, and sees which files other processes have
    /// open.
    pub(super) fn capabilities(self) -> CapabilitySet {
        match self {
            Does::Pushes | Does::Works => {
                CapabilitySet::DAC_READ_SEARCH
                    | CapabilitySet::DAC_OVERRIDE
                    | CapabilitySet::SYS_PTRACE
            }
            Does::Sends => CapabilitySet::DAC_READ_SEARCH,
            Does::Answers => CapabilitySet::empty(),
        }
    }
}

/// Lets neither this process nor a program that it starts write a core file, which would contain passwords and file
/// content.
pub fn no_core_files() -> io::Result<()> {
    use nix::sys::resource::{Resource, setrlimit};
    Ok(setrlimit(Resource::RLIMIT_CORE, 0, 0)?)
}

/// Gives up everything that a process does not need for what it `does`, but not what it needs `also`. Call
/// it before the process starts a thread. A kernel that lacks one of the means has one line in the log.
pub fn give_up(does: Does, also: Also, log: &Logger) -> io::Result<()> {
    bound_capabilities(does.capabilities() | also.capabilities())?;
    set_no_new_privs(true)?;
    if let Err(why) = deny(&does.denied()) {
        debug!(log, "no system call is refused to this process"; "why" => why);
    }
    Ok(())
}

/// Gives up everything but answers on the sockets that this process has, and these files. It becomes the user nobody
/// where it can. Call it before the process starts a thread.
pub fn answer_only(reads: &[&str], log: &Logger) -> io::Result<()> {
    let reach = Reach {
        reads: reads.iter().map(PathBuf::from).collect(),
        ports: Some(Vec::new()),
        ..Reach::default()
    };
    if let Err(why) = become_nobody() {
        debug!(log, "this process keeps its user"; "why" => why.to_string());
    }
    if !stay_within(&reach)? {
        debug!(log, "this kernel has no Landlock, so this process can open other files");
    }
    give_up(Does::Answers, Also::default(), log)
}

/// Keeps this thread, and what it starts, within `reach`, and takes from it the right to look into other processes and
/// to change modes, owners and extended attributes. Threads that exist keep all of it. Call it after [`give_up`]. False
/// if the kernel has no Landlock, which has a line in the log.
pub fn work_within(reach: &Reach, log: &Logger) -> io::Result<bool> {
    keep_capabilities(CapabilitySet::all().difference(CapabilitySet::SYS_PTRACE))?;
    let mut reach = reach.clone();
    reach.owns.extend(fault_point::orders().map(PathBuf::from));
    let done = stay_within(&reach)?;
    if !done {
        debug!(log, "this kernel has no Landlock, so this process can open other files");
    }
    if let Err(why) = deny(ATTRIBUTES) {
        debug!(log, "this process can change the modes and owners of files"; "why" => why);
    }
    Ok(done)
}

/// Changes from root to the user nobody, with no groups but its own. An error leaves this process root.
fn become_nobody() -> io::Result<()> {
    if !Uid::effective().is_root() {
        return Ok(());
    }
    become_user(Uid::from_raw(NOBODY), Gid::from_raw(NOBODY), &[])
}

/// Changes the user, the group and all other groups of this process, for good: it loses what root may do.
pub(super) fn become_user(uid: Uid, gid: Gid, groups: &[Gid]) -> io::Result<()> {
    // The user last: it gives up the right to change the others.
    setgroups(groups)?;
    setresgid(gid, gid, gid)?;
    Ok(setresuid(uid, uid, uid)?)
}

/// Refuses these calls to this thread, to the threads that it starts, and to their programs. Errors are for people.
fn deny(calls: &[i64]) -> Result<(), String> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|e| e.to_string())?;
    let filter = SeccompFilter::new(
        calls.iter().map(|call| (*call, Vec::new())).collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(Errno::PERM.raw_os_error() as u32),
        arch,
    );
    let program: seccompiler::BpfProgram =
        filter.and_then(TryInto::try_into).map_err(|e| e.to_string())?;
    apply_filter(&program).map_err(|e| e.to_string())
}

/// Lets neither this process nor a program that it starts trace another process, or gain privileges by a set-user-ID
/// program. A process that may look into others may do no more than look.
pub(super) fn trace_nothing(log: &Logger) -> io::Result<()> {
    set_no_new_privs(true)?;
    if let Err(why) = deny(DENIED) {
        debug!(log, "no system call is refused to this process"; "why" => why);
    }
    Ok(())
}

/// For a process that does not look into others, and that may start programs of the user: keeps the capabilities that
/// an instance has, which is not root's, without the one for that.
pub fn look_into_no_process() -> io::Result<()> {
    if nix::unistd::Uid::effective().is_root() {
        return Ok(());
    }
    keep_capabilities(CapabilitySet::all().difference(CapabilitySet::SYS_PTRACE))
}

/// Keeps no capabilities but these, of those that this thread has.
pub(super) fn keep_capabilities(kept: CapabilitySet) -> io::Result<()> {
    let mut sets = capabilities(None)?;
    for set in [&mut sets.effective, &mut sets.permitted, &mut sets.inheritable] {
        *set &= kept;
    }
    Ok(set_capabilities(None, sets)?)
}

/// The same, also for what this process ever starts.
fn bound_capabilities(kept: CapabilitySet) -> io::Result<()> {
    bound(kept)?;
    keep_capabilities(kept)
}

/// Lets no program that this process ever starts gain other capabilities than these.
pub(super) fn bound(kept: CapabilitySet) -> io::Result<()> {
    // Without CAP_SETPCAP the bounding set stays. Without new privileges it grants nothing.
    for capability in CapabilitySet::all().difference(kept).iter() {
        match remove_capability_from_bounding_set(capability) {
            Ok(()) | Err(Errno::PERM | Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use nix::errno::Errno as E;
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    use nix::sched::{CloneFlags, unshare};
    use nix::sys::uio::{RemoteIoVec, process_vm_readv};
    use std::io::IoSliceMut;
    use std::process::Command;

    /// Runs the ignored test `name` in a process of its own, because nothing that it gives up comes back.
    pub fn in_a_process(name: &str, envs: &[(&str, &str)]) -> String {
        let program = std::env::current_exe().unwrap();
        let mut command = Command::new(program);
        command.args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"]);
        let out = command.envs(envs.iter().copied()).output().unwrap();
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        assert!(out.status.success() && text.contains("1 passed"), "{text}");
        text
    }

    /// The mode, the owner and the extended attributes of this file cannot be changed.
    pub fn attributes_are_refused(file: &std::path::Path) {
        use std::os::unix::fs::{PermissionsExt, chown, lchown};
        let flags = rustix::fs::XattrFlags::empty();
        let open = std::fs::File::open("/dev/null").unwrap();
        let mode = std::fs::Permissions::from_mode(0o666);
        let uid = Some(Uid::effective().as_raw());
        for (what, tried) in [
            ("chmod", std::fs::set_permissions(file, mode.clone())),
            ("fchmod", open.set_permissions(mode)),
            ("chown", chown(file, uid, None)),
            ("fchown", std::os::unix::fs::fchown(&open, uid, None)),
            ("lchown", lchown(file, uid, None)),
            ("setxattr", rustix::fs::setxattr(file, "user.a", b"x", flags).map_err(Into::into)),
            ("removexattr", rustix::fs::lremovexattr(file, "user.a").map_err(Into::into)),
        ] {
            let error = tried.expect_err(what);
            assert_eq!(error.raw_os_error(), Some(E::EPERM as i32), "{what}: {error}");
        }
    }

    fn log() -> Logger {
        Logger::root(slog::Discard, slog::o!())
    }

    /// A line of /proc/self/status of this thread.
    pub fn status(key: &str) -> String {
        let text = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key}:")));
        line.unwrap_or_default().trim().to_owned()
    }

    /// Reads memory of this very process in the way that another one would.
    fn peek() -> nix::Result<usize> {
        let (from, mut to) = ([7u8], [0u8]);
        let remote = [RemoteIoVec { base: from.as_ptr() as usize, len: 1 }];
        process_vm_readv(nix::unistd::getpid(), &mut [IoSliceMut::new(&mut to)], &remote)
    }

    #[test]
    #[ignore = "run in a process of its own by the next test"]
    fn gives_up() {
        // These need no capability, so the filter alone refuses them.
        type Call = fn() -> nix::Result<()>;
        let free: [(&str, Call); 3] = [
            ("ptrace", nix::sys::ptrace::traceme),
            ("process_vm_readv", || peek().map(drop)),
            ("unshare", || unshare(CloneFlags::CLONE_FS)),
        ];
        assert_eq!((peek(), free[2].1()), (Ok(1), Ok(())), "they work before");
        let root = nix::unistd::geteuid().is_root();
        no_core_files().unwrap();
        give_up(Does::Works, Also::default(), &log()).unwrap();
        for (name, call) in free {
            assert_eq!(call(), Err(E::EPERM), "{name}");
        }
        let none: Option<&str> = None;
        assert_eq!(mount(none, "/", none, MsFlags::MS_BIND, none), Err(E::EPERM));
        assert_eq!(umount2("/proc", MntFlags::MNT_DETACH), Err(E::EPERM));
        assert_eq!(nix::unistd::sethostname("other"), Err(E::EPERM));
        assert_eq!(nix::unistd::chroot("/"), Err(E::EPERM));
        assert_eq!((status("NoNewPrivs"), status("Seccomp")), ("1".into(), "2".into()));
        let sets = capabilities(None).unwrap();
        let allowed = Does::Works.capabilities();
        assert!(allowed.contains(sets.permitted) && allowed.contains(sets.effective), "{sets:?}");
        // A program that it starts has no more than that, even as root.
        let of_child =
            "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; ulimit -Hc";
        let out = Command::new("sh").args(["-c", of_child]).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let mask = format!("{:016x}", allowed.bits());
        if root {
            assert!(text.contains(&format!("CapEff:\t{mask}")), "{text}");
            assert!(text.contains(&format!("CapBnd:\t{mask}")), "{text}");
        }
        assert!(text.contains("NoNewPrivs:\t1") && text.contains("Seccomp:\t2"), "{text}");
        assert!(text.ends_with("\n0\n"), "core files: {text}");
    }

    #[test]
    fn what_a_process_gave_up_is_refused_to_it_and_to_its_programs() {
        in_a_process("sys::confine::tests::gives_up", &[]);
    }

    #[test]
    #[ignore = "run in a process of its own by the next test"]
    fn keeps_keys_and_attributes() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        give_up(Does::Pushes, Also { trusted_attributes: true, ..Also::default() }, &log())
            .unwrap();
        assert!(capabilities(None).unwrap().effective.contains(CapabilitySet::SYS_ADMIN));
        assert!(!Does::Pushes.denied().contains(&libc::SYS_keyctl));
        // It may do what the capability permits, but not by a refused call.
        assert_eq!(nix::unistd::sethostname("other"), Err(E::EPERM));
    }

    #[test]
    fn a_pusher_keeps_what_its_parameters_need() {
        in_a_process("sys::confine::tests::keeps_keys_and_attributes", &[]);
    }

    #[test]
    #[ignore = "run in a process of its own by the next test"]
    fn answers_only() {
        use std::fs::File;
        use std::net::{TcpListener, TcpStream, UdpSocket};
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _peer = TcpStream::connect(address).unwrap();
        let parent = nix::unistd::getppid();
        let root = nix::unistd::geteuid().is_root();
        assert_eq!(nix::sys::signal::kill(parent, None), Ok(()), "it may signal before");
        answer_only(&["/dev/urandom"], &log()).unwrap();
        // It still answers, on a thread too.
        assert!(std::thread::spawn(move || listener.accept().is_ok()).join().unwrap());
        assert!(File::open("/dev/urandom").is_ok());
        let connection = TcpStream::connect(address).map(drop);
        for (what, tried) in [
            ("a connection", connection),
            ("a listener", TcpListener::bind("127.0.0.1:0").map(drop)),
            ("a datagram", UdpSocket::bind("127.0.0.1:0").map(drop)),
            ("a program", Command::new("/bin/true").spawn().map(drop)),
            ("a signal", nix::sys::signal::kill(parent, None).map_err(io::Error::from)),
        ] {
            let refused = root || super::super::domain::is_supported() || what != "a signal";
            assert_eq!(tried.is_err(), refused, "{what}");
        }
        if super::super::domain::is_supported() {
            for path in ["/etc/passwd", "/proc/self/status", "/proc/self/environ"] {
                assert!(File::open(path).is_err(), "{path}");
            }
            let new = std::env::temp_dir().join("syncsup-no-such-file");
            assert!(File::create(new).is_err());
        }
        let sets = capabilities(None).unwrap();
        assert!(sets.effective.is_empty() && sets.permitted.is_empty(), "{sets:?}");
        assert!(!nix::unistd::getresuid().unwrap().saved.is_root());
    }

    #[test]
    fn a_process_that_only_answers_can_do_nothing_else() {
        in_a_process("sys::confine::tests::answers_only", &[]);
    }
}
