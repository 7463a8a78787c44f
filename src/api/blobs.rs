//! Blobs: raw bytes with a type and metadata, in buckets.
//!
//! Accepted: content and type are fetched one after the other, so a blob that is replaced in between is served as its new
//! bytes under its old type. Absent on purpose: ranges, uploads in segments, `If-None-Match`.

use std::collections::BTreeMap;

use axum::extract::{Path, RawQuery};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;

use super::buckets::{fit_for_path, of};
use super::call::Call;
use super::collection::Collected as _;
use super::error::Fault;
use super::render::{BlobView, Member};
use super::target::segment;
use super::upload::Fields;
use crate::model::{Blob, Bucket, Login, NewBlob};

const BLOBMETA: &str = "x-deltacloud-blobmeta-";

/// Names and values of one blob's metadata together. Bytes; all of it must go into the head of one answer.
const METADATA_BYTES_MAX: usize = 8_192;

/// What is said of bytes about which nothing was said.
const BYTES: &str = "application/octet-stream";

type InBucket = Path<(String, String)>;

pub(super) async fn show(call: Call, Path((bucket, id)): InBucket) -> Result<Response, Fault> {
    let (_, blob) = found(&call, &bucket, &id).await?;
    Ok(call.ok(&Member("blob", BlobView::new(&blob, call.base()))))
}

/// `HEAD`: what was said about it, in headers.
pub(super) async fn metadata(call: Call, Path((bucket, id)): InBucket) -> Result<Response, Fault> {
    let (_, blob) = found(&call, &bucket, &id).await?;
    Ok((StatusCode::NO_CONTENT, as_headers(&blob.metadata)).into_response())
}

pub(super) async fn content(call: Call, Path((bucket, id)): InBucket) -> Result<Response, Fault> {
    let (login, blob) = found(&call, &bucket, &id).await?;
    let content = call.ask(&login, of(call.driver.as_ref())?.content(&login, &bucket, &id)).await?;
    Ok(served(&blob, content))
}

/// Stores the body as it came.
pub(super) async fn put(
    call: Call,
    Path((bucket, id)): InBucket,
    headers: HeaderMap,
    content: Bytes,
) -> Result<Response, Fault> {
    let login = visitor(&call).await?;
    fit_for_path("blob_id", &id)?;
    let content_type = text(&headers, &header::CONTENT_TYPE).unwrap_or_else(|| BYTES.to_owned());
    let new = NewBlob { id, content_type, metadata: checked(from_headers(&headers)?)?, content };
    let blob = call.change(&login, None, &[], of(call.driver.as_ref())?.put_blob(&login, &bucket, &new)).await?;
    Ok(call.ok(&Member("blob", BlobView::new(&blob, call.base()))))
}

/// Stores what came in the field `blob_data`, of a form or of the query. Metadata come as `meta_name1`, `meta_value1` …,
/// which are how browsers and the current gem say it, or as headers, which is how the older gem does.
pub(super) async fn create(
    call: Call,
    Path(bucket): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Fault> {
    let login = visitor(&call).await?;
    let content_type = text(&headers, &header::CONTENT_TYPE);
    let query = query.unwrap_or_default();
    let fields = Fields::read(&query, body, content_type.as_deref(), call.api.settings.params_max).await?;
    let new = new_blob(&fields, from_headers(&headers)?)?;
    let blob = call.change(&login, None, &[], of(call.driver.as_ref())?.put_blob(&login, &bucket, &new)).await?;
    let view = BlobView::new(&blob, call.base());
    let href = view.href.clone();
    Ok(call.created_at(&href, &Member("blob", view)))
}

/// Replaces the whole of the metadata by what is in the headers.
pub(super) async fn set_metadata(
    call: Call,
    Path((bucket, id)): InBucket,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let login = visitor(&call).await?;
    let metadata = checked(from_headers(&headers)?)?;
    call.change(&login, None, &[], of(call.driver.as_ref())?.set_metadata(&login, &bucket, &id, &metadata)).await?;
    Ok((StatusCode::NO_CONTENT, as_headers(&metadata)).into_response())
}

pub(super) async fn destroy(call: Call, Path((bucket, id)): InBucket) -> Result<Response, Fault> {
    let login = visitor(&call).await?;
    call.change(&login, None, &[], of(call.driver.as_ref())?.destroy_blob(&login, &bucket, &id)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn visitor(call: &Call) -> Result<Login, Fault> {
    call.needs(Bucket::PLURAL)?;
    call.visitor().await
}

async fn found(call: &Call, bucket: &str, id: &str) -> Result<(Login, Blob), Fault> {
    let login = visitor(call).await?;
    let blob = call.ask(&login, of(call.driver.as_ref())?.blob(&login, bucket, id)).await?;
    Ok((login, blob.ok_or_else(|| Fault::not_found("blob", id))?))
}

fn new_blob(fields: &Fields, mut metadata: Vec<(String, String)>) -> Result<NewBlob, Fault> {
    let id = fields.required("blob_id")?.text();
    fit_for_path("blob_id", &id)?;
    let data = fields.required("blob_data")?;
    let unsaid = if data.is_file { BYTES } else { "text/plain" };
    let content_type = data.content_type.clone().filter(|said| !said.is_empty());
    metadata.extend(fields.metadata());
    Ok(NewBlob {
        id,
        content_type: content_type.unwrap_or_else(|| unsaid.to_owned()),
        metadata: checked(metadata)?,
        content: data.value.clone(),
    })
}

/// The bytes, of the type their owner gave them. That may be a page with scripts, and it comes from the origin at which
/// people log in: so it is offered for saving, never guessed to be something else, and, should a browser show it
/// nevertheless, it is locked up.
fn served(blob: &Blob, content: Bytes) -> Response {
    let content_type = HeaderValue::try_from(&blob.content_type).ok().filter(|said| !said.is_empty());
    // Unlike in a path, a colon is escaped here.
    let name = segment(&blob.id).replace(':', "%3A");
    let disposition = format!("attachment; filename*=UTF-8''{name}");
    let headers = [
        (header::CONTENT_TYPE, content_type.unwrap_or(HeaderValue::from_static(BYTES))),
        (header::CONTENT_DISPOSITION, HeaderValue::try_from(disposition).expect("it is escaped")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox")),
        (header::CACHE_CONTROL, HeaderValue::from_static("max-age=0, private, must-revalidate")),
    ];
    (headers, content).into_response()
}

/// Names and values in the order of the headers; several of one name are one value, as proxies may join them too.
fn from_headers(headers: &HeaderMap) -> Result<Vec<(String, String)>, Fault> {
    let names = headers.keys().filter_map(|name| Some((name, name.as_str().strip_prefix(BLOBMETA)?)));
    let said = names.filter(|(_, short)| !short.is_empty()).map(|(name, short)| {
        let values = headers.get_all(name).iter().map(|value| std::str::from_utf8(value.as_bytes()));
        let values: Result<Vec<_>, _> = values.collect();
        let values = values.map_err(|_| Fault::invalid(format!("The header {name} is not UTF-8")))?;
        Ok((short.to_owned(), values.join(", ")))
    });
    said.collect()
}

/// What can be given back as headers. Names are in lower case then, and a later one of the same name wins.
fn checked(metadata: Vec<(String, String)>) -> Result<BTreeMap<String, String>, Fault> {
    let size: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > METADATA_BYTES_MAX {
        return Err(Fault::invalid(format!("A blob's metadata are longer than {METADATA_BYTES_MAX} bytes")));
    }
    let fits = |(name, value): (String, String)| {
        if !fits_header(&name, &value) {
            return Err(Fault::invalid("A blob's metadata must be such that HTTP headers can hold them"));
        }
        Ok((name.to_ascii_lowercase(), value))
    };
    metadata.into_iter().map(fits).collect()
}

fn fits_header(name: &str, value: &str) -> bool {
    as_header(name, value).is_some()
}

fn as_header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::try_from(format!("{BLOBMETA}{name}")).ok()?;
    Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
}

/// Leaves out what cannot be a header; only another program can have stored such.
fn as_headers(metadata: &BTreeMap<String, String>) -> HeaderMap {
    metadata.iter().filter_map(|(name, value)| as_header(name, value)).collect()
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn metadata_are_headers_of_one_prefix() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-deltacloud-blobmeta-author", "h\u{e4}rpy"),
            ("x-deltacloud-blobmeta-author", "derpy"),
            ("x-deltacloud-blobmeta-", "nothing"),
            ("x-deltacloud-driver", "mock"),
        ] {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        assert_eq!(from_headers(&headers).unwrap(), pairs(&[("author", "h\u{e4}rpy, derpy")]));
        headers.insert("x-deltacloud-blobmeta-author", HeaderValue::from_bytes(b"\xff").unwrap());
        assert!(from_headers(&headers).is_err());
    }

    #[test]
    fn metadata_come_back_as_headers_or_are_refused() {
        let check = |name: &str, value: &str, fits: bool| {
            let metadata = checked(pairs(&[(name, value)]));
            assert_eq!(metadata.is_ok(), fits, "{name:?}: {value:?}");
            let Ok(metadata) = metadata else { return };
            let headers = as_headers(&metadata);
            let lower = format!("{BLOBMETA}{}", name.to_ascii_lowercase());
            assert_eq!(headers[&lower].as_bytes(), value.as_bytes());
        };
        check("Author", "herpyderp", true);
        check("a_b.c", "", true);
        check("x", "\u{e4} <&>", true);
        check("a b", "x", false);
        check("a:b", "x", false);
        check("\u{e4}", "x", false);
        check("x", "a\r\nSet-Cookie: b", false);
        check("x", "a\0", false);
        check("n", &"x".repeat(METADATA_BYTES_MAX - 1), true);
        check("n", &"x".repeat(METADATA_BYTES_MAX), false);
        let both = checked(pairs(&[("Key", "1"), ("key", "2")])).unwrap();
        assert_eq!(both.into_iter().collect::<Vec<_>>(), pairs(&[("key", "2")]));
        let foreign = BTreeMap::from([("a\nb".to_owned(), "x".to_owned()), ("b".to_owned(), "y\n".to_owned())]);
        assert!(as_headers(&foreign).is_empty());
    }

    #[test]
    fn a_content_is_served_as_its_own_type_and_harmless() {
        let blob = Blob {
            id: "a \"b\"/c:d\u{e4}.html".to_owned(),
            bucket: "bucket1".to_owned(),
            content_length: 3,
            content_type: "text/html".to_owned(),
            last_modified: String::new(),
            metadata: BTreeMap::new(),
        };
        let headers = served(&blob, Bytes::from_static(b"<b>")).headers().clone();
        let header = |name: HeaderName| headers[name].to_str().unwrap();
        assert_eq!(header(header::CONTENT_TYPE), "text/html");
        let name = "attachment; filename*=UTF-8''a%20%22b%22%2Fc%3Ad%C3%A4.html";
        assert_eq!(header(header::CONTENT_DISPOSITION), name);
        assert_eq!(header(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
        assert_eq!(header(header::CONTENT_SECURITY_POLICY), "default-src 'none'; sandbox");
        for unfit in ["", "text/html\r\nX: y"] {
            let response = served(&Blob { content_type: unfit.to_owned(), ..blob.clone() }, Bytes::new());
            assert_eq!(response.headers()[header::CONTENT_TYPE], BYTES);
        }
    }

    #[tokio::test]
    async fn a_form_says_what_to_store() {
        let read = async |query: &str, body: &'static [u8], content_type: Option<&str>| {
            let fields = Fields::read(query, Bytes::from_static(body), content_type, 10).await.unwrap();
            new_blob(&fields, pairs(&[("by", "header")])).map_err(|fault| fault.message)
        };
        let query = "meta_name1=Key&meta_value1=value&meta_params=1&blob_id=fooblob123&blob_data=content";
        let new = read(query, b"", None).await.unwrap();
        assert_eq!(
            (new.id.as_str(), new.content_type.as_str(), &new.content[..]),
            ("fooblob123", "text/plain", &b"content"[..])
        );
        assert_eq!(new.metadata.into_iter().collect::<Vec<_>>(), pairs(&[("by", "header"), ("key", "value")]));
        let file =
            b"--X\r\nContent-Disposition: form-data; name=\"blob_data\"; filename=\"f\"\r\n\r\n\xff\r\n--X--\r\n";
        let new = read("blob_id=a%2Fb", file, Some("multipart/form-data; boundary=X")).await.unwrap();
        assert_eq!((new.id.as_str(), new.content_type.as_str(), &new.content[..]), ("a/b", BYTES, &b"\xff"[..]));
        let said = async |query: &str| read(query, b"", None).await.err().unwrap();
        assert_eq!(said("x=y").await, "Required parameter 'blob_id' not found in [x]");
        assert_eq!(said("blob_id=y").await, "Required parameter 'blob_data' not found in [blob_id]");
        assert!(said("blob_id=..&blob_data=").await.starts_with("`blob_id` must be"));
        assert!(said("blob_id=x&blob_data=&meta_name1=a%0Ab").await.starts_with("A blob's metadata must"));
    }
}
