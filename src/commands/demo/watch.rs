//! Waits for conditions and for signals: Ctrl-C must end the demo and clean up.

use crate::error::{Error, Exit, Result};
use crate::sys::poll::{self, Interest};
use crate::sys::signals::Signals;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// The longest interval between two checks.
const LOOK: Duration = Duration::from_millis(20);

/// Waits for conditions.
pub struct DemoWatch {
    signals: Signals,
    stopped: bool,
}

impl DemoWatch {
    /// After this, SIGINT and SIGTERM end the next wait with an error.
    pub fn new() -> Result<Self> {
        let signals = Signals::catch().map_err(|e| Error::system("cannot catch signals", e))?;
        Ok(Self { signals, stopped: false })
    }

    /// Returns an error if a signal has requested the end of the demo.
    pub fn check(&mut self) -> Result<()> {
        self.stopped |= self.signals.take().stop;
        match self.stopped {
            true => Err(Error::new(Exit::No, "stopped by a signal")),
            false => Ok(()),
        }
    }

    /// Checks repeatedly until `condition` returns a value. Returns `None` when `patience` is over.
    pub fn until<T>(
        &mut self,
        patience: Duration,
        mut condition: impl FnMut() -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let end = Instant::now() + patience;
        let mut pause = Duration::from_millis(1);
        loop {
            self.check()?;
            if let Some(value) = condition()? {
                return Ok(Some(value));
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            self.pause(pause)?;
            pause = (pause * 2).min(LOOK);
        }
    }

    /// Waits for a moment: `condition` is checked every tenth of a millisecond. False when `patience` is over.
    pub fn soon(&mut self, patience: Duration, condition: impl Fn() -> bool) -> Result<bool> {
        let end = Instant::now() + patience;
        while !condition() {
            if Instant::now() >= end {
                return Ok(false);
            }
            self.pause(Duration::from_micros(100))?;
        }
        Ok(true)
    }

    /// Waits for this time, or until a signal arrives.
    pub fn pause(&mut self, time: Duration) -> Result<()> {
        poll::wait(&[(self.signals.as_fd(), Interest::Read)], Some(time))
            .map_err(|e| Error::system("cannot wait", e))?;
        self.check()
    }
}
