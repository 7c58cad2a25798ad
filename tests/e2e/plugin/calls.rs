//! What each plugin is told.

use super::servers::{Server, decoded, fields, read_request};
use super::{HOSTILE, at, recorded, recorder, wait_idle, world, world_with};
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::World;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

fn absolute(w: &World, name: &[u8]) -> Vec<u8> {
    at(w, name).as_os_str().as_bytes().to_vec()
}

/// Writes every hostile name, and removes them all when `settled` says that the writes were told.
fn churn(w: &World, settled: impl Fn(&World)) -> BTreeSet<Vec<u8>> {
    for name in HOSTILE {
        fs::write(at(w, name), name).unwrap();
    }
    settled(w);
    w.wait_identical();
    for name in HOSTILE {
        fs::remove_file(at(w, name)).unwrap();
    }
    HOSTILE.iter().map(|n| absolute(w, n)).collect()
}

#[test]
fn a_command_gets_hostile_names_as_one_argument() {
    let dir = tempfile::tempdir().unwrap();
    let (script, record) = recorder(dir.path(), "");
    let plugin =
        format!("command: {{prefix: \"{} 'a b' -x\", suffix: \"'$y' z\"}}", script.display());
    let mut w = world(1, &[plugin]);
    w.run(&[]);
    let wanted = churn(&w, |_| {
        wait_for("calls", DEADLINE, || recorded(&record).len() == HOSTILE.len());
    });
    wait_for("calls for removed paths", DEADLINE, || recorded(&record).len() == 2 * HOSTILE.len());
    wait_idle(&w);
    let calls = recorded(&record);
    assert_eq!(calls.len(), 2 * HOSTILE.len(), "one for each change, one for each deletion");
    for call in &calls {
        assert_eq!(call[..2], [b"a b".to_vec(), b"-x".to_vec()]);
        assert_eq!(call[3..], [b"$y".to_vec(), b"z".to_vec()]);
    }
    for half in calls.chunks(HOSTILE.len()) {
        let paths: BTreeSet<Vec<u8>> = half.iter().map(|c| c[2].clone()).collect();
        assert_eq!(paths, wanted);
    }
    for dir in [w.master.as_path(), dir.path(), "/".as_ref()] {
        assert!(!dir.join("pwned").exists(), "a name was run");
    }
    w.wait_identical();
    assert!(w.instance.stop().success());
}

#[test]
fn a_command_can_have_a_filter_and_ignore_errors() {
    let dir = tempfile::tempdir().unwrap();
    let (script, record) = recorder(dir.path(), "echo noise");
    // It fails after it has written its call down.
    let text = fs::read_to_string(&script).unwrap() + "echo loud >&2; exit 3\n";
    fs::write(&script, text).unwrap();
    let plugin = format!(
        "command: {{prefix: {script:?}, ignore_error: true, include: ['(.*)\\.php', '(.*)\\.sh']}}"
    );
    let mut w = world(1, &[plugin]);
    w.run(&[]);
    for name in ["a.php", "b.txt", "c.sh", "c.sh.bak"] {
        w.write(name, "x");
    }
    wait_for("two calls", DEADLINE, || recorded(&record).len() == 2);
    wait_idle(&w);
    let names: BTreeSet<Vec<u8>> = recorded(&record).into_iter().map(|c| c[0].clone()).collect();
    assert_eq!(names, BTreeSet::from([absolute(&w, b"a.php"), absolute(&w, b"c.sh")]));
    // Neither where it is said nor where it is shown, and it is no failure.
    let status = w.instance.command(&["status", "--json"]);
    let table = w.instance.command(&["status"]);
    let shown = format!("{}{status:?}{table:?}", w.instance.log_text());
    assert!(!shown.contains("loud") && !shown.contains("noise"), "its output is shown: {shown}");
    let local = w.wait_local("two calls", |l| l["plugins"][0]["calls"] == 2);
    assert_eq!(
        (&local["plugins"][0]["given_up"], &local["plugins"][0]["reason"]),
        (&0.into(), &serde_json::Value::Null)
    );
}

#[test]
fn a_socket_gets_one_connection_for_each_change() {
    let server = Server::lines();
    let mut w = world(1, &[format!("socket: {{host: 127.0.0.1, port: {}}}", server.port)]);
    w.run(&[]);
    let n = HOSTILE.len();
    let wanted = churn(&w, |w| drop(server.wait(n, || w.instance.report())));
    server.wait(2 * n, || w.instance.report());
    wait_idle(&w);
    assert!(server.counts().values().all(|&times| times == 2));
    assert_eq!(server.counts().into_keys().collect::<BTreeSet<_>>(), wanted);
}

#[test]
fn a_socket_can_separate_paths_with_nul_on_one_connection() {
    let server = Server::start(|mut stream, _| {
        let mut got = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut got).expect("paths");
        got.split(|&b| b == 0).filter(|p| !p.is_empty()).map(<[u8]>::to_vec).collect()
    });
    let plugin = format!("socket: {{host: 127.0.0.1, port: {}, separator: nul}}", server.port);
    let mut w = world(1, &[plugin]);
    w.run(&[]);
    let wanted = churn(&w, wait_calls(HOSTILE.len() as u64));
    w.wait_local("all calls", |l| l["plugins"][0]["calls"] == 2 * HOSTILE.len());
    w.instance.stop();
    server.wait(2 * HOSTILE.len(), String::new);
    assert_eq!(server.counts().into_keys().collect::<BTreeSet<_>>(), wanted);
    assert_eq!(server.shared.connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[test]
fn a_socket_can_separate_paths_with_newlines_on_one_connection() {
    let server = Server::start(|mut stream, _| {
        let mut got = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut got).expect("paths");
        assert_eq!(got.last(), Some(&b'\n'), "the last path has an end, too");
        got[..got.len() - 1].split(|&b| b == b'\n').map(<[u8]>::to_vec).collect()
    });
    let plugin = format!("socket: {{host: 127.0.0.1, port: {}, separator: newline}}", server.port);
    let mut w = world(1, &[plugin]);
    w.run(&[]);
    // A name with a newline in it would be heard as two: it is given up, and said.
    let broken = HOSTILE.iter().filter(|n| n.contains(&b'\n')).count();
    let sent = HOSTILE.len() - broken;
    let mut wanted = churn(&w, wait_calls(sent as u64));
    wanted.retain(|path| !path.contains(&b'\n'));
    w.wait_local("all calls", |l| {
        let plugin = &l["plugins"][0];
        plugin["calls"] == 2 * sent && plugin["given_up"] == broken && plugin["waiting"] == 0
    });
    assert!(w.instance.log_text().contains("use `separator: nul`"), "{}", w.instance.log_text());
    w.instance.stop();
    server.wait(2 * sent, String::new);
    assert!(server.counts().values().all(|&times| times == 2), "{:?}", server.counts());
    assert_eq!(server.counts().into_keys().collect::<BTreeSet<_>>(), wanted);
    assert_eq!(server.shared.connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}

fn wait_calls(count: u64) -> impl Fn(&World) {
    move |w: &World| drop(w.wait_local("calls", |l| l["plugins"][0]["calls"] == count))
}

/// Checks what an HTTP server heard: sersync's fields, one change and one deletion of each name.
fn check_forms(w: &World, wanted: &BTreeSet<Vec<u8>>, requests: &[Vec<u8>]) {
    let (mut changed, mut deleted) = (BTreeSet::new(), BTreeSet::new());
    for request in requests {
        let text = String::from_utf8(request.clone()).expect("nothing but ASCII");
        let (head, body) = text.split_once("\r\n\r\n").expect("head and body");
        assert!(head.starts_with("POST "), "{head}");
        assert!(head.to_lowercase().contains("application/x-www-form-urlencoded"), "{head}");
        let fields = fields(body);
        assert_eq!(fields["watchroot"], w.master.as_os_str().as_bytes());
        assert_eq!((fields["isdir"].as_slice(), fields.len()), (&b"0"[..], 4));
        match fields["mask"].as_slice() {
            b"8" => changed.insert(fields["inotifyPath"].clone()),
            b"512" => deleted.insert(fields["inotifyPath"].clone()),
            other => panic!("mask {other:?}"),
        };
    }
    assert_eq!((&changed, &deleted), (wanted, wanted));
    assert_eq!(requests.len(), 2 * wanted.len());
}

#[test]
fn http_plugins_post_forms() {
    let server = Server::http();
    let mut w = world(1, &[format!("http: {{url: 'http://127.0.0.1:{}/in'}}", server.port)]);
    w.run(&[]);
    let n = HOSTILE.len();
    let wanted = churn(&w, |w| drop(server.wait(n, || w.instance.report())));
    server.wait(2 * n, || w.instance.report());
    wait_idle(&w);
    check_forms(&w, &wanted, &server.heard());
    fs::create_dir(w.at("directory")).unwrap();
    let heard = server.wait(2 * n + 1, || w.instance.report());
    let form = String::from_utf8(heard[2 * n].clone()).unwrap();
    let fields = fields(form.split_once("\r\n\r\n").unwrap().1);
    assert_eq!(fields["inotifyPath"], absolute(&w, b"directory"));
    assert_eq!(fields["isdir"], b"1");
}

#[test]
fn https_accepts_a_private_certificate() {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let server = Server::start(move |stream, _| {
        let session = rustls::ServerConnection::new(config.clone()).unwrap();
        let mut stream = rustls::StreamOwned::new(session, stream);
        let Some(request) = read_request(&mut stream) else { return vec![] };
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        stream.conn.send_close_notify();
        let _ = stream.flush();
        vec![request]
    });
    let dir = tempfile::tempdir().unwrap();
    let (ca, url) = (dir.path().join("ca.pem"), format!("https://127.0.0.1:{}/", server.port));
    fs::write(&ca, made.cert.pem()).unwrap();
    let mut w = world(1, &[format!("http: {{url: '{url}', ca_file: {ca:?}}}")]);
    w.run(&[]);
    let n = HOSTILE.len();
    let wanted = churn(&w, |w| drop(server.wait(n, || w.instance.report())));
    server.wait(2 * n, || w.instance.report());
    wait_idle(&w);
    check_forms(&w, &wanted, &server.heard());
    // Nobody else trusts it.
    let mut other = world(1, &[format!("http: {{url: '{url}', retry: 100ms}}")]);
    other.run(&[]);
    other.write("x", "x");
    let local = other.wait_local("a refusal", |l| l["plugins"][0]["failing"] == 1);
    let why = local["plugins"][0]["reason"].as_str().unwrap().to_lowercase();
    assert!(why.contains("cert"), "{why}");
    other.wait_identical();
}

/// A ChinaCache-shaped endpoint: answers HEAD with its word in `whatsup`; wrong passwords with another.
pub(super) fn chinacache() -> Server {
    Server::start(|mut stream, shared| {
        let Some(request) = read_request(&mut stream) else { return vec![] };
        let text = String::from_utf8(request.clone()).expect("nothing but ASCII");
        let line = text.lines().next().unwrap();
        let query = line.strip_prefix("HEAD /index.jsp?").and_then(|l| l.strip_suffix(" HTTP/1.0"));
        let query = query.unwrap_or_else(|| panic!("{line}")).to_owned();
        let good = query.starts_with("user=u%26ser&pswd=ge%20heim&ok=ok&");
        let said = if good { "succeed" } else { "the password ge heim is wrong" };
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nwhatsup: content=\"{said}\"\r\n\r\n");
        let _ = shared;
        vec![query.into_bytes()]
    })
}

fn cdn(port: u16, more: &str) -> String {
    format!(
        "refresh_cdn: {{host: 127.0.0.1, port: {port}, user: 'u&ser', password: ge heim, \
         base_url: 'http://pic.xoyo.com/cms'{more}}}"
    )
}

#[test]
fn refresh_cdn_works_as_in_the_tutorials() {
    let (with, without) = (chinacache(), chinacache());
    let pattern = ", url_match: 'master([/a-zA-Z0-9]*).xoyo.com/images'";
    let mut w = world_with(1, &[cdn(with.port, pattern), cdn(without.port, "")], "");
    w.run(&[]);
    w.write("jx3.xoyo.com/images/a/123.txt", "x");
    w.write("elsewhere", "x");
    let report = || w.instance.report();
    // Three directories below jx3.xoyo.com and the file; `elsewhere` is not in that CDN, nor is jx3.xoyo.com.
    with.wait(3, report);
    without.wait(5, report);
    wait_idle(&w);
    let asked = |server: &Server| -> BTreeSet<String> {
        let texts = server.heard().into_iter().map(|q| String::from_utf8(q).unwrap());
        texts.map(|t| t.rsplit_once("&ok=ok&").unwrap().1.to_owned()).collect()
    };
    let base = "http://pic.xoyo.com/cms";
    let wanted: BTreeSet<String> = [
        format!("dirs={base}/jx3/"),
        format!("dirs={base}/jx3/a/"),
        format!("urls={base}/jx3/a/123.txt"),
    ]
    .into();
    assert_eq!(asked(&with), wanted);
    let jx3 = format!("{base}/jx3.xoyo.com");
    let wanted: BTreeSet<String> = [
        format!("dirs={jx3}/"),
        format!("dirs={jx3}/images/"),
        format!("dirs={jx3}/images/a/"),
        format!("urls={jx3}/images/a/123.txt"),
        format!("urls={base}/elsewhere"),
    ]
    .into();
    assert_eq!(asked(&without), wanted);
}

#[test]
fn refresh_cdn_handles_hostile_names_and_hides_its_password() {
    let server = chinacache();
    let mut w = world(1, &[cdn(server.port, "")]);
    w.run(&["-v"]);
    let n = HOSTILE.len();
    churn(&w, |w| drop(server.wait(n, || w.instance.report())));
    server.wait(2 * n, || w.instance.report());
    wait_idle(&w);
    let base = b"http://pic.xoyo.com/cms/";
    let wanted: BTreeSet<Vec<u8>> = HOSTILE.iter().map(|n| [&base[..], n].concat()).collect();
    let asked = server.heard().into_iter().map(|query| {
        let text = String::from_utf8(query).unwrap();
        assert_eq!(text.matches('&').count(), 3, "a name added a field: {text}");
        decoded(text.rsplit_once("&urls=").unwrap().1)
    });
    assert_eq!(asked.collect::<BTreeSet<_>>(), wanted);
    let commands: Vec<String> = w.instance.family().into_iter().map(|p| p.command).collect();
    let status = w.instance.command(&["status", "--json"]);
    let shown = [w.instance.log_text(), commands.join("\n"), format!("{status:?}")].join("\n");
    assert!(!shown.contains("heim"), "the password is shown:\n{shown}");
}

#[test]
fn a_wrong_cdn_password_is_reported_without_showing_it() {
    let server = chinacache();
    let plugin = cdn(server.port, ", attempts: 2, retry: 50ms").replace("u&ser", "other");
    let mut w = world_with(1, &[plugin], "fail_log: {path: /FAIL}\n");
    let log = w.outside.join("fail.sh");
    let config = w.instance.config().to_owned();
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("/FAIL", log.to_str().unwrap())).unwrap();
    w.run(&[]);
    w.write("x", "x");
    let local = w.wait_local("given up", |l| l["plugins"][0]["given_up"] == 1);
    let why = local["plugins"][0]["reason"].as_str().unwrap();
    assert!(why.contains("is wrong") && !why.contains("heim"), "{why}");
    wait_for("the failure journal", DEADLINE, || {
        fs::read_to_string(&log).is_ok_and(|t| t.contains("plugin refreshCDN: x: it answers"))
    });
    assert!(!fs::read_to_string(&log).unwrap().contains("heim"));
    assert!(!w.instance.log_text().contains("heim"));
    let table = w.instance.command(&["status"]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains("plugin refreshCDN") && table.contains("1 given up"), "{table}");
    w.wait_identical();
}
