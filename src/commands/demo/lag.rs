//! How long a single file takes, beside an rsync that is started for it alone.

use super::slave::DemoSlave;
use super::watch::DemoWatch;
use crate::error::{Error, Exit, Result};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The number of files, of which the median counts.
pub const FILES: usize = 10;
/// The time between two files. More often, the pace of three remotes would count.
const BETWEEN: Duration = Duration::from_millis(500);
/// A file that takes longer is an error.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the files took.
pub struct Lags {
    /// From the write on the master to the file on the slave, by syncsup.
    pub syncsup: Duration,
    /// The same by an rsync that is started for each file.
    pub rsync: Duration,
}

/// Writes single files into `master`, and others into `aside`, from where rsync alone sends them.
pub fn measure(
    master: &Path,
    aside: &Path,
    slave: &DemoSlave,
    watch: &mut DemoWatch,
) -> Result<Lags> {
    let cannot = |e| Error::system("cannot write the demo's files", e);
    fs::create_dir_all(aside).map_err(cannot)?;
    let (mut syncsup, mut rsync) = (Vec::new(), Vec::new());
    for n in 0..FILES {
        let name = format!("single{n}.txt");
        watch.pause(BETWEEN)?;
        let began = Instant::now();
        fs::write(master.join(&name), "x").map_err(cannot)?;
        let there = slave.path().join(&name);
        let arrived =
            watch.soon(PATIENCE, || there.metadata().is_ok_and(|stat| stat.len() == 1))?;
        if !arrived {
            return Err(Error::new(Exit::No, format!("{name} did not arrive")));
        }
        syncsup.push(began.elapsed());

        let file = aside.join(&name);
        let began = Instant::now();
        fs::write(&file, "x").map_err(cannot)?;
        let done = Command::new("rsync")
            // Without it, each file waits for delayed acknowledgements of the network.
            .args(["-a", "--sockopts=TCP_NODELAY"])
            .arg(&file)
            .arg(slave.aside())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .map_err(|e| Error::system("cannot start rsync", e))?;
        if !done.success() {
            return Err(Error::new(Exit::No, format!("rsync alone failed: {done}")));
        }
        rsync.push(began.elapsed());
    }
    Ok(Lags { syncsup: median(syncsup), rsync: median(rsync) })
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// `2.6 ms`.
pub fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_shown_in_milliseconds() {
        let times = [9, 1, 2].map(Duration::from_millis);
        assert_eq!(ms(median(times.into())), "2.0 ms");
        assert_eq!(ms(median(Vec::new())), "0.0 ms");
    }
}
