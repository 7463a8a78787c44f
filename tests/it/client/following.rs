//! `tracker changes --follow`: nothing is missed and nothing comes twice, whatever happens in between.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::Rig;
use crate::support::child::{PATIENCE, Tracker};
use crate::support::cli::{Cli, Running};
use crate::support::receiver::Reply::{Full, Status};
use crate::support::receiver::{Received, Receiver, Reply};

fn seqs(lines: &[String]) -> Vec<u64> {
    lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn interrupted_it_says_where_to_go_on_and_nothing_is_lost_or_twice() {
    let rig = Rig::new().await;
    assert_eq!(rig.cli.run(&["track", "instances", "--feed"]).await.code, 0);
    rig.act("inst1", "stop").await;
    let mut all = vec![];
    let mut after = "0".to_owned();
    for (round, action) in ["start", "stop", "start"].into_iter().enumerate() {
        let follow = rig.cli.spawn(&["changes", "--follow", "--after", &after, "--output", "json"]);
        rig.act("inst1", action).await;
        // The round's own change is the last one that comes.
        let goal = u64::try_from(round).unwrap() + 2;
        follow.out_until(|lines| seqs(lines).last().is_some_and(|seq| *seq >= goal)).await;
        let ended = follow.interrupt().await;
        assert_eq!(ended.code, 130, "{ended:?}");
        all.extend(ended.objects().iter().map(|change| change["seq"].as_u64().unwrap()));
        let said = ended.err.trim();
        after = said.strip_prefix("go on with --after ").unwrap_or_else(|| panic!("{said}")).to_owned();
    }
    assert_eq!(all, (1..=all.len() as u64).collect::<Vec<_>>());
    assert_eq!(Some(&after.parse().unwrap()), all.last());

    // Without a place it begins at the end.
    let follow = rig.cli.spawn(&["changes", "--follow"]);
    let end = all.len() as u64;
    let begun = async {
        // It is heard once it stands there; until then, more goes by.
        let mut actions = ["stop", "start"].into_iter().cycle();
        while follow.out().is_empty() {
            rig.act("inst1", actions.next().unwrap()).await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.expect("it begins to follow");
    follow.out_until(|lines| !lines.is_empty()).await;
    let first = follow.out()[0].clone();
    let seq: u64 = first.split_once('#').unwrap().1.split_whitespace().next().unwrap().parse().unwrap();
    assert!(seq > end && first.contains("instances/inst1"), "{first}");
    assert_eq!(follow.interrupt().await.code, 130);
    rig.tracker.stop().await;
}

/// Stands before a server that comes and goes.
struct Relay {
    address: SocketAddr,
    target: Arc<Mutex<Option<String>>>,
    _listening: JoinSet<()>,
}

impl Relay {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target: Arc<Mutex<Option<String>>> = Arc::default();
        let mut listening = JoinSet::new();
        let current = target.clone();
        listening.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let target = current.lock().unwrap().clone();
                connections.spawn(async move {
                    let Some(target) = target else { return };
                    let Ok(mut server) = TcpStream::connect(target).await else { return };
                    // Either side may hang up at any moment; that is what this is about.
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { address, target, _listening: listening }
    }

    fn leads_to(&self, tracker: Option<&Tracker>) {
        let host = |tracker: &Tracker| tracker.base.split('/').nth(2).unwrap().to_owned();
        *self.target.lock().unwrap() = tracker.map(host);
    }
}

/// Acts until one more change is told. A mock cloud forgets when it ends, so an action may be no change.
async fn stir(tracker: &Tracker, follow: &Running) {
    let seen = follow.out().len();
    let stirring = async {
        for action in ["stop", "start"].into_iter().cycle() {
            tracker.request(reqwest::Method::POST, &format!("/instances/inst1/{action}")).await;
            if follow.out().len() > seen {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, stirring).await.expect("a change is told");
}

#[tokio::test]
async fn over_restarts_of_the_server_nothing_is_lost_or_twice() {
    let folder = tempfile::tempdir().unwrap();
    let relay = Relay::start().await;
    let cli = Cli::new(&format!("http://{}/api", relay.address));
    let mut tracker = Tracker::start(folder.path(), &[]).await;
    relay.leads_to(Some(&tracker));
    assert_eq!(cli.run(&["track", "instances", "--feed"]).await.code, 0);
    let follow = cli.spawn(&["changes", "--follow", "--after", "0", "--output", "json"]);
    for round in 0..3 {
        stir(&tracker, &follow).await;
        relay.leads_to(None);
        if round % 2 == 0 {
            tracker.kill().await;
        } else {
            tracker.stop().await;
        }
        follow.err_until(|line| line.contains("trying again")).await;
        tracker = Tracker::start(folder.path(), &[]).await;
        relay.leads_to(Some(&tracker));
    }
    follow.err_until(|line| line.contains("connected again")).await;
    stir(&tracker, &follow).await;
    let ended = follow.interrupt().await;
    assert_eq!(ended.code, 130);
    let lines: Vec<String> = ended.out.lines().map(str::to_owned).collect();
    let told = seqs(&lines);
    assert_eq!(told, (1..=told.len() as u64).collect::<Vec<_>>());
    assert!(ended.err.matches("trying again").count() <= 3, "each outage is said once: {}", ended.err);
    tracker.stop().await;
}

#[tokio::test]
async fn what_is_no_longer_kept_is_said_and_gone_on_from_only_when_asked() {
    fn reply(request: &Received) -> Reply {
        let ours = ("x-deltacloud-driver", "mock".to_owned());
        if request.target.contains("after=16&") {
            let change = serde_json::json!([{"seq": 17, "id": "chg_1", "type": "instance.state"}]);
            return Full(200, vec![ours, ("tracker-seq", "17".to_owned())], change.to_string().into_bytes());
        }
        if request.target.contains("after=17&") {
            return Status(401);
        }
        let text = "What came after 3 is no longer kept; the oldest kept change is 17. List the resources anew";
        let document = serde_json::json!({"code": 410, "message": text});
        Full(410, vec![ours, ("tracker-oldest-seq", "17".to_owned())], document.to_string().into_bytes())
    }
    let server = Receiver::start().await;
    server.answers_by(reply);
    let cli = Cli::new(server.url("/api").as_str());
    let args = ["changes", "--follow", "--after", "3", "--output", "json"];
    let ended = cli.run(&args).await;
    assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{ended:?}");
    for part in ["after 3 up to 16", "the oldest kept is 17", "--after 16"] {
        assert!(ended.err.contains(part), "{ended:?}");
    }
    let ended = cli.run(&[args.as_slice(), &["--from-oldest"]].concat()).await;
    assert!(ended.err.contains("after 3 up to 16") && ended.err.contains("going on from there"), "{ended:?}");
    assert_eq!(seqs(&[ended.out.trim().to_owned()]), [17]);
}
