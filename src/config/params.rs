//! The user's own rsync parameters (`commonParams`, `params`): split as a shell would, without a shell, and checked
//! against the table of [`crate::rsync`].

use super::diagnostic::{Notes, nearest};
use crate::language::{said, say};
use crate::path::{OsBytes, as_written};
use crate::rsync::options;
use crate::rsync::params::{Fault, Remark, faults, remarks};

/// sersync's shipped parameters, which are also its default.
pub(crate) const SERSYNC_PARAMS: &str = "-artuz";
/// The default parameters of a YAML configuration.
pub(crate) const YAML_PARAMS: &str = "-a";

/// Splits the words of one string.
pub(crate) fn split(bytes: &[u8]) -> Result<Vec<OsBytes>, String> {
    match shlex::bytes::split(bytes) {
        Some(words) => Ok(words.into_iter().map(OsBytes::from).collect()),
        None => Err(say!("`{}` has a quote that is not closed; close it", as_written(bytes))),
    }
}

/// Reports what is wrong with the words, or different from their appearance.
pub(crate) fn check(words: &[OsBytes], line: usize, notes: &mut Notes) {
    if let Some(word) = words.iter().find(|word| word.as_bytes().contains(&0)) {
        let word = as_written(word.as_bytes());
        notes.error(
            line,
            say!("rsync parameter `{}` contains a NUL character, which a command line cannot contain; remove it", word),
        );
        return;
    }
    for fault in faults(words) {
        notes.error(line, fault_text(&fault));
    }
    for remark in remarks(words) {
        notes.warn(line, remark_text(&remark));
    }
}

fn fault_text(fault: &Fault) -> String {
    match fault {
        Fault::NotAnOption(word) => {
            say!("rsync parameter `{}` is not an option; options begin with `-`", as_written(word))
        }
        Fault::End => say!("rsync parameter `--` ends the options; remove it"),
        Fault::UnknownLong(name) => {
            let name = as_written(name);
            let near = nearest(&name, &options::names());
            let advice = match near {
                Some(near) => say!("did you mean `--{}`?", near),
                None => say!("see rsync(1)"),
            };
            say!("rsync parameter `--{}` is not an rsync option; {}", name, advice)
        }
        Fault::UnknownLetter(word, letter) if letter.is_ascii() => say!(
            "rsync parameter `{}` contains `-{}`, which is not an rsync option; see rsync(1)",
            as_written(word),
            letter
        ),
        Fault::UnknownLetter(word, letter) => say!(
            "rsync parameter `{}` contains `{}` (U+{}), which is not an rsync option; write `-` and plain letters",
            as_written(word),
            letter,
            format!("{:04X}", u32::from(*letter))
        ),
        Fault::OneDash(word, name) => say!(
            "rsync parameter `{}` is not an rsync option; did you mean `--{}`?",
            as_written(word),
            name
        ),
        Fault::NoValue(name) => say!(
            "rsync parameter `{}` lacks its value, and would use one of syncsup's own options as the value; write {}",
            name,
            with_value(name)
        ),
        Fault::EmptyValue(name) => {
            say!("rsync parameter `{}` has an empty value; write {}", name, with_value(name))
        }
        Fault::OptionAsValue(name, word) => {
            let word = as_written(word);
            let joined = match name.starts_with("--") {
                true => format!("{name}={word}"),
                false => format!("{name}{word}"),
            };
            say!(
                "rsync parameter `{}` lacks its value: rsync would use `{}` as the value; write {}, or `{}` if that is meant",
                name,
                word,
                with_value(name),
                joined
            )
        }
        Fault::UnwantedValue(name) => {
            say!("rsync parameter `{}` takes no value; remove what follows the `=`", name)
        }
        Fault::BadValue(name, value, what) => {
            say!("rsync parameter `{}`: `{}` {}", name, as_written(value), said(what))
        }
        Fault::Refused(written, why, instead) => {
            say!("rsync parameter `{}` is not allowed: {}; {}", written, said(why), said(instead))
        }
    }
}

fn with_value(name: &str) -> String {
    match name.starts_with("--") {
        true => format!("`{name}=VALUE`"),
        false => format!("`{name} VALUE`"),
    }
}

fn remark_text(remark: &Remark) -> String {
    match remark {
        Remark::Dropped(written, why) => {
            say!("rsync parameter {} is dropped: {}", written, said(why))
        }
        Remark::Warned(written, what) => say!("rsync parameter `{}`: {}", written, said(what)),
        Remark::NoTimes => {
            say!(
                "rsync parameters without -a or -t do not keep modification times: every reconcile sends every file again"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn findings(params: &str) -> Vec<String> {
        let mut notes = Notes::new(Path::new("f"));
        check(&split(params.as_bytes()).unwrap(), 3, &mut notes);
        notes.list.iter().map(|d| d.to_string()).collect()
    }

    #[test]
    fn harmless_parameters_pass() {
        for good in [
            "-az",
            "-rltDvR --progress --stats",
            "-az --bwlimit 200 -e 'ssh -p 22' --exclude=x",
            "-a -M--fake-super",
            "-a --modify-window -1 -f '- *.o' --suffix= -b --backup-dir=/old",
            "-rlptgoDHAX --no-o --no-g --numeric-ids --chmod=D755,F644 --chown=www:www",
        ] {
            assert_eq!(findings(good), Vec::<String>::new(), "{good}");
        }
    }

    #[test]
    fn parameters_of_old_configurations_still_work() {
        for old in
            ["-artuz", "-avzP --delete", "-artuz --delete --progress -e ssh", "-aruz --timeout=100"]
        {
            let found = findings(old);
            assert!(found.iter().all(|f| f.contains("warning: ")), "{old}: {found:?}");
        }
    }

    #[test]
    fn dangerous_parameters_are_refused() {
        for bad in [
            "-azn",
            "-a --dry-run",
            "-a --daemon",
            "-a --files-from=x",
            "-a --server",
            "-a --remove-source-files",
            "-a --ignore-existing",
            "-a --existing",
            "-a --max-delete=3",
            "-a --log-file=push.log",
            "-a --backup",
            "-aL",
            "-ak",
            "-aK",
            "-a --copy-unsafe-links",
            "-a --link-dest=../x",
            "-a --write-batch=x",
            "-a --exclude-from=-",
            "-a --stop-after=3",
            "-a -M--append",
            "-a -M-n",
        ] {
            let found = findings(bad);
            assert!(
                found.len() == 1 && found[0].starts_with("f:3: rsync parameter"),
                "{bad}: {found:?}"
            );
        }
        assert!(findings("-a x")[0].contains("not an option"));
        assert!(findings("–az")[0].contains("not an option"));
        assert!(findings("-artuz")[0].contains("warning: rsync parameter -u"));
        assert!(findings("-a --delete-after")[0].contains("follows `delete`"));
        assert!(findings("-rl")[0].contains("modification times"));
        assert!(split(b"-a --rsh='ssh").unwrap_err().contains("not closed"));
    }

    #[test]
    fn arguments_that_are_no_options_are_refused_with_advice() {
        for (params, advice) in [
            ("-a --compres", "did you mean `--compress`?"),
            ("-a --exlude=x", "did you mean `--exclude`?"),
            ("-a -delete", "did you mean `--delete`?"),
            ("-aQ", "`-Q`, which is not an rsync option"),
            ("-a --banana-split", "see rsync(1)"),
            ("-a --", "ends the options"),
            ("-a -", "is not an option"),
            ("-a\u{2013}z", "U+2013"),
            ("-a --times=1", "takes no value"),
        ] {
            let found = findings(params);
            assert!(found.len() == 1 && found[0].contains(advice), "{params}: {found:?}");
        }
    }

    #[test]
    fn an_option_without_its_value_is_refused() {
        for params in [
            "-a --exclude",
            "-a --bwlimit=",
            "-a -e",
            "-ae",
            "-a --exclude --delete",
            "-a --exclude -z",
            "-a --timeout=",
            "-a --rsh --verbose",
        ] {
            let found = findings(params);
            assert!(
                found.len() == 1 && found[0].contains("value; write")
                    || found[0].contains("its value"),
                "{params}: {found:?}"
            );
        }
    }
}
