//! A small OpenStack for the driver's contract: Keystone, Nova, Glance and Cinder on one address, with a memory. It refuses
//! what the real ones refuse, in their words. Tasks are done when told to get on, and not by themselves.

use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

pub const USER: &str = "alice+web";
pub const PASSWORD: &str = "alices-password";
pub const PROJECT: &str = "63d2e5104dc34ca6a99330dc5f50dab0";
/// There from the start, and public.
pub const IMAGE: &str = "115d5dd8-f0dd-4e78-b100-13ace4710e51";
pub const ZONE: &str = "az-b";
pub const NOBODY: &str = "00000000-0000-0000-0000-000000000000";
/// Fewer than a list of the contract has, so that lists have pages.
const PAGE_MAX: usize = 5;

#[derive(Clone)]
pub struct Nova {
    world: Arc<Mutex<World>>,
    address: String,
}

#[derive(Default)]
struct World {
    /// Of those who log in, if it is another than [`PROJECT`].
    project: Option<String>,
    /// Asked for by their ids these are answered with an error.
    broken: Vec<String>,
    /// Lists, but for those of changes, do not show these.
    hidden: Vec<String>,
    made: u64,
    tokens: Vec<String>,
    servers: Vec<Value>,
    /// What `changes-since` still tells of.
    deleted: Vec<Value>,
    volumes: Vec<Value>,
    snapshots: Vec<Value>,
    images: Vec<Value>,
    keys: Vec<Value>,
}

/// A status and a body.
type Answer = Result<(u16, Value), (u16, &'static str, String)>;

impl Nova {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let mut world = World::default();
        world.images.push(image(IMAGE, "cirros", "active", "somebody-else"));
        let nova = Self { world: Arc::new(Mutex::new(world)), address };
        let app = Router::new().fallback(answer).with_state(nova.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        nova
    }

    pub fn auth_url(&self) -> String {
        format!("http://{}/identity/", self.address)
    }

    /// There are these servers, active, and no others; the others left no trace. `project`: whoever logs in now is in that one, and
    /// what logged in before is so no more.
    pub fn holds(&self, ids: &[String], project: &str) {
        let mut world = self.world();
        if world.project.as_deref().unwrap_or(PROJECT) != project {
            world.tokens.clear();
        }
        world.project = Some(project.to_owned());
        let server = |id: &String| {
            json!({
                "id": id, "name": id, "status": "ACTIVE", "OS-EXT-STS:task_state": null, "tenant_id": project,
                "created": "2026-11-21T00:59:56Z", "image": {"id": IMAGE}, "flavor": {"original_name": "m1.tiny"},
                "OS-EXT-AZ:availability_zone": ZONE, "addresses": {}, "os-extended-volumes:volumes_attached": [],
            })
        };
        world.servers = ids.iter().map(server).collect();
    }

    /// Asked for by their ids these are answered with an error.
    pub fn breaks(&self, ids: &[String]) {
        self.world().broken = ids.to_vec();
    }

    /// Lists, but for those of changes, do not show these.
    pub fn hides(&self, ids: &[String]) {
        self.world().hidden = ids.to_vec();
    }

    /// Every task that is under way is done.
    pub fn get_on(&self) {
        let mut world = self.world();
        let (gone, left): (Vec<_>, Vec<_>) =
            std::mem::take(&mut world.servers).into_iter().partition(|one| one["OS-EXT-STS:task_state"] == "deleting");
        world.servers = left;
        world.deleted.extend(gone.into_iter().map(|mut server| {
            server["status"] = json!("DELETED");
            server["OS-EXT-STS:task_state"] = Value::Null;
            server
        }));
        for server in &mut world.servers {
            let status = match server["OS-EXT-STS:task_state"].as_str() {
                Some("powering-off") => "SHUTOFF",
                Some(_) => "ACTIVE",
                None => continue,
            };
            server["status"] = json!(status);
            server["OS-EXT-STS:task_state"] = Value::Null;
        }
        world.volumes.retain(|volume| volume["status"] != "deleting");
        for volume in &mut world.volumes {
            match volume["status"].as_str() {
                Some("creating") => volume["status"] = json!("available"),
                Some("attaching") => volume["status"] = json!("in-use"),
                Some("detaching") => {
                    volume["status"] = json!("available");
                    volume["attachments"] = json!([]);
                }
                _ => {}
            }
        }
        world.snapshots.retain(|snapshot| snapshot["status"] != "deleting");
        world.snapshots.iter_mut().for_each(|snapshot| snapshot["status"] = json!("available"));
        world.images.iter_mut().for_each(|image| image["status"] = json!("active"));
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no panic")
    }

    fn token(&self, body: &Value) -> Response {
        let login = &body["auth"]["identity"]["password"]["user"];
        let good = login["name"] == "alice"
            && login["password"] == PASSWORD
            && body["auth"]["scope"]["project"]["name"] == "web";
        if !good {
            let message = "The request you have made requires authentication.";
            let error = json!({"error": {"code": 401, "message": message, "title": "Unauthorized"}});
            return (StatusCode::UNAUTHORIZED, error.to_string()).into_response();
        }
        let mut world = self.world();
        let token = format!("token-{}", world.tokens.len());
        world.tokens.push(token.clone());
        let endpoint = |kind: &str, path: &str| {
            let url = format!("http://{}{path}", self.address);
            json!({"type": kind, "endpoints": [{"interface": "public", "region_id": "RegionOne", "url": url}]})
        };
        let catalog =
            [endpoint("compute", "/compute"), endpoint("image", "/image"), endpoint("volumev3", "/volume/v3")];
        let issued = json!({"token": {
            "issued_at": "2026-11-21T00:00:00.000000Z", "expires_at": "2026-11-21T12:00:00.000000Z",
            "project": {"id": world.project.as_deref().unwrap_or(PROJECT)}, "catalog": catalog,
        }});
        (StatusCode::CREATED, [("x-subject-token", token)], issued.to_string()).into_response()
    }
}

async fn answer(State(nova): State<Nova>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    if uri.path() == "/identity/v3/auth/tokens" {
        return nova.token(&body);
    }
    let token = headers.get("x-auth-token").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let mut world = nova.world();
    let answer = if world.tokens.contains(&token) {
        let path: Vec<&str> = uri.path().split('/').skip(1).collect();
        let query: Vec<(String, String)> =
            form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        world.answer(&method, &path, &query, &body)
    } else {
        Err((401, "error", "The request you have made requires authentication.".to_owned()))
    };
    let (status, body) =
        answer.unwrap_or_else(|(status, word, message)| (status, json!({word: {"code": status, "message": message}})));
    let text = if body.is_null() { String::new() } else { body.to_string() };
    (StatusCode::from_u16(status).expect("a status"), text).into_response()
}

impl World {
    fn answer(&mut self, method: &Method, path: &[&str], query: &[(String, String)], body: &Value) -> Answer {
        match (method.as_str(), path) {
            ("GET", ["compute", "v2.1", "servers"] | ["compute", "v2.1", "servers", "detail"]) => {
                let reservation =
                    query.iter().find(|(name, _)| name == "reservation_id").map(|(_, value)| value.clone());
                let mut all = self.servers.clone();
                // However long ago: who asks drops what he knows.
                if query.iter().any(|(name, _)| name == "changes-since") {
                    all.extend(self.deleted.iter().cloned());
                } else {
                    all.retain(|one| !self.hidden.iter().any(|id| one["id"] == json!(id)));
                }
                all.retain(|one| reservation.as_ref().is_none_or(|id| one["reservation_id"] == json!(id)));
                Ok((200, page("servers", &all, query)))
            }
            ("POST", ["compute", "v2.1", "servers"]) => self.create(&body["server"]),
            ("GET", ["compute", "v2.1", "servers", id]) if self.broken.iter().any(|broken| broken == id) => {
                Err((500, "computeFault", "Unexpected API Error.".to_owned()))
            }
            ("GET", ["compute", "v2.1", "servers", id]) => Ok((200, json!({"server": self.server(id)?}))),
            ("DELETE", ["compute", "v2.1", "servers", id]) => {
                let server = self.server(id)?;
                server["OS-EXT-STS:task_state"] = json!("deleting");
                Ok((204, Value::Null))
            }
            ("POST", ["compute", "v2.1", "servers", id, "action"]) => self.act(id, body),
            ("POST", ["compute", "v2.1", "servers", id, "os-volume_attachments"]) => {
                self.attach(id, &body["volumeAttachment"])
            }
            ("DELETE", ["compute", "v2.1", "servers", id, "os-volume_attachments", volume]) => self.detach(id, volume),
            ("GET", ["compute", "v2.1", "flavors", "detail"]) => Ok((200, page("flavors", &flavors(), query))),
            ("GET", ["compute", "v2.1", "os-availability-zone"]) => {
                let zone = |name: &str| json!({"zoneName": name, "zoneState": {"available": true}, "hosts": null});
                Ok((200, json!({"availabilityZoneInfo": [zone("nova"), zone(ZONE)]})))
            }
            ("GET", ["compute", "v2.1", "os-availability-zone", "detail"] | ["compute", "v2.1", "os-services"]) => {
                Err((403, "forbidden", "Policy doesn't allow it to be performed.".to_owned()))
            }
            ("GET", ["compute", "v2.1", "os-keypairs"]) => {
                let pairs: Vec<Value> = self.keys.iter().map(|key| json!({"keypair": key})).collect();
                Ok((200, json!({"keypairs": pairs})))
            }
            ("POST", ["compute", "v2.1", "os-keypairs"]) => {
                let name = body["keypair"]["name"].as_str().expect("a name");
                if self.keys.iter().any(|key| key["name"] == name) {
                    return Err((409, "conflictingRequest", format!("Key pair '{name}' already exists.")));
                }
                let fingerprint = self.id();
                self.keys.push(json!({"name": name, "fingerprint": fingerprint}));
                Ok((201, json!({"keypair": {"name": name, "fingerprint": fingerprint, "private_key": "-----NOTAKEY"}})))
            }
            ("GET", ["compute", "v2.1", "os-keypairs", name]) => {
                let key = self.keys.iter().find(|key| key["name"] == *name);
                key.map(|key| (200, json!({"keypair": key}))).ok_or_else(|| gone("Keypair", name))
            }
            ("DELETE", ["compute", "v2.1", "os-keypairs", name]) => {
                take(&mut self.keys, "name", name).map(|_| (204, Value::Null)).ok_or_else(|| gone("Keypair", name))
            }
            ("GET", ["image", "v2", "images"]) => {
                let mut page = page("images", &self.images, query);
                if let Some(links) = page.as_object_mut().expect("an object").remove("images_links") {
                    page["next"] = links[0]["href"].clone();
                }
                Ok((200, page))
            }
            ("GET", ["image", "v2", "images", id]) => {
                let image = self.images.iter().find(|image| image["id"] == *id);
                image.map(|image| (200, image.clone())).ok_or_else(|| gone("Image", id))
            }
            ("DELETE", ["image", "v2", "images", id]) => {
                take(&mut self.images, "id", id).map(|_| (204, Value::Null)).ok_or_else(|| gone("Image", id))
            }
            ("GET", ["volume", "v3", PROJECT, kind @ ("volumes" | "snapshots"), "detail"]) => {
                Ok((200, page(kind, self.of(kind), query)))
            }
            ("GET", ["volume", "v3", PROJECT, kind @ ("volumes" | "snapshots"), id]) => {
                Ok((200, json!({kind.trim_end_matches('s'): find(self.of(kind), kind, id)?})))
            }
            ("POST", ["volume", "v3", PROJECT, "volumes"]) => self.create_volume(&body["volume"]),
            ("POST", ["volume", "v3", PROJECT, "snapshots"]) => {
                let of = body["snapshot"]["volume_id"].as_str().expect("a volume").to_owned();
                let size = find(&mut self.volumes, "Volume", &of)?["size"].clone();
                let mut snapshot = body["snapshot"].clone();
                snapshot["id"] = json!(self.id());
                snapshot["size"] = size;
                snapshot["status"] = json!("creating");
                self.snapshots.push(snapshot.clone());
                Ok((202, json!({"snapshot": snapshot})))
            }
            ("DELETE", ["volume", "v3", PROJECT, kind @ ("volumes" | "snapshots"), id]) => {
                let one = find(self.of(kind), kind, id)?;
                if !["available", "error"].contains(&one["status"].as_str().expect("a status")) {
                    let message = "Invalid volume: Volume status must be available or error or error_restoring.";
                    return Err((400, "badRequest", message.to_owned()));
                }
                one["status"] = json!("deleting");
                Ok((202, Value::Null))
            }
            _ => Err((404, "itemNotFound", "The resource could not be found.".to_owned())),
        }
    }

    fn of(&mut self, kind: &str) -> &mut Vec<Value> {
        if kind == "volumes" { &mut self.volumes } else { &mut self.snapshots }
    }

    fn id(&mut self) -> String {
        self.made += 1;
        // In no order of the ids' text.
        format!("{:08x}-0000-4000-8000-{:012x}", (self.made as u32).wrapping_mul(0x9e37_79b9), self.made)
    }

    fn server(&mut self, id: &str) -> Result<&mut Value, (u16, &'static str, String)> {
        find(&mut self.servers, "Instance", id)
    }

    fn create(&mut self, asked: &Value) -> Answer {
        let bad = |message: &str| Err((400, "badRequest", message.to_owned()));
        if !self.images.iter().any(|image| image["id"] == asked["imageRef"]) {
            return bad("Can not find requested image");
        }
        let Some(flavor) = flavors().into_iter().find(|flavor| flavor["id"] == asked["flavorRef"]) else {
            return bad("Flavor could not be found.");
        };
        let zone = asked["availability_zone"].as_str().unwrap_or("nova");
        if !["nova", ZONE].contains(&zone) {
            return bad("The requested availability zone is not available");
        }
        let reservation = format!("r-{}", self.id());
        let mut first = None;
        for _ in 0..asked["min_count"].as_u64().unwrap_or(1) {
            let id = self.id();
            first.get_or_insert_with(|| id.clone());
            self.servers.push(json!({
                "id": id, "name": asked["name"], "status": "BUILD", "OS-EXT-STS:task_state": "scheduling",
                "tenant_id": PROJECT, "created": "2026-11-21T00:59:56Z", "image": {"id": asked["imageRef"]},
                "flavor": {"original_name": flavor["name"]}, "OS-EXT-AZ:availability_zone": zone, "addresses": {},
                "key_name": asked["key_name"], "os-extended-volumes:volumes_attached": [], "reservation_id": reservation,
            }));
        }
        let answer = match asked["return_reservation_id"] == true {
            true => json!({"reservation_id": reservation}),
            false => json!({"server": {"id": first, "adminPass": "NOTAPASSWORD"}}),
        };
        Ok((202, answer))
    }

    fn act(&mut self, id: &str, body: &Value) -> Answer {
        let (action, _) = body.as_object().and_then(|body| body.iter().next()).expect("an action");
        let server = self.server(id)?;
        let (from, task) = match action.as_str() {
            "os-start" => ("SHUTOFF", "powering-on"),
            "os-stop" => ("ACTIVE", "powering-off"),
            "reboot" => ("ACTIVE", "rebooting"),
            "createImage" => ("ACTIVE", ""),
            other => panic!("nobody asks for {other} here"),
        };
        if server["status"] != from || !server["OS-EXT-STS:task_state"].is_null() {
            let message = format!("Cannot '{action}' instance {id} while it is in vm_state {}", server["status"]);
            return Err((409, "conflictingRequest", message));
        }
        if action == "createImage" {
            let image_id = self.id();
            let mut made = image(&image_id, body["createImage"]["name"].as_str().expect("a name"), "saving", PROJECT);
            made["description"] = body["createImage"]["metadata"]["description"].clone();
            self.images.push(made);
            return Ok((202, json!({"image_id": image_id})));
        }
        server["OS-EXT-STS:task_state"] = json!(task);
        if action == "reboot" {
            server["status"] = json!("REBOOT");
        }
        Ok((202, Value::Null))
    }

    fn create_volume(&mut self, asked: &Value) -> Answer {
        let mut size = asked["size"].clone();
        if let Some(snapshot) = asked["snapshot_id"].as_str() {
            let of = find(&mut self.snapshots, "Snapshot", snapshot)?;
            if size.is_null() {
                size = of["size"].clone();
            }
        }
        let mut volume = asked.clone();
        volume["id"] = json!(self.id());
        volume["size"] = size;
        volume["status"] = json!("creating");
        volume["attachments"] = json!([]);
        if volume["availability_zone"].is_null() {
            volume["availability_zone"] = json!("nova");
        }
        self.volumes.push(volume.clone());
        Ok((202, json!({"volume": volume})))
    }

    fn attach(&mut self, id: &str, asked: &Value) -> Answer {
        let volume_id = asked["volumeId"].as_str().expect("a volume").to_owned();
        self.server(id)?;
        let volume = find(&mut self.volumes, "Volume", &volume_id)?;
        if volume["status"] != "available" {
            let message = format!("Invalid volume: volume {volume_id} status must be 'available' or 'downloading'.");
            return Err((400, "badRequest", message));
        }
        volume["status"] = json!("attaching");
        let device = asked["device"].as_str().unwrap_or("/dev/vdb");
        volume["attachments"] = json!([{"server_id": id, "device": device}]);
        let server = self.server(id)?;
        server["os-extended-volumes:volumes_attached"].as_array_mut().expect("a list").push(json!({"id": volume_id}));
        Ok((200, json!({"volumeAttachment": {"volumeId": volume_id, "device": device, "serverId": id}})))
    }

    fn detach(&mut self, id: &str, volume_id: &str) -> Answer {
        let attached = self.server(id)?["os-extended-volumes:volumes_attached"].as_array_mut().expect("a list");
        if take(attached, "id", volume_id).is_none() {
            return Err(gone("volume_id", volume_id));
        }
        find(&mut self.volumes, "Volume", volume_id)?["status"] = json!("detaching");
        Ok((202, Value::Null))
    }
}

fn flavors() -> Vec<Value> {
    let flavor = |id: &str, name: &str, vcpus: u64, ram: u64| json!({"id": id, "name": name, "vcpus": vcpus, "ram": ram, "disk": 10});
    vec![flavor("3", "m1.medium", 2, 4096), flavor("1", "m1.tiny", 1, 512), flavor("2", "m1.small", 1, 2048)]
}

fn image(id: &str, name: &str, status: &str, owner: &str) -> Value {
    json!({
        "id": id, "name": name, "status": status, "owner": owner, "visibility": "public", "protected": false,
        "hw_architecture": "x86_64", "created_at": "2026-11-21T00:59:21Z",
    })
}

fn find<'a>(all: &'a mut [Value], kind: &str, id: &str) -> Result<&'a mut Value, (u16, &'static str, String)> {
    all.iter_mut().find(|one| one["id"] == id).ok_or_else(|| gone(kind, id))
}

fn take(all: &mut Vec<Value>, name: &str, value: &str) -> Option<Value> {
    let at = all.iter().position(|one| one[name] == value)?;
    Some(all.remove(at))
}

fn gone(kind: &str, id: &str) -> (u16, &'static str, String) {
    (404, "itemNotFound", format!("{kind} {id} could not be found."))
}

/// As many as asked for and allowed, from behind the marker on, with a link to the next page after a full one.
fn page(name: &str, all: &[Value], query: &[(String, String)]) -> Value {
    let of = |wanted: &str| query.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let limit = of("limit").and_then(|text| text.parse().ok()).unwrap_or(PAGE_MAX).min(PAGE_MAX);
    let from =
        of("marker").map_or(0, |marker| all.iter().position(|one| one["id"] == marker).map_or(all.len(), |at| at + 1));
    let some: Vec<&Value> = all.iter().skip(from).take(limit).collect();
    let mut page = json!({name: some});
    if some.len() == limit {
        let last = some.last().map_or(Value::Null, |one| one["id"].clone());
        let href = format!("http://inside/x?limit={limit}&marker={}", last.as_str().unwrap_or_default());
        page[format!("{name}_links")] = json!([{"rel": "next", "href": href}]);
    }
    page
}
