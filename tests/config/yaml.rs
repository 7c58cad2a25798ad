//! The YAML form: what it means, what it refuses, and that a converted configuration is the same model.

use crate::common::{self, SAMPLE, errors, read_yaml};
use std::path::Path;
use syncsup::config::convert::{as_written_in_yaml, to_yaml};
use syncsup::config::model::*;
use syncsup::config::{confxml, parse};
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
        delay_ms: 3,
        large_file_bytes: 32 << 20,
        first_copy: true,
        plugins: vec![],
        alarms: Alarms::default(),
    }
}

fn remote(host: &str, module: &str) -> Remote {
    common::remote(host, module, "-a")
}

fn words(list: &[&str]) -> Vec<OsBytes> {
    list.iter().map(|w| OsBytes::from(*w)).collect()
}

#[test]
fn defaults() {
    let config = good(BASE);
    assert_eq!(config.localpaths, [base()]);
    assert_eq!(config.localpaths[0].place.line, 2);
    assert_eq!(config.localpaths[0].remotes[0].place.line, 3);
    assert_eq!(good(&format!("\u{feff}# a comment\n{BASE}")).localpaths, [base()]);
}

#[test]
fn layers_override_key_by_key() {
    let config = good(
        "rsync: {params: -az --bwlimit=9, port: 874, auth: {user: u, password_file: /p}, timeout: 2m}\n\
         inotify: {delete: false}\nfilter: {exclude: ['a'], names: none}\nfail_log: {retry: 5m}\n\
         crontab: {every: 600m, exclude: ['*.php']}\ndelay: 5ms\nlarge_file: 1MiB\nmax_delete: 7\nfirst_copy: false\n\
         trash: {keep: 12h}\n\
         debug: true\nhost: whatever\n\
         localpaths:\n\
         - {watch: /a, remotes: ['h::m', {host: h, module: n, port: 1, user: v, params: [-a, '--exclude=x y'], timeout: 3, trash: ~}]}\n\
         - watch: /b\n  rsync: {auth: {user: w}, program: /opt/rsync}\n  inotify: {delete: true, modify: true}\n\
         \x20 filter: {exclude: [b], exclude_glob: '*.tmp'}\n  fail_log: {path: /log}\n  crontab: ~\n  delay: 0\n\
         \x20 max_delete: unlimited\n  first_copy: true\n  trash: {}\n  remotes: ['x@h:9::m', 'l@h:/p']\n",
    );
    assert!(config.debug);
    let common = Remote {
        params: words(&["-az", "--bwlimit=9"]),
        user: Some("u".into()),
        password_file: Some("/p".into()),
        timeout_s: 120,
        max_delete: MaxDelete::Entries(7),
        trash_keep_ms: Some(12 * 3_600_000),
        target: Target::Daemon { port: 874, module: "m".into() },
        ..remote("h", "m")
    };
    let own = Remote {
        target: Target::Daemon { port: 1, module: "n".into() },
        user: Some("v".into()),
        params: words(&["-a", "--exclude=x y"]),
        timeout_s: 3,
        trash_keep_ms: None,
        ..common.clone()
    };
    let a = &config.localpaths[0];
    assert_eq!(a.remotes, [common.clone(), own]);
    assert!(!a.inotify.delete && a.inotify.attrib && !a.first_copy);
    assert_eq!((a.fail_log.clone(), a.delay_ms, a.large_file_bytes), (None, 5, 1 << 20));
    assert_eq!(
        a.crontab,
        Some(Crontab { schedule: Schedule::Every(600), exclude: words(&["*.php"]) })
    );
    let b = &config.localpaths[1];
    let daemon = Remote {
        target: Target::Daemon { port: 9, module: "m".into() },
        user: Some("x".into()),
        max_delete: MaxDelete::Unlimited,
        trash_keep_ms: Some(7 * 86_400_000),
        rsync_program: "/opt/rsync".into(),
        ..common
    };
    let ssh = Target::Ssh { path: "/p".into(), port: None, options: vec![], control_master: true };
    let login =
        Remote { target: ssh, user: Some("l".into()), password_file: None, ..daemon.clone() };
    assert_eq!(b.remotes, [daemon, login]);
    assert!(b.inotify.delete && b.inotify.modify && b.first_copy);
    assert_eq!(b.filter.exclude, words(&["a", "b"]));
    assert_eq!(b.filter.exclude_glob, ["*.tmp"]);
    assert_eq!(b.filter.names, NameRules::None);
    assert_eq!(b.fail_log, Some(FailLog { path: "/log".into(), retry_minutes: 5 }));
    assert_eq!((b.crontab.clone(), b.delay_ms), (None, 0));
}

#[test]
fn verify_schedules() {
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
fn ssh() {
    let config = good(
        "rsync: {ssh: {port: 22022, options: -i '/my key'}, auth: {user: u, password_file: /p}}\n\
         localpaths: [{watch: /a, remotes: ['h:/x', {host: h, path: /y, user: l, port: 9, ssh: {options: [-4]}}, '[::1]::m']}]",
    );
    let remotes = &config.localpaths[0].remotes;
    let options = vec!["-i".to_owned(), "/my key".to_owned()];
    assert_eq!(
        remotes[0].target,
        Target::Ssh { path: "/x".into(), port: Some(22022), options, control_master: true }
    );
    assert_eq!((&remotes[0].user, &remotes[0].password_file), (&None, &None));
    let options = vec!["-4".to_owned()];
    assert_eq!(
        remotes[1].target,
        Target::Ssh { path: "/y".into(), port: Some(9), options, control_master: true }
    );
    assert_eq!(remotes[1].user.as_deref(), Some("l"));
    assert_eq!((remotes[2].host.as_str(), remotes[2].user.as_deref()), ("[::1]", Some("u")));
}

#[test]
fn plugins() {
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
fn the_manner_of_a_plugin_and_alarms() {
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
fn every_mistake_has_its_line_and_hint() {
    let cases: &[(&str, &str)] = &[
        ("filtr: {}\n", "1: unknown key `filtr` in the configuration; did you mean `filter`?"),
        (
            "delay: 3ms\ndelay: 4ms\n",
            "2: `delay` is given a second time in the configuration (first in line 1)",
        ),
        ("debug: yes\n", "1: debug: `yes` is neither `true` nor `false`"),
        ("debug: ture\n", "1: debug: `ture` is neither `true` nor `false`; did you mean `true`?"),
        ("debug: 'true'\n", "1: debug: is `true`; write true or false"),
        ("inotify:\n  delet: true\n", "2: unknown key `delet` in inotify; did you mean `delete`?"),
        ("inotify: true\n", "1: inotify is `true`; write a map with the keys delete"),
        ("rsync: {timeout: 0}\n", "1: timeout: `0` is not a whole number of seconds"),
        ("rsync: {timeout: 5ms}\n", "1: timeout: `5ms` is not a whole number of seconds"),
        ("rsync: {port: 70000}\n", "1: rsync port: `70000` is not a port"),
        ("rsync: {params: -n}\n", "1: rsync parameter `-n` holds `-n`"),
        ("rsync: {params: \"-a 'x\"}\n", "1: params: `-a 'x` has a quote that is not closed"),
        (
            "rsync:\n  auth:\n    password-file: /x\n",
            "3: unknown key `password-file` in auth; did you mean `password_file`?",
        ),
        ("rsync: {auth: {password_file: x}}\n", "1: auth password_file: `x` is not absolute"),
        (
            "filter:\n  exclude:\n    - ok\n    - '*.php'\n",
            "4: exclude: `*.php` is not a regular expression",
        ),
        ("filter: {exclude_glob: ['!x']}\n", "1: exclude_glob: `!x`: exceptions"),
        (
            "filter: {names: editor}\n",
            "1: filter names: `editor` is not sersync, editors or none; did you mean `editors`?",
        ),
        ("fail_log: {path: x}\n", "1: fail_log path: `x` is not absolute"),
        (
            "fail_log: {path: /x, retry: 60}\n",
            "1: fail_log retry: `60` is not a duration; write a number with its unit",
        ),
        ("crontab: {exclude: [a]}\n", "1: crontab does not say when"),
        ("crontab: {cron: '* * * *'}\n", "1: crontab cron: `* * * *` is not a cron expression"),
        ("crontab: {cron: 0 0 30 2 *}\n", "1: crontab cron: `0 0 30 2 *` is a time that never"),
        ("crontab: {every: 1h, cron: '@daily'}\n", "1: crontab has both"),
        ("crontab: {every: 30s}\n", "1: crontab every: `30s` is not a whole number of minutes"),
        ("verify_schedule: {rate: 1MiB/s}\n", "1: verify_schedule does not say when"),
        ("verify_schedule: {every: 24}\n", "1: verify_schedule every: `24` is not a duration"),
        ("verify_schedule: {cron: x}\n", "1: verify_schedule cron: `x` is not a cron expression"),
        ("verify_schedule: {every: 1h, cron: '@daily'}\n", "1: verify_schedule has both"),
        ("verify_schedule: {every: 1h, rate: 0}\n", "1: verify_schedule rate: `0` is not a rate"),
        (
            "verify_schedule: {every: 1h, checksum: 1}\n",
            "1: verify_schedule checksum: `1` is neither",
        ),
        (
            "verify_schedule: {every: 1h, rat: 1}\n",
            "1: unknown key `rat` in verify_schedule; did you mean `rate`?",
        ),
        (
            "verify_shedule: {every: 1h}\n",
            "1: unknown key `verify_shedule` in the configuration; did you mean `verify_schedule`?",
        ),
        ("large_file: big\n", "1: large_file: `big` is not a size"),
        ("trash: {keep: 7}\n", "1: trash keep: `7` is not a duration"),
        ("trash: {keep: 0}\n", "1: trash keep: `0` is not a whole number of minutes"),
        ("max_delete: some\n", "1: max_delete: `some` is not half, unlimited or a number"),
        ("plugins: [{comand: {}}]\n", "1: `comand` is not a plugin; did you mean `command`?"),
        ("plugins:\n- socket: {host: h}\n", "2: plugin has no port; add it"),
        ("plugins:\n- command: {prefix: ''}\n", "2: plugin prefix: is empty"),
        ("plugins:\n- command: {prefix: \"a 'b\"}\n", "2: plugin prefix: `a 'b` has a quote"),
        ("plugins:\n- http: {url: h}\n", "2: plugin url: `h` is not a URL"),
        ("plugins:\n- socket: {host: h, port: 1, separator: x}\n", "2: plugin separator: `x`"),
        ("plugins:\n- socket: {host: h, port: 1, events: [x]}\n", "2: events: `x` is not change"),
        ("on_failure: \"'\"\n", "1: on_failure: `'` has a quote"),
    ];
    for (text, expected) in cases {
        let found = errors(&read_yaml(&format!("{text}{BASE}")));
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(&format!("c.yaml:{expected}")), "{text}: {found:?}");
    }
}

#[test]
fn localpaths_and_remotes() {
    let cases: &[(&str, &str)] = &[
        ("debug: true\n", "1: no localpaths: nothing says what to replicate"),
        ("localpaths: []\n", "1: localpaths is an empty list"),
        ("localpaths:\n- remotes: ['h::m']\n", "2: localpath has no watch; add `watch: /DIR`"),
        (
            "localpaths:\n- watch: data\n  remotes: ['h::m']\n",
            "2: localpath watch: `data` is not absolute",
        ),
        ("localpaths:\n- watch: /d\n", "2: localpath has no remotes"),
        ("localpaths:\n- watch: /d\n  remotes: []\n", "3: localpath has no remotes"),
        (
            "localpaths:\n- watch: /d\n  remote: ['h::m']\n  remotes: ['h::m']\n",
            "3: unknown key `remote` in a localpath; did you mean `remotes`?",
        ),
        (
            "localpaths:\n- watch: /d\n  remotes:\n  - h::m\n  - /backup\n",
            "5: remote: `/backup` is a directory here",
        ),
        ("localpaths:\n- watch: /d\n  remotes:\n  - {module: m}\n", "4: remote has no host"),
        ("localpaths:\n- watch: /d\n  remotes:\n  - {host: h}\n", "4: remote has no module"),
        (
            "localpaths:\n- watch: /d\n  remotes:\n  - {host: h, module: m, path: /p}\n",
            "4: remote has both module and path",
        ),
        (
            "localpaths:\n- watch: /d\n  remotes:\n  - {host: h, moduel: m, module: m}\n",
            "4: unknown key `moduel` in a remote; did you mean `module`?",
        ),
        (
            "localpaths:\n- watch: /d\n  remotes:\n  - {host: 'h::m', module: m}\n",
            "4: remote host: `h::m` is not a host name",
        ),
        (
            "rsync: {ssh: true}\nlocalpaths:\n- watch: /d\n  remotes: ['h::m']\n",
            "4: remote `h::m` is a daemon's, but ssh is true",
        ),
        ("localpaths: [\n", "2:1: not YAML"),
        ("localpaths:\n- watch: /d\n  remotes: *x\n", "3"),
        ("a: 1\n---\nb: 1\n", "2: a second document"),
        ("", " the file is empty"),
    ];
    for (text, expected) in cases {
        let found = errors(&read_yaml(text));
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(&format!("c.yaml:{expected}")), "{text}: {found:?}");
    }
    let gbk = parse(b"# ok\n# \xd6\xd0\n", Path::new("c.yaml"));
    assert_eq!(errors(&gbk), ["c.yaml:2: this line is not UTF-8; save the file as UTF-8"]);
    assert_eq!(errors(&read_yaml(&"[".repeat(100_000))).len(), 1, "deep nesting ends");
}

#[test]
fn all_errors_at_once() {
    let text = "debug: ture\nrsync: {port: x, params: -an}\nlocalpaths:\n- watch: d\n  remotes: [h]\n- {}\n";
    let lines: Vec<_> =
        errors(&read_yaml(text)).iter().map(|e| e.split(':').nth(1).unwrap().to_owned()).collect();
    assert_eq!(lines, ["1", "2", "2", "4", "5", "6", "6"]);
}

/// Written as YAML and read again it is the same, but for what was dropped anyway.
fn round_trip(config: &Config) -> String {
    let yaml = to_yaml(config).unwrap();
    let mut again = good(&yaml);
    again.files.clone_from(&config.files);
    // Sections that are not started have no place in YAML.
    let config = &Config { sections: vec![], ..as_written_in_yaml(config) };
    assert_eq!(&again, config, "{yaml}");
    yaml
}

#[test]
fn converted_configurations_are_the_same() {
    let xml = SAMPLE;
    let on = xml
        .replace("start=\"false\"", "start=\"true\"")
        .replace("<ssh start=\"true\"/>", "<ssh start=\"false\"/>");
    let two = xml.replace("</localpath>\n\t<rsync>", "</localpath><localpath watch=\"/b c\"><remote ip=\"fe80::1\" name=\"x/y\"/><remote ip=\"h\" name=\"true\"/></localpath>\n\t<rsync>");
    assert_ne!(two, xml);
    let ssh = xml
        .replace("<ssh start=\"false\"/>", "<ssh start=\"true\"/>")
        .replace("name=\"tongbu1\"", "name=\"/中 文\"");
    let quoted = xml.replace("-artuz", "-az -e 'ssh -p 22' --exclude=&quot;a b&quot;");
    for text in [xml, &on, &two, &ssh, &quoted] {
        let parsed = confxml::parse(text.as_bytes(), Path::new("c.xml"));
        assert_eq!(errors(&parsed), Vec::<String>::new());
        round_trip(&parsed.config);
    }
    for text in [
        include_str!("../../examples/minimal.yaml"),
        include_str!("../../examples/web-farm/web-farm.yaml"),
        BASE,
    ] {
        round_trip(&good(text));
    }
}

#[test]
fn nothing_is_forgotten_by_a_conversion() {
    let text = "
trash: {keep: 36h}
on_failure: [/bin/mail, 'it is down']
on_recovery: /bin/up
alarm_after: 2m
plugins:
- command: {prefix: /bin/p, timeout: 5s, parallel: 1, retry: 3s, attempts: 2, keep: 2h, events: [delete]}
- socket: {host: h, port: 1, separator: nul}
- socket: {host: h, port: 2, separator: newline}
- http: {url: 'https://h/x', ca_file: /etc/ca.pem}
localpaths:
- watch: /a
  remotes: ['h::m', {host: h, module: o, trash: null}, {host: h, module: p, trash: {keep: 1h}}]
- {watch: /b, remotes: ['h::n']}
";
    let config = good(text);
    let yaml = round_trip(&config);
    let kept = |n: usize| config.localpaths[0].remotes[n].trash_keep_ms;
    assert_eq!([kept(0), kept(1), kept(2)], [Some(129_600_000), None, Some(3_600_000)]);
    assert!(yaml.contains("keep: 36h") && yaml.contains("separator: nul"), "{yaml}");
    let same =
        round_trip(&good("trash: {}\nlocalpaths: [{watch: /a, remotes: ['h::m', 'h::n']}]\n"));
    assert!(
        same.starts_with("trash:\n  keep: 7d\n") && same.matches("trash").count() == 1,
        "{same}"
    );
}

#[test]
fn odd_models_convert() {
    let mut first = base();
    first.remotes = vec![
        Remote { params: vec![], timeout_s: 7, ..remote("h", "m") },
        Remote {
            user: Some("null".into()),
            password_file: Some("/p: #".into()),
            ..remote("[::1]", "n n")
        },
        Remote {
            target: Target::Ssh {
                path: "/x".into(),
                port: Some(22),
                options: vec!["-i".into(), "a b".into()],
                control_master: false,
            },
            user: Some("web".into()),
            max_delete: MaxDelete::Entries(3),
            ..remote("h", "")
        },
    ];
    first.filter = FilterRules {
        exclude: words(&["a\nb", "'\"", "~"]),
        exclude_glob: vec!["#x".into(), " y ".into()],
        names: NameRules::None,
        inside: vec![],
    };
    first.large_file_bytes = 12_345;
    first.delay_ms = 0;
    let second = LocalPath {
        watch: "/- é".into(),
        inotify: Toggles { delete: false, ..Toggles::SERSYNC },
        crontab: Some(Crontab {
            schedule: Schedule::Cron("30 2 * * mon-fri".into()),
            exclude: vec![],
        }),
        ..base()
    };
    let config = Config {
        files: vec![],
        debug: true,
        no_sysctl: true,
        http: Some(HttpServer {
            place: Place::default(),
            listen: ([0, 0, 0, 0], 8008).into(),
            token_file: Some("/etc/token".into()),
            max_lag_ms: 90_000,
        }),
        localpaths: vec![first, second],
        sections: vec![],
    };
    round_trip(&config);
}

#[test]
fn http() {
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
fn what_is_common_goes_to_the_top() {
    let parsed = confxml::parse(include_bytes!("../../examples/confxml.xml"), Path::new("c.xml"));
    let yaml = round_trip(&parsed.config);
    assert!(yaml.starts_with("rsync:\n  params: -artz\n"), "{yaml}");
    assert!(
        yaml.ends_with("localpaths:\n- watch: /opt/tongbu\n  remotes:\n  - 127.0.0.1::tongbu1\n"),
        "{yaml}"
    );
}

#[test]
fn paths_that_yaml_cannot_say() {
    let mut localpath = base();
    localpath.watch = OsBytes::from(b"/data/\xd6\xd0".to_vec());
    localpath.place = Place { file: "c.xml".into(), line: 24 };
    let error = to_yaml(&Config { localpaths: vec![localpath], ..Config::default() }).unwrap_err();
    assert_eq!(
        error.text.split("; ").next(),
        Some("c.xml:24: `/data/\\xd6\\xd0` is not UTF-8, and YAML cannot say it")
    );
}

#[test]
fn errors_show_what_is_written() {
    let text = "localpaths:\n- watch: /d\n  remotes: ['h::m']\n  filter: {exclude: ['(.*)\\.svn(', \"a\\e\\\\d(\"]}\n";
    let found = errors(&read_yaml(text));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains(r"`(.*)\.svn(` is not"), "{found:?}");
    assert!(found[1].contains(r"`a\x1b\d(` is not"), "{found:?}");
}
