//! `syncsup stop`: returns when the instance has ended.

use super::invocation::Invocation;
use super::{client, print};
use crate::error::{Error, Exit, Result};
use crate::language::say;
use crate::message::Request;
use crate::sys::session;
use std::time::{Duration, Instant};

/// Pushes in flight have 10 seconds, children 12. Then they are killed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Requests the stop, and waits until the instance has ended.
pub fn run(invocation: &Invocation) -> Result<Exit> {
    let instance = client::the_one(invocation)?;
    let pid = instance.status()?.pid;
    match instance.command(&Request::Stop, PATIENCE) {
        Ok(_) => {}
        // The supervisor closed the connection without an answer. Whether it has ended is checked below.
        Err(e) if e.exit == Exit::NotRunning => {}
        Err(e) => return Err(e),
    }
    let end = Instant::now() + client::PATIENCE;
    while session::runs(pid) {
        if Instant::now() > end {
            let text = say!(
                "the supervisor (pid {}) has stopped its children but does not exit; kill it",
                pid
            );
            return Err(Error::new(Exit::System, text));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    print(&say!("stopped\n"));
    Ok(Exit::Ok)
}
