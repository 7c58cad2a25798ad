//! The JSON Schema for editors: it accepts every example, refuses the mistakes that a schema can see, and knows the keys
//! of the manual.

use super::BASE;
use super::errors::MISTAKES;
use crate::common::{errors, read_yaml};
use jsonschema::Validator;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use syncsup::config::SCHEMA;

/// What is wrong with these is beyond a schema: the parts of a text, other lines, what rsync and regular expressions mean.
const BEYOND: &[&str] = &[
    "delay: 3ms\ndelay: 4ms\n",
    "rsync: {params: -n}\n",
    "rsync: {params: \"-a 'x\"}\n",
    "filter:\n  exclude:\n    - ok\n    - '*.php'\n",
    "filter: {exclude_glob: ['!x']}\n",
    "crontab: {cron: '* * * *'}\n",
    "crontab: {cron: 0 0 30 2 *}\n",
    "crontab: {every: 30s}\n",
    "verify_schedule: {cron: x}\n",
    "plugins:\n- command: {prefix: \"a 'b\"}\n",
    "on_failure: \"'\"\n",
];

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

fn validator() -> Validator {
    jsonschema::validator_for(&schema()).unwrap()
}

fn value(yaml: &str) -> Value {
    serde_yaml::from_str(yaml).unwrap_or_else(|e| panic!("{e}\n{yaml}"))
}

fn yaml_files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            yaml_files(&path, out);
        } else if path.extension().is_some_and(|e| e == "yaml") {
            out.push(path);
        }
    }
}

#[test]
fn every_example_names_the_schema_and_follows_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    yaml_files(&root.join("examples"), &mut files);
    assert!(files.len() >= 8, "{files:?}");
    let validator = validator();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let line = "# yaml-language-server: $schema=/usr/share/syncsup/syncsup.schema.json\n";
        assert!(text.starts_with(line), "{}", file.display());
        let wrong: Vec<String> = validator
            .iter_errors(&value(&text))
            .map(|e| format!("{}: {e}", e.instance_path()))
            .collect();
        assert!(wrong.is_empty(), "{}: {wrong:#?}", file.display());
    }
}

#[test]
fn mistakes_are_refused_as_far_as_a_schema_can_see_them() {
    let validator = validator();
    assert!(validator.is_valid(&value(BASE)));
    for (text, _) in MISTAKES {
        let whole = format!("{text}{BASE}");
        let refused = serde_yaml::from_str(&whole).map_or(true, |v: Value| !validator.is_valid(&v));
        assert_eq!(refused, !BEYOND.contains(text), "{text}");
    }
    for bad in [
        "localpaths: []\n",
        "localpaths:\n- remotes: ['h::m']\n",
        "localpaths:\n- {watch: data, remotes: ['h::m']}\n",
        "localpaths:\n- {watch: /d}\n",
        "localpaths:\n- {watch: /d, remotes: [/backup]}\n",
        "localpaths:\n- {watch: /d, remotes: [h]}\n",
        "localpaths:\n- {watch: /d, remotes: [{module: m}]}\n",
        "localpaths:\n- {watch: /d, remotes: [{host: h, module: m, path: /p}]}\n",
        "debug: true\n",
    ] {
        assert!(!validator.is_valid(&value(bad)), "{bad}");
    }
}

#[test]
fn what_the_schema_refuses_is_refused() {
    let validator = validator();
    // Values at the limits of what the program accepts.
    for good in [
        "delay: 0\n",
        "delay: auto\n",
        "rsync: {timeout: 3}\n",
        "rsync: {timeout: 2m, auth: {user: 7, password_file: 'credential:rsync'}}\n",
        "rsync: {auth: ~, ssh: false}\n",
        "rsync: {ssh: {port: '22', options: -i /k}}\n",
        "standby: off\n",
        "pace: {cpu: 100%}\n",
        "max_delete: 7\n",
        "large_file: 4096\n",
        "large_file: 1 KB\n",
        "open_after: {'*.log': 10s}\n",
        "open_after: 1s\n",
        "crontab: ~\n",
        "crontab: {every: 60s}\n",
        "fail_log: {path: ~}\n",
        "verify_schedule: {every: 1h, rate: unlimited, checksum: false}\n",
        "trash: {}\n",
        "plugins: ~\n",
        "plugins: [{http: {host: h, port: 80, events: change}}]\n",
        "on_failure: [/bin/a, b c]\nalarm_after: 0\nalarm_user: root\n",
        "http: 8008\n",
        "http: {listen: '0.0.0.0:8008', token_file: 'credential:token', max_lag: 5m}\n",
        "log: {level: error}\nhost: x\nuser: ~\n",
        "filter: {exclude: a, exclude_glob: ['*.tmp']}\n",
    ] {
        let text = format!("{good}{BASE}");
        assert_eq!(errors(&read_yaml(&text)), Vec::<String>::new(), "{good}");
        let wrong: Vec<String> =
            validator.iter_errors(&value(&text)).map(|e| e.to_string()).collect();
        assert!(wrong.is_empty(), "{good}: {wrong:?}");
    }
    for remote in
        ["u@h:9::m/d", "l@h:/p", "[::1]::m", "rsync://u@h:9/m", "{host: '::1', module: m}"]
    {
        let text = format!("localpaths:\n- watch: /d\n  remotes:\n  - {remote}\n");
        let text = if remote.starts_with('[') { text.replace(remote, "'[::1]::m'") } else { text };
        assert_eq!(errors(&read_yaml(&text)), Vec::<String>::new(), "{remote}");
        assert!(validator.is_valid(&value(&text)), "{remote}");
    }
}

fn keys(schema: &Value, out: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                out.extend(properties.keys().cloned());
            }
            map.values().for_each(|value| keys(value, out));
        }
        Value::Array(items) => items.iter().for_each(|value| keys(value, out)),
        _ => {}
    }
}

#[test]
fn the_schema_has_the_keys_of_the_manual() {
    let page = include_str!("../../../man/syncsup.yaml.5");
    let mut known = BTreeSet::new();
    keys(&schema(), &mut known);
    let items = page.lines().filter_map(|line| line.strip_prefix(".It Cm "));
    let words = items.flat_map(|rest| {
        let rest = rest.split(" No ").next().unwrap_or(rest);
        let rest = rest.split(" Ta ").next().unwrap_or(rest);
        rest.split([' ', ','])
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    let manual: BTreeSet<String> = words.collect();
    let missing: Vec<&String> = manual.difference(&known).collect();
    assert!(missing.is_empty(), "not in the schema: {missing:?}");
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let words: BTreeSet<&str> = page.split(word).collect();
    let more: Vec<&String> = known.iter().filter(|key| !words.contains(key.as_str())).collect();
    assert!(more.is_empty(), "not in the manual: {more:?}");
}
