//! What syncsup is built from is what `deny.toml` and `docs/dependencies.md` allow, and the bill of materials lists it.
//! Needs no network: asks cargo about `Cargo.lock` and the packages that this test was built with.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

const DENY: &str = include_str!("../deny.toml");
const PAGE: &str = include_str!("../docs/dependencies.md");
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Runs a program in the repository.
fn run(mut command: Command) -> String {
    let out = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn cargo(args: &[&str]) -> String {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.args(args).args(["--locked", "--offline"]);
    run(command)
}

/// The packages for this platform, those of the tests included.
fn packages() -> Vec<Value> {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
    rustc.arg("-vV");
    let host =
        run(rustc).lines().find_map(|l| l.strip_prefix("host: ").map(str::to_owned)).unwrap();
    let text = cargo(&["metadata", "--format-version", "1", "--filter-platform", &host]);
    let mut metadata: Value = serde_json::from_str(&text).unwrap();
    let packages = metadata["packages"].take();
    packages.as_array().cloned().unwrap()
}

fn text<'v>(package: &'v Value, key: &str) -> &'v str {
    package[key].as_str().unwrap_or_default()
}

fn named(package: &Value) -> String {
    format!("{}@{}", text(package, "name"), text(package, "version"))
}

/// The parts of `deny.toml` that are checked here.
#[derive(Clone)]
struct Allowed {
    licenses: Vec<String>,
    /// `NAME@VERSION`.
    skipped: Vec<String>,
}

impl Allowed {
    fn read(toml: &str) -> Self {
        let list = |key: &str| -> Vec<String> {
            let begin = format!("{key} = [");
            let after = toml.lines().skip_while(|l| *l != begin).skip(1);
            let items = after.take_while(|l| *l != "]");
            // The first word in quotes of each item.
            items.filter_map(|l| l.split('"').nth(1).map(str::to_owned)).collect()
        };
        Self { licenses: list("allow"), skipped: list("skip") }
    }
}

/// Evaluates a license expression of SPDX. `None` if it is none. The operators bind as there: WITH, AND, OR.
fn allows(expression: &str, allowed: &[String]) -> Option<bool> {
    fn any(words: &mut &[&str], allowed: &[String]) -> Option<bool> {
        let mut result = all(words, allowed)?;
        while let ["OR", rest @ ..] = *words {
            *words = rest;
            result |= all(words, allowed)?;
        }
        Some(result)
    }
    fn all(words: &mut &[&str], allowed: &[String]) -> Option<bool> {
        let mut result = one(words, allowed)?;
        while let ["AND", rest @ ..] = *words {
            *words = rest;
            result &= one(words, allowed)?;
        }
        Some(result)
    }
    fn one(words: &mut &[&str], allowed: &[String]) -> Option<bool> {
        let (license, rest) = match *words {
            ["(", rest @ ..] => {
                *words = rest;
                let result = any(words, allowed)?;
                let [")", rest @ ..] = *words else { return None };
                *words = rest;
                return Some(result);
            }
            [id, "WITH", exception, rest @ ..] => (format!("{id} WITH {exception}"), rest),
            [id, rest @ ..] => ((*id).to_owned(), rest),
            [] => return None,
        };
        if ["OR", "AND", "WITH", ")"].contains(&license.as_str()) {
            return None;
        }
        *words = rest;
        Some(allowed.contains(&license))
    }
    // Some old packages write a slash for OR.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut left = &words[..];
    any(&mut left, allowed).filter(|_| left.is_empty())
}

/// The packages whose license these do not allow.
fn unlicensed(packages: &[Value], licenses: &[String]) -> Vec<String> {
    let bad = |p: &&Value| allows(text(p, "license"), licenses) != Some(true);
    packages.iter().filter(bad).map(|p| format!("{}: {}", named(p), p["license"])).collect()
}

fn license_findings(packages: &[Value], allowed: &Allowed) -> Vec<String> {
    let mut found = unlicensed(packages, &allowed.licenses);
    for license in &allowed.licenses {
        let others: Vec<_> = allowed.licenses.iter().filter(|l| *l != license).cloned().collect();
        if unlicensed(packages, &others).is_empty() {
            found.push(format!("deny.toml allows {license}, which no package needs"));
        }
    }
    found
}

/// Of a name with several versions, deny.toml skips all but the newest.
fn duplicate_findings(packages: &[Value], allowed: &Allowed) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for package in packages {
        versions.entry(text(package, "name")).or_default().push(named(package));
    }
    versions.retain(|_, all| all.len() > 1);
    let mut found = Vec::new();
    for (name, all) in &versions {
        let left: Vec<_> = all.iter().filter(|v| !allowed.skipped.contains(v)).collect();
        if left.len() != 1 {
            found.push(format!("{name} comes in several versions: {all:?}"));
        }
    }
    for skipped in &allowed.skipped {
        if !versions.values().flatten().any(|v| v == skipped) {
            found.push(format!("deny.toml skips {skipped}, which is no duplicate"));
        }
    }
    found
}

/// Every package of `Cargo.lock`, those of other platforms included, comes from crates.io and has its checksum.
fn source_findings(lock: &str) -> Vec<String> {
    let mut found = Vec::new();
    for package in lock.split("\n[[package]]\n").skip(1) {
        let value = |key: &str| {
            let of = format!("{key} = \"");
            package.lines().find_map(|l| l.strip_prefix(&of)?.strip_suffix('"')).unwrap_or_default()
        };
        let whole = value("source") == CRATES_IO && value("checksum").len() == 64;
        if !whole && value("name") != env!("CARGO_PKG_NAME") {
            found.push(format!("{} {}: {:?}", value("name"), value("version"), value("source")));
        }
    }
    found
}

/// A package's `rust-version` as numbers.
fn rust(package: &Value) -> Vec<u32> {
    text(package, "rust_version").split('.').flat_map(str::parse).collect()
}

/// Packages that need a newer Rust than Cargo.toml says.
fn rust_findings(packages: &[Value], own: &[u32]) -> Vec<String> {
    // 1.89 and 1.89.0 are the same version.
    let plain = |mut v: Vec<u32>| {
        v.resize(3, 0);
        v
    };
    let newer = |p: &&Value| plain(rust(p)) > plain(own.to_vec());
    packages.iter().filter(newer).map(|p| format!("{}: {}", named(p), p["rust_version"])).collect()
}

/// The tables of the page: a package with its cells.
fn rows(page: &str) -> Vec<(String, Vec<String>)> {
    let lines = page.lines().filter(|l| l.starts_with("| `"));
    let cells = lines.map(|l| l.trim_matches('|').split('|').map(|c| c.trim().to_owned()));
    let rows =
        cells.filter_map(|mut cells| Some((cells.next()?.replace('`', ""), cells.collect())));
    rows.collect()
}

/// Each direct dependency has a row of its own: why, unsafe, last release, license.
fn page_findings(packages: &[Value], page: &str) -> Vec<String> {
    let own = packages.iter().find(|p| p["source"].is_null()).unwrap();
    let direct: BTreeSet<&str> =
        own["dependencies"].as_array().unwrap().iter().map(|d| text(d, "name")).collect();
    let rows = rows(page);
    let mut found = Vec::new();
    for name in &direct {
        let [(_, cells)] = &rows.iter().filter(|(n, _)| n == name).collect::<Vec<_>>()[..] else {
            found.push(format!("{name} has not one row"));
            continue;
        };
        let license =
            packages.iter().find(|p| text(p, "name") == *name).map(|p| text(p, "license"));
        let license = license.unwrap_or_default().replace('/', " OR ");
        match &cells[..] {
            [why, unsafe_code, released, said]
                if why.split(' ').count() > 2
                    && !unsafe_code.is_empty()
                    && released.contains("20") =>
            {
                if *said != license {
                    found.push(format!("{name} has the license {license}, not {said}"));
                }
            }
            _ => found.push(format!("the row of {name} is not complete: {cells:?}")),
        }
    }
    let others = rows.iter().filter(|(n, _)| !direct.contains(n.as_str()));
    found.extend(others.map(|(n, _)| format!("{n} is no direct dependency")));
    found
}

#[test]
fn every_license_is_allowed_and_every_allowed_one_is_needed() {
    let allowed = Allowed::read(DENY);
    assert!(allowed.licenses.len() > 3, "{:?}", allowed.licenses);
    let packages = packages();
    assert!(packages.len() > 100, "{}", packages.len());
    let found = license_findings(&packages, &allowed);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn only_known_packages_come_in_several_versions() {
    let found = duplicate_findings(&packages(), &Allowed::read(DENY));
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_package_comes_from_crates_io_with_its_checksum() {
    let found = source_findings(include_str!("../Cargo.lock"));
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn no_package_needs_a_newer_rust_than_this_one() {
    let packages = packages();
    let own = rust(packages.iter().find(|p| p["source"].is_null()).unwrap());
    assert_eq!(own.len(), 2, "{own:?}");
    let found = rust_findings(&packages, &own);
    assert!(found.is_empty(), "Cargo.toml says {own:?}: {found:#?}");
}

#[test]
fn every_direct_dependency_is_explained() {
    let found = page_findings(&packages(), PAGE);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn these_checks_see_what_is_wrong() {
    let licenses = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
    for (expression, expected) in [
        ("MIT", Some(true)),
        ("GPL-3.0", Some(false)),
        ("GPL-3.0 OR MIT", Some(true)),
        ("GPL-3.0/MIT", Some(true)),
        ("GPL-3.0 AND MIT", Some(false)),
        ("MIT AND ISC", Some(true)),
        ("GPL-3.0 AND ISC OR MIT", Some(true)),
        ("GPL-3.0 AND (ISC OR MIT)", Some(false)),
        ("(GPL-3.0 OR MIT) AND ISC", Some(true)),
        ("Apache-2.0", Some(false)),
        ("Apache-2.0 WITH LLVM-exception", Some(true)),
        ("Apache-2.0 WITH LLVM-exception AND GPL-3.0", Some(false)),
        ("", None),
        ("MIT OR", None),
        ("(MIT", None),
        ("MIT ISC", None),
        ("AND MIT", None),
    ] {
        assert_eq!(allows(expression, &licenses), expected, "{expression}");
    }

    let package = |name: &str, version: &str, license: &str| {
        let deps = serde_json::json!([{"name": "a"}, {"name": "b"}]);
        let source = if name == "own" { Value::Null } else { CRATES_IO.into() };
        serde_json::json!({"name": name, "version": version, "license": license, "source": source,
            "rust_version": "1.70.0", "dependencies": deps})
    };
    let packages = [
        package("own", "1.0.0", "MIT"),
        package("a", "1.0.0", "ISC"),
        package("a", "2.0.0", "ISC"),
        package("b", "1.0.0", "GPL-3.0"),
    ];
    let allowed = |licenses: &[&str], skipped: &[&str]| {
        let lines = |items: &[&str]| -> String {
            items.iter().map(|i| format!("    {{ crate = \"{i}\" }},\n")).collect()
        };
        let (licenses, skipped) = (lines(licenses), lines(skipped));
        Allowed::read(&format!("allow = [\n{licenses}]\nskip = [\n{skipped}]\n"))
    };
    let found = |allowed| license_findings(&packages, &allowed);
    assert_eq!(found(allowed(&["MIT", "ISC"], &[])).len(), 1);
    assert!(found(allowed(&["MIT", "ISC", "GPL-3.0"], &[])).is_empty());
    assert_eq!(found(allowed(&["MIT", "ISC", "GPL-3.0", "Zlib"], &[])).len(), 1);

    let found = |allowed| duplicate_findings(&packages, &allowed);
    assert_eq!(found(allowed(&[], &[])).len(), 1);
    assert!(found(allowed(&[], &["a@1.0.0"])).is_empty());
    assert_eq!(found(allowed(&[], &["a@1.0.0", "b@1.0.0"])).len(), 1);
    assert_eq!(found(allowed(&[], &["a@1.0.0", "a@2.0.0"])).len(), 1);

    assert!(rust_findings(&packages, &[1, 70]).is_empty());
    assert_eq!(rust_findings(&packages, &[1, 69]).len(), 4);

    let lock = |source: &str, checksum: &str| {
        let own = "\n[[package]]\nname = \"syncsup\"\nversion = \"1.0.0\"\n";
        format!(
            "{own}\n[[package]]\nname = \"a\"\nsource = \"{source}\"\nchecksum = \"{checksum}\"\n"
        )
    };
    let sum = "0".repeat(64);
    assert!(source_findings(&lock(CRATES_IO, &sum)).is_empty());
    assert_eq!(source_findings(&lock("git+https://example.com/a", &sum)).len(), 1);
    assert_eq!(source_findings(&lock(CRATES_IO, "")).len(), 1);

    let row = |name: &str, license: &str| {
        format!("| `{name}` | the best there is | none | 2026-01 | {license} |\n")
    };
    let found = |page: String| page_findings(&packages, &page).len();
    assert_eq!(found(row("a", "ISC") + &row("b", "GPL-3.0")), 0);
    assert_eq!(found(row("a", "ISC")), 1);
    assert_eq!(found(row("a", "MIT") + &row("b", "GPL-3.0")), 1);
    assert_eq!(found(row("a", "ISC") + &row("b", "GPL-3.0") + &row("c", "MIT")), 1);
    assert_eq!(found(row("a", "ISC") + "| `b` | | none | 2026-01 | GPL-3.0 |\n"), 1);
}

/// Name and version of every package that `cargo tree` prints.
fn tree(edges: &str) -> BTreeSet<String> {
    let text = cargo(&["tree", "-e", edges, "--prefix", "none", "--format", "{p}"]);
    let mut all: BTreeSet<String> = BTreeSet::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let (name, version) = (words.next().unwrap(), words.next().unwrap_or_default());
        all.insert(format!("{name} {}", version.trim_start_matches('v')));
    }
    all.retain(|name| !name.is_empty() && !name.starts_with("syncsup "));
    all
}

#[test]
fn the_bill_of_materials_lists_the_packages_of_the_program() {
    if Command::new("jq").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no jq");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let make = |name: &str| {
        let path = dir.path().join(name);
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/sbom"));
        command.arg(&path).env("CARGO_NET_OFFLINE", "true").env("SOURCE_DATE_EPOCH", "0");
        run(command);
        fs::read_to_string(path).unwrap()
    };
    let made = make("a");
    assert_eq!(made, make("b"), "it can be made again");
    let all: Value = serde_json::from_str(&made).unwrap();
    assert_eq!((text(&all, "bomFormat"), text(&all, "specVersion")), ("CycloneDX", "1.5"));
    assert_eq!(all["metadata"]["timestamp"], "1970-01-01T00:00:00Z");
    let own = &all["metadata"]["component"];
    assert_eq!((text(own, "name"), text(own, "version")), ("syncsup", env!("CARGO_PKG_VERSION")));

    let components = all["components"].as_array().unwrap();
    let listed = |scope: &str| -> BTreeSet<String> {
        let of = components.iter().filter(|c| scope.is_empty() || text(c, "scope") == scope);
        of.map(|c| format!("{} {}", text(c, "name"), text(c, "version"))).collect()
    };
    // The program itself says which SQLite is in it.
    let sqlite = format!("sqlite {}", rusqlite::version());
    let with_sqlite = |edges| tree(edges).into_iter().chain([sqlite.clone()]).collect();
    assert_eq!(listed(""), with_sqlite("normal,build"));
    assert_eq!(listed("required"), with_sqlite("normal,no-proc-macro"));
    let lock = include_str!("../Cargo.lock");
    for component in components.iter().filter(|c| text(c, "name") != "sqlite") {
        let (name, version) = (text(component, "name"), text(component, "version"));
        let purl = format!("pkg:cargo/{name}@{}", version.replace('+', "%2B"));
        assert_eq!((text(component, "purl"), text(component, "bom-ref")), (&*purl, &*purl));
        assert!(!text(&component["licenses"][0], "expression").is_empty(), "{component}");
        let sum = text(&component["hashes"][0], "content");
        let locked = format!(
            "name = \"{name}\"\nversion = \"{version}\"\nsource = \"{CRATES_IO}\"\nchecksum = \"{sum}\"\n"
        );
        assert!(lock.contains(&locked), "{component}");
    }

    // The graph has every component, and leads to nothing else.
    let refs: BTreeSet<&str> = components.iter().chain([own]).map(|c| text(c, "bom-ref")).collect();
    assert_eq!(refs.len(), components.len() + 1);
    let graph = all["dependencies"].as_array().unwrap();
    assert_eq!(graph.iter().map(|d| text(d, "ref")).collect::<BTreeSet<_>>(), refs);
    let mut reached = BTreeSet::from([text(own, "bom-ref")]);
    let mut left: Vec<&str> = reached.iter().copied().collect();
    while let Some(from) = left.pop() {
        let node = graph.iter().find(|d| text(d, "ref") == from).expect(from);
        for to in node["dependsOn"].as_array().unwrap().iter().filter_map(Value::as_str) {
            if reached.insert(to) {
                left.push(to);
            }
        }
    }
    assert_eq!(reached, refs);
}
