//! Made-up statuses for tests.

use crate::message::{
    ChildStatus, InstanceStatus, LocalPathState, LocalPathStatus, PluginState, PluginStatus,
    PusherState, PusherStatus, ReconcileProgress, RemoteStatus, ReporterState, ReporterStatus,
};

/// 2026-11-22 01:02:03 UTC.
pub const NOW_MS: i64 = 1_795_309_323_000;

/// The name of remote `n`.
pub fn remote_name(n: usize) -> String {
    format!("10.0.0.{}::www", n + 2)
}

/// This number of localpaths, each with one remote of each state.
pub fn instance(localpaths: usize, states: &[PusherState]) -> InstanceStatus {
    let names = ["www", "static", "uploads", "mail", "config"];
    let child = |pid| ChildStatus {
        pid: Some(pid),
        since_ms: Some(NOW_MS - 266_400_000),
        ..ChildStatus::default()
    };
    let remote = |l: usize, (n, state): (usize, &PusherState)| {
        let moved = ((l * 7 + n * 3) % 11) as u64;
        let status = PusherStatus {
            state: *state,
            last_success_ms: Some(NOW_MS - 1_000 * (2 + moved as i64 * 9)),
            pushed_files: 1_204 * (1 + moved),
            pushed_bytes: 61_500_000 * (1 + moved),
            pushes: 10 + moved,
            ..PusherStatus::default()
        };
        let pusher = child((1_000 + 100 * l + n) as u32);
        RemoteStatus { name: remote_name(n), status, pusher, ..RemoteStatus::default() }
    };
    let localpath = |l: usize| LocalPathStatus {
        watch: format!(
            "/data/{}{}",
            names[l % 5],
            if l < 5 { String::new() } else { format!("-{}", l / 5) }
        )
        .as_str()
        .into(),
        state: LocalPathState::Watching,
        watches: 312 * (1 + l as u64 % 9),
        watcher: child((900 + l) as u32),
        remotes: states.iter().enumerate().map(|r| remote(l, r)).collect(),
        ..LocalPathStatus::default()
    };
    InstanceStatus {
        version: "0.1.0".into(),
        pid: 812,
        since_ms: Some(NOW_MS - 266_400_000),
        now_ms: NOW_MS,
        files: vec!["/etc/syncsup/conf.d/web.yaml".into()],
        localpaths: (0..localpaths).map(localpath).collect(),
        reporter: Some(ReporterStatus {
            listen: "127.0.0.1:8008".into(),
            state: ReporterState::Listening,
            reason: None,
            help: None,
            process: child(813),
        }),
    }
}

/// One localpath with a plugin.
pub fn with_plugin(state: PluginState) -> InstanceStatus {
    let mut status = instance(1, &[PusherState::InSync]);
    let plugin = PluginStatus { name: "http".into(), state, calls: 7, ..PluginStatus::default() };
    status.localpaths[0].plugins = vec![plugin];
    status.localpaths[0].plugin_runner =
        Some(ChildStatus { pid: Some(99), ..ChildStatus::default() });
    status
}

/// As [`instance`], all in sync but for a slave that is dead, a remote that the guard holds, one that refuses, one that is
/// compared, and a path that fails.
pub fn troubled(localpaths: usize, remotes: usize) -> InstanceStatus {
    let mut status = instance(localpaths, &vec![PusherState::InSync; remotes]);
    for (n, l) in status.localpaths.iter_mut().enumerate() {
        if n % 3 == 0 && remotes > 3 {
            let r = &mut l.remotes[3];
            r.lag_ms = 754_000 - 900 * n as u64;
            r.trouble_since_ms = Some(NOW_MS - 754_000);
            r.status.state = PusherState::Backoff;
            r.status.reason = Some(
                "rsync: [sender] failed to connect to 10.0.0.5 (10.0.0.5): Connection refused (111)"
                    .into(),
            );
            r.status.waiting = 40 + n as u64;
            r.status.retry_ms = Some(NOW_MS + 21_000);
            r.status.last_success_ms = Some(NOW_MS - 756_000);
        }
    }
    let mut at = |l: usize, n: usize, act: &dyn Fn(&mut RemoteStatus)| {
        if let Some(r) = status.localpaths.get_mut(l).and_then(|l| l.remotes.get_mut(n)) {
            act(r);
        }
    };
    at(1, 0, &|r| {
        r.status.state = PusherState::Held;
        r.status.reason =
            Some("a reconcile would delete 8412 of 9100 names, more than max_delete allows".into());
        r.trouble_since_ms = Some(NOW_MS - 5_400_000);
    });
    at(2, 1, &|r| {
        r.status.state = PusherState::Held;
        r.status.reason = Some("@ERROR: auth failed on module www".into());
        r.status.retry_ms = Some(NOW_MS + 43_000);
        r.trouble_since_ms = Some(NOW_MS - 120_000);
        r.status.waiting = 12;
    });
    at(2, 2, &|r| {
        r.status.state = PusherState::Reconciling;
        let why = "-r".to_owned().into();
        r.status.reconcile =
            Some(ReconcileProgress { why, found: 5_210, done: 3_377, ..Default::default() });
        r.status.owed = 1_833;
        r.lag_ms = 2_300;
        r.pusher.restarts = 2;
        r.pusher.last_exit = Some("signal 9 (SIGKILL)".into());
    });
    at(4, 2, &|r| {
        r.status.state = PusherState::Behind;
        r.status.failing = 2;
        r.status.owed = 2;
        r.status.first_failure =
            Some("img/logo.svg: rsync: [receiver] mkstemp failed: Permission denied (13)".into());
        r.status.reason = r.status.first_failure.clone();
        r.lag_ms = 95_000;
    });
    status
}
