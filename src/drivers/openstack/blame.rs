//! Who is to blame for a machine that broke, and for one that was refused. Pure.

use reqwest::StatusCode;

use super::fault::Fault;
use crate::model::{self, FaultKind};

/// Who is to blame for a launch that was refused.
pub(super) fn of_launch(status: StatusCode, fault: Option<&Fault>) -> Option<model::Fault> {
    let fault = fault?;
    let known = known(&fault.message);
    if status.is_client_error() && !matches!(known, Some((FaultKind::Quota | FaultKind::Capacity, _))) {
        let code = if fault.word.is_empty() { status.as_str() } else { &fault.word };
        return Some(model::Fault { kind: FaultKind::Request, code: bounded(code) });
    }
    let (kind, code) = known.unwrap_or((FaultKind::Infrastructure, &fault.word));
    Some(model::Fault { kind, code: bounded(code) })
}

/// Who is to blame for a server in error: from the words Nova left with it, and the code beside them.
pub(super) fn of_server(code: Option<u64>, message: &str) -> model::Fault {
    let (kind, word) = known(message).unwrap_or(match code {
        Some(400..=499) => (FaultKind::Request, message),
        _ => (FaultKind::Infrastructure, message),
    });
    model::Fault { kind, code: bounded(word) }
}

/// The messages that Nova is known for, and the exceptions behind them. Users see the message only.
///
/// A build that was given up brings another exception's words in its own: these are judged, and the build as such only
/// where they say nothing. So a user who chose too small a flavor has the blame for it, though the code is 500.
fn known(message: &str) -> Option<(FaultKind, &'static str)> {
    let message = message.to_lowercase();
    let mut reason = message.as_str();
    let mut given_up = None;
    if let Some((_, rest)) = reason.split_once("build of instance").and_then(|(_, rest)| rest.split_once("aborted:")) {
        reason = rest;
        given_up = Some((FaultKind::Infrastructure, "BuildAbortException"));
    }
    if let Some((_, rest)) = reason.split_once("failed to allocate the network(s) with error") {
        reason = rest;
        given_up = Some((FaultKind::Infrastructure, "VirtualInterfaceCreateException"));
    }
    in_table(reason).or(given_up)
}

/// `message` in lower case.
fn in_table(message: &str) -> Option<(FaultKind, &'static str)> {
    use FaultKind::{Capacity, Infrastructure, Quota, Request};
    const TABLE: &[(&str, FaultKind, &str)] = &[
        ("no valid host", Capacity, "NoValidHost"),
        ("not enough hosts", Capacity, "NoValidHost"),
        ("insufficient compute resources", Capacity, "ComputeResourcesUnavailable"),
        ("insufficient free", Capacity, "ComputeResourcesUnavailable"),
        ("no more available networks", Capacity, "NoMoreNetworks"),
        ("no more ip addresses", Request, "NoMoreFixedIps"),
        ("no more fixed ips", Request, "NoMoreFixedIps"),
        ("no fixed ip addresses available", Request, "NoMoreFixedIps"),
        ("number of fixed ips exceeded", Quota, "FixedIpLimitExceeded"),
        ("number of ports exceeded", Quota, "PortLimitExceeded"),
        ("quota", Quota, "QuotaExceeded"),
        ("is over a limit for", Quota, "QuotaExceeded"),
        ("is over limit of", Quota, "QuotaExceeded"),
        ("flavor's disk is too small", Request, "FlavorDiskSmallerThanImage"),
        ("flavor's memory is too small", Request, "FlavorMemoryTooSmall"),
        ("block device mapping is invalid", Request, "InvalidBDM"),
        ("disk info file is invalid", Request, "InvalidDiskInfo"),
        ("is unacceptable", Request, "ImageUnacceptable"),
        ("signature", Request, "SignatureVerificationError"),
        ("certificate validation failed", Request, "CertificateValidationFailed"),
        ("invalid input", Request, "InvalidInput"),
        // Only after several hosts failed to build it.
        ("exhausted all hosts", Infrastructure, "MaxRetriesExceeded"),
        ("exceeded maximum number of retries", Infrastructure, "MaxRetriesExceeded"),
        ("not mapped to any cell", Infrastructure, "HostMappingNotFound"),
        ("failed to allocate the network", Infrastructure, "VirtualInterfaceCreateException"),
        ("virtual interface creation failed", Infrastructure, "VirtualInterfaceCreateException"),
        ("build of instance", Infrastructure, "BuildAbortException"),
        ("timed out waiting for a reply", Infrastructure, "MessagingTimeout"),
        ("compute host", Infrastructure, "ComputeHost"),
        ("compute service", Infrastructure, "ComputeServiceUnavailable"),
        ("libvirt", Infrastructure, "LibvirtError"),
        ("hypervisor", Infrastructure, "HypervisorError"),
        ("disk format", Request, "InvalidDiskFormat"),
        ("image", Request, "Image"),
    ];
    TABLE.iter().find(|(words, ..)| message.contains(words)).map(|(_, kind, code)| (*kind, *code))
}

fn bounded(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|char| !char.is_control()).take(CODE_CHARS_MAX).collect()
}

const CODE_CHARS_MAX: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_to_blame_for_a_broken_server() {
        use FaultKind::{Capacity, Infrastructure, Quota, Request};
        let check = |code: u64, message: &str, kind: FaultKind, word: &str| {
            let fault = of_server(Some(code), message);
            assert_eq!((fault.kind, fault.code.as_str()), (kind, word), "{message}");
        };
        check(500, "No valid host was found. There are not enough hosts available.", Capacity, "NoValidHost");
        check(400, "Host 'compute2' is not mapped to any cell", Infrastructure, "HostMappingNotFound");
        check(
            500,
            "Exceeded maximum number of retries. Exhausted all hosts available for retrying build failures for instance x.",
            Infrastructure,
            "MaxRetriesExceeded",
        );
        check(
            500,
            "Build of instance x aborted: Failed to allocate the network(s), not rescheduling.",
            Infrastructure,
            "VirtualInterfaceCreateException",
        );
        check(
            500,
            "Build of instance x aborted: Volume y did not finish being created",
            Infrastructure,
            "BuildAbortException",
        );
        check(403, "Quota exceeded for instances", Quota, "QuotaExceeded");
        check(400, "Image x is unacceptable: Converted to raw, but format is now qcow2", Request, "ImageUnacceptable");
        check(500, "Unknown libvirt error while reading the image", Infrastructure, "LibvirtError");
        check(500, "Something odd", Infrastructure, "Something odd");
        check(422, "Something odd", Request, "Something odd");
        assert_eq!(of_server(None, "").kind, Infrastructure);
        assert_eq!(of_server(None, &"x".repeat(999)).code.len(), CODE_CHARS_MAX);
    }

    #[test]
    fn whoever_made_a_build_fail_is_to_blame_for_it() {
        use FaultKind::{Infrastructure, Quota, Request};
        let check = |reason: &str, kind: FaultKind, word: &str| {
            let fault = of_server(Some(500), &format!("Build of instance d3f25e27-7ccf aborted: {reason}"));
            assert_eq!((fault.kind, fault.code.as_str()), (kind, word), "{reason}");
        };
        check(
            "Flavor's disk is too small for requested image. Flavor disk is 1073741824 bytes, image is 2361393152 bytes.",
            Request,
            "FlavorDiskSmallerThanImage",
        );
        check("Flavor's memory is too small for requested image.", Request, "FlavorMemoryTooSmall");
        check("Image x is not active.", Request, "Image");
        check("Image x is unacceptable: image data exceeds its virtual size", Request, "ImageUnacceptable");
        check("Disk info file is invalid: x", Request, "InvalidDiskInfo");
        check("Disk format xyz is not acceptable", Request, "InvalidDiskFormat");
        check("Signature verification for the image failed: x", Request, "SignatureVerificationError");
        check("Certificate validation failed for the chain", Request, "CertificateValidationFailed");
        check("Invalid input received: Requested CPU policy is not one", Request, "InvalidInput");
        check("Block Device Mapping is Invalid: x", Request, "InvalidBDM");
        let network = |error: &str| format!("Failed to allocate the network(s) with error {error}, not rescheduling.");
        check(&network("No fixed IP addresses available for network: x"), Request, "NoMoreFixedIps");
        check(&network("Maximum number of fixed IPs exceeded"), Quota, "FixedIpLimitExceeded");
        check(&network("Maximum number of ports exceeded"), Quota, "PortLimitExceeded");
        check(&network("Connection refused"), Infrastructure, "VirtualInterfaceCreateException");
        check("Something odd", Infrastructure, "BuildAbortException");
        let limit = "User x of project y is over a limit for [Resource servers is over limit of 10 due to current usage 10 and delta 1]";
        let fault = Fault { word: "forbidden".to_owned(), message: limit.to_owned() };
        let fault = of_launch(StatusCode::FORBIDDEN, Some(&fault)).expect("somebody");
        assert_eq!((fault.kind, fault.code.as_str()), (Quota, "QuotaExceeded"));
    }

    #[test]
    fn who_is_to_blame_for_a_refused_launch() {
        use FaultKind::{Capacity, Infrastructure, Quota, Request};
        let check = |status: u16, word: &str, message: &str, kind: FaultKind, code: &str| {
            let fault = Fault { word: word.to_owned(), message: message.to_owned() };
            let fault = of_launch(StatusCode::from_u16(status).expect("a status"), Some(&fault)).expect("somebody");
            assert_eq!((fault.kind, fault.code.as_str()), (kind, code), "{message}");
        };
        check(
            403,
            "forbidden",
            "Quota exceeded for cores: Requested 1, but already used 20 of 20",
            Quota,
            "QuotaExceeded",
        );
        check(400, "badRequest", "The requested availability zone is not available", Request, "badRequest");
        check(400, "badRequest", "Compute host x could not be found.", Request, "badRequest");
        check(500, "computeFault", "Unexpected API Error.", Infrastructure, "computeFault");
        check(500, "computeFault", "No valid host was found", Capacity, "NoValidHost");
        assert_eq!(of_launch(StatusCode::BAD_GATEWAY, None), None, "nobody we know");
    }
}
