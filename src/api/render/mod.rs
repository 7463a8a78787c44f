//! What answers look like. One file for each collection: a view holds what is shown, serde writes it as JSON, and
//! [`Document::xml`] beside it as XML, so that the two cannot drift apart. Views are made from the model by naming every
//! field, so that a new one has to be judged here.

mod address;
mod blob;
mod bucket;
mod delivery;
mod drivers;
mod entry;
mod firewall;
mod hook;
mod image;
mod instance;
mod key;
mod metric;
mod network;
mod network_interface;
mod profile;
mod realm;
mod snapshot;
mod states;
mod subnet;
mod tracking;
mod volume;
mod xml;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

pub(super) use address::AddressView;
pub(super) use blob::BlobView;
pub(super) use bucket::BucketView;
pub(super) use delivery::DeliveryView;
pub(super) use drivers::{DriverList, DriverMember};
pub(super) use entry::{Entry, LinkView};
pub(super) use firewall::FirewallView;
pub(super) use hook::{HookView, WAITING_COUNTED};
pub(super) use image::ImageView;
pub(super) use instance::InstanceView;
pub(super) use key::KeyView;
pub(super) use metric::MetricView;
pub(super) use network::NetworkView;
pub(super) use network_interface::NetworkInterfaceView;
pub(super) use profile::ProfileView;
pub(super) use realm::RealmView;
pub(super) use snapshot::SnapshotView;
pub(super) use states::States;
pub(super) use subnet::SubnetView;
pub(super) use tracking::TrackingView;
pub(super) use volume::VolumeView;
pub(super) use xml::Xml;

use super::negotiate::Format;
use super::target::segment;

/// Something that can be shown both ways.
pub(super) trait Document: Serialize {
    fn xml(&self, xml: &mut Xml);
}

pub(super) fn render(document: &impl Document, format: Format) -> Vec<u8> {
    match format {
        Format::Xml => {
            let mut xml = Xml::new();
            document.xml(&mut xml);
            xml.into_bytes()
        }
        Format::Json => serde_json::to_vec(document).expect("views are maps with text keys"),
    }
}

/// Where hrefs begin: `http://localhost:3001/api;driver=ec2`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Base<'a>(pub(super) &'a str);

impl Base<'_> {
    pub(super) fn collection(self, collection: &str) -> String {
        format!("{}/{collection}", self.0)
    }

    pub(super) fn member(self, collection: &str, id: &str) -> String {
        format!("{}/{collection}/{}", self.0, segment(id))
    }
}

/// One member: bare in XML, under the singular's name in JSON.
pub(super) struct Member<T>(pub(super) &'static str, pub(super) T);

impl<T: Document> Document for Member<T> {
    fn xml(&self, xml: &mut Xml) {
        self.1.xml(xml);
    }
}

impl<T: Serialize> Serialize for Member<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wrapped(self.0, &self.1, serializer)
    }
}

/// All members under the plural's name, and nothing else beside them: clients take every child for a member.
pub(super) struct List<T>(pub(super) &'static str, pub(super) Vec<T>);

impl<T: Document> Document for List<T> {
    fn xml(&self, xml: &mut Xml) {
        xml.element(self.0, &[], |xml| self.1.iter().for_each(|member| member.xml(xml)));
    }
}

impl<T: Serialize> Serialize for List<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        wrapped(self.0, &self.1, serializer)
    }
}

/// A list as [`List`], with the hook on the collection: beside the members in JSON, and in XML on the root itself, where no
/// client looks for members.
pub(super) struct TrackedList<T>(pub(super) List<T>, pub(super) TrackingView);

impl<T: Document> Document for TrackedList<T> {
    fn xml(&self, xml: &mut Xml) {
        let Self(List(name, members), tracking) = self;
        tracking.attributes(|given| xml.element(name, given, |xml| members.iter().for_each(|member| member.xml(xml))));
    }
}

impl<T: Serialize> Serialize for TrackedList<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(List(name, members), tracking) = self;
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry(name, members)?;
        map.serialize_entry("tracking", tracking)?;
        map.end()
    }
}

fn wrapped<S: Serializer>(name: &str, inner: &impl Serialize, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(name, inner)?;
    map.end()
}

/// Another resource that this one names.
#[derive(Debug, Serialize)]
struct Reference<'a> {
    href: String,
    id: &'a str,
    rel: &'static str,
}

impl<'a> Reference<'a> {
    fn new(base: Base, collection: &str, rel: &'static str, id: &'a str) -> Self {
        Self { href: base.member(collection, id), id, rel }
    }

    fn attributes(&self) -> [(&'static str, &str); 2] {
        [("href", &self.href), ("id", self.id)]
    }
}

/// The actions of what can be destroyed and nothing else.
fn link_to_destroy(xml: &mut Xml, href: &str) {
    xml.element("actions", &[], |xml| xml.empty("link", &[("href", href), ("method", "delete"), ("rel", "destroy")]));
}

/// Pairs as a JSON object.
fn as_map<S: Serializer>(pairs: &[(&str, &str)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().copied())
}

#[cfg(test)]
fn both(document: &impl Document) -> String {
    let text = |format| String::from_utf8(render(document, format)).expect("UTF-8 is written");
    let json: serde_json::Value = serde_json::from_str(&text(Format::Json)).expect("JSON is written");
    format!("{}{json:#}", text(Format::Xml))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hook_on_an_empty_collection_has_its_place() {
        let tracking = TrackingView {
            hook: Some("feed".to_owned()),
            secret: Some("whsec_1".to_owned()),
            ..TrackingView::default()
        };
        let list = TrackedList(List::<NetworkView>("instances", vec![]), tracking);
        let text = |format| String::from_utf8(render(&list, format)).unwrap();
        let json = r#"{"instances":[],"tracking":{"hook":"feed","stale":false,"secret":"whsec_1"}}"#;
        assert_eq!(text(Format::Json), json);
        assert!(text(Format::Xml).ends_with("<instances hook='feed' stale='false' secret='whsec_1'></instances>\n"));
    }
}
