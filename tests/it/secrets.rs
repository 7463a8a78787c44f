//! No secret in the store's files, in logs or in errors.

use std::os::unix::fs::PermissionsExt as _;

use reqwest::{Method, StatusCode};

use crate::support::child::{PATIENCE, Tracker};
use crate::support::receiver::{Receiver, Reply::Status};
use crate::support::world::client;

const BACKEND_PASSWORD: &str = "the-backend-password-7f3a";
const WRONG_PASSWORD: &str = "a-mistyped-password-91bc";
const HOOK_USER: &str = "hookuser-5d2e";
const HOOK_PASSWORD: &str = "hookpassword-c04f";
const HOOK_KEY: &str = "querykey-8a61";
const TOKEN: &str = "tracktoken-e7b9";
const SIGNING: &str = "whsec_c2lnbmluZyBzZWNyZXQgb2YgdGhpcyB0ZXN0";

#[tokio::test]
async fn no_secret_is_in_the_store_the_log_or_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    receiver.answers([Status(500), Status(302)]);
    let settings =
        [("TRACKER_DRIVERS__MOCK__PASSWORD", BACKEND_PASSWORD), ("TRACKER_DELIVER__STEPS_MS", "[1, 1, 1, 1]")];
    let tracker = Tracker::start(folder.path(), &settings).await;
    let hook = String::from(receiver.url("/cb")).replace("http://", &format!("http://{HOOK_USER}:{HOOK_PASSWORD}@"));
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("track_hook", &format!("{hook}?key={HOOK_KEY}"));
    query.append_pair("track_token", TOKEN).append_pair("track_secret", SIGNING);
    let put = format!("{}/instances/inst1?{}", tracker.base, query.finish());

    // As it should be, with a wrong password, and with each parameter spoilt.
    let mut answers = Vec::new();
    for (url, password) in [
        (put.clone(), WRONG_PASSWORD),
        (put.replace("inst1", "no-such"), BACKEND_PASSWORD),
        (put.replace("http%3A", "ftp%3A"), BACKEND_PASSWORD),
        (put.replace("whsec_", "whsec_!"), BACKEND_PASSWORD),
        (put.replace("127.0.0.1%3A", "10.0.0.1%3A"), BACKEND_PASSWORD),
        (put, BACKEND_PASSWORD),
    ] {
        let answer = client().put(&url).basic_auth("mockuser", Some(password)).send().await.unwrap();
        let well = answer.status();
        answers.push(answer.text().await.unwrap());
        assert_eq!(well == StatusCode::OK, answers.len() == 6, "{answers:?}");
    }
    let stop = format!("{}/instances/inst1/stop", tracker.base);
    let request = client().request(Method::POST, &stop).basic_auth("mockuser", Some(BACKEND_PASSWORD));
    assert_eq!(request.send().await.unwrap().status(), StatusCode::ACCEPTED);
    let arrived = receiver.wait_until(|accepted| accepted.len() == 1);
    tokio::time::timeout(PATIENCE, arrived).await.expect("the callback arrives in the end");

    // While it runs, so that the write-ahead log is there too.
    let secrets = [BACKEND_PASSWORD, WRONG_PASSWORD, HOOK_USER, HOOK_PASSWORD, HOOK_KEY, TOKEN, SIGNING, &SIGNING[6..]];
    let mut files = 0;
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        files += 1;
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} is in {}", file.path().display());
        }
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", file.path().display());
    }
    assert!(files >= 3, "the store, its write-ahead log and the key ring: {files} files");

    let (_, log) = tracker.stop().await;
    assert!(log.contains("inst1") && log.contains("500"), "the log tells the story:\n{log}");
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
        for answer in &answers {
            assert!(!answer.contains(secret), "{secret} is in {answer}");
        }
    }
}
