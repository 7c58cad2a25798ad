//! Checkpoint validity: what a checkpoint is worth when a watcher starts (rules 18, 25, 27). Pure.

use crate::journal::{Canary, Checkpoint};
use crate::path::RelPath;
use crate::root_id::RootId;
use std::ops::ControlFlow::{Break, Continue};

/// The state of the system at a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// The current boot.
    pub boot_id: String,
    /// Wall clock minus time since boot, in nanoseconds.
    pub clock_offset_ns: i64,
    /// The earliest time that this boot has left on a file, in nanoseconds since 1970, if such a file exists.
    pub boot_stamp_ns: Option<i64>,
    /// Wall clock, in nanoseconds since 1970.
    pub wall_ns: i64,
    /// The root.
    pub root: RootId,
    /// Other machines may change the files.
    pub network: bool,
    /// Set if a file system, a journal or a state directory was restored to an older state: the part that is older than
    /// the checkpoint.
    pub put_back: Option<String>,
}

/// How much a scan from the checkpoint can find out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Validity {
    /// There is no checkpoint. Nothing is known about the time before now.
    First,
    /// A scan from this time finds everything.
    Scan(i64),
    /// A scan from this time may miss something, for this reason: reconcile after it.
    ScanAndReconcile(i64, String),
    /// A scan is worthless, for this reason.
    Reconcile(String),
    /// The root is not the directory that was watched: hold.
    OtherRoot(String),
}

/// File times may be this imprecise, and an event may arrive this long after the change that it reports.
pub const SLACK_NS: i64 = 2_000_000_000;
const SECOND_NS: i64 = 1_000_000_000;
/// If the clock was set back by more than this, file times are useless.
const SET_BACK_NS: i64 = SECOND_NS;
/// Slewing changes a clock by at most one part in this number (adjtimex(2)).
const SLEWED: i64 = 2_000;
/// The longest tick of the clock that sets file times.
const TICK_NS: i64 = SECOND_NS / 50;

/// By how much the clock was set back between two readings of wall clock minus time since boot. `None` if it was not.
pub fn set_back_ns(before_ns: i64, now_ns: i64) -> Option<i64> {
    Some(before_ns.saturating_sub(now_ns)).filter(|back| *back > SET_BACK_NS)
}

/// Why the clock cannot show what changed since the last checkpoint. `None` if it can.
fn clock(last: &Checkpoint, now: &Circumstances) -> Option<&'static str> {
    if now.wall_ns < last.at_ns {
        return Some("the clock was set back since the last checkpoint");
    }
    let slewed = (now.wall_ns - last.at_ns) / SLEWED;
    let set_by_ns = now.clock_offset_ns.saturating_sub(last.clock_offset_ns);
    let set = set_by_ns.saturating_abs() > SET_BACK_NS + slewed;
    if last.boot_id == now.boot_id {
        return match (set, set_by_ns < 0) {
            (false, _) => None,
            (true, true) => Some("the clock was set back since the last checkpoint"),
            // The clock may have been behind for a while. Changes in that time have an older timestamp.
            (true, false) => Some("the clock was set since the last checkpoint"),
        };
    }
    // A sandbox has a boot ID of its own, although it uses the same clock.
    let first_ns = now.boot_stamp_ns.map_or(now.clock_offset_ns, |at| at.min(now.clock_offset_ns));
    let behind = set && first_ns < last.at_ns.saturating_sub(SLACK_NS);
    behind.then_some("the clock was behind when the machine started, or still is")
}

/// The result of examining a canary, or a directory above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// It exists, and was last changed at this time, in nanoseconds since 1970.
    There(i64),
    /// Nothing exists at this path.
    Gone,
    /// It cannot be examined.
    Unknown,
}

/// The first canary that shows a file system older than the checkpoint of `at_ns`. A change after the checkpoint makes
/// a canary younger. Its removal makes the directory above it younger.
pub fn older(canaries: &[Canary], at_ns: i64, look: impl Fn(&RelPath) -> Sight) -> Option<&Canary> {
    let is_older = |canary: &&Canary| match look(&canary.path) {
        Sight::There(ctime_ns) => ctime_ns < canary.ctime_ns,
        Sight::Unknown => false,
        Sight::Gone => {
            let above = std::iter::successors(canary.path.parent(), RelPath::parent);
            let removed = above.map(|dir| look(&dir)).try_for_each(|sight| match sight {
                Sight::Gone => Continue(()),
                Sight::There(ctime_ns) => Break(Some(ctime_ns)),
                Sight::Unknown => Break(None),
            });
            let Break(Some(removed_ns)) = removed else { return false };
            // Some file systems truncate times to whole seconds, or to multiples of two seconds.
            let unit_ns = if removed_ns % SECOND_NS == 0 { 2 * SECOND_NS } else { TICK_NS };
            removed_ns < at_ns.saturating_sub(unit_ns)
        }
    };
    canaries.iter().find(is_older)
}

/// How much the last checkpoint is worth now.
pub fn validity(checkpoint: Option<&Checkpoint>, now: &Circumstances) -> Validity {
    if now.network {
        return Validity::Reconcile(
            "other machines may have changed this network file system".into(),
        );
    }
    let Some(last) = checkpoint else { return Validity::First };
    let same_boot = last.boot_id == now.boot_id;
    if !last.root.same_as(&now.root, same_boot) {
        return Validity::OtherRoot("it is not the directory that was watched before".into());
    }
    if let Some(why) = &now.put_back {
        return Validity::Reconcile(why.clone());
    }
    if let Some(why) = clock(last, now) {
        return Validity::Reconcile(why.into());
    }
    if !same_boot && !last.clean {
        let why = "the machine rebooted without an orderly stop";
        return Validity::ScanAndReconcile(last.at_ns, why.into());
    }
    Validity::Scan(last.at_ns)
}

/// What was changed longer than this before a checkpoint was on disk by then: the kernel writes data out within half a
/// minute.
const UNWRITTEN_NS: i64 = 60 * SECOND_NS;

/// After a reboot without an orderly stop: a file that changed since this time may have its new size and times, which
/// reach the disk first, without its new content.
pub fn unproven_since_ns(checkpoint: Option<&Checkpoint>, now: &Circumstances) -> Option<i64> {
    let cut = checkpoint.filter(|last| !last.clean && last.boot_id != now.boot_id);
    cut.map(|last| last.at_ns.saturating_sub(UNWRITTEN_NS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reboot_without_an_orderly_stop_leaves_files_unproven() {
        let clean = Checkpoint { clean: true, ..last() };
        assert_eq!(unproven_since_ns(Some(&last()), &booted()), Some(AT - 60 * S));
        assert_eq!(unproven_since_ns(Some(&last()), &now()), None);
        assert_eq!(unproven_since_ns(Some(&clean), &booted()), None);
        assert_eq!(unproven_since_ns(None, &booted()), None);
    }

    const S: i64 = SECOND_NS;
    /// The last checkpoint was made 50 s after its boot. It is examined 100 s later.
    const AT: i64 = 1_000 * S;

    fn root(dev: u64, ino: u64, fs_id: &str) -> RootId {
        RootId { dev, ino, fs_id: fs_id.into() }
    }

    fn last() -> Checkpoint {
        Checkpoint {
            at_ns: AT,
            boot_id: "b1".into(),
            clock_offset_ns: AT - 50 * S,
            root: root(1, 2, "f"),
            clean: false,
            run: None,
            canaries: vec![],
        }
    }

    fn now() -> Circumstances {
        Circumstances {
            boot_id: "b1".into(),
            clock_offset_ns: AT - 50 * S,
            boot_stamp_ns: Some(AT - 50 * S),
            wall_ns: AT + 100 * S,
            root: root(1, 2, "f"),
            network: false,
            put_back: None,
        }
    }

    /// Another boot, which began 20 s ago.
    fn booted() -> Circumstances {
        let boot = AT + 80 * S;
        Circumstances {
            boot_id: "b2".into(),
            clock_offset_ns: boot,
            boot_stamp_ns: Some(boot),
            root: root(9, 2, "f"),
            ..now()
        }
    }

    fn kind(validity: &Validity) -> &'static str {
        match validity {
            Validity::First => "first",
            Validity::Scan(AT) => "scan",
            Validity::ScanAndReconcile(AT, _) => "both",
            Validity::Scan(_) | Validity::ScanAndReconcile(..) => "from another time",
            Validity::Reconcile(_) => "reconcile",
            Validity::OtherRoot(_) => "other",
        }
    }

    #[test]
    fn clock_drift_is_not_a_clock_set_back() {
        assert_eq!(set_back_ns(50 * S, 49 * S), None);
        assert_eq!(set_back_ns(50 * S, 60 * S), None);
        assert_eq!(set_back_ns(50 * S, 40 * S), Some(10 * S));
    }

    #[test]
    fn a_checkpoint_of_this_boot_is_judged_by_its_clock() {
        assert_eq!(validity(None, &now()), Validity::First);
        let offset = |by: i64| now().clock_offset_ns + by;
        for (name, here, want) in [
            ("as it was", now(), "scan"),
            ("set back", Circumstances { clock_offset_ns: offset(-2 * S), ..now() }, "reconcile"),
            (
                "set on, perhaps back before",
                Circumstances { clock_offset_ns: offset(90 * S), ..now() },
                "reconcile",
            ),
            (
                "set on by two seconds",
                Circumstances { clock_offset_ns: offset(2 * S), ..now() },
                "reconcile",
            ),
            ("slewed", Circumstances { clock_offset_ns: offset(S + S / 50), ..now() }, "scan"),
            (
                "slewed back",
                Circumstances { clock_offset_ns: offset(-S - S / 50), ..now() },
                "scan",
            ),
            (
                "slewed for a month",
                Circumstances {
                    clock_offset_ns: offset(1_000 * S),
                    wall_ns: AT + 2_600_000 * S,
                    ..now()
                },
                "scan",
            ),
            ("now before then", Circumstances { wall_ns: AT - S, ..now() }, "reconcile"),
            ("put back", Circumstances { put_back: Some("old".into()), ..now() }, "reconcile"),
            ("another device", Circumstances { root: root(9, 2, "f"), ..now() }, "other"),
            ("another inode", Circumstances { root: root(1, 9, "f"), ..now() }, "other"),
            // Another tmpfs at the same path has the same device and inode.
            ("another file system", Circumstances { root: root(1, 2, "g"), ..now() }, "other"),
            (
                "another file system, put back",
                Circumstances { root: root(1, 2, "g"), put_back: Some("old".into()), ..now() },
                "other",
            ),
            ("a network", Circumstances { network: true, ..now() }, "reconcile"),
            // A VM's memory was restored long ago. The stamp from then proves nothing within one boot.
            ("an old stamp", Circumstances { boot_stamp_ns: Some(0), ..now() }, "scan"),
        ] {
            for clean in [false, true] {
                let last = Checkpoint { clean, ..last() };
                assert_eq!(kind(&validity(Some(&last), &here)), want, "{name}, clean {clean}");
            }
        }
        let network = Circumstances { network: true, ..now() };
        assert_eq!(kind(&validity(None, &network)), "reconcile");
    }

    #[test]
    fn a_checkpoint_of_another_boot_needs_a_clean_stop() {
        for (name, here, clean, want) in [
            ("a power cut", booted(), false, "both"),
            ("in order", booted(), true, "scan"),
            (
                "in order, nothing stamped",
                Circumstances { boot_stamp_ns: None, ..booted() },
                true,
                "scan",
            ),
            (
                "the clock is years behind",
                Circumstances {
                    wall_ns: 20 * S,
                    clock_offset_ns: 0,
                    boot_stamp_ns: Some(0),
                    ..booted()
                },
                true,
                "reconcile",
            ),
            (
                "it was behind for the first seconds, and has passed the checkpoint by itself",
                Circumstances {
                    wall_ns: AT + 5 * S,
                    clock_offset_ns: AT - 15 * S,
                    boot_stamp_ns: Some(AT - 15 * S),
                    ..booted()
                },
                true,
                "reconcile",
            ),
            (
                "it was behind, and was set right before the start",
                Circumstances { boot_stamp_ns: Some(S), ..booted() },
                true,
                "reconcile",
            ),
            (
                "the last boot's clock was ahead",
                Circumstances { wall_ns: AT - 5 * S, clock_offset_ns: AT - 25 * S, ..booted() },
                true,
                "reconcile",
            ),
            (
                "started within the slack of a scan",
                Circumstances { clock_offset_ns: AT - S, boot_stamp_ns: Some(AT - S), ..booted() },
                true,
                "scan",
            ),
            (
                "the same clock by another name",
                Circumstances { boot_id: "b2".into(), boot_stamp_ns: Some(0), ..now() },
                true,
                "scan",
            ),
            (
                "put back",
                Circumstances { put_back: Some("old".into()), ..booted() },
                true,
                "reconcile",
            ),
            (
                "put back, a power cut",
                Circumstances { put_back: Some("old".into()), ..booted() },
                false,
                "reconcile",
            ),
            (
                "another file system",
                Circumstances { root: root(9, 2, "g"), ..booted() },
                true,
                "other",
            ),
            ("another inode", Circumstances { root: root(9, 9, "f"), ..booted() }, true, "other"),
        ] {
            let last = Checkpoint { clean, ..last() };
            assert_eq!(kind(&validity(Some(&last), &here)), want, "{name}");
        }
        // XFS derives it from the device number, which may differ in every boot.
        let renumbered = Circumstances { root: root(9, 2, "device:58465342:2"), ..booted() };
        let clean = Checkpoint { root: root(1, 2, "device:58465342:1"), clean: true, ..last() };
        assert_eq!(kind(&validity(Some(&clean), &renumbered)), "scan");
    }

    #[test]
    fn an_older_canary_means_a_restored_file_system() {
        let path = |text: &str| RelPath::new(text).unwrap();
        let canary = |text: &str| Canary { path: path(text), ctime_ns: AT - 10 * S };
        let at = |name: &str, sights: &[(&str, Sight)]| {
            let look = |asked: &RelPath| {
                let known = sights.iter().find(|(text, _)| path(text) == *asked);
                known.map_or(Sight::Gone, |(_, sight)| *sight)
            };
            (older(&[canary(name)], AT, look).is_some(), name.to_owned())
        };
        use Sight::{Gone, There, Unknown};
        let (old, same, young) = (AT - 20 * S + 1, AT - 10 * S, AT + S + 1);
        for (name, sights, want) in [
            ("d/f", &[("d/f", There(same))][..], false),
            ("d/f", &[("d/f", There(young))], false),
            ("d/f", &[("d/f", There(old))], true),
            ("d/f", &[("d/f", Unknown)], false),
            // A process removed it, with its directory or without.
            ("d/f", &[("d", There(young))], false),
            ("d/f", &[("d", Gone), ("", There(young))], false),
            // It did not exist yet.
            ("d/f", &[("d", There(old))], true),
            ("d/f", &[("d", Gone), ("", There(old))], true),
            ("d/f", &[("d", Unknown), ("", There(old))], false),
            // It was removed in the second of the checkpoint, where times are whole seconds.
            ("d/f", &[("d", There(AT - S))], false),
            ("d/f", &[("d", There(AT - 3 * S))], true),
            ("f", &[("", There(old))], true),
            ("", &[("", There(old))], true),
            ("", &[("", There(young))], false),
        ] {
            assert_eq!(at(name, sights), (want, name.to_owned()), "{sights:?}");
        }
        assert_eq!(older(&[], AT, |_| Gone), None);
    }
}
