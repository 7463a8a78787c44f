//! A change in words, for people. Pure.

use serde_json::Value;

use super::output::{Cell, Tone};

/// What happened: `RUNNING -> STOPPING`, `new, RUNNING`, `now at 192.0.2.1`.
pub(crate) fn news(change: &Value) -> String {
    let kind = text(&change["type"]);
    let state = |side: &str| text(&change[side]["state"]);
    match kind.split_once('.').map_or(kind, |(_, verb)| verb) {
        "addresses" => format!("now at {}", addresses(&change["to"])),
        "gone" | "withdrawn" => format!("{} -> gone", state("from")),
        "appeared" => format!("new, {}", state("to")),
        _ if state("from").is_empty() && state("to").is_empty() => kind.to_owned(),
        _ if state("from").is_empty() => format!("is {}", state("to")),
        _ => format!("{} -> {}", state("from"), state("to")),
    }
}

/// `  because power failure; host lost`, or nothing.
pub(crate) fn because(change: &Value) -> String {
    let why: Vec<_> = change["why"].as_array().into_iter().flatten().map(|reason| text(&reason["text"])).collect();
    if why.is_empty() { String::new() } else { format!("  because {}", why.join("; ")) }
}

/// `2026-11-21 10:15:02  #3  instances/inst1  RUNNING -> STOPPING`
pub(super) fn line(change: &Value, colours: bool) -> String {
    let time: String = text(&change["timestamp"]).chars().take(19).map(|c| if c == 'T' { ' ' } else { c }).collect();
    let resource = &change["resource"];
    let what = format!("{}/{}", text(&resource["collection"]), text(&resource["id"]));
    let seq = format!("#{}", change["seq"].as_u64().unwrap_or_default());
    let news = news(change);
    let room = " ".repeat(26_usize.saturating_sub(news.chars().count()));
    let news = Cell::new(&news, tone(change)).shown(colours);
    let (time, seq) = (Cell::new(time, Tone::Faint).shown(colours), Cell::plain(format!("{seq:<5}")).shown(false));
    let (what, why) = (Cell::plain(format!("{what:<20}")).shown(false), Cell::plain(because(change)).shown(false));
    format!("{time}  {seq} {what}  {news}{room}{why}").trim_end().to_owned()
}

fn tone(change: &Value) -> Tone {
    let kind = text(&change["type"]);
    match text(&change["to"]["state"]) {
        "RUNNING" | "AVAILABLE" | "available" => Tone::Good,
        "STOPPED" | "FINISH" | "ERROR" | "UNAVAILABLE" => Tone::Bad,
        _ if kind.ends_with(".gone") || kind.ends_with(".withdrawn") => Tone::Bad,
        _ => Tone::Strong,
    }
}

fn addresses(side: &Value) -> String {
    let all = ["public_addresses", "private_addresses"].into_iter().filter_map(|list| side[list].as_array());
    let texts: Vec<_> = all.flatten().filter_map(Value::as_str).collect();
    if texts.is_empty() { "no address".to_owned() } else { texts.join(", ") }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_one_readable_line() {
        let mut change = serde_json::json!({
            "type": "instance.state", "timestamp": "2026-11-21T10:15:02.120Z", "seq": 3,
            "resource": {"collection": "instances", "id": "inst1"},
            "from": {"state": "RUNNING"}, "to": {"state": "STOPPING"}, "why": [],
        });
        let check = |change: &Value, expected: &str| assert_eq!(line(change, false), expected);
        check(&change, "2026-11-21 10:15:02  #3    instances/inst1       RUNNING -> STOPPING");
        change["why"] = serde_json::json!([{"rule": "D1", "text": "power\x1b failure"}]);
        check(
            &change,
            "2026-11-21 10:15:02  #3    instances/inst1       RUNNING -> STOPPING         because power\u{fffd} failure",
        );
    }

    #[test]
    fn each_kind_of_news_has_its_words() {
        let check = |kind: &str, from: Value, to: Value, expected: &str| {
            assert_eq!(news(&serde_json::json!({"type": kind, "from": from, "to": to})), expected);
        };
        let state = |state: &str| serde_json::json!({"state": state});
        check("instance.state", state("RUNNING"), state("STOPPED"), "RUNNING -> STOPPED");
        check("instance.appeared", Value::Null, state("RUNNING"), "new, RUNNING");
        check("volume.gone", state("AVAILABLE"), Value::Null, "AVAILABLE -> gone");
        check("realm.withdrawn", state("AVAILABLE"), Value::Null, "AVAILABLE -> gone");
        let at = serde_json::json!({"public_addresses": ["192.0.2.1"], "private_addresses": []});
        check("instance.addresses", Value::Null, at, "now at 192.0.2.1");
        check("instance.snapshot", Value::Null, state("RUNNING"), "is RUNNING");
        check("hook.disabled", Value::Null, Value::Null, "hook.disabled");
    }
}
