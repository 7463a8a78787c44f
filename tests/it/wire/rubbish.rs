//! What no client should say.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{AUTH_FAILURE, ec2_says, reference};
use crate::support::raw::{Answer, GOOD};

/// Anything a client may say by mistake or on purpose; the socket stands between it and the parser.
#[test]
fn rubbish_is_answered_with_an_error_document_and_never_a_fault_of_ours() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let world = runtime.block_on(reference());
    // EC2 knows nobody.
    world.receiver.otherwise(ec2_says(401, AUTH_FAILURE));
    let piece = || {
        prop_oneof![
            Just("api".to_owned()),
            Just("instances".to_owned()),
            Just("realms".to_owned()),
            Just("changes".to_owned()),
            Just("inst0".to_owned()),
            Just(";driver=ec2".to_owned()),
            Just(";driver=".to_owned()),
            Just(";provider=%ff".to_owned()),
            Just("%00%0d%0a".to_owned()),
            Just("%".to_owned()),
            Just("..".to_owned()),
            Just("\u{e4}\u{1f600}".to_owned()),
            "[!-~]{0,12}",
            "\\PC{0,6}",
        ]
    };
    let path = proptest::collection::vec(piece(), 0..5).prop_map(|pieces| format!("/{}", pieces.join("/")));
    let sane = "/api(;driver=(ec2|mock))?/(instances|realms|images|hardware_profiles|drivers|changes|keys|storage_volumes|storage_snapshots|addresses|firewalls|buckets|metrics|networks|subnets|network_interfaces)(;[!-~]{0,8})?(/(inst0|us|img1|vol1|test-key|bucket1|net1|[!-~]{1,8})(/(stop|start|reboot|attach|detach|associate|rules|blob1|blob1/content|x))?)?";
    let path = prop_oneof![1 => path.clone(), 1 => path.prop_map(|path| format!("/api{path}")), 3 => sane];
    let query = prop_oneof![
        Just(String::new()),
        "[!-~]{0,30}".prop_map(|query| format!("?{query}")),
        "(limit|after|format|force_auth|track_hook|subscriber|instance_count|image_id|instance_id|device|volume_id|capacity|name|blob_id|network_id)=[!-~]{0,20}"
            .prop_map(|query| format!("?{query}")),
    ];
    let header = prop_oneof![
        4 => Just(format!("{}: {}", GOOD.0, GOOD.1)),
        2 => "(Host|Accept|X-Deltacloud-Driver|X-Deltacloud-Provider|X-Forwarded-Host|X-Forwarded-Proto|Authorization\
         |X-HTTP-Method-Override|Referer|Content-Type): [ -~]{0,30}",
        1 => "(Accept|X-Deltacloud-Driver|X-Deltacloud-Provider|Authorization): \\PC{0,10}",
    ];
    let method =
        prop_oneof![Just("GET"), Just("POST"), Just("PUT"), Just("DELETE"), Just("PATCH"), Just("TRACE"), Just("FOO")];
    let body = prop_oneof![Just(Vec::new()), proptest::collection::vec(any::<u8>(), 0..64)];
    let any_request = (method, path, query, proptest::collection::vec(header, 0..4), body);
    let mut runner = TestRunner::new(Config { cases: 1_000, failure_persistence: None, ..Config::default() });
    runner
        .run(&any_request, |(method, path, query, headers, body)| {
            prop_assume!(!leads_abroad(&path, &headers));
            let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
            let host = if headers.contains("Host:") { "" } else { "Host: h\r\n" };
            let head = format!("{method} {path}{query} HTTP/1.1\r\nConnection: close\r\n{host}{headers}");
            let bytes = [format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat();
            let answer = Answer::read(&runtime.block_on(world.raw().bytes(&bytes)));
            prop_assert!(answer.status < 500 || answer.status == 501, "{answer:?}");
            // What is not even HTTP is answered by the protocol layer, without a document.
            let ours = answer.header("server").is_some();
            prop_assert!(ours || [400, 414, 431].contains(&answer.status), "{answer:?}");
            if ours && answer.status >= 400 {
                answer.is_error(answer.status);
            }
            Ok(())
        })
        .unwrap();
    runtime.block_on(world.end());
}

/// A host name as provider of EC2 would be called there, and tests call nobody but this machine.
fn leads_abroad(path: &str, headers: &[String]) -> bool {
    let ec2 = |text: &str| text.to_ascii_lowercase().contains("ec2");
    let is_host = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[] ".contains(&byte));
    let host = |header: &String| header.strip_prefix("X-Deltacloud-Provider:").is_some_and(is_host);
    (ec2(path) || headers.iter().any(|header| ec2(header))) && headers.iter().any(host)
}
