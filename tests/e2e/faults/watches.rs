//! No more inotify watches for a while, under churn: the instance runs in a user namespace with a limit of its own, which
//! changes while it runs.

use super::scene::Scene;
use super::schedule::{self, Stage};
use super::signals::{Kill, Role};
use super::{Fault, Faults, is_long, span_and_seed};
use crate::common::namespace::with_private_mounts;
use fastrand::Rng;
use std::process::Command;

/// Starts a program in a user namespace of its own.
const LAUNCHER: [&str; 2] = ["unshare", "-Ur"];
const LIMIT: &str = "/proc/sys/user/max_inotify_watches";

/// Sets the limit in the namespace of a process, which may have ended.
fn limit(pid: i32, most: u64) -> bool {
    let namespace = format!("--user=/proc/{pid}/ns/user");
    let text = format!("echo {most} >{LIMIT}");
    let done = Command::new("nsenter").args([&namespace, "sh", "-c", &text]).output();
    done.is_ok_and(|out| out.status.success())
}

struct Watches;

impl Fault for Watches {
    fn name(&self) -> String {
        "no more watches".to_owned()
    }

    fn begin(&mut self, scene: &mut Scene, rng: &mut Rng) -> Option<String> {
        if scene.world.instance.has_ended() {
            return None;
        }
        // There are about 80 directories.
        let most = rng.u64(1..120);
        let pid = scene.world.instance.supervisor().pid;
        limit(pid, most).then(|| format!("at most {most}"))
    }

    fn end(&mut self, scene: &mut Scene) {
        if !scene.world.instance.has_ended() {
            limit(scene.world.instance.supervisor().pid, 1_000_000);
        }
    }
}

#[test]
fn slaves_match_after_watches_ran_out() {
    if !is_long() {
        println!("SKIPPED: what is not watched is scanned once a minute; make test-faults");
        return;
    }
    let tried = Command::new(LAUNCHER[0]).args(&LAUNCHER[1..]).arg("true").output();
    if !tried.is_ok_and(|out| out.status.success()) {
        println!("SKIPPED: no user namespace with a limit of its own");
        return;
    }
    with_private_mounts(|| {
        let (span, seed) = span_and_seed();
        println!("watches: SYNCSUP_FAULT_SEED={seed}, {} s", span.as_secs());
        let mut scene = Scene::start_by(&LAUNCHER, seed, 100);
        let mut faults: Faults = vec![Box::new(Watches)];
        // A supervisor that is started again has a namespace of its own, without a limit.
        let roles = [Role::Watcher, Role::Pusher, Role::Rsync];
        faults.extend(roles.map(|role| Box::new(Kill(role)) as Box<dyn Fault>));
        schedule::run(&mut scene, &mut faults, seed, span, &mut |_| {});
        let degraded = scene.world.instance.log_text().matches("watches are needed").count();
        scene.note(&format!("degraded {degraded} times"));
        assert!(degraded > 0, "the limit was never reached\n{}", scene.report());
        scene.settle();
    });
}
