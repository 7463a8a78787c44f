//! `/api/firewalls`. The mock cloud has none, as in the reference; here it has some of the tests' own.

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use tracker::drivers::{Error, Firewalls, Kind};
use tracker::model::{Firewall, Login, NewFirewall, NewRule, Rule, Source};

use super::{ORIGIN, reference};
use crate::support::faulty::Faulty;
use crate::support::raw::{GOOD, JSON};
use crate::support::world::World;

/// Firewalls in memory. The first is there from the start and in use.
pub(super) struct Walls(Mutex<Vec<Firewall>>);

impl Walls {
    pub(super) fn new() -> Self {
        let owner = Some("mockuser".to_owned());
        let description = "what all have".to_owned();
        Self(Mutex::new(vec![Firewall {
            id: "sg-1".to_owned(),
            name: "default".to_owned(),
            description,
            owner,
            rules: Vec::new(),
        }]))
    }

    fn all(&self) -> MutexGuard<'_, Vec<Firewall>> {
        self.0.lock().unwrap()
    }

    fn with<T>(&self, id: &str, change: impl FnOnce(&mut Firewall) -> Result<T, Error>) -> Result<T, Error> {
        let mut all = self.all();
        let found = all.iter_mut().find(|firewall| firewall.id == id);
        change(found.ok_or_else(|| Error::new(Kind::NotFound, format!("no firewall {id}")))?)
    }
}

#[async_trait]
impl Firewalls for Walls {
    async fn firewalls(&self, _: &Login) -> Result<Vec<Firewall>, Error> {
        Ok(self.all().clone())
    }

    async fn firewall(&self, _: &Login, id: &str) -> Result<Option<Firewall>, Error> {
        Ok(self.all().iter().find(|firewall| firewall.id == id).cloned())
    }

    async fn create_firewall(&self, _: &Login, new: &NewFirewall) -> Result<Firewall, Error> {
        let mut all = self.all();
        if all.iter().any(|firewall| firewall.name == new.name) {
            return Err(Error::new(Kind::Forbidden, "the name is taken"));
        }
        let NewFirewall { name, description } = new.clone();
        let id = format!("sg-{}", all.len() + 1);
        let firewall = Firewall { id, name, description, owner: None, rules: Vec::new() };
        all.push(firewall.clone());
        Ok(firewall)
    }

    async fn destroy_firewall(&self, _: &Login, id: &str) -> Result<(), Error> {
        if id == "sg-1" {
            return Err(Error::new(Kind::Conflict, "it is in use"));
        }
        self.with(id, |_| Ok(()))?;
        self.all().retain(|firewall| firewall.id != id);
        Ok(())
    }

    async fn create_rule(&self, _: &Login, id: &str, new: &NewRule) -> Result<Firewall, Error> {
        let network = |text: &String| {
            let (address, prefix) = text.split_once('/').expect("tests give a prefix");
            Source::Network { family: "ipv4", address: address.to_owned(), prefix: prefix.to_owned() }
        };
        let group =
            |(name, owner): &(String, Option<String>)| Source::Group { name: name.clone(), owner: owner.clone() };
        let rule = Rule {
            // As odd as the ids of rules are at EC2, and odder.
            id: format!("{}~{}/{}@;x", new.protocol, new.port_from, new.port_to),
            protocol: new.protocol.clone(),
            port_from: Some(new.port_from.clone()),
            port_to: Some(new.port_to.clone()),
            direction: "ingress",
            sources: new.networks.iter().map(network).chain(new.groups.iter().map(group)).collect(),
        };
        self.with(id, |firewall| {
            firewall.rules.push(rule);
            Ok(firewall.clone())
        })
    }

    async fn destroy_rule(&self, _: &Login, id: &str, rule: &str) -> Result<(), Error> {
        self.with(id, |firewall| {
            let at = firewall.rules.iter().position(|one| one.id == rule);
            firewall.rules.remove(at.ok_or_else(|| Error::new(Kind::NotFound, format!("no rule {rule}")))?);
            Ok(())
        })
    }
}

async fn walled() -> World {
    World::around(
        |mock| {
            let faulty = Faulty::new(mock).walled(Arc::new(Walls::new()));
            Arc::new(faulty.offering(&["firewalls", "instances"]))
        },
        |_| {},
    )
    .await
}

#[tokio::test]
async fn firewalls_are_listed_and_shown() {
    let world = walled().await;
    let raw = world.raw();
    let api = raw.get("/api").await.xml();
    let href = format!("{ORIGIN}/api/firewalls");
    assert!(api.children.iter().any(|link| link.attribute("href") == Some(&href)), "{api:?}");
    let list = raw.get("/api/firewalls").await;
    assert!(list.header("etag").is_some());
    let list = list.xml();
    assert_eq!((list.name.as_str(), list.children.len()), ("firewalls", 1));
    for shown in [&list.children[0], &raw.get("/api/firewalls/sg-1").await.xml()] {
        assert_eq!(shown.attribute("href"), Some(format!("{href}/sg-1").as_str()));
        let texts = ["name", "description", "owner_id"].map(|name| shown.only(name).text.as_str());
        assert_eq!(texts, ["default", "what all have", "mockuser"]);
        assert!(shown.child("rules").children.is_empty());
    }
    assert_eq!(raw.ask("GET", "/api/firewalls/sg-1", &[GOOD, JSON]).await.json()["firewall"]["owner_id"], "mockuser");
    assert_eq!(raw.get("/api/firewalls?id=sg-9").await.xml().children.len(), 0);
    raw.get("/api/firewalls/sg-9").await.is_error(404);
    raw.get("/api/firewalls/").await.is_error(404);
    raw.ask("GET", "/api/firewalls", &[]).await.is_error(401);
    world.end().await;
}

#[tokio::test]
async fn a_firewall_is_made_and_destroyed() {
    let world = walled().await;
    let raw = world.raw();
    assert_eq!(raw.get("/api/firewalls").await.xml().children.len(), 1);
    let made = raw.ask("POST", "/api/firewalls?name=web&description=", &[GOOD]).await;
    assert_eq!((made.status, made.header("location")), (201, Some("http://localhost:3001/api/firewalls/sg-2")));
    assert_eq!((made.xml().name.as_str(), made.xml().child("name").text.as_str()), ("firewall", "web"));
    assert_eq!(raw.get("/api/firewalls").await.xml().children.len(), 2);
    raw.ask("POST", "/api/firewalls?name=web&description=again", &[GOOD]).await.is_error(403);
    raw.ask("POST", "/api/firewalls?name=db", &[GOOD]).await.is_error(400);
    raw.ask("POST", "/api/firewalls?description=x", &[GOOD]).await.is_error(400);
    raw.ask("DELETE", "/api/firewalls/sg-1", &[GOOD]).await.is_error(405);
    let gone = raw.ask("DELETE", "/api/firewalls/sg-2", &[GOOD]).await;
    assert_eq!((gone.status, gone.body.as_str()), (204, ""));
    raw.ask("DELETE", "/api/firewalls/sg-2", &[GOOD]).await.is_error(404);
    assert_eq!(raw.get("/api/firewalls").await.xml().children.len(), 1);
    world.end().await;
}

#[tokio::test]
async fn a_rule_is_added_shown_and_taken_away_by_its_link() {
    let world = walled().await;
    let raw = world.raw();
    let before = raw.get("/api/firewalls/sg-1").await.xml();
    let link = |rel| before.child("actions").children.iter().find(|link| link.attribute("rel") == Some(rel)).unwrap();
    for rel in ["add_rule", "update"] {
        assert_eq!(link(rel).attribute("href"), Some(format!("{ORIGIN}/api/firewalls/sg-1/rules").as_str()));
        assert_eq!(link(rel).attribute("method"), Some("post"));
    }
    let form = "protocol=tcp&port_from=22&port_to=23&ip_address1=10.0.0.0/8&group1=db&group1owner=7";
    let added = raw.send("POST", "/api/firewalls/sg-1/rules", &[GOOD], form).await;
    assert_eq!(added.status, 201, "{added:?}");
    for shown in [added.xml(), raw.get("/api/firewalls/sg-1").await.xml()] {
        let rule = shown.child("rules").child("rule");
        let texts = ["allow_protocol", "port_from", "port_to", "direction"].map(|name| rule.child(name).text.as_str());
        assert_eq!(texts, ["tcp", "22", "23", "ingress"]);
        let [network, group] = &rule.child("sources").children[..] else { panic!("two: {rule:?}") };
        let network = ["type", "family", "address", "prefix"].map(|key| network.attribute(key).unwrap());
        assert_eq!(network, ["address", "ipv4", "10.0.0.0", "8"]);
        let group = ["type", "name", "owner"].map(|key| group.attribute(key).unwrap());
        assert_eq!(group, ["group", "db", "7"]);
    }
    let shown = added.xml();
    let rule = shown.child("rules").child("rule");
    assert_eq!(rule.attribute("id"), Some("tcp~22/23@;x"));
    let destroy = rule.child("actions").child("link");
    assert_eq!((destroy.attribute("rel"), destroy.attribute("method")), (Some("destroy"), Some("delete")));
    let path = destroy.attribute("href").unwrap().strip_prefix(ORIGIN).unwrap();
    assert_eq!(raw.ask("DELETE", path, &[GOOD]).await.status, 204, "{path}");
    raw.ask("DELETE", path, &[GOOD]).await.is_error(404);
    assert!(raw.get("/api/firewalls/sg-1").await.xml().child("rules").children.is_empty());
    world.end().await;
}

#[tokio::test]
async fn a_rule_that_makes_no_sense_is_not_added() {
    let world = walled().await;
    let raw = world.raw();
    let check = async |form: &str, said: &str| {
        let answer = raw.send("POST", "/api/firewalls/sg-1/rules", &[GOOD], form).await;
        assert_eq!(answer.is_error(400).xml().child("message").text, said, "{form}");
    };
    let required = "Required parameter 'port_to' not found in [protocol, port_from]";
    check("protocol=tcp&port_from=22", required).await;
    check("protocol=gre&port_from=1&port_to=2&ip_address1=::/0", "`protocol` must be one of tcp, udp, icmp").await;
    let sources = "No sources. Specify at least one source ip_address or group";
    check("protocol=tcp&port_from=1&port_to=2&ip_address1=", sources).await;
    let form = "protocol=tcp&port_from=22&port_to=22&ip_address1=10.0.0.0/8";
    raw.send("POST", "/api/firewalls/sg-9/rules", &[GOOD], form).await.is_error(404);
    raw.send("POST", "/api/firewalls/sg-1/rules", &[], form).await.is_error(401);
    assert!(raw.get("/api/firewalls/sg-1").await.xml().child("rules").children.is_empty());
    world.end().await;
}

#[tokio::test]
async fn a_cloud_without_firewalls_neither_advertises_nor_does_them() {
    let world = reference().await;
    let raw = world.raw();
    let api = raw.get("/api").await.xml();
    assert!(!api.children.iter().any(|link| link.attribute("rel") == Some("firewalls")), "{api:?}");
    let form = "name=x&description=x&protocol=tcp&port_from=1&port_to=2&ip_address1=::/0";
    for (method, path) in [
        ("GET", "/api/firewalls"),
        ("GET", "/api/firewalls/sg-1"),
        ("POST", "/api/firewalls"),
        ("DELETE", "/api/firewalls/sg-1"),
        ("POST", "/api/firewalls/sg-1/rules"),
        ("DELETE", "/api/firewalls/sg-1/rule"),
    ] {
        raw.send(method, path, &[GOOD], form).await.is_error(501);
    }
    world.end().await;
}
