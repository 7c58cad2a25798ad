//! `syncsup status --watch`: repeats it every second, until `q` or Ctrl-C.

use super::{look, show};
use crate::commands::invocation::{Invocation, StatusWish};
use crate::error::{Error, Exit, Result};
use crate::language::say;
use crate::sys::poll::{self, Interest};
use crate::sys::session::monotonic;
use crate::sys::signals::Signals;
use crate::sys::{clock, output, terminal};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(1);
/// Shorter than in other commands: keys are not read in the meantime.
const PATIENCE: Duration = Duration::from_secs(2);

/// The exit status is that of the last table. If a supervisor ends, the command waits for it. If none is running at the
/// start, that is an error.
pub fn run(invocation: &Invocation, wish: &StatusWish) -> Result<Exit> {
    let failed = |e: io::Error| Error::system(say!("cannot watch the terminal"), e);
    let (mut last, mut text) = frame(invocation, wish)?;
    let mut signals = Signals::catch().map_err(failed)?;
    let screen = terminal::size();
    // If the output goes elsewhere, the keys of the terminal are not for this command.
    let mut keys = screen.and_then(|_| terminal::Keys::take());
    loop {
        // The size of the terminal may change at any time.
        let out = match terminal::size().filter(|_| screen.is_some()) {
            Some(size) => drawn(&text, size.rows),
            None => format!("{text}\n"),
        };
        if output::write(out.as_bytes()).is_err() {
            // The output is no longer read.
            return last;
        }
        let next = monotonic() + EVERY;
        loop {
            let left = next.saturating_sub(monotonic());
            if left.is_zero() {
                break;
            }
            let mut fds = vec![(signals.as_fd(), Interest::Read)];
            fds.extend(keys.as_ref().map(|k| (k.as_fd(), Interest::Read)));
            let ready = poll::wait(&fds, Some(left)).map_err(failed)?;
            drop(fds);
            if signals.take().stop {
                return last;
            }
            if ready.get(1) == Some(&true) {
                match keys.as_mut().map(terminal::Keys::read) {
                    Some(Ok(pressed)) if pressed.iter().any(|k| matches!(k, b'q' | b'Q')) => {
                        return last;
                    }
                    Some(Ok(pressed)) if !pressed.is_empty() => {}
                    // There are no more keys.
                    _ => keys = None,
                }
            }
        }
        (last, text) = match frame(invocation, wish) {
            Ok(frame) => frame,
            Err(error) => (Err(error.clone()), format!("{}\n\nsyncsup: {error}\n", time())),
        };
    }
}

/// The current table, and its exit status.
fn frame(invocation: &Invocation, wish: &StatusWish) -> Result<(Result<Exit>, String)> {
    let found = look(invocation, wish, PATIENCE)?;
    let mut text = format!("{}\n\n{}", time(), found.text(wish));
    let nothing = found.instances.is_empty();
    let verdict = found.verdict(invocation);
    match &verdict {
        Err(error) if nothing => return Err(error.clone()),
        Err(error) => text += &format!("syncsup: {error}\n"),
        Ok(_) => {}
    }
    Ok((verdict, text))
}

fn time() -> String {
    show::at(clock::wall_ms())
}

/// Draws over the previous table without flicker. The output has at most as many lines as the terminal, and no line is
/// wider.
fn drawn(text: &str, rows: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    let (shown, more) = match all.len() < rows {
        true => (&all[..], 0),
        false => {
            let most = rows.saturating_sub(2).min(all.len());
            (&all[..most], all.len() - most)
        }
    };
    // The cursor moves to the top left. Long lines are cut, not wrapped. Each line, and everything below, is cleared.
    let mut out = String::from("\x1b[H\x1b[?7l");
    for line in shown {
        out += &format!("{line}\x1b[K\n");
    }
    if more > 0 {
        out += &format!("{}\x1b[K\n", say!("... {} more lines", more));
    }
    out + "\x1b[J\x1b[?7h"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_cut_to_the_screen() {
        let text = "a\nb\nc\n";
        let lines = |rows| drawn(text, rows).matches('\n').count();
        assert_eq!(
            [lines(9), lines(4), lines(3), lines(2), lines(1), lines(0)],
            [3, 3, 2, 1, 1, 1]
        );
        assert!(drawn(text, 3).contains("a\x1b[K\n... 2 more lines"));
        assert!(!drawn(text, 4).contains("more"));
    }
}
