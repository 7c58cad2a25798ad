//! Characters: encodings that are not what they say, and what web tutorials put into a configuration.

use crate::common::*;
use std::path::Path;
use syncsup::config::parse;
use syncsup::path::OsBytes;

fn one_error(old: &str, new: &str, words: &[&str]) {
    let found = errors(&read_xml(with(old, new)));
    assert!(found.len() == 1 && words.iter().all(|w| found[0].contains(w)), "{new}: {found:?}");
}

#[test]
fn declared_encodings_are_ignored() {
    let comment = "<!-- 监控的目录 “引号” – 破折号 -->";
    let text =
        with("<sersync>", &format!("{comment}<sersync>")).replace("/opt/tongbu", "/data/中文");
    let parsed = read_xml(&text);
    assert_eq!(told(&parsed).len(), 1, "{:?}", told(&parsed));
    assert_eq!(parsed.config.localpaths[0].watch, "/data/中文".into());
    let gbk = encoding_rs::GBK.encode(&text).0;
    assert!(std::str::from_utf8(&gbk).is_err());
    let parsed = read_xml(&gbk);
    assert_eq!(told(&parsed).len(), 1, "{:?}", told(&parsed));
    assert_eq!(
        parsed.config.localpaths[0].watch,
        OsBytes::from(b"/data/\xd6\xd0\xce\xc4".to_vec())
    );
    let declared = text.replace("ISO-8859-1", "GBK");
    assert_eq!(read_xml(encoding_rs::GBK.encode(&declared).0).config, parsed.config);
    let utf16: Vec<u8> =
        [0xfeff].into_iter().chain(SAMPLE.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    assert_eq!(errors(&read_xml(utf16)), ["c.xml:1: the file is UTF-16; save it as UTF-8"]);
}

#[test]
fn typographic_characters_in_tags_are_reported() {
    let one = |old: &str, new: &str, expected: &[&str]| {
        let xml = with(old, new);
        for bytes in [xml.as_bytes().to_vec(), encoding_rs::GBK.encode(&xml).0.into_owned()] {
            assert_eq!(errors(&read_xml(&bytes)), expected, "{new}");
        }
    };
    one(
        "watch=\"/opt/tongbu\"",
        "watch=“/opt/tongbu”",
        &[
            "c.xml:24:19: curly quote “ (U+201C) in a tag; write \"",
            "c.xml:24:31: curly quote ” (U+201D) where a value ends; write \"",
        ],
    );
    one(
        "ip=\"127.0.0.1\"",
        "ip=\"127.0.0.1”",
        &["c.xml:25:27: curly quote ” (U+201D) where a value ends; write \""],
    );
    one(
        "ip=\"127.0.0.1\" name",
        "ip＝\"127.0.0.1\"　name",
        &[
            "c.xml:25:16: full-width character ＝ (U+FF1D) in a tag; write =",
            "c.xml:25:28: odd space 　 (U+3000) in a tag; write a plain space",
        ],
    );
    one(
        "params=\"-artuz\"",
        "params=\"–artuz\"",
        &["c.xml:30:28: en dash – (U+2013) in the value of params; write -"],
    );
    one(
        "params=\"-artuz\"",
        "params=\"-artuz —bwlimit=9\"",
        &["c.xml:30:35: em dash — (U+2014) in the value of params; write --"],
    );
    one(
        "port=\"874\"",
        "port=\"８74\"",
        &["c.xml:32:43: full-width character ８ (U+FF18) in the value of port; write 8"],
    );
    one(
        "<debug start=\"false\"/>",
        "＜debug start=\"false\"/＞",
        &[
            "c.xml:4:5: full-width character ＜ (U+FF1C) where a tag begins; write <",
            "c.xml:4:26: full-width character ＞ (U+FF1E) in a tag; write >",
        ],
    );
}

#[test]
fn dashes_in_place_of_comment_marks_are_reported() {
    one_error(
        "<!-- port=874 -->",
        "<!— port=874 -->",
        &["c.xml:32:51: em dash — (U+2014) where a comment begins; write <!--"],
    );
    one_error(
        "<!-- port=874 -->",
        "<!-- port=874 –>",
        &["c.xml:32:63: en dash – (U+2013) where a comment ends; write -->"],
    );
    let both = errors(&read_xml(with("<!-- port=874 -->", "<!–- port=874 -–>")));
    assert!(
        both.len() == 2
            && both.iter().all(|e| e.starts_with("c.xml:32:") && e.contains("en dash –")),
        "{both:?}"
    );
}

#[test]
fn swallowed_and_stray_text_is_reported() {
    let xml = with("<!-- port=874 -->", "<!-- port=874 # unclosed");
    let found = told(&read_xml(xml));
    assert!(
        found.iter().any(|t| t.starts_with("c.xml:32: warning: this comment continues to line 33")),
        "{found:?}"
    );
    let parsed = read_xml(with("<sersync>", "\n\n  # 要监控的目录\n<sersync>"));
    assert_eq!(errors(&parsed), Vec::<String>::new());
    let text = "c.xml:25: warning: text between elements has no effect: `# 要监控的目录`; write <!-- ... -->";
    assert!(told(&parsed).contains(&text.to_owned()), "{:?}", told(&parsed));
}

/// A cut, doubled or damaged file gets an answer, and no line number lies outside the file.
#[test]
fn damaged_files_are_rejected_with_a_line_inside_the_file() {
    let mut seed = 20_100_712_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    let pieces: [&[u8]; 12] = [
        b"<",
        b">",
        b"\"",
        b"-->",
        b"<!--",
        "“".as_bytes(),
        "—".as_bytes(),
        b"&",
        b"\xff",
        b": ",
        b"\n- ",
        b"{",
    ];
    for text in [
        include_bytes!("../../examples/confxml.xml").as_slice(),
        include_bytes!("../../examples/web-farm/web-farm.yaml"),
    ] {
        for _ in 0..1500 {
            let mut bytes = text.to_vec();
            for _ in 0..=random(3) {
                let at = random(bytes.len());
                let end = (at + random(20)).min(bytes.len());
                match random(3) {
                    0 => drop(bytes.drain(at..end)),
                    1 => drop(bytes.splice(at..at, pieces[random(pieces.len())].iter().copied())),
                    _ => bytes.truncate(end.max(1)),
                }
            }
            let lines = bytes.iter().filter(|&&b| b == b'\n').count() + 1;
            let parsed = parse(&bytes, Path::new("c"));
            for d in &parsed.diagnostics {
                assert!(d.place.line <= lines + 1, "{d}: {:?}", String::from_utf8_lossy(&bytes));
            }
        }
    }
}
