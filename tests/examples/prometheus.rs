//! The names that rules and dashboard use, and what a running reporter prints.

use super::kit::{self, good, word};
use crate::common::rsyncd::{Rsyncd, free_port};
use crate::common::wait::{DEADLINE, poll};
use crate::common::world::write;
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use tempfile::TempDir;

/// The labels of each metric.
type Metrics = BTreeMap<String, BTreeSet<String>>;

fn scrape(port: u16, token: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let request = format!(
        "GET /metrics HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.contains(" 200 ").then(|| body.to_owned())
}

fn parse(text: &str) -> Metrics {
    let label = Regex::new(r#"([a-z_]+)=""#).unwrap();
    let mut metrics = Metrics::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let labels = metrics.entry(name.to_owned()).or_default();
        labels.extend(label.captures_iter(line).map(|c| c[1].to_owned()));
    }
    metrics
}

/// The metrics of an expression are there, and have the labels that it and `words` use.
fn check(place: &str, expr: &str, words: &str, metrics: &Metrics) -> BTreeSet<String> {
    let name = Regex::new(r"\bsyncsup_[a-z_]+").unwrap();
    let used: BTreeSet<String> = name.find_iter(expr).map(|m| m.as_str().to_owned()).collect();
    // What Prometheus itself adds.
    let mut known: BTreeSet<&str> = ["instance", "job"].into();
    for metric in &used {
        let labels = metrics.get(metric).unwrap_or_else(|| panic!("{place}: there is no {metric}"));
        known.extend(labels.iter().map(String::as_str));
    }
    let selector = Regex::new(r#"([a-z_]+)=[~]?""#).unwrap();
    let shown = Regex::new(r"\{\{ *(?:\$labels\.)?([a-z_]+)").unwrap();
    let labels = selector.captures_iter(expr).chain(shown.captures_iter(words));
    for label in labels.map(|c| c.get(1).unwrap().as_str()) {
        assert!(known.contains(label), "{place}: {used:?} has no label {label}");
    }
    used
}

#[test]
fn rules_and_dashboard_use_metrics_that_the_reporter_exports() {
    let temp = TempDir::with_prefix("syncsup-prometheus-").unwrap();
    let slaves = [Rsyncd::start(), Rsyncd::start()];
    let (port, _reserved) = free_port();
    let (copy, www) = (temp.path().join("copy"), temp.path().join("www"));
    fs::create_dir(&www).unwrap();
    let token = temp.path().join("token");
    kit::secret(&token, "a-token-of-these-tests");
    let changes = [
        ("192.0.2.11::www", &*slaves[0].name()),
        ("192.0.2.12::www", &slaves[1].name()),
        ("192.0.2.10:8008", &format!("127.0.0.1:{port}")),
        ("/etc/syncsup/token", &word(token)),
        ("/data/www", &word(&www)),
    ];
    kit::copy("prometheus", &copy, &changes);
    let mut instance = kit::instance(&temp.path().join("instance"), &copy.join("syncsup.yaml"));
    instance.start(&[], &[&www]);
    write(&www.join("page"), "x");
    good(instance.command(&["wait", "--all"]));
    // The reporter knows all when it names both remotes.
    let metrics = poll(DEADLINE, || {
        let text = scrape(port, "a-token-of-these-tests")?;
        slaves.iter().all(|s| text.contains(&s.name())).then(|| parse(&text))
    });
    let metrics = metrics.unwrap_or_else(|| panic!("no metrics\n{}", instance.report()));
    assert!(scrape(port, "another-token-of-tests").is_none());

    let rules = fs::read_to_string(copy.join("rules.yml")).unwrap();
    let rules: serde_yaml::Value = serde_yaml::from_str(&rules).unwrap();
    let mut used = BTreeSet::new();
    let list = rules["groups"][0]["rules"].as_sequence().unwrap();
    assert!(list.len() >= 8);
    for rule in list {
        let (alert, expr) = (rule["alert"].as_str().unwrap(), rule["expr"].as_str().unwrap());
        let summary = rule["annotations"]["summary"].as_str().unwrap();
        assert!(rule["labels"]["severity"].is_string(), "{alert}");
        let words = summary.replace("{{ $value", "");
        used.extend(check(alert, expr, &words, &metrics));
    }

    let dashboard = fs::read(copy.join("dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_slice(&dashboard).unwrap();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        for target in panel["targets"].as_array().unwrap() {
            let expr = target["expr"].as_str().unwrap();
            let legend = target["legendFormat"].as_str().unwrap().replace("{{", "{{ $labels.");
            used.extend(check(title, expr, &legend, &metrics));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if let Some(query) = variable["definition"].as_str() {
            used.extend(check("variable", query, "", &metrics));
        }
    }
    let unused: Vec<_> = metrics.keys().filter(|name| !used.contains(*name)).collect();
    assert_eq!(unused, ["syncsup_build_info"], "printed, and shown nowhere");

    let scraping = fs::read_to_string(copy.join("prometheus.yml")).unwrap();
    let scraping: serde_yaml::Value = serde_yaml::from_str(&scraping).unwrap();
    let job = &scraping["scrape_configs"][0];
    // The rules' `up{job="syncsup"}`.
    assert_eq!(job["job_name"], "syncsup");
    assert_eq!(job["static_configs"][0]["targets"][0], format!("127.0.0.1:{port}").as_str());
}
