//! What is installed beside the program: units, limits, completions, pages.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(at(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Runs a program; `None`, said loudly, where it is not installed.
fn tool(name: &str, args: &[&str]) -> Option<Output> {
    let out = Command::new(name).args(args).current_dir(at("")).output();
    if out.is_err() {
        eprintln!("SKIPPED: there is no {name}");
    }
    out.ok()
}

fn text(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// The settings of a unit: no comments, no empty lines.
fn settings(unit: &str) -> Vec<&str> {
    unit.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).collect()
}

#[test]
fn units_pass_systemd_verification_and_expose_little() {
    let dir = tempfile::tempdir().unwrap();
    // A setting of a drop-in replaces or adds to that of the unit, as one further below does.
    let unprivileged = read("units/unprivileged.conf");
    for (name, file, more, tenths) in [
        ("syncsup.service", "syncsup.service", "", 30),
        ("syncsup@.service", "syncsup@www.service", "", 30),
        ("syncsup.service", "syncsup.service", unprivileged.as_str(), 25),
        ("syncsup@.service", "syncsup@www.service", unprivileged.as_str(), 25),
    ] {
        let unit = format!("{}\n{more}", read(&format!("units/{name}")));
        // It is verified that the program is there.
        let unit = unit.replace("/usr/local/bin/syncsup", env!("CARGO_BIN_EXE_syncsup"));
        let path = dir.path().join(file);
        fs::write(&path, unit).unwrap();
        let path = path.to_str().unwrap();
        let Some(out) = tool("systemd-analyze", &["verify", "--man=no", path]) else { return };
        assert!(out.status.success() && text(&out).is_empty(), "{}", text(&out));
        // The threshold is in tenths.
        let threshold = format!("--threshold={tenths}");
        let args = ["security", "--no-pager", "--offline=true", &threshold, path];
        let Some(out) = tool("systemd-analyze", &args) else { return };
        let shown = text(&out);
        if shown.contains("unrecognized option") {
            eprintln!("SKIPPED: this systemd-analyze cannot judge a unit offline");
            return;
        }
        assert!(out.status.success(), "an exposure above {tenths} tenths:\n{shown}");
    }
}

#[test]
fn the_instance_unit_has_every_setting_of_the_service() {
    let (service, instance) = (read("units/syncsup.service"), read("units/syncsup@.service"));
    let as_instance = service
        .replace("/etc/syncsup/conf.d", "/etc/syncsup/%i.yaml")
        .replace("in real time\n", "in real time (%i)\n");
    assert_eq!(settings(&as_instance), settings(&instance));
}

/// Anything the service cannot see looks deleted, and would be deleted on the slaves.
#[test]
fn no_setting_of_the_service_hides_a_directory() {
    let drop_ins = ["units/plugins.conf", "units/unprivileged.conf"];
    for unit in ["units/syncsup.service", "units/syncsup@.service"].into_iter().chain(drop_ins) {
        let unit = read(unit);
        for line in settings(&unit) {
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            let hides = match key {
                "ProtectHome" => !["no", "read-only"].contains(&value),
                "PrivateTmp" | "PrivateUsers" | "ProtectKernelModules" => value != "no",
                "InaccessiblePaths"
                | "TemporaryFileSystem"
                | "RootDirectory"
                | "RootImage"
                | "NoExecPaths" => true,
                "MountFlags" => value != "slave",
                _ => false,
            };
            assert!(!hides, "{line}");
        }
    }
}

#[test]
fn sysctl_limits_match_the_program() {
    let file = read("units/sysctl.conf");
    for limit in syncsup::supervisor::kernel::limits(100) {
        let line = file.lines().find_map(|l| l.strip_prefix(limit.name)).expect(limit.name);
        let value: u64 = line.trim_start_matches([' ', '=']).parse().expect("a number");
        assert!(value >= limit.wanted, "{} = {value}", limit.name);
    }
}

#[test]
fn other_programs_accept_their_shipped_files() {
    let conf = at("units/tmpfiles.conf");
    let root = tempfile::tempdir().unwrap();
    let args = ["--root", root.path().to_str().unwrap(), "--create", conf.to_str().unwrap()];
    if let Some(out) = tool("systemd-tmpfiles", &args) {
        assert!(out.status.success(), "{out:?}");
        assert!(root.path().join("run/syncsup").is_dir());
    }
    let conf = at("units/sysusers.conf");
    fs::create_dir_all(root.path().join("etc")).unwrap();
    let args = ["--root", root.path().to_str().unwrap(), conf.to_str().unwrap()];
    if let Some(out) = tool("systemd-sysusers", &args) {
        assert!(out.status.success(), "{out:?}");
        let users = fs::read_to_string(root.path().join("etc/passwd")).unwrap();
        assert!(
            users.lines().any(|l| l.starts_with("syncsup:") && l.ends_with("/nologin")),
            "{users}"
        );
    }
    // logrotate wants its files closed to others.
    let rotate = root.path().join("rotate");
    fs::write(&rotate, read("units/logrotate.conf")).unwrap();
    if let Some(out) = tool("logrotate", &["-d", rotate.to_str().unwrap()]) {
        assert!(out.status.success() && !text(&out).contains("error"), "{out:?}");
    }
}

/// The words between the quotes of a list in `src/cli.rs`.
fn listed(name: &str) -> Vec<String> {
    let source = read("src/cli.rs");
    let list = source.split(&format!("const {name}: ")).nth(1).expect(name);
    let list = list.split('=').nth(1).and_then(|l| l.split(';').next()).expect(name);
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn completions_cover_every_command_and_option() {
    let (commands, options) = (listed("COMMANDS"), listed("OPTIONS"));
    assert!(commands.len() > 10 && options.len() > 15, "{commands:?} {options:?}");
    for shell in ["syncsup.bash", "_syncsup", "syncsup.fish"] {
        let file = read(&format!("units/completions/{shell}"));
        let word = |w: &str| {
            let ends = |c: char| !c.is_ascii_alphanumeric() && c != '-';
            file.match_indices(w).any(|(i, _)| {
                file[..i].chars().next_back().is_none_or(ends)
                    && file[i + w.len()..].chars().next().is_none_or(ends)
            })
        };
        for command in &commands {
            assert!(word(command), "{shell}: no {command}");
        }
        for option in &options {
            let said = match shell {
                "syncsup.fish" => file.contains(&format!("-l {option} ")),
                _ => word(&format!("--{option}")),
            };
            assert!(said, "{shell}: no --{option}");
        }
    }
}

/// What bash offers after a line, as it would call the function; `status` says what `syncsup status --json` prints.
fn bash(line: &str, status: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("syncsup");
    fs::write(&program, format!("#!/bin/sh\ncat <<'END'\n{status}\nEND\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let script = r#"set -u; . "$1"; complete -p syncsup >/dev/null || exit 9
        COMP_LINE=$2 COMP_POINT=${#2} COMP_WORDS=("$3") COMP_CWORD=0; _syncsup; printf '%s\n' "${COMPREPLY[@]-}""#;
    let file = at("units/completions/syncsup.bash");
    let args = ["-c", script, "bash", file.to_str().unwrap(), line, program.to_str().unwrap()];
    let out = Command::new("bash").args(args).output().expect("bash");
    assert!(out.status.success() && out.stderr.is_empty(), "{line}: {out:?}");
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines().filter(|l| !l.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_options() {
    let status = r#"{"instances":[{"localpaths":[{"watch":"/data/www","remotes":[
        {"name":"10.0.0.2::www"},{"name":"10.0.0.3::www"}],"plugins":[{"name":"http"}]}]}]}"#;
    let all = bash("syncsup ", "");
    for command in listed("COMMANDS") {
        assert!(all.contains(&command), "{all:?}");
    }
    for (line, wanted) in [
        ("syncsup re", "reload release"),
        ("syncsup -o x.yaml sta", "status"),
        ("syncsup --run-dir /x -v sto", "stop"),
        ("syncsup wait --q", "--quorum"),
        ("syncsup run --no", "--no-sysctl"),
        ("syncsup verify --che", "--checksum"),
        ("syncsup journal ", "list retry drop import prune"),
        ("syncsup journal prune --y", "--yes"),
        ("syncsup -drm ", "command socket http refreshCDN"),
        ("syncsup wait --remote ", "10.0.0.2::www 10.0.0.3::www"),
        ("syncsup journal --plugin ", "http"),
        ("syncsup journal --plugin http re", "retry"),
        ("syncsup status --w", "--watch"),
        ("syncsup status --prob", "--problems"),
        ("syncsup status /d", "/data/www"),
        ("syncsup release ", "/data/www 10.0.0.2::www 10.0.0.3::www"),
        // Only what stands after the last colon is replaced.
        ("syncsup sync 10.0.0.2::w", "www"),
        // The names of files, by bash itself.
        ("syncsup -o ", ""),
        ("syncsup -dro ", ""),
        ("syncsup undelete ", ""),
        ("syncsup status --quorum", ""),
    ] {
        assert_eq!(bash(line, status).join(" "), wanted, "{line}");
    }
}

#[test]
fn zsh_and_fish_accept_their_completions() {
    if let Some(out) = tool("zsh", &["-n", "units/completions/_syncsup"]) {
        assert!(out.status.success(), "{out:?}");
        // It can be loaded, and registers itself.
        let script = "fpath=($PWD/units/completions $fpath); autoload -Uz compinit && compinit -u -D && \
                      [[ $_comps[syncsup] = _syncsup && $_comps[sersync] = _syncsup ]] && autoload +X _syncsup";
        let out = tool("zsh", &["-fc", script]).expect("zsh");
        assert!(out.status.success(), "{out:?}");
    }
    let script = "source units/completions/syncsup.fish; complete -C 'syncsup wait --q'; complete -C 'syncsup rel'; \
                  complete -C 'syncsup journal '; complete -C 'sersync -m '";
    if let Some(out) = tool("fish", &["--no-config", "-c", script]) {
        let shown = text(&out);
        assert!(out.status.success(), "{out:?}");
        for word in ["--quorum\t", "release\t", "retry", "refreshCDN"] {
            assert!(shown.contains(word), "no {word}: {shown}");
        }
    }
}

#[test]
fn make_install_installs_every_shipped_file() {
    let makefile = read("Makefile");
    let mut open = vec![at("units"), at("man")];
    while let Some(dir) = open.pop() {
        for path in fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(at("")).unwrap().to_str().unwrap();
            let by_package = name.starts_with("units/package/");
            assert!(by_package || makefile.contains(name), "{name} is not installed");
        }
    }
}

/// Every file below a directory, with its mode and its content.
fn tree(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let (mut open, mut files) = (vec![root.to_owned()], BTreeMap::new());
    while let Some(dir) = open.pop() {
        for path in fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            let name = path.strip_prefix(root).unwrap().to_owned();
            files.insert(name, (mode, fs::read(&path).unwrap()));
        }
    }
    files
}

/// `make` with these words, for a program that is none.
fn make(dir: &Path, words: &[&str]) {
    let program = dir.join("program");
    fs::write(&program, "#!/bin/sh\necho syncsup\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(dir.join("sbom"), "{}").unwrap();
    let is = |name: &str, file: &str| format!("{name}={}", dir.join(file).display());
    let mut command = Command::new("make");
    command.arg("-s").args(words).current_dir(at(""));
    // A `make` that runs this test has words of its own.
    command.env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
    command.args([is("BINARY", "program"), is("SBOM", "sbom"), is("DIST", "dist")]);
    let out = command.output().unwrap();
    assert!(out.status.success(), "{}", text(&out));
}

#[test]
fn the_tarball_installs_and_removes_what_make_installs() {
    if tool("make", &["--version"]).is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    // A systemd that knows every word of the units.
    let path = format!("{}:{}", dir.join("bin").display(), std::env::var("PATH").unwrap());
    let systemd = |version: &str| {
        let program = dir.join("bin/systemctl");
        fs::create_dir_all(dir.join("bin")).unwrap();
        fs::write(&program, format!("#!/bin/sh\necho 'systemd {version}'\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    };
    make(dir, &["tarball"]);
    let made = fs::read_dir(dir.join("dist")).unwrap().map(|e| e.unwrap().path());
    let archive = made.into_iter().find(|p| p.extension() == Some("gz".as_ref())).unwrap();
    let archive = archive.to_str().unwrap();
    let out = Command::new("tar").args(["-C", dir.to_str().unwrap(), "-xzf", archive]).output();
    assert!(out.as_ref().unwrap().status.success(), "{out:?}");
    let name = archive.rsplit('/').next().unwrap().strip_suffix(".tar.gz").unwrap();
    let install = |root: &str, words: &[&str]| {
        let mut command = Command::new(dir.join(name).join("install.sh"));
        for (name, value) in words.iter().filter_map(|word| word.split_once('=')) {
            command.env(name, value);
        }
        command.args(words.iter().filter(|word| !word.contains('=')));
        command.env("DESTDIR", dir.join(root)).env("PATH", &path);
        let out = command.output().unwrap();
        assert!(out.status.success(), "{}", text(&out));
    };
    let is_list = |path: &Path| path.ends_with("syncsup.cdx.json");
    for (root, words) in [
        ("plain", &[][..]),
        ("usr", &["PREFIX=/usr", "INIT=sysv", "SERSYNC=1"]),
        ("opt", &["PREFIX=/opt/syncsup", "SYSCONFDIR=/opt/etc", "INIT=openrc"]),
    ] {
        let by_make = format!("{root}.make");
        let target = format!("DESTDIR={}", dir.join(&by_make).display());
        make(dir, &[&["install", &target], words].concat());
        systemd("252");
        install(root, words);
        let (wanted, mut got) = (tree(&dir.join(&by_make)), tree(&dir.join(root)));
        got.retain(|path, _| !is_list(path));
        assert!(wanted.len() > 50, "{:?}", wanted.keys());
        assert_eq!(wanted.keys().collect::<Vec<_>>(), got.keys().collect::<Vec<_>>());
        for (path, file) in &wanted {
            assert!(*file == got[path], "{} differs", path.display());
        }
        let etc = words.iter().find_map(|word| word.strip_prefix("SYSCONFDIR=")).unwrap_or("/etc");
        for (path, (_, content)) in
            got.iter().filter(|(path, _)| !path.starts_with("opt/syncsup/share"))
        {
            let text = String::from_utf8_lossy(content);
            let named = text.matches("/etc/syncsup/").count();
            let here = text.matches(&format!("{etc}/syncsup/")).count();
            let program = path.ends_with("bin/syncsup");
            assert!(program || named <= here, "{} names /etc", path.display());
        }
        // A file of the administrator is left as it is, at an installation and at a removal.
        let own = got.keys().find(|path| path.ends_with("logrotate.d/syncsup")).unwrap();
        let own = dir.join(root).join(own);
        fs::write(&own, "changed").unwrap();
        install(root, words);
        assert_eq!(fs::read_to_string(&own).unwrap(), "changed");
        install(root, &[words, &["--uninstall"]].concat());
        let left: Vec<_> =
            tree(&dir.join(root)).into_keys().map(|p| dir.join(root).join(p)).collect();
        assert_eq!(left, [own]);
    }
    // The one of CentOS 7 would refuse every call.
    systemd("219");
    install("old", &[]);
    let unit = dir.join("old/usr/local/lib/systemd/system/syncsup.service");
    let unit = fs::read_to_string(unit).unwrap();
    assert!(!unit.contains("\nSystemCallFilter="), "{unit}");
    assert!(
        unit.contains("\nTimeoutStartSec=0\n")
            && unit.contains("\nExecStart=/usr/local/bin/syncsup ")
    );
}

/// The page lists each table and each column of a journal, and nothing else.
#[test]
fn the_journal_page_lists_every_table_and_column() {
    let page = read("man/syncsup-journal.7");
    let dir = tempfile::tempdir().unwrap();
    drop(syncsup::journal::Journal::open(dir.path()).unwrap());
    let db = rusqlite::Connection::open(dir.path().join(syncsup::journal::FILE_NAME)).unwrap();
    let column = |sql: &str| -> Vec<String> {
        let mut query = db.prepare(sql).unwrap();
        query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let mut tables = column("SELECT name FROM sqlite_master WHERE type = 'table'");
    let section = |table: &str| {
        let mut parts = page.split("\n.Ss ").skip(1);
        parts.find(|p| p.starts_with(&format!("{table}:"))).map(str::to_owned)
    };
    for table in &tables {
        let text = section(table).unwrap_or_else(|| panic!("no table {table}"));
        for name in column(&format!("SELECT name FROM pragma_table_xinfo('{table}')")) {
            let mut items = text.lines().filter_map(|l| l.strip_prefix(".It Va "));
            // The only row has a key of no meaning.
            let said = name == "one"
                || items.any(|i| i.split(" , ").any(|w| w == name))
                || name == "state";
            assert!(said, "{table} has a column {name}");
        }
    }
    let mut shown: Vec<String> = page
        .split("\n.Ss ")
        .skip(1)
        .filter_map(|p| Some(p.lines().next()?.split_once(": ")?.0.to_owned()))
        .collect();
    tables.sort();
    shown.sort();
    assert_eq!(tables, shown);
    // The examples are run.
    for example in page.split(".Bd -literal -offset indent\nSELECT").skip(1) {
        let sql = format!("SELECT{}", example.split("\n.Ed").next().unwrap());
        db.prepare(&sql).unwrap_or_else(|e| panic!("{e}: {sql}"));
    }
}

/// What begins the items of a page: keys, options, commands.
fn items(page: &str) -> Vec<String> {
    let names = [".It Cm ", ".It Fl ", ".It Li "];
    let lines = page.lines().filter(|l| names.iter().any(|n| l.starts_with(n)));
    let words = lines.flat_map(|l| {
        let words = l[4..].split([' ', ',']).take_while(|w| !["No", "Ta", "Oo", "Op"].contains(w));
        words.map(str::to_owned).collect::<Vec<_>>()
    });
    let plain =
        |w: &String| w.len() > 1 && w.starts_with(|c: char| c == '-' || c.is_ascii_lowercase());
    words.filter(plain).collect()
}

/// A page without its words: sections, items, paragraphs, and the lines of its examples.
fn outline(page: &str) -> Vec<&str> {
    const MACROS: [&str; 9] = [".Sh", ".Ss", ".It", ".Pp", ".Bl", ".El", ".Bd", ".Ed", ".Dl"];
    let mut example = false;
    let mut lines = Vec::new();
    for line in page.lines() {
        let first = line.split(' ').next().filter(|first| MACROS.contains(first));
        match first {
            Some(".Bd") => example = true,
            Some(".Ed") => example = false,
            _ => {}
        }
        lines.extend(first.or(example.then_some(line)));
    }
    lines
}

#[test]
fn chinese_pages_have_every_key_of_the_english_ones() {
    for name in ["syncsup.8", "syncsup.yaml.5"] {
        let (english, chinese) = (read(&format!("man/{name}")), read(&format!("man/zh_CN/{name}")));
        assert_eq!(outline(&english), outline(&chinese), "{name}");
        let (wanted, said) = (items(&english), items(&chinese));
        assert!(wanted.len() > 20, "{name}: {wanted:?}");
        for item in wanted {
            let argument = [
                "number", "file", "path", "name", "time", "dir", "plugin", "address", "script",
                "format",
            ];
            assert!(
                argument.contains(&item.as_str()) || said.contains(&item),
                "zh_CN/{name} does not say {item}"
            );
        }
    }
}

/// `.ci/rust` with a cargo and a rustc of these words; what it says, empty when all is well.
fn rust(cargo: &str, rustc: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let program = |name: &str, says: &str| {
        let path = dir.path().join(name);
        fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let (cargo, rustc) = (program("cargo", cargo), program("rustc", rustc));
    let mut command = Command::new(at(".ci/rust"));
    let out = command.arg(&cargo).env("RUSTC", &rustc).current_dir(at("")).output().unwrap();
    assert_eq!(out.status.success(), text(&out).is_empty(), "{out:?}");
    text(&out)
}

#[test]
fn an_old_rust_is_reported_with_what_to_install() {
    let wanted = read("Cargo.toml");
    let wanted = wanted.lines().find_map(|l| l.strip_prefix("rust-version = ")).unwrap();
    let wanted = wanted.trim_matches('"');
    for version in [wanted, "1.89.0", "1.90.0 (840b83a10 2025-07-30)", "1.100.2-nightly", "2.0.0"] {
        let said = rust(&format!("cargo {version}"), &format!("rustc {version}"));
        assert_eq!(said, "", "{version}");
    }
    for version in ["1.65.0", "0.66.0", "1.88.0 (6b00bc388 2025-06-23)", "1.9.0", "odd", ""] {
        for said in [
            rust(&format!("cargo {version}"), "rustc 1.89.0"),
            rust("cargo 1.89.0", &format!("rustc {version}")),
        ] {
            assert!(said.contains("is too old") && said.contains("https://rustup.rs"), "{said}");
            assert!(said.contains(wanted) && said.lines().count() == 1, "{said}");
        }
    }
    let makefile = read("Makefile");
    let compiler = makefile.split("\ncompiler:\n").nth(1).expect("a rule for the compiler");
    assert!(
        compiler.starts_with("\t@.ci/rust $(CARGO)\n"),
        "looked at before anything is installed"
    );
}

/// dpkg reads the version from there, and what it says first.
#[test]
fn the_package_of_debian_has_the_version_of_all() {
    let cargo = read("Cargo.toml");
    let version = cargo.lines().find_map(|l| l.strip_prefix("version = ")).unwrap();
    let changelog = read("debian/changelog");
    let entry = format!("syncsup ({}-", version.trim_matches('"'));
    assert!(changelog.starts_with(&entry), "{changelog}");
    let control = read("debian/control");
    let maintainer = control.lines().find_map(|l| l.strip_prefix("Maintainer: ")).unwrap();
    assert!(changelog.contains(&format!("\n -- {maintainer}  ")), "{changelog}");
}

/// The two names stand for all: one comes from the order, one from the steps.
#[test]
fn a_released_program_has_no_fault_points() {
    let names = ["SYNCSUP_FAULT_POINTS", "WatcherCheckpointed"];
    let found = |file: &Path| {
        names.map(|name| {
            let out = Command::new("grep").args(["-qaF", name]).arg(file).output().unwrap();
            assert!(out.status.code() < Some(2), "{}", text(&out));
            out.status.success()
        })
    };
    // This shows that they would be found.
    let program = Path::new(env!("CARGO_BIN_EXE_syncsup"));
    assert_eq!(found(program), [cfg!(debug_assertions); 2]);
    // What a release compiles of that room, which alone knows what to do at a step.
    let dir = tempfile::tempdir().unwrap();
    let object = dir.path().join("room.o");
    let words = "--edition=2024 --crate-type=lib --emit=obj -Cdebug-assertions=no -Awarnings";
    let mut args: Vec<&str> = words.split(' ').collect();
    args.extend(["src/sys/fault_point.rs", "-o", object.to_str().unwrap()]);
    if let Some(out) = tool("rustc", &args) {
        assert!(out.status.success(), "{}", text(&out));
        assert_eq!(found(&object), [false; 2]);
    }
    for line in read("Cargo.toml").lines() {
        assert!(!line.contains("debug-assertions"), "{line}");
    }
    // A released program, where one was built.
    let released = program.ancestors().nth(2).unwrap().join("release/syncsup");
    if released.exists() {
        assert_eq!(found(&released), [false; 2], "{}", released.display());
    } else {
        eprintln!("SKIPPED: there is no {}", released.display());
    }
}

/// `Ql` and `Dq` quote the whole rest of their line, `Ns No` included, so a Chinese mark there is inside the quotes. `So`
/// and `Do` end where they say. The other macros take a mark as part of a name unless `No` is before it.
#[test]
fn chinese_marks_are_outside_of_what_they_follow() {
    const MARKS: [char; 9] = ['。', '，', '；', '：', '、', '（', '）', '！', '？'];
    for name in ["syncsup.8", "syncsup.yaml.5"] {
        let page = read(&format!("man/zh_CN/{name}"));
        let mut seen = 0;
        for line in page.lines().filter(|line| line.ends_with(MARKS)) {
            let words: Vec<&str> = line.split(' ').collect();
            let quoted =
                words.iter().any(|w| ["Ql", "Dq", "Pq"].contains(&w.trim_start_matches('.')));
            assert!(!line.starts_with('.') || !quoted, "{name}: {line}");
            let named = [".Li", ".Pa", ".Cm", ".Fl", ".Ic", ".Ar"].contains(&words[0]);
            assert!(!named || words.contains(&"No"), "{name}: {line}");
            seen += usize::from(named);
        }
        assert!(seen > 20, "{name}: {seen}");
    }
}
