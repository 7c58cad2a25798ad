//! Readiness, reload, stop and watchdog, as systemd hears them: the socket is the test's own.

use crate::common::procs::Proc;
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::{Setup, World, populate};
use nix::sys::signal::Signal;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// What a service manager would hear: it reads all the time, for what does not fit into the socket is lost.
struct Manager {
    messages: Receiver<(Instant, String)>,
    address: String,
    heard: Vec<String>,
}

impl Manager {
    fn at_a_path(w: &World) -> Manager {
        let path = w.outside.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Manager::new(socket, path.to_str().unwrap().to_owned())
    }

    fn at_an_abstract_name() -> Manager {
        let name = format!("syncsup-test-notify-{:016x}", fastrand::u64(..));
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        Manager::new(socket, format!("@{name}"))
    }

    fn new(socket: UnixDatagram, address: String) -> Manager {
        let (sender, messages) = std::sync::mpsc::channel();
        // It ends with the test's process.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n) = socket.recv(&mut buffer) {
                let text = String::from_utf8(buffer[..n].to_vec()).unwrap();
                if sender.send((Instant::now(), text)).is_err() {
                    return;
                }
            }
        });
        Manager { messages, address, heard: Vec::new() }
    }

    /// The instance is started with the environment that systemd gives.
    fn launches(&self, w: &mut World, watchdog: Duration) {
        let environment = [
            format!("NOTIFY_SOCKET={}", self.address),
            format!("WATCHDOG_USEC={}", watchdog.as_micros()),
        ];
        // Becomes syncsup: the pid is the one that the manager started.
        w.instance.launcher =
            ["env".into()].into_iter().chain(environment.map(Into::into)).collect();
        w.instance.launch(&[]);
    }

    /// The next message, which must come in time, and when it came.
    fn next(&mut self) -> (Instant, String) {
        let (at, text) = self.messages.recv_timeout(DEADLINE).unwrap_or_else(|e| {
            panic!("{e}; heard so far: {:?}", self.heard);
        });
        self.heard.push(text.clone());
        (at, text)
    }

    /// Waits for a message that begins so.
    fn hears(&mut self, start: &str) -> String {
        self.hears_at(start).1
    }

    fn hears_at(&mut self, start: &str) -> (Instant, String) {
        let end = Instant::now() + DEADLINE;
        loop {
            let (at, message) = self.next();
            if message.starts_with(start) {
                return (at, message);
            }
            assert!(Instant::now() < end, "never heard {start}: {:?}", self.heard);
        }
    }
}

fn protocol(mut manager: Manager, mut w: World) {
    populate(&w.master, 3, 3);
    manager.launches(&mut w, Duration::from_millis(600));
    // Ready means that the very next change is seen.
    manager.hears("READY=1");
    w.write("at once", "x");
    w.wait_identical();
    // Twice as often as is asked for: four of them without a delay come in half that time.
    let end = Instant::now() + DEADLINE;
    let mut last = Vec::new();
    while last.len() < 5 || last[4] - last[0] > Duration::from_millis(4 * 600 * 3 / 4) {
        assert!(Instant::now() < end, "too seldom: {:?}", manager.heard);
        last.push(manager.hears_at("WATCHDOG=1").0);
        last = last.split_off(last.len().saturating_sub(5));
    }
    let status = "STATUS=1 of 1 localpaths watched, 1 of 1 remotes in sync";
    if !manager.heard.iter().any(|message| message == status) {
        manager.hears(status);
    }

    // A reload is announced with its time, and its end; also of a configuration that is wrong.
    let config = fs::read_to_string(w.instance.config()).unwrap();
    for text in [format!("{config}\n# changed\n"), "localpaths: 7\n".to_owned()] {
        fs::write(w.instance.config(), text).unwrap();
        w.instance.supervisor().signal(Signal::SIGHUP);
        let message = manager.hears("RELOADING=1\n");
        let time = message.split_once("MONOTONIC_USEC=").expect("the time").1;
        assert!(time.trim().parse::<u64>().is_ok_and(|usec| usec > 0), "{message}");
        manager.hears("READY=1");
    }
    w.write("after the reload", "x");
    w.wait_identical();

    // Nobody but the supervisor knows the socket.
    for child in w.instance.family().iter().skip(1) {
        let environ = fs::read(format!("/proc/{}/environ", child.pid)).unwrap_or_default();
        let environ = String::from_utf8_lossy(&environ);
        assert!(!environ.contains("NOTIFY_SOCKET") && !environ.contains("WATCHDOG"), "{child:?}");
    }

    // It is not silent while it stops.
    w.instance.supervisor().signal(Signal::SIGTERM);
    manager.hears("STOPPING=1");
    assert!(w.instance.wait_exit().success());
}

#[test]
fn a_manager_at_a_path_gets_every_notification() {
    let w = Setup::default().build();
    protocol(Manager::at_a_path(&w), w);
}

#[test]
fn a_manager_at_an_abstract_name_gets_every_notification() {
    protocol(Manager::at_an_abstract_name(), Setup::default().build());
}

#[test]
fn a_stopped_supervisor_sends_no_watchdog_notification() {
    let mut w = Setup::default().build();
    let mut manager = Manager::at_a_path(&w);
    manager.launches(&mut w, Duration::from_millis(400));
    manager.hears("READY=1");
    manager.hears("WATCHDOG=1");
    let supervisor = w.instance.supervisor();
    supervisor.signal(Signal::SIGSTOP);
    wait_for("it to stop", DEADLINE, || Proc::read(supervisor.pid).is_some_and(|p| p.state == 'T'));
    // What was under way before; then longer than systemd would wait.
    while manager.messages.recv_timeout(Duration::from_millis(100)).is_ok() {}
    let silence = manager.messages.recv_timeout(Duration::from_secs(1));
    supervisor.signal(Signal::SIGCONT);
    assert!(silence.is_err(), "spoke while it stood still");
    manager.hears("WATCHDOG=1");
    w.instance.stop();
}
