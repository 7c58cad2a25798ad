//! What was said in one scene, in words that are always the same, and its file.

use crate::common::instance::Instance;
use crate::common::world::World;
use regex::Regex;
use std::fs;
use std::path::Path;
use std::process::Output;

/// What was said in one scene.
pub struct Scene {
    name: &'static str,
    places: Vec<(String, &'static str)>,
    text: String,
}

impl Scene {
    pub fn new(name: &'static str, w: &World) -> Scene {
        let mut places: Vec<(String, &'static str)> = vec![
            (w.instance.config().display().to_string(), "/etc/syncsup.yaml"),
            (w.master.display().to_string(), "/data"),
            (w.instance.state_dir().display().to_string(), "/state"),
            (w.instance.run_dir().display().to_string(), "/run"),
            (Instance::program().display().to_string(), "syncsup"),
        ];
        let ports = ["PORT1", "PORT2", "PORT3"];
        places.extend(w.remotes.iter().zip(ports).map(|(r, word)| (r.port.to_string(), word)));
        Scene { name, places, text: String::new() }
    }

    /// A command with `-o CONFIG`, and what it says.
    pub fn run(&mut self, w: &World, args: &[&str]) -> Output {
        let out = w.instance.command(args);
        self.note(args, &out);
        out
    }

    pub fn note(&mut self, args: &[&str], out: &Output) {
        let stdout = self.plain(&String::from_utf8_lossy(&out.stdout));
        let stderr = self.plain(&String::from_utf8_lossy(&out.stderr));
        self.text += &format!("$ syncsup {}\n{stdout}", self.plain(&args.join(" ")));
        stderr.lines().for_each(|line| self.text += &format!("2> {line}\n"));
        self.text += &format!("exit status {}\n\n", out.status.code().unwrap_or(-1));
    }

    /// Without the parts that differ each time.
    pub fn plain(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (from, to) in &self.places {
            text = text.replace(from, to);
        }
        for (pattern, to) in [
            // The rsync of this machine is not under test.
            (r"(?m)^.*; install 3\.5\.0 or newer: .*\n", ""),
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d", "STAMP"),
            (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d\d:\d\d", "DATE"),
            (r"\b\d+(\.\d)? (ms|s|min|h|d)\b", "TIME"),
            (r"(_ms\x22: )\d+", "${1}MS"),
            (r"(pid\x22: )\d+", "${1}PID"),
            // One push or several: a burst may be cut anywhere.
            (r"(pushes\x22: )\d+", "${1}N"),
            (r"\(pid \d+\)", "(pid PID)"),
            // The table of processes.
            (
                r"(?m)^((supervisor|  watcher|    pusher|    plugin runner|  reporter).*?  )\d+  ",
                "${1}PID  ",
            ),
            // rsync's temporary files.
            (r"\.(\S+)\.[A-Za-z0-9]{6}\b", ".$1.XXXXXX"),
            (r"syncsup-[0-9a-f]{16}", "syncsup-HASH"),
            (r"/tmp/\.tmp\w+", "/tmp/TEMPORARY"),
        ] {
            text = Regex::new(pattern).unwrap().replace_all(&text, to).into_owned();
        }
        text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
        // Columns are as wide as what was replaced.
        Regex::new(r"(\S)  +").unwrap().replace_all(&text, "$1  ").into_owned()
    }

    /// Compares with the file, or writes it.
    #[track_caller]
    pub fn done(self) {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/snapshots");
        let file = dir.join(self.name).with_extension("txt");
        if std::env::var_os("SYNCSUP_SNAPSHOTS").is_some_and(|v| v == "write") {
            return fs::write(file, &self.text).unwrap();
        }
        let wanted = fs::read_to_string(&file).unwrap_or_default();
        if wanted != self.text {
            let lines = wanted.lines().zip(self.text.lines());
            let first = lines.enumerate().find(|(_, (a, b))| a != b);
            panic!(
                "{} is another (SYNCSUP_SNAPSHOTS=write accepts it); first at {first:?}\n{}",
                file.display(),
                self.text
            );
        }
    }
}
