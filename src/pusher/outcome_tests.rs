use super::*;

fn of(code: i32, stderr: &str) -> Verdict {
    verdict(Exited::Code(code), stderr.as_bytes()).verdict
}

#[test]
fn the_table() {
    use Trouble::*;
    use Verdict::*;
    for (code, stderr, want) in [
        (0, "", Settled),
        (
            1,
            "rsync: --foo: unknown option\nrsync error: syntax or usage error (code 1) at main.c(1)",
            Configuration,
        ),
        (1, "password file must not be other-accessible", Configuration),
        (1, "ERROR: module is read only", Configuration),
        (10, "ERROR: module is read only", Configuration),
        (
            2,
            "invalid file mode 00 for d/a [Receiver]\nrsync error: protocol incompatibility (code 2)",
            FormB,
        ),
        (2, "protocol version mismatch -- is your shell clean?", Configuration),
        (
            12,
            "rsync: --delete-missing-args: unknown option\nrsync error: error in rsync protocol (code 12)",
            FormB,
        ),
        (4, "rsync: The server is configured to refuse --delete-missing-args", FormB),
        (4, "rsync: The server is configured to refuse --delete\nrsync error: (code 4)", NoDelete),
        (4, "rsync: The server is configured to refuse --checksum (-c)", Configuration),
        (3, "rsync: [sender] change_dir \"/srv\" failed: No such file or directory (2)", Source),
        (
            3,
            "rsync: [Receiver] change_dir#3 \"/x\" (in m) failed: Permission denied (13)",
            Configuration,
        ),
        (3, "rsync: [Receiver] getcwd(): No such file or directory (2)", Source),
        (
            3,
            "rsync: [Receiver] ERROR: cannot stat destination \"file/\" (in m): Not a directory (20)",
            Configuration,
        ),
        (5, "@ERROR: max connections (4) reached -- try again later", Remote(Unreachable)),
        (5, "rsync: did not see server greeting", Remote(Unreachable)),
        (5, "@ERROR: auth failed on module m", Configuration),
        (5, "@ERROR: Unknown module 'x'", Configuration),
        (5, "@ERROR: chdir failed", Configuration),
        (
            10,
            "rsync: [sender] failed to connect to h (127.0.0.1): Connection refused (111)",
            Remote(Unreachable),
        ),
        (
            11,
            "rsync: [receiver] write failed on \"/f\" (in m): No space left on device (28)",
            Remote(Full),
        ),
        (
            11,
            "rsync: [Receiver] mkdir \"/a/b\" (in m) failed: No such file or directory (2)",
            Remote(Storage),
        ),
        (
            12,
            "rsync: connection unexpectedly closed (0 bytes received so far) [sender]",
            Remote(Broken),
        ),
        (20, "", Remote(Broken)),
        (23, "rsync: [sender] link_stat \"/x\" failed: Permission denied (13)", Partial),
        (24, "file has vanished: \"/x\"", Gone),
        (2, "file has vanished: \"/x\"\nABORTING due to invalid path from sender: d/x", Upset),
        (2, "ABORTING due to invalid path from sender: d/x", Upset),
        // The end of the connection says more than what vanished before.
        (12, "file has vanished: \"/x\"\nrsync: connection unexpectedly closed", Remote(Broken)),
        (25, "Deletions stopped due to --max-delete limit (3 skipped)", Partial),
        (30, "rsync error: timeout in data send/receive (code 30)", Remote(Broken)),
        (35, "rsync error: timeout waiting for daemon connection (code 35)", Remote(Unreachable)),
        (127, "sh: rsync: not found", Configuration),
        (255, "ssh: connect to host h port 22: Connection refused", Remote(Unreachable)),
        (255, "web@h: Permission denied (publickey,password).", Configuration),
        (
            12,
            "web@h: Permission denied (publickey).\nrsync: connection unexpectedly closed",
            Configuration,
        ),
        (255, "No ED25519 host key is known\nHost key verification failed.", Configuration),
        (12, "bash: line 1: /opt/rsync: No such file or directory", Configuration),
        (12, "zsh:1: command not found: rsync", Configuration),
        (12, "rsync: Command not found.", Configuration),
        (
            12,
            "rsync: [receiver] open \"/bash: not found\" failed: Permission denied (13)",
            Remote(Broken),
        ),
        (99, "", Remote(Broken)),
    ] {
        assert_eq!(of(code, stderr), want, "{code} {stderr}");
        assert!(code == 0 || !verdict(Exited::Code(code), stderr.as_bytes()).words.is_empty());
    }
    assert_eq!(verdict(Exited::Signal(9), b"").words, "rsync was ended by SIGKILL");
}

#[test]
fn of_ssh_the_words_that_say_why() {
    let words = |code, stderr: &str| verdict(Exited::Code(code), stderr.as_bytes()).words;
    let denied = "web@h: Permission denied (publickey).";
    let closed = "rsync: connection unexpectedly closed (0 bytes received so far) [sender]";
    let banner =
        format!("Welcome!\nWarning: Permanently added 'h' to the list.\n{denied}\n{closed}");
    assert_eq!((words(255, &banner), words(12, &banner)), (denied.into(), denied.into()));
    let refused = "ssh: connect to host h port 22: Connection refused";
    let stale = format!("Control socket connect(/run/s): Connection refused\n{refused}\n{closed}");
    assert_eq!(words(255, &stale), refused);
}

#[test]
fn ends_that_were_not_seen() {
    for code in 0..256 {
        let unseen = [10, 12, 20, 30, 35, 255].contains(&code);
        assert_eq!(verdict(Exited::Code(code), b"").end_unseen, unseen, "{code}");
    }
    assert!(verdict(Exited::Signal(15), b"").end_unseen);
}

#[test]
fn short_of_connections() {
    let crowded = |code, stderr: &str| verdict(Exited::Code(code), stderr.as_bytes()).crowded();
    assert!(crowded(5, "@ERROR: max connections (4) reached -- try again later"));
    let file =
        "rsync: [sender] send_files failed to open \"/d/max connections\": Permission denied (13)";
    assert!(!crowded(23, file));
}

#[test]
fn the_most_telling_line() {
    let words = |stderr: &str| verdict(Exited::Code(5), stderr.as_bytes()).words;
    let daemon =
        "rsync: warning\n@ERROR: auth failed on module m\nrsync error: error starting (code 5)\n";
    assert_eq!(words(daemon), "@ERROR: auth failed on module m");
    let broken = "rsync: connection unexpectedly closed (0)\nrsync error: error in stream (code 12) at io.c(1)\n";
    assert_eq!(words(broken), "rsync error: error in stream (code 12) at io.c(1)");
    assert_eq!(words("\n a\tb\x07 \n"), "a\\x09b\\x07");
}

#[test]
fn skipped_deletions() {
    let judgement = verdict(Exited::Code(23), b"IO error encountered -- skipping file deletion\n");
    assert!(judgement.deletions_skipped);
    assert!(
        !verdict(Exited::Code(23), b"rsync: \"skipping file deletion\" failed").deletions_skipped
    );
}

#[test]
fn backing_off() {
    let seconds = |failures, jitter| backoff(failures, jitter).as_secs_f64();
    assert_eq!((seconds(0, 1.0), seconds(1, 0.0), seconds(1, 1.0)), (1.0, 1.0, 1.0));
    assert_eq!((seconds(4, 0.0), seconds(4, 1.0)), (4.0, 8.0));
    for failures in [7, 50, u32::MAX] {
        assert_eq!((seconds(failures, 0.0), seconds(failures, 1.0)), (30.0, 60.0));
    }
}

#[test]
fn complaints_are_matched_to_paths() {
    let of = |line: &str, sub: &str| {
        let found = complaints(line.as_bytes(), Path::new("/srv/www"), sub.as_bytes());
        assert_eq!(found.len(), 1, "{line}");
        found[0].path.as_ref().map(|path| path.to_string())
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
            "",
            None,
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
fn what_is_in_the_way_was_seen() {
    let way = b"could not make way for new regular file: dir001\n";
    let end =
        b"rsync error: some files/attrs were not transferred (see previous errors) (code 23)\n";
    assert!(only_in_the_way(&[&way[..], end].concat()));
    assert!(!only_in_the_way(end));
    let refused = b"ERROR: daemon refused to receive file \"d/x\"\n";
    assert!(only_in_the_way(&[&way[..], refused, end].concat()));
    let other = b"rsync: [sender] opendir \"/d\" failed: Permission denied (13)\n";
    assert!(!only_in_the_way(&[&way[..], other, end].concat()));
}

#[test]
fn temporaries_and_the_names_they_are_of() {
    let of = |text: &str| temporary_of(&RelPath::new(text).unwrap()).map(|path| path.to_string());
    assert_eq!(of("d/.big.iso.Ab3xYz").as_deref(), Some("d/big.iso"));
    assert_eq!(of(".x.000000").as_deref(), Some("x"));
    for other in ["d/.big.iso.Ab3xY", "d/big.iso", "d/.a", "big.iso.Ab3xYz"] {
        assert_eq!(of(other), None, "{other}");
    }
}
