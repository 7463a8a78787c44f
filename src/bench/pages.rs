//! A region of EC2 as it answers: recorded answers, with as many instances in them as are wanted. Pure.

use std::collections::BTreeSet;

/// The answers of one region at one moment. All accounts that are shown it see the same ids.
pub(super) struct Pages {
    statuses: Vec<Vec<u8>>,
    /// Of those that run.
    running: Vec<Vec<u8>>,
    instances: Vec<Vec<u8>>,
    count: u32,
    stopped: u32,
}

const PAGE: u32 = 1_000;
const ZONES: [&str; 3] = ["us-east-1a", "us-east-1b", "us-east-1c"];

const STATUS: &str = include_str!("../drivers/ec2/replies/DescribeInstanceStatus-1.xml");
const INSTANCES: &str = include_str!("../drivers/ec2/replies/DescribeInstances-1.xml");
const IDENTITY: &str = include_str!("../drivers/ec2/replies/GetCallerIdentity.xml");

/// Of the first instance in the recorded answers.
const RECORDED_ID: &str = "i-0c7a1f2e3d4b5a601";
const RECORDED_ZONE: &str = "us-east-1a";

impl Pages {
    /// `count` instances, of which the first `stopped` are stopped and the others run.
    pub(super) fn new(count: u32, stopped: u32) -> Self {
        let (of_status, of_instance) = (status_text(), instance_text());
        let all = || 0..count;
        Self {
            statuses: paged("DescribeInstanceStatusResponse", "instanceStatusSet", all(), |number| {
                filled(of_status, number, number < stopped)
            }),
            running: paged("DescribeInstanceStatusResponse", "instanceStatusSet", stopped..count, |number| {
                filled(of_status, number, false)
            }),
            instances: paged("DescribeInstancesResponse", "reservationSet", all(), |number| {
                filled(&of_instance, number, number < stopped)
            }),
            count,
            stopped,
        }
    }

    /// The action that a form asks for, and the answer; `None` for what is not served here.
    pub(super) fn answer<'a>(&'a self, form: &[u8]) -> Option<(String, std::borrow::Cow<'a, [u8]>)> {
        let (mut action, mut page, mut all, mut ids) = (String::new(), 0, false, BTreeSet::new());
        for (name, value) in form_urlencoded::parse(form) {
            match name.as_ref() {
                "Action" => action = value.into_owned(),
                "NextToken" => page = value.parse().ok()?,
                "IncludeAllInstances" => all = value == "true",
                name if name.starts_with("Filter.1.Value.") => {
                    ids.insert(value.into_owned());
                }
                _ => {}
            }
        }
        let body = match action.as_str() {
            "DescribeInstanceStatus" if all => self.statuses.get::<usize>(page)?.as_slice().into(),
            "DescribeInstanceStatus" => self.running.get(page)?.as_slice().into(),
            "DescribeInstances" if ids.is_empty() => self.instances.get(page)?.as_slice().into(),
            "DescribeInstances" => self.some(&ids).into(),
            "DescribeAvailabilityZones" => zones().into(),
            "GetCallerIdentity" => IDENTITY.as_bytes().into(),
            _ => return None,
        };
        Some((action, body))
    }

    /// Those of these ids that there are.
    fn some(&self, ids: &BTreeSet<String>) -> Vec<u8> {
        let text = instance_text();
        let numbers = ids.iter().filter_map(|id| u32::from_str_radix(id.strip_prefix("i-")?, 16).ok());
        let items: String = numbers
            .filter(|number| *number < self.count)
            .map(|number| filled(&text, number, number < self.stopped))
            .collect();
        page("DescribeInstancesResponse", "reservationSet", &items, None)
    }
}

/// What every account's instance of this number is called.
pub(super) fn id(number: u32) -> String {
    format!("i-{number:017x}")
}

fn paged(root: &str, set: &str, numbers: std::ops::Range<u32>, item: impl Fn(u32) -> String) -> Vec<Vec<u8>> {
    let all: Vec<u32> = numbers.collect();
    let pages: Vec<&[u32]> = all.chunks(PAGE as usize).collect();
    // A region without instances has one page, and it is empty.
    let pages = if pages.is_empty() { vec![&[][..]] } else { pages };
    let last = pages.len() - 1;
    let text = |(at, numbers): (usize, &&[u32])| {
        let items: String = numbers.iter().map(|number| item(*number)).collect();
        page(root, set, &items, (at < last).then_some(at + 1))
    };
    pages.iter().enumerate().map(text).collect()
}

fn page(root: &str, set: &str, items: &str, next: Option<usize>) -> Vec<u8> {
    let next = next.map(|next| format!("    <nextToken>{next}</nextToken>\n")).unwrap_or_default();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\n    \
         <requestId>8f7724cf-496f-496e-8fe3-example00001</requestId>\n    <{set}>\n{items}    </{set}>\n{next}</{root}>\n"
    )
    .into_bytes()
}

fn zones() -> Vec<u8> {
    let zone = |name: &&str| {
        format!(
            "        <item>\n            <optInStatus>opt-in-not-required</optInStatus>\n            \
             <zoneName>{name}</zoneName>\n            <zoneId>use1-{name}</zoneId>\n            \
             <zoneState>available</zoneState>\n            <regionName>us-east-1</regionName>\n            \
             <messageSet/>\n            <zoneType>availability-zone</zoneType>\n        </item>\n"
        )
    };
    let items: String = ZONES.iter().map(zone).collect();
    page("DescribeAvailabilityZonesResponse", "availabilityZoneInfo", &items, None)
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let start = text.find(from).expect("it is in the recorded answer") + from.len();
    let length = text[start..].find(to).expect("it is in the recorded answer");
    &text[start..start + length]
}

/// The first status of the recorded answer.
fn status_text() -> &'static str {
    let item = "        <item>\n            <instanceId>";
    let rest = between(STATUS, "<instanceStatusSet>\n", "    </instanceStatusSet>");
    let end = rest[item.len()..].find(item).expect("several are recorded") + item.len();
    &rest[..end]
}

/// The first instance of the recorded answer, in a reservation of its own.
fn instance_text() -> String {
    let item = "                <item>\n                    <instanceId>";
    let rest = between(INSTANCES, "<reservationSet>\n", "    </reservationSet>");
    let first = rest.find(item).expect("one is recorded");
    let end = rest[first + item.len()..].find(item).expect("several are recorded") + first + item.len();
    format!("{}            </instancesSet>\n        </item>\n", &rest[..end])
}

fn filled(recorded: &str, number: u32, stopped: bool) -> String {
    let zone = ZONES[number as usize % ZONES.len()];
    let text = recorded.replace(RECORDED_ID, &id(number)).replace(&format!("{RECORDED_ZONE}<"), &format!("{zone}<"));
    if !stopped {
        return text;
    }
    text.replace("<code>16</code>", "<code>80</code>").replace("<name>running</name>", "<name>stopped</name>")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(pages: &Pages, form: &str) -> Option<String> {
        pages.answer(form.as_bytes()).map(|(_, body)| String::from_utf8(body.into_owned()).unwrap())
    }

    #[test]
    fn each_list_has_every_instance_once_in_pages_that_lead_on() {
        let pages = Pages::new(1_500, 3);
        let check = |form: &str, ids: usize, stopped: usize, next: bool| {
            let body = answer(&pages, form).unwrap();
            let count = |text: &str| body.matches(text).count();
            assert_eq!(
                (count("<instanceId>i-"), count("<name>stopped</name>"), count("<nextToken>1</nextToken>") == 1),
                (ids, stopped, next),
                "{form}"
            );
        };
        let status = "Action=DescribeInstanceStatus&MaxResults=1000";
        check(&format!("{status}&IncludeAllInstances=true"), 1_000, 3, true);
        check(&format!("{status}&IncludeAllInstances=true&NextToken=1"), 500, 0, false);
        check(status, 1_000, 0, true);
        check(&format!("{status}&NextToken=1"), 497, 0, false);
        check("Action=DescribeInstances&MaxResults=1000", 1_000, 3, true);
        check("Action=DescribeInstances&MaxResults=1000&NextToken=1", 500, 0, false);
        let some = format!("Filter.1.Value.1={}&Filter.1.Value.2={}&Filter.1.Value.3={}", id(2), id(7), id(1_500));
        check(&format!("Action=DescribeInstances&Filter.1.Name=instance-id&{some}"), 2, 1, false);
    }

    #[test]
    fn a_region_may_be_empty_and_what_is_not_served_is_not() {
        let pages = Pages::new(0, 0);
        assert!(answer(&pages, "Action=DescribeInstances").unwrap().contains("<reservationSet>"));
        assert!(answer(&pages, "Action=DescribeAvailabilityZones").unwrap().contains("us-east-1b"));
        for form in ["Action=DescribeInstances&NextToken=1", "Action=RunInstances", ""] {
            assert_eq!(answer(&pages, form), None, "{form}");
        }
    }
}
