//! Lists of everything but machines: all pages or an error, and of the account's own.

use std::collections::BTreeSet;
use std::time::Duration;

use tracker::drivers::{Driver, Ec2Settings, Error, Kind};

use super::stub::{Says, Stub, fails, ok};
use super::{driver, login};

/// What is listed in pages.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Noun {
    Volumes,
    Snapshots,
    Images,
    /// Of which the rules are a list of their own, here one page that is whole.
    Groups,
    /// Behind groups that are one page.
    Rules,
}

const NOUNS: [Noun; 5] = [Noun::Volumes, Noun::Snapshots, Noun::Images, Noun::Groups, Noun::Rules];

impl Noun {
    fn pages(self) -> [String; 2] {
        let [first, second] = match self {
            Self::Volumes => [recorded!("DescribeVolumes-1"), recorded!("DescribeVolumes-2")],
            Self::Snapshots => [recorded!("DescribeSnapshots-1"), recorded!("DescribeSnapshots-2")],
            Self::Images => [recorded!("DescribeImages"); 2],
            Self::Groups => [recorded!("DescribeSecurityGroups"); 2],
            Self::Rules => [recorded!("DescribeSecurityGroupRules"); 2],
        };
        [leading_on(first), second.to_owned()]
    }

    fn action(self) -> &'static str {
        match self {
            Self::Volumes => "DescribeVolumes",
            Self::Snapshots => "DescribeSnapshots",
            Self::Images => "DescribeImages",
            Self::Groups => "DescribeSecurityGroups",
            Self::Rules => "DescribeSecurityGroupRules",
        }
    }

    /// Answers to the calls before its own, and after.
    fn around(self) -> [Option<Says>; 2] {
        match self {
            Self::Groups => [None, Some(ok(recorded!("DescribeSecurityGroupRules")))],
            Self::Rules => [Some(ok(recorded!("DescribeSecurityGroups"))), None],
            _ => [None, None],
        }
    }

    fn ids(self) -> &'static [&'static str] {
        match self {
            Self::Volumes => {
                &["vol-0aaaaaaaaaaaaaaa1", "vol-0aaaaaaaaaaaaaaa2", "vol-0aaaaaaaaaaaaaaa3", "vol-0aaaaaaaaaaaaaaa4"]
            }
            Self::Snapshots => &[
                "snap-0123456789abcdef0",
                "snap-0a00000000000e001",
                "snap-0a00000000000e002",
                "snap-0a00000000000e003",
            ],
            Self::Images => &["ami-00000001", "ami-0abcdef1234567890"],
            Self::Groups | Self::Rules => &["sg-0a1b2c3d4e5f60001", "sg-0a1b2c3d4e5f60002"],
        }
    }

    async fn list(self, driver: &dyn Driver) -> Result<Vec<String>, Error> {
        let login = login(None);
        Ok(match self {
            Self::Volumes => storage(driver).volumes(&login).await?.into_iter().map(|one| one.id).collect(),
            Self::Snapshots => storage(driver).snapshots(&login).await?.into_iter().map(|one| one.id).collect(),
            Self::Images => driver.images(&login).await?.into_iter().map(|one| one.id).collect(),
            Self::Groups | Self::Rules => {
                let firewalls = driver.firewalls().expect("offered").firewalls(&login).await?;
                firewalls.into_iter().map(|one| one.id).collect()
            }
        })
    }
}

/// As a page that is not the last.
fn leading_on(page: &str) -> String {
    if page.contains("<nextToken>") {
        return page.to_owned();
    }
    let end = page.rfind("</").expect("a document ends");
    format!("{}<nextToken>more</nextToken>{}", &page[..end], &page[end..])
}

fn storage(driver: &dyn Driver) -> &dyn tracker::drivers::Storage {
    driver.storage().expect("offered")
}

#[tokio::test]
async fn a_list_of_any_noun_is_all_its_pages_in_order() {
    for noun in NOUNS {
        let [before, after] = noun.around();
        let script = before.into_iter().chain(noun.pages().map(|page| ok(&page))).chain(after);
        let (stub, settings) = Stub::start(script).await;
        let settings = Ec2Settings { page_size: 5, ..settings };
        let listed = noun.list(&*driver(settings, &["127.0.0.0/8"])).await.expect("a list");
        assert_eq!(listed, noun.ids(), "{noun:?}: in order, and each once");

        let asked = stub.asked();
        let pages: Vec<_> = asked.iter().filter(|page| page.get("Action") == Some(noun.action())).collect();
        assert_eq!(pages.len(), 2, "{noun:?}");
        for page in &pages {
            assert_eq!(page.get("MaxResults"), Some("5"), "{noun:?}");
            let own = [Noun::Snapshots, Noun::Images].contains(&noun).then_some("self");
            assert_eq!(page.get("Owner.1"), own, "{noun:?}: what is public would be no end");
        }
        assert_eq!((pages[0].get("NextToken"), pages[1].get("NextToken").is_some()), (None, true), "{noun:?}");
        stub.end();
    }
}

#[tokio::test]
async fn half_a_list_of_any_noun_is_an_error_and_never_a_shorter_list() {
    for noun in NOUNS {
        let [first, second] = noun.pages();
        let throttled = Kind::Throttled { after: Some(Duration::from_secs(7)) };
        let cases = [
            ("server fault", fails(500, recorded!("error-InternalError")), Kind::Unavailable),
            ("bad gateway", fails(502, "<html>Bad Gateway</html>"), Kind::Unavailable),
            ("portal", ok("<html>Please sign in</html>"), Kind::Unavailable),
            ("empty", ok(""), Kind::Unavailable),
            ("half a list", ok(&second[..second.len() / 2]), Kind::Unavailable),
            ("half an answer", Says::Half(second.clone()), Kind::Unavailable),
            ("another list", ok(recorded!("DescribeAvailabilityZones")), Kind::Unavailable),
            ("throttled", Says::Later(503, "7", recorded!("error-RequestLimitExceeded").to_owned()), throttled),
            ("credentials", fails(401, recorded!("error-AuthFailure")), Kind::Denied),
            ("the same page again", ok(&first), Kind::Unavailable),
        ];
        for (what, broken, kind) in cases {
            let [before, _] = noun.around();
            let script = before.into_iter().chain([ok(&first), broken]);
            let (stub, settings) = Stub::start(script).await;
            let error = noun.list(&*driver(settings, &["127.0.0.0/8"])).await.expect_err(what);
            assert_eq!(error.kind, kind, "{noun:?}, {what}: {error}");
            assert!(error.text.contains(noun.action()), "{noun:?}, {what}: {error}");
            stub.end();
        }
    }
}

#[tokio::test]
async fn a_list_that_comes_in_one_piece_is_whole_or_an_error() {
    let keys = recorded!("DescribeKeyPairs");
    let addresses = recorded!("DescribeAddresses");
    let (stub, settings) = Stub::start([ok(keys), ok(addresses)]).await;
    let driver_of = |settings| driver(settings, &["127.0.0.0/8"]);
    let (driver, login) = (driver_of(settings), login(None));
    let listed = driver.keys().expect("offered").keys(&login).await.expect("a list");
    assert_eq!(listed.iter().map(|key| key.id.as_str()).collect::<Vec<_>>(), ["alice", "bob & co"]);
    let listed = driver.addresses().expect("offered").addresses(&login).await.expect("a list");
    let listed: Vec<_> = listed.iter().map(|one| (one.ip.as_str(), one.instance.as_deref())).collect();
    assert_eq!(
        listed,
        [
            ("192.0.2.77", Some("i-1a2b3c4d")),
            ("198.51.100.17", Some("i-0c7a1f2e3d4b5a601")),
            ("198.51.100.9", None),
            ("203.0.113.4", None),
        ]
    );
    stub.end();

    for cut in [2, 3, 4] {
        let part = |whole: &str| ok(&whole[..whole.len() - whole.len() / cut]);
        let (stub, settings) = Stub::start([part(keys), part(addresses)]).await;
        let driver = driver_of(settings);
        let error = driver.keys().expect("offered").keys(&login).await.expect_err("cut");
        assert_eq!(error.kind, Kind::Unavailable, "{error}");
        let error = driver.addresses().expect("offered").addresses(&login).await.expect_err("cut");
        assert_eq!(error.kind, Kind::Unavailable, "{error}");
        stub.end();
    }
}

#[tokio::test]
async fn a_look_filters_in_chunks_and_gives_only_what_was_asked_for() {
    let many =
        |one: &str| -> BTreeSet<String> { (0..200).map(|at| format!("x-{at:03}")).chain([one.to_owned()]).collect() };
    let (volume, snapshot) = ("vol-0aaaaaaaaaaaaaaa3", "snap-0a00000000000e002");
    let (volumes, snapshots) = (recorded!("DescribeVolumes-2"), recorded!("DescribeSnapshots-2"));
    let (stub, settings) = Stub::start([volumes, volumes, snapshots, snapshots].map(ok)).await;
    let (driver, login) = (driver(settings, &["127.0.0.0/8"]), login(None));
    let storage = storage(&*driver);

    let found = storage.volumes_by_id(&login, &many(volume)).await.expect("a look");
    assert_eq!(found.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), [volume]);
    let found = storage.snapshots_by_id(&login, &many(snapshot)).await.expect("a look");
    assert_eq!(found.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), [snapshot]);
    assert_eq!(storage.volumes_by_id(&login, &BTreeSet::new()).await.expect("nothing to ask"), []);
    assert_eq!(storage.snapshots_by_id(&login, &BTreeSet::new()).await.expect("nothing to ask"), []);
    assert_eq!(driver.images_by_id(&login, &BTreeSet::new()).await.expect("nothing to ask"), []);

    let asked = stub.asked();
    let seen: Vec<_> = asked
        .iter()
        .map(|asked| {
            let values = asked.form.iter().filter(|(name, _)| name.starts_with("Filter.1.Value.")).count();
            (asked.get("Filter.1.Name").expect("a filter"), values, asked.get("Owner.1"))
        })
        .collect();
    let (volume_id, snapshot_id) = ("volume-id", "snapshot-id");
    let expected = [(volume_id, 200, None), (volume_id, 1, None), (snapshot_id, 200, None), (snapshot_id, 1, None)];
    assert_eq!(seen, expected);
    stub.end();
}

/// Only the owner may destroy an image, and the answer does not say who asks.
#[tokio::test]
async fn an_image_of_somebody_else_can_be_seen_and_not_destroyed() {
    let (own, other) = ("ami-0abcdef1234567890", "ami-00000001");
    let page = recorded!("DescribeImages");
    let half = page.find("        <item>\n            <imageId>ami-00000001");
    let (first, rest) = page.split_at(half.expect("the second image"));
    let end = rest.find("    </imagesSet>").expect("an end");
    let only_own = format!("{first}{}", &rest[end..]);
    let start = first.find("<imagesSet>").expect("a start") + "<imagesSet>".len();
    let only_other = format!("{}{rest}", &first[..start]);

    let (stub, settings) = Stub::start([ok(&only_own), ok(&only_other), ok(&only_own)]).await;
    let (driver, login) = (driver(settings, &["127.0.0.0/8"]), login(None));
    let both = BTreeSet::from([own.to_owned(), other.to_owned()]);
    let found = driver.images_by_id(&login, &both).await.expect("a look");
    let seen: Vec<_> = found.iter().map(|image| (image.id.as_str(), image.can_destroy, image.settling)).collect();
    assert_eq!(seen, [(other, false, true), (own, true, false)]);
    driver.image(&login, own).await.expect("a look").expect("found");

    let asked: Vec<_> = stub
        .asked()
        .iter()
        .map(|one| {
            (
                one.get("Owner.1").map(str::to_owned),
                one.get("Filter.1.Value.1").map(str::to_owned),
                one.get("Filter.1.Value.2").map(str::to_owned),
            )
        })
        .collect();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        asked,
        [(some("self"), some(other), some(own)), (None, some(other), None), (some("self"), some(own), None)],
        "one's own first, then what is missing"
    );
    stub.end();
}

#[tokio::test]
async fn a_firewall_names_the_groups_of_its_rules_as_the_list_does() {
    let groups = recorded!("DescribeSecurityGroups");
    let rules = recorded!("DescribeSecurityGroupRules");
    let none = "<DescribeSecurityGroupsResponse><securityGroupInfo/></DescribeSecurityGroupsResponse>";
    let second = groups
        .find("        <item>\n            <ownerId>123456789012</ownerId>\n            <groupId>sg-0a1b2c3d4e5f60002");
    let end = groups.find("    </securityGroupInfo>").expect("an end");
    let only_first = format!("{}{}", &groups[..second.expect("the second group")], &groups[end..]);
    let script = [groups, rules, &only_first, rules, groups, none];
    let (stub, settings) = Stub::start(script.map(ok)).await;
    let (driver, login) = (driver(settings, &["127.0.0.0/8"]), login(None));
    let firewalls = driver.firewalls().expect("offered");
    let listed = firewalls.firewalls(&login).await.expect("a list").remove(0);
    let id = listed.id.clone();
    assert_eq!(firewalls.firewall(&login, &id).await.expect("a look"), Some(listed));
    assert_eq!(firewalls.firewall(&login, "sg-0a1b2c3d4e5f60009").await.expect("a clear answer"), None);

    let asked = stub.asked();
    let third: Vec<_> =
        asked[4].form.iter().filter(|(name, _)| name.contains("Value")).map(|(_, value)| value.as_str()).collect();
    assert_eq!(third, ["sg-0a1b2c3d4e5f60002", "sg-0fffffffffffffff9"], "the groups it does not know yet");
    stub.end();
}
