//! Elastic IPs. The address is the id; EC2's own ids of its lease and of where it leads are found by looking.

use async_trait::async_trait;

use super::calls::in_order;
use super::client::Params;
use super::{Ec2, parse};
use crate::drivers::{Addresses, Error, Kind};
use crate::model::{Login, PublicAddress};

#[async_trait]
impl Addresses for Ec2 {
    async fn addresses(&self, login: &Login) -> Result<Vec<PublicAddress>, Error> {
        let leases = self.leases(login, Params::default()).await?;
        Ok(in_order(leases.into_iter().map(Lease::shown), |address| &address.ip))
    }

    async fn address(&self, login: &Login, ip: &str) -> Result<Option<PublicAddress>, Error> {
        Ok(self.lease(login, ip).await?.map(Lease::shown))
    }

    async fn create_address(&self, login: &Login) -> Result<PublicAddress, Error> {
        let made: parse::AllocatedAddress =
            self.call(login, "AllocateAddress", Params::default().with("Domain", "vpc")).await?;
        Ok(PublicAddress { ip: made.public_ip, instance: None })
    }

    /// In a default network EC2 would take it from whatever uses it.
    async fn destroy_address(&self, login: &Login, ip: &str) -> Result<(), Error> {
        let lease = self.found("ReleaseAddress", login, ip).await?;
        lease.must_be_free("ReleaseAddress")?;
        let parse::ReleasedAddress {} = self.call(login, "ReleaseAddress", lease.named()).await?;
        Ok(())
    }

    async fn associate(&self, login: &Login, ip: &str, instance: &str) -> Result<(), Error> {
        let lease = self.found("AssociateAddress", login, ip).await?;
        lease.must_be_free("AssociateAddress")?;
        // Whoever was quicker than we keeps it: unless told otherwise EC2 takes it from him.
        let params = lease.named().with("InstanceId", instance).with("AllowReassociation", false);
        let parse::AssociatedAddress {} = self.call(login, "AssociateAddress", params).await?;
        Ok(())
    }

    async fn disassociate(&self, login: &Login, ip: &str) -> Result<(), Error> {
        let lease = self.found("DisassociateAddress", login, ip).await?;
        if lease.is_free() {
            let text = format!("DisassociateAddress: {ip} leads nowhere");
            return Err(Error::new(Kind::Conflict, text));
        }
        let params = match &lease.association {
            Some(association) => Params::default().with("AssociationId", association),
            None => Params::default().with("PublicIp", ip),
        };
        let parse::DisassociatedAddress {} = self.call(login, "DisassociateAddress", params).await?;
        Ok(())
    }
}

impl Ec2 {
    /// EC2 lists them all at once, however many.
    async fn leases(&self, login: &Login, params: Params) -> Result<Vec<Lease>, Error> {
        let addresses: parse::Addresses = self.call(login, "DescribeAddresses", params).await?;
        Ok(addresses.addresses.items.into_iter().filter_map(Lease::of).collect())
    }

    async fn lease(&self, login: &Login, ip: &str) -> Result<Option<Lease>, Error> {
        let leases = self.leases(login, Params::default().filtered(1, "public-ip", &[ip])).await?;
        Ok(leases.into_iter().find(|lease| lease.ip == ip))
    }

    async fn found(&self, action: &str, login: &Login, ip: &str) -> Result<Lease, Error> {
        let lease = self.lease(login, ip).await?;
        lease.ok_or_else(|| Error::new(Kind::NotFound, format!("{action}: the account has no such address")))
    }
}

/// An address with what EC2 calls it.
#[derive(Debug, PartialEq, Eq)]
struct Lease {
    ip: String,
    /// `None`: from before private networks, or from a cloud without.
    allocation: Option<String>,
    /// `None` as above, or it is free.
    association: Option<String>,
    instance: Option<String>,
}

impl Lease {
    /// `None`: an address of a carrier's network, which is of another kind.
    fn of(item: parse::Address) -> Option<Self> {
        Some(Self {
            ip: parse::filled(item.public_ip)?,
            allocation: parse::filled(item.allocation_id),
            association: parse::filled(item.association_id),
            instance: parse::filled(item.instance_id),
        })
    }

    fn shown(self) -> PublicAddress {
        PublicAddress { ip: self.ip, instance: self.instance }
    }

    /// It may lead to something that is no instance, as a gateway.
    fn is_free(&self) -> bool {
        self.association.is_none() && self.instance.is_none()
    }

    fn must_be_free(&self, action: &str) -> Result<(), Error> {
        if self.is_free() {
            return Ok(());
        }
        let user = self.instance.as_deref().unwrap_or("something that is no instance");
        Err(Error::new(Kind::Conflict, format!("{action}: {} is in use by {user}", self.ip)))
    }

    fn named(&self) -> Params {
        match &self.allocation {
            Some(allocation) => Params::default().with("AllocationId", allocation),
            None => Params::default().with("PublicIp", &self.ip),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_free_when_it_leads_nowhere() {
        let body = include_bytes!("replies/DescribeAddresses.xml");
        let addresses: parse::Addresses = parse::reply(body).expect("a recorded answer");
        let leases: Vec<Lease> = addresses.addresses.items.into_iter().filter_map(Lease::of).collect();
        let seen: Vec<_> = leases
            .iter()
            .map(|lease| (lease.ip.as_str(), lease.is_free(), lease.instance.as_deref(), lease.named().to_string()))
            .collect();
        let named = |id: &str| format!("AllocationId={id}");
        assert_eq!(
            seen,
            [
                ("198.51.100.17", false, Some("i-0c7a1f2e3d4b5a601"), named("eipalloc-0a1b2c3d4e5f70001")),
                ("203.0.113.4", true, None, named("eipalloc-0a1b2c3d4e5f70002")),
                ("198.51.100.9", false, None, named("eipalloc-0a1b2c3d4e5f70003")),
                ("192.0.2.77", false, Some("i-1a2b3c4d"), "PublicIp=192.0.2.77".to_owned()),
            ],
            "one on an instance, a free one, one on a gateway, one from before private networks; none of a carrier's"
        );
        assert_eq!(leases[2].must_be_free("ReleaseAddress").expect_err("a gateway has it").kind, Kind::Conflict);
    }
}
