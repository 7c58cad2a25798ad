//! Prints the differences.

use super::pair::Failing;
use crate::commands::invocation::Format;
use crate::commands::{print, print_exactly, status::one_line};
use crate::language::{counted, say, words};
use crate::message::{Difference, VerifyEnd, Why};
use crate::path::{OsBytes, RelPath};
use crate::sys::output::{self, complain};
use serde::Serialize;

/// The width of the column of reasons.
const WIDTH: usize = 16;

/// Prints the comparisons in order.
pub struct VerifyOutput {
    format: Format,
    watch: OsBytes,
    remote: String,
    found: DifferenceCounts,
}

/// The result for one remote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DifferenceCounts {
    /// Paths that differ.
    pub differ: u64,
    /// Paths that differ and are still to be pushed.
    pub pending: u64,
    /// True if everything could be compared.
    pub whole: bool,
}

#[derive(Serialize)]
struct ShownDifference<'a> {
    localpath: &'a OsBytes,
    remote: &'a str,
    path: &'a RelPath,
    dir: bool,
    why: &'a [Why],
    pending: bool,
}

#[derive(Serialize)]
struct ShownEnd<'a> {
    localpath: &'a OsBytes,
    remote: &'a str,
    differ: u64,
    pending: u64,
    failing: u64,
    first_failure: Option<&'a str>,
    entries: Option<u64>,
    error: Option<&'a str>,
}

impl VerifyOutput {
    /// Nothing is printed yet.
    pub fn new(format: Format) -> Self {
        Self { format, watch: "".into(), remote: String::new(), found: DifferenceCounts::default() }
    }

    /// Begins the output for a remote.
    pub fn begin(&mut self, watch: &OsBytes, remote: &str) {
        (self.watch, self.remote, self.found) =
            (watch.clone(), remote.to_owned(), DifferenceCounts::default());
        if self.format == Format::Lines {
            print(&format!("{watch} {remote}\n"));
        }
    }

    /// Prints one path.
    pub fn difference(&mut self, d: &Difference) {
        match d.pending {
            true => self.found.pending += 1,
            false => self.found.differ += 1,
        }
        match self.format {
            Format::Lines => print(&line(d)),
            Format::Json => json(&ShownDifference {
                localpath: &self.watch,
                remote: &self.remote,
                path: &d.path,
                dir: d.dir,
                why: &d.why,
                pending: d.pending,
            }),
            Format::Null if d.pending => {}
            Format::Null => {
                let mut name =
                    d.path.below(self.watch.as_path()).into_os_string().into_encoded_bytes();
                name.push(0);
                // An error is checked at the end.
                let _ = output::write(&name);
            }
        }
    }

    /// Prints a line for people below the result.
    pub fn note(&self, line: &str) {
        match self.format {
            Format::Lines => print(&format!("    {line}\n")),
            Format::Null => complain(line),
            Format::Json => {}
        }
    }

    /// Ends the output for a remote, and returns its result.
    pub fn end(&mut self, end: &VerifyEnd, failing: &Failing, repair: bool) -> DifferenceCounts {
        self.found.whole = matches!(end, VerifyEnd::Done { .. });
        let DifferenceCounts { differ, pending, .. } = self.found;
        if self.format == Format::Json {
            let (entries, error) = match end {
                VerifyEnd::Done { entries } => (Some(*entries), None),
                VerifyEnd::Incomplete(why) | VerifyEnd::Failed(why) => (None, Some(why.as_str())),
            };
            let (localpath, remote) = (&self.watch, self.remote.as_str());
            let (failing, first_failure) = (failing.count, failing.first.as_deref());
            json(&ShownEnd {
                localpath,
                remote,
                differ,
                pending,
                failing,
                first_failure,
                entries,
                error,
            });
            return self.found;
        }
        let text = summary(self.found, end, failing, repair);
        match self.format {
            Format::Lines => print(&format!("  {text}\n")),
            _ => complain(&format!("{} {}: {text}", self.watch, self.remote)),
        }
        self.found
    }
}

fn json(value: &impl Serialize) {
    print_exactly(&(serde_json::to_string(value).unwrap_or_default() + "\n"));
}

fn line(d: &Difference) -> String {
    let why: Vec<&str> = d.why.iter().map(|w| word(*w)).collect();
    let why = why.join(",");
    let slash = if d.dir && !d.path.is_root() { "/" } else { "" };
    match d.pending {
        true => format!("  {:WIDTH$} {}{slash} ({why})\n", "pending", d.path),
        false => format!("  {why:WIDTH$} {}{slash}\n", d.path),
    }
}

fn summary(found: DifferenceCounts, end: &VerifyEnd, failing: &Failing, repair: bool) -> String {
    let fails = failing.first.as_ref().map_or(String::new(), |first| {
        let paths = counted(failing.count, words::PATHS_FAIL);
        say!("; {}: {}", paths, one_line(first))
    });
    compared(found, end, fails.is_empty(), repair) + &fails
}

fn compared(found: DifferenceCounts, end: &VerifyEnd, fine: bool, repair: bool) -> String {
    let differ = match (found.differ, found.pending) {
        (0, 0) if fine => say!("identical"),
        (0, 0) => say!("only failing paths differ"),
        (0, pending) => say!("only pending paths differ: {} pending", pending),
        (n, pending) => {
            let pending = if pending > 0 { say!(", {} pending", pending) } else { String::new() };
            let marked = if repair { say!(", marked to be pushed") } else { String::new() };
            format!("{}{marked}{pending}", counted(n, words::DIFFERENCES))
        }
    };
    match end {
        VerifyEnd::Done { entries } => {
            say!("{} ({} here)", differ, counted(*entries, words::ENTRIES))
        }
        VerifyEnd::Incomplete(why) if found.differ + found.pending == 0 => {
            say!("INCOMPLETE: {}", one_line(why))
        }
        VerifyEnd::Incomplete(why) => say!("{}; INCOMPLETE: {}", differ, one_line(why)),
        VerifyEnd::Failed(why) => say!("NOT VERIFIED: {}", one_line(why)),
    }
}

/// The word for a reason.
fn word(why: Why) -> &'static str {
    match why {
        Why::Missing => "missing",
        Why::Extra => "extra",
        Why::Type => "type",
        Why::Content => "content",
        Why::Size => "size",
        Why::Target => "target",
        Why::Time => "time",
        Why::Mode => "mode",
        Why::Owner => "owner",
        Why::Group => "group",
        Why::Acl => "acl",
        Why::Xattr => "xattr",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_is_one_line_whatever_its_name() {
        let path = |bytes: &[u8]| RelPath::new(bytes).unwrap();
        let d =
            |path, dir, why: &[Why], pending| Difference { path, dir, why: why.to_vec(), pending };
        let lines = [
            d(path(b"a\n\xff\x1b[1m"), false, &[Why::Missing], false),
            d(path(b"d"), true, &[Why::Time, Why::Mode], false),
            d(path(b"new"), false, &[Why::Size], true),
            d(RelPath::root(), true, &[Why::Owner], false),
        ];
        let text: String = lines.iter().map(line).collect();
        assert_eq!(
            text,
            "  missing          a\\x0a\\xff\\x1b[1m\n  time,mode        d/\n  pending          new (size)\n  owner            .\n"
        );
    }

    #[test]
    fn summaries_count_differences() {
        let found = |differ, pending| DifferenceCounts { differ, pending, whole: true };
        let done = VerifyEnd::Done { entries: 12 };
        let summary = |found, end: &VerifyEnd, repair| {
            super::summary(found, end, &Failing::default(), repair)
        };
        assert_eq!(summary(found(0, 0), &done, false), "identical (12 entries here)");
        assert_eq!(
            summary(found(1, 0), &done, true),
            "1 difference, marked to be pushed (12 entries here)"
        );
        assert_eq!(
            summary(found(2, 1), &done, false),
            "2 differences, 1 pending (12 entries here)"
        );
        let failed = VerifyEnd::Failed("a\nb".into());
        assert_eq!(summary(found(0, 0), &failed, false), "NOT VERIFIED: a; b");
        let failing = Failing { count: 2, first: Some("x: refused".into()) };
        assert_eq!(
            super::summary(found(0, 0), &done, &failing, false),
            "only failing paths differ (12 entries here); 2 paths fail: x: refused"
        );
    }
}
