//! Everything but machines, against moto: each noun from its making to its end, with boto3 looking on.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use tracker::drivers::{Addresses, Driver, Ec2Settings, Error, Firewalls, Keys, Kind, Storage};
use tracker::model::{
    Action, Credentials, DriverId, ExposeSecret as _, InstanceId, KeyKind, Login, Mount, NewFirewall, NewImage,
    NewInstance, NewKey, NewRule, NewSnapshot, NewVolume, Rule, Source, Volume, VolumeAction,
};

use super::{at, driver};
use crate::support::moto::{self, Moto, OWN_IMAGE};

/// An account of its own, the driver, and a user of boto3.
struct Aws {
    driver: Arc<dyn Driver>,
    login: Login,
    moto: &'static Moto,
    python: PathBuf,
}

impl Aws {
    /// `None`: it cannot be set up here, which has been said. Pages are as short as EC2 has them.
    fn new(test: &str) -> Option<Self> {
        let (python, moto) = (moto::python(test)?, Moto::shared("the nouns of ec2")?);
        let driver = driver(Ec2Settings { page_size: 5, ..at(moto.endpoint()) }, &[]);
        let login = Login { driver: DriverId::new("ec2"), provider: None, credentials: moto.new_account() };
        Some(Self { driver, login, moto, python })
    }

    fn storage(&self) -> &dyn Storage {
        self.driver.storage().expect("offered")
    }

    fn keys(&self) -> &dyn Keys {
        self.driver.keys().expect("offered")
    }

    fn addresses(&self) -> &dyn Addresses {
        self.driver.addresses().expect("offered")
    }

    fn firewalls(&self) -> &dyn Firewalls {
        self.driver.firewalls().expect("offered")
    }

    async fn instance(&self) -> String {
        let new = NewInstance {
            image: OWN_IMAGE.to_owned(),
            realm: Some("us-east-1a".to_owned()),
            count: 1,
            ..NewInstance::default()
        };
        self.driver.create_instance(&self.login, &new).await.expect("made").remove(0).id.0
    }

    async fn volume(&self, name: Option<&str>) -> Volume {
        let new =
            NewVolume { realm: Some("us-east-1a".to_owned()), name: name.map(str::to_owned), ..NewVolume::default() };
        self.storage().create_volume(&self.login, &new).await.expect("made")
    }

    async fn look(&self, volume: &str) -> Option<Volume> {
        let ids = BTreeSet::from([volume.to_owned()]);
        self.storage().volumes_by_id(&self.login, &ids).await.expect("a look").pop()
    }

    /// What boto3 has to say.
    async fn boto(&self, method: &str, arguments: Value) -> Value {
        let (key, arguments) = (self.login.credentials.user.as_str(), arguments.to_string());
        let args = [self.moto.endpoint(), "us-east-1", "as", key, "call", method, &arguments];
        let ran = moto::run(&self.python, "instance.py", &args, "").await;
        assert_eq!(ran.status, 0, "{method}: {}", ran.stderr);
        serde_json::from_str(&ran.stdout).expect("JSON")
    }
}

fn kind<T: std::fmt::Debug>(answer: Result<T, Error>) -> Kind {
    answer.expect_err("refused").kind
}

fn on(instance: &str, device: &str) -> Mount {
    Mount { instance: instance.to_owned(), device: device.to_owned() }
}

#[tokio::test]
async fn a_volume_lives_as_in_ebs() {
    let Some(aws) = Aws::new("a_volume_lives_as_in_ebs") else { return };
    let (storage, login) = (aws.storage(), &aws.login);
    let web = aws.instance().await;
    let made = aws.volume(Some("data")).await;
    let volume = aws.look(&made.id).await.expect("there");
    assert_eq!(
        (volume.state.as_str(), volume.native_state.as_str(), volume.settling),
        ("AVAILABLE", "available", false)
    );
    assert_eq!((volume.name.as_deref(), volume.realm.as_deref()), (Some("data"), Some("us-east-1a")));
    assert_eq!((volume.capacity.as_str(), volume.kind.as_deref()), ("1", Some("gp2")));
    assert_eq!(volume.actions, [VolumeAction::Attach, VolumeAction::Destroy]);
    let somewhere = storage.create_volume(login, &NewVolume::default()).await.expect("in some zone");
    assert_eq!(somewhere.realm.as_deref(), Some("us-east-1a"));

    // Attached where there is room, twice; then nobody else can have it.
    let attached = storage.attach(login, &volume.id, &on(&web, "")).await.expect("attached");
    assert_eq!((attached.state.as_str(), &attached.mount), ("IN-USE", &Some(on(&web, "/dev/sdf"))));
    assert_eq!(attached.actions, [VolumeAction::Detach]);
    let other = aws.volume(None).await.id;
    let second = storage.attach(login, &other, &on(&web, "")).await.expect("attached");
    assert_eq!(second.mount, Some(on(&web, "/dev/sdg")));
    assert_eq!(kind(storage.attach(login, &volume.id, &on(&web, "")).await), Kind::Conflict);
    assert_eq!(
        kind(storage.attach(login, &somewhere.id, &on(&web, "/dev/sdf")).await),
        Kind::Invalid,
        "a device in use"
    );
    assert_eq!(kind(storage.destroy_volume(login, &volume.id).await), Kind::Conflict);
    let seen = aws.boto("describe_volumes", json!({ "VolumeIds": [volume.id] })).await;
    assert_eq!(seen["Volumes"][0]["Attachments"][0]["Device"], "/dev/sdf");
    assert_eq!(seen["Volumes"][0]["Tags"], json!([{ "Key": "Name", "Value": "data" }]));
    let shown = aws.driver.instance(login, &InstanceId(web.clone())).await.expect("a look").expect("there");
    assert!(shown.storage_volumes.iter().any(|disk| disk.volume == volume.id && disk.device == "/dev/sdf"));

    let detached = storage.detach(login, &volume.id).await.expect("detached");
    assert_eq!((detached.state.as_str(), detached.mount), ("AVAILABLE", None));
    assert_eq!(kind(storage.detach(login, &volume.id).await), Kind::Conflict);
    storage.destroy_volume(login, &volume.id).await.expect("gone");
    assert_eq!(aws.look(&volume.id).await, None);

    let unknown = "vol-00000000000000000";
    assert_eq!(kind(storage.destroy_volume(login, unknown).await), Kind::NotFound);
    assert_eq!(kind(storage.detach(login, unknown).await), Kind::NotFound);
    assert_eq!(kind(storage.attach(login, unknown, &on(&web, "")).await), Kind::NotFound);
    assert_eq!(kind(storage.attach(login, &somewhere.id, &on("i-00000000000000000", "")).await), Kind::NotFound);
    assert_eq!(
        kind(storage.attach(login, &somewhere.id, &on("i-00000000000000000", "/dev/sdf")).await),
        Kind::NotFound
    );
    aws.driver.act(login, &InstanceId(web.clone()), Action::Destroy).await.expect("ended");
    assert_eq!(kind(storage.attach(login, &somewhere.id, &on(&web, "")).await), Kind::Conflict, "it has ended");
}

#[tokio::test]
async fn snapshots_are_of_volumes_and_volumes_of_snapshots() {
    let Some(aws) = Aws::new("snapshots_are_of_volumes_and_volumes_of_snapshots") else { return };
    let (storage, login) = (aws.storage(), &aws.login);
    let volume = aws.volume(None).await.id;
    let new = NewSnapshot {
        volume: volume.clone(),
        name: Some("nightly".to_owned()),
        description: Some("before the upgrade".to_owned()),
    };
    let made = storage.create_snapshot(login, &new).await.expect("made");
    let ids = BTreeSet::from([made.id.clone(), "snap-00000000000000000".to_owned()]);
    let read = storage.snapshots_by_id(login, &ids).await.expect("a look");
    assert_eq!(read.len(), 1, "and none that never was");
    assert_eq!((read[0].state.as_str(), read[0].settling), ("completed", false));
    assert_eq!(
        (read[0].name.as_deref(), read[0].description.as_deref()),
        (Some("nightly"), Some("before the upgrade"))
    );
    assert_eq!((read[0].volume.as_ref(), read[0].created.is_some()), (Some(&volume), true));

    let of = NewVolume { snapshot: Some(made.id.clone()), ..NewVolume::default() };
    assert_eq!(storage.create_volume(login, &of).await.expect("made").capacity, "1", "as big as the snapshot");
    let of_nothing = NewVolume { snapshot: Some("snap-00000000000000000".to_owned()), ..NewVolume::default() };
    assert_eq!(kind(storage.create_volume(login, &of_nothing).await), Kind::Invalid);
    let of_unknown = NewSnapshot { volume: "vol-00000000000000000".to_owned(), ..NewSnapshot::default() };
    assert_eq!(kind(storage.create_snapshot(login, &of_unknown).await), Kind::NotFound);

    storage.destroy_snapshot(login, &made.id).await.expect("gone");
    assert_eq!(kind(storage.destroy_snapshot(login, &made.id).await), Kind::NotFound);
    assert_eq!(storage.snapshots_by_id(login, &BTreeSet::from([made.id])).await.expect("a look"), []);
}

/// What AWS's own images are made of is in the same cloud, and is nobody's to list.
#[tokio::test]
async fn lists_are_all_pages_of_what_is_ones_own() {
    let Some(aws) = Aws::new("lists_are_all_pages_of_what_is_ones_own") else { return };
    let (storage, login) = (aws.storage(), &aws.login);
    let short = Ec2Settings { page_size: 5, pages_max: 2, ..at(aws.moto.endpoint()) };
    let short = driver(short, &[]);
    let others = storage.snapshots(login).await.expect("a list").len();
    let (mut volumes, mut snapshots, mut groups) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for at in 0..12 {
        let volume = aws.volume(None).await.id;
        let new = NewSnapshot { volume: volume.clone(), ..NewSnapshot::default() };
        snapshots.insert(storage.create_snapshot(login, &new).await.expect("made").id);
        volumes.insert(volume);
        let new = NewFirewall { name: format!("group {at}"), description: String::new() };
        groups.insert(aws.firewalls().create_firewall(login, &new).await.expect("made").id);
    }
    let listed: Vec<String> = storage.volumes(login).await.expect("a list").into_iter().map(|one| one.id).collect();
    assert_eq!(listed, volumes.into_iter().collect::<Vec<_>>());
    let listed: Vec<String> = storage.snapshots(login).await.expect("a list").into_iter().map(|one| one.id).collect();
    assert!(listed.is_sorted() && listed.len() == others + 12, "{listed:?}");
    assert!(snapshots.is_subset(&listed.into_iter().collect()));
    let listed: Vec<String> =
        aws.firewalls().firewalls(login).await.expect("a list").into_iter().map(|one| one.id).collect();
    assert!(listed.is_sorted() && groups.is_subset(&listed.into_iter().collect()));

    let (storage, firewalls) = (short.storage().expect("offered"), short.firewalls().expect("offered"));
    for error in [
        storage.volumes(login).await.expect_err("three pages"),
        storage.snapshots(login).await.expect_err("three pages"),
        firewalls.firewalls(login).await.expect_err("three pages"),
    ] {
        assert!(error.text.contains("pages_max"), "{error}");
    }
}

#[tokio::test]
async fn an_image_lives_as_in_ec2() {
    let Some(aws) = Aws::new("an_image_lives_as_in_ec2") else { return };
    let (driver, login) = (&aws.driver, &aws.login);
    let web = aws.instance().await;
    let of_web = |name: Option<&str>| NewImage {
        instance: web.clone(),
        name: name.map(str::to_owned),
        description: name.map(|name| format!("{name}, described")),
    };
    let instance = driver.instance(login, &InstanceId(web.clone())).await.expect("a look").expect("there");
    assert!(instance.can_create_image);
    let golden = driver.create_image(login, &of_web(Some("golden"))).await.expect("made");
    assert_eq!((golden.name.as_str(), golden.description.as_str()), ("golden", "golden, described"));
    assert_eq!((golden.state.as_deref(), golden.settling, golden.can_destroy), (Some("available"), false, true));
    assert_eq!(kind(driver.create_image(login, &of_web(Some("golden"))).await), Kind::Forbidden, "the name is taken");
    let unnamed = driver.create_image(login, &of_web(None)).await.expect("made");
    assert!(unnamed.name.starts_with(&web), "{}", unnamed.name);
    let listed: BTreeSet<String> = driver.images(login).await.expect("a list").into_iter().map(|one| one.id).collect();
    assert_eq!(listed, BTreeSet::from([OWN_IMAGE.to_owned(), golden.id.clone(), unnamed.id]));
    assert_eq!(driver.image(login, &golden.id).await.expect("a look"), Some(golden.clone()));

    let public = aws.boto("describe_images", json!({ "Owners": ["amazon"], "MaxResults": 5 })).await;
    let public = public["Images"][0]["ImageId"].as_str().expect("an id").to_owned();
    let foreign = driver.image(login, &public).await.expect("a look").expect("anybody can see it");
    assert!(!foreign.can_destroy);

    driver.destroy_image(login, &golden.id).await.expect("gone");
    assert_eq!(driver.image(login, &golden.id).await.expect("a look"), None);
    assert_eq!(kind(driver.destroy_image(login, &golden.id).await), Kind::NotFound, "it was");
    assert_eq!(kind(driver.destroy_image(login, "ami-00000000000000000").await), Kind::NotFound, "it never was");
    driver.act(login, &InstanceId(web.clone()), Action::Destroy).await.expect("ended");
    assert_eq!(kind(driver.create_image(login, &of_web(None)).await), Kind::Failed, "there is nothing to image");
    let of_nothing = NewImage { instance: "i-00000000000000000".to_owned(), ..NewImage::default() };
    assert_eq!(kind(driver.create_image(login, &of_nothing).await), Kind::NotFound);
}

#[tokio::test]
async fn a_key_lives_as_in_ec2() {
    let Some(aws) = Aws::new("a_key_lives_as_in_ec2") else { return };
    let (keys, login) = (aws.keys(), &aws.login);
    let new =
        |name: &str, public: Option<&str>| NewKey { name: name.to_owned(), public_key: public.map(str::to_owned) };
    let made = keys.create_key(login, &new("alice", None)).await.expect("made");
    let KeyKind::Pair { fingerprint, pem: Some(pem) } = made.kind else { panic!("a pair has both") };
    assert!(pem.expose_secret().contains("PRIVATE KEY"));
    assert_eq!(kind(keys.create_key(login, &new("alice", None)).await), Kind::Forbidden);
    let public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDnPDJ3sWqqQHQPPlqzLPVnmNsoP3xVdVVSKWKIdMJuY bob@home";
    keys.create_key(login, &new("bob & co", Some(public))).await.expect("taken in");
    assert_eq!(kind(keys.create_key(login, &new("carol", Some("ssh-rsa cm90dGVu carol@home"))).await), Kind::Invalid);

    let listed = keys.keys(login).await.expect("a list");
    assert_eq!(listed.iter().map(|key| key.id.as_str()).collect::<Vec<_>>(), ["alice", "bob & co"]);
    assert!(listed.iter().all(|key| matches!(&key.kind, KeyKind::Pair { fingerprint: Some(_), pem: None })));
    let read = keys.key(login, "alice").await.expect("a look").expect("there");
    let KeyKind::Pair { fingerprint: read, pem: None } = read.kind else { panic!("never with the private half") };
    assert_eq!(read, fingerprint);
    let seen = aws.boto("describe_key_pairs", json!({ "KeyNames": ["bob & co"], "IncludePublicKey": true })).await;
    assert_eq!(seen["KeyPairs"][0]["PublicKey"], public, "as it was given");

    keys.destroy_key(login, "alice").await.expect("gone");
    assert_eq!(kind(keys.destroy_key(login, "alice").await), Kind::NotFound);
    assert!(keys.key(login, "alice").await.expect("a look").is_none());
    assert_eq!(keys.keys(login).await.expect("a list").len(), 1);
}

#[tokio::test]
async fn an_address_lives_as_in_ec2() {
    let Some(aws) = Aws::new("an_address_lives_as_in_ec2") else { return };
    let (addresses, login) = (aws.addresses(), &aws.login);
    let (web, db) = (aws.instance().await, aws.instance().await);
    let ip = addresses.create_address(login).await.expect("made").ip;
    let other = addresses.create_address(login).await.expect("made").ip;
    let listed: Vec<String> = addresses.addresses(login).await.expect("a list").into_iter().map(|one| one.ip).collect();
    assert_eq!(listed, BTreeSet::from([ip.clone(), other]).into_iter().collect::<Vec<_>>());
    assert_eq!(kind(addresses.disassociate(login, &ip).await), Kind::Conflict);
    assert_eq!(kind(addresses.associate(login, &ip, "i-00000000000000000").await), Kind::NotFound);

    addresses.associate(login, &ip, &web).await.expect("associated");
    let read = addresses.address(login, &ip).await.expect("a look").expect("there");
    assert_eq!(read.instance.as_ref(), Some(&web));
    assert_eq!(kind(addresses.associate(login, &ip, &db).await), Kind::Conflict, "it is taken from nobody");
    assert_eq!(kind(addresses.destroy_address(login, &ip).await), Kind::Conflict);
    let seen = aws.boto("describe_addresses", json!({ "PublicIps": [ip] })).await;
    assert_eq!((&seen["Addresses"][0]["InstanceId"], &seen["Addresses"][0]["Domain"]), (&json!(web), &json!("vpc")));

    addresses.disassociate(login, &ip).await.expect("free");
    assert_eq!(addresses.address(login, &ip).await.expect("a look").expect("there").instance, None);
    addresses.destroy_address(login, &ip).await.expect("gone");
    assert_eq!(addresses.address(login, &ip).await.expect("a look"), None);
    assert_eq!(kind(addresses.destroy_address(login, &ip).await), Kind::NotFound);
    assert_eq!(kind(addresses.associate(login, &ip, &web).await), Kind::NotFound);
    assert_eq!(kind(addresses.disassociate(login, &ip).await), Kind::NotFound);
}

#[tokio::test]
async fn a_firewall_lives_as_in_ec2() {
    let Some(aws) = Aws::new("a_firewall_lives_as_in_ec2") else { return };
    let (firewalls, login) = (aws.firewalls(), &aws.login);
    let new = |name: &str| NewFirewall { name: name.to_owned(), description: format!("{name}, described") };
    let ssh = firewalls.create_firewall(login, &new("ssh")).await.expect("made").id;
    let web = firewalls.create_firewall(login, &new("web")).await.expect("made");
    assert_eq!((web.name.as_str(), web.description.as_str()), ("web", "web, described"));
    assert_eq!((web.owner.is_some(), web.rules.len()), (true, 0), "what may go out is not shown");
    assert_eq!(kind(firewalls.create_firewall(login, &new("web")).await), Kind::Forbidden);
    let web = web.id;

    let rule = |protocol: &str, from: &str, to: &str, networks: &[&str], groups: &[&str]| NewRule {
        protocol: protocol.to_owned(),
        port_from: from.to_owned(),
        port_to: to.to_owned(),
        networks: networks.iter().map(|&network| network.to_owned()).collect(),
        groups: groups.iter().map(|&group| (group.to_owned(), None)).collect(),
    };
    let http = rule("tcp", "80", "443", &["0.0.0.0/0", "::/0"], &[]);
    let with = firewalls.create_rule(login, &web, &http).await.expect("let in");
    assert_eq!(with.rules.len(), 2, "one for each source: {:?}", with.rules);
    assert_eq!(kind(firewalls.create_rule(login, &web, &http).await), Kind::Forbidden, "it is there already");
    firewalls.create_rule(login, &web, &rule("icmp", "8", "", &["10.0.0.0/8"], &[])).await.expect("let in");
    firewalls.create_rule(login, &web, &rule("-1", "", "", &[], &["ssh"])).await.expect("let in");
    let with = firewalls.create_rule(login, &web, &rule("tcp", "22", "22", &[], &[&ssh])).await.expect("let in");
    let seen: BTreeSet<String> = with.rules.iter().map(written).collect();
    assert_eq!(
        seen,
        BTreeSet::from(
            [
                "tcp 80-443 ipv4 0.0.0.0/0",
                "tcp 80-443 ipv6 ::/0",
                "icmp 8-* ipv4 10.0.0.0/8",
                "-1 *-* group ssh",
                "tcp 22-22 group ssh"
            ]
            .map(str::to_owned)
        )
    );
    assert!(with.rules.is_sorted_by(|a, b| a.id < b.id));
    let listed = firewalls.firewalls(login).await.expect("a list");
    assert_eq!(listed.iter().find(|one| one.id == web), Some(&with), "the list shows the same");
    assert_eq!(firewalls.firewall(login, &web).await.expect("a look").as_ref(), Some(&with));
    let seen = aws.boto("describe_security_groups", json!({ "GroupIds": [web] })).await;
    let permissions = seen["SecurityGroups"][0]["IpPermissions"].as_array().expect("a list").clone();
    assert!(permissions.iter().any(|one| one["IpRanges"][0]["CidrIp"] == "0.0.0.0/0" && one["ToPort"] == 443));

    let gone = &with.rules[0].id;
    firewalls.destroy_rule(login, &web, gone).await.expect("revoked");
    assert_eq!(kind(firewalls.destroy_rule(login, &web, gone).await), Kind::NotFound);
    let left = firewalls.firewall(login, &web).await.expect("a look").expect("there");
    assert_eq!(left.rules, with.rules[1..], "the others stay, under their ids");
    let unknown = "sg-00000000000000000";
    assert_eq!(kind(firewalls.create_rule(login, unknown, &http).await), Kind::NotFound);
    assert_eq!(kind(firewalls.create_rule(login, &ssh, &rule("tcp", "1", "2", &[], &[unknown])).await), Kind::Invalid);
    assert_eq!(kind(firewalls.destroy_rule(login, unknown, gone).await), Kind::NotFound);

    let new =
        NewInstance { image: OWN_IMAGE.to_owned(), firewalls: vec![ssh.clone()], count: 1, ..NewInstance::default() };
    let instance = aws.driver.create_instance(login, &new).await.expect("made").remove(0);
    assert_eq!(instance.firewalls.as_deref(), Some([ssh.clone()].as_slice()), "the ids are the firewalls'");
    assert_eq!(kind(firewalls.destroy_firewall(login, &ssh).await), Kind::Conflict, "an instance is in it");
    aws.driver.act(login, &instance.id, Action::Destroy).await.expect("ended");
    firewalls.destroy_firewall(login, &web).await.expect("gone");
    firewalls.destroy_firewall(login, &ssh).await.expect("gone");
    assert_eq!(firewalls.firewall(login, &ssh).await.expect("a look"), None);
    assert_eq!(kind(firewalls.destroy_firewall(login, &ssh).await), Kind::NotFound);
    let listed = firewalls.firewalls(login).await.expect("a list");
    let default = listed.iter().find(|one| one.name == "default").expect("every account has one");
    assert_eq!(kind(firewalls.destroy_firewall(login, &default.id).await), Kind::Forbidden);
}

fn written(rule: &Rule) -> String {
    let port = |port: &Option<String>| port.clone().unwrap_or_else(|| "*".to_owned());
    let source = match rule.sources.as_slice() {
        [Source::Network { family, address, prefix }] => format!("{family} {address}/{prefix}"),
        [Source::Group { name, owner: Some(_) }] => format!("group {name}"),
        other => format!("{other:?}"),
    };
    format!("{} {}-{} {source}", rule.protocol, port(&rule.port_from), port(&rule.port_to))
}

#[tokio::test]
async fn a_wrong_key_is_denied_everything() {
    let Some(aws) = Aws::new("a_wrong_key_is_denied_everything") else { return };
    let web = aws.instance().await;
    let volume = aws.volume(None).await.id;
    let (storage, keys, addresses, firewalls) = (aws.storage(), aws.keys(), aws.addresses(), aws.firewalls());
    let right = &aws.login.credentials;
    let wrong_secret = Credentials { password: "wrong".into(), ..right.clone() };
    let unknown_key = Credentials { user: "AKIAI44QH8DHBEXAMPLE".to_owned(), ..right.clone() };
    for credentials in [wrong_secret, unknown_key] {
        let wrong = &Login { credentials, ..aws.login.clone() };
        let check = |what: &str, error: Option<Error>| {
            assert_eq!(error.map(|error| error.kind), Some(Kind::Denied), "{what} by {}", wrong.credentials.user);
        };
        let id = || BTreeSet::from([volume.clone()]);
        check("volumes", storage.volumes(wrong).await.err());
        check("volumes_by_id", storage.volumes_by_id(wrong, &id()).await.err());
        check("create_volume", storage.create_volume(wrong, &NewVolume::default()).await.err());
        check("attach", storage.attach(wrong, &volume, &on(&web, "/dev/sdf")).await.err());
        check("attach somewhere", storage.attach(wrong, &volume, &on(&web, "")).await.err());
        check("detach", storage.detach(wrong, &volume).await.err());
        check("destroy_volume", storage.destroy_volume(wrong, &volume).await.err());
        check("snapshots", storage.snapshots(wrong).await.err());
        check("snapshots_by_id", storage.snapshots_by_id(wrong, &id()).await.err());
        let new = NewSnapshot { volume: volume.clone(), ..NewSnapshot::default() };
        check("create_snapshot", storage.create_snapshot(wrong, &new).await.err());
        check("destroy_snapshot", storage.destroy_snapshot(wrong, "snap-1").await.err());
        let new = NewImage { instance: web.clone(), ..NewImage::default() };
        check("create_image", aws.driver.create_image(wrong, &new).await.err());
        check("destroy_image", aws.driver.destroy_image(wrong, OWN_IMAGE).await.err());
        check("keys", keys.keys(wrong).await.err());
        check("key", keys.key(wrong, "alice").await.err());
        check("create_key", keys.create_key(wrong, &NewKey { name: "x".to_owned(), public_key: None }).await.err());
        check("destroy_key", keys.destroy_key(wrong, "alice").await.err());
        check("addresses", addresses.addresses(wrong).await.err());
        check("address", addresses.address(wrong, "192.0.2.1").await.err());
        check("create_address", addresses.create_address(wrong).await.err());
        check("destroy_address", addresses.destroy_address(wrong, "192.0.2.1").await.err());
        check("associate", addresses.associate(wrong, "192.0.2.1", &web).await.err());
        check("disassociate", addresses.disassociate(wrong, "192.0.2.1").await.err());
        check("firewalls", firewalls.firewalls(wrong).await.err());
        check("firewall", firewalls.firewall(wrong, "sg-1").await.err());
        check("create_firewall", firewalls.create_firewall(wrong, &NewFirewall::default()).await.err());
        check("destroy_firewall", firewalls.destroy_firewall(wrong, "sg-1").await.err());
        check("destroy_rule", firewalls.destroy_rule(wrong, "sg-1", "sgr-1").await.err());
        let rule = NewRule { protocol: "-1".to_owned(), networks: vec!["::/0".to_owned()], ..NewRule::default() };
        check("create_rule", firewalls.create_rule(wrong, "sg-1", &rule).await.err());
    }
    let login = &aws.login;
    assert!(aws.look(&volume).await.is_some_and(|volume| volume.mount.is_none()), "nothing was done");
    assert_eq!(keys.keys(login).await.expect("a list").len(), 0);
    assert_eq!(addresses.addresses(login).await.expect("a list"), []);
    assert_eq!(aws.driver.images(login).await.expect("a list").len(), 1);
}
