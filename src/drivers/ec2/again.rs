//! Lists with what EC2's checks say, and a list made cheaper by what is known: every instance in short, and details only of those
//! that are not as they were.

use std::collections::{BTreeMap, BTreeSet};

use tracing::debug;

use super::calls::{IDS_MAX, in_order};
use super::client::Params;
use super::{Ec2, map, parse};
use crate::drivers::{Error, Kind};
use crate::model::{Announced, Instance, InstanceId, InstanceState, Login};

/// What the short list says of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glance {
    pub(super) id: InstanceId,
    pub(super) native_state: String,
    /// One of EC2's checks of it fails. One that cannot be made yet does not.
    pub(super) impaired: bool,
    pub(super) announced: Vec<Announced>,
}

impl Ec2 {
    pub(super) async fn list_instances_again(
        &self,
        login: &Login,
        known: &BTreeMap<InstanceId, Instance>,
    ) -> Result<Vec<Instance>, Error> {
        let all = Params::default().with("IncludeAllInstances", true);
        let Some(glances) = self.glances(login, all).await? else { return self.describe_all(login).await };
        let seen = match details(known, &glances, self.settings.page_size) {
            Details::Of(ids) => self.look_for_instances(login, &ids).await?,
            Details::All => self.describe_all(login).await?,
        };
        Ok(together(known, &glances, seen))
    }

    /// Every instance, and what EC2's checks say of those that run.
    pub(super) async fn list_instances(&self, login: &Login) -> Result<Vec<Instance>, Error> {
        let mut instances = self.describe_all(login).await?;
        if instances.iter().any(|instance| instance.state == InstanceState::Running) {
            let glances = self.glances(login, Params::default()).await?.unwrap_or_default();
            let mut glances: BTreeMap<_, _> = glances.into_iter().map(|glance| (glance.id.clone(), glance)).collect();
            for instance in &mut instances {
                // Of those that do not run nothing was said.
                let glance = glances.remove(&instance.id);
                instance.impaired = glance.as_ref().is_some_and(|glance| glance.impaired);
                instance.announced = glance.map(|glance| glance.announced);
            }
        }
        Ok(instances)
    }

    /// The short list. `None`: it may not be asked for, or is not had here.
    async fn glances(&self, login: &Login, params: Params) -> Result<Option<Vec<Glance>>, Error> {
        match self.list::<parse::InstanceStatuses>(login, "DescribeInstanceStatus", params).await {
            Ok(statuses) => Ok(Some(in_order(statuses.into_iter().map(map::glance), |glance| glance.id.as_str()))),
            Err(error) if matches!(error.kind, Kind::Forbidden | Kind::Unsupported | Kind::Invalid) => {
                debug!("states and checks cannot be asked for alone: {error}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Whose details have to be asked for.
#[derive(Debug, PartialEq, Eq)]
enum Details {
    Of(BTreeSet<String>),
    /// So many that the whole list takes fewer calls.
    All,
}

fn details(known: &BTreeMap<InstanceId, Instance>, glances: &[Glance], page_size: u32) -> Details {
    let as_before =
        |glance: &Glance| known.get(&glance.id).is_some_and(|known| known.native_state == glance.native_state);
    let ids: BTreeSet<String> =
        glances.iter().filter(|glance| !as_before(glance)).map(|glance| glance.id.0.clone()).collect();
    let pages = glances.len().div_ceil(usize::try_from(page_size).unwrap_or(usize::MAX));
    if ids.len().div_ceil(IDS_MAX) > pages { Details::All } else { Details::Of(ids) }
}

/// Those in the short list or `seen`, in order. Of one whose details are not to be had at the moment, as EC2's answers do not
/// always agree: as it was, if it is known; it still differs the next time. If it is not known it is not shown yet, as blanks
/// would read as news.
fn together(known: &BTreeMap<InstanceId, Instance>, glances: &[Glance], seen: Vec<Instance>) -> Vec<Instance> {
    let mut all: BTreeMap<InstanceId, Instance> = glances
        .iter()
        .filter_map(|glance| known.get_key_value(&glance.id))
        .map(|(id, one)| (id.clone(), one.clone()))
        .collect();
    all.extend(seen.into_iter().map(|instance| (instance.id.clone(), instance)));
    for glance in glances {
        if let Some(instance) = all.get_mut(&glance.id) {
            instance.impaired = glance.impaired;
            instance.announced = Some(glance.announced.clone());
        }
    }
    all.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(instances: &[(&str, &str)]) -> BTreeMap<InstanceId, Instance> {
        instances.iter().map(|(id, native)| (InstanceId::from(*id), seen(id, native))).collect()
    }

    fn seen(id: &str, native: &str) -> Instance {
        Instance::bare(id, InstanceState::Unknown, native)
    }

    fn glance(id: &str, native: &str) -> Glance {
        Glance { id: InstanceId::from(id), native_state: native.to_owned(), impaired: false, announced: vec![] }
    }

    #[test]
    fn details_are_asked_of_the_new_and_the_moved() {
        let before = known(&[("i-1", "running"), ("i-2", "running"), ("i-3", "running")]);
        let glances = [glance("i-1", "running"), glance("i-2", "stopping"), glance("i-4", "pending")];
        let ids = BTreeSet::from(["i-2".to_owned(), "i-4".to_owned()]);
        assert_eq!(details(&before, &glances, 1000), Details::Of(ids));
        assert_eq!(details(&before, &glances[..1], 1000), Details::Of(BTreeSet::new()));
        assert_eq!(details(&before, &[], 1000), Details::Of(BTreeSet::new()));
    }

    #[test]
    fn the_whole_list_is_asked_for_where_it_takes_fewer_calls() {
        let check = |there: usize, new: usize, page_size: u32, all: bool| {
            let glances: Vec<_> = (0..there).map(|at| glance(&format!("i-{at:05}"), "running")).collect();
            let before =
                glances.iter().skip(new).map(|one| (one.id.clone(), seen(one.id.as_str(), "running"))).collect();
            assert_eq!(details(&before, &glances, page_size) == Details::All, all, "{new} of {there}");
        };
        check(1000, 200, 1000, false);
        check(1000, 201, 1000, true);
        check(5000, 1000, 1000, false);
        check(5000, 1001, 1000, true);
        check(5000, 5000, 1000, true);
        check(10, 10, 5, false);
    }

    #[test]
    fn presence_is_what_either_list_says_and_details_count() {
        let before = known(&[("i-1", "running"), ("i-2", "running"), ("i-3", "running"), ("i-4", "stopped")]);
        let sick = Glance { impaired: true, ..glance("i-1", "running") };
        let glances = [sick, glance("i-2", "stopping"), glance("i-4", "running"), glance("i-5", "pending")];
        let told = |seen_now: Vec<Instance>| -> Vec<String> {
            let all = together(&before, &glances, seen_now);
            all.iter().map(|one| format!("{} {} {}", one.id, one.native_state, one.impaired)).collect()
        };
        assert_eq!(
            told(vec![seen("i-2", "stopped"), seen("i-6", "pending")]),
            // 3 is in neither; of 4 and 5 no details came.
            ["i-1 running true", "i-2 stopped false", "i-4 stopped false", "i-6 pending false"]
        );
    }
}
