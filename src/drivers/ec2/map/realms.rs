use crate::drivers::ec2::parse::{self, filled};
use crate::model::{Declared, Realm, RealmState};

/// What a zone's own word means on a wire that knows two. Impaired and constrained zones still run machines and launch
/// most of what is asked; a word we do not know is not a promise that the zone can be used.
fn realm_state(native: &str) -> RealmState {
    match native {
        "available" | "information" | "impaired" | "constrained" => RealmState::Available,
        _ => RealmState::Unavailable,
    }
}

fn declared(native: &str) -> Declared {
    match native {
        "available" | "information" => Declared::Up,
        "impaired" | "constrained" => Declared::Degraded,
        "unavailable" => Declared::Down,
        _ => Declared::Nothing,
    }
}

pub(crate) fn realm(zone: parse::Zone) -> Realm {
    let state = realm_state(&zone.zone_state);
    Realm {
        name: zone.zone_name.clone(),
        id: zone.zone_name,
        state,
        declared: declared(&zone.zone_state),
        judged: None,
        native_state: zone.zone_state,
        limit: (state == RealmState::Unavailable).then(|| "0".to_owned()),
        messages: zone.message_set.items.into_iter().filter_map(|item| filled(item.message)).collect(),
    }
}

/// Where to put what has to be in some zone, nobody having said in which: the first by name of those that are well, or else
/// can be used. Not at the edge: local zones and those of carriers have less to offer, at another price.
pub(crate) fn zone_to_use(zones: &[parse::Zone]) -> Option<&str> {
    let usual = |zone: &&parse::Zone| zone.zone_type.as_deref().is_none_or(|kind| kind == "availability-zone");
    let usable = |zone: &&parse::Zone| realm_state(&zone.zone_state) == RealmState::Available;
    let best = zones.iter().filter(usual).filter(usable);
    best.min_by_key(|zone| (zone.zone_state != "available", &zone.zone_name)).map(|zone| zone.zone_name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::ec2::map::tests::read;

    #[test]
    fn zones_keep_what_is_said_about_them() {
        let zones: parse::Zones = read(include_str!("../replies/DescribeAvailabilityZones.xml"));
        let realms: Vec<Realm> = zones.zones.items.into_iter().map(realm).collect();
        let seen: Vec<_> = realms
            .iter()
            .map(|realm| (realm.id.as_str(), realm.state.as_str(), realm.native_state.as_str(), realm.limit.as_deref()))
            .collect();
        assert_eq!(
            seen,
            [
                ("us-east-1c", "AVAILABLE", "impaired", None),
                ("us-east-1a", "AVAILABLE", "available", None),
                ("us-east-1b", "UNAVAILABLE", "unavailable", Some("0")),
                ("us-east-1d", "AVAILABLE", "constrained", None),
                ("us-east-1e", "AVAILABLE", "information", None),
                ("us-east-1f", "UNAVAILABLE", "retired", Some("0")),
            ]
        );
        assert_eq!(realms[0].messages, ["Increased error rates for launches.", "We are investigating."]);
        assert_eq!(realms[1].messages, [""; 0]);
    }

    #[test]
    fn what_must_be_somewhere_is_put_where_it_is_safe() {
        let check = |zones: &[(&str, &str, Option<&str>)], expected: Option<&str>| {
            let zones: Vec<parse::Zone> = zones
                .iter()
                .map(|(name, state, kind)| parse::Zone {
                    zone_name: (*name).to_owned(),
                    zone_state: (*state).to_owned(),
                    zone_type: kind.map(str::to_owned),
                    message_set: parse::Set::default(),
                })
                .collect();
            assert_eq!(zone_to_use(&zones), expected);
        };
        let usual = Some("availability-zone");
        check(&[("r-1c", "available", usual), ("r-1b", "available", usual)], Some("r-1b"));
        check(&[("r-1a", "impaired", usual), ("r-1b", "available", usual)], Some("r-1b"));
        check(&[("r-1a", "unavailable", usual), ("r-1b", "impaired", usual)], Some("r-1b"));
        check(&[("r-1-bos-1a", "available", Some("local-zone")), ("r-1a", "available", usual)], Some("r-1a"));
        check(&[("nova", "available", None)], Some("nova"));
        check(&[("r-1a", "unavailable", usual)], None);
        check(&[], None);
    }
}
