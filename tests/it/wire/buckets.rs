//! `/api/buckets` and the blobs in them.

use futures_util::future::join_all;

use super::{EC2, ORIGIN, reference};
use crate::support::raw::{Answer, BAD, GOOD, JSON, Node, Raw};
use crate::support::world::World;

const BLOB1: &str = "/api/buckets/bucket1/blob1";

/// With a body of any bytes.
async fn send(raw: Raw, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    Answer::read(&raw.bytes(&[head(method, path, headers, body.len()).as_bytes(), body].concat()).await)
}

fn head(method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> String {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!(
        "{method} {path} HTTP/1.1\r\nConnection: close\r\nHost: localhost:3001\r\n{}: {}\r\n{headers}Content-Length: {length}\r\n\r\n",
        GOOD.0, GOOD.1
    )
}

/// The bytes of a content, as they came.
async fn content(raw: Raw, blob: &str) -> Vec<u8> {
    let answer = raw.bytes(head("GET", &format!("{blob}/content"), &[], 0).as_bytes()).await;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    assert_eq!(Answer::read(&answer).status, 200);
    answer[end + 4..].to_vec()
}

fn metadata(blob: &Node) -> Vec<(&str, &str)> {
    let entries = blob.child("user_metadata").children.iter();
    entries.map(|entry| (entry.attribute("key").unwrap(), entry.text.as_str())).collect()
}

fn said(answer: &Answer) -> String {
    answer.xml().child("message").text.clone()
}

/// `tests/deltacloud/buckets_test.rb`: what every bucket and blob must have.
#[tokio::test]
async fn buckets_have_a_size_and_their_blobs_all_details() {
    let world = reference().await;
    let raw = world.raw();
    let sizes: Vec<_> =
        raw.get("/api/buckets").await.xml().children.iter().map(|one| one.child("size").text.clone()).collect();
    assert_eq!(sizes, ["3", "2"]);
    for bucket in raw.get("/api/buckets").await.xml().children {
        let id = bucket.attribute("id").unwrap();
        let member = raw.get(&format!("/api/buckets/{id}")).await.xml();
        assert_eq!(member.all("blob").len(), bucket.all("blob").len());
        for listed in member.all("blob") {
            let (blob_id, href) = (listed.attribute("id").unwrap(), listed.attribute("href").unwrap());
            assert_eq!(href, format!("{ORIGIN}/api/buckets/{id}/{blob_id}"));
            let blob = raw.get(href.strip_prefix(ORIGIN).unwrap()).await.xml();
            assert_eq!((blob.name.as_str(), blob.attribute("id")), ("blob", Some(blob_id)));
            assert_eq!(blob.only("bucket").text, id);
            let length: usize = blob.only("content_length").text.parse().unwrap();
            assert!(!blob.only("content_type").text.is_empty() && !blob.only("last_modified").text.is_empty());
            let link = blob.only("content");
            assert_eq!(link.attribute("rel"), Some("blob_content"));
            assert_eq!(link.attribute("href"), Some(format!("{href}/content").as_str()));
            assert_eq!(content(raw, href.strip_prefix(ORIGIN).unwrap()).await.len(), length);
        }
    }
    world.end().await;
}

/// `tests/deltacloud/buckets_test.rb`: from the set-up to the clean-up.
#[tokio::test]
async fn a_bucket_and_blobs_live_as_the_suite_wants() {
    let world = reference().await;
    let raw = world.raw();
    assert_eq!(raw.get("/api/buckets").await.xml().children.len(), 2, "and it is remembered for a moment");
    let made = raw.send("POST", "/api/buckets", &[GOOD], "name=apitest1").await;
    assert_eq!((made.status, made.header("location")), (201, Some("http://localhost:3001/api/buckets/apitest1")));
    assert_eq!((made.xml().attribute("id"), made.xml().child("name").text.as_str()), (Some("apitest1"), "apitest1"));
    assert_eq!(raw.get("/api/buckets").await.xml().children.len(), 3);

    let blob = "/api/buckets/apitest1/blob";
    let described = [
        GOOD,
        ("Content-Type", "text/plain"),
        ("X-Deltacloud-Blobmeta-Version", "1.0"),
        ("X-Deltacloud-Blobmeta-Author", "herpyderp"),
    ];
    let put = raw.send("PUT", blob, &described, "This is the test blob content").await;
    assert_eq!((put.status, put.header("content-type")), (200, Some("application/xml")), "{put:?}");
    let shown = put.xml();
    assert_eq!(
        (shown.child("content_length").text.as_str(), shown.child("content_type").text.as_str()),
        ("29", "text/plain")
    );
    assert_eq!(metadata(&shown), [("author", "herpyderp"), ("version", "1.0")]);
    assert_eq!(raw.get("/api/buckets/apitest1").await.xml().child("size").text, "1");
    raw.ask("DELETE", "/api/buckets/apitest1", &[GOOD]).await.is_error(403);

    let meta = raw.ask("HEAD", blob, &[GOOD]).await;
    assert_eq!((meta.status, meta.body.as_str(), meta.header("content-type")), (204, "", None));
    assert_eq!(meta.header("x-deltacloud-blobmeta-version"), Some("1.0"));
    assert_eq!(meta.header("x-deltacloud-blobmeta-author"), Some("herpyderp"));
    assert_eq!((meta.header("content-length"), meta.header("transfer-encoding")), (None, None));
    assert_eq!(meta.header("server"), Some("Apache-Deltacloud/1.1.3"));

    let new = [("X-Deltacloud-Blobmeta-Author", "derpyherpy"), ("X-Deltacloud-Blobmeta-Updated", "true")];
    let set = raw.ask("POST", blob, &[GOOD, new[0], new[1]]).await;
    assert_eq!((set.status, set.header("content-type")), (204, None), "{set:?}");
    assert_eq!(set.header("x-deltacloud-blobmeta-updated"), Some("true"));
    let meta = raw.ask("HEAD", blob, &[GOOD]).await;
    assert_eq!(meta.header("x-deltacloud-blobmeta-author"), Some("derpyherpy"));
    assert_eq!(meta.header("x-deltacloud-blobmeta-version"), None, "the whole of it is replaced");
    assert_eq!(content(raw, blob).await, b"This is the test blob content");

    for path in [blob, "/api/buckets/apitest1"] {
        let gone = raw.ask("DELETE", path, &[GOOD]).await;
        assert_eq!((gone.status, gone.body.as_str(), gone.header("content-type")), (204, "", None));
        raw.get(path).await.is_error(404);
        raw.ask("DELETE", path, &[GOOD]).await.is_error(404);
    }
    assert_eq!(raw.get("/api/buckets").await.xml().children.len(), 2);
    world.end().await;
}

/// As a browser and the suite's client post it: a file among other fields.
#[tokio::test]
async fn a_blob_comes_by_multipart() {
    let world = reference().await;
    let raw = world.raw();
    let field = |name: &str, value: &str| {
        format!("--4ax\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").into_bytes()
    };
    let image = b"\x89PNG\r\n\x1a\n\0&_method=delete\r\n--4a\r\n";
    let file = b"--4ax\r\nContent-Disposition: form-data; name=\"blob_data\"; filename=\"s.png\"\r\nContent-Type: image/png\r\n\r\n";
    let fields = [("meta_params", "2"), ("meta_name1", "Author"), ("meta_value1", "herpyderp"), ("meta_name2", "Type")];
    let mut body = field("blob_id", "posted");
    body.extend([file.as_slice(), image, b"\r\n"].concat());
    fields.iter().for_each(|(name, value)| body.extend(field(name, value)));
    body.extend(b"--4ax--\r\n");
    let kind = ("Content-Type", "multipart/form-data; boundary=4ax");
    // The older gem says what is known of it in headers.
    let made = send(raw, "POST", "/api/buckets/bucket1", &[kind, ("X-Deltacloud-Blobmeta-Old", "gem")], &body).await;
    let href = format!("{ORIGIN}/api/buckets/bucket1/posted");
    assert_eq!((made.status, made.header("location")), (201, Some(href.as_str())), "{made:?}");
    let blob = made.xml();
    assert_eq!((blob.attribute("id"), blob.child("content_type").text.as_str()), (Some("posted"), "image/png"));
    assert_eq!(metadata(&blob), [("author", "herpyderp"), ("old", "gem"), ("type", "")]);
    assert_eq!(content(raw, "/api/buckets/bucket1/posted").await, image);
    let broken = send(raw, "POST", "/api/buckets/bucket1", &[kind], b"--4ax\r\nhush").await;
    assert_eq!(said(broken.is_error(400)), "The body is not multipart/form-data as it says");
    world.end().await;
}

/// As the current gem has it: everything in the query.
#[tokio::test]
async fn g09_a_bucket_and_a_blob_are_made_by_query_and_destroyed() {
    let world = reference().await;
    let raw = world.raw();
    let made = raw.ask("POST", "/api/buckets?name=foo123&location=eu", &[GOOD]).await;
    assert_eq!((made.status, made.xml().child("size").text.as_str()), (201, "0"));
    assert_eq!(raw.ask("DELETE", "/api/buckets/foo123", &[GOOD]).await.status, 204);
    raw.get("/api/buckets/foo123").await.is_error(404);

    let path = "/api/buckets/bucket1?meta_name1=key&meta_value1=value&meta_params=1&blob_id=fooblob123&blob_data=content_of_blob";
    let made = raw.ask("POST", path, &[GOOD]).await;
    assert_eq!(made.status, 201, "{made:?}");
    let blob = made.xml();
    assert_eq!((blob.child("bucket").text.as_str(), blob.child("content_length").text.as_str()), ("bucket1", "15"));
    assert_eq!((blob.child("content_type").text.as_str(), metadata(&blob)), ("text/plain", vec![("key", "value")]));
    assert_eq!(raw.ask("DELETE", "/api/buckets/bucket1/fooblob123", &[GOOD]).await.status, 204);
    // Escapes are bytes, in a query and in a form.
    for (path, form) in [("?blob_id=b&blob_data=%FF%00%2B+", ""), ("", "blob_id=b&blob_data=%FF%00%2B+")] {
        assert_eq!(raw.send("POST", &format!("/api/buckets/bucket2{path}"), &[GOOD], form).await.status, 201);
        assert_eq!(content(raw, "/api/buckets/bucket2/b").await, b"\xff\0+ ");
        assert_eq!(raw.ask("DELETE", "/api/buckets/bucket2/b", &[GOOD]).await.status, 204);
    }
    world.end().await;
}

#[tokio::test]
async fn buckets_and_blobs_as_json() {
    let world = reference().await;
    let raw = world.raw();
    let bucket = raw.ask("GET", "/api/buckets/bucket2", &[GOOD, JSON]).await.json();
    let blob4 =
        serde_json::json!({"rel": "blob", "id": "blob4", "href": format!("{ORIGIN}/api/buckets/bucket2/blob4")});
    assert_eq!((&bucket["bucket"]["size"], &bucket["bucket"]["blob_list"][0]), (&2.into(), &blob4));
    let blob = raw.get(&format!("{BLOB1}?format=json")).await;
    assert_eq!(blob.header("content-type"), Some("application/json"));
    let blob = &blob.json()["blob"];
    assert_eq!((&blob["bucket"], &blob["content_length"]), (&"bucket1".into(), &17.into()));
    assert_eq!(blob["user_metadata"], serde_json::json!({"somenewkey": "NEWVALUE"}));
    assert_eq!(blob["content"]["href"], format!("{ORIGIN}{BLOB1}/content"));
    raw.ask("GET", "/api/buckets/bucket1/unknown", &[GOOD, JSON]).await.is_error(404);
    world.end().await;
}

/// What looks like a form, or like a command, is bytes.
#[tokio::test]
async fn the_body_of_a_put_is_nothing_but_the_blob() {
    let world = World::reference(|api| (api.params_max, api.body_bytes_max) = (10, 100)).await;
    let raw = world.raw();
    let bodies: [&[u8]; 4] = [b"", b"_method=delete&a=%41", &b"a=b&".repeat(50), b"\xff\0\r\n"];
    for body in bodies {
        for kind in ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "image/png"] {
            let put = send(raw, "PUT", "/api/buckets/bucket1/b", &[("Content-Type", kind)], body).await;
            assert_eq!((put.status, put.xml().child("content_type").text.as_str()), (200, kind), "{put:?}");
            assert_eq!(content(raw, "/api/buckets/bucket1/b").await, body);
        }
    }
    let put = send(raw, "PUT", "/api/buckets/bucket1/b", &[], b"x").await;
    assert_eq!(put.xml().child("content_type").text, "application/octet-stream");
    // A header can stand for the PUT, a form cannot: its content would be the form.
    let override_ = ("X-HTTP-Method-Override", "PUT");
    assert_eq!(send(raw, "POST", "/api/buckets/bucket1/b", &[override_], b"_method=delete").await.status, 200);
    assert_eq!(content(raw, "/api/buckets/bucket1/b").await, b"_method=delete");
    send(raw, "POST", "/api/buckets/bucket1/b", &[], b"_method=put").await.is_error(400);
    assert_eq!(content(raw, "/api/buckets/bucket1/b").await, b"_method=delete");
    // But for a DELETE, as pages of old do.
    assert_eq!(send(raw, "POST", "/api/buckets/bucket1/b", &[], b"_method=delete").await.status, 204);
    // Only a form can say so.
    send(raw, "POST", "/api/buckets/bucket1", &[("Content-Type", "text/plain")], b"_method=delete").await.is_error(400);
    send(raw, "POST", "/api/buckets/bucket1", &[], b"_method=delete").await.is_error(403);
    world.end().await;
}

#[tokio::test]
async fn blobs_have_bounds_of_their_own() {
    let world = World::reference(|api| (api.body_bytes_max, api.blob_bytes_max) = (100, 1_000)).await;
    let raw = world.raw();
    let (fits, long) = ([b'x'; 1_000], [b'x'; 1_001]);
    assert_eq!(send(raw, "PUT", "/api/buckets/bucket1/b", &[], &fits).await.status, 200);
    let refused = send(raw, "PUT", "/api/buckets/bucket1/b", &[], &long).await;
    assert_eq!(said(refused.is_error(400)), "The body is longer than 1000 bytes");
    let form = [b"blob_id=c&blob_data=".as_slice(), &fits[..900]].concat();
    assert_eq!(send(raw, "POST", "/api/buckets/bucket1", &[], &form).await.status, 201);
    send(raw, "POST", "/api/buckets/bucket1", &[], &[form.as_slice(), &fits].concat()).await.is_error(400);
    // Elsewhere nothing has changed.
    let refused = send(raw, "POST", "/api/buckets", &[], &fits).await;
    assert_eq!(said(refused.is_error(400)), "The body is longer than 100 bytes");
    let refused = send(raw, "POST", "/api/buckets/bucket1/b", &[], &fits).await;
    assert_eq!(said(refused.is_error(400)), "The body is longer than 100 bytes");
    world.end().await;
}

#[tokio::test]
async fn only_so_many_blobs_are_held_at_once() {
    let world = World::with(|settings| (settings.api.blobs_max, settings.api.body_ms) = (1, 300)).await;
    let raw = world.raw();
    // Bodies that never come, all at once: the first holds the turn for as long as one is waited for, a second may get
    // it after that, and for the others it is too late.
    let request = head("PUT", "/api/buckets/bucket1/b", &[], 10);
    let answers = join_all((0..6).map(|_| async { Answer::read(&raw.bytes(request.as_bytes()).await) })).await;
    let (late, held): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 502);
    assert!(!late.is_empty() && !held.is_empty(), "{answers:?}");
    for busy in late {
        assert_eq!(said(busy.is_error(502)), "Too many blobs are being received; try again later");
        assert_eq!((busy.header("retry-after"), busy.header("connection")), (Some("5"), Some("close")));
    }
    for held in held {
        assert_eq!(said(held.is_error(400)), "The body did not come within 300 ms");
    }
    let held = raw.bytes(request.as_bytes());
    let others = async { assert_eq!(raw.get("/api").await.status, 200, "others do not wait") };
    futures_util::future::join(held, others).await;
    world.end().await;
}

#[tokio::test]
async fn t34_ids_are_escaped_in_hrefs_and_decoded_once() {
    let world = reference().await;
    let raw = world.raw();
    for (escaped, id) in
        [("a%20b%3Fc%23d", "a b?c#d"), ("a%252Fb", "a%2Fb"), ("%C3%A4%3C%27", "\u{e4}<'"), ("content", "content")]
    {
        let path = format!("/api/buckets/bucket%31/{escaped}");
        let put = send(raw, "PUT", &path, &[], id.as_bytes()).await;
        assert_eq!((put.status, put.xml().attribute("id")), (200, Some(id)), "{put:?}");
        let blob = put.xml();
        let href = blob.attribute("href").unwrap().strip_prefix(ORIGIN).unwrap();
        assert_eq!(href, format!("/api/buckets/bucket1/{escaped}"));
        assert_eq!(content(raw, href).await, id.as_bytes());
        let bucket = raw.get("/api/buckets/bucket1").await.xml();
        assert!(bucket.all("blob").iter().any(|one| one.attribute("id") == Some(id)), "{bucket:?}");
        assert_eq!(raw.ask("DELETE", href, &[GOOD]).await.status, 204);
    }
    world.end().await;
}

/// A stored page must not speak for Tracker.
#[tokio::test]
async fn a_content_is_served_as_its_own_type_and_locked_up() {
    let world = reference().await;
    let raw = world.raw();
    let kind = ("Content-Type", "text/html; charset=utf-8");
    send(raw, "PUT", "/api/buckets/bucket1/page.html", &[kind], b"<script>alert(1)</script>").await;
    let path = "/api/buckets/bucket1/page.html/content";
    for accept in ["application/xml", "image/png", "*/*"] {
        let page = raw.ask("GET", path, &[GOOD, ("Accept", accept)]).await;
        assert_eq!((page.status, page.body.as_str()), (200, "<script>alert(1)</script>"));
        assert_eq!((page.header("content-type"), page.header("content-length")), (Some(kind.1), Some("25")));
        assert_eq!(page.header("content-disposition"), Some("attachment; filename*=UTF-8''page.html"));
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("content-security-policy"), Some("default-src 'none'; sandbox"));
    }
    let head = raw.ask("HEAD", path, &[GOOD]).await;
    assert_eq!((head.status, head.body.as_str(), head.header("content-length")), (200, "", Some("25")));
    // What goes wrong is still told in documents.
    raw.get("/api/buckets/bucket1/unknown/content").await.is_error(404);
    raw.ask("GET", "/api/buckets/bucket1/unknown/content", &[GOOD, ("Accept", "image/png")]).await.is_error(404);
    raw.get("/api/buckets/unknown/blob1/content").await.is_error(404);
    raw.ask("GET", BLOB1, &[GOOD, ("Accept", "image/png")]).await.is_error(406);
    world.end().await;
}

#[tokio::test]
async fn what_is_unknown_taken_or_nonsense_is_refused() {
    let world = reference().await;
    let raw = world.raw();
    let check = async |method: &str, path: &str, status: u16, text: &str| {
        let answer = raw.ask(method, path, &[GOOD]).await;
        assert!(said(answer.is_error(status)).contains(text), "{method} {path}: {answer:?}");
    };
    check("POST", "/api/buckets", 400, "Required parameter 'name' not found in []").await;
    check("POST", "/api/buckets?name=", 400, "`name` must be from 1 to 1024 bytes").await;
    check("POST", "/api/buckets?name=..", 400, "`name` must be").await;
    check("POST", "/api/buckets?name=bucket1", 403, "bucket1").await;
    check("DELETE", "/api/buckets/bucket1", 403, "Delete operation not valid for non-empty bucket").await;
    check("DELETE", "/api/buckets/unknown", 404, "unknown").await;
    check("POST", "/api/buckets/bucket1?blob_data=x", 400, "Required parameter 'blob_id' not found in [blob_data]")
        .await;
    check("POST", "/api/buckets/bucket1?blob_id=x", 400, "Required parameter 'blob_data' not found in [blob_id]").await;
    check("POST", "/api/buckets/unknown?blob_id=x&blob_data=x", 404, "unknown").await;
    check("PUT", "/api/buckets/unknown/x", 404, "unknown").await;
    check("PUT", "/api/buckets/bucket1/a%0Ab", 400, "`blob_id` must be").await;
    check("POST", "/api/buckets/bucket1/unknown", 404, "unknown").await;
    check("DELETE", "/api/buckets/bucket1/unknown", 404, "unknown").await;
    check("GET", "/api/buckets/bucket1/unknown", 404, "There is no blob unknown").await;
    check("PATCH", BLOB1, 405, "").await;
    check("GET", "/api/buckets/bucket1/", 404, "").await;
    let head = raw.ask("HEAD", "/api/buckets/bucket1/unknown", &[GOOD]).await;
    assert_eq!((head.status, head.body.as_str()), (404, ""));
    let odd = ("X-Deltacloud-Blobmeta-Big", "x".repeat(8_190));
    raw.ask("POST", BLOB1, &[GOOD, (odd.0, &odd.1)]).await.is_error(400);
    let form = "blob_id=x&blob_data=x&meta_name1=a%20b";
    raw.send("POST", "/api/buckets/bucket1", &[GOOD], form).await.is_error(400);
    // Nothing came of any of it.
    assert_eq!(raw.get("/api/buckets/bucket1").await.xml().child("size").text, "3");
    assert_eq!(raw.ask("HEAD", BLOB1, &[GOOD]).await.header("x-deltacloud-blobmeta-somenewkey"), Some("NEWVALUE"));
    world.end().await;
}

#[tokio::test]
async fn blobs_are_the_callers_own_and_not_every_cloud_has_them() {
    let world = reference().await;
    let raw = world.raw();
    let calls = [
        ("GET", "/api/buckets"),
        ("POST", "/api/buckets?name=x"),
        ("DELETE", "/api/buckets/bucket1"),
        ("POST", "/api/buckets/bucket1?blob_id=x&blob_data=x"),
        ("GET", BLOB1),
        ("PUT", BLOB1),
        ("POST", BLOB1),
        ("DELETE", BLOB1),
        ("GET", "/api/buckets/bucket1/blob1/content"),
    ];
    for (method, path) in calls {
        for headers in [&[][..], &[BAD]] {
            let refused = raw.ask(method, path, headers).await;
            assert!(refused.is_error(401).header("www-authenticate").is_some(), "{method} {path}");
        }
        raw.ask(method, path, &[GOOD, EC2]).await.is_error(501);
    }
    assert_eq!(raw.ask("HEAD", BLOB1, &[]).await.status, 401);
    let options = raw.ask("OPTIONS", "/api/buckets", &[]).await;
    assert_eq!((options.status, options.header("allow")), (200, Some("OPTIONS,GET,HEAD,POST,DELETE")));
    assert_eq!(content(raw, BLOB1).await, b"content of blob 1");
    world.end().await;
}

#[tokio::test]
async fn nobody_sends_a_blob_before_his_cloud_knows_him() {
    let world = reference().await;
    // The bodies never come: who is refused is refused for what stands before them, and holds no turn.
    for credentials in [None, Some(BAD)] {
        let head = credentials.map(|(name, value)| format!("{name}: {value}\r\n")).unwrap_or_default();
        for kind in ["PUT /api/buckets/bucket1/b", "POST /api/buckets/bucket1"] {
            let form = "Content-Type: multipart/form-data; boundary=B";
            let request = format!("{kind} HTTP/1.1\r\nHost: h\r\n{head}{form}\r\nContent-Length: 100000\r\n\r\nabc");
            Answer::read(&world.raw().bytes(request.as_bytes()).await).is_error(401);
        }
    }
    world.end().await;
}
