//! `tracker listen`: a developer who cannot be called gets his callbacks all the same.

use jiff::Timestamp;
use tracker::clock::{Clock as _, SystemClock};
use tracker::deliver::{ID, Key, SIGNATURE, TIMESTAMP, verify};

use super::{Rig, SIGNING, assert_refused};
use crate::support::child::PATIENCE;
use crate::support::receiver::Reply::{Hang, Status};
use crate::support::receiver::{Received, Receiver, Reply};

fn assert_signed(request: &Received, secret: &str) {
    let header = |name: &str| request.header(name).unwrap_or_default();
    let now: Timestamp = SystemClock.now();
    let key = Key::parse(secret).unwrap();
    verify(&key, header(ID), header(TIMESTAMP), header(SIGNATURE), &request.body, now, 300).unwrap();
    assert_eq!(header(ID), request.json()["id"].as_str().unwrap());
    assert_eq!(header("content-type"), "application/json");
}

#[tokio::test]
async fn each_change_is_posted_as_a_callback_would_be_and_a_restart_goes_on() {
    let rig = Rig::new().await;
    let receiver = Receiver::start().await;
    receiver.answers([Status(503), Status(302), Status(200)]);
    assert_eq!(rig.cli.run(&["track", "instances", "--feed"]).await.code, 0);
    rig.act("inst1", "stop").await;

    let (url, secret) = (receiver.url("/cb").to_string(), rig.file("secret", &format!("{SIGNING}\n")));
    let state = rig.folder.path().join("seq").display().to_string();
    std::fs::write(&state, "0\n").unwrap();
    let args = ["listen", "--forward", &url, "--secret-file", &secret, "--state", &state];
    let listen = rig.cli.spawn(&args);
    listen.out_until(|lines| !lines.is_empty()).await;
    let tries = receiver.received();
    assert_eq!(tries.len(), 3);
    for request in &tries {
        assert_signed(request, SIGNING);
        assert_eq!((request.header(ID), &request.body), (tries[0].header(ID), &tries[0].body));
    }
    assert!(listen.out()[0].contains("-> 200"), "{:?}", listen.out());
    listen.err_until(|line| line.contains("trying again")).await;
    let ended = listen.interrupt().await;
    assert_eq!(ended.code, 130, "{ended:?}");
    assert!(!format!("{ended:?}").contains(&SIGNING[6..]));

    // What happens meanwhile comes after the restart, in the order of each resource.
    for (id, action) in [("inst1", "start"), ("inst2", "stop"), ("inst1", "stop"), ("inst2", "start")] {
        rig.act(id, action).await;
    }
    let listen = rig.cli.spawn(&args);
    let last = |accepted: &[Received], id: &str, state: &str| {
        accepted
            .iter()
            .rev()
            .map(Received::json)
            .find(|change| change["resource"]["id"] == id)
            .is_some_and(|change| change["to"]["state"] == state)
    };
    let known = receiver.accepted_requests().len();
    receiver
        .wait_until(|accepted| {
            let new = &accepted[known..];
            last(new, "inst1", "STOPPED") && last(new, "inst2", "RUNNING")
        })
        .await;
    assert_eq!(listen.interrupt().await.code, 130);
    for id in ["inst1", "inst2"] {
        let all = receiver.accepted_requests();
        let own = all.iter().map(Received::json).filter(|change| change["resource"]["id"] == id);
        let mut revisions: Vec<_> = own.map(|change| change["resource"]["revision"].as_u64().unwrap()).collect();
        // An interrupted page comes again; that is what one integer per resource is for.
        revisions.dedup();
        assert_eq!(revisions, (1..=revisions.len() as u64).collect::<Vec<_>>(), "{id}");
    }
    rig.tracker.stop().await;
}

#[tokio::test]
async fn a_receiver_that_never_takes_it_does_not_hold_up_the_rest() {
    let rig = Rig::new().await;
    let receiver = Receiver::start().await;
    receiver.answers([Status(500), Status(500), Status(410)]);
    assert_eq!(rig.cli.run(&["track", "instances", "--feed"]).await.code, 0);
    let url = receiver.url("/cb").to_string();
    let listen = rig.cli.spawn(&["listen", "--forward", &url, "--tries", "2", "--after", "0", "--output", "json"]);
    // The secret is made for the run and shown at its start.
    listen.err_until(|line| line.contains("whsec_")).await;
    for (came, action) in ["stop", "start", "stop"].into_iter().enumerate() {
        rig.act("inst1", action).await;
        listen.out_until(|lines| lines.len() > came).await;
    }
    let ended = listen.interrupt().await;
    let said: Vec<_> = ended
        .objects()
        .iter()
        .map(|said| (said["taken"].as_bool(), said["status"].as_u64(), said["attempts"].as_u64()))
        .collect();
    let expected =
        [(Some(false), Some(500), Some(2)), (Some(false), Some(410), Some(1)), (Some(true), Some(200), Some(1))];
    assert_eq!(said, expected);
    assert!(ended.err.contains("#1 was not taken (2 tries)") && ended.err.contains("--after 0 --limit 1"), "{ended:?}");
    let secret = ended.err.lines().find_map(|line| line.split_whitespace().find(|word| word.starts_with("whsec_")));
    for request in receiver.received() {
        assert_signed(&request, secret.unwrap());
    }
    rig.tracker.stop().await;
}

#[tokio::test]
async fn a_resource_that_is_not_taken_stops_no_other_and_keeps_the_place() {
    let fails: fn(&Received) -> Reply =
        |request| if request.json()["resource"]["id"] == "inst1" { Status(500) } else { Status(200) };
    let hangs: fn(&Received) -> Reply =
        |request| if request.json()["resource"]["id"] == "inst1" { Hang } else { Status(200) };
    for reply in [fails, hangs] {
        let rig = Rig::new().await;
        let receiver = Receiver::start().await;
        receiver.answers_by(reply);
        assert_eq!(rig.cli.run(&["track", "instances", "--feed"]).await.code, 0);
        let (url, state) = (receiver.url("/cb").to_string(), rig.file("seq", "0\n"));
        let args = ["listen", "--forward", &url, "--state", &state, "--tries", "100", "--output", "json"];
        let listen = rig.cli.spawn(&args);
        rig.act("inst1", "stop").await;
        receiver.wait_for(1).await;
        // Each of these comes in a page of its own.
        for (came, action) in ["stop", "start", "stop"].into_iter().enumerate() {
            rig.act("inst2", action).await;
            listen.out_until(|lines| lines.len() > came).await;
        }
        let ended = listen.interrupt().await;
        let taken: Vec<_> = ended.objects().iter().map(|said| said["seq"].as_u64().unwrap()).collect();
        assert_eq!(taken, [2, 3, 4]);
        assert!(ended.err.contains("go on with --after 0\n"), "{ended:?}");
        assert_eq!(std::fs::read_to_string(&state).unwrap(), "0\n");
        rig.tracker.stop().await;
    }
}

#[tokio::test]
async fn for_a_subscriber_only_what_was_taken_counts_as_delivered() {
    let rig = Rig::new().await;
    let receiver = Receiver::start().await;
    let token = rig.file("token", "tok-9\n");
    let track = ["track", "instances", "--feed", "--subscriber", "dev", "--token-file", &token];
    assert_eq!(rig.cli.run(&track).await.code, 0);
    // Nobody posts this one.
    rig.act("inst1", "stop").await;
    receiver.answers([Status(500)]);
    let (url, state) = (receiver.url("/cb").to_string(), rig.file("seq", "1\n"));
    let args = ["listen", "--forward", &url, "--subscriber", "dev", "--state", &state, "--tries", "1"];
    let listen = rig.cli.spawn(&args);
    let begun = ["inst2 stop", "inst2 start", "inst1 start", "inst0 stop"];
    for (came, act) in begun.into_iter().enumerate() {
        let (id, action) = act.split_once(' ').unwrap();
        rig.act(id, action).await;
        listen.out_until(|lines| lines.len() > came).await;
    }
    let read = async |expected: &[u64]| {
        let seen = async {
            loop {
                let args = ["deliveries", "--subscriber", "dev", "--state", "read", "--output", "json"];
                let page = rig.cli.run(&args).await.json();
                let seqs: Vec<_> = page.as_array().unwrap().iter().map(|it| it["seq"].as_u64().unwrap()).collect();
                if seqs == expected {
                    break;
                }
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.expect("what was taken counts as delivered");
    };
    read(&[5]).await;
    assert_eq!(listen.interrupt().await.code, 130);
    assert_eq!(std::fs::read_to_string(&state).unwrap(), "5\n");
    // Another start knows no more than that it goes on after 5: what was not taken is owed all the same.
    let listen = rig.cli.spawn(&args);
    for (came, id) in ["inst2", "inst0"].into_iter().enumerate() {
        rig.act(id, if id == "inst0" { "start" } else { "stop" }).await;
        listen.out_until(|lines| lines.len() > came).await;
    }
    read(&[7, 5]).await;
    assert_eq!(listen.interrupt().await.code, 130);
    assert!(receiver.received().iter().all(|request| request.json()["token"] == "tok-9"));
    assert_eq!(receiver.count(), 6);
    let owed = rig.cli.run(&["changes", "--subscriber", "dev", "--output", "json"]).await.json();
    let owed: Vec<_> = owed.as_array().unwrap().iter().map(|change| change["seq"].as_u64().unwrap()).collect();
    assert_eq!(owed, [1, 2, 3, 4, 6]);
    rig.tracker.stop().await;
}

#[tokio::test]
async fn without_a_place_to_post_to_it_prints() {
    let rig = Rig::new().await;
    assert_eq!(rig.cli.run(&["track", "instances", "--feed"]).await.code, 0);
    let state = rig.folder.path().join("seq");
    std::fs::write(&state, "0\n").unwrap();
    let listen = rig.cli.spawn(&["listen", "--state", state.to_str().unwrap()]);
    rig.act("inst1", "stop").await;
    listen.out_until(|lines| lines.iter().any(|line| line.contains("RUNNING -> STOPPED"))).await;
    assert_eq!(listen.interrupt().await.code, 130);

    std::fs::write(&state, "far\n").unwrap();
    let ended = rig.cli.run(&["listen", "--state", state.to_str().unwrap()]).await;
    assert_refused(&ended, 1, "a number alone");
    let bad = rig.file("bad", "hush");
    let ended = rig.cli.run(&["listen", "--forward", "http://127.0.0.1:1/", "--secret-file", &bad]).await;
    assert_refused(&ended, 1, "whsec_");
    assert!(!ended.err.contains("hush"));
    rig.tracker.stop().await;
}
