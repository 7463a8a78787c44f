//! `/openapi.json` says what is true: every route is in it and nothing else, bounds are what it says, and real answers fit.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tracker::api::OPENAPI;
use tracker::model::{DeliveryState, News};

use crate::support::moto::{self, run_script};
use crate::support::receiver::Reply::{Full, Status};
use crate::support::world::{Answer, World, ask, client, minutes, seconds};

const METHODS: [&str; 7] = ["get", "head", "put", "post", "delete", "options", "patch"];

fn document() -> Value {
    serde_json::from_str(OPENAPI).unwrap()
}

/// All operations, each with its path and method.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = METHODS.into_iter().filter_map(|method| Some((method, item.get(method)?)));
            methods.map(move |(method, operation)| (path.as_str(), method, operation))
        })
        .collect()
}

/// The parameters of an operation, those of its path included, without detours.
fn parameters<'d>(document: &'d Value, path: &str, operation: &'d Value) -> Vec<&'d Value> {
    let shared = document["paths"][path]["parameters"].as_array().into_iter().flatten();
    let own = operation["parameters"].as_array().into_iter().flatten();
    shared.chain(own).map(|parameter| resolved(document, parameter)).collect()
}

fn resolved<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    match value["$ref"].as_str() {
        Some(reference) => {
            let pointer = reference.strip_prefix('#').expect("references stay in the document");
            resolved(document, document.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere")))
        }
        None => value,
    }
}

/// Path and methods of every route, as the source of the router names them.
fn routes() -> BTreeSet<(String, String)> {
    let source = include_str!("../../src/api/mod.rs");
    let (_, router) = source.split_once("pub fn router(").expect("there is a router");
    let (router, _) = router.split_once("\n}\n").expect("it ends");
    let (_, entry) = router.split_once("let entry =").expect("the entry point is named");
    let entry = entry.split_once(";\n").unwrap().0;
    let mut found = BTreeSet::new();
    for route in router.split(".route(").skip(1) {
        let (_, rest) = route.split_once('"').unwrap();
        let (path, handlers) = rest.split_once('"').unwrap();
        let handlers = handlers.replace("entry()", entry);
        // Slashes at the end: only the entry point has a second path.
        let path = if path == "/api/" { "/api" } else { path };
        let opening = |method: &str| [format!(" {method}("), format!(".{method}(")];
        for method in METHODS {
            if opening(method).iter().any(|opening| handlers.contains(opening.as_str())) {
                found.insert((path.to_owned(), method.to_owned()));
            }
        }
    }
    assert!(found.len() > 80, "the source is read: {found:?}");
    found
}

#[test]
fn every_route_is_in_the_document_and_nothing_else() {
    let document = document();
    let told = operations(&document).into_iter().map(|(path, method, _)| (path.to_owned(), method.to_owned()));
    let (told, routes): (BTreeSet<_>, _) = (told.collect(), routes());
    let missing: Vec<_> = routes.difference(&told).collect();
    let invented: Vec<_> = told.difference(&routes).collect();
    assert!(missing.is_empty() && invented.is_empty(), "not told: {missing:?}; invented: {invented:?}");
}

#[test]
fn the_document_is_sound_and_its_words_are_ours() {
    let document = document();
    assert_eq!(
        (&document["openapi"], &document["info"]["version"]),
        (&json!("3.1.0"), &json!(env!("CARGO_PKG_VERSION")))
    );
    walk(&document, &mut |value| {
        resolved(&document, value);
    });
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let name = format!("{method} {path}");
        assert!(ids.insert(operation["operationId"].as_str().expect(&name)), "{name}: the id is not its own");
        assert!(operation["summary"].is_string() && operation["responses"].is_object(), "{name}");
        let places = path.split('{').skip(1).map(|rest| rest.split_once('}').unwrap().0);
        let of_path = parameters(&document, path, operation).into_iter().filter(|parameter| parameter["in"] == "path");
        let of_path: BTreeSet<_> = of_path.map(|parameter| parameter["name"].as_str().unwrap()).collect();
        assert_eq!(of_path, places.collect(), "{name}");
    }
    let words = |schema: &str| -> BTreeSet<&str> {
        let words = document["components"]["schemas"][schema]["enum"].as_array().unwrap();
        words.iter().map(|word| word.as_str().unwrap()).collect()
    };
    assert_eq!(words("ChangeType"), BTreeSet::from(News::ALL_KINDS));
    assert_eq!(words("DeliveryState"), DeliveryState::ALL.map(DeliveryState::as_str).into());
}

fn walk<'d>(value: &'d Value, visit: &mut impl FnMut(&'d Value)) {
    visit(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        Value::Object(map) => map.values().for_each(|item| walk(item, visit)),
        _ => {}
    }
}

/// A path with something in each of its places.
fn filled(path: &str) -> String {
    let path = path.replace("{action}", "stop").replace("/drivers/{id}", "/drivers/mock");
    path.split('{').map(|part| part.split_once('}').map_or(part.to_owned(), |(_, rest)| format!("x{rest}"))).collect()
}

#[tokio::test]
async fn a_running_tracker_knows_these_operations_and_no_others() {
    let world = World::new().await;
    let origin = world.base().strip_suffix("/api").unwrap();
    let document = document();
    let mut told = BTreeMap::<&str, BTreeSet<&str>>::new();
    for (path, method, _) in operations(&document) {
        told.entry(path).or_default().insert(method);
    }
    for (path, methods) in &told {
        for method in METHODS {
            // Nobody asks, so nothing is done.
            let request = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let answer =
                client().request(request, format!("{origin}{}?format=json", filled(path))).send().await.unwrap();
            let status = answer.status();
            let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default();
            // What there is not, is not found by these words; a resource that is not there, by others. HEAD has none.
            let lacks = status == StatusCode::METHOD_NOT_ALLOWED
                || status == StatusCode::NOT_FOUND && method != "head" && body["message"] == "Not Found";
            // Every GET answers HEAD.
            let known = methods.contains(method) || method == "head" && methods.contains("get");
            assert_eq!(!lacks, known, "{method} {path}: {status} {body}");
        }
    }
    let served = client().get(format!("{origin}/openapi.json")).send().await.unwrap();
    assert_eq!(
        (served.status(), &served.headers()["content-type"]),
        (StatusCode::OK, &"application/json".parse().unwrap())
    );
    assert_eq!(served.text().await.unwrap(), OPENAPI);
    world.end().await;
}

/// Values that a parameter's schema excludes.
fn excluded(document: &Value, schema: &Value) -> Vec<String> {
    let schema = resolved(document, schema);
    let mut bad = vec![];
    bad.extend(schema["minimum"].as_i64().map(|least| (least - 1).to_string()));
    bad.extend(schema["maximum"].as_i64().map(|most| (most + 1).to_string()));
    bad.extend(schema["maxLength"].as_u64().map(|most| "x".repeat(usize::try_from(most).unwrap() + 1)));
    let said = schema["enum"].is_array() || schema["pattern"].is_string() || schema["format"] == "date-time";
    bad.extend((said || schema["type"] == "integer").then(|| "no such thing".to_owned()));
    bad
}

#[tokio::test]
async fn what_the_document_excludes_is_refused() {
    let world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    let id = world.get("/hooks").await.json()[0]["id"].as_str().unwrap().to_owned();
    let document = document();
    let mut tried = 0;
    for (path, method, operation) in operations(&document) {
        let ours = ["/api/changes", "/api/hooks", "/api/deliveries"].iter().any(|own| path.starts_with(own));
        let tracks = method == "put" && ["/api/instances/{id}", "/api/realms"].contains(&path);
        if !(ours || tracks) {
            continue;
        }
        let all = parameters(&document, path, operation);
        let given = |but: &str| {
            let required = |name: &str| all.iter().any(|one| one["name"] == name && one["required"] == true);
            let needed = [("track_hook", "feed"), ("since", "2026-11-21T10:00:00Z")].into_iter();
            let needed = needed.filter(|(name, _)| *name != but && required(name));
            needed.map(|(name, value)| format!("{name}={value}&")).collect::<String>()
        };
        let path = path.strip_prefix("/api").unwrap().replace("/hooks/{id}", &format!("/hooks/{id}"));
        let path = path.replace("{id}", "inst0");
        for parameter in all.iter().filter(|parameter| parameter["in"] == "query") {
            let name = parameter["name"].as_str().unwrap();
            for bad in excluded(&document, &parameter["schema"]) {
                let bad: String = form_urlencoded::byte_serialize(bad.as_bytes()).collect();
                let asked = format!("{path}?{}{name}={bad}", given(name));
                let answer = world.request(Method::from_bytes(method.to_uppercase().as_bytes()).unwrap(), &asked).await;
                let refusal = if name == "format" { StatusCode::NOT_ACCEPTABLE } else { StatusCode::BAD_REQUEST };
                assert_eq!(answer.status, refusal, "{method} {name}={bad:.40}: {}", answer.text);
                tried += 1;
            }
        }
    }
    assert!(tried > 40, "{tried}");
    world.end().await;
}

#[tokio::test]
async fn what_may_be_said_of_a_hook_is_in_the_document() {
    let world = World::new().await;
    let entry = world.get("?format=xml").await.text;
    let document = document();
    let mut features = 0;
    for link in entry.split("<link ").skip(1) {
        let (_, rel) = link.split_once("rel='").unwrap();
        let path = format!("/api/{}", rel.split_once('\'').unwrap().0);
        assert!(document["paths"][&path].is_object(), "{path}");
        for feature in link.split("<feature ").skip(1).filter(|feature| feature.contains("state_tracking")) {
            features += 1;
            let params = feature.split("<param name='").skip(1).map(|param| param.split_once('\'').unwrap().0);
            let named: BTreeSet<_> = params.collect();
            let told: BTreeSet<_> = if feature.contains("rel='create'") {
                let content = &document["paths"][&path]["post"]["requestBody"]["content"];
                let form = content["application/x-www-form-urlencoded"]["schema"]["properties"].as_object().unwrap();
                let properties = form.keys().map(String::as_str);
                properties.filter(|name| name.starts_with("track_") || *name == "subscriber").collect()
            } else {
                let parameters = parameters(&document, &path, &document["paths"][&path]["put"]).into_iter();
                let names = parameters.filter(|parameter| parameter["in"] == "query" && parameter["name"] != "format");
                names.map(|parameter| parameter["name"].as_str().unwrap()).collect()
            };
            assert_eq!(told, named, "{feature}");
        }
    }
    assert_eq!(features, 6, "{entry}");
    world.end().await;
}

#[tokio::test]
async fn real_answers_fit_the_schemas() {
    let Some(python) = moto::python("real_answers_fit_the_schemas") else { return };
    let answers = real_answers().await;
    let check = async |document: &Value, answers: &[Value]| {
        let input = json!({"document": document, "answers": answers}).to_string();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/openapi.py");
        run_script(&python, &script, &[], &input).await
    };
    let ran = check(&document(), &answers).await;
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    // And who judges is awake.
    let mut damaged = document();
    damaged["paths"]["/api/hooks"]["get"]["operationId"] = json!(7);
    let wrong: Vec<_> = answers.iter().map(|answer| json!({"schema": answer["schema"], "value": 7})).collect();
    let ran = check(&damaged, &wrong).await;
    assert_eq!(ran.status, 1);
    assert!(ran.stderr.contains("the document: "), "{}", ran.stderr);
    for number in 0..wrong.len() {
        assert!(ran.stderr.contains(&format!("answer {number}, ")), "{number}: {}", ran.stderr);
    }
}

/// What a Tracker with some history answers, each with the place of its schema.
async fn real_answers() -> Vec<Value> {
    let document = document();
    let mut found = vec![];
    let mut fits = |method: &str, path: &str, answer: &Answer| {
        let responses = &document["paths"][path][method]["responses"];
        let status = answer.status.as_u16().to_string();
        let (status, response) = match responses.get(&status) {
            Some(response) => (status, response),
            None => ("default".to_owned(), &responses["default"]),
        };
        let place = match response["$ref"].as_str() {
            Some(reference) => reference.trim_start_matches('#').to_owned(),
            None => format!("/paths/{}/{method}/responses/{status}", path.replace('/', "~1")),
        };
        found.push(json!({"schema": format!("{place}/content/application~1json/schema"), "value": answer.json()}));
    };

    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    fits("get", "/api/hooks", &world.get("/hooks").await);
    let more = [("track_token", "t"), ("track_mode", "latest"), ("format", "json")];
    let put = world.put_hook("instances/inst0", &world.hook(), &more).await;
    assert_eq!(put.status, StatusCode::OK, "{}", put.text);
    fits("put", "/api/instances/{id}", &put);
    fits(
        "put",
        "/api/instances",
        &world.put_hook("instances", "feed", &[("subscriber", "ci"), ("format", "json")]).await,
    );
    world.put_hook("realms", &world.hook(), &[("track_format", "cloudevents"), ("subscriber", "events")]).await;
    let hooks = world.get("/hooks").await;
    let id_of = |subscriber: &str| {
        let hooks = hooks.json();
        let hook = hooks.as_array().unwrap().iter().find(|hook| hook["subscriber"] == subscriber).unwrap();
        hook["id"].as_str().unwrap().to_owned()
    };
    let (id, events) = (id_of("default"), id_of("events"));
    world.receiver.answers([Full(503, vec![], b"not now".to_vec())]);
    for state in ["STOPPED", "RUNNING", "STOPPED"] {
        world.provider.set_state("inst0", state);
        world.clock.advance(seconds(1));
        world.tick().await;
    }
    fits("get", "/api/hooks/{id}", &world.get(&format!("/hooks/{id}")).await);
    world.deliver().await;
    fits("get", "/api/deliveries", &world.get("/deliveries").await);
    world.clock.advance(minutes(1));
    world.deliver().await;
    world.provider.remove("inst0");
    for _ in 0..3 {
        world.clock.advance(minutes(10));
        world.tick().await;
    }
    world.provider.set_realm("us", tracker::model::RealmState::Unavailable, Some("power"));
    world.clock.advance(minutes(1));
    world.tick().await;
    world.deliver().await;

    let deliveries = world.get("/deliveries").await;
    fits("get", "/api/deliveries", &deliveries);
    for delivery in deliveries.json().as_array().unwrap() {
        let path = format!("/deliveries/{}", delivery["id"].as_str().unwrap());
        fits("get", "/api/deliveries/{id}", &world.get(&path).await);
    }
    let again = world.request(Method::POST, &format!("/deliveries/{id}.3/redeliver")).await;
    assert_eq!(again.status, StatusCode::ACCEPTED, "{}", again.text);
    fits("post", "/api/deliveries/{id}/redeliver", &again);
    world.deliver().await;
    fits("post", "/api/hooks/{id}/test", &world.request(Method::POST, &format!("/hooks/{id}/test")).await);
    fits("post", "/api/hooks/{id}/test", &world.request(Method::POST, &format!("/hooks/{events}/test")).await);
    fits("post", "/api/hooks/{id}/resync", &world.request(Method::POST, &format!("/hooks/{events}/resync")).await);
    let recover = format!("/hooks/{id}/recover?since=2026-11-21T00:00:00Z&what=all");
    fits("post", "/api/hooks/{id}/recover", &world.request(Method::POST, &recover).await);
    world.receiver.otherwise(Status(410));
    world.deliver().await;
    let gone = world.get(&format!("/hooks/{id}")).await;
    assert!(gone.json()["disabled"].is_object(), "{}", gone.text);
    fits("get", "/api/hooks/{id}", &gone);
    fits("post", "/api/hooks/{id}/enable", &world.request(Method::POST, &format!("/hooks/{id}/enable")).await);

    fits("get", "/api/hints/secret", &world.get("/hints/secret").await);
    let made = world.request(Method::POST, "/hints/secret").await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    fits("post", "/api/hints/secret", &made);
    fits("post", "/api/hints/secret", &world.request(Method::POST, "/hints/secret").await);
    fits("get", "/api/hints/secret", &world.get("/hints/secret").await);
    let secret = made.json()["secret"].as_str().unwrap().to_owned();
    let hinted = ask(world.base(), Method::POST, "/hints?id=inst0", "hint", &secret).await;
    assert_eq!(hinted.status, StatusCode::ACCEPTED, "{}", hinted.text);
    fits("post", "/api/hints", &hinted);
    fits("post", "/api/hints", &ask(world.base(), Method::POST, "/hints", "hint", &secret).await);

    let log = world.get("/changes?after=0&subscriber=ci").await;
    assert!(log.json().as_array().unwrap().len() > 4, "{}", log.text);
    fits("get", "/api/changes", &log);
    fits("get", "/api/changes", &world.get("/changes?subscriber=ci&limit=2").await);
    fits("get", "/api/changes", &world.get("/changes?after=999999").await);
    fits("get", "/api/hooks/{id}", &world.get("/hooks/hook_0").await);
    fits("get", "/api", &world.get("?format=json").await);
    for path in ["instances", "realms", "drivers", "hardware_profiles", "storage_volumes", "images"] {
        fits("get", &format!("/api/{path}"), &world.get(&format!("/{path}?format=json")).await);
    }
    fits("get", "/api/drivers/{id}", &world.get("/drivers/mock?format=json").await);
    fits("get", "/api/realms/{id}", &world.get("/realms/us?format=json").await);
    for callback in world.receiver.received() {
        let cloudevents = callback.header("content-type").unwrap().starts_with("application/cloudevents+json");
        let kind = if cloudevents { "application~1cloudevents+json" } else { "application~1json" };
        let schema = format!("/webhooks/change/post/requestBody/content/{kind}/schema");
        found.push(json!({"schema": schema, "value": callback.json()}));
    }
    world.end().await;
    found
}
