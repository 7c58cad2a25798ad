//! `user:` and `--user`: the user that an instance of root becomes; `user:` of a command: the user that it runs as. Pure:
//! the machine's answers are passed as values.

use super::diagnostic::{Diagnostic, Notes};
use super::model::{Config, LocalPath, Place, RunAs};
use super::node::Node;
use crate::language::say;
use crate::path::as_written;
use crate::trust::User;

/// Reads the value of `user`.
pub(super) fn read(node: &Node, notes: &mut Notes) -> Option<RunAs> {
    if node.is_null() {
        return None;
    }
    let name = notes.take(node.line, "user", node.text().and_then(name))?;
    Some(RunAs { place: notes.place(node.line), name })
}

/// The name of a user. Errors say what to write instead.
pub fn name(text: &str) -> Result<String, String> {
    let text = text.trim();
    match text {
        "" => Err(say!("is empty; write the name of a user")),
        _ if text.contains([':', '/', '\0', '\n']) => {
            Err(say!("`{}` is not the name of a user", text))
        }
        _ => Ok(text.to_owned()),
    }
}

/// The command line overrides the files.
pub(super) fn overlay(user: &mut Option<RunAs>, given: Option<&str>) {
    if let Some(name) = given {
        *user = Some(RunAs { place: Place::default(), name: name.to_owned() });
    }
}

/// The user that an instance runs as, if the user `current` starts it.
pub(super) fn judge(
    run_as: &RunAs,
    find: &dyn Fn(&str) -> Option<User>,
    current: User,
) -> Result<User, Diagnostic> {
    let name = as_written(run_as.name.as_bytes());
    let why = match find(&run_as.name) {
        Some(user) if current.uid == 0 || user.uid == current.uid => return Ok(user),
        Some(_) => say!(
            "only root and {} can start an instance that runs as {}, and this process has user {}",
            name,
            name,
            current.uid
        ),
        None => say!(
            "no such user; create one with useradd --system --shell /usr/sbin/nologin {}, or correct the name; the user of a daemon is `rsync: {auth: {user: {}}}`",
            name,
            name
        ),
    };
    Err(Diagnostic::error(&run_as.place, say!("user {}: {}", name, why)))
}

/// The users that commands of plugins and alarms run as: each must exist, and only root can become another one.
pub fn of_commands(
    config: &Config,
    find: &dyn Fn(&str) -> Option<User>,
    current: User,
) -> Vec<Diagnostic> {
    let refused = |run_as: &RunAs| {
        let name = as_written(run_as.name.as_bytes());
        let why = match find(&run_as.name) {
            Some(user) if current.uid == 0 || user.uid == current.uid => return None,
            Some(_) => say!(
                "only an instance of root can run commands as another user, and this one has user {}; remove it",
                current.uid
            ),
            None => say!("no such user; create it, or correct the name"),
        };
        Some(Diagnostic::error(&run_as.place, say!("user {}: {}", name, why)))
    };
    config.localpaths.iter().flat_map(LocalPath::command_users).filter_map(refused).collect()
}

/// Why a reload is refused: a process that has given up root cannot become another user.
pub fn changed(old: Option<&RunAs>, new: Option<&RunAs>) -> Option<Diagnostic> {
    let name = |run_as: Option<&RunAs>| run_as.map(|run_as| run_as.name.clone());
    if name(old) == name(new) {
        return None;
    }
    let place = new.or(old).map(|run_as| run_as.place.clone()).unwrap_or_default();
    Some(Diagnostic::error(
        &place,
        say!("user has changed, which takes a restart: run syncsup stop, then start it"),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::diagnostic::keep_one;
    use super::*;

    const ROOT: User = User { uid: 0, gid: 0 };
    const WWW: User = User { uid: 33, gid: 33 };

    fn find(name: &str) -> Option<User> {
        [("root", ROOT), ("www", WWW)].into_iter().find(|(n, _)| *n == name).map(|(_, user)| user)
    }

    fn run_as(name: &str) -> RunAs {
        RunAs { place: Place { file: "a.yaml".into(), line: 3 }, name: name.into() }
    }

    #[test]
    fn only_root_and_the_user_itself_can_start_its_instance() {
        let said = |name: &str, current| {
            judge(&run_as(name), &find, current).map_err(|error| error.to_string())
        };
        assert_eq!(said("www", ROOT), Ok(WWW));
        assert_eq!(said("www", WWW), Ok(WWW));
        assert_eq!(said("root", ROOT), Ok(ROOT));
        for (name, current, why) in [
            ("www", User { uid: 7, gid: 33 }, "a.yaml:3: user www: only root and www can start"),
            ("root", WWW, "a.yaml:3: user root: only root and root"),
            ("none", ROOT, "a.yaml:3: user none: no such user; create one with useradd"),
        ] {
            let error = said(name, current).unwrap_err();
            assert!(error.starts_with(why), "{error}");
        }
    }

    #[test]
    fn users_of_commands_must_exist_and_need_root() {
        let text = "localpaths:\n- watch: /d\n  remotes: ['h::m']\n  plugins:\n  - command:\n      prefix: /bin/true\n      \
                    user: www\n  on_failure: /bin/true\n  alarm_user: none\n";
        let config = crate::config::parse(text.as_bytes(), "a.yaml".as_ref()).config;
        let said = |uid| -> Vec<String> {
            let found = of_commands(&config, &find, User { uid, gid: 7 });
            found.iter().map(ToString::to_string).collect()
        };
        let unknown = "a.yaml:9: user none: no such user; create it, or correct the name";
        assert_eq!(said(0), [unknown]);
        assert_eq!(said(33), [unknown], "its own user");
        let other = said(7);
        assert!(other[0].starts_with("a.yaml:7: user www: only an instance of root"), "{other:?}");
        assert_eq!(other[1..], [unknown]);
    }

    #[test]
    fn one_user_is_read_from_the_files_or_the_command_line() {
        let parse = |text: &str| {
            let text = format!("{text}\nlocalpaths: [{{watch: /a, remotes: ['h::m']}}]\n");
            let parsed = crate::config::parse(text.as_bytes(), "a.yaml".as_ref());
            let said = parsed.diagnostics.iter().map(ToString::to_string).collect::<String>();
            (parsed.config.user, said)
        };
        assert_eq!(parse("user: www").0, Some(run_as("www")));
        assert_eq!(parse("user:").0, None);
        for bad in ["''", "a:b", "[a]"] {
            let (user, said) = parse(&format!("user: {bad}"));
            assert!(user.is_none() && said.starts_with("a.yaml:1: user"), "{bad}: {said}");
        }
        let mut kept = Some(run_as("www"));
        let mut merge = |new| keep_one("user", &mut kept, new, |user: &RunAs| &user.place);
        assert!(merge(None).is_none() && merge(Some(run_as("www"))).is_none());
        let said = merge(Some(run_as("other"))).unwrap().to_string();
        assert_eq!(said, "a.yaml:3: user differs from the one at a.yaml:3; keep one of them");
        overlay(&mut kept, None);
        assert_eq!(kept, Some(run_as("www")));
        overlay(&mut kept, Some("daemon"));
        assert_eq!(kept, Some(run_as("daemon")));
    }

    #[test]
    fn a_running_instance_keeps_its_user() {
        let (www, other) = (run_as("www"), run_as("other"));
        assert!(changed(None, None).is_none() && changed(Some(&www), Some(&www)).is_none());
        for (old, new) in [(None, Some(&www)), (Some(&www), None), (Some(&www), Some(&other))] {
            let said = changed(old, new).unwrap().to_string();
            assert!(said.starts_with("a.yaml:3: user has changed"), "{said}");
        }
    }
}
