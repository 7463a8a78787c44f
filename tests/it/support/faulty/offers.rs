//! What not every cloud has, counted and failed like the rest.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use bytes::Bytes;
use tracker::drivers::{Addresses, Buckets, Error, Firewalls, Keys, Looked, Metrics, Networks, Storage};
use tracker::model::{
    Blob, Bucket, Firewall, Key, Login, Metric, Mount, Network, NetworkInterface, NewBlob, NewFirewall, NewKey,
    NewNetwork, NewNetworkInterface, NewRule, NewSnapshot, NewSubnet, NewVolume, PublicAddress, Snapshot, Subnet,
    Volume,
};

use super::Faulty;

/// A `Faulty` is given as one of these only when its driver is.
const SAME: &str = "the driver has what it had";

#[async_trait]
impl Keys for Faulty {
    async fn keys(&self, login: &Login) -> Result<Vec<Key>, Error> {
        self.call()?.keys().expect(SAME).keys(login).await
    }

    async fn key(&self, login: &Login, id: &str) -> Result<Option<Key>, Error> {
        self.call()?.keys().expect(SAME).key(login, id).await
    }

    async fn create_key(&self, login: &Login, new: &NewKey) -> Result<Key, Error> {
        self.call()?.keys().expect(SAME).create_key(login, new).await
    }

    async fn destroy_key(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.call()?.keys().expect(SAME).destroy_key(login, id).await
    }
}

#[async_trait]
impl Storage for Faulty {
    async fn volumes(&self, login: &Login) -> Result<Vec<Volume>, Error> {
        self.call()?.storage().expect(SAME).volumes(login).await
    }

    async fn look_for_volumes(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Looked<Volume>, Error> {
        self.call()?.storage().expect(SAME).look_for_volumes(login, ids).await
    }

    async fn volumes_by_id(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Vec<Volume>, Error> {
        self.call()?.storage().expect(SAME).volumes_by_id(login, ids).await
    }

    async fn create_volume(&self, login: &Login, new: &NewVolume) -> Result<Volume, Error> {
        self.call()?.storage().expect(SAME).create_volume(login, new).await
    }

    async fn destroy_volume(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.call()?.storage().expect(SAME).destroy_volume(login, id).await
    }

    async fn attach(&self, login: &Login, id: &str, to: &Mount) -> Result<Volume, Error> {
        self.call()?.storage().expect(SAME).attach(login, id, to).await
    }

    async fn detach(&self, login: &Login, id: &str) -> Result<Volume, Error> {
        self.call()?.storage().expect(SAME).detach(login, id).await
    }

    async fn snapshots(&self, login: &Login) -> Result<Vec<Snapshot>, Error> {
        self.call()?.storage().expect(SAME).snapshots(login).await
    }

    async fn look_for_snapshots(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Looked<Snapshot>, Error> {
        self.call()?.storage().expect(SAME).look_for_snapshots(login, ids).await
    }

    async fn snapshots_by_id(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Vec<Snapshot>, Error> {
        self.call()?.storage().expect(SAME).snapshots_by_id(login, ids).await
    }

    async fn create_snapshot(&self, login: &Login, new: &NewSnapshot) -> Result<Snapshot, Error> {
        self.call()?.storage().expect(SAME).create_snapshot(login, new).await
    }

    async fn destroy_snapshot(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.call()?.storage().expect(SAME).destroy_snapshot(login, id).await
    }
}

#[async_trait]
impl Addresses for Faulty {
    async fn addresses(&self, login: &Login) -> Result<Vec<PublicAddress>, Error> {
        self.call()?.addresses().expect(SAME).addresses(login).await
    }

    async fn address(&self, login: &Login, ip: &str) -> Result<Option<PublicAddress>, Error> {
        self.call()?.addresses().expect(SAME).address(login, ip).await
    }

    async fn create_address(&self, login: &Login) -> Result<PublicAddress, Error> {
        self.call()?.addresses().expect(SAME).create_address(login).await
    }

    async fn destroy_address(&self, login: &Login, ip: &str) -> Result<(), Error> {
        self.call()?.addresses().expect(SAME).destroy_address(login, ip).await
    }

    async fn associate(&self, login: &Login, ip: &str, instance: &str) -> Result<(), Error> {
        self.call()?.addresses().expect(SAME).associate(login, ip, instance).await
    }

    async fn disassociate(&self, login: &Login, ip: &str) -> Result<(), Error> {
        self.call()?.addresses().expect(SAME).disassociate(login, ip).await
    }
}

#[async_trait]
impl Firewalls for Faulty {
    async fn firewalls(&self, login: &Login) -> Result<Vec<Firewall>, Error> {
        self.call()?.firewalls().expect(SAME).firewalls(login).await
    }

    async fn firewall(&self, login: &Login, id: &str) -> Result<Option<Firewall>, Error> {
        self.call()?.firewalls().expect(SAME).firewall(login, id).await
    }

    async fn create_firewall(&self, login: &Login, new: &NewFirewall) -> Result<Firewall, Error> {
        self.call()?.firewalls().expect(SAME).create_firewall(login, new).await
    }

    async fn destroy_firewall(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.call()?.firewalls().expect(SAME).destroy_firewall(login, id).await
    }

    async fn create_rule(&self, login: &Login, id: &str, new: &NewRule) -> Result<Firewall, Error> {
        self.call()?.firewalls().expect(SAME).create_rule(login, id, new).await
    }

    async fn destroy_rule(&self, login: &Login, id: &str, rule: &str) -> Result<(), Error> {
        self.call()?.firewalls().expect(SAME).destroy_rule(login, id, rule).await
    }
}

#[async_trait]
impl Buckets for Faulty {
    async fn buckets(&self, login: &Login) -> Result<Vec<Bucket>, Error> {
        self.call()?.buckets().expect(SAME).buckets(login).await
    }

    async fn bucket(&self, login: &Login, id: &str) -> Result<Option<Bucket>, Error> {
        self.call()?.buckets().expect(SAME).bucket(login, id).await
    }

    async fn create_bucket(&self, login: &Login, name: &str) -> Result<Bucket, Error> {
        self.call()?.buckets().expect(SAME).create_bucket(login, name).await
    }

    async fn destroy_bucket(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.call()?.buckets().expect(SAME).destroy_bucket(login, id).await
    }

    async fn blob(&self, login: &Login, bucket: &str, id: &str) -> Result<Option<Blob>, Error> {
        self.call()?.buckets().expect(SAME).blob(login, bucket, id).await
    }

    async fn content(&self, login: &Login, bucket: &str, id: &str) -> Result<Bytes, Error> {
        self.call()?.buckets().expect(SAME).content(login, bucket, id).await
    }

    async fn put_blob(&self, login: &Login, bucket: &str, new: &NewBlob) -> Result<Blob, Error> {
        self.call()?.buckets().expect(SAME).put_blob(login, bucket, new).await
    }

    async fn set_metadata(
        &self,
        login: &Login,
        bucket: &str,
        id: &str,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        self.call()?.buckets().expect(SAME).set_metadata(login, bucket, id, metadata).await
    }

    async fn destroy_blob(&self, login: &Login, bucket: &str, id: &str) -> Result<(), Error> {
        self.call()?.buckets().expect(SAME).destroy_blob(login, bucket, id).await
    }
}

#[async_trait]
impl Metrics for Faulty {
    async fn metrics(&self, login: &Login) -> Result<Vec<Metric>, Error> {
        self.call()?.metrics().expect(SAME).metrics(login).await
    }

    async fn metric(&self, login: &Login, id: &str) -> Result<Option<Metric>, Error> {
        self.call()?.metrics().expect(SAME).metric(login, id).await
    }
}

#[async_trait]
impl Networks for Faulty {
    async fn networks(&self, login: &Login) -> Result<Vec<Network>, Error> {
        self.call()?.networks().expect(SAME).networks(login).await
    }

    async fn network(&self, login: &Login, id: &str) -> Result<Option<Network>, Error> {
        self.call()?.networks().expect(SAME).network(login, id).await
    }

    async fn create_network(&self, login: &Login, new: &NewNetwork) -> Result<Network, Error> {
        self.call()?.networks().expect(SAME).create_network(login, new).await
    }

    async fn destroy_network(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.call()?.networks().expect(SAME).destroy_network(login, id).await
    }

    async fn subnets(&self, login: &Login) -> Result<Vec<Subnet>, Error> {
        self.call()?.networks().expect(SAME).subnets(login).await
    }

    async fn subnet(&self, login: &Login, id: &str) -> Result<Option<Subnet>, Error> {
        self.call()?.networks().expect(SAME).subnet(login, id).await
    }

    async fn create_subnet(&self, login: &Login, new: &NewSubnet) -> Result<Subnet, Error> {
        self.call()?.networks().expect(SAME).create_subnet(login, new).await
    }

    async fn destroy_subnet(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.call()?.networks().expect(SAME).destroy_subnet(login, id).await
    }

    async fn network_interfaces(&self, login: &Login) -> Result<Vec<NetworkInterface>, Error> {
        self.call()?.networks().expect(SAME).network_interfaces(login).await
    }

    async fn network_interface(&self, login: &Login, id: &str) -> Result<Option<NetworkInterface>, Error> {
        self.call()?.networks().expect(SAME).network_interface(login, id).await
    }

    async fn create_network_interface(
        &self,
        login: &Login,
        new: &NewNetworkInterface,
    ) -> Result<NetworkInterface, Error> {
        self.call()?.networks().expect(SAME).create_network_interface(login, new).await
    }

    async fn destroy_network_interface(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.call()?.networks().expect(SAME).destroy_network_interface(login, id).await
    }
}
