//! `POST /api/instances`.

use tracker::drivers::MockCall;

use super::{CALLER, EC2, EC2_ID, ORIGIN, RUN_INSTANCES, asked_of_ec2, described, ec2_says, reference, value};
use crate::support::raw::{Answer, BAD, GOOD, JSON, Node, Raw};

/// Creates with a form, as the suite does, and reads back by `Location`.
async fn create(raw: Raw, form: &str) -> (Answer, Node) {
    let made = raw.send("POST", "/api/instances", &[GOOD], form).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.xml().name, "instance");
    let location = made.header("location").expect("a Location");
    assert_eq!(Some(location), made.xml().attribute("href"));
    let read = raw.get(location.strip_prefix(ORIGIN).unwrap()).await.xml();
    (made, read)
}

fn ids(instance: &Node) -> [&str; 3] {
    ["image", "realm", "hardware_profile"].map(|one| instance.child(one).attribute("id").unwrap())
}

#[tokio::test]
async fn i09_an_instance_is_created_from_an_image() {
    let world = reference().await;
    let (made, read) = create(world.raw(), "image_id=img2").await;
    assert_eq!(ids(&read), ["img2", "us", "m1-small"]);
    assert_eq!(read.child("state").text, "RUNNING", "the suite spins on anything else");
    assert!(made.header("etag").is_some());
    world.end().await;
}

#[tokio::test]
async fn i10_an_instance_is_created_in_a_realm() {
    let world = reference().await;
    let (_, read) = create(world.raw(), "image_id=img1&realm_id=eu").await;
    assert_eq!(ids(&read), ["img1", "eu", "m1-small"]);
    world.end().await;
}

#[tokio::test]
async fn i11_an_instance_is_created_with_a_profile() {
    let world = reference().await;
    let (_, read) = create(world.raw(), "image_id=img1&realm_id=eu&hwp_id=m1-large&hwp_memory=12288").await;
    assert_eq!(ids(&read), ["img1", "eu", "m1-large"]);
    let memory = read.child("hardware_profile").child("property");
    assert_eq!((memory.attribute("name"), memory.attribute("value")), (Some("memory"), Some("12288")));
    world.end().await;
}

#[tokio::test]
async fn i14_t35_the_name_asked_for_is_in_the_answer_whatever_is_in_it() {
    let world = reference().await;
    let (made, _) = create(world.raw(), "image_id=img1&name=web").await;
    assert_eq!(made.xml().child("name").text, "web");
    let (made, read) = create(world.raw(), "image_id=img1&name=A+%26+%3CP%3E+%27q%27+%C3%A4").await;
    assert_eq!(made.xml().child("name").text, "A & <P> 'q' \u{e4}");
    assert_eq!(read.child("name").text, "A & <P> 'q' \u{e4}");
    world.end().await;
}

/// The mock cloud has no firewalls, so that the suite skips this one there.
#[tokio::test]
async fn i15_the_firewall_asked_for_is_in_the_answer() {
    let world = reference().await;
    world.receiver.answers([ec2_says(200, RUN_INSTANCES)]);
    let form = "image_id=ami-1&firewalls1=sg-0a1b2c3d4e5f60001";
    let made = world.raw().send("POST", "/api/instances", &[GOOD, EC2], form).await;
    assert_eq!(made.status, 201, "{made:?}");
    let asked = &asked_of_ec2(&world)[0];
    let named = value(asked, "SecurityGroupId.1").or(value(asked, "SecurityGroup.1"));
    assert_eq!(named, Some("sg-0a1b2c3d4e5f60001"));
    let made = made.xml();
    let ids: Vec<_> = made.child("firewalls").children.iter().map(|firewall| firewall.attribute("id")).collect();
    assert_eq!(ids, [Some("sg-0a1b2c3d4e5f60001")]);
    world.end().await;
}

#[tokio::test]
async fn what_a_link_carries_stands_in_for_what_is_not_sent() {
    let world = reference().await;
    let raw = world.raw();
    // As an image's `create_instance` is written.
    let made = raw.send("POST", "/api/instances;image_id=img2", &[GOOD], "name=web").await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(ids(&made.xml())[0], "img2");
    let made = raw.send("POST", "/api/instances;image_id=img2", &[GOOD], "image_id=img1").await;
    assert_eq!(ids(&made.xml())[0], "img1");
    // On other verbs and segments it means nothing, as in the reference.
    assert_eq!(raw.get("/api/realms;id=us").await.xml().children.len(), 2);
    raw.ask("POST", "/api/instances;image_id=img1/inst0", &[GOOD]).await.is_error(405);
    raw.send("POST", "/api;image_id=img1/instances", &[GOOD], "").await.is_error(400);
    world.end().await;
}

#[tokio::test]
async fn t03_t27_parameters_come_by_query_or_form_and_empty_ones_are_not_given() {
    let world = reference().await;
    let raw = world.raw();
    // The current gem and Java: everything in the query, an empty body, no type.
    let made = raw.ask("POST", "/api/instances?image_id=img1&realm_id=eu&name=web&hwp_id=&keyname=", &[GOOD]).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(ids(&made.xml()), ["img1", "eu", "m1-small"]);
    assert!(made.xml().all("keyname").is_empty(), "an empty key name is none");
    // The older gem: a form, here without a type, beside a query.
    let made = raw.send("POST", "/api/instances?format=json", &[GOOD], "image_id=img3&commit=create").await;
    assert_eq!((made.status, &made.json()["instance"]["image"]["id"]), (201, &"img3".into()));
    // Only the presence of the key is asked for.
    assert_eq!(raw.send("POST", "/api/instances", &[GOOD], "image_id=").await.status, 201);
    world.end().await;
}

#[tokio::test]
async fn t26_the_location_ends_in_the_bare_id() {
    let world = reference().await;
    let raw = world.raw();
    let made = raw.ask("POST", "/api/instances?image_id=img1&format=xml&x=y", &[GOOD]).await;
    assert_eq!(made.header("location"), Some("http://localhost:3001/api/instances/inst4"));
    let made = raw.ask("POST", "/api;driver=mock;provider=p/instances?image_id=img1", &[GOOD]).await;
    assert_eq!(made.header("location"), Some("http://localhost:3001/api;driver=mock;provider=p/instances/inst4"));
    world.end().await;
}

#[tokio::test]
async fn t28_user_data_with_line_breaks_reaches_the_backend_as_it_was_meant() {
    let world = reference().await;
    world.receiver.answers([ec2_says(200, RUN_INSTANCES)]);
    let form = "image_id=ami-1&user_data=aGVs%0AbG8%3D%0A&hwp_id=&keyname=&firewalls2=b&firewalls1=a";
    let made = world.raw().send("POST", "/api/instances", &[GOOD, EC2], form).await;
    assert_eq!(made.status, 201, "{made:?}");
    let [run] = &asked_of_ec2(&world)[..] else { panic!("one call") };
    // Base64 of `hello`, as EC2 wants it: neither the line breaks nor a second coat.
    assert_eq!((value(run, "Action"), value(run, "UserData")), (Some("RunInstances"), Some("aGVsbG8=")));
    assert_eq!((value(run, "InstanceType"), value(run, "KeyName")), (None, None));
    assert_eq!((value(run, "SecurityGroup.1"), value(run, "SecurityGroup.2")), (Some("a"), Some("b")));
    world.end().await;
}

/// EC2 makes two, both tracked from the start.
#[tokio::test]
async fn several_instances_are_a_list_without_a_location_and_each_gets_the_hook() {
    let world = reference().await;
    let (before, rest) = RUN_INSTANCES.split_once("<instancesSet>").unwrap();
    let (item, after) = rest.split_once("</instancesSet>").unwrap();
    let second = item.replace(EC2_ID, "i-0c7a1f2e3d4b5a604");
    let two = format!("{before}<instancesSet>{item}{second}</instancesSet>{after}");
    let may_look = ec2_says(200, described(&two));
    world.receiver.answers([ec2_says(200, CALLER), may_look, ec2_says(200, two.as_str())]);
    world.receiver.otherwise(ec2_says(200, described(&two)));
    let form = "image_id=ami-1&instance_count=2&track_hook=feed";
    let made = world.raw().send("POST", "/api/instances", &[GOOD, EC2], form).await;
    assert_eq!((made.status, made.header("location")), (201, None), "{made:?}");
    let list = made.xml();
    assert_eq!((list.name.as_str(), list.children.len(), list.all("tracking").len()), ("instances", 2, 2));
    let run = &asked_of_ec2(&world)[2];
    assert_eq!((value(run, "MinCount"), value(run, "MaxCount")), (Some("2"), Some("2")));
    world.end().await;
}

#[tokio::test]
async fn a_hook_on_create_is_set_and_shown() {
    let world = reference().await;
    let made = world.raw().send("POST", "/api/instances", &[GOOD], "image_id=img1&track_hook=http://h/cb").await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.xml().only("tracking").attribute("hook"), Some("http://h/cb"));
    assert_eq!(world.hooks().await.len(), 1);
    // None is asked for.
    for form in ["image_id=img1&track_hook=", "image_id=img1&track_hook=none", "image_id=img1"] {
        let made = world.raw().send("POST", "/api/instances", &[GOOD], form).await;
        assert_eq!((made.status, made.xml().all("tracking").len()), (201, 0), "{form}");
    }
    assert_eq!(world.hooks().await.len(), 1);
    world.end().await;
}

#[tokio::test]
async fn a_create_that_makes_no_sense_creates_nothing() {
    let world = reference().await;
    let raw = world.raw();
    let check = async |headers: &[(&str, &str)], body: &str, said: &str| {
        let answer = raw.send("POST", "/api/instances", headers, body).await;
        assert_eq!(answer.is_error(400).xml().child("message").text, said, "{body}");
    };
    check(&[GOOD], "name=x&password=hush", "Required parameter 'image_id' not found in [name, password]").await;
    check(&[GOOD], r#"{"image_id":"img1"}"#, "Required parameter 'image_id' not found in []").await;
    let count = "`instance_count` must be a whole number from 1 to 100";
    check(&[GOOD, EC2], "image_id=ami-1&instance_count=1e9", count).await;
    check(&[GOOD], "image_id=img1&user_data=!", "`user_data` is not Base64").await;
    let hook = "`track_hook` must be an absolute http or https URL, `feed` or `none`: relative URL without a base";
    check(&[GOOD], "image_id=img1&track_hook=nonsense", hook).await;
    raw.send("POST", "/api/instances", &[GOOD], "image_id=img1&track_hook=http://10.0.0.1/cb").await.is_error(400);
    raw.send("POST", "/api/instances", &[], "image_id=img1").await.is_error(401);
    raw.send("POST", "/api/instances", &[BAD], "image_id=img1&track_hook=feed").await.is_error(401);
    assert_eq!(world.provider.calls_of(MockCall::Create), 0);
    assert!(world.receiver.received().is_empty(), "and nothing at EC2");
    // This only the backend can say.
    check(&[GOOD], "image_id=img1&hwp_id=m9", "Hardware profile 'm9' does not exists.").await;
    raw.send("POST", "/api/instances", &[BAD], "image_id=img1").await.is_error(401);
    assert_eq!(raw.get("/api/instances").await.xml().children.len(), 4);
    world.end().await;
}

#[tokio::test]
async fn t37_no_error_repeats_what_was_sent() {
    let world = reference().await;
    let raw = world.raw();
    let form = "password=hush1&user_data=hush2&track_token=hush3&track_secret=hush4&private_key=hush5";
    let body = format!("image_id=img1&hwp_id=m9&{form}");
    for accept in [("Accept", "application/xml"), JSON] {
        for (method, path, body) in [
            ("POST", "/api/instances", form),
            ("POST", "/api/instances", body.as_str()),
            ("PUT", "/api/instances/inst0", form),
            ("POST", "/api/instances/inst9/stop", form),
            ("PATCH", "/api/instances/inst0", form),
        ] {
            let answer = raw.send(method, path, &[GOOD, accept], body).await;
            answer.is_error(answer.status);
            assert!(!answer.body.contains("hush"), "{answer:?}");
        }
    }
    world.end().await;
}

#[tokio::test]
async fn t24_t25_the_matrix_counts_on_every_verb_and_is_carried_on() {
    let world = reference().await;
    // The list is asked for beside whose it is; that is not understood here, and nobody misses it.
    let described = described(RUN_INSTANCES);
    let replies = [RUN_INSTANCES, &described, &described, &described];
    world.receiver.answers(replies.map(|reply| ec2_says(200, reply)));
    let path = "/api;driver=EC2;provider=eu-west-1/instances";
    let made = world.raw().send("POST", path, &[GOOD], "image_id=ami-1").await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(value(&asked_of_ec2(&world)[0], "Action"), Some("RunInstances"));
    let signed = world.receiver.received()[0].header("authorization").unwrap().to_owned();
    assert!(signed.contains("/eu-west-1/ec2/"), "{signed}");
    assert_eq!(world.provider.calls(), 0, "nothing on the wrong cloud");
    let href = format!("http://localhost:3001/api;driver=ec2;provider=eu-west-1/instances/{EC2_ID}");
    assert_eq!(made.header("location"), Some(href.as_str()));
    assert_eq!(made.xml().attribute("href"), Some(href.as_str()));
    // What came by header is not put into hrefs: such a client sends it again.
    let list = world.raw().ask("GET", "/api/instances", &[GOOD, EC2]).await.xml();
    let href = format!("http://localhost:3001/api/instances/{EC2_ID}");
    assert_eq!(list.children[0].attribute("href"), Some(href.as_str()));
    world.end().await;
}
