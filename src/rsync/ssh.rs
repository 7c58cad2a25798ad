//! One connection to each slave that is reached over ssh, kept open by OpenSSH's ControlMaster: its socket and its
//! arguments. Pure.
//!
//! The master is a process of its own, started once for all pushers of an instance with the same login and options.
//! Each push then runs an ssh that only asks it for a session. Pushes do not depend on the master: without one, or when
//! it refuses a session (`MaxSessions` of sshd), ssh connects by itself as usual.

use super::params;
use super::peer::{Peer, Target};
use crate::language::say;
use crate::path::fnv1a;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Seconds that a connection attempt to an address may remain unanswered.
pub const CONNECT_TIMEOUT_S: u32 = 10;
/// The standard port of ssh.
pub const PORT: u16 = 22;
/// The first bytes that an ssh server sends.
pub const GREETING: &[u8] = b"SSH-";
/// A master that no process holds exits after this many seconds. After the death of all other processes it is soon
/// gone, and a pusher that restarts within this time finds it.
pub const PERSIST_S: u32 = 60;
/// A peer that does not answer within three times this many seconds is gone; ssh then exits with a message.
pub const ALIVE_EVERY_S: u32 = 10;
/// The longest name of a Unix socket, in bytes.
const SOCKET_MAX: usize = 107;
/// ssh first creates the socket under a longer name: `.` and 16 letters.
const SOCKET_SUFFIX: usize = 17;
/// The options of ssh that take a value, in the rest of their argument or in the next one.
const WITH_VALUE: &[u8] = b"BDEFIJLOPQRSWbceilmopw";

/// The socket of the master of `remote`, in `run_dir`, for the instance `instance`. `None`: the user wants no master,
/// or sets himself how ssh connects.
///
/// # Errors
/// Why no socket is possible, and what to do.
pub fn socket(peer: &Peer, run_dir: &Path, instance: &str) -> Result<Option<PathBuf>, String> {
    let Target::Ssh { port, options, control_master: true, .. } = &peer.target else {
        return Ok(None);
    };
    if params::remote_shell(&peer.params).is_some() || has_own_control(options) {
        return Ok(None);
    }
    // Everything that makes it a different connection changes the name: login, keys, jumps.
    let key = (instance, &peer.host, &peer.user, port, options);
    let socket = run_dir.join(format!("ssh-{:016x}", fnv1a(format!("{key:?}").as_bytes())));
    let bytes = socket.as_os_str().as_bytes();
    let shown = run_dir.display();
    if bytes.len() + SOCKET_SUFFIX > SOCKET_MAX {
        let most = SOCKET_MAX - SOCKET_SUFFIX - (bytes.len() - run_dir.as_os_str().len());
        return Err(say!(
            "the run directory {} is too long for a socket of ssh; choose one of at most {} bytes with --run-dir",
            shown,
            most
        ));
    }
    if bytes.windows(2).any(|two| two == b"${") {
        return Err(say!(
            "ssh would expand `${` in the run directory {}; choose another with --run-dir",
            shown
        ));
    }
    Ok(Some(socket))
}

/// The remote with the settings for pushes through the master at `socket`.
pub fn through(peer: &Peer, socket: &Path) -> Peer {
    let mut peer = peer.clone();
    if let Target::Ssh { options, .. } = &mut peer.target {
        let name = socket_word(socket).to_string_lossy().into_owned();
        // Settings of ~/.ssh/config for masters do not apply to this connection.
        options.extend(["-oControlMaster=no".into(), "-S".into(), name]);
    }
    peer
}

/// The command that connects, logs in and stays in the background as the master. Its first process exits with 0 when
/// the socket exists.
pub fn start_argv(peer: &Peer, socket: &Path) -> Vec<OsString> {
    let Target::Ssh { port, options, .. } = &peer.target else { return Vec::new() };
    let mut words = ["ssh", "-M", "-N", "-f", "-S"].map(OsString::from).to_vec();
    words.push(socket_word(socket));
    words.push(format!("-oControlPersist={PERSIST_S}").into());
    // The forwardings of ~/.ssh/config belong to the user's own sessions.
    words.push("-oClearAllForwardings=yes".into());
    words.extend(connection_words(*port, options).into_iter().map(OsString::from));
    if let Some(user) = &peer.user {
        words.extend(["-l".into(), user.into()]);
    }
    let host = peer.host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    words.extend(["--".into(), host.unwrap_or(&peer.host).into()]);
    words
}

/// The command that stops the master and every session that runs through it.
pub fn exit_argv(socket: &Path) -> Vec<OsString> {
    let mut words = ["ssh", "-F", "none", "-O", "exit", "-S"].map(OsString::from).to_vec();
    words.extend([socket_word(socket), "--".into(), "any".into()]);
    words
}

/// The options that every ssh gets. ssh uses the first value that it finds, so the user's own options come before ours.
/// Only BatchMode comes first, because no user can answer a question.
pub fn connection_words(port: Option<u16>, options: &[String]) -> Vec<String> {
    let mut words = vec!["-oBatchMode=yes".to_owned()];
    if let Some(port) = port {
        words.extend(["-p".to_owned(), port.to_string()]);
    }
    words.extend(options.iter().cloned());
    words.push(format!("-oConnectTimeout={CONNECT_TIMEOUT_S}"));
    words.push(format!("-oServerAliveInterval={ALIVE_EVERY_S}"));
    words
}

/// Escapes `%`, which ssh expands.
fn socket_word(socket: &Path) -> OsString {
    let bytes = socket.as_os_str().as_bytes();
    OsString::from_vec(bytes.split(|&b| b == b'%').collect::<Vec<_>>().join(&b"%%"[..]))
}

/// True when the options themselves set how connections are shared.
fn has_own_control(options: &[String]) -> bool {
    let mut words = options.iter();
    while let Some(word) = words.next() {
        let Some(letters) = word.strip_prefix('-').map(str::as_bytes) else { continue };
        for (at, letter) in letters.iter().enumerate() {
            if matches!(letter, b'M' | b'O' | b'S') {
                return true;
            }
            if !WITH_VALUE.contains(letter) {
                continue;
            }
            let rest = OsStr::from_bytes(&letters[at + 1..]).to_string_lossy().into_owned();
            let value = if rest.is_empty() { words.next().cloned() } else { Some(rest) };
            let value = value.unwrap_or_default().trim_start().to_ascii_lowercase();
            if *letter == b'o' && value.starts_with("control") {
                return true;
            }
            break;
        }
    }
    false
}

#[cfg(test)]
#[path = "ssh_tests.rs"]
mod tests;
