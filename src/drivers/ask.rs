//! Asking a driver for what can be tracked, whatever kind it is.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Driver, Error, Kind, Looked, Storage};
use crate::model::{Collection, InstanceId, KnownResource, Login, Resource};

/// Every member of the collection, or an error.
///
/// # Errors
/// The driver's; [`Kind::Unsupported`] for a collection that it does not have.
pub async fn list(driver: &dyn Driver, login: &Login, collection: Collection) -> Result<Vec<Resource>, Error> {
    Ok(match collection {
        Collection::Instances => resources(driver.instances(login).await?),
        Collection::Realms => resources(driver.realms(login).await?),
        Collection::Images => resources(driver.images(login).await?),
        Collection::StorageVolumes => resources(storage(driver)?.volumes(login).await?),
        Collection::StorageSnapshots => resources(storage(driver)?.snapshots(login).await?),
    })
}

/// As [`list`], made cheaper by what was known of the collection at `since`. See [`Driver::instances_again`].
///
/// # Errors
/// As [`list`].
pub async fn list_again(
    driver: &dyn Driver,
    login: &Login,
    collection: Collection,
    known: &BTreeMap<String, KnownResource>,
    since: Timestamp,
) -> Result<Vec<Resource>, Error> {
    if collection != Collection::Instances {
        return list(driver, login, collection).await;
    }
    let present = known.values().filter(|row| row.absent_since.is_none());
    let instances = present.filter_map(|row| match &row.resource {
        Resource::Instance(instance) => Some((instance.id.clone(), (**instance).clone())),
        _ => None,
    });
    Ok(resources(driver.instances_again(login, &instances.collect(), since).await?))
}

/// Those of `ids` that exist. An id left out is one that the backend, answering well, did not have.
///
/// # Errors
/// As [`list`], when nothing was answered.
pub async fn look(
    driver: &dyn Driver,
    login: &Login,
    collection: Collection,
    ids: &BTreeSet<String>,
) -> Result<Looked<Resource>, Error> {
    Ok(match collection {
        Collection::Instances => {
            let ids = ids.iter().map(|id| InstanceId::from(id.as_str())).collect();
            driver.look_for_instances(login, &ids).await?.map(Into::into)
        }
        // Few enough to list; no provider has a cheaper way to ask for some.
        Collection::Realms => Looked::all(match ids.first() {
            Some(id) if ids.len() == 1 => resources(driver.realm(login, id).await?.into_iter().collect()),
            _ => resources(driver.realms(login).await?.into_iter().filter(|realm| ids.contains(&realm.id)).collect()),
        }),
        Collection::Images => driver.look_for_images(login, ids).await?.map(Into::into),
        Collection::StorageVolumes => storage(driver)?.look_for_volumes(login, ids).await?.map(Into::into),
        Collection::StorageSnapshots => storage(driver)?.look_for_snapshots(login, ids).await?.map(Into::into),
    })
}

/// The driver's volumes and snapshots.
///
/// # Errors
/// [`Kind::Unsupported`]: it has none.
pub fn storage(driver: &dyn Driver) -> Result<&dyn Storage, Error> {
    driver.storage().ok_or_else(|| lacks(driver, "storage"))
}

/// This kind of cloud has nothing of the sort.
pub fn lacks(driver: &dyn Driver, what: &str) -> Error {
    Error::new(Kind::Unsupported, format!("The driver {} has no {what}", driver.abilities().id))
}

fn resources<T: Into<Resource>>(members: Vec<T>) -> Vec<Resource> {
    members.into_iter().map(Into::into).collect()
}
