//! Nova's versioned notifications, bare or in the envelope in which oslo.messaging sends them. Pure.

use jiff::Timestamp;
use serde_json::Value;

use super::{Report, text};
use crate::model::Collection;

/// The notification itself, if this is one.
///
/// # Errors
/// An envelope that holds none.
pub(super) fn opened(event: &Value) -> Result<Option<Value>, String> {
    let is_one = |value: &Value| value.get("event_type").is_some() && value.get("payload").is_some();
    let inner = match event.get("oslo.message").or_else(|| event.get("message")) {
        // As a text, that is; some bridges have opened it already.
        Some(Value::String(text)) => {
            let inner = serde_json::from_str(text);
            Some(inner.map_err(|_| "what is in its envelope is not JSON".to_owned())?)
        }
        Some(inner) => Some(inner.clone()),
        None => None,
    };
    match inner {
        Some(inner) if is_one(&inner) => Ok(Some(inner)),
        Some(_) => Err("what is in its envelope is no notification".to_owned()),
        None => Ok(is_one(event).then(|| event.clone())),
    }
}

/// `None`: of a kind that tells of nothing that is watched.
pub(super) fn read(event: &Value) -> Result<Option<Report>, String> {
    const DATA: &str = "nova_object.data";
    let kind = text(event, &["event_type"]).unwrap_or_default();
    if !kind.starts_with("instance.") {
        return Ok(None);
    }
    let of = |name: &str| text(event, &["payload", DATA, name]);
    let id = of("uuid").ok_or("it has no uuid in its payload")?;
    Ok(Some(Report {
        collection: Collection::Instances,
        ids: vec![id],
        // What begins has the state of before.
        state: of("state").filter(|_| !kind.ends_with(".start")),
        at: text(event, &["timestamp"]).and_then(|text| instant(&text)),
        account: of("tenant_id").or_else(|| of("project_id")),
        region: None,
    }))
}

/// `2026-11-21 10:00:00.123456`, in UTC without saying so.
fn instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    text.parse().ok().or_else(|| format!("{}Z", text.replacen(' ', "T", 1)).parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn notification(kind: &str, state: &str) -> Value {
        json!({
            "event_type": kind, "priority": "INFO", "publisher_id": "nova-compute:fake-mini",
            "message_id": "f1ae6c1e-3b0c-4f9a-9a3e-2d9a4a1a2b3c", "timestamp": "2026-11-21 10:00:02.123456",
            "payload": {
                "nova_object.name": "InstanceActionPayload", "nova_object.namespace": "nova", "nova_object.version": "1.8",
                "nova_object.data": {
                    "uuid": "178b0921-8f85-4257-88b6-2e743b5a975c", "state": state, "power_state": "shutdown",
                    "task_state": null, "tenant_id": "6f70656e737461636b20342065766572",
                    "user_id": "fake", "host": "compute", "availability_zone": "nova", "host_name": "some-server", "fault": null,
                    "display_name": "some-server", "deleted_at": null,
                    "flavor": {"nova_object.name": "FlavorPayload", "nova_object.data": {"name": "test_flavor"}}
                }
            }
        })
    }

    #[test]
    fn notifications_name_instances() {
        let check = |event: Value, expected: &str| {
            let read = opened(&event).and_then(|inner| read(&inner.ok_or("no notification")?));
            let got = match read {
                Ok(Some(Report { collection, ids, state, at, account, region })) => {
                    assert_eq!((collection, region), (Collection::Instances, None));
                    let at = at.map_or("-".to_owned(), |at| at.to_string());
                    let or = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
                    format!("{} {} {at} {}", &ids[0][..8], or(state), or(account))
                }
                Ok(None) => "nothing".to_owned(),
                Err(text) => text,
            };
            assert_eq!(got, expected, "{event}");
        };
        let stopped = notification("instance.power_off.end", "stopped");
        const STOPPED: &str = "178b0921 stopped 2026-11-21T10:00:02.123456Z 6f70656e737461636b20342065766572";
        check(stopped.clone(), STOPPED);
        check(json!({"oslo.version": "2.0", "oslo.message": stopped.to_string()}), STOPPED);
        check(json!({"oslo.version": "2.0", "oslo.message": stopped}), STOPPED);
        check(json!({"message": stopped.to_string()}), STOPPED);
        check(notification("instance.delete.end", "deleted"), &STOPPED.replace("stopped", "deleted"));
        check(notification("instance.update", "building"), &STOPPED.replace("stopped", "building"));
        check(notification("instance.power_off.start", "active"), &STOPPED.replace("stopped", "-"));
        check(notification("flavor.create", "x"), "nothing");
        check(notification("compute_task.build_instances.error", "x"), "nothing");
        let mut bare = stopped.clone();
        bare["timestamp"] = json!(null);
        bare["payload"]["nova_object.data"]["tenant_id"] = json!(null);
        bare["payload"]["nova_object.data"]["project_id"] = json!("p1");
        check(bare, "178b0921 stopped - p1");
        let mut damaged = stopped.clone();
        damaged["payload"]["nova_object.data"] = json!({});
        check(damaged, "it has no uuid in its payload");
        check(json!({"oslo.message": "{"}), "what is in its envelope is not JSON");
        check(json!({"oslo.message": "7"}), "what is in its envelope is no notification");
        check(json!({"message": {"id": "a"}}), "what is in its envelope is no notification");
        check(json!({"id": "a"}), "no notification");
    }

    #[test]
    fn its_time_is_in_utc() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(instant(text).map(|at| at.to_string()).as_deref(), expected, "{text}");
        };
        check("2026-11-21 10:00:00.5", Some("2026-11-21T10:00:00.5Z"));
        check("2026-11-21T10:00:00Z", Some("2026-11-21T10:00:00Z"));
        check("2026-11-21T10:00:00+02:00", Some("2026-11-21T08:00:00Z"));
        check("yesterday", None);
    }
}
