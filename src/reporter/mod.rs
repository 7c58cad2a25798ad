//! The reporter: a status page, metrics and health over HTTP. It only reads, and nothing depends on it: an attacker
//! meets the limits of a separate process.
//!
//! The pure part: [`answer`] decides what a request gets, [`page`] and [`metrics`] write it, and [`access`] decides which
//! requests are answered. [`history`] keeps the lag and the throughput of the last hour and [`events`] what happened;
//! [`crate::message::Summary`] counts, and [`concerns`] finds what is wrong and what to do.
//!
//! The shell: `run` is the process, which reads what the supervisor sends. `serve` is its HTTP thread.

pub(crate) mod access;
pub(crate) mod answer;
mod concerns;
mod crowd;
pub(crate) mod events;
pub(crate) mod history;
pub(crate) mod metrics;
pub(crate) mod page;

mod run;
mod serve;

#[cfg(test)]
pub(crate) mod samples;

pub use run::run;

use crate::message::InstanceStatus;
use events::Events;
use history::History;
use std::sync::Arc;
use std::time::Duration;

/// What can be shown.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The last status from the supervisor, and its time on a monotonic clock.
    pub status: Option<(Arc<InstanceStatus>, Duration)>,
    /// The lag of each remote, and what is sent.
    pub history: Arc<History>,
    /// What happened.
    pub events: Arc<Events>,
    /// `fs.inotify.max_user_watches`.
    pub watches_allowed: Option<u64>,
    /// `/healthz` fails for a lag above this, in milliseconds.
    pub max_lag_ms: u64,
    /// Which requests are answered.
    pub access: access::Access,
}

/// A supervisor that has sent nothing for this time hangs.
const STALE: Duration = Duration::from_secs(5);

impl View {
    /// The last status from the supervisor, unless it is old.
    pub fn fresh(&self, now: Duration) -> Option<&InstanceStatus> {
        let (status, at) = self.status.as_ref()?;
        (now.saturating_sub(*at) < STALE).then_some(status)
    }
}
