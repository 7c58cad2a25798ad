//! The active pushers, which share the CPU. Pure: the time is given.

use super::slots::SlotHolder;
use std::collections::BTreeMap;
use std::time::Duration;

/// A pusher that got no slot for this long is not active.
const WITHIN: Duration = Duration::from_secs(2);

/// The time of each pusher's last slot.
#[derive(Debug, Default)]
pub struct Active(BTreeMap<SlotHolder, Duration>);

impl Active {
    /// This pusher gets a slot now. Returns the number of active pushers, including this one.
    pub fn at_work(&mut self, holder: SlotHolder, now: Duration) -> u32 {
        self.0.insert(holder, now);
        self.0.retain(|_, at| now.saturating_sub(*at) < WITHIN);
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushers_that_got_no_slot_lately_do_not_count() {
        let (mut active, s) = (Active::default(), Duration::from_secs);
        assert_eq!((active.at_work(1, s(1)), active.at_work(1, s(2))), (1, 1));
        assert_eq!((active.at_work(2, s(2)), active.at_work(3, s(3))), (2, 3));
        assert_eq!(active.at_work(2, s(4)), 2);
        assert_eq!(active.at_work(9, s(9)), 1);
    }
}
