//! A program on a terminal.

use nix::pty::{Winsize, openpty};
use std::fs::File;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

/// What a program prints on a terminal of its own.
pub struct Terminal {
    pub child: Child,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Starts it on a terminal of 160 columns and 30 rows.
    pub fn start(command: &mut Command) -> Terminal {
        let size = Winsize { ws_row: 30, ws_col: 160, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).expect("a terminal");
        let end = |fd: &std::os::fd::OwnedFd| Stdio::from(fd.try_clone().expect("a descriptor"));
        command.env("TERM", "xterm").stdout(end(&pty.slave)).stderr(end(&pty.slave));
        let child = command.spawn().expect("a program");
        // The command keeps copies of the slave's end: they go with it.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        drop(pty.slave);
        let said = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, into) = (File::from(pty.master), said.clone());
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The end of the last program on it is an error.
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                into.lock().expect("no panic").extend_from_slice(&buffer[..n]);
            }
        });
        Terminal { child, said }
    }

    /// What a person sees: all lines so far, those that have scrolled away first.
    pub fn screen(&self) -> Vec<String> {
        shown(&self.text(), 160, 30)
    }

    /// Everything so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().expect("no panic")).into_owned()
    }
}

/// The lines of a terminal after `text`: carriage returns, cursor up and down, erasing, and columns that wrap.
fn shown(text: &str, columns: usize, rows: usize) -> Vec<String> {
    let (mut lines, mut row, mut column) = (vec![Vec::new()], 0_usize, 0_usize);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' => column = 0,
            '\n' => row += 1,
            '\x1b' if chars.next_if_eq(&'[').is_some() => {
                let mut number = String::new();
                while let Some(digit) = chars.next_if(|c| c.is_ascii_digit() || "?;".contains(*c)) {
                    number.push(digit);
                }
                let n = number.parse().unwrap_or(1);
                // What has scrolled away is not reached any more.
                let top = lines.len().saturating_sub(rows);
                match chars.next() {
                    Some('A') => row = row.saturating_sub(n).max(top),
                    Some('B') => row += n,
                    Some('G') => column = n - 1,
                    Some('K') if number == "2" => lines[row].clear(),
                    Some('K') => lines[row].truncate(column),
                    Some('J') => {
                        lines[row].truncate(column);
                        lines.truncate(row + 1);
                    }
                    _ => {}
                }
            }
            c => {
                if column == columns {
                    (row, column) = (row + 1, 0);
                    lines.resize(lines.len().max(row + 1), Vec::new());
                }
                let line: &mut Vec<char> = &mut lines[row];
                line.resize(line.len().max(column + 1), ' ');
                line[column] = c;
                column += 1;
            }
        }
        lines.resize(lines.len().max(row + 1), Vec::new());
    }
    lines
        .into_iter()
        .map(|line| line.into_iter().collect::<String>().trim_end().to_owned())
        .collect()
}

#[test]
fn a_terminal_shows_what_was_written_last() {
    assert_eq!(shown("ab\rc\r\nd", 80, 24), ["cb", "d"]);
    assert_eq!(shown("\r\x1b[J\r\none\r\ntwo\r\x1b[2Alog\r\n", 80, 24), ["log", "one", "two"]);
    assert_eq!(shown("\r\none\r\ntwo\r\x1b[2A\r\x1b[Jlog\r\n", 80, 24), ["log", ""]);
    assert_eq!(shown("abcd", 3, 24), ["abc", "d"]);
    assert_eq!(shown("a\r\nb\r\nc\x1b[9A\rx", 80, 2), ["a", "x", "c"]);
}
