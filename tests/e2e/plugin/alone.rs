//! `-m`: plugins without remotes; and configurations that nothing can be started with.

use super::calls::chinacache;
use super::servers::Server;
use super::{recorded, recorder};
use crate::common::instance::Instance;
use crate::common::wait::{DEADLINE, holds_for, wait_for};
use crate::common::world::{Setup, World, write};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

fn xml(master: &str, section: &str) -> String {
    starting(("false", "command"), master, section)
}

/// The same with a plugin that is called when it replicates, or not.
fn starting((start, name): (&str, &str), master: &str, section: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<head version="2.5">
    <sersync>
	<localpath watch="{master}">
	    <remote ip="127.0.0.1" name="nowhere"/>
	</localpath>
	<rsync>
	    <commonParams params="-artuz"/>
	    <userDefinedPort start="true" port="9"/>
	</rsync>
	<plugin start="{start}" name="{name}"/>
    </sersync>
    {section}
</head>
"#
    )
}

#[test]
fn sersyncs_plugin_modules_run_as_daemons_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let (server, cdn) = (Server::lines(), chinacache());
    let (script, record) = recorder(dir.path(), "");
    let [one, two, three] = ["one", "two", "three"].map(|name| dir.path().join(name));
    for watch in [&one, &two, &three] {
        fs::create_dir(watch).unwrap();
    }
    let section = format!(
        r#"<plugin name="command"><param prefix="{}" suffix="" ignoreError="true"/>
<filter start="true"><include expression="(.*)\.php"/></filter></plugin>
<plugin name="socket"><localpath watch="{}"><deshost ip="127.0.0.1" port="{}"/></localpath></plugin>
<plugin name="refreshCDN"><localpath watch="{}">
<cdninfo domainname="127.0.0.1" port="{}" username="u&amp;ser" passwd="ge heim"/>
<sendurl base="http://pic.xoyo.com/cms"/></localpath></plugin>"#,
        script.display(),
        two.display(),
        server.port,
        three.display(),
        cdn.port
    );
    // Were it not for -m, the socket would hear of the directory that the command is called for.
    let text = starting(("true", "socket"), one.to_str().unwrap(), &section);
    let mut instance = Instance::new(&dir.path().join("instance"), "confxml.xml", &text);
    let kinds = ["command", "socket", "refreshCDN"];
    for kind in kinds {
        let out = instance.command(&["-d", "-m", kind]);
        assert!(out.status.success(), "{out:?}");
    }
    write(&one.join("a.php"), "x");
    write(&one.join("b.txt"), "x");
    write(&two.join("c"), "x");
    write(&three.join("d"), "x");
    server.wait(1, || instance.log_text());
    assert!(cdn.wait(1, || instance.log_text())[0].ends_with(b"&urls=http://pic.xoyo.com/cms/d"));
    wait_for("a command", DEADLINE, || recorded(&record).len() == 1);
    let each_its_own = || {
        recorded(&record) == [[one.join("a.php").as_os_str().as_bytes().to_vec()]]
            && server.heard() == [two.join("c").as_os_str().as_bytes()]
            && cdn.heard().len() == 1
    };
    holds_for("each its own", Duration::from_millis(500), each_its_own);
    assert!(instance.pushers().is_empty() && instance.rsyncs().is_empty(), "something pushes");
    let mut status = instance.prepare(&Instance::program(), &["status", "--json"]);
    let status = status.output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    let instances = status["instances"].as_array().unwrap();
    assert_eq!(instances.len(), kinds.len(), "{status}");
    assert!(instances.iter().all(|i| i["localpaths"][0]["remotes"] == serde_json::json!([])));
    for kind in kinds {
        let out = instance.command(&["stop", "-m", kind]);
        assert!(out.status.success(), "{out:?}");
    }
    assert_eq!(instance.command(&["status"]).status.code(), Some(3));
    // In the foreground.
    instance.start(&["-m", "refreshCDN"], &[&three]);
    write(&three.join("e"), "x");
    assert!(cdn.wait(2, || instance.log_text())[1].ends_with(b"&urls=http://pic.xoyo.com/cms/e"));
    assert!(instance.stop().success());
}

#[test]
fn a_plugin_instance_runs_beside_a_replicating_one() {
    let server = Server::http();
    let plugins = format!("plugins: [{{http: {{host: 127.0.0.1, port: {}}}}}]\n", server.port);
    let mut w = Setup { settings: plugins.leak(), ..Setup::default() }.build();
    let out = w.instance.command(&["-d", "-m", "http"]);
    assert!(out.status.success(), "{out:?}");
    w.write("alone", "x");
    server.wait(1, || w.instance.report());
    assert!(!w.there("alone").exists(), "it pushes");
    w.run(&[]);
    w.write("both", "x");
    server.wait(3, || w.instance.report());
    w.wait_identical();
    let out = w.instance.command(&["stop", "-m", "http"]);
    assert!(out.status.success(), "{out:?}");
    w.write("one", "x");
    server.wait(4, || w.instance.report());
    w.wait_identical();
}

/// The exit status and the words of a command; nothing is added to it.
fn said(w: &World, args: &[&str]) -> (i32, String) {
    let out = w.instance.prepare(&Instance::program(), args).output().unwrap();
    let text = [out.stdout, out.stderr].concat();
    (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

/// Commands address the replicating instance, and a plugin instance only with `-m`.
#[test]
fn commands_address_the_plugin_instance_only_with_m() {
    let server = Server::http();
    let plugins = format!("plugins: [{{http: {{host: 127.0.0.1, port: {}}}}}]\n", server.port);
    let mut w = Setup { settings: plugins.leak(), ..Setup::default() }.build();
    let file = w.instance.config().to_str().unwrap().to_owned();
    assert_eq!(said(&w, &["-d", "-m", "http", "-o", &file]).0, 0);
    for command in ["stop", "sync", "status", "reload"] {
        let (code, text) = said(&w, &[command, "-o", &file]);
        assert_eq!(code, 3, "{command}: {text}");
    }
    wait_for("nothing to do", DEADLINE, || said(&w, &["status", "-m", "http", "-o", &file]).0 == 0);
    assert_eq!(said(&w, &["status", "-m", "socket"]).0, 3);
    w.run(&[]);
    w.write("a", "x");
    w.wait_identical();
    for args in [&["sync"][..], &["sync", "-o", &file]] {
        let (code, text) = said(&w, args);
        assert!(code == 0 && !text.contains("no remote"), "{text}");
    }
    let log = w.outside.join("rsync_fail_log.sh");
    let remote = &w.remotes[0];
    let line = format!(
        "cd {} && rsync -artuz -R --delete ./ --port={} 127.0.0.1::www\n",
        w.master.display(),
        remote.port
    );
    fs::write(&log, line).unwrap();
    for args in [&[][..], &["-o", &file]] {
        let (_, text) = said(&w, &[&["journal", "import", log.to_str().unwrap()], args].concat());
        assert!(
            text.contains("imported") && !text.contains("not configured in this instance"),
            "{text}"
        );
    }
    let (_, text) = said(&w, &["status", "--json", "-o", &file]);
    let status: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(status["instances"].as_array().unwrap().len(), 1, "{text}");
    let (code, text) = said(&w, &["stop"]);
    assert!(code == 2 && text.contains("-m http"), "{text}");
    assert_eq!(said(&w, &["stop", "-m", "http"]).0, 0);
}

#[test]
fn a_failing_plugin_instance_is_not_in_sync() {
    let plugins = "plugins: [{http: {host: 127.0.0.1, port: 1}}]\n";
    let w = Setup { settings: plugins, ..Setup::default() }.build();
    assert!(w.instance.command(&["-d", "-m", "http"]).status.success());
    let status = || w.instance.command(&["status", "-m", "http"]).status.code();
    wait_for("nothing to do", DEADLINE, || status() == Some(0));
    w.write("a", "x");
    wait_for("a failure in the exit status", DEADLINE, || status() == Some(1));
    let (_, shown) = said(&w, &["status"]);
    assert!(shown.contains("failing") && shown.contains("plugin http"), "{shown}");
    assert!(w.instance.command(&["stop", "-m", "http"]).status.success());
}

/// What a start says; it must start nothing.
#[track_caller]
fn refused(text: &str, args: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let master = dir.path().join("m");
    fs::create_dir(&master).unwrap();
    let text = text.replace("@M@", master.to_str().unwrap());
    let name = if text.starts_with('<') { "confxml.xml" } else { "c.yaml" };
    let instance = Instance::new(&dir.path().join("i"), name, &text);
    let out = instance.command(args);
    assert_eq!(out.status.code(), Some(2), "{out:?}");
    let journals = fs::read_dir(instance.state_dir()).into_iter().flatten().flatten();
    let journals = journals.filter(|e| e.path().is_dir()).count();
    assert!(instance.pid_file().is_none() && journals == 0, "it started");
    String::from_utf8_lossy(&out.stderr).into_owned()
}

#[test]
fn mistakes_are_reported_with_file_and_line_before_the_start() {
    let command = |filter: &str| {
        format!(
            "<plugin name=\"command\"><param prefix=\"x\"/>\n<filter start=\"true\">{filter}</filter></plugin>"
        )
    };
    let bad = xml("@M@", &command("<include expression=\"*.php\"/>"));
    let said = refused(&bad, &["run"]);
    assert!(said.contains("confxml.xml:14: include expression: `*.php`"), "{said}");
    let cdn = r#"<plugin name="refreshCDN"><localpath watch="/x">
<cdninfo domainname="h" port="80" username="u" passwd="p"/><sendurl base="http://x"/>
<regexurl regex="true" match="a(b"/></localpath></plugin>"#;
    let said = refused(&xml("@M@", cdn), &["-d"]);
    assert!(said.contains("confxml.xml:15: regexurl match: `a(b`"), "{said}");
    let unknown = xml("@M@", "<plugin name=\"sokket\"/>");
    let said = refused(&unknown, &["check"]);
    assert!(
        said.contains(
            "confxml.xml:13: plugin name: `sokket` is not a plugin; did you mean `socket`?"
        ),
        "{said}"
    );
    let missing =
        xml("@M@", "").replace("start=\"false\" name=\"command\"", "start=\"true\" name=\"http\"");
    let said = refused(&missing, &["run"]);
    assert!(
        said.contains("confxml.xml:11: plugin `http` is started, but has no section"),
        "{said}"
    );
    let said = refused(&xml("@M@", ""), &["-m", "refreshCDN"]);
    assert!(said.contains("confxml.xml: -m refreshCDN: no such plugin is configured"), "{said}");
    let said = refused(&xml("@M@", ""), &["-m", "refreshcdn"]);
    assert!(said.contains("did you mean refreshCDN?"), "{said}");
    let yaml = "plugins:\n- refresh_cdn: {host: h, port: 80, user: u, password: p, base_url: 'http://x',\n    url_match: '('}\n\
                localpaths: [{watch: '@M@', remotes: ['127.0.0.1:9::m']}]\n";
    let said = refused(yaml, &["run"]);
    assert!(said.contains("c.yaml:3: plugin url_match: `(`"), "{said}");
}
