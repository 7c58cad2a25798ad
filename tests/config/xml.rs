//! sersync's own configuration file, the variants of it that tutorials spread, and every error with its line.

use crate::common::*;
use syncsup::config::model::*;
use syncsup::path::OsBytes;

fn line_of(xml: &str, needle: &str) -> usize {
    let at = xml.find(needle).unwrap_or_else(|| panic!("{needle}"));
    xml[..at].matches('\n').count() + 1
}

/// Exactly one error, at the line of `new`, that holds the words.
fn one_error(old: &str, new: &str, words: &[&str]) {
    let xml = with(old, new);
    let found = errors(&read_xml(&xml));
    assert_eq!(found.len(), 1, "{new}: {found:?}");
    let place = format!("c.xml:{}:", line_of(&xml, new));
    assert!(found[0].starts_with(&place), "{new}: wants {place}, is {found:?}");
    for word in words {
        assert!(found[0].contains(word), "{new}: wants {word}, is {found:?}");
    }
}

fn daemon(host: &str, module: &str) -> Remote {
    remote(host, module, "-artuz")
}

fn sample_model() -> LocalPath {
    LocalPath {
        watch: "/opt/tongbu".into(),
        place: Place::default(),
        filter: FilterRules { names: NameRules::Sersync, ..Default::default() },
        inotify: Toggles::SERSYNC,
        remotes: vec![daemon("127.0.0.1", "tongbu1")],
        fail_log: Some(FailLog {
            path: "/tmp/rsync_fail_log.sh".into(),
            place: Place::default(),
            retry_minutes: 60,
        }),
        crontab: None,
        verify_schedule: None,
        delay_ms: None,
        pace_percent: 25,
        open_after: vec![],
        large_file_bytes: 32 << 20,
        first_copy: false,
        plugins: vec![],
        alarms: Alarms::default(),
    }
}

#[test]
fn sersyncs_own_file_is_accepted() {
    let parsed = read_xml(SAMPLE);
    assert_eq!(parsed.config.localpaths, [sample_model()]);
    assert!(!parsed.config.debug);
    assert_eq!(parsed.config.localpaths[0].place.line, 24);
    assert_eq!(parsed.config.localpaths[0].remotes[0].place.line, 25);
    let found = told(&parsed);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("c.xml:30: warning: rsync parameter -u"), "{found:?}");
    assert!(found[0].contains("restored from a backup"), "{found:?}");
    let bare = read_xml(with("<head version=\"2.5\">", "<head>"));
    assert_eq!((told(&bare), &bare.config), (found, &parsed.config));
}

/// Every element of `<inotify>` switches the event of its name, and no other.
#[test]
fn each_inotify_element_switches_only_its_event() {
    let usual = Toggles::SERSYNC;
    let flipped: [(&str, bool, Toggles); 8] = [
        ("delete", usual.delete, Toggles { delete: !usual.delete, ..usual }),
        (
            "createFolder",
            usual.create_folder,
            Toggles { create_folder: !usual.create_folder, ..usual },
        ),
        ("createFile", usual.create_file, Toggles { create_file: !usual.create_file, ..usual }),
        ("closeWrite", usual.close_write, Toggles { close_write: !usual.close_write, ..usual }),
        ("moveFrom", usual.move_from, Toggles { move_from: !usual.move_from, ..usual }),
        ("moveTo", usual.move_to, Toggles { move_to: !usual.move_to, ..usual }),
        ("attrib", usual.attrib, Toggles { attrib: !usual.attrib, ..usual }),
        ("modify", usual.modify, Toggles { modify: !usual.modify, ..usual }),
    ];
    for (name, now, wanted) in flipped {
        let (old, new) =
            (format!("<{name} start=\"{now}\"/>"), format!("<{name} start=\"{}\"/>", !now));
        let parsed = read_xml(with(&old, &new));
        assert_eq!(errors(&parsed), Vec::<String>::new());
        assert_eq!(parsed.config.localpaths[0].inotify, wanted, "{name}");
    }
}

#[test]
fn every_option_can_be_switched_on() {
    let xml = with("<debug start=\"false\"/>", "<debug start=\"true\"/>")
        .replace("start=\"false\"", "start=\"true\"")
        .replace("<ssh start=\"true\"/>", "<ssh start=\"false\"/>")
        .replace("regex=\"false\"", "regex=\"true\"");
    let parsed = read_xml(&xml);
    assert_eq!(errors(&parsed), Vec::<String>::new());
    assert!(parsed.config.debug);
    let localpath = &parsed.config.localpaths[0];
    let remote = &localpath.remotes[0];
    assert_eq!(remote.peer.target, Target::Daemon { port: 874, module: "tongbu1".into() });
    assert_eq!(
        (remote.peer.user.as_deref(), &remote.peer.password_file),
        (Some("root"), &Some("/etc/rsync.pas".into()))
    );
    assert_eq!(remote.peer.timeout_s, 100);
    assert_eq!(localpath.filter.exclude.len(), 4);
    assert_eq!(localpath.filter.exclude[2], "^info/*".into());
    let crontab =
        Crontab { schedule: Schedule::Every(600), exclude: vec!["*.php".into(), "info/*".into()] };
    assert_eq!(localpath.crontab, Some(crontab));
    assert!(localpath.inotify.attrib && localpath.inotify.modify && localpath.inotify.create_file);
    let include = vec![r"(.*)\.php".into(), r"(.*)\.sh".into()];
    let command = Call::Command {
        prefix: "/bin/sh".into(),
        suffix: "".into(),
        ignore_error: true,
        include,
        user: None,
    };
    assert_eq!(localpath.plugins.len(), 1);
    assert_eq!(localpath.plugins[0].call, command);
    // sersync had no limit.
    assert_eq!(localpath.plugins[0].manner.timeout_ms, 86_400_000);
}

#[test]
fn every_plugin_section_is_read() {
    let on = |name: &str| format!("<plugin start=\"true\" name=\"{name}\"/>");
    let off = "<plugin start=\"false\" name=\"command\"/>";
    let plugins = |xml: String| -> Vec<Call> {
        let plugins = read_xml(&xml).config.localpaths[0].plugins.clone();
        plugins.into_iter().map(|p| p.call).collect()
    };
    let framing = Framing::Connection;
    let socket = Call::Socket { host: "192.168.138.20".into(), port: 8009, framing };
    assert_eq!(plugins(with(off, &on("socket"))), [socket]);
    let mut cdn = Call::RefreshCdn {
        host: "ccms.chinacache.com".into(),
        port: 80,
        user: "xxxx".into(),
        password: Secret("xxxx".into()),
        base_url: "http://pic.xoyo.com/cms".into(),
        url_match: None,
    };
    assert_eq!(plugins(with(off, &on("refreshCDN"))), std::slice::from_ref(&cdn));
    let matching =
        plugins(with(off, &on("refreshCDN")).replace("regex=\"false\"", "regex=\"true\""));
    let Call::RefreshCdn { url_match, .. } = &mut cdn else { unreachable!() };
    *url_match = Some("cms.xoyo.com/site([/a-zA-Z0-9]*).xoyo.com/images".into());
    assert_eq!(matching, [cdn]);
    let http = with(off, &on("http")).replace("<plugin name=\"socket\">", "<plugin name=\"http\">");
    let url = "http://192.168.138.20:8009/".into();
    assert_eq!(plugins(http), [Call::Http { url, ca_file: None }]);
    one_error(
        off,
        &on("http"),
        &["plugin `http` is started, but has no section", "<plugin name=\"http\">"],
    );
    one_error(off, &on("comand"), &["`comand` is not a plugin; did you mean `command`?"]);
}

#[test]
fn several_localpaths_and_remotes_are_read() {
    let xml = with(
        "<localpath watch=\"/opt/tongbu\">",
        "<localpath watch=\"/data0/www/bbs/\"><remote ip=\"192.168.1.58\" name=\"bbs\"/>\n<remote name=\"bbs/x/\" \
         ip=\"192.168.1.59\"></remote></localpath><localpath watch=\"/opt/tongbu\">",
    );
    let parsed = read_xml(xml);
    assert_eq!(errors(&parsed), Vec::<String>::new());
    let bbs = LocalPath {
        watch: "/data0/www/bbs".into(),
        remotes: vec![daemon("192.168.1.58", "bbs"), daemon("192.168.1.59", "bbs/x")],
        ..sample_model()
    };
    assert_eq!(parsed.config.localpaths, [bbs, sample_model()]);
}

#[test]
fn layout_of_the_file_does_not_matter() {
    let flat: String = SAMPLE.lines().map(str::trim).collect::<Vec<_>>().join("");
    assert_eq!(read_xml(&flat).config, read_xml(SAMPLE).config);
    let crlf = SAMPLE
        .replace('\n', "\r\n")
        .replace("<remote ip=\"127.0.0.1\"", "<remote\r\n  ip = '127.0.0.1'\r\n ");
    assert_eq!(read_xml(&crlf).config, read_xml(SAMPLE).config);
    let bom = format!("\u{feff}{SAMPLE}");
    assert_eq!(read_xml(&bom).config, read_xml(SAMPLE).config);
    assert_eq!(told(&read_xml(&bom)).len(), 1);
}

#[test]
fn the_ssh_element_is_read() {
    let xml = with("<ssh start=\"false\"/>", "<ssh start=\"true\"/>").replace(
        "ip=\"127.0.0.1\" name=\"tongbu1\"",
        "ip=\"web@127.0.0.1\" name=\"/data/backup/\"",
    );
    let parsed = read_xml(xml);
    assert_eq!(errors(&parsed), Vec::<String>::new());
    let remote = &parsed.config.localpaths[0].remotes[0];
    assert_eq!(
        remote.peer.target,
        Target::Ssh {
            path: "/data/backup".into(),
            port: None,
            options: vec![],
            control_master: true
        }
    );
    assert_eq!(remote.name(), "web@127.0.0.1:/data/backup");
    one_error("name=\"tongbu1\"", "name=\"/data/backup\"", &["[section]", "<ssh start=\"true\"/>"]);
}

#[test]
fn broken_structure_is_reported() {
    one_error(
        "</crontabfilter>",
        "</crontabfilte>",
        &["</crontabfilte> closes <crontabfilter> of line 38"],
    );
    let unclosed = read_xml(SAMPLE.replace("</head>", ""));
    assert_eq!(errors(&unclosed), ["c.xml:2: not XML: <head> is never closed; write </head>"]);
    let empty = read_xml("<?xml version=\"1.0\"?>");
    assert!(errors(&empty)[0].contains("no <head>"), "{:?}", errors(&empty));
    assert!(errors(&read_xml("<html></html>"))[0].contains("not sersync's <head>"));
    let cut = &SAMPLE[..SAMPLE.find("<localpath").unwrap() + 12];
    assert!(
        errors(&read_xml(cut))[0].starts_with("c.xml:24: not XML"),
        "{:?}",
        errors(&read_xml(cut))
    );
    one_error("start=\"false\" users", "start=false users", &["not in quotes"]);
    one_error("name=\"tongbu1\"", "name=\"a&b\"", &["write & as &amp;"]);
    one_error(
        "name=\"tongbu1\"",
        "name=\"tongbu1\" name=\"x\"",
        &["attribute name is given twice"],
    );
}

#[test]
fn unknown_and_misspelt_names_are_reported() {
    one_error(
        "<moveTo start=\"true\"/>",
        "<movTo start=\"true\"/>",
        &["unknown element <movTo> in <inotify>; did you mean `moveTo`?"],
    );
    one_error(
        "passwordfile=\"",
        "password_file=\"",
        &["unknown attribute password_file of <auth>; did you mean `passwordfile`?"],
    );
    one_error(
        "<delete start=\"true\"/>",
        "<delete start=\"ture\"/>",
        &["delete start: `ture` is neither", "did you mean `true`?"],
    );
    one_error("<delete start=\"true\"/>", "<delete start=\"True\"/>", &["did you mean `true`?"]);
    let twice = errors(&read_xml(with(
        "<ssh start=\"false\"/>",
        "<ssh start=\"false\"/>\n<ssh start=\"false\"/>",
    )));
    assert_eq!(twice, ["c.xml:35: <ssh> is given twice (first in line 34); keep one"]);
}

#[test]
fn mistakes_in_localpaths_and_remotes_are_reported() {
    let none = errors(&read_xml(with("<remote ip=\"127.0.0.1\" name=\"tongbu1\"/>", "")));
    assert_eq!(
        none,
        ["c.xml:24: localpath has no remote; add <remote ip=\"HOST\" name=\"MODULE\"/>"]
    );
    one_error(
        "watch=\"/opt/tongbu\">\n\t    <remote",
        "watch=\"opt/tongbu\">\n\t    <remote",
        &[
            "localpath watch=\"opt/tongbu\": `opt/tongbu` is relative, and syncsup has no current directory; write the absolute path",
        ],
    );
    one_error(
        "ip=\"127.0.0.1\" name=\"tongbu1\"",
        "name=\"tongbu1\"",
        &["<remote> has no attribute ip; add it"],
    );
    one_error("name=\"tongbu1\"", "name=\"\"", &["remote name: is empty"]);
    one_error("name=\"tongbu1\"", "name=\"m --port=8730\"", &["options after the module `m`"]);
    one_error("ip=\"127.0.0.1\"", "ip=\"127.0.0.1;reboot\"", &["is not a host name"]);
    let spaced = read_xml(with("name=\"tongbu1\"", "name=\"tongbu1 \""));
    assert_eq!(spaced.config.localpaths, [sample_model()]);
    let v6 = read_xml(with("ip=\"127.0.0.1\"", "ip=\"fe80::1\""));
    assert_eq!(v6.config.localpaths[0].remotes[0].peer.host, "[fe80::1]");
}

#[test]
fn invalid_numbers_are_reported() {
    one_error(
        "timeToExecute=\"60\"",
        "timeToExecute=\"1h\"",
        &["failLog timeToExecute: `1h` is not a number of minutes"],
    );
    one_error(
        "schedule=\"600\"",
        "schedule=\"0\"",
        &["crontab schedule: `0` is not a number of minutes"],
    );
    one_error(
        "port=\"874\"",
        "port=\"87400\"",
        &["userDefinedPort port: `87400` is not a port; write a number from 1 to 65535"],
    );
    one_error("time=\"100\"", "time=\"-1\"", &["timeout time: `-1` is not a number of seconds"]);
    one_error(
        "<timeout start=\"false\" time=\"100\"/>",
        "<timeout start=\"true\"/>",
        &["<timeout> has no attribute time; add it"],
    );
    one_error("port=\"8009\"", "port=\"x\"", &["deshost port: `x` is not a port"]);
    one_error("port=\"8008\"", "port=\"80080\"", &["host port: `80080` is not a port"]);
}

#[test]
fn mistakes_in_patterns_and_parameters_are_reported() {
    one_error(
        "expression=\"(.*)\\.gz\"",
        "expression=\"*.gz\"",
        &["exclude expression: `*.gz` is not a regular expression", r"write `(.*)\.gz`"],
    );
    one_error(
        "expression=\"(.*)\\.php\"",
        "expression=\"(.*\\.php\"",
        &["include expression:", "unclosed group"],
    );
    one_error("-artuz", "-arzn", &["it would replicate nothing"]);
    one_error("-artuz", "-az --files-from=/x", &["the list of files is syncsup's"]);
    one_error("-artuz", "-az -e 'ssh", &["commonParams params", "not closed"]);
    let found = told(&read_xml(with("-artuz", "-az --delete")));
    assert!(found.len() == 1 && found[0].contains("--delete is dropped"), "{found:?}");
    assert_eq!(told(&read_xml(with("-artuz", "-arRvz --progress --stats"))), Vec::<String>::new());
    // Split as a shell does, but nothing is expanded.
    let words =
        with("-artuz", "-a --exclude='$HOME' --exclude=$(x) --exclude=* -e &quot;ssh -p 3&quot;");
    let parsed = read_xml(words);
    assert_eq!(told(&parsed), Vec::<String>::new());
    let wanted = ["-a", "--exclude=$HOME", "--exclude=$(x)", "--exclude=*", "-e", "ssh -p 3"];
    assert_eq!(parsed.config.localpaths[0].remotes[0].peer.params, wanted.map(OsBytes::from));
}

#[test]
fn all_errors_are_reported_together() {
    let xml = with("<debug start=\"false\"/>", "<debug start=\"ture\"/>")
        .replace("port=\"874\"", "port=\"x\"")
        .replace("<moveTo ", "<moveToo ")
        .replace("watch=\"/opt/tongbu\">\n\t    <remote", "watch=“opt/tongbu”>\n\t    <remote")
        .replace("-artuz", "-arn");
    let lines: Vec<_> =
        errors(&read_xml(xml)).iter().map(|e| e.split(':').nth(1).unwrap().to_owned()).collect();
    assert_eq!(lines, ["4", "18", "24", "24", "24", "30", "32"]);
}
