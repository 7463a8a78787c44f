use crate::drivers::ec2::parse::{self, filled};
use crate::model::{Declared, Realm};

/// What a zone's own word means. Impaired and constrained zones still run machines and launch most of what is asked.
fn declared(native: &str) -> Declared {
    match native {
        "available" | "information" => Declared::Up,
        "impaired" | "constrained" => Declared::Degraded,
        "unavailable" => Declared::Down,
        _ => Declared::Nothing,
    }
}

/// `None`: the account has not opted into it, so that nothing of the account can be there.
pub(crate) fn realm(zone: parse::Zone) -> Option<Realm> {
    if zone.opt_in_status.as_deref() == Some("not-opted-in") {
        return None;
    }
    let declared = declared(&zone.zone_state);
    Some(Realm {
        name: zone.zone_name.clone(),
        id: zone.zone_name,
        state: declared.wire(),
        declared,
        judged: None,
        place: filled(zone.zone_id),
        native_state: zone.zone_state,
        limit: (declared == Declared::Down).then(|| "0".to_owned()),
        messages: zone.message_set.items.into_iter().filter_map(|item| filled(item.message)).collect(),
    })
}

/// Where to put what has to be in some zone, nobody having said in which: the first by name of those that are well, or else
/// can be used. Not at the edge: local zones and those of carriers have less to offer, at another price.
pub(crate) fn zone_to_use(zones: &[parse::Zone]) -> Option<&str> {
    let usual = |zone: &&parse::Zone| zone.zone_type.as_deref().is_none_or(|kind| kind == "availability-zone");
    // A word that is not known is no promise that machines can be there.
    let usable = |zone: &&parse::Zone| matches!(declared(&zone.zone_state), Declared::Up | Declared::Degraded);
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
        let realms: Vec<Realm> = zones.zones.items.into_iter().filter_map(realm).collect();
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
                ("us-east-1f", "AVAILABLE", "retired", None),
            ]
        );
        assert_eq!(realms[0].messages, ["Increased error rates for launches.", "We are investigating."]);
        assert_eq!(realms[1].messages, [""; 0]);
        let said: Vec<_> = realms.iter().map(|realm| (realm.declared, realm.place.as_deref())).collect();
        use Declared::{Degraded, Down, Nothing, Up};
        assert_eq!(
            said,
            [
                (Degraded, Some("use1-az4")),
                (Up, Some("use1-az6")),
                (Down, Some("use1-az1")),
                (Degraded, Some("use1-az2")),
                (Up, Some("use1-az3")),
                (Nothing, Some("use1-az5")),
            ]
        );
    }

    #[test]
    fn what_the_account_has_not_opted_into_is_no_realm() {
        let check = |kind: &str, opt_in: Option<&str>, there: bool| {
            let zone = parse::Zone {
                opt_in_status: opt_in.map(str::to_owned),
                ..zone("us-east-1-bos-1a", "available", Some(kind))
            };
            assert_eq!(realm(zone).is_some(), there, "{kind} {opt_in:?}");
        };
        check("availability-zone", Some("opt-in-not-required"), true);
        check("local-zone", Some("opted-in"), true);
        check("wavelength-zone", Some("opted-in"), true);
        check("local-zone", Some("not-opted-in"), false);
        check("wavelength-zone", Some("not-opted-in"), false);
        check("availability-zone", None, true);
    }

    fn zone(name: &str, state: &str, kind: Option<&str>) -> parse::Zone {
        parse::Zone {
            zone_name: name.to_owned(),
            zone_id: None,
            opt_in_status: None,
            zone_state: state.to_owned(),
            zone_type: kind.map(str::to_owned),
            message_set: parse::Set::default(),
        }
    }

    #[test]
    fn what_must_be_somewhere_is_put_where_it_is_safe() {
        let check = |zones: &[(&str, &str, Option<&str>)], expected: Option<&str>| {
            let zones: Vec<parse::Zone> = zones.iter().map(|(name, state, kind)| zone(name, state, *kind)).collect();
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
