//! The three ways to refresh a CDN, with a real HTTP server for all.

use super::kit::{self, word};
use crate::common::rsyncd::Rsyncd;
use crate::common::wait::{DEADLINE, wait_for};
use crate::common::world::write;
use crate::plugin::servers::{Server, decoded, fields, read_request};
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use tempfile::TempDir;

#[test]
fn a_change_is_announced_once_all_servers_have_it() {
    if Command::new("curl").arg("--version").output().is_err() {
        println!("SKIPPED: there is no curl");
        return;
    }
    let temp = TempDir::with_prefix("syncsup-cdn-").unwrap();
    let slaves = [Rsyncd::start(), Rsyncd::start()];
    let (copy, www) = (temp.path().join("copy"), temp.path().join("www"));
    fs::create_dir(&www).unwrap();
    // Each request, and whether the servers were as the master at that moment.
    let name = "news/ü 1%.html";
    let mut places: Vec<_> = slaves.iter().map(|s| s.path().join(name)).collect();
    places.push(www.join(name));
    let server = Server::start(move |mut stream, _| {
        let Some(request) = read_request(&mut stream) else { return vec![] };
        let states: Vec<_> = places.iter().map(|place| fs::read(place).ok()).collect();
        let equal = if states.iter().all(|s| s == &states[0]) { "" } else { "EARLY " };
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let _ = stream.write_all(answer);
        vec![[equal.as_bytes(), &request[..]].concat()]
    });
    let url = format!("http://127.0.0.1:{}", server.port);
    let changes = [
        ("192.0.2.11::www", &*slaves[0].name()),
        ("192.0.2.12::www", &slaves[1].name()),
        ("/data/www", &word(&www)),
        ("host: ccms.chinacache.com, port: 80", &format!("host: 127.0.0.1, port: {}", server.port)),
        ("http://cms.example.com", &url),
        ("http://cache.example.com", &url),
        ("/usr/local/bin/cdn-purge", &word(copy.join("cdn-purge"))),
    ];
    kit::copy("cdn", &copy, &changes);
    let mut instance = kit::instance(&temp.path().join("instance"), &copy.join("syncsup.yaml"));
    instance.start(&[], &[&www]);

    // How often the file was told in each way.
    let told = || {
        let mut counts = [0; 3];
        for request in server.heard() {
            let request = String::from_utf8(request).unwrap();
            let (early, request) = match request.strip_prefix("EARLY ") {
                Some(request) => (true, request),
                None => (false, &*request),
            };
            let (line, body) = (request.lines().next().unwrap(), request.rsplit("\r\n\r\n").next());
            let words: Vec<&str> = line.split(' ').collect();
            let target = words[1];
            let is_it = match words[0] {
                "HEAD" => {
                    let query =
                        fields(target.strip_prefix("/index.jsp?").expect("ChinaCache's page"));
                    assert!(query["user"] == b"USER" && query["pswd"] == b"PASSWORD", "{line}");
                    let wanted = format!("http://www.example.com/{name}");
                    (query.get("urls") == Some(&wanted.into_bytes())).then_some(0)
                }
                "POST" => {
                    assert_eq!(target, "/changed");
                    let path = fields(body.unwrap())["inotifyPath"].clone();
                    (path == www.join(name).as_os_str().as_bytes()).then_some(1)
                }
                "PURGE" => (decoded(target) == format!("/{name}").as_bytes()).then_some(2),
                _ => panic!("from an unknown sender: {line}"),
            };
            if let Some(way) = is_it {
                assert!(!early, "told before all servers had it: {line}");
                counts[way] += 1;
            }
        }
        counts
    };
    write(&www.join(name), "hot");
    wait_for("every announcement of the change", DEADLINE, || told().iter().all(|n| *n >= 1));
    instance.wait_status("the plugins to be idle", |status| {
        let plugins = status["instances"][0]["localpaths"][0]["plugins"].as_array();
        plugins.is_some_and(|all| {
            all.len() == 3 && all.iter().all(|p| p["state"] == "idle" && p["waiting"] == 0)
        })
    });
    let before = told();
    fs::remove_file(www.join(name)).unwrap();
    wait_for(&format!("the deletion too, after {before:?}"), DEADLINE, || {
        told().iter().zip(before).all(|(now, before)| *now > before)
    });
}
