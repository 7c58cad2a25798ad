//! The papers say what the program does: every YAML example can be read, every key and every option is documented.

use std::path::Path;
use syncsup::config::yaml;

const PAGE: &str = include_str!("../man/syncsup.yaml.5");
const CHINESE_PAGE: &str = include_str!("../man/zh_CN/syncsup.yaml.5");
const MANUAL: &str = include_str!("../man/syncsup.8");
const READMES: [(&str, &str); 2] = [
    ("README.md", include_str!("../README.md")),
    ("README.zh-CN.md", include_str!("../README.zh-CN.md")),
];
const OPERATING: [(&str, &str); 2] = [
    ("docs/operating.md", include_str!("../docs/operating.md")),
    ("docs/zh/operating.md", include_str!("../docs/zh/operating.md")),
];
const SERSYNC: [(&str, &str); 2] = [
    ("docs/sersync.md", include_str!("../docs/sersync.md")),
    ("docs/zh/sersync.md", include_str!("../docs/zh/sersync.md")),
];

/// Every Markdown page for users: its path below the package, and its text.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = Vec::new();
    for dir in ["", "docs", "docs/zh"] {
        for path in std::fs::read_dir(root.join(dir)).unwrap().map(|e| e.unwrap().path()) {
            if path.extension().is_some_and(|e| e == "md") {
                let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                pages.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    pages.sort();
    assert!(pages.len() > 15, "{pages:?}");
    pages
}

/// The lines between `begin` and `end`, block by block, without the indent of `begin`, which items of a list have.
fn blocks<'t>(text: &'t str, begin: &str, end: &str) -> Vec<Vec<&'t str>> {
    let mut found = Vec::new();
    let mut open: Option<Vec<&str>> = None;
    let mut indent = "";
    for line in text.lines() {
        let plain = line.strip_prefix(indent).unwrap_or(line);
        match &mut open {
            None if line.trim_start() == begin => {
                indent = &line[..line.len() - begin.len()];
                open = Some(Vec::new());
            }
            None => {}
            Some(_) if plain == end => found.extend(open.take()),
            Some(block) => block.push(plain),
        }
    }
    found
}

/// An example as a whole configuration: some show a part only.
fn whole(block: &[&str]) -> String {
    let text = block.join("\n").replace("\\e", "\\");
    if text.contains("localpaths:") {
        return text;
    }
    if text.starts_with("remotes:") {
        return format!("localpaths:\n  - watch: /data\n    {}\n", block.join("\n    "));
    }
    format!("{text}\nlocalpaths: [{{watch: /data, remotes: ['10.0.0.2::www']}}]\n")
}

#[test]
fn every_yaml_example_parses() {
    let mut examples: Vec<(&str, Vec<&str>)> = Vec::new();
    let pages = pages();
    for (name, text) in &pages {
        examples.extend(blocks(text, "```yaml", "```").into_iter().map(|b| (name.as_str(), b)));
    }
    let has = |examples: &[(&str, Vec<&str>)], page: &str| {
        examples.iter().filter(|(name, _)| *name == page).count()
    };
    for ((readme, _), (operating, _)) in READMES.into_iter().zip(OPERATING) {
        assert!(has(&examples, readme) >= 1 && has(&examples, operating) >= 2, "{readme}");
    }
    for (name, page) in [("syncsup.yaml.5", PAGE), ("zh_CN/syncsup.yaml.5", CHINESE_PAGE)] {
        let page = blocks(page, ".Bd -literal -offset indent", ".Ed");
        assert!(page.len() >= 8);
        examples.extend(page.into_iter().map(|b| (name, b)));
    }
    for (name, block) in examples {
        let text = whole(&block);
        let parsed = yaml::parse(text.as_bytes(), Path::new(name));
        let errors: Vec<String> = parsed.diagnostics.iter().map(|d| d.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}\n{text}");
    }
}

/// What the parser says it knows, when it is asked for something unknown.
fn known_at(text: &str) -> Vec<String> {
    let parsed = yaml::parse(text.as_bytes(), Path::new("f"));
    let lines: Vec<String> = parsed.diagnostics.iter().map(|d| d.to_string()).collect();
    let list = lines.iter().find_map(|l| l.split("known here: ").nth(1));
    let list = list.unwrap_or_else(|| panic!("no list of keys for {text}: {lines:?}"));
    list.split(", ").map(str::to_owned).collect()
}

#[test]
fn every_key_is_documented() {
    for place in [
        "qqqqqqqq: 1",
        "localpaths: [{qqqqqqqq: 1}]",
        "localpaths: [{watch: /d, remotes: [{qqqqqqqq: 1}]}]",
        "rsync: {qqqqqqqq: 1}",
        "rsync: {auth: {qqqqqqqq: 1}}",
        "rsync: {ssh: {qqqqqqqq: 1}}",
        "inotify: {qqqqqqqq: 1}",
        "filter: {qqqqqqqq: 1}",
        "fail_log: {qqqqqqqq: 1}",
        "crontab: {qqqqqqqq: 1}",
        "verify_schedule: {qqqqqqqq: 1}",
        "plugins: [{qqqqqqqq: 1}]",
        "plugins: [{command: {qqqqqqqq: 1}}]",
        "plugins: [{refresh_cdn: {qqqqqqqq: 1}}]",
        "plugins: [{socket: {qqqqqqqq: 1}}]",
        "plugins: [{http: {qqqqqqqq: 1}}]",
        "http: {qqqqqqqq: 1}",
    ] {
        for key in known_at(place) {
            let words = PAGE.lines().filter(|l| l.starts_with(".It Cm") || l.starts_with(".Cm"));
            let mut words = words.flat_map(|l| l.split([' ', ',']));
            assert!(words.any(|w| w == key), "syncsup.yaml(5) does not say {key} ({place})");
        }
    }
}

#[test]
fn every_command_and_option_is_documented() {
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_syncsup"))
        .arg("--help")
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let manual = MANUAL.replace("\\-", "-").replace("Fl -", "Fl --");
    for line in help.lines().filter(|l| l.starts_with("  ") && !l.starts_with("   ")) {
        let word = line.split_whitespace().next().unwrap_or_default().trim_end_matches(',');
        let said = match word.strip_prefix('-') {
            Some(long) if long.starts_with('-') => manual.contains(&format!("Fl {word}")),
            Some(letter) => manual.contains(&format!(".It Fl {letter}")),
            None if word.starts_with(|c: char| c.is_ascii_lowercase()) && word != "syncsup" => {
                manual.contains(&format!(".It Cm {word}"))
            }
            None => true,
        };
        assert!(said, "syncsup(8) does not say {word}");
    }
}

#[test]
fn every_key_of_the_status_is_documented() {
    use syncsup::message::{
        AllStatus, InstanceStatus, LocalPathStatus, PluginStatus, PusherStatus, ReconcileProgress,
        RemoteStatus, ReporterStatus,
    };
    let status =
        PusherStatus { reconcile: Some(ReconcileProgress::default()), ..Default::default() };
    let localpath = LocalPathStatus {
        remotes: vec![RemoteStatus { status, ..Default::default() }],
        plugins: vec![PluginStatus::default()],
        ..Default::default()
    };
    let instance = InstanceStatus {
        localpaths: vec![localpath],
        reporter: Some(ReporterStatus::default()),
        ..Default::default()
    };
    let all = serde_json::to_value(AllStatus { instances: vec![instance] }).unwrap();
    let mut keys = Vec::new();
    let mut todo = vec![&all];
    while let Some(value) = todo.pop() {
        match value {
            serde_json::Value::Object(map) => {
                keys.extend(map.keys());
                todo.extend(map.values());
            }
            serde_json::Value::Array(items) => todo.extend(items),
            _ => {}
        }
    }
    assert!(keys.len() > 40, "{keys:?}");
    let section = MANUAL.split(".Sh JSON").nth(1).unwrap().split(".Sh ").next().unwrap();
    for key in keys {
        let mut words = section.split([' ', ',', '\n']);
        assert!(words.any(|word| word == key), "syncsup(8) does not say {key}");
    }
}

/// The rows of the table below a heading, cell by cell.
fn table(text: &str, heading: &str) -> Vec<Vec<String>> {
    let after = text.lines().skip_while(|l| *l != heading).skip(1);
    let rows = after.skip_while(|l| !l.starts_with('|')).take_while(|l| l.starts_with('|'));
    let cells = |l: &str| l.trim_matches('|').split(" | ").map(|c| c.trim().to_owned()).collect();
    rows.skip(2).map(cells).collect()
}

/// Every test, as `module::name`.
fn tests() -> std::collections::BTreeSet<String> {
    let mut found = std::collections::BTreeSet::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut open = vec![root.join("tests"), root.join("src")];
    while let Some(dir) = open.pop() {
        for path in std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            // A folder's own file has the name of the folder.
            let named = if path.ends_with("mod.rs") { path.parent().unwrap() } else { &path };
            let stem = named.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let inside = path.starts_with(root.join("src"));
            let module = if inside { "tests".to_owned() } else { stem };
            let mut lines = text.lines();
            while let Some(line) = lines.next() {
                if line.trim() == "#[test]" {
                    let next = lines.find(|l| l.trim_start().starts_with("fn ")).unwrap_or("");
                    let name = next.trim_start().trim_start_matches("fn ");
                    let name: String =
                        name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    found.insert(format!("{module}::{name}"));
                }
            }
        }
    }
    found
}

/// Both tables list every element and attribute of a `confxml.xml` and sersync's letters; the
/// tests that they name exist.
#[test]
fn every_sersync_option_and_element_is_tabled_with_an_existing_test() {
    let tests = tests();
    let schema = include_str!("../src/config/confxml_schema.rs");
    let elements = schema.lines().filter_map(|l| l.trim().strip_prefix("(\"head"));
    let mut wanted: Vec<String> =
        ["-d`", "-r`", "-n N`", "-m ", "-h`", "-dro"].map(|l| format!("`{l}")).to_vec();
    wanted.extend(elements.map(|l| {
        let path = l.split('"').next().unwrap_or_default();
        format!("<{}", path.rsplit('/').next().filter(|e| !e.is_empty()).unwrap_or("head"))
    }));
    let toggles = schema.split("TOGGLES: [&str; 8] = [").nth(1).unwrap_or_default();
    let toggles = toggles.split(']').next().unwrap_or_default().split('"').skip(1).step_by(2);
    wanted.extend(toggles.map(|t| format!("<{t}>")));
    assert!(wanted.len() > 40, "{wanted:?}");
    let headings = ["## Every option and element of sersync", "## sersync 的每个选项和元素"];
    let mut shown_by = Vec::new();
    for ((name, text), heading) in SERSYNC.into_iter().zip(headings) {
        let rows = table(text, heading);
        assert!(rows.len() > 25, "{name}: {} rows", rows.len());
        for word in &wanted {
            assert!(rows.iter().any(|row| row[0].contains(word)), "{name} does not say {word}");
        }
        for row in &rows {
            assert_eq!(row.len(), 3, "{name}: {row:?}");
            let named: Vec<&str> = row[2].split('`').skip(1).step_by(2).collect();
            assert!(!named.is_empty(), "{name}: no test shows {}", row[0]);
            for test in named {
                assert!(tests.contains(test), "{name}: there is no test {test}");
            }
        }
        shown_by.push(rows.into_iter().map(|row| row[2].clone()).collect::<Vec<_>>());
    }
    assert_eq!(shown_by[0], shown_by[1], "the two tables name different tests");
}

/// Each attacker of the threat model has promises, each promise has tests that exist, and what is not promised is said.
#[test]
fn every_promise_of_security_is_shown_by_existing_tests() {
    let page = include_str!("../SECURITY.md");
    let tests = tests();
    let named: Vec<&str> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|w| w.contains("::") && !w.ends_with("::"))
        .collect();
    assert!(named.len() > 60, "{named:?}");
    for test in named {
        assert!(tests.contains(test), "SECURITY.md: there is no test {test}");
    }
    let mut attackers = 0;
    for section in page.split("\n## ").filter(|s| s.contains("| promise | shown by |")) {
        attackers += 1;
        let title = section.lines().next().unwrap_or_default();
        let rows = section.lines().filter(|l| l.starts_with("| ")).skip(1);
        let rows: Vec<Vec<&str>> =
            rows.map(|l| l.trim_matches('|').split(" | ").collect()).collect();
        assert!(rows.len() > 4, "{title}: {rows:?}");
        for row in rows {
            assert!(row.len() == 2 && row[1].contains("::"), "{title}: no test shows {}", row[0]);
        }
        assert!(section.contains("\nNot promised:\n"), "{title}");
    }
    assert_eq!(attackers, 4);
}

fn help(locale: &str) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_syncsup"));
    let out = command.arg("--help").env("LC_ALL", locale).output().unwrap();
    String::from_utf8(out.stdout).unwrap()
}

/// The commands of a SYNOPSIS with their options: `("wait", ["--all", …])`; those without a command are of `run`.
fn synopsis(page: &str) -> Vec<(String, Vec<String>)> {
    let section = page.split(".Sh SYNOPSIS").nth(1).unwrap().split(".Sh ").next().unwrap();
    let one = |block: &str| {
        let (mut names, mut options) = (Vec::new(), Vec::new());
        for line in block.lines() {
            let mut words = line.split(' ').peekable();
            while let Some(word) = words.next() {
                match word {
                    ".Cm" | "Cm" => {
                        let rest: Vec<&str> = words.clone().take_while(|w| *w != "Ar").collect();
                        names.extend(rest.into_iter().filter(|w| *w != "|").map(str::to_owned));
                    }
                    ".Fl" | "Fl" => {
                        // After a bar another option may come without its macro.
                        let rest = words
                            .clone()
                            .filter(|w| *w != "|")
                            .take_while(|w| *w != "Ar" && *w != "Fl");
                        for option in rest {
                            match option.strip_prefix('-') {
                                Some(long) => options.push(format!("--{long}")),
                                None => options.extend(option.chars().map(|c| format!("-{c}"))),
                            }
                        }
                    }
                    _ => {}
                }
            }
        }
        let names = if names.is_empty() { vec!["run".to_owned()] } else { names };
        // `stop | reload` are two commands, `journal import` is one with its action.
        names.into_iter().map(|name| (name, options.clone())).collect::<Vec<_>>()
    };
    section.split("\n.Nm").skip(1).flat_map(one).collect()
}

#[test]
fn the_synopsis_has_every_command_and_option_of_the_help() {
    let english = help("C");
    let pages =
        [("syncsup.8", MANUAL), ("zh_CN/syncsup.8", include_str!("../man/zh_CN/syncsup.8"))];
    for (name, page) in pages {
        let synopsis = synopsis(page);
        let has = |command: &str, option: &str| {
            synopsis.iter().any(|(c, options)| {
                c == command && (option.is_empty() || options.iter().any(|o| o == option))
            })
        };
        let (mut section, mut seen) = ("", 0);
        for line in english.lines() {
            if let Some(heading) = line.strip_suffix(':').filter(|_| !line.starts_with(' ')) {
                section = heading;
                continue;
            }
            let Some(rest) = line.strip_prefix("  ").filter(|l| !l.starts_with(' ')) else {
                continue;
            };
            let word = rest.split([' ', ',']).next().unwrap_or_default();
            let what = rest.split("  ").last().unwrap_or_default().trim();
            let commands: Vec<&str> = match section {
                "Commands" => {
                    // With its actions: [list|retry|drop].
                    let actions = rest.split(" [").nth(1).filter(|a| a.contains('|'));
                    let actions = actions.and_then(|a| a.split(']').next()).unwrap_or_default();
                    for action in actions.split('|').filter(|a| !a.is_empty()) {
                        assert!(has(action, ""), "{name}: no {word} {action}");
                    }
                    let second = rest.split(' ').nth(1).unwrap_or_default();
                    if !second.is_empty() && second.chars().all(|c| c.is_ascii_lowercase()) {
                        assert!(has(second, ""), "{name}: no {word} {second}");
                    }
                    assert!(has(word, ""), "{name}: no {word}");
                    seen += 1;
                    continue;
                }
                "Options of run" | "Options of all commands" => vec!["run"],
                "Options of other commands" => {
                    what.split(':').next().unwrap_or_default().split(", ").collect()
                }
                _ => continue,
            };
            for command in commands {
                // `journal prune` and `journal list` stand at the action.
                let command = command.split(' ').next_back().unwrap_or_default();
                assert!(has(command, word), "{name}: {command} without {word}: {synopsis:?}");
                seen += 1;
            }
        }
        assert!(seen > 45, "{name}: {seen}");
    }
}

/// `Op` closes at the end of its line: the rest of that line is inside its brackets.
#[test]
fn synopsis_brackets_close_and_pages_do_not_mention_bsd() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let mut pages = 0;
    for dir in [dir.clone(), dir.join("zh_CN")] {
        for path in std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
            let Ok(page) = std::fs::read_to_string(&path) else { continue };
            pages += 1;
            assert!(page.lines().any(|l| l.starts_with(".Os ")), "{}", path.display());
            for line in page.lines().filter(|l| l.starts_with('.')) {
                let after = line.split(" Op ").nth(1).unwrap_or_default();
                let more = after.split(' ').any(|w| ["Oo", "Oc", "Op"].contains(&w));
                assert!(!more && line.matches(" Op ").count() < 2, "{}: {line}", path.display());
            }
        }
    }
    assert_eq!(pages, 5);
}

/// The words after `before` and before `after` in a text with any line ends.
fn between(text: &str, before: &str, after: &str) -> String {
    let text = text.replace("\n# ", " ").replace('\n', " ");
    let found = text.split(before).find_map(|rest| {
        rest.find(after).map(|end| rest[..end].to_owned()).filter(|w| w.len() < 16)
    });
    found.unwrap_or_else(|| panic!("no {before}…{after}"))
}

/// The anchors of a page: those of its headings, as GitHub makes them, and those that it sets.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|l| l.starts_with('#')).map(|line| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        let kept = |c: &char| c.is_alphanumeric() || "-_ ".contains(*c);
        words.chars().filter(kept).collect::<String>().replace(' ', "-")
    });
    let set = text.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next());
    headings.chain(set.map(str::to_owned)).collect()
}

#[test]
fn documents_agree_and_name_existing_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let conf = std::fs::read_to_string(root.join("examples/rsyncd.conf")).unwrap();
    let said = between(OPERATING[0].1, "each localpath uses up to ", " connections");
    assert_eq!(said, between(&conf, "each localpath uses up to ", " connections"));
    let makefile = std::fs::read_to_string(root.join("Makefile")).unwrap();
    for (name, text) in pages() {
        let dir = root.join(&name).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).filter_map(|l| l.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { root.join(&name) } else { dir.join(path) };
            assert!(target.exists(), "{name}: {link}");
            if !anchor.is_empty() {
                let there = anchors(&std::fs::read_to_string(&target).unwrap());
                assert!(there.iter().any(|a| a == anchor), "{name}: {link}: {there:?}");
            }
        }
        // Packages hold files below /usr, and only installed ones.
        for place in text.split("/share/doc/syncsup/").skip(1) {
            let ends = |c: char| c.is_whitespace() || "。,`".contains(c);
            let file = place.split(ends).next().unwrap_or_default().trim_end_matches('.');
            let whole = ["docs/", "examples/"].iter().any(|d| file.starts_with(d));
            let there = match whole {
                // The Makefile installs every file of these.
                true => makefile.contains("find docs examples -type f") && root.join(file).exists(),
                false => file.is_empty() || makefile.contains(&format!("$(DOCDIR)/{file}")),
            };
            assert!(there, "{name}: /share/doc/syncsup/{file}");
        }
    }
}

/// The first page stays short, and each book lists all of its pages.
#[test]
fn readmes_are_short_and_books_are_complete() {
    for (name, text) in READMES {
        assert!(text.lines().count() < 200, "{name}: {} lines", text.lines().count());
    }
    let mut listed = [0, 0];
    for (name, _) in pages() {
        let Some(page) = name.strip_prefix("docs/").filter(|page| !page.ends_with("README.md"))
        else {
            continue;
        };
        let (book, page) = match page.strip_prefix("zh/") {
            Some(page) => (1, page),
            None => (0, page),
        };
        let contents =
            [include_str!("../docs/README.md"), include_str!("../docs/zh/README.md")][book];
        assert!(contents.contains(&format!("]({page})")), "{name} is not in its book");
        listed[book] += 1;
    }
    assert!(listed[0] >= 8 && listed[1] >= 4, "{listed:?}");
}
