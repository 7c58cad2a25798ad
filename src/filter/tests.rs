use super::*;

fn path(bytes: impl Into<Vec<u8>>) -> RelPath {
    RelPath::new(bytes).unwrap()
}

fn rules(exclude: &[&[u8]], globs: &[&str], names: NameRules) -> FilterRules {
    FilterRules {
        exclude: exclude.iter().map(|p| OsBytes::from(p.to_vec())).collect(),
        exclude_glob: globs.iter().map(|g| g.to_string()).collect(),
        names,
        inside: Vec::new(),
    }
}

fn regex(pattern: &[u8]) -> Filter {
    Filter::new(&rules(&[pattern], &[], NameRules::None)).unwrap()
}

fn glob(pattern: &str) -> Filter {
    Filter::new(&rules(&[], &[pattern], NameRules::None)).unwrap()
}

#[test]
fn a_regex_matches_whole_paths() {
    let svn = regex(br"(.*)\.svn");
    for (p, dir, hit) in [
        ("a.svn", false, true),
        ("x/.svn", true, true),
        ("x/.svn/entries", false, true),
        ("a.svn2", false, false),
        ("a.svn.txt", false, false),
        ("svn", false, false),
    ] {
        assert_eq!(svn.excludes(&path(p), dir), hit, "{p}");
    }
    assert!(!svn.excludes(&RelPath::root(), true));
}

#[test]
fn sersync_samples_match_what_sersync_matches() {
    let info = regex(b"^info/*");
    assert!(info.excludes(&path("info"), true), "the directory, as `info/`");
    assert!(info.excludes(&path("info/x/y"), false), "and all below it");
    assert!(!info.excludes(&path("infos"), true));
    assert!(!info.excludes(&path("a/info"), true));
    assert!(regex(b"/sub/name").excludes(&path("sub/name"), false));
    assert!(regex(b"sub/name").excludes(&path("sub/name"), false));
    let only_dirs = regex(b"tmp/");
    assert!(only_dirs.excludes(&path("tmp"), true));
    assert!(!only_dirs.excludes(&path("tmp"), false));
    assert!(only_dirs.excludes(&path("tmp/a"), false));
    assert!(regex(b"a|b").excludes(&path("b"), false), "an alternation is anchored as a whole");
    assert!(!regex(b"a|b").excludes(&path("bc"), false));
}

#[test]
fn hostile_names_are_matched_byte_by_byte() {
    let log = regex(br"(.*)\.log");
    assert!(log.excludes(&path(b"a\nb\xff.log".to_vec()), false));
    let gbk = regex(b"\xd6\xd0(.*)");
    assert!(gbk.excludes(&path(b"\xd6\xd0\xce\xc4".to_vec()), false));
    assert!(!gbk.excludes(&path("中文"), false));
    assert!(regex("中(.*)".as_bytes()).excludes(&path("中文"), false));
    assert!(regex("[中文]+".as_bytes()).excludes(&path("文中"), false));
    assert!(glob("*.log").excludes(&path(b"d/a\nb\xff.log".to_vec()), false));
}

#[test]
fn globs_match_as_in_gitignore() {
    let check = |g: &str, p: &str, dir: bool, hit: bool| {
        assert_eq!(glob(g).excludes(&path(p), dir), hit, "{g} {p}")
    };
    check("*.tmp", "a.tmp", false, true);
    check("*.tmp", "x/y/a.tmp", false, true);
    check("*.tmp", "a.tmp/x", false, true);
    check("*.tmp", "a.tmpx", false, false);
    check("cache/**", "cache", true, false);
    check("cache/**", "cache/a/b", false, true);
    check("cache/**", "x/cache/a", false, false);
    check("/a", "a", false, true);
    check("/a", "x/a", false, false);
    check("build/", "x/build", true, true);
    check("build/", "x/build", false, false);
    check("build/", "x/build/o", false, true);
    check("a/*/c", "a/b/c", false, true);
    check("a/*/c", "a/b/d/c", false, false);
    check("a/**/c", "a/b/d/c", false, true);
    check("**/n", "x/y/n", false, true);
    check("**/n", "n", false, true);
    check("[ab].c", "x/b.c", false, true);
}

#[test]
fn name_rules_match_single_names() {
    let sersync = Filter::new(&rules(&[], &[], NameRules::Sersync)).unwrap();
    assert!(sersync.is_empty(), "reconciles send them");
    for (name, skipped) in
        [(".a", true), ("a~", true), ("4913", true), ("a", false), ("d/.a", true), (".d/a", false)]
    {
        assert_eq!(sersync.skips_event(&path(name), false), skipped, "{name}");
        assert!(!sersync.skips_event(&path(name), true), "{name}/");
        assert!(!sersync.excludes(&path(name), false));
    }
    let editors = Filter::new(&FilterRules::default()).unwrap();
    assert!(!editors.is_empty());
    for (name, hit) in [
        ("a~", true),
        (".a.swp", true),
        ("4913", true),
        (".#a", true),
        ("#a#", true),
        (".a", false),
        ("#", false),
    ] {
        assert_eq!(editors.excludes(&path(format!("d/{name}")), false), hit, "{name}");
        assert!(!editors.excludes(&path(format!("{name}/x")), false), "a directory {name} is data");
        assert!(!editors.skips_event(&path(name), false));
    }
}

#[test]
fn no_rules_exclude_nothing() {
    let none = Filter::new(&rules(&[], &[], NameRules::None)).unwrap();
    assert!(none.is_empty());
    assert!(!none.excludes(&path(".a.swp"), false));
}

#[test]
fn our_own_files_are_excluded() {
    let own = own_files(
        Path::new("/data"),
        ["/data/.state", "/data", "/var/log/x", "/data/f/log.sh"].map(Path::new),
    );
    assert_eq!(own, [path(".state"), path("f/log.sh")]);
    let filter =
        Filter::new(&FilterRules { inside: own, names: NameRules::None, ..Default::default() })
            .unwrap();
    assert!(!filter.is_empty());
    assert!(filter.excludes(&path(".state/a/journal.db"), false));
    assert!(filter.excludes(&path("f/log.sh"), false));
    assert!(!filter.excludes(&path("f"), true));
    assert!(!filter.excludes(&path(".state2"), true));
}

#[test]
fn every_invalid_rule_is_reported() {
    let bad = rules(
        &[b"*.php", b"ok", b"a(b", b"a)|(b", b"(?!x)y"],
        &["!a", "ok", "[", "a//b", "/"],
        NameRules::None,
    );
    let errors = Filter::new(&bad).unwrap_err();
    let at: Vec<_> = errors.iter().map(|e| (e.list, e.index)).collect();
    use RuleList::*;
    assert_eq!(
        at,
        [
            (Exclude, 0),
            (Exclude, 2),
            (Exclude, 3),
            (Exclude, 4),
            (ExcludeGlob, 0),
            (ExcludeGlob, 2),
            (ExcludeGlob, 3),
            (ExcludeGlob, 4)
        ]
    );
    assert!(errors[0].text.contains(r"write `(.*)\.php`"), "{}", errors[0].text);
    assert!(errors.iter().all(|e| !e.text.contains('\n')), "{errors:?}");
}

/// What rsync says to these names under `exact`, against the filter itself.
#[test]
fn rsync_rules_agree_with_the_filter() {
    let names = [
        "lost+found",
        "a/lost+found",
        "x.svn",
        "a/x.svn",
        "a/.svn/b",
        "tmp",
        "a/tmp",
        "tmp/a",
        "a/b",
        "a/b/c",
        "ab",
        "node_modules",
        "a/node_modules/x",
        "a b",
        "a/b.log",
        "x.log",
        "café",
    ];
    let check = |filter: Filter, wanted: Option<&str>| {
        let Patterns { exact, others } = filter.patterns().clone();
        assert_eq!(others, wanted.is_none());
        let Some(wanted) = wanted else { return assert!(exact.is_empty()) };
        assert_eq!(exact, [wanted.as_bytes()]);
        for name in names {
            for dir in [false, true] {
                let says = rsync_matches(wanted, name, dir);
                assert_eq!(filter.excludes(&path(name), dir), says, "{wanted}: {name} {dir}");
            }
        }
    };
    for (rule, wanted) in [
        (r"lost\+found", Some("/lost+found")),
        (r"/lost\+found", Some("/lost+found")),
        (r"^tmp/", Some("/tmp/")),
        ("tmp", Some("/tmp")),
        ("a/b$", Some("/a/b")),
        (r"(.*)\.svn", Some("*.svn")),
        (r".*\.log", Some("*.log")),
        ("(.*)node_modules", Some("*node_modules")),
        ("café", Some("/café")),
        ("a b", Some("/a b")),
        ("(.*)/tmp", None),
        ("tmp/*", None),
        ("a|b", None),
        (r"a\d", None),
        (r"a\*b", None),
        ("(.*)", None),
        ("a.b", None),
        ("(?i)tmp", None),
    ] {
        check(regex(rule.as_bytes()), wanted);
    }
    for (rule, wanted) in [
        ("lost+found", Some("lost+found")),
        ("node_modules/", Some("node_modules/")),
        ("a/b", Some("/a/b")),
        ("/tmp", Some("/tmp")),
        ("*.log", Some("*.log")),
        ("a/*", Some("/a/*")),
        ("a/*/", Some("/a/*/")),
        ("cache/**", None),
        ("?mp", None),
        ("{a,b}", None),
        ("[ab]", None),
    ] {
        check(glob(rule), wanted);
    }
}

/// What rsync does with a pattern of names and `*`: a name that is matched leaves out what is below it.
fn rsync_matches(pattern: &str, name: &str, is_dir: bool) -> bool {
    let (body, dirs) = match pattern.strip_suffix('/') {
        Some(body) => (body, true),
        None => (pattern, false),
    };
    let fits = |text: &str, pattern: &str| {
        let (texts, patterns) = (text.split('/').count(), pattern.split('/').count());
        texts == patterns
            && text.split('/').zip(pattern.split('/')).all(|(text, pattern)| {
                match pattern.split_once('*') {
                    Some((a, b)) => {
                        text.len() >= a.len() + b.len() && text.starts_with(a) && text.ends_with(b)
                    }
                    None => text == pattern,
                }
            })
    };
    let ends: Vec<usize> = name.match_indices('/').map(|(at, _)| at).chain([name.len()]).collect();
    ends.into_iter().any(|end| {
        let part = &name[..end];
        let last = part.rsplit('/').next().unwrap_or(part);
        let hit = match body.strip_prefix('/') {
            Some(anchored) => fits(part, anchored),
            None => fits(last, body),
        };
        hit && (!dirs || is_dir || end < name.len())
    })
}
