use super::*;

fn words(text: &str) -> Vec<OsBytes> {
    text.split('|').filter(|w| !w.is_empty()).map(OsBytes::from).collect()
}
fn joined(words: &[OsBytes]) -> String {
    words.iter().map(ToString::to_string).collect::<Vec<_>>().join("|")
}
fn cleaned(text: &str) -> String {
    joined(&clean(&words(text), Use::Push, true))
}

#[test]
fn hard_link_options_are_recognized() {
    for (text, links) in [
        ("-aH", true),
        ("-a|--hard-links", true),
        ("-az|--HH", false),
        ("-aH|--no-H", false),
        ("", false),
    ] {
        assert_eq!(hard_links(&words(text)), links, "{text}");
    }
}

#[test]
fn clustered_letters_are_split() {
    assert_eq!(cleaned("-artuz"), "-a|-t|-z");
    assert_eq!(cleaned("-avz"), "-a|-z");
    assert_eq!(cleaned("-aHAXP"), "-a|-H|-A|-X|--partial");
    assert_eq!(cleaned("-avzRu|--delete|--progress"), "-a|-z");
}

#[test]
fn values_are_not_taken_for_options() {
    assert_eq!(cleaned("-ae|ssh -v"), "-a|--rsh=ssh -v");
    assert_eq!(cleaned("-aessh|-f|- *.u"), "-a|--rsh=ssh|--filter=- *.u");
    assert_eq!(cleaned("-B1024|-T|/tmp/u"), "--block-size=1024|--temp-dir=/tmp/u");
    assert_eq!(cleaned("-M--fake-super"), "--remote-option=--fake-super");
    assert_eq!(cleaned("--exclude=-r|--bwlimit|100"), "--exclude=-r|--bwlimit=100");
    assert_eq!(cleaned("--info|progress2|--out-format=%n|--files-from|x|-a"), "-a");
}

#[test]
fn an_option_without_its_value_takes_no_later_argument() {
    for open in ["--exclude", "-e", "--rsh", "-f", "--bwlimit", "-aM", "-B", "--chmod"] {
        let text = format!("-z|{open}");
        let stands = clean(&words(&text), Use::Push, true);
        assert!(!joined(&stands).contains(open), "{open}: {stands:?}");
        assert!(!faults(&words(&text)).is_empty(), "{open}");
    }
}

#[test]
fn no_user_argument_takes_the_next_one() {
    for option in options::OPTIONS.iter().filter(|o| o.has_value()) {
        for name in option.long {
            let given = words(&format!("--{name}|/v"));
            for used in [Use::Push, Use::Compare] {
                let stands = joined(&clean(&given, used, true));
                assert!(stands.is_empty() || stands == format!("--{name}=/v"), "{stands}");
            }
        }
    }
}

#[test]
fn options_that_break_a_push_are_dropped() {
    for dropped in [
        "-u",
        "--update",
        "-r",
        "-R",
        "--recursive",
        "--relative",
        "--no-relative",
        "--no-R",
        "--no-r",
        "--del",
        "--delete-after",
        "--delete-excluded",
        "--delete-missing-args",
        "--force",
        "-v",
        "-vvv",
        "--verbose",
        "--progress",
        "--stats",
        "-i",
        "-q",
        "-h",
        "--no-implied-dirs",
        "--remove-source-files",
        "-0",
        "--timeout=3",
        "--contimeout|5",
        "--info=progress2",
        "-8",
        "--no-motd",
        "-n",
        "--append",
        "--no-append",
        "--size-only",
        "-m",
        "--old-args",
        "--port=1",
        "--password-file=/x",
        "--old-d",
        "--nonsense",
        "--",
    ] {
        assert_eq!(cleaned(dropped), "", "{dropped}");
    }
    for kept in [
        "-c",
        "-z",
        "-I",
        "-x",
        "--numeric-ids",
        "--partial-dir=.p",
        "--no-owner",
        "--zc=zstd",
        "--i-r",
        "--no-t",
        "-4",
    ] {
        assert_eq!(cleaned(kept), kept);
    }
}

#[test]
fn a_reconcile_has_the_push_options_except_those_that_list_everything() {
    let given = words("-aI|--chmod=D755|--modify-window=2|--bwlimit=9|--exclude=x");
    assert_eq!(
        joined(&clean(&given, Use::Push, true)),
        "-a|-I|--chmod=D755|--bwlimit=9|--exclude=x"
    );
    assert_eq!(
        joined(&clean(&given, Use::Compare, true)),
        "-a|--chmod=D755|--bwlimit=9|--exclude=x"
    );
    assert_eq!(modify_window(&given), Some(2));
    assert_eq!(modify_window(&words("-a@-1")), Some(-1));
    assert_eq!(modify_window(&words("-a")), None);
}

#[test]
fn every_rsync_has_the_connection_options() {
    for reach in [
        "--bwlimit=9",
        "--address=::1",
        "-4",
        "--ipv6",
        "--rsh=ssh -p 3",
        "--sockopts=X",
        "--rsync-path=sudo rsync",
        "--remote-option=--fake-super",
        "--protocol=30",
        "--iconv=UTF-8,GBK",
        "-z",
        "--blocking-io",
        "--early-input=/x",
        "-s",
    ] {
        assert_eq!(
            joined(&of_transport(&words(&format!("-a|{reach}|--chmod=F600|--exclude=y")))),
            reach
        );
    }
}

#[test]
fn configuration_keys_among_the_parameters_are_reported() {
    let given = words("-a|--port|8730|--timeout=30|--password-file=/etc/p|--contimeout=4");
    let expected =
        Settings { port: Some(8730), timeout_s: Some(30), password_file: Some("/etc/p".into()) };
    assert_eq!(settings(&given), expected);
    assert_eq!(connect_timeout_s(&given), Some(4));
    assert_eq!(settings(&words("-a|--timeout=30|--no-timeout")), Settings::default());
    assert_eq!(settings(&words("-a|--timeout=0")), Settings::default());
    assert!(one_file_system(&words("-ax")) && !one_file_system(&words("-ax|--no-x")));
    for twice in ["-axx", "-ax|-x", "-ax|--one-file-system", "-x|--no-x|-xx"] {
        let refused = |fault: &Fault| matches!(fault, Fault::Refused(name, ..) if name == "-xx");
        assert!(faults(&words(twice)).iter().any(refused), "{twice}");
    }
    assert!(faults(&words("-ax|--no-one-file-system|-x")).is_empty());
}

#[test]
fn remote_directories_inside_the_destination_are_reported() {
    for (text, in_module, inside) in [
        ("-b|--backup-dir=.old", false, true),
        ("-b|--backup-dir=a/../b", false, true),
        ("-b|--backup-dir=../old", false, false),
        ("-b|--backup-dir=/old", false, false),
        ("-b|--backup-dir=/old", true, true),
        ("-b|--backup-dir=/old|--exclude=/old/", true, false),
        ("-T|tmp", false, true),
        ("--temp-dir=/tmp", true, true),
        ("--partial-dir=.p", true, false),
        ("--partial-dir=/p", true, true),
    ] {
        assert_eq!(
            !inside_destination(&words(text), in_module).is_empty(),
            inside,
            "{text} {in_module}"
        );
    }
}

#[test]
fn options_dropped_with_a_warning_can_be_omitted() {
    let kept = |text: &str| joined(&without_dropped(&words(text)));
    assert_eq!(kept("-artuz|-u|--update|--delete|--delete-after"), "-artz");
    assert_eq!(
        kept("-au|-e|ssh -u|--exclude=-u|-M--super"),
        "-a|--rsh=ssh -u|--exclude=-u|--remote-option=--super"
    );
    assert_eq!(kept("-a|--bwlimit|1"), "-a|--bwlimit|1");
    assert_eq!(kept("-avP|--port=3|--contimeout=3"), "-avP|--contimeout=3");
}

#[test]
fn filter_options_are_recognized() {
    let of = |text: &str| own_filters(&words(text));
    assert_eq!(of("-avz|--max-size=3"), OwnFilters::None);
    assert_eq!(of("-a|--exclude=*.tmp|--exclude|- x"), OwnFilters::Excludes);
    for rules in
        ["-aC", "-F", "-f|- x", "--include=x", "--exclude-from=x", "--exclude=+ x", "--exclude|!"]
    {
        assert_eq!(of(rules), OwnFilters::Rules, "{rules}");
    }
    let given = words("-aFC|--exclude|x|--filter=- y|-f- z|-z");
    assert_eq!(clean(&given, Use::Push, false), words("-a|-z"));
    assert_eq!(remote_shell(&words("-aze|ssh -p 3")), Some(b"ssh -p 3".to_vec()));
    assert_eq!(remote_shell(&words("-az|-e=ssh")), Some(b"ssh".to_vec()));
}

#[test]
fn options_never_read_standard_input() {
    for text in
        ["--exclude-from=-", "--include-from|-", "-f|. -", "--filter=merge -", "--filter=merge,s -"]
    {
        assert!(matches!(faults(&words(text))[..], [Fault::BadValue(..)]), "{text}");
    }
    assert_eq!(faults(&words("--filter=- -|--filter=. /x|--exclude=-")), []);
}

#[test]
fn options_unknown_to_a_version_are_reported() {
    let found = newer_than(&words("-a|--fsync|--stderr=all|--mkpath"), (3, 1, 3));
    assert_eq!(found, [("--fsync".to_owned(), (3, 2, 4)), ("--mkpath".to_owned(), (3, 2, 3))]);
    assert_eq!(newer_than(&words("-a|--fsync"), (3, 5, 0)), []);
}

#[test]
fn every_name_and_letter_appears_once_in_the_table() {
    let mut names = options::names();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
    let mut letters: Vec<u8> = options::OPTIONS.iter().filter_map(|o| o.short).collect();
    letters.sort_unstable();
    let count = letters.len();
    letters.dedup();
    assert_eq!(letters.len(), count);
}

#[test]
fn rules_that_iconv_would_convert_are_refused() {
    let refused = |text: &str| matches!(faults(&words(text))[..], [Fault::Refused(_, why, _)] if why == UNCONVERTED);
    for rules in [
        "--exclude=目录",
        "--include=目",
        "-f|- 目",
        "--exclude-from=/f",
        "-f|. /f",
        "-f|: .rules",
        "-F",
        "-C",
        "--filter=merge /f",
    ] {
        assert!(refused(&format!("-a|--iconv=UTF-8,GBK|{rules}")), "{rules}");
        assert_eq!(faults(&words(&format!("-a|--iconv=UTF-8,GBK|--no-iconv|{rules}"))), []);
        assert_eq!(faults(&words(&format!("-a|{rules}"))), []);
    }
    assert_eq!(faults(&words("-a|--iconv=.|--exclude=*.tmp|-f|- /a/")), []);
    assert_eq!(cleaned("-a|--iconv=.,GBK"), "-a|--iconv=UTF-8,GBK");
    assert_eq!(cleaned("-a|--iconv|."), "-a|--iconv=UTF-8,.");
}

#[test]
fn without_a_conversion_there_are_no_charsets() {
    let words = |list: &[&str]| list.iter().map(|w| OsBytes::from(*w)).collect::<Vec<_>>();
    assert!(charsets(&words(&["-a", "--iconv=UTF-8,GBK"])).is_some());
    for list in [&["-a"][..], &["--iconv=-"], &["--iconv=UTF-8,GBK", "--no-iconv"]] {
        assert_eq!(charsets(&words(list)), None);
    }
}
