//! What the members of each collection look like: the types of every key in JSON, and what XML and JSON both say. A key that
//! is not here is one too many; an element that is neither here nor in JSON's words has to be put here.

use serde_json::Value;

use crate::support::raw::Node;

/// The type of a JSON value.
#[derive(Debug)]
pub(super) enum Is {
    Text,
    /// `http://localhost:3001/api/…`
    Url,
    Bool,
    Count,
    OrNull(&'static Is),
    /// An object without keys where there is nothing.
    OrEmpty(&'static Is),
    List(&'static Is),
    /// An object of any keys.
    Map(&'static Is),
    /// Keys; one that ends in `?` may be missing. There are no others.
    Object(&'static [(&'static str, Is)]),
}

use Is::{Bool, Count, List, Map, Object, OrEmpty, OrNull, Text, Url};

/// How a collection looks.
pub(super) struct Shape {
    pub(super) rel: &'static str,
    /// A member.
    pub(super) json: Is,
    /// Where XML and JSON say the same: a path of elements, perhaps with `@attribute`, and a path of keys with `*` for the
    /// items of a list.
    pub(super) both: &'static [(&'static str, &'static str)],
    /// Elements that JSON has nothing for, or not in the same words.
    pub(super) xml_only: &'static [&'static str],
}

const OPTIONAL: Is = OrNull(&Text);
const REFERENCE: Is = Object(&[("href", Url), ("id", Text), ("rel", Text)]);
const BARE_REFERENCE: Is = Object(&[("href", Url), ("id", Text)]);
const ADDRESSES: Is = List(&Object(&[("address", Text), ("type", Text)]));
const TRACKING: Is = Object(&[
    ("hook?", Text),
    ("since?", Text),
    ("checked?", Text),
    ("stale", Bool),
    ("subscriber?", Text),
    ("availability?", Text),
    ("confidence?", Text),
    ("disabled?", Text),
    ("secret?", Text),
]);

/// What is the same for all that can be tracked.
const TRACKED: &[(&str, &str)] = &[
    ("tracking@hook", "tracking.hook"),
    ("tracking@since", "tracking.since"),
    ("tracking@checked", "tracking.checked"),
    ("tracking@stale", "tracking.stale"),
    ("tracking@subscriber", "tracking.subscriber"),
];

pub(super) const SHAPES: &[Shape] = &[
    Shape {
        rel: "realms",
        json: Object(&[
            ("id", Text),
            ("href", Url),
            ("name", Text),
            ("state", Text),
            ("limit", Text),
            ("tracking?", TRACKING),
        ]),
        both: &[("name", "name"), ("state", "state")],
        // Unlimited is a word in JSON only.
        xml_only: &["limit"],
    },
    Shape {
        rel: "instances",
        json: Object(&[
            ("id", Text),
            ("href", Url),
            ("name", OPTIONAL),
            ("state", Text),
            ("owner", OPTIONAL),
            ("image", OrNull(&REFERENCE)),
            ("realm", OrNull(&REFERENCE)),
            ("actions", List(&Object(&[("href", Url), ("rel", Text), ("method", Text)]))),
            ("create_image?", Bool),
            (
                "hardware_profile",
                OrNull(&Object(&[("href", Url), ("id", Text), ("rel", Text), ("properties", Map(&Text))])),
            ),
            ("public_addresses", ADDRESSES),
            ("private_addresses", ADDRESSES),
            ("create_time", OPTIONAL),
            ("firewalls?", List(&REFERENCE)),
            ("storage_volumes", List(&REFERENCE)),
            ("authentication_type?", Text),
            ("authentication", Object(&[("keyname?", Text)])),
            ("tracking?", TRACKING),
        ]),
        both: &[
            ("name", "name"),
            ("owner_id", "owner"),
            ("state", "state"),
            ("image@id", "image.id"),
            ("image@href", "image.href"),
            ("realm@id", "realm.id"),
            ("realm@href", "realm.href"),
            ("hardware_profile@id", "hardware_profile.id"),
            ("hardware_profile@href", "hardware_profile.href"),
            ("hardware_profile/property@value", "hardware_profile.properties.*"),
            ("launch_time", "create_time"),
            ("public_addresses/address", "public_addresses.*.address"),
            ("public_addresses/address@type", "public_addresses.*.type"),
            ("private_addresses/address", "private_addresses.*.address"),
            ("private_addresses/address@type", "private_addresses.*.type"),
            ("firewalls/firewall@id", "firewalls.*.id"),
            ("storage_volumes/storage_volume@id", "storage_volumes.*.id"),
            ("storage_volumes/storage_volume@href", "storage_volumes.*.href"),
            ("authentication@type", "authentication_type"),
            ("authentication/login/keyname", "authentication.keyname"),
        ],
        // `create_image` is a link in XML and a flag in JSON.
        xml_only: &["actions", "network_interfaces"],
    },
    Shape {
        rel: "images",
        json: Object(&[
            ("id", Text),
            ("href", Url),
            ("name", Text),
            ("description", Text),
            ("owner", Text),
            ("architecture", Text),
            ("state", OPTIONAL),
            ("root_type", Text),
            ("creation_time", OPTIONAL),
            ("hardware_profiles", List(&REFERENCE)),
            ("tracking?", TRACKING),
        ]),
        both: &[
            ("name", "name"),
            ("description", "description"),
            ("owner_id", "owner"),
            ("architecture", "architecture"),
            ("state", "state"),
            ("root_type", "root_type"),
            ("creation_time", "creation_time"),
            ("hardware_profiles/hardware_profile@id", "hardware_profiles.*.id"),
            ("hardware_profiles/hardware_profile@href", "hardware_profiles.*.href"),
            ("hardware_profiles/hardware_profile@rel", "hardware_profiles.*.rel"),
        ],
        xml_only: &["actions"],
    },
    Shape {
        rel: "hardware_profiles",
        json: Object(&[("id", Text), ("href", Url), ("name", Text), ("properties?", Map(&Text))]),
        both: &[("id", "id"), ("name", "name"), ("property@value", "properties.*")],
        xml_only: &[],
    },
    Shape {
        rel: "keys",
        json: Object(&[
            ("id", Text),
            ("href", Url),
            ("credential_type", Text),
            ("username", OPTIONAL),
            ("password", OPTIONAL),
            ("state", OPTIONAL),
            ("pem_rsa_key?", Text),
            ("fingerprint?", Text),
        ]),
        both: &[
            ("@type", "credential_type"),
            ("name", "id"),
            ("username", "username"),
            ("password", "password"),
            ("state", "state"),
            ("pem", "pem_rsa_key"),
            ("fingerprint", "fingerprint"),
        ],
        xml_only: &["actions"],
    },
    Shape {
        rel: "storage_volumes",
        json: Object(&[
            ("id", Text),
            ("href", Url),
            ("name", OPTIONAL),
            ("description", OPTIONAL),
            ("state", Text),
            ("created", OPTIONAL),
            ("realm", OrEmpty(&REFERENCE)),
            ("device", OPTIONAL),
            ("kind", OPTIONAL),
            ("capacity", Text),
            ("actions", List(&Object(&[("href", Url), ("rel", Text)]))),
            ("instance", OrEmpty(&REFERENCE)),
            ("tracking?", TRACKING),
        ]),
        both: &[
            ("state", "state"),
            ("created", "created"),
            ("realm@id", "realm.id"),
            ("realm@href", "realm.href"),
            ("realm_id", "realm.id"),
            ("device", "device"),
            ("mount/device@name", "device"),
            ("mount/instance@id", "instance.id"),
            ("mount/instance@href", "instance.href"),
            ("kind", "kind"),
            ("capacity", "capacity"),
            ("actions/link@rel", "actions.*.rel"),
            ("actions/link@href", "actions.*.href"),
        ],
        // The id where there is no name.
        xml_only: &["name"],
    },
    Shape {
        rel: "storage_snapshots",
        json: Object(&[
            ("id", Text),
            ("href", Url),
            ("name", OPTIONAL),
            ("description", OPTIONAL),
            ("state", Text),
            ("storage_volume", OrNull(&REFERENCE)),
            ("created", OPTIONAL),
            ("tracking?", TRACKING),
        ]),
        both: &[
            ("name", "id"),
            ("state", "state"),
            ("created", "created"),
            ("storage_volume@id", "storage_volume.id"),
            ("storage_volume@href", "storage_volume.href"),
        ],
        xml_only: &[],
    },
    Shape {
        rel: "addresses",
        json: Object(&[("id", Text), ("href", Url), ("associated", Bool), ("instance_id?", Text)]),
        both: &[("ip", "id"), ("instance@id", "instance_id")],
        xml_only: &["actions"],
    },
    Shape {
        rel: "firewalls",
        json: Object(&[
            ("id", Text),
            ("href", Url),
            ("name", Text),
            ("description", Text),
            ("owner_id", OPTIONAL),
            (
                "rules",
                List(&Object(&[
                    ("id", Text),
                    ("href", Url),
                    ("allow_protocol", Text),
                    ("port_from", OPTIONAL),
                    ("port_to", OPTIONAL),
                    ("direction", Text),
                    ("rule_action", OPTIONAL),
                    ("log_rule", OPTIONAL),
                    (
                        "sources",
                        List(&Object(&[
                            ("type", Text),
                            ("family?", Text),
                            ("address?", Text),
                            ("prefix?", Text),
                            ("name?", Text),
                            ("owner?", OPTIONAL),
                        ])),
                    ),
                ])),
            ),
        ]),
        both: &[
            ("name", "name"),
            ("description", "description"),
            ("owner_id", "owner_id"),
            ("rules/rule@id", "rules.*.id"),
            ("rules/rule@href", "rules.*.href"),
            ("rules/rule/allow_protocol", "rules.*.allow_protocol"),
            ("rules/rule/port_from", "rules.*.port_from"),
            ("rules/rule/port_to", "rules.*.port_to"),
            ("rules/rule/direction", "rules.*.direction"),
            ("rules/rule/sources/source@type", "rules.*.sources.*.type"),
            ("rules/rule/sources/source@family", "rules.*.sources.*.family"),
            ("rules/rule/sources/source@address", "rules.*.sources.*.address"),
            ("rules/rule/sources/source@prefix", "rules.*.sources.*.prefix"),
            ("rules/rule/sources/source@name", "rules.*.sources.*.name"),
            ("rules/rule/sources/source@owner", "rules.*.sources.*.owner"),
        ],
        xml_only: &["actions"],
    },
    Shape {
        rel: "buckets",
        json: Object(&[("id", Text), ("href", Url), ("name", Text), ("size", Count), ("blob_list", List(&REFERENCE))]),
        both: &[("name", "name"), ("size", "size"), ("blob@id", "blob_list.*.id"), ("blob@href", "blob_list.*.href")],
        xml_only: &[],
    },
    Shape {
        rel: "blobs",
        json: Object(&[
            ("id", Text),
            ("href", Url),
            ("bucket", Text),
            ("content_length", Count),
            ("content_type", Text),
            ("last_modified", Text),
            ("user_metadata", Map(&Text)),
            ("content", Object(&[("href", Url), ("rel", Text)])),
        ]),
        both: &[
            ("bucket", "bucket"),
            ("content_length", "content_length"),
            ("content_type", "content_type"),
            ("last_modified", "last_modified"),
            ("user_metadata/entry", "user_metadata.*"),
            ("content@href", "content.href"),
            ("content@rel", "content.rel"),
        ],
        xml_only: &[],
    },
    Shape {
        rel: "metrics",
        json: Object(&[
            ("id", Text),
            ("href", Url),
            ("entity", Text),
            ("properties", List(&Object(&[("name", Text), ("values", List(&Map(&Text)))]))),
        ]),
        both: &[("entity", "entity"), ("properties/*/sample/property@value", "properties.*.values.*.*")],
        xml_only: &[],
    },
    Shape {
        rel: "networks",
        json: Object(&[
            ("id", Text),
            ("href", Url),
            ("name", Text),
            ("state", Text),
            ("address_blocks", List(&Text)),
            ("subnets", List(&BARE_REFERENCE)),
        ]),
        both: &[
            ("name", "name"),
            ("state", "state"),
            ("address_blocks/address_block", "address_blocks.*"),
            ("subnets/subnet@id", "subnets.*.id"),
            ("subnets/subnet@href", "subnets.*.href"),
        ],
        xml_only: &["actions"],
    },
    Shape {
        rel: "subnets",
        json: Object(&[
            ("id", Text),
            ("href", Url),
            ("name", Text),
            ("state", Text),
            ("address_block", Text),
            ("network", BARE_REFERENCE),
            ("type", OPTIONAL),
        ]),
        both: &[
            ("name", "name"),
            ("state", "state"),
            ("address_block", "address_block"),
            ("network", "network.id"),
            ("network@id", "network.id"),
            ("network@href", "network.href"),
        ],
        xml_only: &["actions"],
    },
    Shape {
        rel: "network_interfaces",
        json: Object(&[
            ("id", Text),
            ("href", Url),
            ("name", Text),
            ("ip_address", OPTIONAL),
            ("network", REFERENCE),
            ("instance", REFERENCE),
        ]),
        both: &[
            ("name", "name"),
            ("ip_address", "ip_address"),
            ("network", "network.id"),
            ("network@href", "network.href"),
            ("network@rel", "network.rel"),
            ("instance", "instance.id"),
            ("instance@href", "instance.href"),
        ],
        xml_only: &["actions"],
    },
    Shape {
        rel: "drivers",
        json: Object(&[("id", Text), ("name", Text), ("entrypoints", Map(&Map(&Text)))]),
        both: &[("name", "name"), ("provider/entrypoint", "entrypoints.*.*")],
        xml_only: &[],
    },
];

/// An item in the list of drivers, which is an object by id.
pub(super) const DRIVER_ITEM: Is = Object(&[("name", Text), ("entrypoints", Map(&Map(&Text)))]);

pub(super) const INSTANCE_STATES: Is = List(&Object(&[
    ("name", Text),
    ("transitions", List(&Object(&[("to", Text), ("action?", Text), ("auto?", Text)]))),
]));

pub(super) const ENTRY: Is = Object(&[(
    "api",
    Object(&[
        ("version", Text),
        ("tracker", Text),
        ("driver", Text),
        ("provider", Text),
        (
            "links",
            List(&Object(&[
                ("rel", Text),
                ("href", Url),
                (
                    "features",
                    List(&List(&Object(&[
                        ("name", Text),
                        ("rel", Text),
                        ("params", List(&Text)),
                        ("constraints", Map(&Text)),
                    ]))),
                ),
            ])),
        ),
    ]),
)]);

impl Is {
    /// What is wrong with a value, and where.
    pub(super) fn wrong(&self, value: &Value) -> Option<String> {
        let no = || Some(format!(" is not {self:?} but {value}"));
        let beneath = |key: &str, is: &Self, value: &Value| is.wrong(value).map(|wrong| format!(".{key}{wrong}"));
        match (self, value) {
            (Text, Value::String(_)) | (Bool, Value::Bool(_)) | (OrNull(_), Value::Null) => None,
            (Url, Value::String(text)) => {
                if text.starts_with("http://localhost:3001/api") {
                    None
                } else {
                    no()
                }
            }
            (Count, Value::Number(number)) => {
                if number.is_u64() {
                    None
                } else {
                    no()
                }
            }
            (OrNull(is), value) => is.wrong(value),
            (OrEmpty(_), Value::Object(object)) if object.is_empty() => None,
            (OrEmpty(is), value) => is.wrong(value),
            (List(is), Value::Array(items)) => items.iter().find_map(|item| beneath("*", is, item)),
            (Map(is), Value::Object(object)) => object.iter().find_map(|(key, value)| beneath(key, is, value)),
            (Object(keys), Value::Object(object)) => {
                let name = |key: &'static str| key.trim_end_matches('?');
                let strange = object.keys().find(|key| !keys.iter().any(|(known, _)| name(known) == *key));
                let strange = strange.map(|key| format!(".{key} is not expected"));
                strange.or_else(|| {
                    keys.iter().find_map(|(key, is)| match object.get(name(key)) {
                        Some(value) => beneath(name(key), is, value),
                        None if key.ends_with('?') => None,
                        None => Some(format!(".{key} is missing")),
                    })
                })
            }
            _ => no(),
        }
    }
}

impl Shape {
    pub(super) fn of(rel: &str) -> &'static Self {
        let shape = SHAPES.iter().find(|shape| shape.rel == rel);
        shape.unwrap_or_else(|| panic!("nobody has said what {rel} look like"))
    }

    /// Fails unless both say the same wherever they say something, and XML says nothing else.
    pub(super) fn compare(&self, xml: &Node, json: &Value) {
        let always = [("@id", "id"), ("@href", "href")];
        let always = always.iter().filter(|(_, key)| json.get(key).is_some());
        for (xml_path, json_path) in always.chain(TRACKED).chain(self.both) {
            let (mut in_xml, mut in_json) = (Vec::new(), Vec::new());
            in_node(xml, xml_path, &mut in_xml);
            in_value(json, json_path, &mut in_json);
            // Maps have an order of their own.
            in_xml.sort();
            in_json.sort();
            assert_eq!(in_xml, in_json, "{}: {xml_path} and {json_path} of {xml:?} and {json}", self.rel);
        }
        let first = |path: &'static str| path.split(['/', '@']).next().expect("a split has a first part");
        for child in &xml.children {
            let known = self.both.iter().chain(TRACKED).any(|(path, _)| first(path) == child.name);
            assert!(known || self.xml_only.contains(&child.name.as_str()), "{}: {} in {xml:?}", self.rel, child.name);
        }
    }
}

/// Texts that say something.
fn in_node(node: &Node, path: &str, found: &mut Vec<String>) {
    let (step, rest) = path.split_once('/').unwrap_or((path, ""));
    let (name, attribute) = step.split_once('@').map_or((step, None), |(name, attribute)| (name, Some(attribute)));
    let here: Vec<_> = match name {
        "" => vec![node],
        "*" => node.children.iter().collect(),
        name => node.children.iter().filter(|child| child.name == name).collect(),
    };
    for one in here {
        match attribute {
            Some(attribute) => found.extend(one.attribute(attribute).map(str::to_owned)),
            None if rest.is_empty() => found.push(one.text.clone()),
            None => in_node(one, rest, found),
        }
    }
    found.retain(|text| !text.is_empty());
}

/// As [`in_node`], with what XML cannot hold as it writes it.
fn in_value(value: &Value, path: &str, found: &mut Vec<String>) {
    let (step, rest) = path.split_once('.').unwrap_or((path, ""));
    match (step, value) {
        ("", Value::Null) => {}
        ("", Value::String(text)) => found.push(text.chars().map(as_xml_has_it).collect()),
        ("", value) => found.push(value.to_string()),
        ("*", Value::Array(items)) => items.iter().for_each(|item| in_value(item, rest, found)),
        ("*", Value::Object(object)) => object.values().for_each(|value| in_value(value, rest, found)),
        (key, value) => value.get(key).into_iter().for_each(|value| in_value(value, rest, found)),
    }
    found.retain(|text| !text.is_empty());
}

fn as_xml_has_it(character: char) -> char {
    match character {
        '\t' | '\n' | '\r' => character,
        '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        _ => character,
    }
}

#[test]
fn a_value_of_another_shape_is_told_apart() {
    const IS: Is = Object(&[("id", Text), ("size?", Count), ("at", OrNull(&Text)), ("of", List(&Map(&Bool)))]);
    let check = |json: &str, wrong: &str| {
        assert_eq!(IS.wrong(&serde_json::from_str(json).unwrap()).unwrap_or_default(), wrong, "{json}");
    };
    check(r#"{"id": "x", "at": null, "of": []}"#, "");
    check(r#"{"id": "x", "size": 1, "at": "x", "of": [{"a": true}]}"#, "");
    check(r#"{"id": 1, "at": null, "of": []}"#, ".id is not Text but 1");
    check(r#"{"id": "x", "of": []}"#, ".at is missing");
    check(r#"{"id": "x", "at": null, "of": [], "new": 1}"#, ".new is not expected");
    check(r#"{"id": "x", "at": null, "of": [{"a": 1}]}"#, ".of.*.a is not Bool but 1");
    check(r#"{"id": "x", "size": -1, "at": null, "of": []}"#, ".size is not Count but -1");
    check("[]", &format!(" is not {IS:?} but []"));
}

#[test]
fn paths_find_what_says_something() {
    let xml = Node::parse("<a id='1'><b x='2'>3</b><b>4</b><c/></a>");
    let json: Value =
        serde_json::from_str(r#"{"b": [{"x": 2}, {"x": null}, {"y": "\u0001"}], "c": {"d": ""}}"#).unwrap();
    let xml = |path| {
        let mut found = Vec::new();
        in_node(&xml, path, &mut found);
        found.join(" ")
    };
    let json = |path| {
        let mut found = Vec::new();
        in_value(&json, path, &mut found);
        found.join(" ")
    };
    assert_eq!([xml("@id"), xml("b"), xml("b@x"), xml("c"), xml("d"), xml("*")], ["1", "3 4", "2", "", "", "3 4"]);
    assert_eq!([json("b.*.x"), json("b.*.y"), json("c.d"), json("c.*"), json("z")], ["2", "\u{fffd}", "", "", ""]);
}
