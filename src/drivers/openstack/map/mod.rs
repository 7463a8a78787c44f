//! OpenStack's words to ours. Pure; a file for each noun.

mod images;
mod instances;
mod profiles;
mod realms;
mod states;
mod storage;

pub(super) use self::images::{image, image_in_the_making};
pub(super) use self::instances::{again, can_create_image, in_the_making, instance};
pub(super) use self::profiles::{Flavors, profiles, smallest};
pub(super) use self::realms::{Hosts, hosts_of_services, hosts_of_zones, realm};
pub(super) use self::states::{actions, state};
pub(super) use self::storage::{snapshot, volume};
