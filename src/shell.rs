//! Quotes words for a shell: on one line, in plain characters, correct for dash and bash alike. Pure.

/// Bytes as a format of `printf` between single quotes, on one line of plain characters for any bytes. A letter after
/// three octal digits is not part of them.
pub fn octal(bytes: &[u8]) -> Vec<u8> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._+,=@:*".contains(&b);
    let mut out = Vec::new();
    for &b in bytes {
        match b {
            b'%' => out.extend(b"%%"),
            // A leading dash would be an option.
            b'-' if !out.is_empty() => out.push(b),
            b if plain(b) => out.push(b),
            b => out.extend(format!("\\{b:03o}").bytes()),
        }
    }
    out
}

/// A word in a form that any shell restores, on one line of UTF-8, and safe to paste into a shell that expands `!`. A
/// trailing newline is lost: see [`command`].
pub fn quoted(word: &[u8]) -> Vec<u8> {
    let safe = |b: &u8| b.is_ascii_alphanumeric() || b"/._-+,=@:%".contains(b);
    if !word.is_empty() && word.iter().all(safe) {
        return word.to_vec();
    }
    if !is_plain(word) {
        return [b"\"$(printf '", octal(word).as_slice(), b"')\""].concat();
    }
    let mut out = b"'".to_vec();
    for &b in word {
        if b == b'\'' { out.extend(b"'\\''") } else { out.push(b) }
    }
    out.push(b'\'');
    out
}

/// As [`quoted`], as text.
pub fn quoted_text(word: &[u8]) -> String {
    // It is always UTF-8 at this point.
    String::from_utf8_lossy(&quoted(word)).into_owned()
}

/// A command line of these words, on one line. A variable preserves a word that ends with a newline, since `$()` would
/// drop it.
pub fn command(words: &[&[u8]]) -> Vec<u8> {
    let (mut before, mut line) = (Vec::new(), Vec::new());
    for (n, word) in words.iter().enumerate() {
        if n > 0 {
            line.push(b' ');
        }
        if word.ends_with(b"\n") {
            let value = quoted(&[word, &b"."[..]].concat());
            before.extend([format!("w{n}=").as_bytes(), &value, b" && "].concat());
            line.extend(format!("\"${{w{n}%.}}\"").bytes());
        } else {
            line.extend(quoted(word));
        }
    }
    before.extend(line);
    before
}

/// UTF-8 without control characters.
fn is_plain(word: &[u8]) -> bool {
    std::str::from_utf8(word).is_ok_and(|text| !text.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::process::Command;

    #[test]
    fn hostile_names_are_quoted_as_one_line_of_plain_characters() {
        assert_eq!(octal(b"/a b/$(x)\n'%\xff-1"), b"/a\\040b/\\044\\050x\\051\\012\\047%%\\377-1");
        assert_eq!(octal(b"-n"), b"\\055n");
        assert_eq!(quoted(b"it's $x!"), b"'it'\\''s $x!'");
        assert_eq!(quoted(b"a\nb"), b"\"$(printf 'a\\012b')\"");
        assert_eq!(quoted(b"a\xffb"), b"\"$(printf 'a\\377b')\"");
        assert_eq!(quoted(b""), b"''");
        assert_eq!(quoted("文".as_bytes()), "'文'".as_bytes());
    }

    #[test]
    fn dash_and_bash_restore_quoted_names() {
        let words: [&[u8]; 16] = [
            b"-rf",
            b"--",
            b"a b  c",
            b"it's",
            b"\"$(x)`y`\"",
            b"back\\slash\\n",
            b"%s%41 %",
            b"!x",
            b"new\nline",
            b"\n",
            b"end\n\n",
            b"\xff1\xfe",
            b"\x1b[0m\x7f",
            "中文".as_bytes(),
            b"",
            b"-\n~*?[a]#",
        ];
        let wanted: Vec<u8> = words.iter().flat_map(|w| [w, &b"|"[..]].concat()).collect();
        let line = command(&[&[&b"printf"[..], b"%s|"], &words[..]].concat());
        assert!(!line.contains(&b'\n') && std::str::from_utf8(&line).is_ok());
        for shell in ["dash", "bash", "sh"] {
            let Ok(out) = Command::new(shell).arg("-c").arg(OsStr::from_bytes(&line)).output()
            else {
                // This shell is not installed; sh always is.
                assert_ne!(shell, "sh");
                continue;
            };
            assert!(out.status.success(), "{shell}: {}", String::from_utf8_lossy(&out.stderr));
            assert_eq!(out.stdout, wanted, "{shell}");
        }
    }
}
