use super::*;

const TAIL: &str = "web@10.0.0.2::www --password-file=/etc/rsync.pas >/dev/null 2>&1 ";

/// A line as `FileSynchronize::RsyncThread` writes it.
fn sent(name: &[u8]) -> Vec<u8> {
    let mut line = b"#errno 2560\ncd /data && rsync -artuz -R  --timeout=100 \"./".to_vec();
    for &b in name {
        if b == b'$' {
            line.push(b'\\');
        }
        line.push(b);
    }
    [&line[..], b"\" ", TAIL.as_bytes(), b"\n\n"].concat()
}

fn path(bytes: &[u8]) -> RelPath {
    RelPath::new(bytes).unwrap()
}

#[track_caller]
fn understood(text: impl AsRef<[u8]>) -> Lost {
    let (mut lost, odd) = parse(text.as_ref());
    assert_eq!((lost.len(), &odd[..]), (1, &[][..]), "{lost:?}");
    lost.remove(0)
}

#[track_caller]
fn odd(line: &str) -> String {
    let (lost, mut odd) = parse(format!("#errno 1\n\n{line}\n").as_bytes());
    assert_eq!((lost.len(), odd.len()), (0, 1), "{lost:?}");
    assert_eq!(odd[0].line, 3);
    odd.remove(0).why.to_owned()
}

#[test]
fn paths_to_send_are_read() {
    let lost = understood(sent(b"a b/f"));
    let wanted = Lost {
        line: 2,
        watch: b"/data".to_vec(),
        host: b"10.0.0.2".to_vec(),
        place: b"www".to_vec(),
        ssh: false,
        port: None,
        path: path(b"a b/f"),
    };
    assert_eq!(lost, wanted);
    let line = r#"cd /data/ && rsync -artuz -R -e ssh  --port=874 "." h:/srv/www/"#;
    let lost = understood(line);
    assert_eq!((lost.ssh, lost.port, lost.path), (true, Some(874), RelPath::root()));
    assert_eq!((&lost.watch[..], &lost.place[..]), (&b"/data"[..], &b"/srv/www"[..]));
}

#[test]
fn hostile_names_are_read() {
    for name in [
        &b"it's $(touch PWNED) `touch PWNED`"[..],
        b"$HOME/\\$x",
        b"in\ntwo lines",
        b"a\"b",
        b"\xff\xfe",
        b"-n",
        b"a ./b",
        b"--delete ./x",
        b"a &&  b::c",
    ] {
        assert_eq!(understood(sent(name)).path, path(name), "{}", path(name));
    }
}

#[test]
fn paths_to_delete_are_read() {
    let line =
        |op: &str| format!("cd /data && rsync -artuz -R --delete ./ {op} --exclude=*  {TAIL}");
    let lost =
        understood(line(r#"  --include="d/" --include="d/$x""#.replace('$', "\\$").as_str()));
    assert_eq!(lost.path, path(b"d/$x"));
    let lost = understood(line(r#"  --include="d"  --include="d/***""#));
    assert_eq!(lost.path, path(b"d"));
    // -r and crontab: everything.
    let lost =
        understood(format!("cd /data && rsync -artuz -R --delete ./ {TAIL} --exclude=\"*.php\""));
    assert!(lost.path.is_root());
}

#[test]
fn unknown_lines_are_not_paths() {
    for line in [
        "rm -rf /",
        "cd /data && rm -rf x",
        "cd data && rsync -a -R \"./x\" h::m",
        "cd /data && rsync -a \"./x\" h::m",
        "cd /data && rsync -a -R \"./x\"",
        "cd /data && rsync -a -R \"./x h::m",
        "cd /data && rsync -a -R \"./../x\" h::m",
        "cd /data && rsync -a -R \"/x\" h::m",
        "cd /data && rsync -a -R \"./a\" b\" h::m",
        "cd /data && rsync -a -R \"./$x\" h::m",
        "cd /data && rsync -a -R \"./x\" \"./y\" h::m",
        "cd /data && rsync -a -R \"./x\" h:m",
        "cd /data && rsync -a -R h::m",
        "cd /data && rsync -a -R --port=x \"./x\" h::m",
    ] {
        assert!(!odd(line).is_empty(), "{line}");
    }
    // A truncated line does not affect the next one.
    let text = [&b"cd /data && rsync -a -R \"./tor\n"[..], &sent(b"good")].concat();
    let (lost, odd) = parse(&text);
    assert_eq!((lost.len(), lost[0].path.clone(), odd[0].line), (1, path(b"good"), 1));
}
