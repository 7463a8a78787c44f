//! Events of Amazon EventBridge, as an API destination posts them. Pure.

use jiff::Timestamp;
use serde_json::Value;

use super::{Report, text};
use crate::model::Collection;

/// `None`: of a kind that tells of nothing that is watched.
pub(super) fn read(event: &Value) -> Result<Option<Report>, String> {
    let source = text(event, &["source"]).unwrap_or_default();
    let kind = text(event, &["detail-type"]).unwrap_or_default();
    let one = || text(event, &["detail", "instance-id"]).map(|id| vec![id]).ok_or("it has no detail.instance-id");
    let (ids, state) = match (source.as_str(), kind.as_str()) {
        ("aws.ec2", "EC2 Instance State-change Notification") => {
            let state = text(event, &["detail", "state"]).ok_or("it has no detail.state")?;
            (one()?, Some(state))
        }
        // What is to come is not yet; who is named may move soon.
        ("aws.ec2", "EC2 Spot Instance Interruption Warning" | "EC2 Instance Rebalance Recommendation") => {
            (one()?, None)
        }
        ("aws.health", "AWS Health Event") if text(event, &["detail", "service"]).as_deref() == Some("EC2") => {
            let ids = affected(event);
            if ids.is_empty() {
                return Ok(None);
            }
            (ids, None)
        }
        _ => return Ok(None),
    };
    Ok(Some(Report {
        collection: Collection::Instances,
        ids,
        state,
        at: text(event, &["time"]).and_then(|text| text.parse::<Timestamp>().ok()),
        account: text(event, &["account"]),
        region: text(event, &["region"]),
    }))
}

/// The instances that a scheduled change or an issue is about, each once. There may be other things among what is named.
fn affected(event: &Value) -> Vec<String> {
    let entities = event.pointer("/detail/affectedEntities").and_then(Value::as_array).into_iter().flatten();
    let named = entities.filter_map(|entity| text(entity, &["entityValue"]));
    let resources = event.get("resources").and_then(Value::as_array).into_iter().flatten();
    let named = named.chain(resources.filter_map(Value::as_str).map(str::to_owned));
    // By its id or by its ARN.
    let ids = named.filter_map(|name| name.rsplit('/').next().map(str::to_owned)).filter(|id| id.starts_with("i-"));
    let mut ids: Vec<_> = ids.collect();
    ids.sort();
    ids.dedup();
    ids
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(report: &Report) -> String {
        let Report { collection, ids, state, at, account, region } = report;
        let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let at = at.map_or("-".to_owned(), |at| at.to_string());
        format!("{collection} {} {} {at} {} {}", ids.join(","), or(state), or(account), or(region))
    }

    #[test]
    fn events_name_instances() {
        let check = |event: Value, expected: &str| {
            let read = read(&event);
            let got = match &read {
                Ok(Some(report)) => shown(report),
                Ok(None) => "nothing".to_owned(),
                Err(text) => text.clone(),
            };
            assert_eq!(got, expected, "{event}");
        };
        let moved = json!({
            "version": "0", "id": "7bf73129-1428-4cd3-a780-95db273d1602",
            "detail-type": "EC2 Instance State-change Notification", "source": "aws.ec2", "account": "123456789012",
            "time": "2026-11-11T21:29:54Z", "region": "us-east-1",
            "resources": ["arn:aws:ec2:us-east-1:123456789012:instance/i-abcd1111"],
            "detail": {"instance-id": "i-abcd1111", "state": "pending"}
        });
        check(moved.clone(), "instances i-abcd1111 pending 2026-11-11T21:29:54Z 123456789012 us-east-1");
        let mut spot = moved.clone();
        spot["detail-type"] = json!("EC2 Spot Instance Interruption Warning");
        spot["detail"] = json!({"instance-id": "i-abcd1111", "instance-action": "terminate"});
        check(spot.clone(), "instances i-abcd1111 - 2026-11-11T21:29:54Z 123456789012 us-east-1");
        spot["detail-type"] = json!("EC2 Instance Rebalance Recommendation");
        check(spot, "instances i-abcd1111 - 2026-11-11T21:29:54Z 123456789012 us-east-1");
        let scheduled = json!({
            "version": "0", "id": "121345678-1234-1234-1234-123456789012", "detail-type": "AWS Health Event",
            "source": "aws.health", "account": "123456789012", "time": "2026-06-05T06:27:57Z", "region": "us-west-2",
            "resources": ["i-abcd1111"],
            "detail": {
                "eventArn": "arn:aws:health:us-west-2::event/AWS_EC2_INSTANCE_STORE_DRIVE_PERFORMANCE_DEGRADED_90353408594353980",
                "service": "EC2", "eventTypeCode": "AWS_EC2_INSTANCE_RETIREMENT_SCHEDULED", "eventTypeCategory": "scheduledChange",
                "startTime": "Sat, 05 Jun 2026 15:10:09 GMT",
                "eventDescription": [{"language": "en_US", "latestDescription": "It will be retired."}],
                "affectedEntities": [
                    {"entityValue": "i-abcd1111", "tags": {}},
                    {"entityValue": "arn:aws:ec2:us-west-2:123456789012:instance/i-abcd2222"},
                    {"entityValue": "vol-1"}
                ]
            }
        });
        check(scheduled.clone(), "instances i-abcd1111,i-abcd2222 - 2026-06-05T06:27:57Z 123456789012 us-west-2");
        let mut other = scheduled;
        other["detail"]["service"] = json!("RDS");
        check(other, "nothing");
        // Of no kind, or of somebody else.
        let mut other = moved.clone();
        other["detail-type"] = json!("EBS Volume Notification");
        check(other, "nothing");
        let mut other = moved.clone();
        other["source"] = json!("my.application");
        check(other, "nothing");
        // Damaged.
        let mut damaged = moved.clone();
        damaged["detail"] = json!({"state": "stopped"});
        check(damaged, "it has no detail.instance-id");
        let mut damaged = moved.clone();
        damaged["detail"] = json!({"instance-id": "i-1", "state": 7});
        check(damaged, "it has no detail.state");
        let mut damaged = moved;
        for field in ["account", "region", "time"] {
            damaged[field] = json!(null);
        }
        check(damaged, "instances i-abcd1111 pending - - -");
    }
}
