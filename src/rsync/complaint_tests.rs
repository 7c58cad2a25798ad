use super::*;

#[test]
fn complaints_are_matched_to_paths() {
    let of = |line: &str, sub: &str| {
        let found = complaints(line.as_bytes(), Path::new("/srv/www"), sub.as_bytes());
        assert_eq!(found.len(), 1, "{line}");
        found[0].paths.first().map(|path| path.to_string())
    };
    for (line, sub, want) in [
        (
            "rsync: [sender] send_files failed to open \"/srv/www/a/b\": Permission denied (13)",
            "",
            Some("a/b"),
        ),
        (
            "rsync: send_files failed to open \"/srv/www/a \\\"x\\#012\": Permission denied (13)",
            "",
            Some("a \\x5c\"x\\x0a"),
        ),
        (
            "rsync: [sender] link_stat \"/srv/www/a/b\" failed: Permission denied (13)",
            "",
            Some("a/b"),
        ),
        ("rsync: [sender] opendir \"/srv/www\" failed: Permission denied (13)", "", Some(".")),
        ("file has vanished: \"/srv/www/a\"", "", Some("a")),
        (
            "rsync: [sender] link_stat \"/srv/wwwx/a\" failed: No such file or directory (2)",
            "",
            None,
        ),
        (
            "rsync: [receiver] mkstemp \"/d/.f.e1.Ab12Cd\" (in m) failed: Permission denied (13)",
            "",
            Some("d/f.e1"),
        ),
        (
            "rsync: [receiver] mkstemp \"/s/d/.f.Ab12Cd\" (in m) failed: Permission denied (13)",
            "s",
            Some("d/f"),
        ),
        (
            "rsync: [generator] recv_generator: mkdir \"/d/e\" (in m) failed: File exists (17)",
            "",
            Some("d/e"),
        ),
        (
            "rsync: [receiver] rename \"/d/.f.Ab12Cd\" (in m) -> \"d/f\": Is a directory (21)",
            "",
            Some("d/f"),
        ),
        (
            "rsync: [generator] symlink \"/l\" (in m) -> \"t\" failed: Permission denied (13)",
            "",
            Some("l"),
        ),
        (
            "rsync: [generator] delete_file: unlink(d/x(1)) failed: Permission denied (13)",
            "",
            Some("d/x(1)"),
        ),
        (
            "rsync: [generator] failed to set times on \"/d/.\" (in m): Operation not permitted (1)",
            "d",
            Some("."),
        ),
        ("ERROR: d/f failed verification -- update discarded.", "", Some("d/f")),
        ("ERROR: daemon refused to receive file \"d/f\"", "", Some("d/f")),
        ("ERROR: daemon refused to receive directory \"d/f\"", "s", Some("d/f")),
    ] {
        assert_eq!(of(line, sub).as_deref(), want, "{line}");
    }
    let noise = b"rsync error: some files/attrs were not transferred (code 23) at main.c(1394) [sender=3.5.0]\n";
    assert!(complaints(noise, Path::new("/srv/www"), b"").is_empty());
}

#[test]
fn temporaries_are_matched_to_their_names() {
    let of = |text: &str| temporary_of(&RelPath::new(text).unwrap()).map(|path| path.to_string());
    assert_eq!(of("d/.big.iso.Ab3xYz").as_deref(), Some("d/big.iso"));
    assert_eq!(of(".x.000000").as_deref(), Some("x"));
    for other in ["d/.big.iso.Ab3xY", "d/big.iso", "d/.a", "big.iso.Ab3xYz"] {
        assert_eq!(of(other), None, "{other}");
    }
}
