//! The role's files: read as YAML, its template rendered, and a real rsync daemon started from that.

use super::kit::{self, Daemon, PASSWORD, good, word};
use crate::common::rsyncd::free_port;
use crate::common::wait::DEADLINE;
use crate::common::world::{wait_identical, write};
use regex::{Captures, Regex};
use serde_yaml::{Mapping, Value};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

fn yaml(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap();
    serde_yaml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// `a` or `a.b`.
fn look_up(vars: &Mapping, name: &str) -> Value {
    let mut parts = name.split('.');
    let first = vars.get(parts.next().unwrap()).unwrap_or_else(|| panic!("no variable {name}"));
    parts.fold(first.clone(), |value, part| value[part].clone())
}

fn shown(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        other => other.as_str().expect("a word or a number").to_owned(),
    }
}

/// As much of Jinja as the templates use: variables, `join`, and a loop over a list.
fn render(template: &str, vars: &Mapping) -> String {
    let repeated = Regex::new(r"(?s)\{% for (\w+) in (\w+) %\}\n(.*?)\{% endfor %\}\n").unwrap();
    let unrolled = repeated.replace_all(template, |found: &Captures| {
        let all = look_up(vars, &found[2]);
        let one = |item: &Value| {
            let mut vars = vars.clone();
            vars.insert(found[1].into(), item.clone());
            render(&found[3], &vars)
        };
        all.as_sequence().unwrap().iter().map(one).collect::<String>()
    });
    let variable = Regex::new(r"\{\{ ([\w.]+)( \| join\(' '\))? \}\}").unwrap();
    let text = variable.replace_all(&unrolled, |found: &Captures| {
        let value = look_up(vars, &found[1]);
        match value.as_sequence() {
            Some(list) => list.iter().map(shown).collect::<Vec<_>>().join(" "),
            None => shown(&value),
        }
    });
    assert!(!text.contains("{{") && !text.contains("{%"), "{text}");
    text.into_owned()
}

/// The same by Jinja itself, with Ansible's settings, where there is one.
fn by_jinja(template: &str, vars: &Mapping) -> Option<String> {
    let program = "import jinja2, json, sys\n\
        t, v = json.load(sys.stdin)\n\
        e = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)\n\
        sys.stdout.write(e.from_string(t).render(v))\n";
    Command::new("python3")
        .args(["-c", "import jinja2"])
        .output()
        .ok()
        .filter(|o| o.status.success())?;
    let mut child = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let input = serde_json::to_vec(&(template, vars)).unwrap();
    child.stdin.take().unwrap().write_all(&input).unwrap();
    Some(good(child.wait_with_output().unwrap()))
}

#[test]
fn the_role_sets_up_a_slave_that_accepts_pushes() {
    let temp = TempDir::with_prefix("syncsup-ansible-").unwrap();
    let (port, _reserved) = free_port();
    let (copy, slave) = (temp.path().join("copy"), temp.path().join("slave"));
    let there = |name: &str| word(slave.join(name));
    let password = temp.path().join("password");
    kit::secret(&password, PASSWORD);
    let www = temp.path().join("www");
    fs::create_dir(&www).unwrap();
    let changes = [
        ("rsyncd_port: 873", &*format!("rsyncd_port: {port}")),
        ("/etc/rsyncd.", &there("")),
        ("/run/rsyncd.", &there("")),
        ("/var/log/rsyncd.log", &there("rsyncd.log")),
        ("rsyncd_masters: [192.0.2.10]", "rsyncd_masters: [192.0.2.10, 127.0.0.1]"),
        ("path: /data/", &format!("path: {}", there(""))),
        ("watch: /data/www", &format!("watch: {}", word(&www))),
        ("CHANGE-ME", PASSWORD),
        ("/etc/rsync.password", &word(password)),
        ("\"192.0.2.11::www\", \"192.0.2.12::www\"", &format!("\"127.0.0.1:{port}::www\"")),
    ];
    kit::copy("ansible", &copy, &changes);
    let role = copy.join("roles/rsyncd");

    // A host of the inventory is one of a group that the playbook means, and has modules of its own or its group's.
    let play = &yaml(&copy.join("site.yml"))[0];
    assert_eq!(play["roles"][0], "rsyncd");
    let group = play["hosts"].as_str().unwrap();
    let inventory = yaml(&copy.join("inventory.yml"));
    let hosts = inventory[group]["hosts"].as_mapping().unwrap();
    assert!(hosts.len() >= 2);
    let mut vars = yaml(&role.join("defaults/main.yml")).as_mapping().unwrap().clone();
    vars.extend(yaml(&copy.join(format!("group_vars/{group}.yml"))).as_mapping().unwrap().clone());

    // Each task has a name and one module; each notified handler exists.
    let tasks = yaml(&role.join("tasks/main.yml"));
    let handlers = yaml(&role.join("handlers/main.yml"));
    let mut modes = std::collections::BTreeMap::new();
    for task in tasks.as_sequence().unwrap() {
        let modules = task.as_mapping().unwrap().keys();
        let modules = modules.filter(|k| k.as_str().unwrap().starts_with("ansible.builtin."));
        assert!(task["name"].is_string() && modules.count() == 1, "{task:?}");
        if let Some(handler) = task["notify"].as_str() {
            assert!(handlers.as_sequence().unwrap().iter().any(|h| h["name"] == handler));
        }
        let template = &task["ansible.builtin.template"];
        if let Some(source) = template["src"].as_str() {
            modes.insert(source.to_owned(), template["mode"].as_str().unwrap().to_owned());
        }
    }

    for host in hosts.values() {
        let mut vars = vars.clone();
        vars.extend(host.as_mapping().unwrap().clone());
        for source in modes.keys() {
            let template = fs::read_to_string(role.join("templates").join(source)).unwrap();
            let text = render(&template, &vars);
            match by_jinja(&template, &vars) {
                Some(theirs) => assert_eq!(text, theirs, "{source}"),
                None => println!("SKIPPED: no Jinja to compare with"),
            }
        }
    }
    assert_eq!(modes["rsyncd.secrets.j2"], "0600");

    // What the tasks would do here.
    fs::create_dir(&slave).unwrap();
    for (source, target) in
        [("rsyncd.conf.j2", "rsyncd_conf"), ("rsyncd.secrets.j2", "rsyncd_secrets")]
    {
        let template = fs::read_to_string(role.join("templates").join(source)).unwrap();
        let target = look_up(&vars, target);
        let mode = u32::from_str_radix(&modes[source], 8).unwrap();
        fs::write(target.as_str().unwrap(), render(&template, &vars)).unwrap();
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(target.as_str().unwrap(), permissions).unwrap();
    }
    for module in vars["rsyncd_modules"].as_sequence().unwrap() {
        fs::create_dir_all(module["path"].as_str().unwrap()).unwrap();
    }
    let conf = look_up(&vars, "rsyncd_conf");
    let _daemon = Daemon::start(Path::new(conf.as_str().unwrap()), "127.0.0.1", port);

    // The master of the README.
    let readme = fs::read_to_string(copy.join("README.md")).unwrap();
    let config = readme.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    fs::write(temp.path().join("master.yaml"), config).unwrap();
    let mut instance =
        kit::instance(&temp.path().join("instance"), &temp.path().join("master.yaml"));
    instance.start(&[], &[&www]);
    write(&www.join("page.html"), "from the master");
    good(instance.command(&["wait", "--all"]));
    wait_identical(&instance, &www, &[&slave.join("www")], DEADLINE);
}
