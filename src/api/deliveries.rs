//! `/api/deliveries`: what became of each change for each hook, and sending one again.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;

use super::call::Call;
use super::error::Fault;
use super::hooks::{find, hook_id, instant, limit, page, resource, subscriber, whose};
use super::params::Params;
use super::render::DeliveryView;
use crate::model::{AccountId, DeliveryState, HookId, Seq, Topic};
use crate::store::{DeliveryPage, DeliveryStanding, Place, WhichDeliveries};

/// Attempts shown of one delivery, the newest.
const ATTEMPTS_SHOWN: usize = 100;

/// What a question may name, its place aside.
const FILTERS: &[&str] = &["hook", "state", "collection", "resource", "subscriber", "since", "until", "limit"];

pub(super) async fn list(call: Call) -> Result<Response, Fault> {
    let which = WhichDeliveries { scan_max: call.api.settings.deliveries_scan_max, ..parse(&call.params)? };
    let (_, account) = whose(&call).await?;
    let DeliveryPage { deliveries, next } = match account {
        Some(account) => call.api.store.deliveries(account, &which).await?,
        None => DeliveryPage::default(),
    };
    let views: Vec<_> = deliveries.into_iter().map(|standing| DeliveryView::new(standing, call.base())).collect();
    let next = next.map(|place| ("before", written(&place)));
    Ok(page(&call, "deliveries", FILTERS, &views, next))
}

pub(super) async fn show(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    let (_, account) = whose(&call).await?;
    let (.., view) = load(&call, account, &id).await?;
    Ok(call.json(StatusCode::OK, &view))
}

pub(super) async fn redeliver(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    let (_, account) = whose(&call).await?;
    let (account, standing, _) = load(&call, account, &id).await?;
    if standing.state == DeliveryState::Dropped {
        return Err(Fault::invalid(format!("Delivery {id} was dropped when its hook was removed")));
    }
    let (_, hook) = find(&call, Some(account), &standing.hook.0).await?;
    let put_back = call.api.care.redeliver(account, &hook, standing.seq).await;
    call.api.feeds.owed_anew();
    put_back?;
    let (.., view) = load(&call, Some(account), &id).await?;
    Ok(call.json(StatusCode::ACCEPTED, &view))
}

async fn load(
    call: &Call,
    account: Option<AccountId>,
    id: &str,
) -> Result<(AccountId, DeliveryStanding, DeliveryView), Fault> {
    let missing = || Fault::not_found("delivery", id);
    let account = account.ok_or_else(missing)?;
    let (hook, seq) = named(id).ok_or_else(missing)?;
    let found = call.api.store.delivery(account, &hook, seq, ATTEMPTS_SHOWN).await?;
    let (standing, attempts) = found.ok_or_else(missing)?;
    let view = DeliveryView::new(standing.clone(), call.base()).with_attempts(attempts);
    Ok((account, standing, view))
}

/// `hook_….4711`
fn named(id: &str) -> Option<(HookId, Seq)> {
    let (hook, seq) = id.rsplit_once('.')?;
    Some((HookId(hook.to_owned()), number(seq)?))
}

/// A number that a change may have.
fn number(text: &str) -> Option<Seq> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let seq = text.parse().ok().filter(|seq| digits && i64::try_from(*seq).is_ok())?;
    Some(Seq(seq))
}

/// A place is named by a delivery's id, or by a number: then all deliveries of that change lie before it.
fn place(text: &str) -> Option<Place> {
    match named(text) {
        Some((hook, seq)) => Some(Place { seq, hook: Some(hook) }),
        None => number(text).map(|seq| Place { seq, hook: None }),
    }
}

fn written(place: &Place) -> String {
    match &place.hook {
        Some(hook) => format!("{hook}.{}", place.seq),
        None => place.seq.to_string(),
    }
}

fn parse(params: &Params) -> Result<WhichDeliveries, Fault> {
    let state = params.given("state").map(|text| {
        let words = DeliveryState::ALL.map(DeliveryState::as_str).join(", ");
        DeliveryState::parse(text).ok_or_else(|| Fault::invalid(format!("`state` must be one of {words}")))
    });
    let collection = params.given("collection").map(|text| {
        Topic::parse(text)
            .ok_or_else(|| Fault::invalid("`collection` must be one that can be tracked, `hooks` or `account`"))
    });
    let before = params.given("before").map(|text| {
        let wrong = || Fault::invalid("`before` must be the id of a delivery or the number of a change");
        place(text).filter(|_| text.len() <= 160).ok_or_else(wrong)
    });
    Ok(WhichDeliveries {
        hook: hook_id(params, "hook")?,
        subscriber: subscriber(params)?,
        state: state.transpose()?,
        collection: collection.transpose()?,
        resource: resource(params)?,
        since: instant(params, "since")?,
        until: instant(params, "until")?,
        before: before.transpose()?,
        limit: limit(params)?,
        scan_max: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_and_nonsense_refused() {
        let check = |query: &str, good: bool| {
            let read = parse(&Params::parse(query, b"", 10).unwrap());
            assert_eq!(read.is_ok(), good, "{query}");
        };
        check("", true);
        check("hook=hook_1&state=exhausted&collection=hooks&resource=x&subscriber=ci", true);
        check("since=2026-11-21T10:00:00Z&until=2026-11-21T10:00:00%2B01:00&limit=1000", true);
        check("before=hook_1.17", true);
        check("before=17", true);
        for bad in [
            "state=lost",
            "collection=keys",
            "since=now",
            "until=1",
            "limit=0",
            "limit=1001",
            "before=hook_1",
            "before=hook_1.x",
            "before=-1",
            "before=9223372036854775808",
            "subscriber=a%20b",
        ] {
            check(bad, false);
        }
    }

    #[test]
    fn a_place_is_read_as_it_was_written() {
        for text in ["hook_1.17", "a.b.17", "17", "0"] {
            assert_eq!(place(text).map(|place| written(&place)).as_deref(), Some(text));
        }
    }
}
