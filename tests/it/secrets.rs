//! No secret in the store's files, in logs or in errors.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

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

/// None of them is in any file of Tracker's. Answers with how many files there are.
fn files_without(folder: &Path, secrets: &[&str]) -> usize {
    let mut files = 0;
    for file in std::fs::read_dir(folder).unwrap() {
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
    files
}

#[tokio::test]
async fn no_secret_of_hints_is_in_the_store_the_log_the_feed_the_metrics_or_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let tracker = Tracker::start(folder.path(), &[]).await;
    let (put, _) = tracker.request(Method::PUT, "/instances/inst1?track_hook=feed").await;
    assert_eq!(put, StatusCode::OK);
    let mut secrets = Vec::new();
    for _ in 0..2 {
        let (made, text) = tracker.request(Method::POST, "/hints/secret").await;
        assert_eq!(made, StatusCode::CREATED, "{text}");
        let made: serde_json::Value = serde_json::from_str(&text).unwrap();
        secrets.push(made["secret"].as_str().unwrap().to_owned());
    }
    let (replaced, newest) = (&secrets[0], &secrets[1]);
    // As it should be, replaced, misspelt, in the wrong place, with a body that is no good.
    let hints = format!("{}/hints", tracker.base);
    let mistyped = format!("{newest}x");
    let (account, _) = newest.strip_prefix("hint_").unwrap().split_once('_').unwrap();
    let made_up = format!("hint_{account}_made-up-by-somebody-0b9d");
    let post = |secret: &str| client().post(&hints).header("tracker-hint-secret", secret);
    let requests = [
        (post(newest).body("id=inst1&state=STOPPED"), 202),
        (post(replaced).body("id=inst1"), 202),
        (client().post(&hints).bearer_auth(newest).body("id=inst1"), 202),
        (client().post(&hints).basic_auth("hint", Some(newest)).body("id=inst1"), 202),
        (post(&mistyped).body("id=inst1"), 401),
        (client().post(&hints).bearer_auth(&made_up).body("id=inst1"), 401),
        (post(newest).body("{"), 400),
        (client().get(format!("{}/instances", tracker.base)).basic_auth("hint", Some(newest)), 401),
        (client().get(format!("{}/instances", tracker.base)).bearer_auth(newest), 401),
    ];
    let mut answers = Vec::new();
    for (number, (request, status)) in requests.into_iter().enumerate() {
        let answer = request.send().await.unwrap();
        let (answered, headers) = (answer.status(), format!("{:?}", answer.headers()));
        let text = answer.text().await.unwrap();
        assert_eq!(answered, status, "request {number}: {text}");
        answers.push(format!("{headers} {text}"));
    }
    for path in ["/hints/secret", "/instances/inst1?format=json", "/changes?after=0", "/hooks", "/deliveries"] {
        let (status, text) = tracker.request(Method::GET, path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {text}");
        answers.push(text);
    }
    let metrics = client().get(tracker.base.replace("/api", "/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("tracker_hints"), "{metrics}");
    answers.push(metrics);

    let random = |secret: &str| secret.splitn(3, '_').nth(2).unwrap().to_owned();
    let randoms: Vec<_> = secrets.iter().chain([&mistyped, &made_up]).map(|secret| random(secret)).collect();
    assert!(randoms.iter().all(|random| random.len() > 15), "{randoms:?}");
    let randoms: Vec<&str> = randoms.iter().map(String::as_str).collect();
    assert!(files_without(folder.path(), &randoms) >= 3);
    let (_, log) = tracker.stop().await;
    assert!(
        log.contains("A hint secret was made") && log.contains("Hints were taken"),
        "the log tells the story:\n{log}"
    );
    for random in randoms {
        assert!(!log.contains(random), "{random} is in the log:\n{log}");
        for answer in &answers {
            assert!(!answer.contains(random), "{random} is in {answer}");
        }
    }
}

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
    let files = files_without(folder.path(), &secrets);
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
