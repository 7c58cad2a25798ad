use super::*;

fn of(code: i32, stderr: &str) -> Verdict {
    verdict(Exited::Code(code), stderr.as_bytes()).verdict
}

#[test]
fn exit_codes_follow_the_table() {
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
        (4, "rsync: The server is configured to refuse --checksum (-c)", Refused("checksum")),
        (12, "rsync: The server is configured to refuse --perms (-p)", Refused("perms")),
        // A file name is not a message of the daemon.
        (4, "rsync: open \"/The server is configured to refuse --stats\" failed", Configuration),
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
        (5, "@ERROR: max connections (4) reached -- try again later", Remote(ConnectionLimited)),
        (5, "rsync: did not see server greeting", Remote(Unreachable)),
        (5, "rsync: didn't get server startup line", Remote(Unreachable)),
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
        (2, "got a block match with no basis file for \"/d/x\" (in www) [receiver]", Upset),
        // The end of the connection is more informative than the files that vanished before.
        (12, "file has vanished: \"/x\"\nrsync: connection unexpectedly closed", Remote(Broken)),
        (25, "Deletions stopped due to --max-delete limit (3 skipped)", Partial),
        (30, "rsync error: timeout in data send/receive (code 30)", Remote(Broken)),
        (35, "rsync error: timeout waiting for daemon connection (code 35)", Remote(Unreachable)),
        (127, "sh: rsync: not found", Configuration),
        (255, "ssh: connect to host h port 22: Connection refused", Remote(Unreachable)),
        (12, "ssh: connect to host h port 22: Connection refused", Remote(Unreachable)),
        (12, "ssh: Could not resolve hostname h: Name or service not known", Remote(Unreachable)),
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
        assert!(code == 0 || !verdict(Exited::Code(code), stderr.as_bytes()).message.is_empty());
    }
    assert_eq!(verdict(Exited::Signal(9), b"").message, "rsync was killed by SIGKILL");
}

#[test]
fn the_reason_is_picked_from_sshs_messages() {
    let message = |code, stderr: &str| verdict(Exited::Code(code), stderr.as_bytes()).message;
    let denied = "web@h: Permission denied (publickey).";
    let closed = "rsync: connection unexpectedly closed (0 bytes received so far) [sender]";
    let banner =
        format!("Welcome!\nWarning: Permanently added 'h' to the list.\n{denied}\n{closed}");
    assert_eq!((message(255, &banner), message(12, &banner)), (denied.into(), denied.into()));
    let refused = "ssh: connect to host h port 22: Connection refused";
    let stale = format!("Control socket connect(/run/s): Connection refused\n{refused}\n{closed}");
    assert_eq!(message(255, &stale), refused);
}

#[test]
fn exit_codes_of_broken_connections_mean_an_unseen_end() {
    for code in 0..256 {
        let unseen = [10, 12, 20, 30, 255].contains(&code);
        assert_eq!(verdict(Exited::Code(code), b"").end_unseen, unseen, "{code}");
    }
    assert!(verdict(Exited::Signal(15), b"").end_unseen);
    let unseen = |code, stderr: &str| verdict(Exited::Code(code), stderr.as_bytes()).end_unseen;
    for (code, never) in [
        (10, "rsync: [sender] failed to connect to h (127.0.0.1): Connection refused (111)"),
        (10, "rsync: failed to connect to h (::1): No route to host (113)"),
        (255, "banner\nssh: connect to host h port 22: Connection refused"),
        (255, "ssh: Could not resolve hostname h: Name or service not known"),
    ] {
        assert!(!unseen(code, never), "{never}");
    }
    // In doubt, a receiver was running.
    for (code, doubt) in [
        (255, "Received disconnect from 10.0.0.2 port 22:2: idle\nDisconnected from 10.0.0.2"),
        (255, "client_loop: send disconnect: Broken pipe"),
        (255, "Connection to h closed by remote host."),
        (255, "kex_exchange_identification: Connection closed by remote host"),
        (12, "rsync: connection unexpectedly closed (0 bytes received so far) [sender]"),
        (10, "rsync: [sender] read error: Connection reset by peer (104)"),
        (12, "rsync: [sender] failed to connect to h (127.0.0.1): Connection refused (111)"),
        (10, "rsync: [sender] send_files failed to open \"/d/failed to connect to \": x (13)"),
        (255, "file has vanished: \"ssh: connect to host h\""),
    ] {
        assert!(unseen(code, doubt), "{doubt}");
    }
}

#[test]
fn connection_limits_are_recognized() {
    assert!(
        !verdict(Exited::Code(5), b"@ERROR: max connections are no concern of mine")
            .connection_limited()
    );
    let connection_limited =
        |code, stderr: &str| verdict(Exited::Code(code), stderr.as_bytes()).connection_limited();
    assert!(connection_limited(5, "@ERROR: max connections (4) reached -- try again later"));
    let file =
        "rsync: [sender] send_files failed to open \"/d/max connections\": Permission denied (13)";
    assert!(!connection_limited(23, file));
}

#[test]
fn the_most_specific_line_is_picked() {
    let message = |stderr: &str| verdict(Exited::Code(5), stderr.as_bytes()).message;
    let daemon =
        "rsync: warning\n@ERROR: auth failed on module m\nrsync error: error starting (code 5)\n";
    assert_eq!(message(daemon), "@ERROR: auth failed on module m");
    let broken = "rsync: connection unexpectedly closed (0)\nrsync error: error in stream (code 12) at io.c(1)\n";
    assert_eq!(message(broken), "rsync error: error in stream (code 12) at io.c(1)");
    assert_eq!(message("\n a\tb\x07 \n"), "a\\x09b\\x07");
}

#[test]
fn skipped_deletions_are_recognized() {
    let judgement = verdict(Exited::Code(23), b"IO error encountered -- skipping file deletion\n");
    assert!(judgement.deletions_skipped);
    assert!(
        !verdict(Exited::Code(23), b"rsync: \"skipping file deletion\" failed").deletions_skipped
    );
}

#[test]
fn obstructing_entries_are_recognized() {
    let way = b"could not make way for new regular file: dir001\n";
    let end =
        b"rsync error: some files/attrs were not transferred (see previous errors) (code 23)\n";
    assert!(only_in_the_way(&[&way[..], end].concat()));
    assert!(!only_in_the_way(end));
    let refused = b"ERROR: daemon refused to receive file \"d/x\"\n";
    assert!(only_in_the_way(&[&way[..], refused, end].concat()));
    let other = b"rsync: [sender] opendir \"/d\" failed: Permission denied (13)\n";
    assert!(!only_in_the_way(&[&way[..], other, end].concat()));
    assert!(!only_in_the_way(&[&way[..], refused].concat()), "complaints may be missing");
    assert!(!only_in_the_way(&[&end[..], refused].concat()), "a slave may print it at any time");
    assert!(refuses_names(refused) && !refuses_names(way));
}

/// Names that look like messages of rsync, its daemon, ssh or a shell.
const HOSTILE: &[&str] = &[
    "module is read only",
    "ERROR: module is read only",
    "@ERROR: max connections (4) reached -- try again later",
    "@ERROR: auth failed on module m",
    "--delete-missing-args: unknown option",
    "rsync: --delete-missing-args: unknown option",
    "The server is configured to refuse --delete",
    "rsync: The server is configured to refuse --delete-missing-args",
    "invalid file mode 00 for d/a [Receiver]",
    "ABORTING due to invalid path from sender: d",
    "could not make way for new regular file: x",
    "ERROR: daemon refused to receive file \"x\"",
    "did not see server greeting",
    "didn't get server startup line",
    "destination",
    "change_dir#3 \"x\" (in m) failed",
    "x\" (in m) failed: No space left on device (28)",
    "No space left on device (28)",
    "x: No space left on device (28)",
    "Disk quota exceeded (122)",
    "web@h: Permission denied (publickey).",
    "Permission denied (publickey).",
    "Host key verification failed.",
    "bash: line 1: rsync: command not found",
    "rsync: Command not found.",
    "ssh: connect to host h port 22: Connection refused",
    "failed to connect to h",
    "file has vanished: \"x\"",
    "IO error encountered -- skipping file deletion",
    "Deletions stopped due to --max-delete limit (3 skipped)",
    "total size is 3  speedup is 0.17",
    "a\" -> \"b",
    "a -> b",
    "\\#012@ERROR: max connections (4) reached",
    "x\\#012ERROR: module is read only\\#012",
    "x) failed: y",
    "x failed verification -- update discarded.",
    "\"",
];

/// Lines of releases 3.0 to 3.5 with a name in each; `%` marks the name in its printed form.
const PLACES: &[&str] = &[
    "rsync: [sender] send_files failed to open \"/srv/%\": Permission denied (13)",
    "rsync: send_files failed to open \"/srv/%\": Permission denied (13)",
    "rsync: [sender] link_stat \"/srv/%\" failed: Permission denied (13)",
    "rsync: [sender] opendir \"/srv/%\" failed: Permission denied (13)",
    "rsync: [sender] read errors mapping \"/srv/%\": Input/output error (5)",
    "rsync: [sender] readlink_stat(\"/srv/%\") failed: Permission denied (13)",
    "[sender] cannot convert filename: % (Invalid or incomplete multibyte or wide character)",
    "symlink has no referent: \"/srv/%\"",
    "symlink has no referent: %",
    "file has vanished: \"/srv/%\"",
    "skipping non-regular file \"%\"",
    "skipping overly long name: %",
    "path too long: %",
    "filename overflows max-path len by 45: %",
    "cannot delete non-empty directory: %",
    "could not make way for new regular file: %",
    "rsync: [receiver] mkstemp \"/.%.Ab12Cd\" (in m) failed: Permission denied (13)",
    "rsync: [receiver] write failed on \"/%\" (in m): Input/output error (5)",
    "rsync: [receiver] rename \"/.%.Ab12Cd\" (in m) -> \"%\": Is a directory (21)",
    "rsync: rename \"/.%.Ab12Cd\" (in m) -> \"%\": Is a directory (21)",
    "rsync: [generator] symlink \"/%\" (in m) -> \"%\" failed: Permission denied (13)",
    "rsync: [generator] failed to set permissions on \"/%\" (in m): Operation not permitted (1)",
    "rsync: failed to set times on \"/%\" (in m): Operation not permitted (1)",
    "rsync: [generator] recv_generator: mkdir \"/%\" (in m) failed: Permission denied (13)",
    "rsync: [generator] delete_file: unlink(%) failed: Permission denied (13)",
    "rsync: delete_file: rmdir(%) failed: Directory not empty (39)",
    "ERROR: % failed verification -- update discarded.",
    "WARNING: % failed verification -- update discarded (will try again).",
    "ERROR: daemon refused to receive file \"%\"",
    "ERROR: rejecting excluded file-list name: %",
];

#[test]
fn file_names_do_not_affect_the_verdict() {
    let ends = [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 20, 23, 24, 25, 30, 35, 127, 255];
    for place in PLACES {
        let line = |name: &str| place.replace('%', name);
        for code in ends {
            let of = |name: &str| {
                let said = format!("{}\nrsync error: x (code {code}) at main.c(1)", line(name));
                verdict(Exited::Code(code), said.as_bytes())
            };
            // The same with a name that resembles no message.
            let plain = of("plain");
            for name in HOSTILE {
                let got = of(name);
                let facts = |j: &Judgement| {
                    (j.verdict, j.end_unseen, j.deletions_skipped, j.connection_limited())
                };
                assert_eq!(facts(&got), facts(&plain), "{code} {}", line(name));
                assert!(!got.message.is_empty(), "{}", line(name));
            }
        }
        for name in HOSTILE {
            let end = b"rsync error: some files could not be transferred (code 23) at main.c(1)\n";
            let both = |name: &str| only_in_the_way(&[line(name).as_bytes(), b"\n", end].concat());
            assert_eq!(both(name), both("plain"), "{}", line(name));
        }
    }
}

#[test]
fn every_path_is_found_in_rsyncs_messages() {
    use super::super::complaint::complaints;
    for place in PLACES {
        for name in HOSTILE.iter().filter(|name| !name.contains('/')) {
            let line = place.replace('%', name);
            let found = complaints(line.as_bytes(), std::path::Path::new("/srv"), b"");
            let meant =
                crate::path::RelPath::new(super::super::itemize::unescaped(name.as_bytes()))
                    .unwrap();
            let paths: Vec<_> = found.iter().flat_map(|c| &c.paths).collect();
            assert!(paths.contains(&&meant), "{line}: {paths:?}");
        }
    }
}

#[test]
fn an_rsync_without_its_statistics_settled_nothing() {
    for (code, stderr) in [(0, ""), (23, "rsync: [sender] x"), (24, ""), (25, "")] {
        let exit = Exited::Code(code);
        let judgement = verdict(exit, stderr.as_bytes());
        assert!(judgement.verdict.is_an_end());
        let judgement = judgement.without_statistics(exit);
        assert_eq!(judgement.verdict, Verdict::Configuration);
        assert!(judgement.message.contains(&format!("exit {code} ")), "{}", judgement.message);
        assert!(judgement.message.ends_with(stderr));
    }
    for code in (1..256).filter(|code| ![23, 24, 25].contains(code)) {
        assert!(!verdict(Exited::Code(code), b"").verdict.is_an_end());
    }
}

#[test]
fn output_of_a_module_script_is_shown_and_does_not_affect_the_verdict() {
    const END: &str = "rsync error: requested action not supported (code 4) at clientserver.c(1267) [Receiver=3.5.0]\n\
        rsync: [sender] read error: Connection reset by peer (104)\n";
    let told = |text: &str| verdict(Exited::Code(4), format!("{text}{END}").as_bytes());
    for (printed, message) in [
        ("pre-xfer exec returned failure (256)\n", "pre-xfer exec returned failure (256)"),
        (
            "pre-xfer exec returned failure (768):\ntenant 42 is locked\n",
            "pre-xfer exec returned failure (768): tenant 42 is locked",
        ),
        (
            "pre-xfer exec returned failure (1):\n\none\n two \n\x1b[31mthree\nfour\n",
            "pre-xfer exec returned failure (1): one; two; \\x1b[31mthree ...",
        ),
        (
            "@ERROR: pre-xfer exec returned failure (256):\nwhy\n",
            "@ERROR: pre-xfer exec returned failure (256): why",
        ),
        // Chinese, in the encoding of a terminal.
        (
            "pre-xfer exec returned failure (1):\n磁盘未挂载\n",
            "pre-xfer exec returned failure (1): 磁盘未挂载",
        ),
    ] {
        let told = told(printed);
        assert_eq!((told.verdict, told.message.as_str()), (Verdict::Configuration, message));
    }
    for said in [
        "@ERROR: max connections (4) reached -- try again later",
        "@ERROR: auth failed on module m",
        "The server is configured to refuse --delete-missing-args",
        "The server is configured to refuse --checksum",
        "ABORTING due to invalid path from sender: x",
        "file has vanished: x",
    ] {
        let text = format!("pre-xfer exec returned failure (256):\n{said}\n");
        let told = told(&text);
        assert_eq!(told.verdict, Verdict::Configuration, "{said}");
        assert_eq!(told.message, format!("pre-xfer exec returned failure (256): {said}"));
        assert!(!login_failed(text.as_bytes()));
    }
    let hidden =
        b"pre-xfer exec returned failure (1)\nIO error encountered -- skipping file deletion\n";
    assert!(verdict(Exited::Code(23), hidden).deletions_skipped);
    assert_eq!(own_messages(hidden), hidden.iter().position(|&b| b == b'\n').unwrap());
    assert_eq!(own_messages(b"a\nb\n"), 4);
    let early = verdict(Exited::Code(5), b"@ERROR: early exec failed\n").message;
    assert!(early.contains("rsync HOST::MODULE"), "{early}");
    assert!(login_failed(b"@ERROR: auth failed on module m\n"));
}

#[test]
fn each_failure_has_the_help_for_its_cause() {
    for (code, stderr, want) in [
        (10, "rsync: [sender] failed to connect to h: No route", HelpTopic::Unreachable),
        (255, "ssh: connect to host h port 22: Connection refused", HelpTopic::Unreachable),
        (5, "@ERROR: max connections (4) reached -- try again later", HelpTopic::ConnectionLimit),
        (12, "rsync: connection unexpectedly closed (0 bytes received so far)", HelpTopic::Broken),
        (
            11,
            "rsync: write failed on \"f\" (in m): No space left on device (28)",
            HelpTopic::RemoteFull,
        ),
        (
            11,
            "rsync: mkstemp \"/f\" (in m) failed: Read-only file system (30)",
            HelpTopic::RemoteStorage,
        ),
        (5, "@ERROR: auth failed on module m", HelpTopic::Password),
        (1, "ERROR: password file must not be other-accessible", HelpTopic::Password),
        (
            1,
            "rsync: could not open password file /p: No such file or directory (2)",
            HelpTopic::Password,
        ),
        (5, "@ERROR: Unknown module 'auth failed on module'", HelpTopic::UnknownModule),
        (5, "@ERROR: access denied to m from h (10.0.0.1)", HelpTopic::AccessDenied),
        (5, "@ERROR: chdir failed", HelpTopic::ModulePath),
        (5, "@ERROR: chroot failed", HelpTopic::ModulePath),
        (
            3,
            "rsync: [Receiver] change_dir#3 \"/x\" (in m) failed: Permission denied (13)",
            HelpTopic::ModulePath,
        ),
        (1, "ERROR: module is read only", HelpTopic::ReadOnly),
        (4, "rsync: The server is configured to refuse --checksum (-c)", HelpTopic::RefusedOption),
        (4, "rsync: The server is configured to refuse --delete", HelpTopic::RefusedOption),
        (4, "rsync: The server is configured to refuse --nonsense", HelpTopic::RefusedOption),
        (255, "u@h: Permission denied (publickey,password).", HelpTopic::SshLogin),
        (255, "Host key verification failed.", HelpTopic::SshLogin),
        (127, "bash: line 1: rsync: command not found", HelpTopic::NoRsync),
        (12, "bash: line 1: rsync: command not found", HelpTopic::NoRsync),
        (12, "cannot convert filename: a (Invalid argument)", HelpTopic::Charset),
        (5, "@ERROR: pre-xfer exec returned failure (256)\nno space", HelpTopic::ModuleScript),
        (5, "@ERROR: early exec failed", HelpTopic::ModuleScript),
        (1, "rsync: --foo: unknown option", HelpTopic::RsyncRefuses),
        (
            3,
            "rsync: [sender] change_dir \"/srv\" failed: No such file or directory (2)",
            HelpTopic::RootGone,
        ),
        // A file name is not a message of the daemon.
        (4, "rsync: open \"/@ERROR: auth failed on module m\" failed", HelpTopic::RsyncRefuses),
    ] {
        let judged = verdict(Exited::Code(code), stderr.as_bytes());
        assert_eq!(judged.help, want, "{code} {stderr}: {:?}", judged.verdict);
    }
    let killed = verdict(Exited::Signal(9), b"");
    assert_eq!(killed.help, HelpTopic::Killed);
    let other = verdict(Exited::Code(0), b"").without_statistics(Exited::Code(0));
    assert_eq!(other.reason().help, HelpTopic::NotRsync);
}
