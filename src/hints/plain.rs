//! What anybody can say with `curl`: `collection`, `id` (once or often), `state`, `time`. Pure.

use jiff::Timestamp;
use serde_json::Value;

use super::{Report, checked, text};
use crate::model::Collection;

/// From the query and a form, which say it together.
pub(super) fn of_form(query: &str, body: &[u8], ids_max: usize) -> Result<Report, String> {
    let (mut ids, mut fields) = (Vec::new(), Fields::default());
    for (name, value) in form_urlencoded::parse(query.as_bytes()).chain(form_urlencoded::parse(body)) {
        let field = match name.as_ref() {
            "id" if ids.len() >= ids_max => {
                return Err(format!("There are more than {ids_max} ids in it (hints.ids_max)"));
            }
            "id" => {
                ids.push(value.into_owned());
                continue;
            }
            "collection" => &mut fields.collection,
            "state" => &mut fields.state,
            "time" => &mut fields.time,
            "account" => &mut fields.account,
            "region" => &mut fields.region,
            _ => continue,
        };
        // An empty one is not given, as everywhere.
        *field = Some(value.into_owned()).filter(|value| !value.is_empty());
    }
    if ids.is_empty() {
        return Err("`id` is required, once or more often; or a body of JSON".to_owned());
    }
    checked(fields.report(ids)?)
}

pub(super) fn of_json(hint: &Value) -> Result<Report, String> {
    let ids = match hint.get("id") {
        Some(Value::String(id)) => vec![id.clone()],
        Some(Value::Array(ids)) => {
            let texts = ids.iter().map(|id| id.as_str().map(str::to_owned));
            texts.collect::<Option<_>>().ok_or("`id` must be a text or a list of texts")?
        }
        _ => return Err("it is no event that is known, and has no `id`: a text or a list of texts".to_owned()),
    };
    let field = |name: &str| text(hint, &[name]);
    let fields = Fields {
        collection: field("collection"),
        state: field("state"),
        time: field("time"),
        account: field("account"),
        region: field("region"),
    };
    fields.report(ids)
}

#[derive(Default)]
struct Fields {
    collection: Option<String>,
    state: Option<String>,
    time: Option<String>,
    account: Option<String>,
    region: Option<String>,
}

impl Fields {
    fn report(self, ids: Vec<String>) -> Result<Report, String> {
        let Self { collection, state, time, account, region } = self;
        let collection = collection.map_or(Some(Collection::Instances), |name| Collection::parse(&name));
        let at = time.map(|text| text.parse::<Timestamp>()).transpose();
        Ok(Report {
            collection: collection.ok_or("`collection` must be one that can be tracked")?,
            ids,
            state,
            at: at.map_err(|_| "`time` must be an instant like 2026-11-21T10:00:00Z")?,
            account,
            region,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(report: Result<Report, String>) -> String {
        match report {
            Ok(Report { collection, ids, state, at, account, region }) => {
                let at = at.map(|at| at.to_string());
                let rest = [state, at, account, region].map(|text| text.unwrap_or_else(|| "-".to_owned()));
                format!("{collection} {} {}", ids.join(","), rest.join(" "))
            }
            Err(text) => text,
        }
    }

    #[test]
    fn a_form_is_read() {
        let check = |query: &str, body: &str, expected: &str| {
            assert_eq!(shown(of_form(query, body.as_bytes(), 3)), expected, "{query} {body}");
        };
        check("", "id=i-1", "instances i-1 - - - -");
        check("id=i-1&state=stopped", "", "instances i-1 stopped - - -");
        check(
            "collection=storage_volumes",
            "id=a&id=b&id=c&state=in-use&time=2026-11-21T10:00:00Z&account=1&region=eu&other=x",
            "storage_volumes a,b,c in-use 2026-11-21T10:00:00Z 1 eu",
        );
        check("", "id=a&state=&time=&collection=", "instances a - - - -");
        check("id=a", "id=b&id=c&id=d", "There are more than 3 ids in it (hints.ids_max)");
        check("", "state=stopped", "`id` is required, once or more often; or a body of JSON");
        check("", "id=a&collection=changes", "`collection` must be one that can be tracked");
        check("", "id=a&time=yesterday", "`time` must be an instant like 2026-11-21T10:00:00Z");
    }

    #[test]
    fn json_is_read() {
        let check = |text: &str, expected: &str| {
            assert_eq!(shown(of_json(&serde_json::from_str(text).unwrap())), expected, "{text}");
        };
        check(r#"{"id": "i-1"}"#, "instances i-1 - - - -");
        check(
            r#"{"collection": "images", "id": ["a", "b"], "state": "AVAILABLE", "time": "2026-11-21T10:00:00Z", "account": "1", "region": "eu"}"#,
            "images a,b AVAILABLE 2026-11-21T10:00:00Z 1 eu",
        );
        check(r#"{"id": 7}"#, "it is no event that is known, and has no `id`: a text or a list of texts");
        check(r#"{"id": ["a", 7]}"#, "`id` must be a text or a list of texts");
        check(r#"{"state": "stopped"}"#, "it is no event that is known, and has no `id`: a text or a list of texts");
        check(r#"{"id": "a", "time": "yesterday"}"#, "`time` must be an instant like 2026-11-21T10:00:00Z");
    }
}
