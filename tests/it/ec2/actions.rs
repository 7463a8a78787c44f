//! What is done to everything but machines: what is asked of EC2, and what is made of its answers.

use tracker::drivers::Kind;
use tracker::model::{
    ExposeSecret as _, KeyKind, Mount, NewFirewall, NewImage, NewKey, NewRule, NewSnapshot, NewVolume, VolumeAction,
};

use super::stub::{Asked, Says, Stub, fails, ok};
use super::{PAGE_1, driver, login};

const WEB: &str = "i-0c7a1f2e3d4b5a601";
const VOLUME: &str = "vol-0aaaaaaaaaaaaaaa4";
const NOBODY: &str = "<DescribeInstancesResponse><reservationSet/></DescribeInstancesResponse>";

/// The machines of the first page, as if there were no other.
fn machines() -> String {
    PAGE_1.replace("<nextToken>eyJ2IjoiMiIsImMiOiJtb3JlIn0=</nextToken>", "")
}

fn refusal(code: &str) -> Says {
    fails(400, &recorded!("error-InternalError").replace("InternalError", code))
}

fn done(action: &str) -> Says {
    ok(&format!(
        "<{action}Response xmlns='http://ec2.amazonaws.com/doc/2016-11-15/'><return>true</return></{action}Response>"
    ))
}

/// All but what every call has: `Action` and `Version`.
fn params(asked: &Asked) -> Vec<(&str, &str)> {
    let all = asked.form.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    all.filter(|(name, _)| !["Action", "Version"].contains(name)).collect()
}

fn actions(asked: &[Asked]) -> Vec<&str> {
    asked.iter().map(|one| one.get("Action").expect("every call has one")).collect()
}

fn to(device: &str) -> Mount {
    Mount { instance: WEB.to_owned(), device: device.to_owned() }
}

fn volumes_with(attachments: &str, status: &str) -> String {
    format!(
        "<DescribeVolumesResponse><volumeSet><item><volumeId>{VOLUME}</volumeId><size>1</size>\
         <availabilityZone>us-east-1a</availabilityZone><status>{status}</status>\
         <attachmentSet>{attachments}</attachmentSet></item></volumeSet></DescribeVolumesResponse>"
    )
}

fn attachment(status: &str) -> String {
    format!(
        "<item><volumeId>{VOLUME}</volumeId><instanceId>{WEB}</instanceId><device>/dev/sdg</device><status>{status}</status></item>"
    )
}

#[tokio::test]
async fn a_volume_is_made_where_and_of_what_was_asked() {
    let made = recorded!("CreateVolume");
    let script = [ok(recorded!("DescribeAvailabilityZones")), ok(made), ok(made), refusal("InvalidZone.NotFound")];
    let (stub, settings) = Stub::start(script).await;
    let (driver, login) = (driver(settings, &["127.0.0.0/8"]), login(None));
    let storage = driver.storage().expect("offered");

    let volume = storage.create_volume(&login, &NewVolume::default()).await.expect("made");
    assert_eq!(
        (volume.id.as_str(), volume.state.as_str(), volume.settling),
        ("vol-0aaaaaaaaaaaaaaa5", "CREATING", true)
    );
    assert_eq!((volume.capacity.as_str(), volume.actions.len()), ("1", 0));
    let some = |text: &str| Some(text.to_owned());
    let new = NewVolume {
        capacity: some("20"),
        realm: some("us-east-1b"),
        snapshot: some("snap-1"),
        name: some("data"),
        description: some("not for EC2"),
    };
    storage.create_volume(&login, &new).await.expect("made");
    let error = storage.create_volume(&login, &new).await.expect_err("no such zone");
    assert_eq!(error.kind, Kind::Invalid, "not the volume is unknown, but what it was to be made of");
    let broken = NewVolume { capacity: some("a lot"), ..NewVolume::default() };
    assert_eq!(storage.create_volume(&login, &broken).await.expect_err("unasked").kind, Kind::Invalid);

    let asked = stub.asked();
    let without_token = |asked: &Asked| -> String {
        let all = params(asked).into_iter().filter(|(name, _)| *name != "ClientToken");
        all.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        without_token(&asked[1]),
        "AvailabilityZone=us-east-1a Size=1",
        "a zone that is well, the smallest size"
    );
    assert_eq!(
        without_token(&asked[2]),
        "AvailabilityZone=us-east-1b SnapshotId=snap-1 Size=20 TagSpecification.1.ResourceType=volume \
         TagSpecification.1.Tag.1.Key=Name TagSpecification.1.Tag.1.Value=data"
    );
    let tokens: Vec<_> = asked[1..].iter().map(|one| one.get("ClientToken").expect("a token")).collect();
    assert!(tokens[0] != tokens[1] && tokens[1] != tokens[2], "{tokens:?}");
    stub.end();
}

#[tokio::test]
async fn attaching_chooses_a_free_device_and_shows_what_it_did() {
    // /dev/sdf is taken; EC2 does not show the attachment yet, then it does.
    let (attach, stale) = (recorded!("AttachVolume"), volumes_with("", "available"));
    let fresh = volumes_with(&attachment("attached"), "in-use");
    let machines = machines();
    let script = [&machines, attach, &stale, attach, &fresh, NOBODY].map(ok).into_iter();
    let (stub, settings) = Stub::start(script.chain([refusal("VolumeInUse"), refusal("InvalidVolume.NotFound")])).await;
    let (driver, login) = (driver(settings, &["127.0.0.0/8"]), login(None));
    let storage = driver.storage().expect("offered");

    let volume = storage.attach(&login, VOLUME, &to("")).await.expect("attached");
    assert_eq!((volume.state.as_str(), volume.settling), ("IN-USE", true), "the action's answer is the newer");
    assert_eq!((volume.mount, volume.actions), (Some(to("/dev/sdg")), vec![VolumeAction::Detach]));
    let volume = storage.attach(&login, VOLUME, &to("/dev/xvdh")).await.expect("attached");
    assert_eq!((volume.mount, volume.settling), (Some(to("/dev/sdg")), false), "what is read says more");

    let kind = async |device| storage.attach(&login, VOLUME, &to(device)).await.expect_err("refused").kind;
    assert_eq!(kind("").await, Kind::NotFound, "no such instance");
    assert_eq!(kind("/dev/sdg").await, Kind::Conflict, "it is attached");
    assert_eq!(kind("/dev/sdg").await, Kind::NotFound, "no such volume");

    let asked = stub.asked();
    let attach_with = |device| vec![("VolumeId", VOLUME), ("InstanceId", WEB), ("Device", device)];
    assert_eq!(params(&asked[1]), attach_with("/dev/sdg"));
    assert_eq!(asked[3].get("Device"), Some("/dev/xvdh"), "a device that was named is not chosen");
    assert_eq!(
        actions(&asked),
        [
            "DescribeInstances",
            "AttachVolume",
            "DescribeVolumes",
            "AttachVolume",
            "DescribeVolumes",
            "DescribeInstances",
            "AttachVolume",
            "AttachVolume",
        ]
    );
    stub.end();
}

#[tokio::test]
async fn detaching_looks_where_the_volume_is() {
    let detach = recorded!("DetachVolume").replace("vol-0aaaaaaaaaaaaaaa2", VOLUME);
    let attached = volumes_with(&attachment("attached"), "in-use");
    let free = volumes_with("", "available");
    let none = "<DescribeVolumesResponse><volumeSet/></DescribeVolumesResponse>";
    let script = [&attached, &detach, &attached, &attached, &detach, &free, &free, none, &attached, &detach, none];
    let (stub, settings) = Stub::start(script.map(ok)).await;
    let (driver, login) = (driver(settings, &["127.0.0.0/8"]), login(None));
    let storage = driver.storage().expect("offered");

    let volume = storage.detach(&login, VOLUME).await.expect("detached");
    assert_eq!((volume.state.as_str(), volume.settling, volume.actions), ("IN-USE", true, vec![]));
    assert_eq!(volume.mount, Some(to("/dev/sdg")), "it is still there");
    let volume = storage.detach(&login, VOLUME).await.expect("detached");
    assert_eq!((volume.state.as_str(), volume.settling, volume.mount), ("AVAILABLE", false, None));
    let kind = async || storage.detach(&login, VOLUME).await.expect_err("refused").kind;
    assert_eq!(kind().await, Kind::Conflict, "it is free");
    assert_eq!(kind().await, Kind::NotFound);
    assert_eq!(kind().await, Kind::Unavailable, "it was there, and cannot be read: not for us to call it gone");

    let asked = stub.asked();
    assert_eq!(params(&asked[1]), [("VolumeId", VOLUME), ("InstanceId", WEB)], "and not by force");
    stub.end();
}

#[tokio::test]
async fn snapshots_are_made_of_volumes() {
    let script = [ok(recorded!("CreateSnapshot")), refusal("InvalidVolume.NotFound"), refusal("InvalidSnapshot.InUse")];
    let (stub, settings) = Stub::start(script.into_iter().chain([done("DeleteSnapshot")])).await;
    let (driver, login) = (driver(settings, &["127.0.0.0/8"]), login(None));
    let storage = driver.storage().expect("offered");
    let new =
        NewSnapshot { volume: VOLUME.to_owned(), name: Some("nightly".to_owned()), description: Some("x".to_owned()) };
    let snapshot = storage.create_snapshot(&login, &new).await.expect("made");
    assert_eq!((snapshot.state.as_str(), snapshot.settling), ("pending", true));
    assert_eq!(snapshot.name.as_deref(), Some("nightly"));
    assert_eq!(storage.create_snapshot(&login, &new).await.expect_err("refused").kind, Kind::NotFound);
    assert_eq!(storage.destroy_snapshot(&login, "snap-1").await.expect_err("an image's").kind, Kind::Conflict);
    storage.destroy_snapshot(&login, "snap-1").await.expect("gone");

    let asked = stub.asked();
    assert_eq!(
        params(&asked[0]),
        [
            ("VolumeId", VOLUME),
            ("Description", "x"),
            ("TagSpecification.1.ResourceType", "snapshot"),
            ("TagSpecification.1.Tag.1.Key", "Name"),
            ("TagSpecification.1.Tag.1.Value", "nightly"),
        ]
    );
    assert_eq!(params(&asked[3]), [("SnapshotId", "snap-1")]);
    stub.end();
}

#[tokio::test]
async fn an_image_is_made_of_what_can_be_imaged() {
    let (made, images) = (recorded!("CreateImage"), recorded!("DescribeImages"));
    let shown = images.replace("ami-0abcdef1234567890", "ami-0abcdef1234567891");
    let none = "<DescribeImagesResponse><imagesSet/></DescribeImagesResponse>";
    let machines = machines();
    let script = [&machines, made, &shown, &machines, made, none, none, &machines, made].map(ok).into_iter();
    let further =
        [fails(503, ""), ok(NOBODY), ok(&machines), ok(&machines), ok(&machines), refusal("InvalidAMIName.Duplicate")];
    let (stub, settings) = Stub::start(script.chain(further)).await;
    let (driver, login) = (driver(settings, &["127.0.0.0/8"]), login(None));
    let of = |instance: &str, name: Option<&str>| NewImage {
        instance: instance.to_owned(),
        name: name.map(str::to_owned),
        description: name.map(|name| format!("{name}, described")),
    };

    let image = driver.create_image(&login, &of(WEB, Some("golden"))).await.expect("made");
    assert_eq!((image.id.as_str(), image.name.as_str()), ("ami-0abcdef1234567891", "base-2026-11"), "as EC2 shows it");

    for why in ["not shown yet", "not readable now"] {
        let image = driver.create_image(&login, &of(WEB, Some("golden"))).await.expect(why);
        assert_eq!((image.id.as_str(), image.name.as_str()), ("ami-0abcdef1234567891", "golden"), "{why}");
        assert_eq!((image.state.as_deref(), image.settling, image.can_destroy), (Some("pending"), true, true), "{why}");
        assert_eq!((image.owner.as_str(), image.architecture.as_str()), ("123456789012", "x86_64"), "{why}");
        assert_eq!(
            (image.description.as_str(), image.root_type.as_str()),
            ("golden, described", "persistent"),
            "{why}"
        );
    }

    let kind = async |instance| driver.create_image(&login, &of(instance, None)).await.expect_err("refused").kind;
    assert_eq!(kind("i-00000000000000000").await, Kind::NotFound);
    assert_eq!(kind("i-0f00ba4f00ba4f001").await, Kind::Failed, "not on EBS");
    assert_eq!(kind("i-0c7a1f2e3d4b5a602").await, Kind::Failed, "pending");
    assert_eq!(kind(WEB).await, Kind::Forbidden, "the name is taken");

    let asked = stub.asked();
    let described = "golden, described";
    assert_eq!(params(&asked[1]), [("InstanceId", WEB), ("Name", "golden"), ("Description", described)]);
    let name = asked.last().expect("a call").get("Name").expect("EC2 wants one").to_owned();
    assert!(name.starts_with(&format!("{WEB} 2")) && name.len() < 128, "{name}");
    stub.end();
}

#[tokio::test]
async fn an_image_is_ended_by_whoever_owns_it() {
    let foreign = recorded!("error-AuthFailure")
        .replace("AWS was not able to validate the provided access credentials", "Not authorized for image:ami-1");
    assert!(foreign.contains("Not authorized"), "{foreign}");
    let script = [done("DeregisterImage"), refusal("InvalidAMIID.Unavailable"), fails(400, &foreign)];
    let (stub, settings) = Stub::start(script).await;
    let (driver, login) = (driver(settings, &["127.0.0.0/8"]), login(None));
    driver.destroy_image(&login, "ami-1").await.expect("done");
    assert_eq!(driver.destroy_image(&login, "ami-1").await.expect_err("gone").kind, Kind::NotFound);
    assert_eq!(driver.destroy_image(&login, "ami-1").await.expect_err("not ours").kind, Kind::Forbidden);
    assert_eq!(params(&stub.asked()[0]), [("ImageId", "ami-1")]);
    stub.end();
}

#[tokio::test]
async fn a_key_is_made_or_taken_in_and_ended_once() {
    let keys = recorded!("DescribeKeyPairs");
    let script = [ok(recorded!("CreateKeyPair")), ok(recorded!("ImportKeyPair")), refusal("InvalidKeyPair.Duplicate")];
    let further = [ok(keys), done("DeleteKeyPair"), ok(keys), ok(keys)];
    let (stub, settings) = Stub::start(script.into_iter().chain(further)).await;
    let (driver, login) = (driver(settings, &["127.0.0.0/8"]), login(None));
    let driver = driver.keys().expect("offered");
    let new =
        |name: &str, public: Option<&str>| NewKey { name: name.to_owned(), public_key: public.map(str::to_owned) };

    let made = driver.create_key(&login, &new("alice", None)).await.expect("made");
    assert!(!format!("{made:?}").contains("PRIVATE"), "{made:?}");
    let KeyKind::Pair { fingerprint: Some(_), pem: Some(pem) } = made.kind else { panic!("a pair has both") };
    assert!(pem.expose_secret().starts_with("-----BEGIN RSA PRIVATE KEY-----\n"));
    let taken = driver.create_key(&login, &new("carol", Some("ssh-ed25519 AAAAC3 carol@home\n"))).await.expect("taken");
    assert!(matches!(taken.kind, KeyKind::Pair { fingerprint: Some(_), pem: None }), "nobody gave us a private half");
    let error = driver.create_key(&login, &new("alice", None)).await.expect_err("there is one");
    assert_eq!(error.kind, Kind::Forbidden);

    driver.destroy_key(&login, "alice").await.expect("ended");
    assert_eq!(driver.destroy_key(&login, "ali*").await.expect_err("EC2 would nod").kind, Kind::NotFound);
    assert!(driver.key(&login, "zoe").await.expect("a clear answer").is_none());

    let asked = stub.asked();
    assert_eq!(
        params(&asked[1]),
        [("KeyName", "carol"), ("PublicKeyMaterial", "c3NoLWVkMjU1MTkgQUFBQUMzIGNhcm9sQGhvbWUK")]
    );
    assert_eq!(params(&asked[4]), [("KeyName", "alice")]);
    assert_eq!(params(&asked[5]), [("Filter.1.Name", "key-name"), ("Filter.1.Value.1", "ali\\*")]);
    stub.end();
}

#[tokio::test]
async fn a_broken_answer_about_a_new_key_shows_nothing_of_it() {
    let whole = recorded!("CreateKeyPair");
    let halves = [ok(&whole[..whole.len() - 40]), Says::Half(whole.to_owned()), ok(&whole.replace("keyName", "name"))];
    let (stub, settings) = Stub::start(halves).await;
    let (driver, login) = (driver(settings, &["127.0.0.0/8"]), login(None));
    for _ in 0..3 {
        let new = NewKey { name: "alice".to_owned(), public_key: None };
        let error = driver.keys().expect("offered").create_key(&login, &new).await.expect_err("broken");
        assert_eq!(error.kind, Kind::Unavailable);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("NOTAKEY") && !shown.contains("PRIVATE"), "{shown}");
    }
    stub.end();
}

#[tokio::test]
async fn an_address_is_taken_from_nobody() {
    let all = recorded!("DescribeAddresses");
    let script = vec![ok(all); 8].into_iter();
    let (stub, settings) = Stub::start(
        [ok(recorded!("AllocateAddress"))]
            .into_iter()
            .chain(script)
            .chain([
                done("ReleaseAddress"),
                ok(all),
                ok(recorded!("AssociateAddress")),
                ok(all),
                done("DisassociateAddress"),
            ])
            .chain([ok(all), done("DisassociateAddress"), ok(all), refusal("Resource.AlreadyAssociated")]),
    )
    .await;
    let (driver, login) = (driver(settings, &["127.0.0.0/8"]), login(None));
    let driver = driver.addresses().expect("offered");
    let (used, free, gateways, old, unknown) =
        ("198.51.100.17", "203.0.113.4", "198.51.100.9", "192.0.2.77", "192.0.2.1");

    let made = driver.create_address(&login).await.expect("made");
    assert_eq!((made.ip.as_str(), made.instance), ("203.0.113.5", None));
    let look = driver.address(&login, used).await.expect("a look").expect("there");
    assert_eq!(look.instance.as_deref(), Some(WEB));

    assert_eq!(driver.destroy_address(&login, unknown).await.expect_err("unknown").kind, Kind::NotFound);
    assert_eq!(driver.destroy_address(&login, used).await.expect_err("in use").kind, Kind::Conflict);
    assert_eq!(driver.associate(&login, gateways, WEB).await.expect_err("a gateway has it").kind, Kind::Conflict);
    assert_eq!(driver.associate(&login, unknown, WEB).await.expect_err("unknown").kind, Kind::NotFound);
    assert_eq!(driver.disassociate(&login, free).await.expect_err("free").kind, Kind::Conflict);
    assert_eq!(driver.disassociate(&login, unknown).await.expect_err("unknown").kind, Kind::NotFound);
    assert!(actions(&stub.asked())[1..].iter().all(|action| *action == "DescribeAddresses"), "nothing was done");

    driver.destroy_address(&login, free).await.expect("released");
    driver.associate(&login, free, WEB).await.expect("associated");
    driver.disassociate(&login, used).await.expect("disassociated");
    driver.disassociate(&login, old).await.expect("disassociated");
    let error = driver.associate(&login, free, WEB).await.expect_err("somebody was quicker");
    assert_eq!(error.kind, Kind::Conflict);

    let asked = stub.asked();
    let of = |action| -> Vec<_> { asked.iter().filter(|one| one.get("Action") == Some(action)).map(params).collect() };
    let lease = ("AllocationId", "eipalloc-0a1b2c3d4e5f70002");
    assert_eq!(of("AllocateAddress"), [[("Domain", "vpc")]]);
    assert_eq!(of("ReleaseAddress"), [[lease]]);
    let associate = vec![lease, ("InstanceId", WEB), ("AllowReassociation", "false")];
    assert_eq!(of("AssociateAddress"), [associate.clone(), associate]);
    let association = ("AssociationId", "eipassoc-0a1b2c3d4e5f80001");
    assert_eq!(of("DisassociateAddress"), [[association], [("PublicIp", old)]]);
    stub.end();
}

#[tokio::test]
async fn a_firewall_and_its_rules_are_made_and_ended() {
    let (groups, rules) = (recorded!("DescribeSecurityGroups"), recorded!("DescribeSecurityGroupRules"));
    let none = "<DescribeSecurityGroupsResponse><securityGroupInfo/></DescribeSecurityGroupsResponse>";
    let web = "sg-0a1b2c3d4e5f60001";
    let unknown = || refusal("InvalidGroup.NotFound");
    let look = || [ok(groups), ok(rules), ok(groups)];
    let script = [ok(recorded!("CreateSecurityGroup")), ok(none), refusal("InvalidGroup.Duplicate")]
        .into_iter()
        .chain([done("AuthorizeSecurityGroupIngress")])
        .chain(look())
        .chain([unknown(), ok(none)])
        .chain([unknown()])
        .chain(look())
        .chain([refusal("InvalidPermission.Duplicate"), done("RevokeSecurityGroupIngress")])
        .chain([refusal("InvalidSecurityGroupRuleId.NotFound"), refusal("DependencyViolation")])
        .chain([done("DeleteSecurityGroup")]);
    let (stub, settings) = Stub::start(script).await;
    let (driver, login) = (driver(settings, &["127.0.0.0/8"]), login(None));
    let driver = driver.firewalls().expect("offered");

    let new = NewFirewall { name: "db".to_owned(), description: String::new() };
    let made = driver.create_firewall(&login, &new).await.expect("made, though it cannot be read yet");
    assert_eq!((made.id.as_str(), made.name.as_str(), made.rules.len()), ("sg-0a1b2c3d4e5f60004", "db", 0));
    assert_eq!(driver.create_firewall(&login, &new).await.expect_err("there is one").kind, Kind::Forbidden);

    let rule = NewRule {
        protocol: "tcp".to_owned(),
        port_from: "22".to_owned(),
        port_to: "22".to_owned(),
        networks: vec!["192.0.2.0/24".to_owned()],
        groups: Vec::new(),
    };
    let with = driver.create_rule(&login, web, &rule).await.expect("let in");
    assert_eq!((with.id.as_str(), with.rules.len()), (web, 6), "as read back");
    assert_eq!(driver.create_rule(&login, web, &rule).await.expect_err("no firewall").kind, Kind::NotFound);
    assert_eq!(driver.create_rule(&login, web, &rule).await.expect_err("no source").kind, Kind::Invalid);
    assert_eq!(driver.create_rule(&login, web, &rule).await.expect_err("is there").kind, Kind::Forbidden);
    driver.destroy_rule(&login, web, "sgr-01").await.expect("revoked");
    assert_eq!(driver.destroy_rule(&login, web, "sgr-99").await.expect_err("no rule").kind, Kind::NotFound);
    assert_eq!(driver.destroy_firewall(&login, web).await.expect_err("in use").kind, Kind::Conflict);
    driver.destroy_firewall(&login, web).await.expect("gone");

    let asked = stub.asked();
    assert_eq!(params(&asked[0]), [("GroupName", "db"), ("GroupDescription", "db")], "EC2 wants some description");
    let of = |action| asked.iter().find(|one| one.get("Action") == Some(action)).map(params).expect("asked");
    assert_eq!(of("RevokeSecurityGroupIngress"), [("GroupId", web), ("SecurityGroupRuleId.1", "sgr-01")]);
    assert_eq!(of("DeleteSecurityGroup"), [("GroupId", web)]);
    stub.end();
}
