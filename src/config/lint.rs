//! Characters that web tutorials put into a `confxml.xml`: curly quotes, dashes, full-width forms. They are reported
//! with line and column before the XML is parsed, and replaced in a copy, so that the parser continues and finds the
//! other errors.

use super::diagnostic::Notes;
use crate::language::{phrase, said, say};
use encoding_rs::GBK;

/// One character and its original bytes.
struct Char<'a> {
    c: char,
    bytes: &'a [u8],
}

/// Splits into characters: as UTF-8 if everything is valid, else as GBK, whatever the file declares. A byte that is
/// valid in neither is kept.
fn characters(bytes: &[u8]) -> Vec<Char<'_>> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text
            .char_indices()
            .map(|(i, c)| Char { c, bytes: &bytes[i..i + c.len_utf8()] })
            .collect();
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(&first) = rest.first() {
        let pair = (first >= 0x81 && rest.get(1).is_some_and(|&b| b >= 0x40)).then(|| &rest[..2]);
        let decoded = pair.and_then(|p| GBK.decode_without_bom_handling_and_without_replacement(p));
        let (c, len) = match decoded.as_deref().map(|s| s.chars().collect::<Vec<_>>()).as_deref() {
            Some([c]) => (*c, 2),
            _ => (char::from(first), 1),
        };
        out.push(Char { c, bytes: &rest[..len] });
        rest = &rest[len..];
    }
    out
}

/// A character that has no name of its own.
const CHARACTER: &str = phrase!("character");
/// A quote that a word processor makes of a straight one.
const CURLY_QUOTE: &str = phrase!("curly quote");

/// The name of a typographic character, and the character that was meant.
fn meant(c: char) -> Option<(&'static str, &'static str)> {
    Some(match c {
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{201f}' | '\u{2033}' | '\u{301d}'
        | '\u{301e}' => (CURLY_QUOTE, "\""),
        '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}' | '\u{2032}' => (CURLY_QUOTE, "'"),
        '\u{2013}' => (phrase!("en dash"), "-"),
        '\u{2014}' | '\u{2015}' => (phrase!("em dash"), "--"),
        '\u{2010}' | '\u{2011}' | '\u{2012}' | '\u{2212}' => (phrase!("dash"), "-"),
        '\u{a0}' | '\u{3000}' | '\u{2002}' | '\u{2003}' | '\u{2009}' => (phrase!("odd space"), " "),
        '\u{200b}' | '\u{feff}' | '\u{200e}' | '\u{200f}' => (phrase!("invisible character"), ""),
        '\u{ff01}'..='\u{ff5e}' => (phrase!("full-width character"), full_width(c)),
        _ => return None,
    })
}

/// The ASCII form of U+FF01 to U+FF5E.
fn full_width(c: char) -> &'static str {
    const ASCII: &str = "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~";
    let at = (c as usize).saturating_sub(0xff01);
    ASCII.get(at..=at).unwrap_or("?")
}

fn is_dash(c: char) -> bool {
    matches!(c, '\u{2010}'..='\u{2015}' | '\u{2212}')
}

/// Attributes whose values are plain ASCII words. Such characters cannot be intended in them.
const PLAIN: &[&str] = &[
    "ip",
    "port",
    "start",
    "time",
    "timeToExecute",
    "schedule",
    "params",
    "users",
    "xfs",
    "ignoreError",
    "hostip",
    "regex",
    "version",
];

enum State {
    Text,
    Tag {
        attribute: String,
    },
    /// In a value, up to this quote.
    Value {
        quote: char,
        attribute: String,
        start: usize,
    },
    Comment {
        line: usize,
        told: bool,
    },
}

struct Lint<'a, 'n, 'f> {
    chars: Vec<Char<'a>>,
    out: Vec<u8>,
    line: usize,
    column: usize,
    notes: &'n mut Notes<'f>,
}

/// Reports such characters. The copy has the same lines.
pub(crate) fn repair(bytes: &[u8], notes: &mut Notes) -> Vec<u8> {
    let chars = characters(bytes);
    let mut lint = Lint { chars, out: Vec::with_capacity(bytes.len()), line: 1, column: 1, notes };
    let mut state = State::Text;
    let mut at = 0;
    while at < lint.chars.len() {
        let (next, used) = lint.step(state, at);
        for c in &lint.chars[at..at + used] {
            (lint.line, lint.column) =
                if c.c == '\n' { (lint.line + 1, 1) } else { (lint.line, lint.column + 1) };
        }
        state = next;
        at += used;
    }
    lint.out
}

impl Lint<'_, '_, '_> {
    fn at(&self, at: usize) -> char {
        self.chars.get(at).map_or('\0', |c| c.c)
    }

    fn keep(&mut self, at: usize, count: usize) {
        for c in &self.chars[at..at + count] {
            self.out.extend_from_slice(c.bytes);
        }
    }

    fn fix(&mut self, c: char, column: usize, why: &str) {
        let (what, instead) = meant(c).unwrap_or((CHARACTER, ""));
        let code = format!("{:04X}", c as u32);
        let advice = match instead {
            "" => say!("remove it"),
            " " => say!("write a plain space"),
            instead => say!("write {}", instead),
        };
        let shown = if c.is_control() || meant(c).is_some_and(|m| m.1.is_empty()) {
            String::new()
        } else {
            format!("{c} ")
        };
        self.notes.error_at(
            self.line,
            column,
            say!("{} {}(U+{}) {}; {}", said(what), shown, code, why, advice),
        );
        self.out.extend_from_slice(instead.as_bytes());
    }

    /// Consumes the characters at `at`. Returns the next state and the number of consumed characters.
    fn step(&mut self, state: State, at: usize) -> (State, usize) {
        match state {
            State::Text => self.text(at),
            State::Tag { attribute } => self.tag(attribute, at),
            State::Value { quote, attribute, start } => self.value(quote, attribute, start, at),
            State::Comment { line, told } => self.comment(line, told, at),
        }
    }

    fn text(&mut self, at: usize) -> (State, usize) {
        let tag = State::Tag { attribute: String::new() };
        match (self.at(at), self.at(at + 1), self.at(at + 2), self.at(at + 3)) {
            ('<', '!', '-', '-') => {
                self.keep(at, 4);
                (State::Comment { line: self.line, told: false }, 4)
            }
            ('<', '!', a, b) if is_dash(a) || (a == '-' && is_dash(b)) => {
                let used = 2
                    + (2..6)
                        .take_while(|i| self.at(at + i) == '-' || is_dash(self.at(at + i)))
                        .count();
                let bad = (2..used).find(|i| is_dash(self.at(at + i))).unwrap_or(2);
                self.complain_comment(
                    at + bad,
                    self.column + bad,
                    &say!("where a comment begins; write <!--"),
                );
                self.out.extend_from_slice(b"<!--");
                (State::Comment { line: self.line, told: false }, used)
            }
            ('<', ..) => {
                self.keep(at, 1);
                (tag, 1)
            }
            ('\u{ff1c}', ..) => {
                self.fix('\u{ff1c}', self.column, &say!("where a tag begins"));
                (tag, 1)
            }
            _ => {
                self.keep(at, 1);
                (State::Text, 1)
            }
        }
    }

    fn complain_comment(&mut self, at: usize, column: usize, why: &str) {
        let c = self.at(at);
        let what = meant(c).map_or(CHARACTER, |m| m.0);
        self.notes.error_at(
            self.line,
            column,
            say!("{} {} (U+{}) {}", said(what), c, format!("{:04X}", c as u32), why),
        );
    }

    fn tag(&mut self, mut attribute: String, at: usize) -> (State, usize) {
        let c = self.at(at);
        let mut plain = c;
        if let Some((_, instead)) = meant(c) {
            self.fix(c, self.column, &say!("in a tag"));
            plain = instead.chars().next().unwrap_or(' ');
        } else {
            self.keep(at, 1);
        }
        match plain {
            '>' => return (State::Text, 1),
            '"' | '\'' => return (State::Value { quote: plain, attribute, start: at + 1 }, 1),
            '=' => {}
            c if c.is_whitespace() => {}
            c => {
                let before = at.checked_sub(1).map_or(' ', |i| self.at(i));
                if before.is_whitespace() {
                    attribute.clear();
                }
                attribute.push(c);
            }
        }
        (State::Tag { attribute }, 1)
    }

    fn value(&mut self, quote: char, attribute: String, start: usize, at: usize) -> (State, usize) {
        let c = self.at(at);
        if c == quote {
            self.keep(at, 1);
            return (State::Tag { attribute: String::new() }, 1);
        }
        let as_quote = meant(c).is_some_and(|m| m.0 == CURLY_QUOTE && m.1.starts_with(quote))
            || c == '\u{ff02}';
        if as_quote && at == start && self.opened_straight(start) {
            // `"“/data”"` contains both quotes; the curly one is removed.
            let (line, column) = (self.line, self.column);
            self.notes.error_at(
                line,
                column,
                say!("curly quote {} (U+{}) in a value; remove it", c, format!("{:04X}", c as u32)),
            );
            return (State::Value { quote, attribute, start }, 1);
        }
        let follows = self.at(at + 1);
        if as_quote
            && (follows == quote
                || follows.is_whitespace()
                || "/>?".contains(follows)
                || !self.opened_straight(start))
        {
            if follows == quote {
                self.complain_comment(at, self.column, &say!("in a value; remove it"));
                return (State::Value { quote, attribute, start }, 1);
            }
            self.fix(c, self.column, &say!("where a value ends"));
            return (State::Tag { attribute: String::new() }, 1);
        }
        if meant(c).is_some() && PLAIN.contains(&attribute.as_str()) {
            self.fix(c, self.column, &say!("in the value of {}", attribute));
        } else {
            self.keep(at, 1);
        }
        (State::Value { quote, attribute, start }, 1)
    }

    fn opened_straight(&self, start: usize) -> bool {
        matches!(self.at(start - 1), '"' | '\'')
    }

    fn comment(&mut self, line: usize, mut told: bool, at: usize) -> (State, usize) {
        let c = self.at(at);
        if c == '-' && self.at(at + 1) == '-' && self.at(at + 2) == '>' {
            self.keep(at, 3);
            return (State::Text, 3);
        }
        if c == '-' || is_dash(c) {
            let dashes =
                (0..4).take_while(|i| self.at(at + i) == '-' || is_dash(self.at(at + i))).count();
            let end = self.at(at + dashes);
            let bad = (0..dashes).find(|i| is_dash(self.at(at + i)));
            let bad = bad.or((end == '\u{ff1e}' && dashes > 1).then_some(dashes));
            if let (Some(bad), '>' | '\u{ff1e}') = (bad, end) {
                self.complain_comment(
                    at + bad,
                    self.column + bad,
                    &say!("where a comment ends; write -->"),
                );
                self.out.extend_from_slice(b"-->");
                return (State::Text, dashes + 1);
            }
        }
        if !told
            && c == '<'
            && self.at(at + 1) == '!'
            && self.at(at + 2) == '-'
            && self.at(at + 3) == '-'
        {
            told = true;
            self.notes.warn(line, say!("this comment continues to line {} and contains another `<!--`; was it meant to end earlier?", self.line));
        }
        // Two dashes inside a comment are not valid XML, but sersync accepted them.
        self.keep(at, 1);
        (State::Comment { line, told }, 1)
    }
}
