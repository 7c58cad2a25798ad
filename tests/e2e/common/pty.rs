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

    /// Everything so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().expect("no panic")).into_owned()
    }
}
