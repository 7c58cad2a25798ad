//! Attributes of a `confxml.xml`, each read with an error that names its element and line.

use super::diagnostic::Notes;
use super::values;
use super::xml::Element;
use crate::language::say;
use crate::path::as_written;

/// A switch; if it is missing, it is off.
pub(super) fn boolean(element: &Element, name: &str, notes: &mut Notes) -> bool {
    optional(element, name, notes, values::boolean).unwrap_or(false)
}

/// A required value. Blanks around it are dropped, as the shell did for sersync.
pub(super) fn required<T>(
    element: &Element,
    name: &str,
    notes: &mut Notes,
    read: impl Fn(&[u8]) -> Result<T, String>,
) -> Option<T> {
    let Some((value, line)) = element.attribute(name) else {
        notes.error(element.line, say!("<{}> has no attribute {}; add it", element.name, name));
        return None;
    };
    let what = match name {
        "watch" => format!("localpath watch=\"{}\"", as_written(value)),
        _ => format!("{} {name}", element.name),
    };
    notes.take(line, &what, read(value.trim_ascii()))
}

/// An optional value.
pub(super) fn optional<T>(
    element: &Element,
    name: &str,
    notes: &mut Notes,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<T> {
    let (value, line) = element.attribute(name)?;
    notes.take(line, &format!("{} {name}", element.name), read(&as_written(value.trim_ascii())))
}
