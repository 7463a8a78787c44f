//! Machines: listed, looked for, made and acted upon.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use tracing::warn;

use super::calls::in_order;
use super::client::Params;
use super::{Ec2, map, parse};
use crate::drivers::{Error, Kind};
use crate::model::{Action, ExposeSecret as _, Instance, InstanceId, Login, NewInstance};

const DESCRIBE: &str = "DescribeInstances";

impl Ec2 {
    pub(super) async fn describe_all(&self, login: &Login) -> Result<Vec<Instance>, Error> {
        let reservations = self.list::<parse::Instances>(login, DESCRIBE, Params::default()).await?;
        Ok(sorted(map::instances(reservations)))
    }

    pub(super) async fn look_for_instances(
        &self,
        login: &Login,
        ids: &BTreeSet<String>,
    ) -> Result<Vec<Instance>, Error> {
        let mut found = sorted(map::instances(self.reservations(login, ids).await?));
        found.retain(|instance| ids.contains(instance.id.as_str()));
        Ok(found)
    }

    pub(super) async fn reservations(
        &self,
        login: &Login,
        ids: &BTreeSet<String>,
    ) -> Result<Vec<parse::Reservation>, Error> {
        self.look::<parse::Instances>(login, DESCRIBE, Params::default(), "instance-id", ids).await
    }

    pub(super) async fn run_instances(&self, login: &Login, new: &NewInstance) -> Result<Vec<Instance>, Error> {
        let params = run_params(new, &self.token());
        let reservation: parse::Reservation =
            self.call(login, "RunInstances", params).await.map_err(|error| match error.kind {
                // Not the instance, but what it was to be made of.
                Kind::NotFound => Error { kind: Kind::Invalid, ..error },
                _ => error,
            })?;
        Ok(map::instances([reservation]).collect())
    }

    pub(super) async fn act_on_instance(
        &self,
        login: &Login,
        id: &InstanceId,
        action: Action,
    ) -> Result<Option<Instance>, Error> {
        let params = Params::default().with("InstanceId.1", id.as_str());
        let said = match action {
            Action::Start => self.call::<parse::Started>(login, "StartInstances", params).await?.into(),
            Action::Stop => self.call::<parse::Stopped>(login, "StopInstances", params).await?.into(),
            Action::Destroy => self.call::<parse::Terminated>(login, "TerminateInstances", params).await?.into(),
            Action::Reboot => {
                self.call::<parse::Rebooted>(login, "RebootInstances", params).await?;
                Vec::new()
            }
        };
        let read = self.reservations(login, &BTreeSet::from([id.0.clone()])).await;
        let mut read = match read {
            Ok(read) => read,
            // The action is done; that it cannot be looked at must not make its caller do it again.
            Err(error) => {
                warn!("{}: done, but not read back: {error}", action.as_str());
                return Ok(None);
            }
        };
        map::make_newer(&mut read, &said);
        Ok(map::instances(read).find(|instance| instance.id == *id))
    }
}

fn sorted(instances: impl Iterator<Item = Instance>) -> Vec<Instance> {
    in_order(instances, |instance| instance.id.as_str())
}

fn run_params(new: &NewInstance, token: &str) -> Params {
    let count = new.count.max(1);
    let user_data = new.user_data.as_ref().map(|bytes| BASE64.encode(bytes.expose_secret()));
    let mut params = Params::default()
        .with("ImageId", &new.image)
        .with("MinCount", count)
        .with("MaxCount", count)
        .with("ClientToken", token)
        .with_some("InstanceType", new.hardware_profile.as_deref())
        .with_some("Placement.AvailabilityZone", new.realm.as_deref())
        .with_some("KeyName", new.key_name.as_deref())
        .with_some("UserData", user_data.as_deref());
    let (ids, names): (Vec<_>, Vec<_>) = new.firewalls.iter().partition(|group| group.starts_with("sg-"));
    for (at, id) in ids.iter().enumerate() {
        params = params.with(format!("SecurityGroupId.{}", at + 1), id);
    }
    for (at, name) in names.iter().enumerate() {
        params = params.with(format!("SecurityGroup.{}", at + 1), name);
    }
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_create_asks_for_exactly_what_was_given() {
        let bare = NewInstance { image: "ami-1".to_owned(), ..NewInstance::default() };
        assert_eq!(
            run_params(&bare, "t1").to_string(),
            "ImageId=ami-1&MinCount=1&MaxCount=1&ClientToken=t1",
            "nothing that was not asked for"
        );

        let full = NewInstance {
            image: "ami-1".to_owned(),
            realm: Some("us-east-1b".to_owned()),
            hardware_profile: Some("t3.micro".to_owned()),
            hardware_overrides: vec![("memory".to_owned(), "9".to_owned())],
            name: Some("web".to_owned()),
            key_name: Some("alice".to_owned()),
            user_data: Some(b"#!/bin/sh\n".to_vec().into()),
            firewalls: ["web", "sg-1", "ssh", "sg-2"].map(str::to_owned).to_vec(),
            count: 3,
        };
        assert_eq!(
            run_params(&full, "t2").to_string(),
            "ImageId=ami-1&MinCount=3&MaxCount=3&ClientToken=t2&InstanceType=t3.micro\
             &Placement.AvailabilityZone=us-east-1b&KeyName=alice&UserData=IyEvYmluL3NoCg%3D%3D\
             &SecurityGroupId.1=sg-1&SecurityGroupId.2=sg-2&SecurityGroup.1=web&SecurityGroup.2=ssh"
        );
    }
}
