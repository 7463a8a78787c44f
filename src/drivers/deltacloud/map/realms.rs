use super::{id, is_one_of};
use crate::drivers::deltacloud::document::Node;
use crate::model::{Declared, Realm};

/// Deltacloud has two words. Some drivers pass their cloud's own on, and some servers have others; one that is not here says
/// nothing of the realm, good or bad.
fn declared(native: &str) -> Declared {
    match native {
        _ if is_one_of(native, &["available", "up", "information", "online", "active", "enabled", "ok"]) => {
            Declared::Up
        }
        _ if is_one_of(native, &["impaired", "constrained", "degraded"]) => Declared::Degraded,
        _ if is_one_of(native, DOWN) => Declared::Down,
        _ => Declared::Nothing,
    }
}

pub(crate) fn realm(node: &Node) -> Realm {
    let (mut native, mut limit) = (node.said("state").unwrap_or_default(), node.said("limit"));
    // One driver has always had the two the wrong way round.
    if native.eq_ignore_ascii_case(UNLIMITED)
        && let Some(state) = limit
    {
        (native, limit) = (state, None);
    }
    let id = id(node);
    let declared = declared(native);
    Realm {
        judged: None,
        place: None,
        name: node.said_owned("name").unwrap_or_else(|| id.clone()),
        id,
        state: declared.wire(),
        declared,
        native_state: native.to_owned(),
        limit: limit.filter(|limit| !limit.eq_ignore_ascii_case(UNLIMITED)).map(str::to_owned),
        messages: Vec::new(),
    }
}

const DOWN: &[&str] = &["unavailable", "not available", "down", "offline", "maintenance", "disabled"];
const UNLIMITED: &str = "unlimited";

#[cfg(test)]
mod tests {
    use super::super::recorded;
    use super::*;
    use crate::model::RealmState;

    #[test]
    fn realms_keep_what_is_said_about_them() {
        let check = |inner: &str, state: RealmState, declared: Declared, native: &str, limit: Option<&str>| {
            let realm = realm(&recorded(&format!("<realm id='r' href='h'>{inner}</realm>")));
            let seen = (realm.state, realm.declared, realm.native_state.as_str(), realm.limit.as_deref());
            assert_eq!(seen, (state, declared, native, limit), "{inner}");
        };
        use RealmState::{Available, Unavailable};
        check("<state>AVAILABLE</state>", Available, Declared::Up, "AVAILABLE", None);
        check(
            "<state>available</state><limit><![CDATA[17]]></limit>",
            Available,
            Declared::Up,
            "available",
            Some("17"),
        );
        check("<state>UNAVAILABLE</state><limit>0</limit>", Unavailable, Declared::Down, "UNAVAILABLE", Some("0"));
        check("<state>DOWN</state>", Unavailable, Declared::Down, "DOWN", None);
        check("<state>impaired</state>", Available, Declared::Degraded, "impaired", None);
        check("<state>ONLINE</state>", Available, Declared::Up, "ONLINE", None);
        check("<state>OFFLINE</state>", Unavailable, Declared::Down, "OFFLINE", None);
        check("<state>Maintenance</state>", Unavailable, Declared::Down, "Maintenance", None);
        // What says nothing is not the same as down, neither at first nor later.
        check("<state>pending</state>", Available, Declared::Nothing, "pending", None);
        check("<state></state>", Available, Declared::Nothing, "", None);
        check("", Available, Declared::Nothing, "", None);
        check("<state>unlimited</state><limit>AVAILABLE</limit>", Available, Declared::Up, "AVAILABLE", None);
        check("<state>unlimited</state>", Available, Declared::Nothing, "unlimited", None);
    }

    #[test]
    fn a_realm_without_a_name_is_called_by_its_id() {
        assert_eq!(realm(&recorded("<realm id='eu'><name>Europe</name></realm>")).name, "Europe");
        assert_eq!(realm(&recorded("<realm id='eu'><name/></realm>")).name, "eu");
    }
}
