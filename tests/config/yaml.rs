//! The YAML form: what it means; [`errors`] is what it refuses, [`convert`] that a converted configuration is the same
//! model, [`schema`] that editors are told the same.

mod convert;
mod errors;
mod schema;

use crate::common::{self, errors, read_yaml};
use syncsup::config::convert::to_yaml;
use syncsup::config::model::*;
use syncsup::path::OsBytes;

fn good(text: &str) -> Config {
    let parsed = read_yaml(text);
    assert_eq!(errors(&parsed), Vec::<String>::new(), "{text}");
    parsed.config
}

const BASE: &str = "localpaths:\n  - watch: /data\n    remotes: ['h::m']\n";

fn base() -> LocalPath {
    LocalPath {
        watch: "/data".into(),
        place: Place::default(),
        filter: FilterRules::default(),
        inotify: Toggles::MODERN,
        remotes: vec![remote("h", "m")],
        fail_log: None,
        crontab: None,
        verify_schedule: None,
        delay_ms: None,
        pace_percent: 25,
        open_after: vec![],
        large_file_bytes: 32 << 20,
        first_copy: true,
        plugins: vec![],
        alarms: Alarms::default(),
    }
}

fn peer(host: &str, module: &str) -> Peer {
    remote(host, module).peer
}

fn remote(host: &str, module: &str) -> Remote {
    common::remote(host, module, "-a")
}

fn words(list: &[&str]) -> Vec<OsBytes> {
    list.iter().map(|w| OsBytes::from(*w)).collect()
}

#[test]
fn defaults_apply_to_missing_keys() {
    let config = good(BASE);
    assert_eq!(config.localpaths, [base()]);
    assert_eq!(config.localpaths[0].place.line, 2);
    assert_eq!(config.localpaths[0].remotes[0].place.line, 3);
    assert_eq!(good(&format!("\u{feff}# a comment\n{BASE}")).localpaths, [base()]);
}

#[test]
fn layers_override_key_by_key() {
    let config = good(
        "rsync: {params: -az --bwlimit=9, port: 874, auth: {user: u, password_file: /p}, timeout: 2m, fsync: true}\n\
         inotify: {delete: false}\nfilter: {exclude: ['a'], names: none}\nfail_log: {retry: 5m}\n\
         crontab: {every: 600m, exclude: ['*.php']}\ndelay: 5ms\nlarge_file: 1MiB\nmax_delete: 7\nfirst_copy: false\n\
         trash: {keep: 12h}\n\
         debug: true\nhost: whatever\n\
         localpaths:\n\
         - {watch: /a, remotes: ['h::m', {host: h, module: n, port: 1, user: v, params: [-a, '--exclude=x y'], timeout: 3, fsync: false, trash: ~}]}\n\
         - watch: /b\n  rsync: {auth: {user: w}, program: /opt/rsync}\n  inotify: {delete: true, modify: true}\n\
         \x20 filter: {exclude: [b], exclude_glob: '*.tmp'}\n  fail_log: {path: /log}\n  crontab: ~\n  delay: 0\n\
         \x20 max_delete: unlimited\n  first_copy: true\n  trash: {}\n  remotes: ['x@h:9::m', 'l@h:/p']\n",
    );
    assert!(config.debug);
    let common = Remote {
        max_delete: MaxDelete::Entries(7),
        trash_keep_ms: Some(12 * 3_600_000),
        ..Remote::new(Peer {
            params: words(&["-az", "--bwlimit=9"]),
            user: Some("u".into()),
            password_file: Some("/p".into()),
            timeout_s: 120,
            fsync: true,
            target: Target::Daemon { port: 874, module: "m".into() },
            ..peer("h", "m")
        })
    };
    let own = Remote {
        trash_keep_ms: None,
        peer: Peer {
            target: Target::Daemon { port: 1, module: "n".into() },
            user: Some("v".into()),
            params: words(&["-a", "--exclude=x y"]),
            timeout_s: 3,
            fsync: false,
            ..common.peer.clone()
        },
        ..common.clone()
    };
    let a = &config.localpaths[0];
    assert_eq!(a.remotes, [common.clone(), own]);
    assert!(!a.inotify.delete && a.inotify.attrib && !a.first_copy);
    assert_eq!((a.fail_log.clone(), a.delay_ms, a.large_file_bytes), (None, Some(5), 1 << 20));
    assert_eq!(
        a.crontab,
        Some(Crontab { schedule: Schedule::Every(600), exclude: words(&["*.php"]) })
    );
    let b = &config.localpaths[1];
    let daemon = Remote {
        max_delete: MaxDelete::Unlimited,
        trash_keep_ms: Some(7 * 86_400_000),
        peer: Peer {
            target: Target::Daemon { port: 9, module: "m".into() },
            user: Some("x".into()),
            rsync_program: "/opt/rsync".into(),
            ..common.peer
        },
        ..common
    };
    let ssh = Target::Ssh { path: "/p".into(), port: None, options: vec![], control_master: true };
    let peer =
        Peer { target: ssh, user: Some("l".into()), password_file: None, ..daemon.peer.clone() };
    let login = Remote { peer, ..daemon.clone() };
    assert_eq!(b.remotes, [daemon, login]);
    assert!(b.inotify.delete && b.inotify.modify && b.first_copy);
    assert_eq!(b.filter.exclude, words(&["a", "b"]));
    assert_eq!(b.filter.exclude_glob, ["*.tmp"]);
    assert_eq!(b.filter.names, NameRules::None);
    assert_eq!(
        b.fail_log,
        Some(FailLog { path: "/log".into(), place: Place::default(), retry_minutes: 5 })
    );
    assert_eq!((b.crontab.clone(), b.delay_ms), (None, Some(0)));
}

#[test]
fn verify_schedules_are_read() {
    let config = good(
        "verify_schedule: {every: 1d, rate: 5MiB/s}\n\
         localpaths:\n\
         - {watch: /a, remotes: ['h::m']}\n\
         - {watch: /b, remotes: ['h::n'], verify_schedule: {cron: '0 2 * * *', checksum: false}}\n\
         - {watch: /c, remotes: ['h::o'], verify_schedule: {rate: unlimited}}\n\
         - {watch: /d, remotes: ['h::p'], verify_schedule: ~}\n",
    );
    let every = VerifyWhen::Every(86_400);
    let of = |when, rate, checksum| Some(VerifySchedule { when, rate, checksum });
    let wanted = [
        of(every.clone(), Some(5 << 20), true),
        of(VerifyWhen::Cron("0 2 * * *".into()), Some(5 << 20), false),
        of(every, None, true),
        None,
    ];
    let found: Vec<_> = config.localpaths.iter().map(|l| l.verify_schedule.clone()).collect();
    assert_eq!(found, wanted);
    let text = to_yaml(&config).unwrap();
    assert_eq!(good(&text), config, "{text}");
    let rate = |text: &str| good(&format!("verify_schedule: {{every: 90s{text}}}\n{BASE}"));
    let rate = |text: &str| rate(text).localpaths[0].verify_schedule.clone().unwrap().rate;
    assert_eq!((rate(""), rate(", rate: 4096")), (Some(VERIFY_RATE), Some(4096)));
}

#[test]
fn ssh_settings_are_read() {
    let config = good(
        "rsync: {ssh: {port: 22022, options: -i '/my key'}, auth: {user: u, password_file: /p}}\n\
         localpaths: [{watch: /a, remotes: ['h:/x', {host: h, path: /y, user: l, port: 9, ssh: {options: [-4]}}, '[::1]::m']}]",
    );
    let remotes = &config.localpaths[0].remotes;
    let options = vec!["-i".to_owned(), "/my key".to_owned()];
    assert_eq!(
        remotes[0].peer.target,
        Target::Ssh { path: "/x".into(), port: Some(22022), options, control_master: true }
    );
    assert_eq!((&remotes[0].peer.user, &remotes[0].peer.password_file), (&None, &None));
    let options = vec!["-4".to_owned()];
    assert_eq!(
        remotes[1].peer.target,
        Target::Ssh { path: "/y".into(), port: Some(9), options, control_master: true }
    );
    assert_eq!(remotes[1].peer.user.as_deref(), Some("l"));
    assert_eq!(
        (remotes[2].peer.host.as_str(), remotes[2].peer.user.as_deref()),
        ("[::1]", Some("u"))
    );
}

#[test]
fn plugins_are_read() {
    let config = good(&format!(
        "plugins:\n- command: {{prefix: /bin/sh -c, ignore_error: true, include: ['(.*)\\.sh']}}\n\
         - socket: {{host: h, port: 80}}\n- http: {{host: h, port: 81}}\n\
         - refresh_cdn: {{host: h, port: 80, user: u, password: \"1\", base_url: 'http://x', url_match: y}}\n{BASE}"
    ));
    let include = words(&[r"(.*)\.sh"]);
    let expected = [
        Call::Command {
            prefix: "/bin/sh -c".into(),
            suffix: "".into(),
            ignore_error: true,
            include,
            user: None,
        },
        Call::Socket { host: "h".into(), port: 80, framing: Framing::Connection },
        Call::Http { url: "http://h:81/".into(), ca_file: None },
        Call::RefreshCdn {
            host: "h".into(),
            port: 80,
            user: "u".into(),
            password: Secret("1".into()),
            base_url: "http://x".into(),
            url_match: Some("y".into()),
        },
    ];
    let calls: Vec<Call> = config.localpaths[0].plugins.iter().map(|p| p.call.clone()).collect();
    assert_eq!(calls, expected);
    assert!(!format!("{calls:?}").contains("\"1\""), "a password is shown");
    assert!(config.localpaths[0].plugins.iter().all(|p| p.manner == Manner::default()));
}

#[test]
fn plugin_limits_and_alarms_are_read() {
    let config = good(&format!(
        "plugins:\n- http: {{url: 'https://h/x', ca_file: /ca.pem, timeout: 2s, parallel: 1, retry: 100ms, attempts: 3, keep: 1h, events: [change, delete]}}\n\
         - socket: {{host: h, port: 80, separator: nul}}\n\
         on_failure: mail -s 'a b' root\non_recovery: [/bin/x, 'y z']\nalarm_after: 1s\n{BASE}"
    ));
    let l = &config.localpaths[0];
    let url = "https://h/x".into();
    assert_eq!(l.plugins[0].call, Call::Http { url, ca_file: Some("/ca.pem".into()) });
    let events = CallEvents { change: true, attrib: false, delete: true };
    let manner = Manner {
        timeout_ms: 2_000,
        parallel: 1,
        retry_ms: 100,
        attempts: 3,
        keep_ms: 3_600_000,
        events,
    };
    assert_eq!(l.plugins[0].manner, manner);
    let framing = Framing::Nul;
    assert_eq!(l.plugins[1].call, Call::Socket { host: "h".into(), port: 80, framing });
    assert_eq!(l.alarms.on_failure, ["mail", "-s", "a b", "root"]);
    assert_eq!((&l.alarms.on_recovery[1][..], l.alarms.after_ms), ("y z", 1_000));
}

#[test]
fn http_settings_are_read() {
    let of = |value: &str| {
        good(&format!("http: {value}\nlocalpaths: [{{watch: /d, remotes: ['h::m']}}]\n")).http
    };
    let server = of("127.0.0.1:8009").unwrap();
    assert_eq!((server.listen.to_string(), server.max_lag_ms), ("127.0.0.1:8009".into(), 60_000));
    let server = of("{token_file: /t, max_lag: 2m}").unwrap();
    assert_eq!((server.listen.port(), server.max_lag_ms), (8008, 120_000));
    assert_eq!(server.token_file, Some(OsBytes::from("/t")));
    assert_eq!(of("null"), None);
    assert_eq!(of("'[::1]:80'").unwrap().listen.to_string(), "[::1]:80");
}

#[test]
fn open_after_is_read() {
    let read = |value: &str| {
        let text =
            format!("localpaths:\n  - watch: /d\n    open_after: {value}\n    remotes: ['h::m']\n");
        let parsed = syncsup::config::yaml::parse(text.as_bytes(), std::path::Path::new("f"));
        (parsed.config.localpaths[0].open_after.clone(), parsed.diagnostics)
    };
    let rule = |glob: &str, after_ms| OpenRule { glob: glob.into(), after_ms };
    for (value, wanted) in [
        ("10s", vec![rule("*", 10_000)]),
        ("{'*.log': 10s, 'spool/**': 1m}", vec![rule("*.log", 10_000), rule("spool/**", 60_000)]),
        ("~", vec![]),
    ] {
        let (rules, told) = read(value);
        assert!(told.is_empty() && rules == wanted, "{value}: {rules:?} {told:?}");
    }
    for (value, wanted) in [
        ("0", "at least 1s"),
        ("soon", "soon"),
        ("[1s]", "a list"),
        ("{'*.log': 1ms}", "`*.log`"),
        ("{'a[': 1s}", "a["),
        ("{'log/': 1s}", "log/**"),
    ] {
        let (rules, told) = read(value);
        let line = told.iter().map(|d| d.to_string()).collect::<String>();
        assert!(rules.is_empty() && line.contains(wanted) && line.contains("open_after"), "{line}");
    }
}
