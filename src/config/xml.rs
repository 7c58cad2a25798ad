//! XML as a tree of elements with lines, over bytes. The declared encoding is ignored, so every value has the bytes of
//! the file.

use super::diagnostic::Notes;
use crate::language::say;
use crate::path::as_written;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// One element.
#[derive(Debug)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) children: Vec<Element>,
}

/// One attribute, entities resolved.
#[derive(Debug)]
pub(crate) struct Attribute {
    pub(crate) name: String,
    pub(crate) value: Vec<u8>,
    pub(crate) line: usize,
}

impl Element {
    /// The value of an attribute, and its line.
    pub(crate) fn attribute(&self, name: &str) -> Option<(&[u8], usize)> {
        self.attributes.iter().find(|a| a.name == name).map(|a| (a.value.as_slice(), a.line))
    }

    /// The children of that name.
    pub(crate) fn all<'e>(&'e self, name: &'e str) -> impl Iterator<Item = &'e Element> {
        self.children.iter().filter(move |c| c.name == name)
    }

    /// The first child of that name.
    pub(crate) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|c| c.name == name)
    }
}

/// quick-xml reads only text. Each byte becomes the character of the same number, and [`narrow`] converts it back.
fn widen(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| char::from(b)).collect()
}

fn narrow(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
}

struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|&(_, b)| b == b'\n').map(|(i, _)| i).collect())
    }

    fn of(&self, offset: usize) -> usize {
        self.0.partition_point(|&newline| newline < offset) + 1
    }
}

/// Parses the whole document; `None`, with an error, if its structure is broken.
pub(crate) fn read(bytes: &[u8], notes: &mut Notes) -> Option<Element> {
    let text = widen(bytes);
    let lines = Lines::new(&text);
    let mut reader = Reader::from_str(&text);
    reader.config_mut().check_end_names = false;
    reader.config_mut().allow_unmatched_ends = true;
    let mut open: Vec<Element> = Vec::new();
    let mut root: Option<Element> = None;
    loop {
        let offset = usize::try_from(reader.buffer_position()).unwrap_or(0);
        let event = match reader.read_event() {
            Ok(event) => event,
            Err(error) => {
                let line = lines.of(usize::try_from(reader.error_position()).unwrap_or(0));
                notes.error(
                    line,
                    say!("not XML: {}; the tag or comment that begins here is not closed", error),
                );
                return None;
            }
        };
        match event {
            Event::Start(tag) => open.push(element(&tag, offset, &lines, notes)),
            Event::Empty(tag) => {
                let element = element(&tag, offset, &lines, notes);
                place(element, &mut open, &mut root, notes);
            }
            Event::End(tag) => {
                let name = as_written(&narrow(tag.name().as_ref()));
                let element = close(&name, lines.of(offset), &mut open, notes)?;
                place(element, &mut open, &mut root, notes);
            }
            Event::Text(text) => stray_text(&narrow(text.as_ref()), offset, &lines, notes),
            Event::Eof => break,
            _ => {}
        }
    }
    if let Some(element) = open.last() {
        notes.error(
            element.line,
            say!("not XML: <{}> is never closed; write </{}>", element.name, element.name),
        );
        return None;
    }
    if root.is_none() {
        notes.error(1, say!("no <head> element: this is not a confxml.xml"));
    }
    root
}

/// The element that an end tag closes; `None`, with an error, if the tag belongs to another element.
fn close(name: &str, line: usize, open: &mut Vec<Element>, notes: &mut Notes) -> Option<Element> {
    let text = match open.pop() {
        Some(element) if element.name == name => return Some(element),
        Some(Element { name: other, line, .. }) => {
            say!(
                "not XML: </{}> closes <{}> of line {}; close <{}> first",
                name,
                other,
                line,
                other
            )
        }
        None => say!("not XML: </{}> closes nothing; remove it", name),
    };
    notes.error(line, text);
    None
}

fn place(element: Element, open: &mut [Element], root: &mut Option<Element>, notes: &mut Notes) {
    match (open.last_mut(), &root) {
        (Some(parent), _) => parent.children.push(element),
        (None, None) => *root = Some(element),
        (None, Some(_)) => {
            notes.error(
                element.line,
                say!("<{}> is after the end of <head>; move it inside", element.name),
            );
        }
    }
}

/// sersync ignored text between elements, and users write `# comments` in it.
fn stray_text(text: &[u8], offset: usize, lines: &Lines, notes: &mut Notes) {
    let Some(start) = text.iter().position(|b| !b.is_ascii_whitespace()) else { return };
    if text.starts_with(b"\xef\xbb\xbf") && text.len() == 3 {
        return;
    }
    let first = text[start..].split(|&b| b == b'\n').next().unwrap_or_default().trim_ascii();
    let line = lines.of(offset) + text[..start].iter().filter(|&&b| b == b'\n').count();
    notes.warn(
        line,
        say!("text between elements has no effect: `{}`; write <!-- ... -->", as_written(first)),
    );
}

fn element(tag: &BytesStart, offset: usize, lines: &Lines, notes: &mut Notes) -> Element {
    let content: &str = tag;
    let line_of = |part: usize| lines.of(offset + 1 + part);
    let name = as_written(&narrow(tag.name().as_ref()));
    let line = lines.of(offset + 1);
    let mut attributes: Vec<Attribute> = Vec::new();
    for attribute in tag.attributes().with_checks(false) {
        match attribute {
            Ok(attribute) => {
                let key: &str = attribute.key.as_ref();
                let line =
                    line_of((key.as_ptr() as usize).saturating_sub(content.as_ptr() as usize));
                let name = as_written(&narrow(key));
                if attributes.iter().any(|a| a.name == name) {
                    notes.error(line, say!("attribute {} is given twice; keep one", name));
                    continue;
                }
                let value = narrow(attribute.value.as_ref());
                let value = unescape(&value).unwrap_or_else(|entity| {
                    notes.error(
                        line,
                        say!("{}: `{}` is not an XML entity; write & as &amp;", name, entity),
                    );
                    value.clone()
                });
                attributes.push(Attribute { name, value, line });
            }
            Err(error) => {
                notes.error(
                    line,
                    say!("<{}>: {}; write name=\"value\"", name, attribute_error(&error)),
                );
                break;
            }
        }
    }
    Element { name, line, attributes, children: Vec::new() }
}

fn attribute_error(error: &quick_xml::events::attributes::AttrError) -> String {
    use quick_xml::events::attributes::AttrError::*;
    match error {
        ExpectedEq(_) => say!("an attribute has no ="),
        ExpectedValue(_) => say!("an attribute has no value"),
        UnquotedValue(_) => say!("a value is not in quotes"),
        ExpectedQuote(..) => say!("a value has no closing quote"),
        Duplicated(..) => say!("an attribute is given twice"),
    }
}

/// Resolves entities such as `&amp;`. The error is the invalid entity.
fn unescape(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|&b| b == b'&') {
        out.extend_from_slice(&rest[..at]);
        let end = rest[at..].iter().position(|&b| b == b';').map(|e| at + e);
        let Some(end) = end else { return Err(as_written(&rest[at..rest.len().min(at + 8)])) };
        let name = &rest[at + 1..end];
        match name {
            b"amp" => out.push(b'&'),
            b"lt" => out.push(b'<'),
            b"gt" => out.push(b'>'),
            b"quot" => out.push(b'"'),
            b"apos" => out.push(b'\''),
            _ => {
                let c = std::str::from_utf8(name)
                    .ok()
                    .and_then(numbered)
                    .ok_or_else(|| as_written(&rest[at..=end]))?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        rest = &rest[end + 1..];
    }
    out.extend_from_slice(rest);
    Ok(out)
}

/// `#20013` and `#x4e2d`.
fn numbered(name: &str) -> Option<char> {
    let digits = name.strip_prefix('#')?;
    let number = match digits.strip_prefix('x') {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    char::from_u32(number).filter(|&c| c != '\0')
}
