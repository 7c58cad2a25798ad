//! The meaning of an rsync's exit: one table from exit status and stderr to a verdict.

use super::complaint::{REFUSED, is_summary, lines, message, shown, without_names};
use super::itemize::says_deletions_skipped;
use super::refused;
use crate::help_topic::{HelpTopic, Reason};
use crate::language::say;
use crate::stat::Exited;

/// A temporary problem of a remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No connection: it is down, or restarting.
    Unreachable,
    /// The daemon has reached its limit of connections; some of them may be ours.
    ConnectionLimited,
    /// The connection broke, or no data came any more.
    Broken,
    /// A signal killed the local rsync, which tells nothing about the remote. It is retried soon.
    Killed,
    /// The remote's disk (or quota) is full.
    Full,
    /// The remote's storage fails in another way: read-only, missing directories, I/O errors.
    Storage,
}

/// The consequence of an rsync's exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done; stderr may still contain complaints about single paths ([`super::complaint`]).
    Settled,
    /// Some paths failed: a comparison with `-n` shows which.
    Partial,
    /// Files vanished while rsync was running; the rest is done. Normalize and push again.
    Gone,
    /// A directory vanished or changed its type while rsync was running, or a file on the remote vanished, and the
    /// receiver gave up. The state of the
    /// rest is unknown. Normalize and push again.
    Upset,
    /// Nothing is settled; the remote backs off.
    Remote(Trouble),
    /// A parameter, password, module or key is wrong: hold the remote, and retry slowly.
    Configuration,
    /// The root of the localpath is missing: hold the localpath.
    Source,
    /// The receiver does not support `--delete-missing-args`: remember it and use form B.
    FormB,
    /// The remote's `refuse options` forbids every form of deletion. This configuration error has its own verdict,
    /// because everything else can still be pushed.
    NoDelete,
    /// The remote's `refuse options` forbids this option (the manual's name). Push without it if a substitute exists;
    /// else it is a configuration error.
    Refused(&'static str),
}

/// A verdict with its details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The consequence.
    pub verdict: Verdict,
    /// rsync's most informative message, one printable line. Never empty unless settled.
    pub message: String,
    /// The section of docs/troubleshooting.md for it, unless it is settled.
    pub help: HelpTopic,
    /// The receiver may still be working (design rule 2): its paths must be pushed again.
    pub end_unseen: bool,
    /// No deletion of this run is settled. rsync reports it on stdout, see [`super::itemize::Line::DeletionsSkipped`];
    /// this flag covers only the reports on stderr.
    pub deletions_skipped: bool,
}

impl Verdict {
    /// True when rsync reached the end of its work, with or without errors: it then prints its closing statistics.
    pub fn is_an_end(self) -> bool {
        matches!(self, Verdict::Settled | Verdict::Partial | Verdict::Gone)
    }
}

impl Judgement {
    /// The judgement of an rsync that exited without printing its closing statistics: it settled nothing, whatever its
    /// exit status is.
    #[must_use]
    pub fn without_statistics(self, exit: Exited) -> Judgement {
        let said =
            if self.message.is_empty() { String::new() } else { format!(": {}", self.message) };
        let message = say!(
            "rsync exited with {} without printing its statistics, so its work does not count; is the program really rsync?{}",
            exit,
            said
        );
        Judgement { verdict: Verdict::Configuration, message, help: HelpTopic::NotRsync, ..self }
    }

    /// The message and its section.
    pub fn reason(&self) -> Reason {
        Reason::new(self.help, self.message.as_str())
    }

    /// True when the receiver gave up by itself: the file it was writing may remain under its temporary name.
    pub fn receiver_failed(&self) -> bool {
        let Verdict::Remote(trouble) = self.verdict else { return false };
        !self.end_unseen && matches!(trouble, Trouble::Full | Trouble::Storage | Trouble::Broken)
    }

    /// True when the daemon has reached its limit of connections; some of them may be ours.
    pub fn connection_limited(&self) -> bool {
        self.verdict == Verdict::Remote(Trouble::ConnectionLimited)
    }
}

/// The start of a daemon's message when its `max connections` are in use.
const CROWDED: &[u8] = b"@ERROR: max connections (";

/// The start of a daemon's message when the `pre-xfer exec` of a module has refused. The output of that script follows.
const PRE_XFER: &[u8] = b"pre-xfer exec returned failure (";
/// The message of a daemon when the `early exec` of a module has refused.
const EARLY: &[u8] = b"@ERROR: early exec failed";
/// The number of lines of such a script's output that are shown.
const SCRIPT_LINES: usize = 3;

/// The output of the daemon itself, and the output of a script of its module. The script's output has no influence on
/// the verdict.
fn apart(stderr: &[u8]) -> (&[u8], Vec<&[u8]>) {
    let mut all = lines(stderr);
    let Some(refusal) = all.by_ref().find(|line| refuses_by_script(line)) else {
        return (stderr, Vec::new());
    };
    let script = all.take_while(|line| !is_summary(line) && !is_echo(line)).collect();
    let end = refusal.as_ptr().addr() - stderr.as_ptr().addr() + refusal.len();
    (&stderr[..end], script)
}

fn refuses_by_script(line: &[u8]) -> bool {
    message(line.strip_prefix(b"@ERROR: ").unwrap_or(line)).starts_with(PRE_XFER)
}

/// True for the messages that end every broken connection.
fn is_echo(line: &[u8]) -> bool {
    message(line).starts_with(b"connection unexpectedly closed")
        || message(line).starts_with(b"read error: Connection reset by peer")
        || MASTER_MESSAGES.iter().any(|message| line.starts_with(message))
}

/// The length of the daemon's own part of `stderr`, before the output of a script of its module; in bytes.
pub fn own_messages(stderr: &[u8]) -> usize {
    apart(stderr).0.len()
}

/// True when a daemon rejected the user or the password.
pub fn login_failed(stderr: &[u8]) -> bool {
    lines(apart(stderr).0).any(|line| line.starts_with(b"@ERROR: auth failed on module "))
}

/// Judges an rsync by its exit status and stderr (run with LC_ALL=C).
pub fn verdict(exit: Exited, stderr: &[u8]) -> Judgement {
    let (stderr, script) = match exit {
        // The verdict of these statuses does not depend on a message, so such a line hides nothing.
        Exited::Code(0 | 23 | 24 | 25) => (stderr, Vec::new()),
        Exited::Code(_) | Exited::Signal(_) => apart(stderr),
    };
    let unseen = matches!(exit, Exited::Signal(_) | Exited::Code(10 | 12 | 20 | 30 | 35 | 255));
    let verdict = match table(exit, stderr) {
        // 3.1.3 exits as if the connection had broken.
        of @ (Verdict::Configuration | Verdict::Remote(Trouble::Broken | Trouble::Unreachable)) => {
            refused::option(stderr).map_or(of, Verdict::Refused)
        }
        other => other,
    };
    Judgement {
        verdict,
        message: with_script(telling_message(exit, stderr), &script),
        help: help(verdict, exit, stderr),
        end_unseen: unseen && !never_connected(exit, stderr),
        deletions_skipped: lines(stderr).any(says_deletions_skipped) || exit == Exited::Code(25),
    }
}

/// The table of exit statuses (rsync(1), EXIT VALUES; the comments give the observed causes). The status decides first.
/// Messages are then matched only where rsync, the daemon, ssh or a shell begins a line with them.
fn table(exit: Exited, stderr: &[u8]) -> Verdict {
    let Exited::Code(code) = exit else { return Verdict::Remote(Trouble::Killed) };
    match code {
        0 => return Verdict::Settled,
        // 25: --max-delete stopped it, over ssh.
        23 | 25 => return Verdict::Partial,
        24 => return Verdict::Gone,
        _ => {}
    }
    let begins =
        |start: &str| lines(stderr).any(|line| message(line).starts_with(start.as_bytes()));
    let ends = |end: &str| {
        lines(stderr).any(|line| reason(&without_names(line)).ends_with(end.as_bytes()))
    };
    // A receiver that cannot convert a name reads it as an empty name, and then misreads the data that follows.
    if begins("cannot convert filename: ") {
        return Verdict::Configuration;
    }
    if begins("--delete-missing-args: unknown option")
        || begins("The server is configured to refuse --delete-missing-args")
    {
        return Verdict::FormB;
    }
    if begins("The server is configured to refuse --del") {
        return Verdict::NoDelete;
    }
    // 1 in 3.5.0, 10 in 3.1.3.
    if lines(stderr).any(|line| line == b"ERROR: module is read only") {
        return Verdict::Configuration;
    }
    // A directory vanished, or changed its type, between our check and rsync's. Its child is then not a valid name.
    if begins("ABORTING due to invalid path from sender: ") {
        return Verdict::Upset;
    }
    match code {
        // rsync also exits with 12 when it is faster than its ssh.
        12 | 255 if lines(stderr).any(refused_by_ssh) => Verdict::Configuration,
        12 if lines(stderr).any(cannot_connect_by_ssh) => Verdict::Remote(Trouble::Unreachable),
        2 | 4 if begins("file has vanished: ") => Verdict::Upset,
        // A file on the remote was deleted there while the receiver was updating it (3.5.0).
        2 if begins("got a block match with no basis file for ") => Verdict::Upset,
        2 if begins("invalid file mode 00 ") => Verdict::FormB,
        3 if lines(stderr).any(is_of_destination) => Verdict::Configuration,
        3 => Verdict::Source,
        5 if lines(stderr).any(|line| line.starts_with(CROWDED)) => {
            Verdict::Remote(Trouble::ConnectionLimited)
        }
        // The forwarder in front of the slave (a TLS or TCP proxy, a container's port) is up, and the slave is down.
        5 if begins("did not see server greeting") => Verdict::Remote(Trouble::Unreachable),
        // The daemon ended, or its network did, after its greeting.
        5 if begins("didn't get server startup line") => Verdict::Remote(Trouble::Unreachable),
        // Usage, protocol, refused options; auth failed, unknown module, access denied, chdir failed; no rsync on the
        // remote.
        1 | 2 | 4 | 5 | 6 | 126 | 127 => Verdict::Configuration,
        10 | 35 => Verdict::Remote(Trouble::Unreachable),
        11 if ends(": No space left on device") || ends(": Disk quota exceeded") => {
            Verdict::Remote(Trouble::Full)
        }
        11 => Verdict::Remote(Trouble::Storage),
        255 => Verdict::Remote(Trouble::Unreachable),
        // 12 stream, 13 and 14 processes, 19 and 20 signals, 21 waitpid, 22 memory, 30 timeout.
        _ => Verdict::Remote(Trouble::Broken),
    }
}

/// The section of docs/troubleshooting.md for a verdict.
fn help(verdict: Verdict, exit: Exited, stderr: &[u8]) -> HelpTopic {
    match verdict {
        // What fails are paths, not the remote.
        Verdict::Settled | Verdict::Partial | Verdict::Gone | Verdict::Upset => {
            HelpTopic::FailingPaths
        }
        Verdict::Remote(trouble) => match trouble {
            Trouble::Unreachable => HelpTopic::Unreachable,
            Trouble::ConnectionLimited => HelpTopic::ConnectionLimit,
            Trouble::Broken => HelpTopic::Broken,
            Trouble::Killed => HelpTopic::Killed,
            Trouble::Full => HelpTopic::RemoteFull,
            Trouble::Storage => HelpTopic::RemoteStorage,
        },
        Verdict::Source => HelpTopic::RootGone,
        Verdict::FormB | Verdict::NoDelete | Verdict::Refused(_) => HelpTopic::RefusedOption,
        Verdict::Configuration => help_for_configuration(exit, stderr),
    }
}

/// The same for a configuration error. Only the starts of lines count, since users choose names.
fn help_for_configuration(exit: Exited, stderr: &[u8]) -> HelpTopic {
    let daemon = |starts: &[&str]| {
        lines(stderr).any(|line| {
            let said = line.strip_prefix(b"@ERROR: ").or(line.strip_prefix(b"ERROR: "));
            said.is_some_and(|said| starts.iter().any(|start| said.starts_with(start.as_bytes())))
        })
    };
    let begins =
        |start: &str| lines(stderr).any(|line| message(line).starts_with(start.as_bytes()));
    let rest: &[(HelpTopic, bool)] = &[
        (HelpTopic::Charset, begins("cannot convert filename: ")),
        (HelpTopic::ReadOnly, daemon(&["module is read only"])),
        (HelpTopic::Password, daemon(&["auth failed on module "])),
        (HelpTopic::UnknownModule, daemon(&["Unknown module "])),
        (HelpTopic::AccessDenied, daemon(&["access denied to "])),
        (HelpTopic::ModulePath, daemon(&["chdir failed", "chroot failed"])),
        (
            HelpTopic::ModuleScript,
            lines(stderr).any(|line| refuses_by_script(line) || line.starts_with(EARLY)),
        ),
        (HelpTopic::RefusedOption, begins("The server is configured to refuse ")),
        (HelpTopic::SshLogin, lines(stderr).any(logs_in_vain)),
        (
            HelpTopic::NoRsync,
            exit == Exited::Code(127) || lines(stderr).any(|l| missing_there(l).unwrap_or(false)),
        ),
        (
            HelpTopic::Password,
            begins("could not open password file ")
                || begins("password file must ")
                || daemon(&["password file must ", "failed to read a password"]),
        ),
        (HelpTopic::ModulePath, exit == Exited::Code(3)),
    ];
    rest.iter().find(|(_, so)| *so).map_or(HelpTopic::RsyncRefuses, |(topic, _)| *topic)
}

/// True when rsync reports that it could not connect: then no receiver can be working. False in doubt.
fn never_connected(exit: Exited, stderr: &[u8]) -> bool {
    match exit {
        Exited::Code(10) => {
            lines(stderr).any(|line| message(line).starts_with(b"failed to connect to "))
        }
        // While it connects, before any data is sent.
        Exited::Code(35) => true,
        Exited::Code(12 | 255) => lines(stderr).any(cannot_connect_by_ssh),
        Exited::Code(_) | Exited::Signal(_) => false,
    }
}

/// True when exit status 3 concerns the destination, not the localpath. rsync also calls itself `[Receiver]` until it
/// knows its role: `rsync: [Receiver] getcwd(): No such file or directory`.
fn is_of_destination(line: &[u8]) -> bool {
    let rest = without_names(line);
    rest.windows(5).any(|window| window == b"\" (in")
        || [&b"change_dir#"[..], b"ERROR: cannot stat destination", b"ERROR: destination"]
            .iter()
            .any(|start| rest.starts_with(start))
}

/// A line without the system's error number at its end, which differs between systems.
fn reason(line: &[u8]) -> &[u8] {
    let Some(inside) = line.strip_suffix(b")") else { return line };
    let digits = inside.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    inside[..inside.len() - digits].strip_suffix(b" (").unwrap_or(line)
}

/// The starts of ssh's messages about a master that is gone or refuses a session. ssh then connects by itself.
const MASTER_MESSAGES: &[&[u8]] =
    &[b"Control socket connect(", b"mux_client_", b"Shared connection to ", b"ControlSocket "];

/// The starts of the complaints of shells.
const SHELLS: &[&[u8]] =
    &[b"bash", b"sh", b"dash", b"ash", b"zsh", b"ksh", b"mksh", b"fish", b"csh", b"tcsh"];

/// True when a line means that the operator must repair the login, or that the remote has no rsync.
fn refused_by_ssh(line: &[u8]) -> bool {
    logs_in_vain(line) || missing_there(line).unwrap_or(false)
}

/// True when a line means that ssh has no connection.
fn cannot_connect_by_ssh(line: &[u8]) -> bool {
    line.starts_with(b"ssh: connect to host ")
        || line.starts_with(b"ssh: Could not resolve hostname ")
}

/// True when a line means that ssh does not log in.
fn logs_in_vain(line: &[u8]) -> bool {
    denied_by_sshd(line) || line == b"Host key verification failed."
}

/// `user@host: Permission denied (publickey,password).`
fn denied_by_sshd(line: &[u8]) -> bool {
    let blank = line.iter().position(|&b| b == b' ').unwrap_or(0);
    let login = &line[..blank];
    let line = match login.ends_with(b":") && login.contains(&b'@') {
        true => &line[blank + 1..],
        false => line,
    };
    let methods =
        line.strip_prefix(b"Permission denied (").and_then(|rest| rest.strip_suffix(b")."));
    methods.is_some_and(|m| m.iter().all(|b| b.is_ascii_alphanumeric() || b",-_@.".contains(b)))
}

/// `bash: line 1: rsync: command not found`, and the variants of other shells; csh's begins with the program. `None`
/// for a line that no shell prints.
fn missing_there(line: &[u8]) -> Option<bool> {
    let colon = line.iter().position(|&b| b == b':')?;
    let (speaker, rest) = line.split_at(colon);
    if rest.eq_ignore_ascii_case(b": command not found.") && !speaker.contains(&b' ') {
        return Some(true);
    }
    let name = speaker.rsplit(|&b| b == b'/').next()?;
    let name = name.strip_prefix(b"-").unwrap_or(name);
    let said = |what: &[u8]| rest.windows(what.len()).any(|window| window == what);
    SHELLS.contains(&name).then(|| said(b"not found") || said(b"No such file"))
}

/// The most informative line: an `@ERROR` of the daemon, else the first line that is neither a summary nor a
/// consequence of a broken connection, else the summary.
fn telling_message(exit: Exited, stderr: &[u8]) -> String {
    let find = |test: &dyn Fn(&[u8]) -> bool| lines(stderr).find(|line| test(line));
    let telling = |line: &&[u8]| !is_summary(line) && !is_echo(line);
    // For ssh, the last line: a banner and warnings may precede it.
    let ssh_failed = matches!(exit, Exited::Code(127 | 255));
    let of_ssh = matches!(exit, Exited::Code(12 | 127 | 255));
    let line = find(&|line| line.starts_with(b"@ERROR"))
        .or_else(|| if of_ssh { find(&refused_by_ssh) } else { None })
        .or_else(|| if ssh_failed { lines(stderr).rfind(telling) } else { None })
        .or_else(|| find(&|line| telling(&line)))
        .or_else(|| find(&is_summary))
        .or_else(|| find(&is_echo));
    match (line, exit) {
        (Some(line), _) => shown(line),
        (None, Exited::Code(0)) => String::new(),
        (None, Exited::Code(code)) => {
            say!("rsync exited with status {} and printed nothing", code)
        }
        (None, signal) => say!("rsync was killed by {}", signal),
    }
}

/// The message of a refusal, with the output of the script that refused.
fn with_script(message: String, script: &[&[u8]]) -> String {
    if message.as_bytes() == EARLY {
        return say!(
            "{}: the script of the module refuses; run `rsync HOST::MODULE` to see what it prints",
            message
        );
    }
    if script.is_empty() {
        return message;
    }
    let said: Vec<String> = script.iter().take(SCRIPT_LINES).map(|line| shown(line)).collect();
    let more = if script.len() > SCRIPT_LINES { " ..." } else { "" };
    format!("{}: {}{more}", message.trim_end_matches(':'), said.join("; "))
}

/// True when a dry run complains only about directories in the way of files, where deletions are not allowed, and about
/// names that the slave's own `exclude` refuses. It saw everything else. Its last line shows that all complaints are
/// known.
pub fn only_in_the_way(stderr: &[u8]) -> bool {
    let harmless =
        |line: &[u8]| line.starts_with(b"could not make way for new ") || line.starts_with(REFUSED);
    let mut complaints = lines(stderr).filter(|line| !is_summary(line)).peekable();
    lines(stderr).last().is_some_and(is_summary)
        && complaints.peek().is_some()
        && complaints.all(harmless)
}

/// True when the slave's own `exclude` refuses names. A dry run prints no line for them.
pub fn refuses_names(stderr: &[u8]) -> bool {
    lines(stderr).any(|line| line.starts_with(REFUSED))
}

#[cfg(test)]
#[path = "exit_status_tests.rs"]
mod tests;
