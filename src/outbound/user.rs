use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use reqwest::header::HeaderValue;
use url::Url;

/// The URL without its user part, and that part as Basic credentials.
pub fn split(mut url: Url) -> (Url, Option<HeaderValue>) {
    if url.username().is_empty() && url.password().is_none() {
        return (url, None);
    }
    let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    let mut pair = decoded(url.username());
    pair.push(b':');
    pair.extend(decoded(url.password().unwrap_or_default()));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
        .expect("Base64 has only characters that a header may have");
    value.set_sensitive(true);
    // Both setters fail only for URLs without a host, and one with a user part has a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    (url, Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_part_becomes_credentials() {
        let check = |url: &str, want_url: &str, want: Option<&str>| {
            let (url, header) = split(Url::parse(url).unwrap());
            assert_eq!(url.as_str(), want_url);
            assert_eq!(header.as_ref().map(|value| value.to_str().unwrap()), want, "{url}");
            assert!(header.is_none_or(|value| value.is_sensitive()));
        };
        check("https://a.example/cb?x=1", "https://a.example/cb?x=1", None);
        check("https://user:pass@a.example/cb", "https://a.example/cb", Some("Basic dXNlcjpwYXNz"));
        check("https://user@a.example/", "https://a.example/", Some("Basic dXNlcjo="));
        check("https://:pass@a.example/", "https://a.example/", Some("Basic OnBhc3M="));
        check("https://u%40b:p%3A%2F@a.example/", "https://a.example/", Some("Basic dUBiOnA6Lw=="));
        check("https://@a.example/", "https://a.example/", None);
    }
}
