//! What a pusher gives up before it works.

use crate::message::PusherStart;
use crate::rsync::params;
use crate::sys::confine::{self, Also, Does};
use crate::sys::executable::binary;
use slog::{Logger, debug};
use std::io;

/// Gives up what neither the pusher nor its rsync needs. A program of the user's own, which may use sudo, runs as it
/// always did.
pub fn give_up(start: &PusherStart, log: &Logger) -> io::Result<()> {
    let peer = &start.remote.peer;
    let shell = params::remote_shell(&peer.params).is_some();
    let connect = std::env::var_os("RSYNC_CONNECT_PROG").is_some();
    if shell || connect || binary(peer.rsync_program.as_os_str()).is_none() {
        debug!(
            log,
            "this process and what it starts keep their privileges, for a program of the user's own"
        );
        return Ok(());
    }
    confine::give_up(Does::Pushes, also(start), log)
}

/// What rsync needs for some parameters of the user.
fn also(start: &PusherStart) -> Also {
    Also { trusted_attributes: params::has(&start.remote.peer.params, "xattrs") }
}
