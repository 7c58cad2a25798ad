//! YAML as a tree in which every key and value has its line.

use super::diagnostic::{Notes, did_you_mean, nearest};
use super::yaml_hint::{mistake, no_blank, word_with_colon};
use crate::language::{listed, say};
use saphyr_parser::{Event, Parser, ScalarStyle};

/// A value.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// Any other single word; `plain` if it is not quoted.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) line: usize,
}

impl Node {
    /// Its kind, for messages.
    pub(crate) fn kind(&self) -> String {
        match &self.value {
            Value::Null => say!("nothing"),
            Value::Scalar { text, .. } => format!("`{text}`"),
            Value::List(_) => say!("a list"),
            Value::Map(_) => say!("a map"),
        }
    }

    /// A word.
    pub(crate) fn text(&self) -> Result<&str, String> {
        match &self.value {
            Value::Scalar { text, .. } => Ok(text),
            _ => Err(say!("is {}; write one value", self.kind())),
        }
    }

    /// `true` or `false`, unquoted.
    pub(crate) fn boolean(&self) -> Result<bool, String> {
        match &self.value {
            Value::Scalar { text, plain: true } => super::values::boolean(text),
            _ => Err(say!("is {}; write true or false", self.kind())),
        }
    }

    /// The items of a list; a single word is a list of one.
    pub(crate) fn items(&self) -> Result<&[Node], String> {
        match &self.value {
            Value::List(items) => Ok(items),
            Value::Scalar { .. } => Ok(std::slice::from_ref(self)),
            _ => Err(say!("is {}; write a list", self.kind())),
        }
    }

    /// True for a map that has only these keys.
    pub(crate) fn has_only(&self, known: &[&str]) -> bool {
        match &self.value {
            Value::Map(fields) => fields.iter().all(|(key, _)| known.contains(&key.text.as_str())),
            Value::Null | Value::Scalar { .. } | Value::List(_) => false,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }
}

/// A map with known keys. Unknown and repeated keys are reported when it is created.
pub(crate) struct Fields<'n> {
    fields: &'n [(Key, Node)],
    /// Keys that a misspelt one stands for.
    misspelt: Vec<String>,
}

impl<'n> Fields<'n> {
    /// `None`, with an error, if the node is not a map.
    pub(crate) fn of(
        node: &'n Node,
        what: &str,
        known: &[&str],
        notes: &mut Notes,
    ) -> Option<Self> {
        let Value::Map(fields) = &node.value else {
            let keys = listed(known);
            let plain = || say!("{} is {}; write a map with the keys {}", what, node.kind(), keys);
            let why = match &node.value {
                Value::Scalar { text, .. } => no_blank(text),
                // `[::1]` without quotes.
                Value::List(_) if known.contains(&"module") => Some(say!(
                    "{} is a list; write HOST::MODULE, and an address in brackets in quotes, as '[::1]::www'",
                    what
                )),
                _ => None,
            };
            notes.error(node.line, why.unwrap_or_else(plain));
            return None;
        };
        let mut misspelt = Vec::new();
        for (index, (key, _)) in fields.iter().enumerate() {
            if !known.contains(&key.text.as_str()) {
                misspelt.extend(nearest(&key.text, known).map(str::to_owned));
                let unknown = || {
                    let hint = did_you_mean(&key.text, known);
                    say!("unknown key `{}` in {}{}", key.text, what, hint)
                };
                notes.error(
                    key.line,
                    no_blank(&key.text)
                        .or_else(|| word_with_colon(&key.text))
                        .unwrap_or_else(unknown),
                );
            }
            if let Some((first, _)) = fields[..index].iter().find(|(k, _)| k.text == key.text) {
                let text = say!(
                    "`{}` is given twice in {} (first in line {}); keep one",
                    key.text,
                    what,
                    first.line
                );
                notes.error(key.line, text);
            }
        }
        Some(Self { fields, misspelt })
    }

    /// True if this key is missing, and is not what a reported unknown key stands for.
    pub(crate) fn lack(&self, name: &str) -> bool {
        self.get(name).is_none() && !self.misspelt.iter().any(|key| key == name)
    }

    /// The first value of that key.
    pub(crate) fn get(&self, name: &str) -> Option<&'n Node> {
        self.fields.iter().find(|(k, _)| k.text == name).map(|(_, n)| n)
    }
}

/// The deepest nesting of a configuration; the known keys need five levels.
const MAX_DEPTH: usize = 32;

/// Parses one document; `None`, with an error, if it is not YAML.
pub(crate) fn read(text: &str, notes: &mut Notes) -> Option<Node> {
    let mut parser = Parser::new_from_str(text);
    let mut open: Vec<(Node, Option<Key>)> = Vec::new();
    let mut root = None;
    while let Some(event) = parser.next_event() {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let at = error.marker();
                match mistake(text, at.line(), error.info()) {
                    Some((line, why)) => notes.error(line, why),
                    None => {
                        let why = say!("not YAML: {}", error.info());
                        notes.error_at(at.line(), at.col() + 1, why);
                    }
                }
                return None;
            }
        };
        let line = span.start.line();
        let done = match event {
            Event::Scalar(text, style, _, _) => {
                let plain = style == ScalarStyle::Plain;
                let null = plain && matches!(text.as_ref(), "" | "~" | "null");
                Some(Node {
                    line,
                    value: if null {
                        Value::Null
                    } else {
                        Value::Scalar { text: text.into(), plain }
                    },
                })
            }
            Event::SequenceStart(..) => {
                open.push((Node { line, value: Value::List(Vec::new()) }, None));
                None
            }
            Event::MappingStart(..) => {
                open.push((Node { line, value: Value::Map(Vec::new()) }, None));
                None
            }
            Event::SequenceEnd | Event::MappingEnd => open.pop().map(|(node, _)| node),
            Event::Alias(_) => {
                notes.error(
                    line,
                    say!("aliases (`*name`) are not supported; write the value itself"),
                );
                return None;
            }
            Event::DocumentStart(_) if root.is_some() => {
                notes.error(line, say!("a second document begins here; use one file per document"));
                return None;
            }
            _ => None,
        };
        if open.len() > MAX_DEPTH {
            notes.error(line, say!("nested too deeply for a configuration"));
            return None;
        }
        if let Some(node) = done
            && let Err((line, why)) = place(node, &mut open, &mut root)
        {
            let (line, why) = mistake(text, line, &why).unwrap_or((line, why));
            notes.error(line, why);
            return None;
        }
    }
    root
}

/// Adds a finished node to its parent. Returns the line and the error if it cannot be a key.
fn place(
    node: Node,
    open: &mut [(Node, Option<Key>)],
    root: &mut Option<Node>,
) -> Result<(), (usize, String)> {
    let Some((parent, key)) = open.last_mut() else {
        *root = Some(node);
        return Ok(());
    };
    match (&mut parent.value, key.take()) {
        (Value::List(items), _) => items.push(node),
        (Value::Map(fields), Some(key)) => fields.push((key, node)),
        (_, _) => match node.value {
            Value::Scalar { text, .. } => *key = Some(Key { text, line: node.line }),
            _ => {
                let why = say!("{} is not a key; write a word before the colon", node.kind());
                return Err((node.line, why));
            }
        },
    }
    Ok(())
}
