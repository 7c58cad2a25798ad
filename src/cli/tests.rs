use super::*;
use crate::commands::invocation::StatusFormat;
use std::path::Path;

fn parse_line(line: &str) -> Result<Invocation> {
    let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
    parse(&words)
}

fn command(line: &str) -> Command {
    parse_line(line).unwrap_or_else(|e| panic!("{line}: {e}")).command
}

fn refused(line: &str) -> String {
    let error = parse_line(line).map(|i| i.command).unwrap_err();
    assert_eq!(error.exit, Exit::Usage, "{line}");
    assert_eq!(error.text.lines().count(), 1, "{line}");
    error.text
}

#[test]
fn sersyncs_letters_are_accepted() {
    let all = parse_line("sersync -dro /etc/confxml.xml").unwrap();
    assert_eq!(all.command, Command::Run { daemon: true, reconcile: true, slots: None });
    assert_eq!(all.files, [Path::new("/etc/confxml.xml")]);
    for line in ["syncsup -n 20", "syncsup -n20", "syncsup run -n 20", "syncsup -n20 run"] {
        let wanted = Command::Run { daemon: false, reconcile: false, slots: Some(20) };
        assert_eq!(command(line), wanted, "{line}");
    }
    for (line, kind) in
        [("sersync -d -m refreshCDN", "refreshCDN"), ("syncsup -mcommand -d", "command")]
    {
        let invocation = parse_line(line).unwrap();
        assert_eq!(invocation.module.as_deref(), Some(kind));
        let wanted = Command::Run { daemon: true, reconcile: false, slots: None };
        assert_eq!(invocation.command, wanted);
    }
    assert_eq!(parse_line("syncsup -oa.xml -o b").unwrap().files.len(), 2);
}

#[test]
fn global_options_stand_anywhere() {
    for line in [
        "syncsup --state-dir /s --run-dir=/r -v status --json",
        "syncsup status --json --run-dir /r -v --state-dir /s",
    ] {
        let all = parse_line(line).unwrap();
        assert!(matches!(all.command, Command::Status(s) if s.format == StatusFormat::Json));
        assert_eq!(all.directories, Directories { state: "/s".into(), run: "/r".into() });
        assert!(all.verbose);
    }
}

#[test]
fn subcommands_are_parsed() {
    assert_eq!(command("syncsup check --connect"), Command::Check { connect: true });
    assert_eq!(command("syncsup sync /a b::c"), Command::Sync(vec!["/a".into(), "b::c".into()]));
    assert_eq!(
        command("syncsup release b::c"),
        Command::Release { name: "b::c".into(), show: false }
    );
    assert_eq!(command("syncsup stop -h"), Command::Help);
    assert_eq!(command("syncsup -V"), Command::Version);
}

#[test]
fn mistakes_are_reported_in_one_line() {
    assert!(refused("syncsup stauts").contains("did you mean `status`?"));
    assert!(refused("syncsup --conect").contains("did you mean --connect?"));
    assert!(refused("syncsup -x").starts_with("unknown option -x"));
    assert!(refused("syncsup -o").contains("-o"));
    assert!(refused("syncsup -n 0").contains("1 or more"));
    assert!(refused("syncsup -n many").contains("1 or more"));
    assert!(refused("syncsup status -d").contains("does not take -d"));
    assert!(refused("syncsup check /etc/x.xml").contains("with -o"));
    assert!(refused("syncsup release").contains("NAME"));
    assert!(refused("syncsup journal /data/a").contains("`syncsup journal list /data/a`"));
    assert!(refused("syncsup -m comand").contains("did you mean command?"));
    assert!(refused("syncsup sync -m command").contains("does not take -m"));
}

#[test]
fn help_in_two_languages_names_everything() {
    assert_eq!(command("sersync -h"), Command::Help);
    let english = help::text(Language::English);
    let chinese = help::text(Language::Chinese);
    assert!(english.starts_with("syncsup keeps directories") && chinese.contains("守护进程"));
    for text in [english, chinese] {
        for word in COMMANDS {
            assert!(text.contains(&format!("\n  {word}")), "{word}");
        }
        for word in OPTIONS {
            assert!(text.contains(&format!("--{word}")), "{word}");
        }
        assert!(text.contains("syncsup -dro"));
    }
}

#[test]
fn an_empty_value_is_a_usage_error_that_names_its_option() {
    for (words, option) in [
        (&["status", "-o", ""][..], "-o"),
        (&["check", "--state-dir", ""], "--state-dir"),
        (&["--run-dir=", "-d"], "--run-dir"),
    ] {
        let args: Vec<OsString> = ["syncsup"].iter().chain(words).map(OsString::from).collect();
        let error = super::parse(&args).unwrap_err();
        assert_eq!(error.exit, crate::error::Exit::Usage, "{words:?}");
        assert!(error.text.starts_with(&format!("{option} has an empty value")), "{}", error.text);
    }
}
