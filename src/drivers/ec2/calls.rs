//! What every noun's calls have in common: one answer, all pages of a list, those of some ids.

use std::collections::{BTreeMap, BTreeSet};

use super::client::{Params, Target, read};
use super::{Ec2, map, parse, provider};
use crate::drivers::reading::LIST_BYTES_MAX;
use crate::drivers::{Error, Kind};
use crate::model::Login;

/// Ids in one targeted look: EC2 takes at most 200 values in a filter.
pub(super) const IDS_MAX: usize = 200;

impl Ec2 {
    pub(super) fn ec2(&self, login: &Login) -> Result<Target, Error> {
        provider::parse(login.provider.as_deref()).map(|provider| Target::ec2(&provider, &self.settings))
    }

    pub(super) async fn call<T: parse::Reply>(
        &self,
        login: &Login,
        action: &'static str,
        params: Params,
    ) -> Result<T, Error> {
        self.client.call(&login.credentials, &self.ec2(login)?, action, params).await
    }

    /// Every page of a list, or an error.
    pub(super) async fn pages<T: parse::Page>(
        &self,
        login: &Login,
        action: &'static str,
        params: Params,
        page_size: u32,
    ) -> Result<Vec<T::Member>, Error> {
        let target = self.ec2(login)?;
        let mut members = Vec::new();
        let mut token: Option<String> = None;
        let mut bytes = 0;
        for _ in 0..self.settings.pages_max {
            let params = params.clone().with("MaxResults", page_size).with_some("NextToken", token.as_deref());
            let body = self.client.post(&login.credentials, &target, action, params).await?;
            bytes += body.len();
            if bytes > LIST_BYTES_MAX {
                return Err(Error::new(
                    Kind::Unavailable,
                    format!("{action}: more than {LIST_BYTES_MAX} bytes of pages"),
                ));
            }
            let page: T = read(body, &target, action).await?;
            let (more, next) = page.into_parts();
            members.extend(more);
            match next {
                None => return Ok(members),
                // It would go round for ever, and what it has sent is not a list.
                Some(next) if token.as_ref() == Some(&next) => {
                    return Err(Error::new(Kind::Unavailable, format!("{action}: the page leads on to itself")));
                }
                Some(next) => token = Some(next),
            }
        }
        let bound = self.settings.pages_max;
        Err(Error::new(Kind::Unavailable, format!("{action}: more than {bound} pages (drivers.ec2.pages_max)")))
    }

    /// Every page of a list in pages as the settings have them.
    pub(super) async fn list<T: parse::Page>(
        &self,
        login: &Login,
        action: &'static str,
        params: Params,
    ) -> Result<Vec<T::Member>, Error> {
        self.pages::<T>(login, action, params, self.settings.page_size).await
    }

    /// A targeted look: the members for which the filter has one of the ids. Unknown ids find nothing and fail nothing, as
    /// in a list of ids one would fail the whole call.
    pub(super) async fn look<T: parse::Page>(
        &self,
        login: &Login,
        action: &'static str,
        params: Params,
        filter: &str,
        ids: &BTreeSet<String>,
    ) -> Result<Vec<T::Member>, Error> {
        let mut found = Vec::new();
        let all: Vec<&str> = ids.iter().map(String::as_str).collect();
        for some in all.chunks(IDS_MAX) {
            found.extend(self.list::<T>(login, action, params.clone().filtered(1, filter, some)).await?);
        }
        Ok(found)
    }
}

impl Params {
    /// With the `nth` filter, from 1: those whose property is one of the values, each meaning itself.
    pub(super) fn filtered(self, nth: usize, property: &str, values: &[&str]) -> Self {
        let named = self.with(format!("Filter.{nth}.Name"), property);
        values.iter().zip(1..).fold(named, |params, (value, at)| {
            params.with(format!("Filter.{nth}.Value.{at}"), map::filter_literal(value))
        })
    }
}

/// In the order of their ids, each once: pages that shift while they are read may bring one twice, and the later counts.
pub(super) fn in_order<T>(members: impl IntoIterator<Item = T>, id: impl Fn(&T) -> &str) -> Vec<T> {
    let by_id: BTreeMap<String, T> = members.into_iter().map(|member| (id(&member).to_owned(), member)).collect();
    by_id.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_names_its_property_and_its_values() {
        let params = Params::default().with("Owner.1", "self").filtered(1, "image-id", &["ami-1", "ami-*"]);
        assert_eq!(
            params.to_string(),
            "Owner.1=self&Filter.1.Name=image-id&Filter.1.Value.1=ami-1&Filter.1.Value.2=ami-%5C*"
        );
    }

    #[test]
    fn members_come_in_order_and_the_later_of_two_counts() {
        let members = [("b", 1), ("a", 2), ("b", 3)];
        assert_eq!(in_order(members, |member| member.0), [("a", 2), ("b", 3)]);
    }
}
