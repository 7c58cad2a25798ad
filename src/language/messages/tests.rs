//! The table has what the source says, and nothing else.

use super::*;
use crate::language::fill;
use crate::rsync::options::{Class, OPTIONS};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every file of the source, except the language itself.
fn sources() -> Vec<String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut todo, mut texts): (Vec<PathBuf>, Vec<String>) = (vec![src.clone()], Vec::new());
    while let Some(dir) = todo.pop() {
        for path in fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()) {
            match path.strip_prefix(&src).unwrap().starts_with("language") {
                true => {}
                false if path.is_dir() => todo.push(path),
                false if path.ends_with("language.rs") => {}
                false if path.extension().is_some_and(|e| e == "rs") => {
                    texts.push(fs::read_to_string(path).unwrap());
                }
                false => {}
            }
        }
    }
    texts
}

/// A string literal at the beginning of `code`, with its escapes resolved.
fn literal(code: &str) -> Option<String> {
    let mut chars = code.trim_start().strip_prefix('"')?.chars().peekable();
    let mut text = String::new();
    loop {
        match chars.next()? {
            '"' => return Some(text),
            '\\' => match chars.next()? {
                'n' => text.push('\n'),
                '\n' => while chars.next_if(|c| c.is_whitespace()).is_some() {},
                c @ ('"' | '\\') => text.push(c),
                other => panic!("the escape \\{other} in a message: {text}"),
            },
            c => text.push(c),
        }
    }
}

/// What the macros of a file are given.
fn said_in(code: &str) -> Vec<String> {
    let code: Vec<&str> =
        code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let macros = ["say!(", "phrase!("].into_iter();
    let places = macros.flat_map(|name| code.match_indices(name).map(|(at, name)| at + name.len()));
    places.map(|at| literal(&code[at..]).unwrap_or_else(|| panic!("{}", &code[at..]))).collect()
}

#[test]
fn every_message_has_its_chinese_and_no_other() {
    let said: BTreeSet<String> = sources().iter().flat_map(|code| said_in(code)).collect();
    let known: Vec<&str> = ALL.into_iter().flatten().map(|(english, _)| *english).collect();
    let once: BTreeSet<String> = known.iter().map(|english| (*english).to_owned()).collect();
    assert_eq!(known.len(), once.len(), "a message is in the table twice");
    assert_eq!(said.difference(&once).collect::<Vec<_>>(), [""; 0], "they have no Chinese");
    assert_eq!(once.difference(&said).collect::<Vec<_>>(), [""; 0], "nobody says them");
}

#[test]
fn both_languages_have_the_same_values() {
    for (english, chinese) in ALL.into_iter().flatten() {
        let names: Vec<String> =
            (0..english.matches("{}").count()).map(|n| format!("<{n}>")).collect();
        let filled = fill(chinese, &names);
        for name in &names {
            assert_eq!(filled.matches(name.as_str()).count(), 1, "{name} in {chinese}");
        }
        let given = chinese.replace("{}", "").matches('{').count();
        let numbered = (1..=names.len()).filter(|n| chinese.contains(&format!("{{{n}}}"))).count();
        let plain = english.replace("{}", "").matches('{').count();
        assert_eq!(given, numbered + plain, "too many values: {chinese}");
        assert!(numbered == 0 || !chinese.contains("{}"), "two ways to count: {chinese}");
        let ends = |text: &str| (text.starts_with("  "), text.ends_with('\n'));
        assert_eq!(ends(english), ends(chinese), "{chinese}");
    }
}

#[test]
fn every_reason_about_an_rsync_option_is_a_phrase() {
    for option in OPTIONS {
        let reasons = match option.class {
            Class::Warned(why) | Class::Dropped(why) => vec![why],
            Class::Refused(why, instead) => vec![why, instead],
            _ => vec![],
        };
        for reason in reasons {
            assert!(chinese(reason).is_some(), "{}: {reason}", option.name());
        }
    }
}

#[test]
fn a_message_is_chinese() {
    let is_chinese = |text: &str| text.chars().any(|c| ('\u{3000}'..='\u{ff5e}').contains(&c));
    for (english, chinese) in ALL.into_iter().flatten() {
        assert!(is_chinese(chinese), "{english}");
        assert!(!is_chinese(english), "{english}");
    }
}

#[test]
fn this_test_reads_the_source() {
    let code = "a(say!(\n    \"x {}\\n\\\n     y \\\"z\\\"\",\n    1));\n// say!(none)\nconst B: &str = phrase!(\"b\");";
    assert_eq!(said_in(code), ["x {}\ny \"z\"", "b"]);
}
