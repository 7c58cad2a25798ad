//! What a checkpoint is worth when a watcher starts (rule 18). Pure.

use crate::journal::Checkpoint;

/// What the system says at a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// This boot.
    pub boot_id: String,
    /// Wall clock minus time since boot, in nanoseconds.
    pub clock_offset_ns: i64,
    /// Wall clock, in nanoseconds since 1970.
    pub wall_ns: i64,
    /// The root's device.
    pub root_dev: u64,
    /// The root's inode.
    pub root_ino: u64,
    /// Identity of its file system across boots; empty when it has none.
    pub fs_id: String,
    /// Other machines may change the files.
    pub network: bool,
}

/// How much a scan can find out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// There is no checkpoint: nothing is known of the time before now.
    First,
    /// A scan from this time finds everything.
    Scan(i64),
    /// A scan from this time may miss something, for this reason: reconcile after it.
    ScanAndReconcile(i64, String),
    /// No scan is worth anything, for this reason.
    Reconcile(String),
    /// The root is not the directory that was watched: hold.
    OtherRoot(String),
}

/// A clock that was set back by more than this makes file times useless.
const SET_BACK_NS: i64 = 1_000_000_000;

/// By how much the clock was set back between two looks at wall clock minus time since boot, when it was.
pub fn set_back_ns(before_ns: i64, now_ns: i64) -> Option<i64> {
    Some(before_ns.saturating_sub(now_ns)).filter(|back| *back > SET_BACK_NS)
}

/// Judges the last checkpoint.
pub fn trust(checkpoint: Option<&Checkpoint>, now: &Circumstances) -> Trust {
    if now.network {
        return Trust::Reconcile("other machines may have changed this network file system".into());
    }
    let Some(last) = checkpoint else { return Trust::First };
    let same_boot = last.boot_id == now.boot_id;
    let lasting =
        |id: &str| !id.is_empty() && (same_boot || !id.starts_with(crate::seen::DEVICE_ID));
    let known_fs = lasting(&last.fs_id) && lasting(&now.fs_id);
    let same_root = last.root_ino == now.root_ino
        && (!same_boot || last.root_dev == now.root_dev)
        && (!known_fs || last.fs_id == now.fs_id);
    if !same_root {
        return Trust::OtherRoot("it is not the directory that was watched before".into());
    }
    if now.wall_ns < last.at_ns
        || (same_boot && set_back_ns(last.clock_offset_ns, now.clock_offset_ns).is_some())
    {
        return Trust::Reconcile("the clock was set back since the last checkpoint".into());
    }
    if !same_boot && !last.clean {
        let why = "the machine started again without an orderly stop before";
        return Trust::ScanAndReconcile(last.at_ns, why.into());
    }
    Trust::Scan(last.at_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    fn last() -> Checkpoint {
        Checkpoint {
            at_ns: 100 * S,
            boot_id: "b1".into(),
            clock_offset_ns: 50 * S,
            root_dev: 1,
            root_ino: 2,
            fs_id: "f".into(),
            clean: false,
        }
    }

    fn now() -> Circumstances {
        Circumstances {
            boot_id: "b1".into(),
            clock_offset_ns: 50 * S,
            wall_ns: 200 * S,
            root_dev: 1,
            root_ino: 2,
            fs_id: "f".into(),
            network: false,
        }
    }

    #[test]
    fn a_clock_that_drifts_was_not_set_back() {
        assert_eq!(set_back_ns(50 * S, 49 * S), None);
        assert_eq!(set_back_ns(50 * S, 60 * S), None);
        assert_eq!(set_back_ns(50 * S, 40 * S), Some(10 * S));
    }

    #[test]
    fn within_one_boot() {
        assert_eq!(trust(None, &now()), Trust::First);
        assert_eq!(trust(Some(&last()), &now()), Trust::Scan(100 * S));
        let back = Circumstances { clock_offset_ns: 48 * S, ..now() };
        assert!(matches!(trust(Some(&last()), &back), Trust::Reconcile(_)));
        let before = Circumstances { wall_ns: 99 * S, ..now() };
        assert!(matches!(trust(Some(&last()), &before), Trust::Reconcile(_)));
        for other in [
            Circumstances { root_dev: 9, ..now() },
            Circumstances { root_ino: 9, ..now() },
            // Another tmpfs at the same place has the same device and inode.
            Circumstances { fs_id: "g".into(), ..now() },
        ] {
            assert!(matches!(trust(Some(&last()), &other), Trust::OtherRoot(_)));
        }
        let network = Circumstances { network: true, ..now() };
        assert!(matches!(trust(Some(&last()), &network), Trust::Reconcile(_)));
        assert!(matches!(trust(None, &network), Trust::Reconcile(_)));
    }

    #[test]
    fn across_boots_the_device_number_says_nothing() {
        let now = Circumstances { boot_id: "b2".into(), root_dev: 9, clock_offset_ns: 0, ..now() };
        assert!(matches!(trust(Some(&last()), &now), Trust::ScanAndReconcile(_, _)));
        let clean = Checkpoint { clean: true, ..last() };
        assert_eq!(trust(Some(&clean), &now), Trust::Scan(100 * S));
        let other = Circumstances { fs_id: "g".into(), ..now.clone() };
        assert!(matches!(trust(Some(&clean), &other), Trust::OtherRoot(_)));
        // XFS: made from the device's number, which may be another in every boot.
        let renumbered = Circumstances { fs_id: "device:58465342:2".into(), ..now };
        let clean = Checkpoint { fs_id: "device:58465342:1".into(), ..clean };
        assert_eq!(trust(Some(&clean), &renumbered), Trust::Scan(100 * S));
    }
}
