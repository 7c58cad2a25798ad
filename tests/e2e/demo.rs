//! `syncsup demo` does what it shows, and leaves nothing behind.

use crate::common::instance::Instance;
use crate::common::procs;
use crate::common::wait::{DEADLINE, poll, wait_for};
use nix::sys::signal::Signal;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

/// A demo in a directory of its own.
struct Demo {
    dir: tempfile::TempDir,
    child: Child,
    mark: String,
}

impl Demo {
    fn start() -> Demo {
        Self::started(|command| command.spawn().unwrap())
    }

    fn started(spawn: impl FnOnce(&mut Command) -> Child) -> Demo {
        let dir = tempfile::TempDir::with_prefix("syncsup-test-").unwrap();
        let mark = format!("{}-{:016x}", std::process::id(), fastrand::u64(..));
        fs::create_dir(dir.path().join("tmp")).unwrap();
        let mut command = Command::new(Instance::program());
        command
            .arg("demo")
            .env("TMPDIR", dir.path().join("tmp"))
            .env("LC_ALL", "C.UTF-8")
            .env("SYNCSUP_TEST_ID", &mark)
            .stdin(Stdio::null())
            .stdout(File::create(dir.path().join("out")).unwrap())
            .stderr(File::create(dir.path().join("err")).unwrap());
        let child = spawn(&mut command);
        Demo { dir, child, mark: format!("SYNCSUP_TEST_ID={mark}") }
    }

    fn said(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
        read("out") + &read("err")
    }

    fn end(&mut self) -> ExitStatus {
        let status = poll(DEADLINE * 3, || self.child.try_wait().unwrap());
        status.unwrap_or_else(|| panic!("it does not end:\n{}", self.said()))
    }

    fn nothing_left(&self) {
        wait_for("its processes to exit", DEADLINE, || procs::marked(&self.mark).is_empty());
        let left = |dir: &Path| fs::read_dir(dir).unwrap().flatten().map(|e| e.path()).collect();
        let left: Vec<_> = left(&self.dir.path().join("tmp"));
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        procs::marked(&self.mark).iter().for_each(|p| p.signal(Signal::SIGKILL));
        let _ = self.child.wait();
    }
}

#[test]
fn the_demo_runs_to_its_end() {
    runs_to_its_end(Demo::start());
}

/// The one of CentOS 7.
#[test]
fn the_demo_runs_to_its_end_on_a_kernel_as_old_as_3_10() {
    if !cfg!(target_arch = "x86_64") {
        return eprintln!("SKIPPED: the numbers of the calls are those of x86_64");
    }
    let demo = Demo::started(|command| as_on_3_10(|| command.spawn().unwrap()));
    runs_to_its_end(demo);
}

/// Runs this on a thread that, like the programs that it starts, knows no system call that came after Linux 3.10.
fn as_on_3_10<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    const FIRST_NEWER: i64 = 314;
    let refused = |arg: u64, errno: i32| {
        let calls: BTreeMap<i64, Vec<SeccompRule>> = match arg {
            0 => (FIRST_NEWER..600).map(|call| (call, Vec::new())).collect(),
            arg => {
                let is = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, arg);
                [(libc::SYS_prctl, vec![SeccompRule::new(vec![is.unwrap()]).unwrap()])].into()
            }
        };
        let (allow, refuse) = (SeccompAction::Allow, SeccompAction::Errno(errno as u32));
        let filter = SeccompFilter::new(calls, allow, refuse, TargetArch::x86_64).unwrap();
        BpfProgram::try_from(filter).unwrap()
    };
    let ambient = refused(libc::PR_CAP_AMBIENT as u64, libc::EINVAL);
    let newer = refused(0, libc::ENOSYS);
    let run = || {
        // The second refuses the call that installs one.
        [ambient, newer].iter().for_each(|filter| apply_filter(filter).unwrap());
        run()
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap())
}

fn runs_to_its_end(mut demo: Demo) {
    let status = demo.end();
    let said = demo.said();
    assert_eq!(status.code(), Some(0), "{said}");
    // Each step is followed by what the comparison after it showed.
    let steps: Vec<&str> = said.split("\n\n").collect();
    let compared = |step: &&&str| step.contains("identical after");
    assert!(steps.len() > 8, "{said}");
    assert_eq!(steps.iter().filter(compared).count(), steps.len(), "{said}");
    assert!(said.contains("no difference") && !said.contains('✗'), "{said}");
    // Names of files and processes stay as they are.
    let sentences = said.lines().filter(|line| !line.starts_with("     "));
    let wide: Vec<&str> = sentences.filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
    demo.nothing_left();
}

#[test]
fn an_interrupted_demo_cleans_up() {
    let mut demo = Demo::start();
    wait_for("the first comparison", DEADLINE, || demo.said().contains("identical after"));
    assert!(procs::marked(&demo.mark).len() > 5);
    procs::signal_process(demo.child.id() as i32, Signal::SIGINT);
    assert_ne!(demo.end().code(), Some(0), "{}", demo.said());
    demo.nothing_left();
}
