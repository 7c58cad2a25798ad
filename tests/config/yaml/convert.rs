//! A configuration that is converted to YAML is the same model.

use super::{BASE, base, good, peer, words};
use crate::common::{SAMPLE, errors};
use std::path::Path;
use syncsup::config::confxml;
use syncsup::config::convert::{as_written_in_yaml, to_yaml};
use syncsup::config::model::*;
use syncsup::log_settings::{LogFormat, LogLevel, LogSettings, LogTarget};
use syncsup::path::OsBytes;

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
fn converted_configurations_are_equal() {
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
        include_str!("../../../examples/minimal.yaml"),
        include_str!("../../../examples/web-farm/web-farm.yaml"),
        BASE,
    ] {
        round_trip(&good(text));
    }
}

#[test]
fn a_conversion_keeps_every_setting() {
    let text = "
trash: {keep: 36h}
on_failure: [/bin/mail, 'it is down']
on_recovery: /bin/up
alarm_after: 2m
alarm_user: daemon
plugins:
- command: {prefix: /bin/p, user: www-data, timeout: 5s, parallel: 1, retry: 3s, attempts: 2, keep: 2h, events: [delete]}
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
fn standby_and_pace_convert() {
    let text = "standby: active\npace: {cpu: 40%}\nlocalpaths:\n- watch: /a\n  remotes: ['h::m', {host: h, module: n, standby: off}]\n- {watch: /b, standby: always, pace: {cpu: 100%}, remotes: ['h::o']}\n";
    let config = good(text);
    round_trip(&config);
    let modes: Vec<StandbyMode> =
        config.localpaths.iter().flat_map(|l| &l.remotes).map(|r| r.standby).collect();
    assert_eq!(modes, [StandbyMode::Active, StandbyMode::Off, StandbyMode::Always]);
    assert_eq!(config.localpaths.iter().map(|l| l.pace_percent).collect::<Vec<_>>(), [40, 100]);
}

#[test]
fn unusual_configurations_convert() {
    let mut first = base();
    first.remotes = vec![
        Remote::new(Peer { params: vec![], timeout_s: 7, ..peer("h", "m") }),
        Remote::new(Peer {
            user: Some("null".into()),
            password_file: Some("/p: #".into()),
            ..peer("[::1]", "n n")
        }),
        Remote {
            max_delete: MaxDelete::Entries(3),
            ..Remote::new(Peer {
                target: Target::Ssh {
                    path: "/x".into(),
                    port: Some(22),
                    options: vec!["-i".into(), "a b".into()],
                    control_master: false,
                },
                user: Some("web".into()),
                ..peer("h", "")
            })
        },
    ];
    first.filter = FilterRules {
        exclude: words(&["a\nb", "'\"", "~"]),
        exclude_glob: vec!["#x".into(), " y ".into()],
        names: NameRules::None,
        inside: vec![],
    };
    first.large_file_bytes = 12_345;
    first.delay_ms = Some(0);
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
        user: Some(RunAs { place: Place::default(), name: "www".into() }),
        log: Some(Log {
            place: Place::default(),
            settings: LogSettings {
                level: Some(LogLevel::Warning),
                format: Some(LogFormat::Json),
                target: Some(LogTarget::Syslog),
            },
        }),
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
fn common_settings_move_to_the_top_level() {
    let parsed =
        confxml::parse(include_bytes!("../../../examples/confxml.xml"), Path::new("c.xml"));
    let yaml = round_trip(&parsed.config);
    assert!(yaml.starts_with("rsync:\n  params: -artz\n"), "{yaml}");
    assert!(
        yaml.ends_with("localpaths:\n- watch: /opt/tongbu\n  remotes:\n  - 127.0.0.1::tongbu1\n"),
        "{yaml}"
    );
}

#[test]
fn paths_that_yaml_cannot_represent_are_refused() {
    let mut localpath = base();
    localpath.watch = OsBytes::from(b"/data/\xd6\xd0".to_vec());
    localpath.place = Place { file: "c.xml".into(), line: 24 };
    let error = to_yaml(&Config { localpaths: vec![localpath], ..Config::default() }).unwrap_err();
    assert_eq!(
        error.text.split("; ").next(),
        Some("c.xml:24: `/data/\\xd6\\xd0` is not UTF-8, and YAML cannot express it")
    );
}
