//! `credential:NAME`: a file that systemd passes to a service (systemd.exec(5), `LoadCredential=`), in the place of a path.
//! Pure.

use super::diagnostic::Diagnostic;
use super::model::{Config, Place};
use super::values;
use crate::language::say;
use crate::path::OsBytes;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const PREFIX: &str = "credential:";

/// An absolute path, or the name of a credential.
pub(super) fn path(text: &str) -> Result<OsBytes, String> {
    let Some(name) = text.strip_prefix(PREFIX) else { return values::absolute(text.as_bytes()) };
    match name {
        "" | "." | ".." => Err(say!(
            "`{}` names no credential; write {} and the name in LoadCredential=",
            text,
            PREFIX
        )),
        _ if name.contains(['/', '\0']) => {
            Err(say!("`{}` is not a credential: its name has a slash", text))
        }
        _ => Ok(text.into()),
    }
}

/// The name of a credential; `None` for a path.
pub(super) fn name(file: &OsBytes) -> Option<&str> {
    std::str::from_utf8(file.as_bytes()).ok()?.strip_prefix(PREFIX)
}

fn files(config: &mut Config) -> impl Iterator<Item = (&'static str, &Place, &mut OsBytes)> {
    let token = config
        .http
        .as_mut()
        .and_then(|http| Some(("http token_file", &http.place, http.token_file.as_mut()?)));
    let remotes = config.localpaths.iter_mut().flat_map(|localpath| &mut localpath.remotes);
    let passwords = remotes.filter_map(|remote| {
        Some(("password_file", &remote.place, remote.peer.password_file.as_mut()?))
    });
    token.into_iter().chain(passwords)
}

/// Puts the path of each credential in the place of its name. `directory` is that of this service's credentials
/// (`CREDENTIALS_DIRECTORY`); without one, each of them is an error.
pub fn resolve(config: &mut Config, directory: Option<&Path>) -> Vec<Diagnostic> {
    let mut errors = Vec::new();
    for (what, place, file) in files(config) {
        let Some(name) = name(file) else { continue };
        match directory {
            Some(directory) => {
                let path = directory.join(name);
                *file = OsBytes::from(path.as_os_str().as_bytes().to_vec());
            }
            None => errors.push(Diagnostic::error(
                place,
                say!("{} {}{}: systemd has passed no credentials; add LoadCredential={}:/PATH to the unit, or write a path", what, PREFIX, name, name),
            )),
        }
    }
    errors
}

/// The warnings of a command outside of the service, which does not see the credentials.
pub fn unseen(config: &mut Config) -> Vec<Diagnostic> {
    let named = files(config).filter_map(|(what, place, file)| {
        let text = say!("{} {}{}: not checked, only the service has it", what, PREFIX, name(file)?);
        Some(Diagnostic::warning(place, text))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "http: {listen: 0.0.0.0:1, token_file: 'credential:token'}\n\
        rsync: {auth: {user: u, password_file: 'credential:rsync.password'}}\n\
        localpaths:\n- {watch: /a, remotes: ['h::m', {host: h, module: n, password_file: /etc/p}]}\n";

    #[test]
    fn a_credential_becomes_its_file_and_is_an_error_without_systemd() {
        let parsed = crate::config::parse(YAML.as_bytes(), "a.yaml".as_ref());
        assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
        let mut config = parsed.config.clone();
        assert!(resolve(&mut config, Some(Path::new("/run/credentials/x"))).is_empty());
        let found: Vec<String> = files(&mut config).map(|(.., file)| file.to_string()).collect();
        assert_eq!(
            found,
            ["/run/credentials/x/token", "/run/credentials/x/rsync.password", "/etc/p"]
        );
        let mut config = parsed.config.clone();
        let errors: Vec<String> =
            resolve(&mut config, None).iter().map(ToString::to_string).collect();
        assert_eq!(errors.len(), 2);
        let start = "a.yaml:4: password_file credential:rsync.password: systemd has passed no";
        assert!(errors[1].starts_with(start), "{errors:?}");
        assert_eq!(config, parsed.config);
        let seen: Vec<String> = unseen(&mut config).iter().map(ToString::to_string).collect();
        assert_eq!(
            seen[0],
            "a.yaml:1: warning: http token_file credential:token: not checked, only the service has it"
        );
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn the_name_of_a_credential_is_no_path() {
        for bad in ["credential:", "credential:..", "credential:a/b", "credentials:a", "a", ""] {
            assert!(path(bad).is_err(), "{bad}");
        }
        assert_eq!(path("credential:a.b").map(|p| p.to_string()), Ok("credential:a.b".into()));
        assert_eq!(path("/a").map(|p| p.to_string()), Ok("/a".into()));
    }
}
