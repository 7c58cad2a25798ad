//! A remote that is down or hung: caught up by itself later, and no burden to the others.

use crate::common::churn::{Churn, Plan, Work};
use crate::common::rsyncd::Options;
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::{Setup, World, populate, wait_identical};
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The lag that a healthy remote may have beside a broken one; a second is the promise, the rest is for a machine that
/// runs other tests at the same time.
const LAG: Duration = Duration::from_secs(3);

fn setup() -> Setup {
    Setup { remotes: 2, rsync: ", timeout: 5s", ..Setup::default() }
}

/// The median lag of some probes to the healthy remote, number 1.
fn lag(w: &World) -> Duration {
    let mut lags: Vec<Duration> = (0..9).map(|_| w.probe(1)).collect();
    lags.sort();
    println!("lags: {lags:?}");
    lags[4]
}

/// Waits until the healthy remote lags less than this. A remote that waits for a broken one never does; other work on this
/// machine passes.
fn wait_short_lag(w: &World, limit: Duration) {
    wait_for("a short lag of the healthy remote", DEADLINE * 2, || lag(w) < limit);
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_millis() as i64
}

fn wait_healthy(w: &World) {
    wait_identical(&w.instance, &w.master, &[&w.remotes[1].path()], DEADLINE);
}

#[test]
fn a_remote_down_at_the_start_catches_up() {
    let mut w = setup().build();
    populate(&w.master, 5, 10);
    w.remotes[0].stop();
    w.run(&[]);
    wait_healthy(&w);
    wait_short_lag(&w, LAG);
    let down = w.wait_remote(0, "trouble of the remote that is down", |r| {
        r["state"] == "backoff" || r["state"] == "down"
    });
    assert!(down["reason"].is_string(), "no reason: {down}");
    assert_eq!(w.instance.command(&["status"]).status.code(), Some(1));
    w.remotes[0].start_again();
    // At most a minute of backoff.
    w.wait_identical_within(DEADLINE * 3);
    w.wait_in_sync();
    assert_eq!(w.instance.command(&["status"]).status.code(), Some(0));
}

#[test]
fn a_remote_that_is_back_is_noticed_before_its_next_retry() {
    let mut w = Setup::default().build();
    w.run(&[]);
    w.write("before", "x");
    w.wait_identical();
    w.remotes[0].stop();
    w.write("meanwhile", "x");
    // After some failures the waits are long.
    let retry_ms = |remote: &Value| remote["retry_ms"].as_i64().unwrap_or(0);
    let down = w.wait_remote(0, "a long wait", |r| retry_ms(r) > now_ms() + 15_000);
    let next_ms = retry_ms(&down);
    w.remotes[0].start_again();
    w.wait_identical_within(DEADLINE * 3);
    assert!(now_ms() < next_ms, "only at the retry: {}", w.instance.report());
    w.wait_in_sync();
    let log = w.instance.log_text();
    assert_eq!(log.matches("the remote is back").count(), 1, "{log}");
}

#[test]
fn a_remote_down_during_churn_catches_up() {
    // The names of editors' temporaries are in the churn.
    let mut w = Setup { settings: "filter: {names: none}\n", ..setup() }.build();
    let plan = Plan {
        root: w.master.clone(),
        outside: w.outside.clone(),
        dirs: 50,
        rate: 100,
        sets_times: true,
    };
    Work::new(plan.clone(), 2).fill();
    w.run(&[]);
    w.wait_identical();
    let churn = Churn::start(plan);
    // What the churn itself costs, on a machine that may be busy.
    let calm = lag(&w);
    let limit = LAG + calm;
    w.remotes[0].stop();
    wait_short_lag(&w, limit);
    (0..3).for_each(|_| wait_short_lag(&w, limit));
    w.remotes[0].start_again();
    wait_short_lag(&w, limit);
    churn.stop();
    wait_healthy(&w);
    w.wait_identical_within(DEADLINE * 3);
}

#[test]
fn a_remote_down_while_the_master_restarts_catches_up() {
    let mut w = setup().build();
    populate(&w.master, 5, 5);
    w.run(&[]);
    w.wait_identical();
    w.remotes[0].stop();
    w.write("dir000/file000", "changed while the slave was down");
    std::fs::remove_dir_all(w.at("dir001")).unwrap();
    wait_healthy(&w);
    w.instance.kill9();
    w.run(&[]);
    w.write("dir000/file001", "changed after the restart");
    wait_healthy(&w);
    w.remotes[0].start_again();
    w.wait_identical_within(DEADLINE * 3);
}

#[test]
fn a_hung_remote_is_given_up_and_catches_up() {
    let mut w = setup().build();
    w.run(&[]);
    w.probe(0);
    w.remotes[0].hang();
    w.write("while hung", "x");
    wait_short_lag(&w, LAG);
    (0..4).for_each(|_| wait_short_lag(&w, LAG));
    wait_healthy(&w);
    w.remotes[0].resume();
    w.wait_identical_within(DEADLINE * 3);
}

#[test]
fn hung_remotes_with_few_slots_do_not_starve_the_others() {
    let mut w = Setup { remotes: 3, ..setup() }.build();
    w.run(&["-n", "1"]);
    w.probe(1);
    w.remotes[0].hang();
    w.write("while hung", "x");
    w.probe(1);
    w.probe(2);
    // Once the trouble is known, a hung remote waits outside the slots.
    w.wait_remote(0, "trouble of the hung remote", |r| {
        r["state"] == "backoff" || r["state"] == "down"
    });
    wait_short_lag(&w, LAG);
    w.remotes[0].resume();
    w.wait_identical_within(DEADLINE * 3);
}

#[test]
fn a_wrong_password_is_reported_and_a_right_one_works() {
    let daemon = Options { auth: true, proxied: true, ..Options::default() };
    // A standby has logged in before.
    let w = Setup { daemon, settings: "standby: off", ..setup() }.start();
    populate(&w.master, 2, 2);
    w.wait_identical();
    std::fs::write(w.remotes[0].password_file(), "wrong\n").unwrap();
    let mut content = vec![0; 500_000];
    fastrand::fill(&mut content);
    w.write("later", &content);
    let held = w.wait_remote(0, "the refused password", |r| {
        r["state"] == "held" && r["reason"].is_string()
    });
    assert!(held["reason"].as_str().unwrap().contains("auth"), "not in rsync's words: {held}");
    // It is tried, although no path fails.
    let retry = w.instance.command(&["journal", "retry"]);
    let said = String::from_utf8_lossy(&retry.stdout).into_owned();
    assert!(said.ends_with(&format!("{}: retried now\n", w.remotes[0].name())), "{said}");
    wait_healthy(&w);
    std::fs::write(w.remotes[0].password_file(), "hunter2\n").unwrap();
    // Retried every minute and on request; the test waits for the rest.
    w.remotes[0].proxy().rate(100_000);
    let sync = w.instance.command(&["sync"]);
    assert!(sync.status.success(), "{sync:?}");
    w.wait_identical();
}

#[test]
fn a_daemon_short_of_connections_gets_everything() {
    let lines = "max connections = 1\n".to_string();
    let w =
        Setup { daemon: Options { module_lines: lines, ..Options::default() }, ..setup() }.start();
    for round in 0..10 {
        w.write(&format!("file{round}"), "x");
        w.probe(0);
    }
    w.wait_identical_within(DEADLINE * 2);
    // One after the other, also where the other end of the last one is not gone yet when the next comes.
    let log = w.instance.log_text();
    assert!(!log.contains("cannot push to the remote"), "{log}");
}
