//! The table of rsync's options against the rsync that is installed, and against an older one where there is one.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use syncsup::rsync::options::{self, OPTIONS, Opt};

type Version = (u32, u32, u32);

struct Rsync {
    program: PathBuf,
    version: Version,
}

impl Rsync {
    fn new(program: PathBuf) -> Option<Self> {
        let out = Command::new(&program).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let number = text.split_whitespace().skip_while(|w| *w != "version").nth(1)?.to_owned();
        let mut parts = number.split('.').map(|p| {
            p.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
        });
        let version = (parts.next()?, parts.next()?, parts.next().unwrap_or(0));
        Some(Self { program, version })
    }

    /// Those to be had here.
    fn all() -> Vec<Self> {
        let old =
            std::env::var_os("SYNCSUP_TEST_OLD_RSYNC").map(PathBuf::from).unwrap_or_else(|| {
                PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/old-rsync/usr/bin/rsync")
            });
        [PathBuf::from("rsync"), old].into_iter().filter_map(Self::new).collect()
    }

    /// What it says of one word.
    fn says(&self, word: &str) -> String {
        let out = Command::new(&self.program)
            .arg(word)
            .env("LC_ALL", "C")
            .env("HOME", "/nonexistent")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()
    }

    fn help(&self) -> String {
        self.says("--help")
    }

    /// What differs from the table for one word.
    fn differs(&self, word: &str, has_value: bool) -> Option<String> {
        let said = self.says(word);
        let differs = match () {
            () if said.contains("unknown option") => "is unknown",
            () if said.contains("missing argument") != has_value => "has another idea of a value",
            () => return None,
        };
        Some(format!("{} {:?}: {word} {differs}", self.program.display(), self.version))
    }

    fn knows(&self, option: &Opt) -> bool {
        option.since.is_none_or(|since| since <= self.version) && !option.is("daemon")
    }
}

#[test]
fn table_options_exist_in_rsync_and_agree_on_taking_a_value() {
    for rsync in Rsync::all() {
        let mut wrong = Vec::new();
        for option in OPTIONS.iter().filter(|o| rsync.knows(o)) {
            let letter = option.short.map(|letter| format!("-{}", char::from(letter)));
            let long = option.long.iter().map(|name| format!("--{name}"));
            for word in long.chain(letter) {
                wrong.extend(rsync.differs(&word, option.has_value()));
            }
            for name in option.off {
                wrong.extend(rsync.differs(&format!("--{name}"), false));
            }
        }
        // Names that came with a later release than their option.
        let later = [
            "no-drop-D",
            "secluded-args",
            "no-secluded-args",
            "no-mkpath",
            "compress-threads",
            "zt",
        ];
        wrong.retain(|w| {
            rsync.version >= (3, 5, 0) || !later.iter().any(|l| w.contains(&format!("--{l} ")))
        });
        assert_eq!(wrong, [""; 0]);
    }
}

#[test]
fn every_option_in_rsync_help_is_in_the_table() {
    for rsync in Rsync::all() {
        let help = rsync.help();
        let mut seen = 0;
        for line in help.lines().filter(|line| line.starts_with('-')) {
            // `--verbose, -v            increase verbosity`
            let words = line.split("  ").next().unwrap_or_default();
            for word in words.split(", ") {
                let word = word.split(['=', ' ']).next().unwrap_or_default();
                if word == "--no-OPTION" {
                    continue;
                }
                seen += 1;
                let known = match word.strip_prefix("--") {
                    Some(name) => options::long(name.as_bytes()).is_some(),
                    None => word.len() == 2 && options::short(word.as_bytes()[1]).is_some(),
                };
                assert!(known, "{word} of {}", rsync.program.display());
            }
        }
        assert!(seen > 100, "{seen} options in {help}");
    }
}

#[test]
fn rsync_rejects_every_letter_outside_the_table() {
    let Some(rsync) = Rsync::all().into_iter().next().filter(|r| r.version >= (3, 5, 0)) else {
        println!("SKIPPED: no rsync 3.5.0");
        return;
    };
    for letter in (b'!'..=b'~').filter(|&b| b != b'-' && options::short(b).is_none()) {
        let word = format!("-{}", char::from(letter));
        assert!(rsync.says(&word).contains("unknown option"), "{word}");
    }
}

#[test]
fn rsync_rejects_abbreviated_options() {
    for rsync in Rsync::all() {
        for word in ["--compres", "--exclud=x", "--archiv", "--delete-exclude"] {
            assert!(rsync.says(word).contains("unknown option"), "{word}");
        }
    }
}
