use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

/// What an event is to whoever keeps one integer for each resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    New,
    Duplicate,
    Late,
    /// Something in between will not come: read how the resource stands.
    Hole,
    /// How it stands, and no change.
    Snapshot,
    /// Somebody tries the hook.
    Test,
}

/// `None`: refuse it (401). `now` is in seconds since 1970; `header` finds a header by its name.
pub fn signed<'h>(secret: &str, header: impl Fn(&str) -> Option<&'h str>, body: &[u8], now: u64) -> Option<()> {
    let key = STANDARD.decode(secret.strip_prefix("whsec_")?).ok()?;
    let (id, at) = (header("webhook-id")?, header("webhook-timestamp")?);
    if now.abs_diff(at.parse().ok()?) > 300 {
        return None;
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(format!("{id}.{at}.").as_bytes());
    mac.update(body);
    let given = header("webhook-signature")?.split(' ');
    let given = given.filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok());
    // Compares in constant time. During a rotation there are two, and one fits.
    given.filter(|one| mac.clone().verify_slice(one).is_ok()).count().gt(&0).then_some(())
}

/// `kept` belongs into your database; `None`: this is no event of Tracker's (400). Answer 204 to all the others, and 410
/// to what nobody wants any more.
pub fn judge(kept: &mut HashMap<[String; 5], u64>, event: &Value) -> Option<Word> {
    if event["test"] == true {
        return Some(Word::Test);
    }
    let text = |part: &str, name: &str| Some(event[part][name].as_str()?.to_owned());
    let account = (text("account", "driver")?, text("account", "provider")?, text("account", "id")?);
    let key = [account.0, account.1, account.2, text("resource", "collection")?, text("resource", "id")?];
    let revision = event["resource"]["revision"].as_u64()?;
    let (snapshot, merged) = (event["snapshot"] == true, event["merged"]["count"].as_u64().unwrap_or(0));
    let word = match kept.get(&key) {
        Some(&before) if revision < before => return Some(Word::Late),
        Some(&before) if revision == before && !snapshot => return Some(Word::Duplicate),
        _ if snapshot => Word::Snapshot,
        Some(&before) if revision > before + 1 + merged => Word::Hole,
        _ => Word::New,
    };
    // Together with what you do about `event["to"]`, in one transaction.
    kept.insert(key, revision);
    Some(word)
}
