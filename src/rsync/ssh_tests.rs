use super::*;
use crate::path::OsBytes;

fn peer(options: &[&str]) -> Peer {
    let target = Target::Ssh {
        path: "/srv".into(),
        port: Some(22),
        options: options.iter().map(|&o| o.to_owned()).collect(),
        control_master: true,
    };
    Peer { user: Some("u".into()), params: vec!["-a".into()], ..Peer::new("[::1]", target) }
}

fn socket_of(peer: &Peer) -> PathBuf {
    socket(peer, Path::new("/run/syncsup"), "i").unwrap().unwrap()
}

fn joined(words: Vec<OsString>) -> String {
    words.join(OsStr::new("|")).into_string().unwrap()
}

#[test]
fn other_connection_options_use_another_socket() {
    let first = socket_of(&peer(&[]));
    assert_eq!(first, socket_of(&peer(&[])));
    let mut other_path = peer(&[]);
    if let Target::Ssh { path, .. } = &mut other_path.target {
        *path = "/elsewhere".into();
    }
    assert_eq!(first, socket_of(&other_path), "directories of one login share it");
    let user = Peer { user: None, ..peer(&[]) };
    let host = Peer { host: "h".into(), ..peer(&[]) };
    for other in [user, host, peer(&["-i", "/key"]), peer(&["-i/key"])] {
        assert_ne!(first, socket_of(&other));
    }
    assert_ne!(Ok(Some(first)), socket(&peer(&[]), Path::new("/run/syncsup"), "j"));
}

#[test]
fn the_user_may_disable_or_replace_the_master() {
    let none = |peer: &Peer| socket(peer, Path::new("/run"), "i") == Ok(None);
    let mut off = peer(&[]);
    if let Target::Ssh { control_master, .. } = &mut off.target {
        *control_master = false;
    }
    assert!(none(&off));
    let shell = vec![OsBytes::from("-a"), "-e".into(), "ssh -p 3".into()];
    assert!(none(&Peer { params: shell, ..peer(&[]) }));
    let own: &[&[&str]] = &[
        &["-S", "/s"],
        &["-S/s"],
        &["-4M"],
        &["-o", "ControlPath=/s"],
        &["-oControlMaster auto"],
        &["-4ocontrolpersist=3"],
    ];
    for options in own {
        assert!(none(&peer(options)), "{options:?}");
    }
    for options in [&["-i", "-S"][..], &["-4C"], &["-o", "Compression=yes"], &["-lMOS"]] {
        assert!(!none(&peer(options)), "{options:?}");
    }
}

#[test]
fn a_socket_path_has_a_maximum_length() {
    let at = |len: usize| socket(&peer(&[]), Path::new(&format!("/{}", "r".repeat(len - 1))), "i");
    assert!(at(69).unwrap().is_some());
    let why = at(70).unwrap_err();
    assert!(why.contains("at most 69 bytes"), "{why}");
    assert!(socket(&peer(&[]), Path::new("/${HOME}"), "i").is_err());
}

#[test]
fn ssh_arguments_are_built() {
    let there = Path::new("/r 100%/s");
    let words = joined(start_argv(&peer(&["-i", "/a b"]), there));
    assert_eq!(
        words,
        "ssh|-M|-N|-f|-S|/r 100%%/s|-oControlPersist=60|-oClearAllForwardings=yes|-oBatchMode=yes|-p|22|-i|/a b\
         |-oConnectTimeout=10|-oServerAliveInterval=10|-l|u|--|::1"
    );
    assert_eq!(joined(exit_argv(there)), "ssh|-F|none|-O|exit|-S|/r 100%%/s|--|any");
    let Target::Ssh { options, .. } = through(&peer(&["-4"]), there).target else { panic!() };
    assert_eq!(options, ["-4", "-oControlMaster=no", "-S", "/r 100%%/s"]);
}
