use super::*;

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

#[test]
fn its_rsync_has_the_environment_of_every_other() {
    assert!(argv::ENV.iter().all(|variable| ENV.contains(variable)));
}

#[test]
fn names_are_times_that_sort() {
    let name = stamp("2026-11-22T10:15:00.123Z", 1_795_000_000_123_456);
    assert_eq!(name, "2026-11-22T10:15:00.123456Z");
    assert!(is_stamp(name.as_bytes()));
    for other in [
        "2026-11-22T10:15:00.123456",
        "2026-11-22",
        "2026-11-22T10:15:00.12345xZ",
        "mine",
        "2026-11-22 10:15:00.123456Z",
        "2026-11-22T10:15:00.123456Z2",
        "",
    ] {
        assert!(!is_stamp(other.as_bytes()), "{other}");
    }
}

/// The patterns as an independent matcher: rsync must not match more than it does.
fn is_older(name: &str, limit: &str) -> bool {
    let rules = older_than(limit);
    let rules: Vec<&[u8]> = rules.split(|&b| b == 0).filter(|r| !r.is_empty()).collect();
    let (last, rest) = rules.split_last().unwrap();
    assert_eq!(*last, b"- *");
    rest.iter().any(|rule| {
        let rule = std::str::from_utf8(rule).unwrap();
        let pattern = rule.strip_prefix("+ /").unwrap().strip_suffix("/***").unwrap();
        let regex = regex::Regex::new(&format!("^{}$", pattern.replace('.', "\\."))).unwrap();
        regex.is_match(name)
    })
}

#[test]
fn only_names_of_the_shape_before_the_limit_are_at_risk() {
    let limit = "2026-11-22T10:15:00.123456Z";
    let mut random = fastrand_like(7);
    for _ in 0..500 {
        let name: String = limit
            .bytes()
            .map(|b| match b.is_ascii_digit() && random().is_multiple_of(4) {
                true => char::from(b'0' + (random() % 10) as u8),
                false => char::from(b),
            })
            .collect();
        assert_eq!(is_older(&name, limit), name.as_str() < limit, "{name}");
    }
    for other in ["2020", "mine", "2020-11-22T10:15:00.123456Z.old", "x2020-11-22T10:15:00.123456Z"]
    {
        assert!(!is_older(other, limit), "{other}");
    }
    assert_eq!(older_than("nonsense"), b"- *\0");
    assert_eq!(older_than("0000-00-00T00:00:00.000000Z"), b"- *\0");
}

fn fastrand_like(mut seed: u64) -> impl FnMut() -> u64 {
    move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    }
}

#[test]
fn only_deleting_pushes_need_the_trash() {
    let on = Options { delete: true, force: true, ..Options::default() };
    assert!(is_needed(&Form::Batch { delete: true }, on) && is_needed(&Form::Send, on));
    assert!(is_needed(&Form::DeleteB { rules: "r".into() }, on));
    assert!(!is_needed(&Form::Send, Options { dry: true, ..on }));
    assert!(!is_needed(&Form::Tree, on) && !is_needed(&Form::Everything { exclude: vec![] }, on));
    assert!(!is_needed(&Form::Root, on));
    let mut words: Vec<OsString> =
        ["rsync", "--backup-dir=x", "--", "./", "h::m/"].map(Into::into).into();
    keep(&mut words, "T");
    let text: Vec<_> = words.iter().map(|w| w.to_string_lossy()).collect();
    assert_eq!(
        text.join("|"),
        "rsync|--backup-dir=x|--backup|--backup-dir=.syncsup-trash/T|--suffix=|--|./|h::m/"
    );
}

#[test]
fn version_lists_are_parsed() {
    let line = b"1234 2026/11/20-10:00:00 2026-11-22T10:15:00.123456Z/d/a\\#012b c";
    let found = version(line).unwrap();
    assert_eq!((found.size, found.path.clone()), (1234, path("d/a\nb c")));
    assert_eq!(found.modified, "2026/11/20-10:00:00");
    for other in [
        "4096 2026/11/20-10:00:00 2026-11-22T10:15:00.123456Z/d/",
        "4096 2026/11/20-10:00:00 mine/d",
        "4096 2026/11/20-10:00:00 ./",
        "4096 2026/11/20-10:00:00 2026-11-22T10:15:00.123456Z/../d",
        "receiving incremental file list",
        "",
    ] {
        assert_eq!(version(other.as_bytes()), None, "{other}");
    }
}

#[test]
fn the_last_version_of_each_path_is_taken() {
    let version = |stamp: &str, text: &str| Version {
        stamp: stamp.into(),
        path: path(text),
        size: 1,
        modified: String::new(),
    };
    let all = [
        version("2026-1", "a"),
        version("2026-2", "a"),
        version("2026-1", "b"),
        version("2027", "a"),
    ];
    let found = last(&all[..3]);
    assert_eq!(found["2026-2"], [path("a")]);
    assert_eq!(found["2026-1"], [path("b")]);
    assert_eq!(last(&all)["2027"], [path("a")]);
    assert!(last(&[]).is_empty());
}

#[test]
fn rules_include_a_path_its_parents_and_its_children() {
    let text = |p: &str| String::from_utf8(below(&path(p)).unwrap()).unwrap().replace('\0', "|");
    assert_eq!(text("a/b*"), "+ /*/|+ /*/a/|+ /*/a/b\\*|+ /*/a/b\\*/***|- *|");
    assert_eq!(text(""), "+ /*/|+ /*/**|- *|");
    assert_eq!(below(&path(&"x/".repeat(2_000)[..3_999])), None);
}
