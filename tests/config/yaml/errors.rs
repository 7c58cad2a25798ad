//! What the YAML form refuses, where it says the error is, and its hints.

use super::BASE;
use crate::common::{errors, read_yaml};
use std::path::Path;
use syncsup::config::parse;

/// Lines above a valid localpath, and the errors for them.
pub const MISTAKES: &[(&str, &str)] = &[
    ("filtr: {}\n", "1: unknown key `filtr` in the configuration; did you mean `filter`?"),
    (
        "delay: 3ms\ndelay: 4ms\n",
        "2: `delay` is given twice in the configuration (first in line 1)",
    ),
    ("debug: yes\n", "1: debug: `yes` is neither `true` nor `false`"),
    ("debug: ture\n", "1: debug: `ture` is neither `true` nor `false`; did you mean `true`?"),
    ("debug: 'true'\n", "1: debug: is `true`; write true or false"),
    ("inotify:\n  delet: true\n", "2: unknown key `delet` in inotify; did you mean `delete`?"),
    ("inotify: true\n", "1: inotify is `true`; write a map with the keys delete"),
    ("rsync: {timeout: 0}\n", "1: timeout: `0` is not a whole number of seconds"),
    ("rsync: {timeout: 5ms}\n", "1: timeout: `5ms` is not a whole number of seconds"),
    ("rsync: {port: 70000}\n", "1: rsync port: `70000` is not a port"),
    ("rsync: {params: -n}\n", "1: rsync parameter `-n` is not allowed: it would replicate nothing"),
    ("rsync: {params: \"-a 'x\"}\n", "1: params: `-a 'x` has a quote that is not closed"),
    (
        "rsync:\n  auth:\n    password-file: /x\n",
        "3: unknown key `password-file` in auth; did you mean `password_file`?",
    ),
    ("rsync: {auth: {password_file: x}}\n", "1: auth password_file: `x` is relative"),
    (
        "filter:\n  exclude:\n    - ok\n    - '*.php'\n",
        "4: exclude: `*.php` is not a regular expression",
    ),
    ("filter: {exclude_glob: ['!x']}\n", "1: exclude_glob: `!x`: exceptions"),
    (
        "filter: {names: editor}\n",
        "1: filter names: `editor` is not sersync, editors or none; did you mean `editors`?",
    ),
    ("fail_log: {path: x}\n", "1: fail_log path: `x` is relative"),
    (
        "fail_log: {path: /x, retry: 60}\n",
        "1: fail_log retry: `60` is not a duration; write a number with its unit",
    ),
    ("crontab: {exclude: [a]}\n", "1: crontab has no time"),
    ("crontab: {cron: '* * * *'}\n", "1: crontab cron: `* * * *` is not a cron expression"),
    ("crontab: {cron: 0 0 30 2 *}\n", "1: crontab cron: `0 0 30 2 *` never occurs"),
    ("crontab: {every: 1h, cron: '@daily'}\n", "1: crontab has both"),
    ("crontab: {every: 30s}\n", "1: crontab every: `30s` is not a whole number of minutes"),
    ("verify_schedule: {rate: 1MiB/s}\n", "1: verify_schedule has no time"),
    ("verify_schedule: {every: 24}\n", "1: verify_schedule every: `24` is not a duration"),
    ("verify_schedule: {cron: x}\n", "1: verify_schedule cron: `x` is not a cron expression"),
    ("verify_schedule: {every: 1h, cron: '@daily'}\n", "1: verify_schedule has both"),
    ("verify_schedule: {every: 1h, rate: 0}\n", "1: verify_schedule rate: `0` is not a rate"),
    ("verify_schedule: {every: 1h, checksum: 1}\n", "1: verify_schedule checksum: `1` is neither"),
    (
        "verify_schedule: {every: 1h, rat: 1}\n",
        "1: unknown key `rat` in verify_schedule; did you mean `rate`?",
    ),
    (
        "verify_shedule: {every: 1h}\n",
        "1: unknown key `verify_shedule` in the configuration; did you mean `verify_schedule`?",
    ),
    ("large_file: big\n", "1: large_file: `big` is not a size"),
    ("trash: {keep: 7}\n", "1: trash keep: `7` is not a duration"),
    ("trash: {keep: 0}\n", "1: trash keep: `0` is not a whole number of minutes"),
    ("standby: sometimes\n", "1: standby: `sometimes` is not active, always or off"),
    ("pace: {cpu: 0%}\n", "1: pace cpu: `0%` is not a share of a core; write 1% to 100%"),
    ("pace: {cpu: 200%}\n", "1: pace cpu: `200%` is not a share of a core; write 1% to 100%"),
    ("max_delete: some\n", "1: max_delete: `some` is not half, unlimited or a number"),
    ("plugins: [{comand: {}}]\n", "1: `comand` is not a plugin; did you mean `command`?"),
    ("plugins:\n- socket: {host: h}\n", "2: plugin has no port; add it"),
    ("plugins:\n- command: {prefix: ''}\n", "2: plugin prefix: is empty"),
    ("plugins:\n- command: {prefix: \"a 'b\"}\n", "2: plugin prefix: `a 'b` has a quote"),
    ("plugins:\n- http: {url: h}\n", "2: plugin url: `h` is not a URL"),
    ("plugins:\n- socket: {host: h, port: 1, separator: x}\n", "2: plugin separator: `x`"),
    ("plugins:\n- socket: {host: h, port: 1, events: [x]}\n", "2: events: `x` is not change"),
    ("on_failure: \"'\"\n", "1: on_failure: `'` has a quote"),
];

#[test]
fn every_mistake_has_a_line_and_a_hint() {
    for (text, expected) in MISTAKES {
        let found = errors(&read_yaml(&format!("{text}{BASE}")));
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(&format!("c.yaml:{expected}")), "{text}: {found:?}");
    }
}

#[test]
fn mistakes_in_localpaths_and_remotes_are_reported() {
    let cases: &[(&str, &str)] = &[
        ("debug: true\n", "1: no localpaths: nothing to replicate"),
        ("localpaths: []\n", "1: localpaths is an empty list"),
        ("localpaths:\n- remotes: ['h::m']\n", "2: localpath has no watch; add `watch: /DIR`"),
        (
            "localpaths:\n- watch: data\n  remotes: ['h::m']\n",
            "2: localpath watch: `data` is relative",
        ),
        ("localpaths:\n- watch: /d\n", "2: localpath has no remotes"),
        ("localpaths:\n- watch: /d\n  remotes: []\n", "3: localpath has no remotes"),
        (
            "localpaths:\n- watch: /d\n  remote: ['h::m']\n  remotes: ['h::m']\n",
            "3: unknown key `remote` in a localpath; did you mean `remotes`?",
        ),
        // A key that is missing because it is misspelt is no second error.
        (
            "localpath:\n- watch: /d\n  remotes: ['h::m']\n",
            "1: unknown key `localpath` in the configuration; it is `localpaths`",
        ),
        (
            "localpaths:\n- wach: /d\n  remotes: ['h::m']\n",
            "2: unknown key `wach` in a localpath; did you mean `watch`?",
        ),
        (
            "localpaths:\n- watch: /d\n  remots: ['h::m']\n",
            "3: unknown key `remots` in a localpath; did you mean `remotes`?",
        ),
        (
            "localpaths:\n- watch: /d\n  remotes:\n  - {hots: h, module: m}\n",
            "4: unknown key `hots` in a remote; did you mean `host`?",
        ),
        (
            "localpaths:\n- watch: /d\n  remotes:\n  - {host: h, modul: m}\n",
            "4: unknown key `modul` in a remote; did you mean `module`?",
        ),
        (
            "crontab: {evry: 6h}\nlocalpaths:\n- watch: /d\n  remotes: ['h::m']\n",
            "1: unknown key `evry` in crontab; did you mean `every`?",
        ),
        (
            "verify_schedule: {evry: 6h}\nlocalpaths:\n- watch: /d\n  remotes: ['h::m']\n",
            "1: unknown key `evry` in verify_schedule; did you mean `every`?",
        ),
        (
            "plugins: [{command: {prefx: /p}}]\nlocalpaths:\n- watch: /d\n  remotes: ['h::m']\n",
            "1: unknown key `prefx` in command; did you mean `prefix`?",
        ),
        (
            "password_file: /p\nlocalpaths:\n- watch: /d\n  remotes: ['h::m']\n",
            "1: unknown key `password_file` in the configuration; it is a key of `auth`, in `rsync`",
        ),
        (
            "localpaths:\n- watch: /d\n  remotes:\n  - h::m\n  - /backup\n",
            "5: remote: `/backup` is a directory here",
        ),
        ("localpaths:\n- watch: /d\n  remotes:\n  - {module: m}\n", "4: remote has no host"),
        ("localpaths:\n- watch: /d\n  remotes:\n  - {host: h}\n", "4: remote has no module"),
        (
            "localpaths:\n- watch: /d\n  remotes:\n  - {host: h, module: m, path: /p}\n",
            "4: remote has both module and path",
        ),
        (
            "localpaths:\n- watch: /d\n  remotes:\n  - {host: h, moduel: m, module: m}\n",
            "4: unknown key `moduel` in a remote; did you mean `module`?",
        ),
        (
            "localpaths:\n- watch: /d\n  remotes:\n  - {host: 'h::m', module: m}\n",
            "4: remote host: `h::m` is not a host name",
        ),
        (
            "rsync: {ssh: true}\nlocalpaths:\n- watch: /d\n  remotes: ['h::m']\n",
            "4: remote `h::m` is an rsync daemon, but ssh is true",
        ),
        ("localpaths: [\n", "2:1: not YAML"),
        ("localpaths:\n- watch: /d\n  remotes: *x\n", "3"),
        ("a: 1\n---\nb: 1\n", "2: a second document"),
        ("", " the file is empty"),
    ];
    for (text, expected) in cases {
        let found = errors(&read_yaml(text));
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(&format!("c.yaml:{expected}")), "{text}: {found:?}");
    }
    let gbk = parse(b"# ok\n# \xd6\xd0\n", Path::new("c.yaml"));
    assert_eq!(errors(&gbk), ["c.yaml:2: this line is not UTF-8; save the file as UTF-8"]);
    assert_eq!(errors(&read_yaml(&"[".repeat(100_000))).len(), 1, "deep nesting ends");
}

#[test]
fn all_errors_are_reported_together() {
    let text = "debug: ture\nrsync: {port: x, params: -an}\nlocalpaths:\n- watch: d\n  remotes: [h]\n- {}\n";
    let lines: Vec<_> =
        errors(&read_yaml(text)).iter().map(|e| e.split(':').nth(1).unwrap().to_owned()).collect();
    assert_eq!(lines, ["1", "2", "2", "4", "5", "6", "6"]);
}

#[test]
fn errors_quote_the_file() {
    let text = "localpaths:\n- watch: /d\n  remotes: ['h::m']\n  filter: {exclude: ['(.*)\\.svn(', \"a\\e\\\\d(\"]}\n";
    let found = errors(&read_yaml(text));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains(r"`(.*)\.svn(` is not"), "{found:?}");
    assert!(found[1].contains(r"`a\x1b\d(` is not"), "{found:?}");
}
