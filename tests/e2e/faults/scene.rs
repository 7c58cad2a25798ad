//! Three slaves under churn: one is a host in a network namespace, one is behind a proxy, one has a small file system of its own. What must hold for them in the end.

use super::network::Host;
use super::schedule::Stage;
use crate::common::churn::{Churn, Plan, Work};
use crate::common::namespace::Mounted;
use crate::common::rsyncd::{Options, free_port};
use crate::common::tree;
use crate::common::wait::{DEADLINE, poll};
use crate::common::world::{Setup, World, populate};
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;

/// The slave in a namespace, or behind a proxy where there are none.
pub const HOST: usize = 0;
/// The slave behind a proxy.
pub const PROXIED: usize = 1;
/// The slave whose module is a file system of its own.
pub const PLAIN: usize = 2;

/// How long everything may take to be right again: a remote backs off for a minute, and a child for half of one.
pub const RECOVERY: Duration = Duration::from_secs(4 * DEADLINE.as_secs());

/// Directories that nothing changes: on the slaves their files must stay the very same.
const KEPT: [&str; 2] = ["kept", "mnt"];

/// The file systems that can be full or read-only.
pub struct Disks {
    pub slave: Mounted,
    pub state: Mounted,
    pub run: Mounted,
}

/// The world, its instance started again as by an init system, and the churn.
pub struct Scene {
    pub world: World,
    pub host: Option<Host>,
    pub disks: Disks,
    /// What the localpath has at `mnt`; it is `None` while that is unmounted.
    pub inside: Option<Mounted>,
    /// Another file system is mounted over the localpath.
    pub covered: bool,
    /// The program, where an upgrade replaces it.
    pub program: PathBuf,
    /// The rsync that the configuration names.
    pub rsync: PathBuf,
    /// Where the processes find what they are to do at a named step.
    pub orders: PathBuf,
    churn: Option<Churn>,
    plan: Plan,
    /// The operations of the churns that have ended.
    changes: u64,
    kept: Vec<(PathBuf, Identity)>,
    notes: Vec<String>,
    /// Directories of `KEPT` that are missing on a slave.
    gone: HashSet<PathBuf>,
    looked: Instant,
    began: Instant,
    started: Instant,
    // The last to go.
    _dir: TempDir,
    _reservation: UnixListener,
}

/// What a file that was deleted and came again would not have.
pub type Identity = (u64, Option<SystemTime>);

fn identity(path: &Path) -> Option<Identity> {
    fs::symlink_metadata(path).ok().map(|m| (m.ino(), m.created().ok()))
}

/// What the slaves have of `tops`, now that they are identical.
pub fn kept(master: &Path, slaves: &[PathBuf], tops: &[&str]) -> Vec<(PathBuf, Identity)> {
    let mut kept = Vec::new();
    for slave in slaves {
        for top in tops {
            for name in tree::Tree::read(&master.join(top)).names() {
                let path = slave.join(top).join(name);
                kept.push((path.clone(), identity(&path).expect("identical just now")));
            }
        }
    }
    kept
}

/// Those of them that are not the very same any more, one a line.
pub fn lost(kept: &[(PathBuf, Identity)]) -> String {
    let lost = kept.iter().filter(|(path, before)| identity(path).as_ref() != Some(before));
    let line = |(path, before): &(PathBuf, Identity)| {
        format!("{} {before:?} {:?}\n", path.display(), identity(path))
    };
    lost.map(line).collect()
}

/// After `wait` has said that everything is there, or has not: whether that is true, or what differs.
pub fn holds(master: &Path, slaves: &[PathBuf], told: bool) -> Result<(), String> {
    let same = || slaves.iter().all(|slave| tree::identical(master, slave));
    if told && same() {
        return Ok(());
    }
    let paths: Vec<&Path> = slaves.iter().map(PathBuf::as_path).collect();
    let differences = tree::report(master, &paths);
    let later = match poll(RECOVERY, || same().then_some(())) {
        Some(()) => "identical later",
        None => "never identical",
    };
    let what = match told {
        true => "`wait` says that everything is there, and it is not",
        false => "`wait` never says that everything is there",
    };
    Err(format!("{what} ({later})\n{differences}"))
}

impl Stage for Scene {
    fn note(&mut self, text: &str) {
        self.notes.push(format!("{:8.2} s  {text}", self.began.elapsed().as_secs_f64()));
    }

    fn tend(&mut self) {
        self.look_for_losses();
        let pause = Duration::from_millis(100);
        if self.world.instance.has_ended() && self.started.elapsed() > pause {
            // It is missing for a moment while it is replaced.
            if self.program.exists() {
                self.world.instance.launch_as(&self.program, &[]);
                self.note("the instance was started again");
            }
            self.started = Instant::now();
        }
    }
}

impl Scene {
    /// A scene at work, `rate` changes a second.
    pub fn start(seed: u64, rate: u32) -> Scene {
        Scene::start_by(&[], seed, rate)
    }

    /// The same, the program started by another one.
    pub fn start_by(launcher: &[&str], seed: u64, rate: u32) -> Scene {
        let host = Host::new(1);
        if let Err(why) = &host {
            println!("SKIPPED: network namespaces: {why}; a proxy stands for the network");
        }
        let host = host.ok();
        let dir = TempDir::with_prefix("syncsup-faults-").expect("temporary directory");
        let (program, rsync) = (dir.path().join("syncsup"), dir.path().join("rsync"));
        super::upgrade::copy_program(&program);
        super::upgrade::put_rsync(&rsync, None);
        let (port, reservation) = free_port();
        let settings = format!(
            "filter: {{names: none}}\nhttp: '127.0.0.1:{port}'\n\
             plugins: [command: {{prefix: /bin/true, include: ['.*/f0[0-3]']}}]\n"
        );
        let proxied = Options { proxied: true, ..Options::default() };
        let first = match &host {
            Some(host) => host.daemon(),
            None => proxied.clone(),
        };
        let mut world = Setup {
            remotes: 3,
            daemons: vec![first, proxied],
            rsync: format!(", timeout: 5s, program: {rsync:?}").leak(),
            settings: settings.leak(),
            remote: ", max_delete: unlimited",
            ..Setup::default()
        }
        .build();
        let small = |at: &Path, options: &str| {
            fs::create_dir_all(at).expect("a mount point");
            Mounted::tmpfs_with(at, options)
        };
        world.instance.launcher = launcher.iter().map(Into::into).collect();
        let orders = dir.path().join("orders");
        #[cfg(debug_assertions)]
        crate::common::orders::arm(&mut world.instance, &orders);
        let disks = Disks {
            slave: small(&world.remotes[PLAIN].path(), "size=512m,mode=755"),
            state: small(&world.instance.state_dir(), "size=128m,mode=700"),
            run: small(&world.instance.run_dir(), "size=1m,mode=700"),
        };
        let store = world.outside.join("store");
        populate(&store, 2, 10);
        populate(&world.at("kept"), 4, 10);
        // The same names as in `kept`: a push through a symlink would hit those.
        populate(&world.at("swapped"), 4, 10);
        fs::create_dir(world.at("mnt")).expect("a mount point");
        let inside = Mounted::bind(&store, &world.at("mnt"));
        let plan = Plan {
            root: world.master.clone(),
            outside: world.outside.clone(),
            dirs: 60,
            rate,
            sets_times: true,
        };
        Work::new(plan.clone(), 1).fill();
        world.instance.launch_as(&program, &[]);
        world.instance.wait_watching(&[&world.master]);
        world.wait_identical();
        let kept = kept(&world.master, &world.slaves(), &KEPT);
        let now = Instant::now();
        Scene {
            world,
            host,
            disks,
            inside: Some(inside),
            covered: false,
            program,
            rsync,
            orders,
            churn: Some(Churn::of(plan.clone(), seed)),
            plan,
            changes: 0,
            kept,
            notes: Vec::new(),
            gone: HashSet::new(),
            looked: now,
            began: now,
            started: now,
            _dir: dir,
            _reservation: reservation,
        }
    }

    /// The directory that is mounted at `mnt`.
    pub fn store(&self) -> PathBuf {
        self.world.outside.join("store")
    }

    /// Notes when a file went that was there all the time, for the report: it may be there again in the end.
    fn look_for_losses(&mut self) {
        if self.looked.elapsed() < Duration::from_millis(50) {
            return;
        }
        self.looked = Instant::now();
        // One of them that is not where a fault mounts another disk.
        let slaves = [HOST, PROXIED];
        let dirs = slaves.map(|n| self.world.remotes[n].path());
        for dir in dirs.into_iter().flat_map(|slave| KEPT.map(|top| slave.join(top).join("dir001")))
        {
            if dir.exists() == self.gone.contains(&dir) {
                let (there, name) = (dir.exists(), dir.display().to_string());
                self.note(&format!("{name} {}", if there { "is back" } else { "IS GONE" }));
                if there {
                    self.gone.remove(&dir)
                } else {
                    self.gone.insert(dir)
                };
            }
        }
    }

    /// SIGKILL to the whole instance; it is started again soon.
    pub fn kill9(&mut self) {
        self.world.instance.kill9();
        self.started = Instant::now();
    }

    /// Ends the churn, and holds that everything becomes right by itself.
    pub fn settle(&mut self) {
        self.changes += self.churn.take().map_or(0, Churn::stop);
        let ended = Instant::now();
        // What was changed before this call, `wait` says to be everywhere.
        let settled = poll(RECOVERY, || {
            self.tend();
            let out = self.world.instance.command(&["wait", "--timeout", "5s"]);
            out.status.success().then_some(())
        });
        let took = ended.elapsed();
        let told = settled.is_some();
        let held = holds(&self.world.master, &self.world.slaves(), told);
        held.unwrap_or_else(|wrong| panic!("{wrong}{}", self.report()));
        println!("identical after {} ms, {} changes so far", took.as_millis(), self.changes);
        if took > Duration::from_secs(30) {
            println!("slow to recover: {} s\n{}", took.as_secs(), self.report());
        }
        // What the system refuses is an error, never a panic.
        let log = fs::read_to_string(self.world.instance.log()).unwrap_or_default();
        let panics: Vec<&str> = log.lines().filter(|line| line.contains("panicked at")).collect();
        assert!(panics.is_empty(), "{panics:#?}\n{}", self.report());
        let lost = lost(&self.kept);
        assert!(lost.is_empty(), "deleted or replaced without cause:\n{lost}{}", self.report());
        for index in 0..self.world.remotes.len() {
            self.world.probe(index);
        }
        self.world.wait_in_sync();
    }

    /// Churns again.
    pub fn churn(&mut self, seed: u64) {
        self.churn = Some(Churn::of(self.plan.clone(), seed));
    }

    /// What happened, and what the instance says.
    pub fn report(&self) -> String {
        format!("--- faults\n{}\n{}", self.notes.join("\n"), self.world.instance.report())
    }
}
