use super::*;
use crate::rsync::peer::RSYNC_PORT;

fn peer(target: Target, params: &[&str]) -> Peer {
    Peer {
        user: Some("rep".into()),
        password_file: Some("/etc/pw".into()),
        params: params.iter().map(|&p| OsBytes::from(p)).collect(),
        ..Peer::new("10.0.0.2", target)
    }
}
fn daemon(module: &str) -> Target {
    Target::Daemon { port: RSYNC_PORT, module: module.into() }
}
fn joined(words: Vec<OsString>) -> String {
    words.iter().map(|w| w.to_string_lossy()).collect::<Vec<_>>().join("|")
}
fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}
const ON: Options = Options {
    check: Check::Quick,
    dry: false,
    delete: true,
    force: true,
    stats: false,
    unchanged: false,
};

#[test]
fn a_batch_to_a_daemon_has_its_arguments() {
    let words = argv(&peer(daemon("www/site"), &["-artuz"]), &Form::Batch { delete: true }, ON);
    assert_eq!(
        joined(words),
        "rsync|-a|-t|-z|--from0|--modify-window=-1|--force|--out-format=%i %n|--no-motd|\
         --contimeout=10|--sockopts=TCP_NODELAY|--password-file=/etc/pw|--no-recursive|--delete-missing-args|\
         --files-from=-|--|./|rsync://rep@10.0.0.2:873/www/site/"
    );
}

#[test]
fn no_argument_deletes_when_deletions_are_off() {
    let off = Options { delete: false, ..ON };
    let peer = peer(daemon("m"), &["-a", "--delete", "--force"]);
    let everything = Form::Everything { exclude: vec![] };
    for form in
        [Form::Batch { delete: true }, Form::DeleteB { rules: "r".into() }, Form::Tree, everything]
    {
        let words = joined(argv(&peer, &form, off));
        assert!(!words.contains("--delete") && !words.contains("--force"), "{words}");
    }
}

#[test]
fn ssh_gets_no_daemon_options() {
    let options = vec!["-i".to_owned(), "/a b/it's".to_owned()];
    let target =
        Target::Ssh { path: "/srv/w[1]w".into(), port: Some(2222), options, control_master: true };
    let words = joined(argv(&peer(target, &["-a"]), &Form::Send, ON));
    assert!(
        words.contains("|-s|-e|ssh -oBatchMode=yes -p 2222 -i '/a b/it''s' -oConnectTimeout=10 -oServerAliveInterval=10|"),
        "{words}"
    );
    assert!(words.ends_with("|--|./|rep@10.0.0.2:/srv/w\\[1]w/"), "{words}");
    for daemon_only in ["--contimeout", "--sockopts", "--password-file"] {
        assert!(!words.contains(daemon_only));
    }
}

#[test]
fn destinations_are_not_patterns() {
    let mut peer = peer(daemon("m[1]/a*\\b"), &[]);
    peer.host = "::1".into();
    peer.user = None;
    assert_eq!(destination(&peer), b"rsync://[::1]:873/m[1]/a\\*\\\\b/");
}

#[test]
fn filters_depend_on_the_form() {
    let form = Form::DeleteB { rules: "r".into() };
    let words = joined(argv(&peer(daemon("m"), &["-a", "--exclude=*.tmp"]), &form, ON));
    let (user, ours) = (words.find("--exclude=*.tmp"), words.find("--include-from=r"));
    assert!(user.is_some() && user < ours, "{words}");
    let words = joined(argv(&peer(daemon("m"), &["-a", "--include=*"]), &form, ON));
    assert!(!words.contains("--include=*"), "{words}");
    assert!(has_own_filters(&["-aC".into()]) && !has_own_filters(&["-a".into()]));
}

#[test]
fn path_lists_are_encoded() {
    assert_eq!(list(&[path("#a"), RelPath::root(), path("b/c")]), b"/#a\0/b/c\0");
    assert_eq!(list_directories(&[path("d"), RelPath::root()]), b"/d/\0/\0");
}

#[test]
fn rules_name_files_and_directories() {
    let rules = risk_rules(&[path("d/x*\\"), path("e\\/y")], &[]);
    let want: &[&str] = &[
        "+ /d/",
        "+ /e\\/",
        "+ /d/x\\*\\\\",
        "+ /e\\/y",
        "+ /d/x\\*\\\\/***",
        "+ /e\\\\/y/***",
        "- *",
        "",
    ];
    assert_eq!(String::from_utf8(rules).unwrap().split('\0').collect::<Vec<_>>(), want);
    assert!(too_long_for_a_rule(&path(&"*".repeat(2100))));
    assert!(!too_long_for_a_rule(&path(&"a".repeat(3900))));
}

#[test]
fn only_writing_runs_fsync_and_only_when_configured() {
    let everything = Form::Everything { exclude: vec![] };
    let writes = [Form::Batch { delete: true }, Form::Send, Form::Root];
    let looks = [Form::Tree, Form::Children, everything];
    for fsync in [false, true] {
        let peer = Peer { fsync, ..peer(daemon("m"), &["-a"]) };
        let has = |form: &Form, dry| {
            argv(&peer, form, Options { dry, ..ON }).iter().any(|word| word == "--fsync")
        };
        assert!(writes.iter().all(|form| has(form, false) == fsync && !has(form, true)));
        assert!(looks.iter().all(|form| !has(form, false)));
    }
}
