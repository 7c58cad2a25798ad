//! The beginning of a script: errors that prevent the system from running it. Pure.

use crate::language::say;
use crate::path::as_written;

/// The number of bytes of a file that the kernel reads for its `#!` line.
pub const START: u64 = 256;

/// The beginning of a fail log that syncsup wrote.
pub const FAIL_LOG_HEAD: &str = "#!/bin/sh
# What syncsup owes its remotes. Each path has a comment, and a line that pushes it by hand.
# syncsup retries these paths by itself, and rewrites this file when anything changes.
";

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Why a file with this beginning cannot be run, and what to do.
pub fn fault(start: &[u8]) -> Option<String> {
    let script = start.strip_prefix(BOM).unwrap_or(start).strip_prefix(b"#!")?;
    let end = script.iter().position(|&b| b == b'\n')?;
    if script[..end].ends_with(b"\r") {
        return Some(say!(
            "its first line ends in a carriage return (CR), as on Windows, so that its interpreter is not found; save it with the line ends of Unix (sed -i 's/\\r$//')",
        ));
    }
    start.starts_with(BOM).then(|| {
        say!("it begins with a byte order mark (BOM), which hides its #! line; save it as UTF-8 without BOM")
    })
}

/// The program in the `#!` line of a file with this beginning.
pub fn interpreter(start: &[u8]) -> Option<&[u8]> {
    let line = start.strip_prefix(b"#!")?.split(|&b| b == b'\n').next()?;
    line.split(|&b| b == b' ' || b == b'\t').find(|word| !word.is_empty())
}

/// The error for a script whose interpreter does not exist.
pub fn without(interpreter: &[u8]) -> String {
    say!(
        "its first line names {}, which does not exist; install that program, or correct the line",
        as_written(interpreter)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_first_lines_are_recognized() {
        for (start, word) in [
            (&b"#!/bin/sh\r\necho\r\n"[..], "carriage return"),
            (b"#! /usr/bin/env python3 -u\r\n", "carriage return"),
            (b"\xef\xbb\xbf#!/bin/sh\r\n", "carriage return"),
            (b"\xef\xbb\xbf#!/bin/sh\n", "byte order mark"),
        ] {
            assert!(fault(start).is_some_and(|why| why.contains(word)), "{start:?}");
        }
        for start in
            [&b"#!/bin/sh\necho\r\n"[..], b"", b"#!", b"\x7fELF\r\n", b"echo\r\n", b"#!/a\r"]
        {
            assert_eq!(fault(start), None, "{start:?}");
        }
    }

    #[test]
    fn the_interpreter_of_a_script_is_found() {
        for (start, program) in [
            (&b"#!/bin/sh\nx"[..], Some(&b"/bin/sh"[..])),
            (b"#!\t /usr/bin/env  php\n", Some(b"/usr/bin/env")),
            (b"#!\n/bin/sh", None),
            (b"echo", None),
        ] {
            assert_eq!(interpreter(start), program, "{start:?}");
        }
    }
}
