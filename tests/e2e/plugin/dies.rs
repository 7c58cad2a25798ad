//! Plugins that die in the middle of a call or are gone for long, and the processes of an instance of `-m`: what was not
//! answered is called later, nothing is lost, and pushes go on.

use super::servers::{Server, fields, read_request};
use super::trouble::{assert_lag, assert_once};
use super::{at, recorded, recorder, runner, wait_idle, world};
use crate::common::instance::Instance;
use crate::common::procs::Proc;
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::{Setup, World};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Everything in the master, by name.
fn names_of(w: &World) -> Vec<String> {
    let names = fs::read_dir(&w.master).unwrap().map(|e| e.unwrap().file_name());
    names.map(|n| n.into_string().unwrap()).collect()
}

/// A server that dies of each request until `alive`: before it has read all, before its answer, or in the middle of the answer.
/// What it answered to its end it has heard.
fn mortal(alive: &Arc<AtomicBool>) -> Server {
    let (alive, deaths) = (alive.clone(), AtomicUsize::new(0));
    Server::start(move |mut stream, _| {
        if alive.load(Ordering::SeqCst) {
            let Some(request) = read_request(&mut stream) else { return vec![] };
            let answer =
                "HTTP/1.1 200 OK\r\nwhatsup: content=\"succeed\"\r\nContent-Length: 0\r\n\r\n";
            let answered = stream.write_all(answer.as_bytes()).is_ok();
            return if answered { vec![request] } else { vec![] };
        }
        die(&mut stream, deaths.fetch_add(1, Ordering::SeqCst));
        vec![]
    })
}

fn die(stream: &mut TcpStream, nth: usize) {
    if nth.is_multiple_of(5) {
        // Closed over what was not read: the other end is told so.
        let _ = stream.read_exact(&mut [0; 10]);
        return;
    }
    let _ = read_request(stream);
    let halves =
        ["", "HTTP/1.", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nwhatsup: content=\"suc"];
    let _ = stream.write_all(halves[nth % 5 - 1].as_bytes());
}

#[test]
fn calls_are_repeated_after_a_server_dies() {
    let alive = Arc::new(AtomicBool::new(false));
    let (http, cdn) = (mortal(&alive), mortal(&alive));
    let patience = "retry: 5ms, attempts: 1000";
    let plugins = [
        format!("http: {{url: 'http://127.0.0.1:{}/', {patience}}}", http.port),
        format!(
            "refresh_cdn: {{host: 127.0.0.1, port: {}, user: u, password: p, base_url: 'http://x', {patience}}}",
            cdn.port
        ),
    ];
    let mut w = world(1, &plugins);
    w.run(&[]);
    (0..20).for_each(|n| w.write(&format!("f{n:02}"), "x"));
    let tries = |server: &Server| server.shared.connections.load(Ordering::SeqCst);
    // Each way to die twice.
    wait_for("deaths", DEADLINE, || tries(&http) >= 10 && tries(&cdn) >= 10);
    let local = w.wait_local("both in trouble", |l| {
        (0..2).all(|n| l["plugins"][n]["state"] == "failing" && l["plugins"][n]["waiting"] == 20)
    });
    println!("{}", local["plugins"]);
    assert_lag(&w, 0);
    assert!(http.heard().is_empty() && cdn.heard().is_empty());
    alive.store(true, Ordering::SeqCst);
    http.wait(25, || w.instance.report());
    cdn.wait(25, || w.instance.report());
    wait_idle(&w);
    let told = |server: &Server, name: &dyn Fn(&str) -> String| -> BTreeSet<String> {
        let heard = server.heard();
        assert_eq!(heard.len(), 25, "answered, and called again");
        heard.into_iter().map(|r| name(&String::from_utf8(r).unwrap())).collect()
    };
    let all = BTreeSet::from_iter(names_of(&w));
    let by_http = |request: &str| {
        let path = fields(request.split_once("\r\n\r\n").unwrap().1).remove("inotifyPath").unwrap();
        String::from_utf8(path).unwrap().rsplit_once('/').unwrap().1.to_owned()
    };
    let by_cdn = |request: &str| {
        let (_, url) = request.split_once("&urls=http://x/").unwrap();
        url.split(' ').next().unwrap().to_owned()
    };
    assert_eq!(told(&http, &by_http), all);
    assert_eq!(told(&cdn, &by_cdn), all);
}

#[test]
fn calls_are_repeated_after_a_command_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let (gate, deaths) = (dir.path().join("open"), dir.path().join("deaths"));
    let body =
        format!("[ -e '{}' ] || {{ echo >> '{}'; kill -9 $$; }}", gate.display(), deaths.display());
    let (script, record) = recorder(dir.path(), &body);
    let mut w = world(1, &[format!("command: {{prefix: {script:?}, retry: 5ms, attempts: 1000}}")]);
    w.run(&[]);
    (0..20).for_each(|n| w.write(&format!("f{n:02}"), "x"));
    wait_for("deaths", DEADLINE, || fs::metadata(&deaths).is_ok_and(|d| d.len() > 60));
    w.wait_local("its trouble", |l| {
        l["plugins"][0]["waiting"] == 20
            && l["plugins"][0]["reason"].as_str().is_some_and(|r| r.contains("SIGKILL"))
    });
    assert_lag(&w, 0);
    assert!(recorded(&record).is_empty());
    fs::write(&gate, "").unwrap();
    wait_for("all calls", DEADLINE, || recorded(&record).len() >= 25);
    wait_idle(&w);
    let called: Vec<Vec<u8>> = recorded(&record).into_iter().map(|c| c[0].clone()).collect();
    let path = |name: &String| at(&w, name.as_bytes()).as_os_str().as_bytes().to_vec();
    assert_eq!(called.len(), 25, "called again after it went well");
    assert_eq!(BTreeSet::from_iter(called), names_of(&w).iter().map(path).collect());
}

/// With default settings.
#[test]
#[ignore = "takes more than a minute"]
fn a_server_that_refuses_for_a_minute_delays_no_push_and_gets_all_calls() {
    let mut server = Server::lines();
    let mut w = world(1, &[format!("socket: {{host: 127.0.0.1, port: {}}}", server.port)]);
    w.run(&[]);
    server.stop();
    let began = Instant::now();
    let mut files = 0;
    while began.elapsed() < Duration::from_secs(61) {
        w.write(&format!("f{files:03}"), "x");
        files += 1;
        assert_lag(&w, 0);
    }
    let waiting = names_of(&w).len();
    w.wait_local("all calls wait", |l| {
        l["plugins"][0]["state"] == "failing" && l["plugins"][0]["waiting"] == waiting
    });
    server.start_again();
    // The next try may be a minute away.
    wait_for("all calls", DEADLINE * 3, || server.heard().len() >= waiting);
    wait_idle(&w);
    assert_once(&w, &server, &names_of(&w));
}

/// `-m` in the foreground: the supervisor is the same, and restarts a process that dies.
#[test]
fn processes_of_a_plugin_instance_are_restarted_and_no_call_is_lost() {
    let server = Server::http();
    let plugins = format!("plugins: [{{http: {{host: 127.0.0.1, port: {}}}}}]\n", server.port);
    let mut w = Setup { settings: plugins.leak(), ..Setup::default() }.build();
    w.run(&["-m", "http"]);
    let supervisor = w.instance.supervisor();
    w.write("first", "x");
    server.wait(1, || w.instance.report());
    type Find = fn(&World) -> Proc;
    let roles: [(&str, Find); 2] = [("watcher", |w| w.instance.watcher()), ("runner", runner)];
    for (role, find) in roles {
        let killed = find(&w);
        assert_eq!(killed.parent, supervisor.pid, "{role}");
        killed.signal(Signal::SIGKILL);
        w.write(&format!("{role}-is-dead"), "x");
        wait_for("another", DEADLINE, || find(&w).pid != killed.pid);
        assert_eq!(find(&w).parent, supervisor.pid, "{role}");
        w.write(&format!("{role}-is-there"), "x");
    }
    let called = |request: &[u8]| {
        let text = String::from_utf8(request.to_vec()).unwrap();
        fields(text.split_once("\r\n\r\n").unwrap().1).remove("inotifyPath").unwrap()
    };
    let path = |name: &String| at(&w, name.as_bytes()).as_os_str().as_bytes().to_vec();
    let wanted: BTreeSet<Vec<u8>> = names_of(&w).iter().map(path).collect();
    // One that was in hand at a kill may come twice.
    let heard = || -> BTreeSet<Vec<u8>> { server.heard().iter().map(|r| called(r)).collect() };
    wait_for("all calls", DEADLINE, || heard().len() >= wanted.len());
    assert_eq!(heard(), wanted);
    assert!(w.instance.pushers().is_empty(), "it pushes");
    let mut status = w.instance.prepare(&Instance::program(), &["status", "--json", "-m", "http"]);
    let status = status.arg("-o").arg(w.instance.config()).output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    let local = &status["instances"][0]["localpaths"][0];
    assert_eq!(local["plugin_runner"]["restarts"], 1, "{status}");
    println!("{status}");
    assert_eq!(w.instance.supervisor().pid, supervisor.pid);
    assert!(w.instance.stop().success());
}
