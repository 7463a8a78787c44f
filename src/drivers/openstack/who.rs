//! What a client may write as user, and what Keystone is told of it. Pure.
//!
//! | written | meant |
//! |---|---|
//! | `user+project` | a password's owner and the project to work in, as Deltacloud always had it |
//! | `user` | the project that is the user's own at Keystone |
//! | `++ID` | an application credential by its id, the password being its secret |
//! | `user++NAME` | an application credential by its name, and whose it is |
//!
//! A name may have its domain before it (`corp\alice+corp\web`), and a project without one is of its user's; a name that
//! looks like an id is taken for one.

use serde_json::{Value, json};

use crate::drivers::{Error, Kind};
use crate::model::{Credentials, ExposeSecret as _};

/// What is sent to `POST /v3/auth/tokens`.
///
/// [`Kind::Denied`] for what can be nobody.
pub(super) fn request(credentials: &Credentials, default_domain: &str) -> Result<Value, Error> {
    let secret = credentials.password.expose_secret();
    let nobody = || Error::new(Kind::Denied, format!("Nobody is called so: the user is {WANTED}"));
    if let Some((user, name)) = credentials.user.split_once("++") {
        if name.is_empty() {
            return Err(nobody());
        }
        let credential = match user {
            "" => json!({"id": name, "secret": secret}),
            user => json!({"name": name, "user": named(user, default_domain), "secret": secret}),
        };
        let identity = json!({"methods": ["application_credential"], "application_credential": credential});
        return Ok(json!({"auth": {"identity": identity}}));
    }
    // A user may be called by an address, and an address may have a plus in it.
    let (user, project) = match credentials.user.rsplit_once('+') {
        Some((user, project)) => (user, Some(project)),
        None => (credentials.user.as_str(), None),
    };
    if user.is_empty() || project.is_some_and(str::is_empty) {
        return Err(nobody());
    }
    let project_domain = domain_of(user).unwrap_or(default_domain);
    let mut user = named(user, default_domain);
    user["password"] = json!(secret);
    let mut auth = json!({"identity": {"methods": ["password"], "password": {"user": user}}});
    if let Some(project) = project {
        auth["scope"] = json!({"project": named(project, project_domain)});
    }
    Ok(json!({"auth": auth}))
}

pub(super) const WANTED: &str = "USER+PROJECT, or ++ID of an application credential, or USER++NAME of one; a domain goes before a name as DOMAIN\\NAME";

/// Who Keystone was asked about, for an error: `user `carol` of domain `default`, in project `web` of domain `default``.
/// The password is not in it.
pub(super) fn asked(credentials: &Credentials, default_domain: &str) -> String {
    let told = |value: &Value| {
        let text = |value: &Value| {
            let text = value.as_str().unwrap_or_default();
            format!("`{}`", text.chars().filter(|char| !char.is_control()).take(SHOWN_CHARS_MAX).collect::<String>())
        };
        let domain = &value["domain"];
        match (value.get("id"), domain.get("id").or_else(|| domain.get("name"))) {
            (Some(id), _) => text(id),
            (None, Some(domain)) => format!("{} of domain {}", text(&value["name"]), text(domain)),
            (None, None) => text(&value["name"]),
        }
    };
    let Ok(request) = request(credentials, default_domain) else { return "nobody".to_owned() };
    let (auth, identity) = (&request["auth"], &request["auth"]["identity"]);
    let credential = &identity["application_credential"];
    if !credential.is_null() {
        let whose = credential.get("user").map(|user| format!(" of user {}", told(user))).unwrap_or_default();
        return format!("application credential {}{whose}", told(credential));
    }
    let project = auth["scope"].get("project").map(told);
    let project = project.map_or_else(|| "the user's own project".to_owned(), |project| format!("project {project}"));
    format!("user {}, in {project}", told(&identity["password"]["user"]))
}

const SHOWN_CHARS_MAX: usize = 80;

/// As it was written, before a user's name.
fn domain_of(user: &str) -> Option<&str> {
    Some(user).filter(|user| !is_id(user))?.split_once('\\').map(|(domain, _)| domain)
}

/// A user or a project: `{"id"}`, or `{"name", "domain"}`.
fn named(text: &str, default_domain: &str) -> Value {
    if is_id(text) {
        return json!({"id": text});
    }
    let (domain, name) = text.split_once('\\').unwrap_or((default_domain, text));
    let domain = if domain == "default" || is_id(domain) { json!({"id": domain}) } else { json!({"name": domain}) };
    json!({"name": name, "domain": domain})
}

/// Keystone's own ids: 32 hex digits, or 64 for users that a directory knows.
fn is_id(text: &str) -> bool {
    [32, 64].contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;

    fn asked(user: &str) -> Result<Value, Error> {
        request(&Credentials { user: user.to_owned(), password: Secret::from("s3cret") }, "default")
    }

    #[test]
    fn a_password_is_for_a_user_in_a_project() {
        let check = |user: &str, expected_user: Value, scope: Option<Value>| {
            let asked = asked(user).expect("somebody");
            let mut expected =
                json!({"auth": {"identity": {"methods": ["password"], "password": {"user": expected_user}}}});
            expected["auth"]["identity"]["password"]["user"]["password"] = json!("s3cret");
            if let Some(project) = scope {
                expected["auth"]["scope"] = json!({"project": project});
            }
            assert_eq!(asked, expected, "{user}");
        };
        let of = |name: &str, domain: Value| json!({"name": name, "domain": domain});
        let default = json!({"id": "default"});
        let corp = json!({"name": "corp"});
        check("alice+web", of("alice", default.clone()), Some(of("web", default.clone())));
        check("a+b@corp.example+web", of("a+b@corp.example", default.clone()), Some(of("web", default.clone())));
        check("corp\\alice+corp\\web", of("alice", corp.clone()), Some(of("web", corp.clone())));
        check("corp\\alice+web", of("alice", corp.clone()), Some(of("web", corp.clone())));
        check("corp\\alice+default\\web", of("alice", corp.clone()), Some(of("web", default.clone())));
        check("alice", of("alice", default.clone()), None);
        let (id, long) =
            ("63d2e5104dc34ca6a99330dc5f50dab0", "63d2e5104dc34ca6a99330dc5f50dab063d2e5104dc34ca6a99330dc5f50dab0");
        check(&format!("{id}+{id}"), json!({"id": id}), Some(json!({"id": id})));
        check(&format!("{long}+web"), json!({"id": long}), Some(of("web", default)));
    }

    #[test]
    fn an_application_credential_brings_its_project() {
        let check = |user: &str, credential: Value| {
            let identity = json!({"methods": ["application_credential"], "application_credential": credential});
            assert_eq!(asked(user).expect("somebody"), json!({"auth": {"identity": identity}}), "{user}");
        };
        check("++7d1a", json!({"id": "7d1a", "secret": "s3cret"}));
        let alice = json!({"name": "alice", "domain": {"id": "default"}});
        check("alice++ci", json!({"name": "ci", "user": alice, "secret": "s3cret"}));
        let carol = json!({"name": "carol", "domain": {"name": "corp"}});
        check("corp\\carol++ci+cd", json!({"name": "ci+cd", "user": carol, "secret": "s3cret"}));
    }

    #[test]
    fn an_error_names_who_was_asked_about_and_no_password() {
        let check = |user: &str, expected: &str| {
            let credentials = Credentials { user: user.to_owned(), password: Secret::from("s3cret") };
            assert_eq!(super::asked(&credentials, "default"), expected);
        };
        check("carol+web", "user `carol` of domain `default`, in project `web` of domain `default`");
        check("corp\\carol+web", "user `carol` of domain `corp`, in project `web` of domain `corp`");
        check("carol", "user `carol` of domain `default`, in the user's own project");
        let id = "63d2e5104dc34ca6a99330dc5f50dab0";
        check(&format!("carol+{id}"), &format!("user `carol` of domain `default`, in project `{id}`"));
        check("++7d1a", "application credential `7d1a`");
        check("carol++ci", "application credential `ci` of user `carol` of domain `default`");
        check("ca\nrol", "user `carol` of domain `default`, in the user's own project");
    }

    #[test]
    fn nobody_is_denied_without_asking() {
        for user in ["", "+", "+web", "alice+", "++", "alice++"] {
            let error = asked(user).expect_err(user);
            assert_eq!(error.kind, Kind::Denied, "{user}");
            assert!(!error.text.contains("s3cret"), "{error}");
        }
    }
}
