use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::VERSION;
use super::call::Call;
use super::error::Fault;
use super::render::{Entry, LinkView, TrackingView};
use super::target::{self, Target};
use super::tracking::{self, Done};
use crate::drivers::{Abilities, Feature};
use crate::model::Scope;

/// Collections that have routes. A driver's ability beyond them is not advertised: its link would lead nowhere.
const SERVED: &[&str] = &[
    "addresses",
    "buckets",
    "firewalls",
    "hardware_profiles",
    "images",
    "instances",
    "keys",
    "metrics",
    "network_interfaces",
    "networks",
    "realms",
    "storage_snapshots",
    "storage_volumes",
    "subnets",
];

/// What Tracker adds to the drivers' features.
const TRACKING: [(&str, Feature); 6] = [
    ("instances", Feature { name: "state_tracking", operation: "create", params: TRACKING_PARAMS }),
    ("instances", Feature { name: "state_tracking", operation: "update", params: TRACKING_PARAMS }),
    ("realms", Feature { name: "state_tracking", operation: "update", params: TRACKING_PARAMS }),
    ("images", Feature { name: "state_tracking", operation: "update", params: TRACKING_PARAMS }),
    ("storage_volumes", Feature { name: "state_tracking", operation: "update", params: TRACKING_PARAMS }),
    ("storage_snapshots", Feature { name: "state_tracking", operation: "update", params: TRACKING_PARAMS }),
];
const TRACKING_PARAMS: &[&str] =
    &["track_hook", "track_token", "track_secret", "track_mode", "track_format", "track_events", "subscriber"];

/// The entry point: needs no credentials, ignores bad ones and never touches a backend, unless `force_auth` asks for it.
pub(super) async fn show(call: Call) -> Result<Response, Fault> {
    if call.params.get("force_auth").is_some() {
        call.caller().await?;
    }
    Ok(answer(&call, None))
}

/// Sets, replaces or removes the hook on the account itself. Unlike everything else here it asks who one is.
pub(super) async fn track(call: Call) -> Result<Response, Fault> {
    match tracking::put(&call, Scope::Account).await? {
        Done::Set(tracked) => Ok(answer(&call, Some(tracking::tracked_view(&tracked)))),
        Done::Removed(_) => Ok(answer(&call, None)),
    }
}

fn answer(call: &Call, tracking: Option<TrackingView>) -> Response {
    let abilities = call.driver.abilities();
    let entry = Entry {
        version: VERSION,
        tracker: env!("CARGO_PKG_VERSION"),
        driver: abilities.id,
        provider: call.provider.as_deref(),
        links: links(abilities, |collection| call.base().collection(collection)),
        tracking,
    };
    call.ok(&entry)
}

fn links(abilities: &Abilities, href: impl Fn(&str) -> String) -> Vec<LinkView> {
    let theirs = SERVED.iter().copied().filter(|name| abilities.collections.contains(name));
    let mut names: Vec<_> =
        ["changes", "deliveries", "drivers", "hooks", "instance_states"].into_iter().chain(theirs).collect();
    names.sort_unstable();
    let link = |name| {
        let features = abilities.features.iter().chain(&TRACKING).filter(move |(collection, _)| *collection == name);
        LinkView::new(name, href(name), features.map(|(_, feature)| *feature))
    };
    names.into_iter().map(link).collect()
}

/// The driver chooser of old: leads to the entry point with the choice as matrix parameters.
pub(super) async fn choose(call: Call) -> Response {
    let before = call.referer.as_ref().and_then(|referer| referer.to_str().ok());
    let before = before.and_then(|url| url::Url::parse(url).ok()).and_then(|url| Target::parse(url.path()).ok());
    let driver = call.params.given("driver").map(str::to_owned).or(before.and_then(|target| target.driver));
    let provider = call.params.given("provider").filter(|provider| *provider != "default");
    let location = match (call.params.given("driver"), provider) {
        (None, None) => "/api/".to_owned(),
        _ => format!("/api{}", target::matrix(driver.as_deref(), provider)),
    };
    (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, format!("{}{location}", call.origin))]).into_response()
}
