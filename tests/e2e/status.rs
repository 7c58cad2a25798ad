//! `syncsup status` as a person sees it: names, problems, languages, widths, colours. Its words are in `snapshots/`.

use crate::common::instance::Instance;
use crate::common::pty::Terminal;
use crate::common::wait::{DEADLINE, poll};
use crate::common::world::{Setup, World};
use serde_json::Value;
use std::process::{Command, Output};

fn text(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// `status` with `-o CONFIG`, and these variables.
fn status(w: &World, args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = w.instance.prepare(&Instance::program(), &[&["status"], args].concat());
    command.arg("-o").arg(w.instance.config()).envs(env.iter().copied());
    command
}

/// A remote that is dead, and one that is in sync.
fn troubled() -> World {
    let mut w = Setup { remotes: 2, settings: "standby: off\n", ..Setup::default() }.start();
    w.write("a", "x");
    w.wait_identical();
    w.wait_in_sync();
    w.remotes[1].stop();
    w.write("b", "x");
    w.wait_remote(1, "trouble", |r| r["state"] == "backoff");
    w.wait_remote(0, "nothing to do", |r| r["state"] == "in_sync");
    w
}

#[test]
fn names_and_problems_select_what_is_shown() {
    let w = troubled();
    let (good, bad) = (w.remotes[0].name(), w.remotes[1].name());
    let of = |args: &[&str]| {
        let out = w.instance.command(&[&["status"], args].concat());
        (out.status.code().unwrap(), text(&out))
    };
    let (code, all) = of(&[]);
    assert!(code == 1 && all.contains(&good) && all.contains(&bad), "{all}");
    assert!(all.find(&format!("  {bad}  ")) < all.find(&format!("  {good}  ")), "{all}");
    // Only what is named counts for the exit status.
    let (code, one) = of(&[&good]);
    assert!(
        code == 0 && one.starts_with("everything is in sync\n") && !one.contains(&bad),
        "{one}"
    );
    assert_eq!(of(&["--problems", &good]), (0, "everything is in sync\n".to_owned()));
    let (code, problems) = of(&["--problems"]);
    assert!(code == 1 && problems.starts_with("1 in sync, 1 in trouble\n"), "{problems}");
    assert!(
        !problems.contains(&format!("  {good}")) && !problems.contains("PROCESS"),
        "{problems}"
    );
    assert!(of(&["--problems", "--processes"]).1.contains(&format!("pusher {good}")));
    let watch = format!("{}/", w.master.display());
    assert!(of(&[&watch]).1.contains(&bad));
    let (code, json) = of(&["--json", &bad]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let remotes = &json["instances"][0]["localpaths"][0]["remotes"];
    assert_eq!((code, remotes.as_array().unwrap().len()), (1, 1), "{json}");
    assert_eq!(remotes[0]["name"], bad);
    assert_eq!(of(&["--json", "h::m"]), (2, String::new()));
}

#[test]
fn a_chinese_locale_gets_chinese_and_json_stays_english() {
    let w = troubled();
    let said = |args: &[&str], env: &[(&str, &str)]| text(&status(&w, args, env).output().unwrap());
    let chinese = said(&[], &[("LC_ALL", "zh_CN.UTF-8")]);
    assert!(
        chinese.starts_with("1 个已同步，1 个故障\n") && chinese.contains("待推送"),
        "{chinese}"
    );
    assert!(chinese.contains("Connection refused"), "what rsync says stays: {chinese}");
    for locale in ["C", "zh_CN.GBK"] {
        let english = said(&[], &[("LC_ALL", locale)]);
        assert!(english.starts_with("1 in sync, 1 in trouble\n"), "{locale}: {english}");
    }
    let messages = [("LC_ALL", ""), ("LC_MESSAGES", "C"), ("LANG", "zh_CN.UTF-8")];
    assert!(said(&[], &messages).starts_with("1 in sync"));
    let json = said(&["--json"], &[("LC_ALL", "zh_CN.UTF-8")]);
    assert!(json.is_ascii() && json.contains("\"backoff\""), "{json}");
}

#[test]
fn lines_keep_to_the_width_and_are_whole_without_one() {
    let w = troubled();
    let said = |env: &[(&str, &str)]| text(&status(&w, &[], env).output().unwrap());
    for columns in [40, 60, 80] {
        let shown = said(&[("COLUMNS", &columns.to_string())]);
        let widest = shown.lines().map(|l| l.chars().count()).max();
        assert!(widest <= Some(columns), "{columns}: {shown}");
    }
    let whole = said(&[]);
    let line = whole.lines().find(|l| l.contains("Connection refused"));
    assert!(line.is_some_and(|l| l.contains("    since ")), "{whole}");
}

#[test]
fn colours_are_for_terminals_only() {
    let w = troubled();
    let on_terminal = |args: &[&str], env: &[(&str, &str)]| {
        let mut terminal = Terminal::start(&mut status(&w, args, env));
        let code = poll(DEADLINE, || terminal.child.try_wait().unwrap()).unwrap().code();
        assert_eq!(code, Some(1));
        poll(DEADLINE, || Some(terminal.text()).filter(|t| t.contains("PROCESS"))).expect("all")
    };
    let shown = on_terminal(&[], &[]);
    assert!(shown.contains("\x1b[31min trouble\x1b[0m"), "{shown:?}");
    assert!(!on_terminal(&[], &[("NO_COLOR", "1")]).contains('\x1b'));
    let piped = text(&status(&w, &[], &[("TERM", "xterm")]).output().unwrap());
    assert!(piped.contains("in trouble") && !piped.contains('\x1b'), "{piped:?}");
}
