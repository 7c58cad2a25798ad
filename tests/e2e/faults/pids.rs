//! No more processes for the instance, by the kernel's cgroup of process numbers: the limit of a user does not bind root.

use super::scene::Scene;
use super::signals::{Kill, Role};
use super::{Fault, Faults};
use fastrand::Rng;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the kernel counts processes, in its first and in its second form.
const PLACES: [&str; 2] = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"];

/// A cgroup of its own; its processes go back to `above` when it is dropped.
struct Group {
    at: PathBuf,
    above: PathBuf,
}

impl Group {
    /// The error says why there is none.
    fn new() -> Result<Group, String> {
        let mut why = Vec::new();
        for place in PLACES {
            let at = Path::new(place).join(format!("syncsup-test-{:016x}", fastrand::u64(..)));
            if let Err(e) = fs::create_dir(&at) {
                why.push(format!("{place}: {e}"));
                continue;
            }
            let group = Group { at, above: place.into() };
            if group.at.join("pids.max").exists() {
                return Ok(group);
            }
            why.push(format!("{place}: does not count processes"));
        }
        Err(why.join("; "))
    }

    /// The process, and what it starts, are counted in it.
    fn add(&self, pid: i32) {
        // It may have ended.
        let _ = fs::write(self.at.join("cgroup.procs"), pid.to_string());
    }

    fn count(&self) -> u64 {
        let text = fs::read_to_string(self.at.join("pids.current")).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    fn limit(&self, most: &str) {
        fs::write(self.at.join("pids.max"), most).expect("a limit");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.limit("max");
        // What is started meanwhile is in it, too.
        for _ in 0..1_000 {
            let inside = fs::read_to_string(self.at.join("cgroup.procs")).unwrap_or_default();
            for pid in inside.lines() {
                let _ = fs::write(self.above.join("cgroup.procs"), pid);
            }
            if fs::remove_dir(&self.at).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        eprintln!("a cgroup is left: {}", self.at.display());
    }
}

/// At most a few more than there are now.
struct Processes(Option<Group>);

impl Fault for Processes {
    fn name(&self) -> String {
        "no more processes".to_owned()
    }

    fn begin(&mut self, scene: &mut Scene, rng: &mut Rng) -> Option<String> {
        let group = Group::new().ok()?;
        scene.world.instance.family().iter().for_each(|process| group.add(process.pid));
        let most = group.count() + rng.u64(0..4);
        group.limit(&most.to_string());
        self.0 = Some(group);
        Some(format!("at most {most}"))
    }

    fn end(&mut self, _: &mut Scene) {
        self.0 = None;
    }
}

/// The limit, and deaths of processes that it keeps from being replaced.
pub fn faults() -> Faults {
    if let Err(why) = Group::new() {
        println!("SKIPPED: a limit of processes: {why}");
        return Vec::new();
    }
    let kill = |role| Box::new(Kill(role)) as Box<dyn Fault>;
    let limits = (0..3).map(|_| Box::new(Processes(None)) as Box<dyn Fault>);
    let roles = [Role::Watcher, Role::Pusher, Role::Rsync, Role::PluginRunner, Role::Reporter];
    limits.chain(roles.map(kill)).collect()
}
