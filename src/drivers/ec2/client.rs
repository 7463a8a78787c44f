//! One signed call of the Query API: a form, posted, and its XML answer.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aws_credential_types::Credentials as AwsCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::provider::{self, Provider};
use super::{Settings, blame, fault, parse};
use crate::clock::Clock;
use crate::drivers::line::Line;
use crate::drivers::pace::Budget;
use crate::drivers::{Error, Kind, reading};
use crate::model::{Credentials, ExposeSecret as _};
use crate::outbound::{self, Outbound, Request};

/// Where a call goes, and what it is signed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// As the client named it, for errors.
    provider: String,
    url: Url,
    region: String,
    service: &'static str,
    version: &'static str,
    /// The operator wrote the URL; otherwise a client named it, or it is made of a region.
    by_operator: bool,
    /// AWS itself, and nothing in its place.
    is_aws: bool,
}

impl Target {
    pub(super) fn ec2(provider: &Provider, settings: &Settings) -> Self {
        let url = match (provider, &settings.endpoint) {
            (Provider::Host(host), _) => host.clone(),
            (Provider::Region(_), Some(endpoint)) => endpoint.clone(),
            (Provider::Region(region), None) => https(&provider::aws_host("ec2", region)),
        };
        Self::new(provider, settings, url, "ec2", "2016-11-15")
    }

    pub(super) fn sts(provider: &Provider, settings: &Settings) -> Self {
        let at_aws = || https(&provider::aws_host("sts", region(provider, settings)));
        let url = match (&settings.sts_endpoint, provider, &settings.endpoint) {
            (Some(sts), ..) => sts.clone(),
            (None, Provider::Region(_), Some(endpoint)) => endpoint.clone(),
            (None, Provider::Host(host), _) if !provider.is_aws() => host.clone(),
            (None, ..) => at_aws(),
        };
        Self::new(provider, settings, url, "sts", "2011-06-15")
    }

    fn new(provider: &Provider, settings: &Settings, url: Url, service: &'static str, version: &'static str) -> Self {
        let region = region(provider, settings).to_owned();
        // A client that names the very host of the settings has named a host.
        let operators = matches!(provider, Provider::Region(_)) || service == "sts";
        let by_operator = operators && [&settings.endpoint, &settings.sts_endpoint].contains(&&Some(url.clone()));
        let is_aws = provider.is_aws() && !by_operator;
        Self { provider: provider.canonical(), url, region, service, version, by_operator, is_aws }
    }

    pub(super) fn is_aws(&self) -> bool {
        self.is_aws
    }
}

fn region<'a>(provider: &'a Provider, settings: &'a Settings) -> &'a str {
    provider.region().unwrap_or(&settings.signing_region)
}

fn https(host: &str) -> Url {
    Url::parse(&format!("https://{host}/")).expect("a region's name has only letters, digits and dashes")
}

/// The parameters of a call, in order.
#[derive(Clone, Default)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    pub(super) fn with(mut self, name: impl Into<String>, value: impl fmt::Display) -> Self {
        self.0.push((name.into(), value.to_string()));
        self
    }

    pub(super) fn with_some(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }
}

/// As a form.
impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish())
    }
}

pub(super) struct Client {
    line: Line,
    clock: Arc<dyn Clock>,
}

impl Client {
    pub(super) fn new(settings: &Settings, outbound: Outbound, clock: Arc<dyn Clock>, budget: Budget) -> Self {
        let line = Line::new(outbound, budget, settings.page_timeout_ms, settings.body_bytes_max);
        Self { line, clock }
    }

    /// Asks; a look of ours a few times. Every error names the action and where it was asked.
    pub(super) async fn call<T: parse::Reply>(
        &self,
        credentials: &Credentials,
        target: &Target,
        action: &'static str,
        params: Params,
    ) -> Result<T, Error> {
        let body = self.post(credentials, target, action, params).await?;
        read(body, target, action).await
    }

    /// As [`Client::call`], for whoever wants to know in which word it was refused, and reads the answer itself.
    pub(super) async fn post(
        &self,
        credentials: &Credentials,
        target: &Target,
        action: &'static str,
        params: Params,
    ) -> Result<Bytes, Failure> {
        let body =
            Params::default().with("Action", action).with("Version", target.version).followed_by(params).to_string();
        let mut tries = self.line.tries(&target.provider, credentials, changes_nothing(action));
        loop {
            // Before it is signed, as a signature ages.
            let turn = tries.turn().await?;
            let outcome = self.once(credentials, target, action, &body).await;
            let failed = outcome.as_ref().err().map(|failure| failure.error.kind);
            if !tries.again(turn, failed).await {
                return outcome;
            }
        }
    }

    async fn once(
        &self,
        credentials: &Credentials,
        target: &Target,
        action: &'static str,
        body: &str,
    ) -> Result<Bytes, Failure> {
        let at = at(target, action);
        let signed = signed(target, body, credentials, self.clock.now())
            .ok_or_else(|| Error::new(Kind::Denied, format!("{at}: no access key looks like this one")))?;
        let request = Request {
            method: Method::POST,
            url: target.url.clone(),
            headers: signed.headers,
            body: body.to_owned().into(),
        };

        let answer = self.line.exchange(target.by_operator, request).await;
        let answer = answer.map_err(|error| unanswered(&at, target, &error))?;

        if answer.status.is_success() {
            return Ok(answer.body);
        }
        let fault = parse::fault(&answer.body);
        let kind = fault::kind(answer.status, fault.as_ref(), &answer.headers, self.clock.now());
        let status = answer.status.as_u16();
        let text = fault.as_ref().map_or_else(
            || format!("{at}: status {status}, and not in EC2's words"),
            |fault| {
                let secrets = [credentials.password.expose_secret(), signed.signature.as_str()];
                format!("{at}: {} (status {status})", fault::shown(fault, &credentials.user, &secrets))
            },
        );
        let code = fault.map(|fault| fault.code.trim().to_owned());
        let blamed = code.as_deref().filter(|_| action == "RunInstances");
        let blamed = blamed.and_then(|code| blame::of_launch(answer.status, kind, code));
        Err(Failure { error: Error::new(kind, text).blaming(blamed), code })
    }
}

/// A call that was not done, or not known to be.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// EC2's word for it, as it came: not to be shown. `None`: it did not say one.
    pub(super) code: Option<String>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, code: None }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// EC2 and STS have these words for it.
fn changes_nothing(action: &str) -> bool {
    action.starts_with("Describe") || action.starts_with("Get")
}

fn at(target: &Target, action: &str) -> String {
    format!("{action} at {}", target.url.authority())
}

/// The answer to [`Client::post`].
pub(super) async fn read<T: parse::Reply>(body: Bytes, target: &Target, action: &str) -> Result<T, Error> {
    reading::apart(body, parse::reply)
        .await
        .map_err(|error| Error::new(Kind::Unavailable, format!("{}: {error}", at(target, action))))
}

impl Params {
    fn followed_by(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }
}

fn unanswered(at: &str, target: &Target, error: &outbound::Error) -> Error {
    let text = match error {
        outbound::Error::Refused(_) => format!("{at}, for provider {}: {error}", target.provider),
        _ => format!("{at}: {error}"),
    };
    Error::new(Kind::from(error), text)
}

struct Signed {
    headers: HeaderMap,
    signature: String,
}

/// Signature Version 4 over host, type, date and body. `None`: such an access key id cannot be put into a header.
fn signed(target: &Target, body: &str, credentials: &Credentials, now: Timestamp) -> Option<Signed> {
    let key_id = credentials.user.as_str();
    if key_id.is_empty() || !key_id.bytes().all(|byte| byte.is_ascii_graphic() && !b",/=".contains(&byte)) {
        return None;
    }
    let identity = AwsCredentials::new(key_id, credentials.password.expose_secret(), None, None, "caller").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(&target.region)
        .name(target.service)
        .time(SystemTime::from(now))
        .settings(SigningSettings::default())
        .build()
        .expect("all that is required is given")
        .into();
    let content_type = [(CONTENT_TYPE.as_str(), FORM)];
    let request = SignableRequest::new(
        "POST",
        target.url.as_str(),
        content_type.into_iter(),
        SignableBody::Bytes(body.as_bytes()),
    )
    .expect("a URL is a URI");
    let (instructions, signature) = sign(request, &params).expect("a plain form can be signed").into_parts();

    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(FORM))]);
    for (name, value) in instructions.headers() {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("the signer's header names are names");
        let mut value = HeaderValue::from_str(value).expect("the key id, the only part from outside, was checked");
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Some(Signed { headers, signature })
}

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;

    fn credentials(user: &str) -> Credentials {
        let password = Secret::from("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        Credentials { user: user.to_owned(), password }
    }

    fn settings(endpoint: &str, sts: &str) -> Settings {
        let url = |text: &str| Url::parse(text).ok();
        Settings { endpoint: url(endpoint), sts_endpoint: url(sts), ..Settings::default() }
    }

    #[test]
    fn calls_go_where_provider_and_settings_say() {
        let check = |provider: Option<&str>, settings: &Settings, ec2: &str, sts: &str, region: &str| {
            let provider = provider::parse(provider).expect("good");
            let (to_ec2, to_sts) = (Target::ec2(&provider, settings), Target::sts(&provider, settings));
            assert_eq!((to_ec2.url.as_str(), to_sts.url.as_str()), (ec2, sts));
            assert_eq!((to_ec2.region.as_str(), to_sts.region.as_str()), (region, region));
        };
        let aws = Settings::default();
        let (us, eu) = ("https://ec2.us-east-1.amazonaws.com/", "https://ec2.eu-west-1.amazonaws.com/");
        check(None, &aws, us, "https://sts.us-east-1.amazonaws.com/", "us-east-1");
        check(Some("eu-west-1"), &aws, eu, "https://sts.eu-west-1.amazonaws.com/", "eu-west-1");
        let (cn, cn_sts) = ("https://ec2.cn-north-1.amazonaws.com.cn/", "https://sts.cn-north-1.amazonaws.com.cn/");
        check(Some("cn-north-1"), &aws, cn, cn_sts, "cn-north-1");
        let dual = "ec2.eu-west-1.api.aws";
        check(Some(dual), &aws, "https://ec2.eu-west-1.api.aws/", "https://sts.eu-west-1.amazonaws.com/", "eu-west-1");
        let own = "https://cloud.example:8773/";
        check(Some("cloud.example:8773"), &aws, own, own, "us-east-1");

        let lab = settings("http://127.0.0.1:5000", "");
        check(Some("eu-west-1"), &lab, "http://127.0.0.1:5000/", "http://127.0.0.1:5000/", "eu-west-1");
        check(Some("cloud.example:8773"), &lab, own, own, "us-east-1");
        let split = settings("http://lab.example/ec2", "http://lab.example/tokens");
        check(None, &split, "http://lab.example/ec2", "http://lab.example/tokens", "us-east-1");
    }

    /// Checked against a second implementation, written out from AWS's description of the algorithm.
    #[test]
    fn a_call_is_signed_as_aws_describes_it() {
        let now: Timestamp = "2015-08-30T12:36:00Z".parse().expect("a time");
        let provider = provider::parse(None).expect("good");
        let target = Target::ec2(&provider, &settings("http://127.0.0.1:5000", ""));
        let body = "Action=DescribeRegions&Version=2016-11-15&x=a+b";
        let signed = signed(&target, body, &credentials("AKIDEXAMPLE"), now).expect("a key like others");

        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let sha = |text: &str| hex(&<sha2::Sha256 as sha2::Digest>::digest(text));
        let hmac = |key: &[u8], text: &str| {
            use hmac::{KeyInit as _, Mac as _};
            let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(key).expect("any length");
            mac.update(text.as_bytes());
            mac.finalize().into_bytes().to_vec()
        };
        let request = format!(
            "POST\n/\n\ncontent-type:{FORM}\nhost:127.0.0.1:5000\nx-amz-date:20150830T123600Z\n\n\
             content-type;host;x-amz-date\n{}",
            sha(body)
        );
        let scope = "20150830/us-east-1/ec2/aws4_request";
        let to_sign = format!("AWS4-HMAC-SHA256\n20150830T123600Z\n{scope}\n{}", sha(&request));
        let key = ["20150830", "us-east-1", "ec2", "aws4_request"]
            .iter()
            .fold(b"AWS4wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_vec(), |key, part| hmac(&key, part));
        let signature = hex(&hmac(&key, &to_sign));

        assert_eq!(
            signed.headers["authorization"],
            format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}, SignedHeaders=content-type;host;x-amz-date, \
                 Signature={signature}"
            )
        );
        assert_eq!(signed.headers["x-amz-date"], "20150830T123600Z");
        assert_eq!(signed.signature, signature);
    }

    #[test]
    fn a_key_id_that_cannot_be_one_is_not_sent() {
        let target = Target::ec2(&provider::parse(None).expect("good"), &Settings::default());
        for bad in ["", "two words", "line\nbreak", "AKID/x", "AKID,x", "schlüssel"] {
            assert!(signed(&target, "", &credentials(bad), Timestamp::UNIX_EPOCH).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn no_header_shows_its_value_when_printed() {
        let target = Target::ec2(&provider::parse(None).expect("good"), &Settings::default());
        let signed = signed(&target, "", &credentials("AKIDEXAMPLE"), Timestamp::UNIX_EPOCH).expect("a key");
        assert!(!format!("{:?}", signed.headers).contains(&signed.signature));
    }
}
