//! What every noun's calls have in common: all pages of a list, those of some ids.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;

use super::OpenStack;
use super::catalog::Service;
use super::client::{Ask, read};
use crate::drivers::reading::LIST_BYTES_MAX;
use crate::drivers::{Error, Kind, Looked, looked};
use crate::model::{Login, is_id};

/// One page of a list.
pub(super) trait Page: DeserializeOwned + Send + 'static {
    type Member: Send;

    /// What is on it, and the address of the next one.
    fn into_parts(self) -> (Vec<Self::Member>, Option<String>);
}

impl OpenStack {
    /// Every page of a list, or an error.
    pub(super) async fn list<P: Page>(
        &self,
        login: &Login,
        service: Service,
        path: &[&str],
        query: &[(&'static str, String)],
    ) -> Result<Vec<P::Member>, Error> {
        let name = path.first().copied().unwrap_or_default();
        let failed = |why: String| Error::new(Kind::Unavailable, format!("GET {}/{name}: {why}", service.as_str()));
        let mut members = Vec::new();
        let mut marker: Option<String> = None;
        let mut bytes = 0;
        for _ in 0..self.settings.pages_max {
            let mut ask = Ask::get(service, path).with("limit", self.settings.page_size);
            ask.query.extend(query.iter().cloned());
            if let Some(marker) = &marker {
                ask = ask.with("marker", marker);
            }
            let answer = self.client.send(login, ask).await.map_err(|error| match error.kind {
                // A list is always there; what is missing is the way to it.
                Kind::NotFound => Error { kind: Kind::Unavailable, ..error },
                _ => error,
            })?;
            bytes += answer.body.len();
            if bytes > LIST_BYTES_MAX {
                return Err(failed(format!("more than {LIST_BYTES_MAX} bytes of pages")));
            }
            let page: P = read(answer.body).await.map_err(failed)?;
            let (more, next) = page.into_parts();
            members.extend(more);
            let Some(next) = next else { return Ok(members) };
            // The address itself may be the one behind a proxy; only the place in the list counts.
            let next = marker_of(&next).ok_or_else(|| failed("the page leads on to nowhere".to_owned()))?;
            // It would go round for ever, and what it has sent is not a list.
            if marker.as_ref() == Some(&next) {
                return Err(failed("the page leads on to itself".to_owned()));
            }
            marker = Some(next);
        }
        let bound = self.settings.pages_max;
        Err(failed(format!("more than {bound} pages (drivers.openstack.pages_max)")))
    }

    /// One member; `None`: the service clearly does not have it. [`Kind::Invalid`] for an id that cannot be asked for.
    pub(super) async fn one<T: DeserializeOwned + Send + 'static>(
        &self,
        login: &Login,
        service: Service,
        path: &[&str],
    ) -> Result<Option<T>, Error> {
        // Such a part would lead elsewhere.
        if !path.iter().all(|part| is_id(part)) {
            // The login is judged all the same.
            self.client.session(login, super::session::Wanted::Any).await?;
            let text = format!("There can be nothing of that id in {}", service.as_str());
            return Err(Error::new(Kind::Invalid, text));
        }
        match self.client.call(login, Ask::get(service, path)).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Those of `ids` that exist: one by one, a few at a time.
    pub(super) async fn each<T: DeserializeOwned + Send + 'static>(
        &self,
        login: &Login,
        service: Service,
        collection: &str,
        ids: impl IntoIterator<Item = String>,
    ) -> Result<Looked<T>, Error> {
        let ask = |id: String| async move { self.one::<T>(login, service, &[collection, &id]).await };
        looked::each(ids.into_iter().collect(), self.settings.looks_at_once, ask).await
    }
}

/// `marker` in the address of a next page, absolute or not.
fn marker_of(address: &str) -> Option<String> {
    let (_, query) = address.split_once('?')?;
    let query = query.split('#').next()?;
    let marker = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "marker")?.1.into_owned();
    (!marker.is_empty()).then_some(marker)
}

/// In the order of their ids, each once: pages that shift while they are read may bring one twice, and the later counts.
pub(super) fn in_order<T>(members: impl IntoIterator<Item = T>, id: impl Fn(&T) -> &str) -> Vec<T> {
    let by_id: BTreeMap<String, T> = members.into_iter().map(|member| (id(&member).to_owned(), member)).collect();
    by_id.into_values().collect()
}

/// Those of `ids` that are not among the members.
pub(super) fn missing<T>(ids: &BTreeSet<String>, members: &[T], id: impl Fn(&T) -> &str) -> BTreeSet<String> {
    let found: BTreeSet<&str> = members.iter().map(id).collect();
    ids.iter().filter(|id| !found.contains(id.as_str())).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_page_is_its_marker() {
        let check =
            |address: &str, marker: Option<&str>| assert_eq!(marker_of(address).as_deref(), marker, "{address}");
        check("http://127.0.0.1:18774/v2.1/servers/detail?limit=5&marker=5f23", Some("5f23"));
        check("/v2/images?marker=a%20b&limit=1", Some("a b"));
        check("https://h/servers?limit=5", None);
        check("https://h/servers?marker=", None);
        check("https://h/servers", None);
        check("", None);
    }
}
