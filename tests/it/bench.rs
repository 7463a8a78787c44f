//! `tracker bench` as it is run. What it counts is checked; how fast this machine is, is not.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::support::child::PATIENCE;

/// Runs it to its end: did it go well, and what did it print?
async fn bench(arguments: &[&str]) -> (bool, String) {
    let running = Command::new(env!("CARGO_BIN_EXE_tracker"))
        .arg("bench")
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = tokio::time::timeout(PATIENCE, running).await.expect("it ends").unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() || !said.is_empty(), "it failed without a word");
    (ended.status.success(), String::from_utf8(ended.stdout).unwrap() + &said)
}

async fn report(arguments: &[&str]) -> Value {
    let (well, text) = bench(&[arguments, &["--format", "json"]].concat()).await;
    assert!(well, "{text}");
    serde_json::from_str(&text).unwrap_or_else(|err| panic!("{err}: {text}"))
}

fn assert_kept(promises: &Value) {
    let kept = serde_json::json!({"lost": 0, "duplicated": 0, "out_of_order": 0, "unexpected": 0});
    assert_eq!(*promises, kept);
}

/// Every field is a number above 0.
fn assert_measured(report: &Value, pointers: &[&str]) {
    for pointer in pointers {
        let value = report.pointer(pointer).and_then(Value::as_f64);
        assert!(value.is_some_and(|value| value > 0.0), "{pointer}: {report}");
    }
}

const SMALL: [&str; 9] = ["deliver", "--deliveries", "200", "--receivers", "3", "--hooks", "6", "--resources", "10"];

#[tokio::test]
async fn a_run_delivers_everything_once_and_in_order_and_says_what_it_took() {
    let report = report(&[&SMALL[..], &["--batch", "30"]].concat()).await;
    assert_kept(&report["promises"]);
    assert_eq!((&report["settled"], &report["hooks"]), (&true.into(), &6.into()));
    assert_measured(
        &report,
        &[
            "/deliveries_per_s",
            "/commits_changes_per_s",
            "/latency/p50_ms",
            "/latency/p99_ms",
            "/latency/max_ms",
            "/memory_peak_mib",
            "/limits/requests_per_s",
            "/limits/commits_per_s",
            "/limits/changes_per_s",
        ],
    );
    for field in ["load_before", "cpu_s_per_10000", "sink_cpu_s_per_10000", "of_request_limit"] {
        assert!(report[field].is_number(), "{field}: {report}");
    }
}

#[tokio::test]
async fn a_backlog_and_a_rate_are_delivered_as_well() {
    for more in [&["--preload"][..], &["--rate", "1000"]] {
        let report = report(&[&SMALL[..], more, &["--no-limits", "--bytes", "900"]].concat()).await;
        assert_kept(&report["promises"]);
        assert_eq!((&report["limits"], &report["body_bytes"]), (&Value::Null, &900.into()));
        assert_measured(&report, &["/deliveries_per_s"]);
    }
}

#[tokio::test]
async fn healthy_receivers_get_everything_beside_bad_ones() {
    let run = ["fairness", "--bad", "4", "--healthy", "2", "--backlog", "5", "--rate", "100", "--seconds", "1"];
    let report = report(&run).await;
    for run in [&report["alone"], &report["beside"]] {
        assert_kept(&run["promises"]);
        assert_eq!(run["deliveries"], 100);
    }
    assert_measured(
        &report,
        &[
            "/p50_ratio",
            "/p99_ratio",
            "/bad_requests/hangs",
            "/bad_requests/drips",
            "/bad_requests/resets",
            "/bad_requests/fails",
        ],
    );
}

#[tokio::test]
async fn all_who_follow_hear_of_every_change_and_what_they_cost_is_said() {
    let report = report(&["follow", "--followers", "20", "--rate", "20", "--seconds", "1"]).await;
    assert_eq!((&report["changes"], &report["lost"]), (&20.into(), &0.into()));
    let figures = ["/arrivals_per_s", "/latency/p50_ms", "/latency/p99_ms", "/latency/max_ms", "/memory_peak_mib"];
    assert_measured(&report, &figures);
}

#[tokio::test]
async fn where_nothing_changes_only_the_time_is_written_and_a_change_is_seen_at_once() {
    let run = ["poll", "--instances", "3000", "--accounts", "2", "--cycles", "4", "--changes", "7"];
    let report = report(&run).await;
    assert_eq!((&report["rewritten"], &report["changed"]), (&0.into(), &7.into()));
    assert_eq!(report["commits_per_look"], 1.0);
    // Two pages for each of two accounts, and their realms.
    assert_eq!((&report["short"]["list_calls"], &report["short"]["calls"]), (&4.0.into(), &6.0.into()));
    assert_eq!((&report["full"]["list_calls"], &report["first"]["list_calls"]), (&8.0.into(), &8.0.into()));
    assert_eq!(
        report["short"]["cycles"].as_u64().zip(report["full"]["cycles"].as_u64()).map(|(short, full)| short + full),
        Some(4)
    );
    let figures = ["/change_to_commit_ms", "/memory_mib", "/memory_peak_mib", "/short/took_ms", "/full/took_ms"];
    assert_measured(&report, &figures);
    let (well, text) = bench(&run[..7]).await;
    assert!(well && text.contains("3000 instances in 2 accounts"), "{text}");
    let (well, text) = bench(&["poll", "--instances", "10", "--accounts", "3"]).await;
    assert!(!well && text.contains("cannot be spread evenly over 3 accounts"), "{text}");
}

#[tokio::test]
async fn for_people_it_is_a_page_of_text() {
    let (well, text) = bench(&[&SMALL[..], &["--no-limits"]].concat()).await;
    assert!(well, "{text}");
    for part in ["200 deliveries of ", "deliveries/s ", "commit to arrival ", "lost 0, duplicated 0, out of order 0"] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn what_cannot_be_measured_is_refused() {
    for (arguments, why) in [(["deliver", "--receivers", "0"], "--receivers"), (["fairness", "--rate", "0"], "--rate")]
    {
        let (well, text) = bench(&arguments).await;
        assert!(!well && text.contains(why), "{text}");
    }
}

#[tokio::test]
async fn the_simulation_of_realms_says_the_same_each_time_and_finds_outages() {
    let few = ["realms", "--years", "0.002", "--outages", "1", "--rates", "20", "--baselines", "2"];
    let first = report(&[&few[..], &["--seed", "7"]].concat()).await;
    assert_eq!(report(&[&few[..], &["--seed", "7"]].concat()).await, first);
    assert_ne!(report(&[&few[..], &["--seed", "8"]].concat()).await, first);
    let rules = first["cells"][0]["rules"].as_array().unwrap();
    let names: Vec<_> = rules.iter().map(|row| row["rule"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "one failure",
            "3 in a row",
            "5 in a row",
            "CUSUM h=10",
            "CUSUM h=12",
            "as shipped",
            "a fifth of it, alone",
            "a fifth, and others'"
        ]
    );
    assert!(rules.iter().all(|row| row["found"] == 1), "{first}");
    let (well, text) = bench(&[&few[..], &["--format", "text"]].concat()).await;
    assert!(well && text.contains("| 20, 2 % | one failure |"), "{text}");
    let (well, text) = bench(&["realms", "--rates", "often"]).await;
    assert!(!well && text.contains("`often` is no number"), "{text}");
}
