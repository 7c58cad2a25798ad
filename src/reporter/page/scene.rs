//! What every part of the page is written from. Pure.

use super::spark::Scale;
use crate::figures;
use crate::message::InstanceStatus;
use crate::reporter::View;
use chrono::{DateTime, FixedOffset};

/// Gives the local time of milliseconds since 1970.
pub type Zone = fn(i64) -> Option<DateTime<FixedOffset>>;

/// The status that is shown, and how.
pub struct Scene<'a> {
    /// Everything that can be shown.
    pub view: &'a View,
    /// The last status.
    pub status: &'a InstanceStatus,
    /// The scale of every line of lag.
    pub scale: Scale,
    /// The local time.
    pub zone: Zone,
}

impl<'a> Scene<'a> {
    /// A scene of this status.
    pub fn new(view: &'a View, status: &'a InstanceStatus, zone: Zone) -> Self {
        let scale = Scale::for_lag(view.history.largest_lag_ms());
        Self { view, status, scale, zone }
    }

    /// The local time in full: `2026-11-22 09:02:03 +08:00`.
    pub fn time(&self, ms: i64) -> String {
        match (self.zone)(ms) {
            Some(time) => figures::time(ms, time.offset()),
            None => ms.to_string(),
        }
    }

    /// The local time of day; the date too if it is not that of the status.
    pub fn clock(&self, ms: i64) -> String {
        let (Some(time), Some(now)) = ((self.zone)(ms), (self.zone)(self.status.now_ms)) else {
            return ms.to_string();
        };
        let same = time.date_naive() == now.date_naive();
        time.format(if same { "%H:%M:%S" } else { "%m-%d %H:%M" }).to_string()
    }

    /// The time since `ms`.
    pub fn age(&self, ms: i64) -> String {
        span(self.status.now_ms.saturating_sub(ms))
    }

    /// The time until `ms`.
    pub fn left(&self, ms: i64) -> String {
        span(ms.saturating_sub(self.status.now_ms))
    }

    /// When something is tried again.
    pub fn again(&self, ms: i64) -> String {
        match ms > self.status.now_ms {
            true => format!("next try in {}", self.left(ms)),
            false => "retrying now".to_owned(),
        }
    }
}

/// A duration in whole units: one that is shown again and again must not flicker.
fn span(ms: i64) -> String {
    let ms = ms.max(0) as u64;
    if ms < 60_000 { format!("{} s", ms / 1_000) } else { figures::span(ms) }
}
