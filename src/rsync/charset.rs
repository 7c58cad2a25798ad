//! The charsets of names, locally and on a remote that converts them (`--iconv`). Pure.
//!
//! Found by trial (senders 3.5.0, receivers 3.5.0 and 3.2.7): rsync converts the names of its lists, and prints every
//! name in the local charset. It converts no filter rule. A receiver of 3.5.0 exits with status 2 on a name that it
//! cannot convert. A receiver of 3.2.7 treats it as a file in the place of the destination, and with `--force` it
//! deletes everything in the destination to make way for that file. For this reason no rsync that sends unchecked names
//! has `--force`.

use crate::path::RelPath;
use encoding_rs::{BIG5, Encoding, ISO_2022_JP, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE};

/// The charsets of a conversion, as far as their names are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charsets {
    here: Option<&'static Encoding>,
    there: Option<&'static Encoding>,
}

impl Charsets {
    /// Reads the value of `--iconv`, as rsync gets it.
    pub fn new(value: &[u8]) -> Charsets {
        let mut halves = value.splitn(2, |&b| b == b',');
        let here = halves.next().unwrap_or_default();
        let known = |name: &[u8]| {
            let unlike = [REPLACEMENT, UTF_16BE, UTF_16LE, ISO_2022_JP];
            Encoding::for_label(name).filter(|encoding| !unlike.contains(encoding))
        };
        Charsets { here: known(here), there: known(halves.next().unwrap_or(here)) }
    }

    /// False for a name that is known to be inconvertible. rsync itself reports other such names.
    pub fn can_convert(&self, path: &RelPath) -> bool {
        if path.as_bytes().is_ascii() {
            return true;
        }
        let Some(here) = self.here else { return true };
        match here.decode_without_bom_handling_and_without_replacement(path.as_bytes()) {
            None => false,
            // Big5 has many variants.
            Some(text) => self.there.is_none_or(|to| to == BIG5 || !to.encode(&text).2),
        }
    }

    /// A text in the remote's charset. `None` when it cannot be determined.
    pub fn there(&self, text: &[u8]) -> Option<Vec<u8>> {
        if text.is_ascii() {
            return Some(text.to_vec());
        }
        let text = self.here?.decode_without_bom_handling_and_without_replacement(text)?;
        let (bytes, _, lost) = self.there?.encode(&text);
        (!lost).then(|| bytes.into_owned())
    }
}

/// The value for rsync, which runs locally in a locale that knows only ASCII: a `.` means UTF-8.
pub(super) fn spelled_out(value: &[u8]) -> Vec<u8> {
    let utf8 = UTF_8.name().as_bytes();
    match value {
        b"." => [utf8, b",."].concat(),
        other => match other.strip_prefix(b".,") {
            Some(there) => [utf8, b",", there].concat(),
            None => other.to_vec(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str) -> Charsets {
        Charsets::new(&spelled_out(value.as_bytes()))
    }

    #[test]
    fn a_dot_means_utf_8() {
        let text = |value: &str| String::from_utf8(spelled_out(value.as_bytes())).unwrap();
        assert_eq!(text("."), "UTF-8,.");
        assert_eq!(text(".,GBK"), "UTF-8,GBK");
        for same in ["UTF-8,GBK", "GBK", "GBK,.", ".x,GBK", "UTF-8,."] {
            assert_eq!(text(same), same);
        }
    }

    #[test]
    fn names_outside_a_charset_are_recognized() {
        let can_convert =
            |value: &str, name: &[u8]| of(value).can_convert(&RelPath::new(name).expect("a name"));
        for value in ["UTF-8,GBK", ".,GBK", "utf8,gb2312", "UTF-8,SHIFT_JIS", "UTF-8,EUC-JP"] {
            assert!(can_convert(value, "文/文.txt".as_bytes()), "{value}");
            assert!(!can_convert(value, "文/😀".as_bytes()), "{value}");
            assert!(!can_convert(value, b"bad\xff"), "{value}");
            assert!(can_convert(value, b"plain"), "{value}");
        }
        for value in ["UTF-8,GB18030", "UTF-8,UTF-8", ".", "UTF-8,BIG5", "UTF-8,X-UNHEARD"] {
            assert!(can_convert(value, "文/😀".as_bytes()), "{value}");
            assert!(!can_convert(value, b"bad\xff"), "{value}");
        }
        assert!(can_convert("X-UNHEARD,GBK", b"\xff"), "rsync tells");
        assert!(
            can_convert("GBK,UTF-8", b"\xc4\xbf\xc2\xbc") && !can_convert("GBK,UTF-8", b"\xff")
        );
    }

    #[test]
    fn names_are_converted_to_the_remote_charset() {
        let there = |value: &str, name: &[u8]| of(value).there(name);
        assert_eq!(
            there("UTF-8,GBK", "目录".as_bytes()).as_deref(),
            Some(&b"\xc4\xbf\xc2\xbc"[..])
        );
        assert_eq!(there("GBK,.", b"plain").as_deref(), Some(&b"plain"[..]));
        assert_eq!(there(".", "目录".as_bytes()), None);
        assert_eq!(there("UTF-8,GBK", "😀".as_bytes()), None);
    }
}
