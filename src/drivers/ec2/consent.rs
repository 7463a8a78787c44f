//! Whether a caller may change what it wants to track, asked by calls that EC2 only pretends to do (`DryRun`).

use super::Ec2;
use super::client::{Failure, Params};
use crate::drivers::{Error, Kind};
use crate::model::{Collection, Login};

/// What this driver might do to a resource, each with its name for the id: the mildest first. Whoever may do any of it may
/// change the resource.
fn changes(collection: Collection) -> &'static [(&'static str, &'static str)] {
    match collection {
        Collection::Instances => &[
            ("StopInstances", "InstanceId.1"),
            ("RebootInstances", "InstanceId.1"),
            ("TerminateInstances", "InstanceId.1"),
        ],
        Collection::Images => &[("DeregisterImage", "ImageId")],
        Collection::StorageVolumes => &[("DetachVolume", "VolumeId"), ("DeleteVolume", "VolumeId")],
        Collection::StorageSnapshots => &[("DeleteSnapshot", "SnapshotId")],
        // Nobody changes a zone.
        Collection::Realms => &[],
    }
}

impl Ec2 {
    /// One call for whoever may, another for each thing that it may not. `None` for whatever is not known to heed `DryRun`:
    /// it would do what it was merely asked about.
    pub(super) async fn ask_consent(
        &self,
        login: &Login,
        collection: Collection,
        id: &str,
    ) -> Result<Option<bool>, Error> {
        let target = self.ec2(login)?;
        if !(self.settings.dry_run_anywhere || target.is_aws()) {
            return Ok(None);
        }
        let mut said = None;
        for (action, name) in changes(collection) {
            let params = Params::default().with("DryRun", true).with(*name, id);
            match self.client.post(&login.credentials, &target, action, params).await {
                Ok(_) => {
                    let text = format!("{action}: done, though only asked about: `DryRun` is not heeded");
                    return Err(Error::new(Kind::Failed, format!("{text} (drivers.ec2.dry_run_anywhere)")));
                }
                Err(failure) => match judged(failure)? {
                    Some(true) => return Ok(Some(true)),
                    Some(false) => said = Some(false),
                    None => return Ok(None),
                },
            }
        }
        Ok(said)
    }
}

/// What a call that was not done says.
fn judged(Failure { error, code }: Failure) -> Result<Option<bool>, Error> {
    if code.as_deref() == Some("DryRunOperation") {
        return Ok(Some(true));
    }
    match error.kind {
        Kind::Forbidden => Ok(Some(false)),
        // It looked at the request rather than at the permission.
        Kind::Conflict | Kind::Unsupported | Kind::Invalid => Ok(None),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_was_not_done_says_whether_it_might_have_been() {
        let check = |kind: Kind, code: &str, expected: Result<Option<bool>, Kind>| {
            let failure = Failure { error: Error::new(kind, "x"), code: Some(code.to_owned()) };
            assert_eq!(judged(failure).map_err(|error| error.kind), expected, "{code}");
        };
        check(Kind::Invalid, "DryRunOperation", Ok(Some(true)));
        check(Kind::Forbidden, "UnauthorizedOperation", Ok(Some(false)));
        check(Kind::Conflict, "IncorrectInstanceState", Ok(None));
        check(Kind::Unsupported, "UnsupportedOperation", Ok(None));
        check(Kind::Invalid, "InvalidParameterCombination", Ok(None));
        check(Kind::NotFound, "InvalidInstanceID.NotFound", Err(Kind::NotFound));
        check(Kind::Unavailable, "InternalError", Err(Kind::Unavailable));
        check(Kind::Throttled { after: None }, "RequestLimitExceeded", Err(Kind::Throttled { after: None }));
        check(Kind::Denied, "AuthFailure", Err(Kind::Denied));
    }
}
