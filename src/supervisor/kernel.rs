//! The kernel's limits for inotify: raised at the start as sersync did, only by root, only upwards. Pure.
//!
//! An inotify queue keeps the length of its creation, so this comes before the first queue is created.
use crate::language::say;

/// The number of directories that may be watched; sersync's number.
pub const MAX_USER_WATCHES: u64 = 50_000_000;
/// The number of events that may wait for one watcher; sersync's number.
pub const MAX_QUEUED_EVENTS: u64 = 327_679;
/// Inotify descriptors for other programs of the same user; the kernel's default.
const OTHER_INSTANCES: u64 = 128;

/// One limit and its minimum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Its name in sysctl(8).
    pub name: &'static str,
    /// The minimum.
    pub wanted: u64,
}

/// The limits that an instance with this number of localpaths needs. Each localpath needs one descriptor.
pub fn limits(localpaths: usize) -> [Limit; 3] {
    [
        Limit { name: "fs.inotify.max_user_watches", wanted: MAX_USER_WATCHES },
        Limit { name: "fs.inotify.max_queued_events", wanted: MAX_QUEUED_EVENTS },
        Limit {
            name: "fs.inotify.max_user_instances",
            wanted: localpaths as u64 + OTHER_INSTANCES,
        },
    ]
}

/// The limit to raise, by name, if no more inotify descriptors can be created. In a user namespace, such as a
/// container's, its own limit may apply. This is not the limit of watches.
pub fn instances_advice<E>(read: impl Fn(&str) -> Result<u64, E>) -> String {
    let names = ["fs.inotify.max_user_instances", "user.max_inotify_instances"];
    let known = names.into_iter().filter_map(|name| Some((read(name).ok()?, name)));
    match known.min_by_key(|(limit, _)| *limit) {
        Some((limit, name)) => say!(
            "{} is {}; raise it with sysctl -w {}={}, or raise ulimit -n if that is the limit reached",
            name,
            limit,
            name,
            limit + OTHER_INSTANCES
        ),
        None => say!("raise fs.inotify.max_user_instances"),
    }
}

/// The result: the raised limits with the old and new values, and why others were not raised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Raised {
    /// On one line; `None` if every limit was high enough.
    pub done: Option<String>,
    /// On one line; `None` if nothing was refused.
    pub refused: Option<String>,
}

/// Raises the limits that are too low. `read` and `write` access the kernel; their error is its message.
pub fn raise<E: std::fmt::Display>(
    limits: &[Limit],
    read: impl Fn(&str) -> Result<u64, E>,
    write: impl Fn(&str, u64) -> Result<(), E>,
) -> Raised {
    let (mut done, mut refused) = (Vec::new(), Vec::new());
    for &Limit { name, wanted } in limits {
        match read(name) {
            Ok(now) if now >= wanted => {}
            Ok(now) => match write(name, wanted) {
                Ok(()) => done.push(format!("{name} {now} -> {wanted}")),
                Err(why) => {
                    refused.push(format!("{name} remains {now} instead of {wanted} ({why})"))
                }
            },
            Err(why) => refused.push(format!("{name} is unknown ({why})")),
        }
    }
    let line = |list: Vec<String>| (!list.is_empty()).then(|| list.join(", "));
    Raised { done: line(done), refused: line(refused) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_limit_of_instances_is_named() {
        let advice = |fs: u64, user: Option<u64>| {
            instances_advice(|name| match (name.starts_with("fs."), user) {
                (true, _) => Ok(fs),
                (false, Some(user)) => Ok(user),
                (false, None) => Err("no such file"),
            })
        };
        assert!(advice(128, Some(9_000)).starts_with("fs.inotify.max_user_instances is 128; "));
        assert!(advice(128, Some(7)).contains("sysctl -w user.max_inotify_instances=135"));
        assert!(advice(128, None).contains("sysctl -w fs.inotify.max_user_instances=256"));
        assert!(!advice(1, None).contains("watches"));
    }
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    fn try_with(before: [u64; 3], writable: bool) -> (Raised, Vec<u64>) {
        let limits = limits(3);
        let names = limits.map(|l| l.name);
        let kernel = RefCell::new(BTreeMap::from_iter(names.into_iter().zip(before)));
        let raised = raise(
            &limits,
            |name| Ok(kernel.borrow()[name]),
            |name, value| match writable {
                true => {
                    kernel
                        .borrow_mut()
                        .insert(names.into_iter().find(|n| *n == name).unwrap(), value);
                    Ok(())
                }
                false => Err("Read-only file system"),
            },
        );
        (raised, names.iter().map(|n| kernel.borrow()[n]).collect())
    }

    #[test]
    fn only_limits_that_are_too_low_are_raised() {
        let (raised, after) = try_with([8_192, 16_384, 128], true);
        assert_eq!(after, [50_000_000, 327_679, 131]);
        let line = raised.done.unwrap();
        assert!(line.starts_with("fs.inotify.max_user_watches 8192 -> 50000000, "), "{line}");
        assert_eq!(raised.refused, None);
        let more = [60_000_000, 1_000_000, 8_192];
        assert_eq!(try_with(more, true), (Raised::default(), more.to_vec()));
    }

    #[test]
    fn a_refusal_and_its_end_are_reported() {
        let (raised, after) = try_with([8_192, 327_679, 131], false);
        assert_eq!(after, [8_192, 327_679, 131]);
        assert_eq!(raised.done, None);
        let why =
            "fs.inotify.max_user_watches remains 8192 instead of 50000000 (Read-only file system)";
        assert_eq!(raised.refused.as_deref(), Some(why));
    }
}
