//! Who is to blame for a launch that failed and for a machine that ended. Pure, one table.

use reqwest::StatusCode;

use crate::drivers::Kind;
use crate::model::{Fault, FaultKind};

/// Of an instance: what its state reason says. `None`: nothing failed or ended, or EC2 does not say why.
///
/// A running or pending instance that has a reason has it from before.
pub(super) fn of_instance(native_state: &str, code: Option<&str>) -> Option<Fault> {
    if !matches!(native_state, "stopping" | "stopped" | "shutting-down" | "terminated") {
        return None;
    }
    let code = code?.trim();
    let kind = match code.split_once('.')? {
        ("Server", word) => by_word(word).unwrap_or(FaultKind::Infrastructure),
        // What a client did, or what it launched from, whatever else the word says.
        ("Client", word) => by_word(word).filter(|kind| !kind.counts()).unwrap_or(FaultKind::Request),
        _ => return None,
    };
    Some(Fault { kind, code: shown(code) })
}

/// Of a refused `RunInstances`. `None` where the answer says nothing of the launch: too many calls, bad credentials, clocks
/// that differ.
pub(super) fn of_launch(status: StatusCode, kind: Kind, code: &str) -> Option<Fault> {
    let code = code.trim();
    let word = code.trim_start_matches("Server.").trim_start_matches("Client.");
    let kind = match (kind, by_word(word)) {
        (Kind::Throttled { .. } | Kind::Denied | Kind::TimedOut, _) => return None,
        (_, Some(kind)) => kind,
        (_, None) if status.is_server_error() => FaultKind::Infrastructure,
        (Kind::Unavailable, None) => return None,
        (_, None) => FaultKind::Request,
    };
    Some(Fault { kind, code: shown(code) })
}

/// `None`: the word alone does not say.
fn by_word(word: &str) -> Option<FaultKind> {
    Some(match word {
        "InternalError" | "InternalFailure" | "Unavailable" | "ServiceUnavailable" => FaultKind::Infrastructure,
        // It takes the machine away because the host is failing.
        "ScheduledStop" => FaultKind::Infrastructure,
        "MaxSpotInstanceCountExceeded" => FaultKind::Quota,
        // Somebody else paid more; it was known to happen.
        _ if word.starts_with("Spot") => FaultKind::Request,
        _ if word.starts_with("Insufficient") && word.ends_with("Capacity") => FaultKind::Capacity,
        _ if word.ends_with("LimitExceeded") => FaultKind::Quota,
        _ => return None,
    })
}

fn shown(code: &str) -> String {
    code.chars().filter(char::is_ascii_graphic).take(CODE_CHARS_MAX).collect()
}

/// EC2's longest have some fifty.
const CODE_CHARS_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use super::FaultKind::{Capacity, Infrastructure, Quota, Request};
    use super::*;

    #[test]
    fn a_state_reason_says_who_is_to_blame() {
        let check = |code: &str, expected: Option<FaultKind>| {
            let fault = of_instance("terminated", Some(code));
            assert_eq!(fault.as_ref().map(|fault| fault.kind), expected, "{code}");
            assert!(fault.is_none_or(|fault| fault.code == code), "{code}");
        };
        check("Server.InsufficientInstanceCapacity", Some(Capacity));
        check("Server.InternalError", Some(Infrastructure));
        check("Server.ScheduledStop", Some(Infrastructure));
        check("Server.SpotInstanceShutdown", Some(Request));
        check("Server.SpotInstanceTermination", Some(Request));
        check("Server.SomethingNew", Some(Infrastructure));
        check("Client.InternalError", Some(Request));
        check("Client.InsufficientInstanceCapacity", Some(Request));
        check("Client.InstanceInitiatedShutdown", Some(Request));
        check("Client.InstanceTerminated", Some(Request));
        check("Client.InvalidSnapshot.NotFound", Some(Request));
        check("Client.UserInitiatedHibernate", Some(Request));
        check("Client.UserInitiatedShutdown", Some(Request));
        check("Client.VolumeLimitExceeded", Some(Quota));
        check("pending", None);
        check("", None);
    }

    #[test]
    fn what_lives_is_nobodys_fault() {
        let check = |native: &str, there: bool| {
            assert_eq!(of_instance(native, Some("Server.InternalError")).is_some(), there, "{native}");
        };
        check("pending", false);
        check("running", false);
        check("hibernating", false);
        check("stopping", true);
        check("stopped", true);
        check("shutting-down", true);
        assert_eq!(of_instance("terminated", None), None);
        let long = of_instance("terminated", Some(&format!("Server.{}\n", "x".repeat(500)))).expect("a fault");
        assert_eq!(long.code.len(), CODE_CHARS_MAX);
    }

    #[test]
    fn a_refused_launch_says_who_is_to_blame() {
        let check = |status: u16, kind: Kind, code: &str, expected: Option<FaultKind>| {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(of_launch(status, kind, code).map(|fault| fault.kind), expected, "{code}");
        };
        check(500, Kind::Unavailable, "InsufficientInstanceCapacity", Some(Capacity));
        check(400, Kind::Unavailable, "Server.InsufficientInstanceCapacity", Some(Capacity));
        check(400, Kind::Unavailable, "InsufficientHostCapacity", Some(Capacity));
        check(500, Kind::Unavailable, "InternalError", Some(Infrastructure));
        check(503, Kind::Unavailable, "Unavailable", Some(Infrastructure));
        check(503, Kind::Unavailable, "SomethingNew", Some(Infrastructure));
        check(400, Kind::Forbidden, "InstanceLimitExceeded", Some(Quota));
        check(400, Kind::Forbidden, "VcpuLimitExceeded", Some(Quota));
        check(400, Kind::Invalid, "MaxSpotInstanceCountExceeded", Some(Quota));
        check(400, Kind::Invalid, "InvalidAMIID.NotFound", Some(Request));
        check(400, Kind::Invalid, "InsufficientFreeAddressesInSubnet", Some(Request));
        check(400, Kind::Invalid, "Unsupported", Some(Request));
        check(403, Kind::Forbidden, "UnauthorizedOperation", Some(Request));
        check(503, Kind::Throttled { after: None }, "RequestLimitExceeded", None);
        check(401, Kind::Denied, "AuthFailure", None);
        check(400, Kind::Unavailable, "RequestExpired", None);
    }
}
