//! Who we are and what only we may know: from the environment, from a file, from the terminal. Never from the arguments.

use std::io::{IsTerminal as _, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Mutex;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use serde::Deserialize;

use super::failure::{Exit, Failure};
use crate::model::{Credentials, ExposeSecret as _, Secret};

pub(super) const USER: &str = "TRACKER_USER";
pub(super) const PASSWORD: &str = "TRACKER_PASSWORD";

/// A file with a secret in it is shorter than this.
const FILE_BYTES_MAX: u64 = 64 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    user: String,
    password: Option<String>,
}

/// A file, if one is named, has the only word; otherwise the environment. A password that neither says is asked for on the
/// terminal, if there is one.
pub(super) fn credentials(file: Option<&Path>) -> Result<Credentials, Failure> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (user, password, source) = match file {
        Some(path) => {
            let Written { user, password } = parse(&read_private(path)?)
                .map_err(|why| Failure::new(Exit::Unauthorized, format!("{}: {why}", path.display())))?;
            (
                Some(user),
                password.filter(|text| !text.is_empty()).map(Secret::from),
                format!("`password` in {}", path.display()),
            )
        }
        None => (variable(USER), variable(PASSWORD).map(Secret::from), format!("{PASSWORD} in the environment")),
    };
    let user = user.filter(|user| !user.is_empty()).ok_or_else(|| {
        let text = format!("no user: set {USER} and {PASSWORD} in the environment, or name a file with --credentials");
        Failure::new(Exit::Unauthorized, text)
    })?;
    if user.contains(':') {
        return Err(Failure::new(Exit::Unauthorized, "a user's name cannot hold a colon"));
    }
    let password = match password {
        Some(password) => password,
        None if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() => {
            keep_terminal(tcgetattr(std::io::stdin()).ok());
            let typed = rpassword::prompt_password(format!("Password of {user}: "));
            Secret::from(typed.map_err(|err| match err.kind() {
                std::io::ErrorKind::Interrupted => Failure::new(Exit::Interrupted, ""),
                _ => Failure::failed(format!("the password could not be read: {err}")),
            })?)
        }
        None => {
            let text = format!("no password for {user}: give {source}, or run this on a terminal to be asked");
            return Err(Failure::new(Exit::Unauthorized, text));
        }
    };
    Ok(Credentials { user, password })
}

/// How the terminal was before it was told not to show what is typed.
static TERMINAL: Mutex<Option<Termios>> = Mutex::new(None);

fn keep_terminal(was: Option<Termios>) {
    *TERMINAL.lock().expect("nobody panics with the terminal in hand") = was;
}

/// For a command that is interrupted while it asks: the shell behind it must not stay silent.
pub(super) fn restore_terminal() {
    if let Some(was) = TERMINAL.lock().expect("nobody panics with the terminal in hand").take() {
        // A terminal that has gone needs nothing.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &was);
    }
}

fn parse(text: &Secret) -> Result<Written, String> {
    // Of what TOML says only the place is told: its message may quote the line.
    toml::from_str(text.expose_secret())
        .map_err(|_| "not a credentials file; right is `user = \"…\"` and `password = \"…\"`, a line each".to_owned())
}

/// A secret alone in a file, or on stdin when the file is `-`; a line break at its end does not count.
pub(super) fn secret_in(path: &Path) -> Result<Secret, Failure> {
    let text = if path == Path::new("-") { read(std::io::stdin(), "stdin")? } else { read_private(path)? };
    let line = text.expose_secret().trim_end_matches(['\r', '\n']);
    if line.is_empty() {
        return Err(Failure::usage(format!("{}: there is nothing in it", path.display())));
    }
    Ok(Secret::from(line))
}

/// The text of a file that nobody but its owner can read.
fn read_private(path: &Path) -> Result<Secret, Failure> {
    let shown = path.display().to_string();
    let failed = |err| Failure::failed(format!("{shown}: {err}"));
    let file = std::fs::File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if about.is_file() && about.mode() & 0o077 != 0 {
        let text = format!("{shown} can be used by others (mode {:04o}): chmod 600 {shown}", about.mode() & 0o7777);
        return Err(Failure::failed(text));
    }
    read(file, &shown)
}

fn read(from: impl std::io::Read, name: &str) -> Result<Secret, Failure> {
    let mut text = String::new();
    let read = from.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    // Made a secret before anything is said of it, so that it is wiped.
    let text = Secret::from(text);
    read.map_err(|err| Failure::failed(format!("{name}: {err}")))?;
    if text.expose_secret().len() as u64 > FILE_BYTES_MAX {
        return Err(Failure::failed(format!("{name}: longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credentials_file_names_user_and_password() {
        let check = |text: &str, expected: Option<(&str, Option<&str>)>| {
            let parsed = parse(&Secret::from(text)).ok();
            let parts = parsed.as_ref().map(|written| (written.user.as_str(), written.password.as_deref()));
            assert_eq!(parts, expected, "{text}");
        };
        check("user = 'me'\npassword = 'pa:ss'", Some(("me", Some("pa:ss"))));
        check("user = 'me'", Some(("me", None)));
        check("password = 'x'", None);
        check("user = 'me'\npasword = 'x'", None);
        check("me:hush", None);
        assert!(!parse(&Secret::from("password = hush")).err().unwrap().contains("hush"));
    }
}
