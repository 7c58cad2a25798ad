//! Paths as bytes: [`RelPath`] (relative to a localpath, never `..`) and helpers to show and transfer them.

use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// A path relative to the root of a localpath: bytes without NUL, components separated by single slashes,
/// none of them empty, `.` or `..`. The empty path is the root itself.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct RelPath(Vec<u8>);

impl RelPath {
    /// The root of the localpath.
    pub fn root() -> Self {
        Self(Vec::new())
    }

    /// Returns the path if `bytes` is valid. A trailing slash or a leading `/` is invalid.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Option<Self> {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return Some(Self(bytes));
        }
        let bad = |c: &[u8]| c.is_empty() || c == b"." || c == b"..";
        if bytes.contains(&0) || bytes.split(|&b| b == b'/').any(bad) {
            return None;
        }
        Some(Self(bytes))
    }

    /// The path below the root `base`, or `None` when `path` is not at or below it.
    pub fn strip(path: &Path, base: &Path) -> Option<Self> {
        Self::new(path.strip_prefix(base).ok()?.as_os_str().as_bytes())
    }

    /// This path and one more component. `name` comes from the kernel, so it has neither slash nor NUL.
    pub fn join(&self, name: &OsStr) -> Self {
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        bytes.extend_from_slice(&self.0);
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name.as_bytes());
        Self(bytes)
    }

    /// The directory that contains this name; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|&b| b == b'/').unwrap_or(0);
        Some(Self(self.0[..end].to_vec()))
    }

    /// The last component; empty for the root.
    pub fn name(&self) -> &OsStr {
        let start = self.0.iter().rposition(|&b| b == b'/').map_or(0, |i| i + 1);
        OsStr::from_bytes(&self.0[start..])
    }

    /// True for the root of the localpath.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Every path from the first component down to this one (not the root): `a`, `a/b`, `a/b/c`.
    pub fn prefixes(&self) -> impl Iterator<Item = RelPath> + '_ {
        let ends = self.0.iter().enumerate().filter(|&(_, &b)| b == b'/').map(|(i, _)| i);
        let last = (!self.0.is_empty()).then_some(self.0.len());
        ends.chain(last).map(|end| RelPath(self.0[..end].to_vec()))
    }

    /// True if this path is `ancestor` or lies below it.
    pub fn is_within(&self, ancestor: &RelPath) -> bool {
        ancestor.is_root()
            || (self.0.starts_with(&ancestor.0)
                && (self.0.len() == ancestor.0.len() || self.0[ancestor.0.len()] == b'/'))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path for system calls; the root is `.`.
    pub fn as_path(&self) -> &Path {
        if self.is_root() { Path::new(".") } else { Path::new(OsStr::from_bytes(&self.0)) }
    }

    /// The absolute path below `base`.
    pub fn below(&self, base: &Path) -> PathBuf {
        if self.is_root() { base.to_owned() } else { base.join(OsStr::from_bytes(&self.0)) }
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() { f.write_str(".") } else { f.write_str(&printable(&self.0)) }
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", printable(&self.0))
    }
}

/// Bytes for users, on one line. UTF-8 is kept. Backslashes, invalid bytes, and every character that a terminal
/// interprets or does not show become `\xNN`, so that every name looks different and none looks like another one.
pub fn printable(bytes: &[u8]) -> String {
    escaped(bytes, |c| unseen(c) || c == '\\')
}

/// Text that a user wrote, such as a regular expression, or text that is already printable, on one line. As
/// [`printable`], but backslashes are kept.
pub fn as_written(text: &[u8]) -> String {
    escaped(text, unseen)
}

/// As [`as_written`] for several lines: newlines and tabs are kept.
pub fn lines_as_written(text: &str) -> String {
    escaped(text.as_bytes(), |c| c != '\n' && c != '\t' && unseen(c))
}

/// True for characters without a visible shape on a terminal: controls, format characters (including those that change
/// the writing direction or have no width), line separators, fillers (Unicode 16, Cc, Cf, Zl, Zp and
/// Default_Ignorable_Code_Point without variation selectors).
fn unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{890}' | '\u{891}' | '\u{8e2}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e00ff}' | '\u{e01f0}'..='\u{e0fff}')
}

fn escaped(bytes: &[u8], hidden: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if hidden(c) {
                let mut buf = [0; 4];
                c.encode_utf8(&mut buf).bytes().for_each(|b| out.push_str(&format!("\\x{b:02x}")));
            } else {
                out.push(c);
            }
        }
        chunk.invalid().iter().for_each(|b| out.push_str(&format!("\\x{b:02x}")));
    }
    out
}

/// A path of the operating system that can be stored in messages and files whatever its bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct OsBytes(OsString);

impl OsBytes {
    /// As a path.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }
    /// As an argument of a program.
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
    /// True for the empty string.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<u8>> for OsBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(OsString::from_vec(bytes))
    }
}
impl From<&str> for OsBytes {
    fn from(text: &str) -> Self {
        Self(OsString::from(text))
    }
}
impl From<PathBuf> for OsBytes {
    fn from(path: PathBuf) -> Self {
        Self(path.into_os_string())
    }
}
impl From<&Path> for OsBytes {
    fn from(path: &Path) -> Self {
        Self(path.as_os_str().to_owned())
    }
}
impl fmt::Display for OsBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(self.0.as_bytes()))
    }
}
impl fmt::Debug for OsBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Text if the bytes are UTF-8, else the list of bytes.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Wire {
    Text(String),
    Bytes(Vec<u8>),
}

impl Wire {
    fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Wire::Text(text.to_owned()),
            Err(_) => Wire::Bytes(bytes.to_vec()),
        }
    }
    fn into_bytes(self) -> Vec<u8> {
        match self {
            Wire::Text(text) => text.into_bytes(),
            Wire::Bytes(bytes) => bytes,
        }
    }
}

impl Serialize for OsBytes {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        Wire::of(self.as_bytes()).serialize(s)
    }
}
impl<'de> Deserialize<'de> for OsBytes {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Self::from(Wire::deserialize(d)?.into_bytes()))
    }
}
impl Serialize for RelPath {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        Wire::of(&self.0).serialize(s)
    }
}
impl<'de> Deserialize<'de> for RelPath {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        RelPath::new(Wire::deserialize(d)?.into_bytes())
            .ok_or_else(|| serde::de::Error::custom("not a relative path"))
    }
}

/// The most bytes of a remote's name in a file name.
const FILE_NAME_LONGEST: usize = 180;

/// A remote's name as a file name. Letters, digits, `.` and `-` are kept, other bytes become `%XX`.
pub fn file_name(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
    let one = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    let mut text: String = name.bytes().map(one).collect();
    if text.len() > FILE_NAME_LONGEST {
        // Two long names must not share a lock.
        text.truncate(FILE_NAME_LONGEST);
        text.push_str(&format!("-{:016x}", fnv1a(name.as_bytes())));
    }
    text
}

/// FNV-1a, 64 bits. It is the same in every build; the hashers of the standard library do not guarantee that.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3))
}

/// The file in a localpath's state directory in which the watcher stores the identity of the root. It is only written
/// beside a journal.
pub const ROOT_FILE: &str = "root.json";

/// The lock of a remote's pusher, in the state directory of its localpath. It is only created beside a journal.
pub fn pusher_lock(remote: &str) -> String {
    format!("{PUSHER_LOCK}{}.lock", file_name(remote))
}

/// The beginning of the names of [`pusher_lock`].
pub const PUSHER_LOCK: &str = "pusher-";

/// A remote's part of the fail log, in the state directory of its localpath. Its pusher writes it, and the supervisor
/// joins the parts.
pub fn fail_log_part(remote: &str) -> String {
    format!("fail-{}.sh", file_name(remote))
}

/// The beginning of the names of plugins' parts. No remote's part contains a blank.
pub const PLUGIN_PART: &str = "fail-plugin ";

/// A plugin's part of the fail log, by its name in the journal. Its runner writes it.
pub fn plugin_fail_log_part(name: &str) -> String {
    format!("{PLUGIN_PART}{name}.sh")
}

/// The names in a path, the last one first, including `..`.
pub fn names_from_last(path: &Path) -> Vec<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    };
    path.components().rev().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv_matches_its_reference_values() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn only_printable_characters_are_shown_unescaped() {
        for text in
            ["目录/图 片.png", "Ünïcode", "ملف", "naïve 🎉", "❤\u{fe0f}", "a\u{3000}b", "'\"$`"]
        {
            assert_eq!(printable(text.as_bytes()), text);
        }
        let terminal = "\0\x07\x1b\x7f\n\r\t\u{80}\u{85}\u{9b}";
        let direction = "\u{200e}\u{200f}\u{61c}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}";
        let shapeless = "\u{2028}\u{2029}\u{200b}\u{200c}\u{200d}\u{2060}\u{2064}\u{206a}\u{feff}\u{ad}\u{fffb}\u{3164}\u{e0041}\u{1d173}";
        for c in [terminal, direction, shapeless].concat().chars() {
            let bytes = c.to_string();
            let want: String = bytes.bytes().map(|b| format!("\\x{b:02x}")).collect();
            assert_eq!(printable(bytes.as_bytes()), want, "{c:?}");
            assert_eq!(as_written(bytes.as_bytes()), want, "{c:?}");
        }
        assert_eq!(printable(b"\xe7\x9b\xae\xe7\x9b"), "目\\xe7\\x9b");
        assert_eq!((printable(b"a\\x"), as_written(b"a\\x")), ("a\\x5cx".into(), "a\\x".into()));
        let once = printable(b"\xff\\\n\xe2\x80\xae");
        assert_eq!(as_written(once.as_bytes()), once, "what is printable stays");
    }

    #[test]
    fn only_plain_relative_paths_are_accepted() {
        for good in ["", "a", "a/b", "-x", " ", "a\nb", "..."] {
            assert!(RelPath::new(good).is_some(), "{good:?}");
        }
        for bad in ["/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.", "a\0b"] {
            assert!(RelPath::new(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn parents_and_children_are_found() {
        let path = RelPath::new("a/b/c").unwrap();
        let prefixes: Vec<_> = path.prefixes().map(|p| p.to_string()).collect();
        assert_eq!(prefixes, ["a", "a/b", "a/b/c"]);
        assert_eq!(path.parent().unwrap().to_string(), "a/b");
        assert_eq!(path.name(), "c");
        assert_eq!(RelPath::root().prefixes().count(), 0);
        assert!(path.is_within(&RelPath::new("a/b").unwrap()));
        assert!(!path.is_within(&RelPath::new("a/b/").unwrap_or(RelPath::new("a/bc").unwrap())));
        assert!(path.is_within(&RelPath::root()));
    }

    #[test]
    fn hostile_bytes_survive_a_message() {
        let path = RelPath::new(b"\xff\n\\x".to_vec()).unwrap();
        let wire = serde_json::to_string(&path).unwrap();
        assert_eq!(serde_json::from_str::<RelPath>(&wire).unwrap(), path);
        assert_eq!(path.to_string(), "\\xff\\x0a\\x5cx");
    }
}
