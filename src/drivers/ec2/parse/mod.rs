//! EC2's XML, as much of it as we use. Elements we do not know are passed over, as EC2 adds some every month; the ones
//! that make an answer what it claims to be (its root, its list) must be there, and the document must be whole.

mod addresses;
mod firewalls;
mod images;
mod instances;
mod keys;
mod storage;
mod types;
mod zones;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::drivers::reading::{ATTRIBUTES_MAX, DEPTH_MAX, FAULT_BYTES_MAX, members, pieces_max};

pub(super) use self::addresses::{Address, Addresses, AllocatedAddress};
pub(super) use self::firewalls::{
    CreatedSecurityGroup, ReferencedGroup, SecurityGroup, SecurityGroupRule, SecurityGroupRules, SecurityGroups,
};
pub(super) use self::images::{CreatedImage, Image, Images};
pub(super) use self::instances::{
    Device, Instance, InstanceStatus, InstanceStatuses, Instances, Reservation, ScheduledEvent, Started, StateChange,
    Stopped, Terminated,
};
pub(super) use self::keys::{CreatedKeyPair, ImportedKeyPair, KeyPairs};
pub(super) use self::storage::{Attached, Attachment, Detached, Snapshot, Snapshots, Volume, Volumes};
pub(super) use self::types::{InstanceType, InstanceTypes};
pub(super) use self::zones::{Zone, Zones};

/// An answer, known by the name of its root.
pub(super) trait Reply: DeserializeOwned + Send + 'static {
    const ROOT: &'static str;
}

/// An answer that is one page of a list.
pub(super) trait Page: Reply {
    type Member;

    /// The members, and the token that leads on.
    fn into_parts(self) -> (Vec<Self::Member>, Option<String>);
}

/// Why a body is not the answer it should be. Holds nothing of the body: a stranger's page may say anything.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("the answer is not {0}")]
    Other(&'static str),
    #[error("the answer is a broken or incomplete {0}")]
    Broken(&'static str),
    #[error("the answer has more in it than any {0}")]
    TooMuch(&'static str),
}

pub(super) fn reply<T: Reply>(body: &[u8]) -> Result<T, Malformed> {
    let text = std::str::from_utf8(body).map_err(|_| Malformed::Broken(T::ROOT))?;
    // serde does not look at the root's name, and a page without our elements would look like an empty answer.
    if root(text).as_deref() != Some(T::ROOT) {
        return Err(Malformed::Other(T::ROOT));
    }
    if !is_within_bounds(text) {
        return Err(Malformed::TooMuch(T::ROOT));
    }
    quick_xml::de::from_str(text).map_err(|_| Malformed::Broken(T::ROOT))
}

/// As far as it can be read.
fn is_within_bounds(text: &str) -> bool {
    let (mut pieces, mut depth) = (0, 0);
    let mut reader = Reader::from_str(text);
    while let Ok(event) = reader.read_event() {
        match event {
            Event::Start(_) if depth == DEPTH_MAX => return false,
            Event::Start(start) => {
                depth += 1;
                pieces += 1 + attributes(&start);
            }
            Event::Empty(start) => pieces += 1 + attributes(&start),
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::Eof => break,
            _ => {}
        }
        if pieces > pieces_max(text.len()) {
            return false;
        }
    }
    true
}

/// Too many count as too much.
fn attributes(start: &BytesStart) -> usize {
    let count = start.attributes().with_checks(false).take(ATTRIBUTES_MAX + 1).count();
    if count > ATTRIBUTES_MAX { usize::MAX / 2 } else { count }
}

/// The local name of the root element.
pub(super) fn root(text: &str) -> Option<String> {
    let mut reader = Reader::from_str(text);
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) | Event::Empty(start) => {
                return Some(start.local_name().as_ref().to_owned());
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

/// EC2's way to write a list.
#[derive(Debug, Deserialize)]
pub(super) struct Set<T> {
    #[serde(rename = "item", default = "Vec::new", deserialize_with = "members", bound = "T: Deserialize<'de>")]
    pub(super) items: Vec<T>,
}

impl<T> Default for Set<T> {
    fn default() -> Self {
        Self { items: Vec::new() }
    }
}

/// Text that is there: an empty element is as good as none.
pub(super) fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

#[derive(Debug, Deserialize)]
pub(super) struct Tag {
    pub(super) key: Option<String>,
    pub(super) value: Option<String>,
}

macro_rules! done {
    ($($name:ident = $root:literal),* $(,)?) => {$(
        /// That it is there says it all.
        #[derive(Debug, Deserialize)]
        pub(super) struct $name {}

        impl Reply for $name {
            const ROOT: &'static str = $root;
        }
    )*};
}

done!(
    AssociatedAddress = "AssociateAddressResponse",
    AuthorizedIngress = "AuthorizeSecurityGroupIngressResponse",
    DeletedKeyPair = "DeleteKeyPairResponse",
    DeletedSecurityGroup = "DeleteSecurityGroupResponse",
    DeletedSnapshot = "DeleteSnapshotResponse",
    DeletedVolume = "DeleteVolumeResponse",
    DeregisteredImage = "DeregisterImageResponse",
    DisassociatedAddress = "DisassociateAddressResponse",
    Rebooted = "RebootInstancesResponse",
    ReleasedAddress = "ReleaseAddressResponse",
    RevokedIngress = "RevokeSecurityGroupIngressResponse",
);

#[derive(Debug, Deserialize)]
pub(super) struct Identity {
    #[serde(rename = "GetCallerIdentityResult")]
    pub(super) result: IdentityResult,
}

impl Reply for Identity {
    const ROOT: &'static str = "GetCallerIdentityResponse";
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct IdentityResult {
    pub(super) account: String,
}

/// The first error an answer names, EC2's form (`Response/Errors/Error`) or STS's (`ErrorResponse/Error`).
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Fault {
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
}

#[derive(Deserialize)]
struct Ec2Faults {
    #[serde(rename = "Errors")]
    errors: Errors,
}

#[derive(Deserialize)]
struct Errors {
    #[serde(rename = "Error")]
    errors: Vec<Fault>,
}

impl Reply for Ec2Faults {
    const ROOT: &'static str = "Response";
}

#[derive(Deserialize)]
struct StsFault {
    #[serde(rename = "Error")]
    error: Fault,
}

impl Reply for StsFault {
    const ROOT: &'static str = "ErrorResponse";
}

/// `None`: the body is no error of EC2's or STS's.
pub(super) fn fault(body: &[u8]) -> Option<Fault> {
    if body.len() > FAULT_BYTES_MAX {
        return None;
    }
    let ec2 = reply::<Ec2Faults>(body).ok().and_then(|faults| faults.errors.errors.into_iter().next());
    ec2.or_else(|| reply::<StsFault>(body).ok().map(|sts| sts.error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::reading::MEMBERS_MAX;

    const PAGE: &str = include_str!("../replies/DescribeInstances-1.xml");

    #[test]
    fn a_page_is_read_past_everything_we_do_not_know() {
        let (reservations, next) = reply::<Instances>(PAGE.as_bytes()).expect("well formed").into_parts();
        let ids: Vec<Vec<&str>> = reservations
            .iter()
            .map(|reservation| reservation.instances_set.items.iter().map(|item| item.instance_id.as_str()).collect())
            .collect();
        assert_eq!(ids, [vec!["i-0c7a1f2e3d4b5a601", "i-0c7a1f2e3d4b5a602"], vec!["i-0f00ba4f00ba4f001"]]);
        assert_eq!(next.as_deref(), Some("eyJ2IjoiMiIsImMiOiJtb3JlIn0="));

        let last = reply::<Instances>(include_bytes!("../replies/DescribeInstances-2.xml")).expect("well formed");
        assert_eq!(last.into_parts().1, None);
    }

    #[test]
    fn a_list_cut_anywhere_is_an_error_and_never_a_shorter_list() {
        let whole = PAGE.trim_end();
        assert!(reply::<Instances>(whole.as_bytes()).is_ok());
        // At every line, and in the last few at every byte: each in turn takes seconds.
        let lines = whole.match_indices('\n').map(|(at, _)| at);
        for end in lines.chain(whole.len() - 400..whole.len()) {
            assert!(reply::<Instances>(&whole.as_bytes()[..end]).is_err(), "cut after {end} bytes");
        }
    }

    #[test]
    fn what_is_not_the_answer_is_never_an_empty_list() {
        for body in [
            "",
            "<html><body>Sign in</body></html>",
            "<!DOCTYPE html><html><reservationSet/></html>",
            "<DescribeInstancesResponse/>",
            "<DescribeInstancesResponse></DescribeInstancesResponse>",
            "<DescribeInstancesResponse><nextToken>x</nextToken></DescribeInstancesResponse>",
            "<DescribeImagesResponse><imagesSet/></DescribeImagesResponse>",
            "<x><DescribeInstancesResponse><reservationSet/></DescribeInstancesResponse></x>",
            "{\"reservationSet\": []}",
            "<DescribeInstancesResponse><reservationSet><item/></reservationSet></DescribeInstancesResponse>",
            "\u{0}\u{1}",
        ] {
            assert!(reply::<Instances>(body.as_bytes()).is_err(), "{body}");
        }
        assert!(
            reply::<Instances>(b"<DescribeInstancesResponse>\xff<reservationSet/></DescribeInstancesResponse>")
                .is_err()
        );
        let empty = b"<DescribeInstancesResponse><reservationSet/></DescribeInstancesResponse>";
        assert_eq!(reply::<Instances>(empty).expect("an honest empty list").into_parts().0.len(), 0);
    }

    #[test]
    fn what_is_large_as_a_tree_is_not_read() {
        let check = |inner: &str, times: usize, expected: Malformed| {
            let inner = inner.repeat(times);
            let body = format!(
                "<DescribeInstancesResponse><reservationSet>{inner}</reservationSet></DescribeInstancesResponse>"
            );
            assert_eq!(reply::<Instances>(body.as_bytes()).err(), Some(expected), "{}", &inner[..12]);
        };
        const ROOT: &str = Instances::ROOT;
        check("<item/>", 100_000, Malformed::TooMuch(ROOT));
        check("<x a='' b='' c=''/>", 100_000, Malformed::TooMuch(ROOT));
        let empty = "<item><instancesSet></instancesSet></item>";
        check(empty, MEMBERS_MAX + 1, Malformed::Broken(ROOT));
        let attributes: String = (0..100).map(|number| format!(" a{number}=''")).collect();
        check(&format!("<item{attributes}/>"), 1, Malformed::TooMuch(ROOT));
        check(&"<deeper>".repeat(100), 1, Malformed::TooMuch(ROOT));
        let one = PAGE.split_once("<item>").expect("one").1.rsplit_once("</reservationSet>").expect("its end").0;
        let whole =
            format!("<{ROOT}><reservationSet>{}</reservationSet></{ROOT}>", format!("<item>{one}").repeat(1_000));
        assert!(
            reply::<Instances>(whole.as_bytes()).is_ok(),
            "a thousand reservations of EC2's own are no more than may be"
        );
    }

    #[test]
    fn errors_of_both_services_are_read() {
        let check = |body: &str, code: Option<&str>| {
            assert_eq!(fault(body.as_bytes()).map(|fault| fault.code).as_deref(), code, "{body}");
        };
        check(include_str!("../replies/error-InvalidInstanceID.NotFound.xml"), Some("InvalidInstanceID.NotFound"));
        check(include_str!("../replies/error-sts-InvalidClientTokenId.xml"), Some("InvalidClientTokenId"));
        check("<Response><Errors/></Response>", None);
        check("<html>502 Bad Gateway</html>", None);
        check("", None);
    }
}
