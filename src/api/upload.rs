//! Requests that bring a blob, or hints. Their bodies are not made of parameters, nor those of blobs small, so they are told from
//! others by method, path and type before they are read. Pure; taking `multipart/form-data` apart is async in form only.

use axum::http::Method;
use bytes::Bytes;
use futures_util::stream;
use percent_encoding::percent_decode;

use super::error::Fault;
use super::params::missing;

/// What is in the body of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carries {
    /// Parameters, as almost everywhere.
    Parameters,
    /// A form with a blob in one of its fields. Its fields are not parameters; it may still stand for a DELETE.
    BlobForm,
    /// Bytes that nobody but a handler may look into.
    Blob,
    /// As [`Carries::Blob`], but small, and with credentials of their own.
    Hints,
}

impl Carries {
    /// Few are held at once, and only of those whom their cloud knows.
    pub(super) fn is_big(self) -> bool {
        matches!(self, Self::BlobForm | Self::Blob)
    }

    /// It says itself what it means, so no field of it is a parameter of the request.
    pub(super) fn is_opaque(self) -> bool {
        matches!(self, Self::Blob | Self::Hints)
    }
}

/// `method` after the header that overrides it.
pub(super) fn carries(method: &Method, place: Option<Place>, content_type: Option<&str>) -> Carries {
    match place {
        Some(Place::Blob) if method == Method::PUT => Carries::Blob,
        Some(Place::Hints) if method == Method::POST => Carries::Hints,
        Some(Place::Bucket) if method == Method::POST => match Encoding::of(content_type) {
            Encoding::Urlencoded => Carries::BlobForm,
            Encoding::Multipart | Encoding::Other => Carries::Blob,
        },
        _ => Carries::Parameters,
    }
}

/// Where blobs are, and hints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `/api/buckets/<bucket>`
    Bucket,
    /// `/api/buckets/<bucket>/<blob>`
    Blob,
    /// `/api/buckets/<bucket>/<blob>/content`
    Content,
    /// `/api/hints`
    Hints,
}

impl Place {
    pub(super) fn of(path: &str) -> Option<Self> {
        if path == "/api/hints" {
            return Some(Self::Hints);
        }
        let below: Vec<_> = path.strip_prefix("/api/buckets/")?.splitn(4, '/').collect();
        match below[..] {
            [_bucket] => Some(Self::Bucket),
            [_bucket, _blob] => Some(Self::Blob),
            [_bucket, _blob, "content"] => Some(Self::Content),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Urlencoded,
    Multipart,
    Other,
}

impl Encoding {
    /// Without a type it is taken for a form, as elsewhere: half of the clients send none.
    fn of(content_type: Option<&str>) -> Self {
        let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
        match essence.trim().to_ascii_lowercase().as_str() {
            "" | "application/x-www-form-urlencoded" => Self::Urlencoded,
            "multipart/form-data" => Self::Multipart,
            _ => Self::Other,
        }
    }
}

/// What a form says, byte for byte. No `Debug`: blobs are the client's own.
pub(super) struct Fields(Vec<Field>);

pub(super) struct Field {
    name: String,
    pub(super) value: Bytes,
    /// As the client said; for a file that it said nothing about, and for plain fields, `None`.
    pub(super) content_type: Option<String>,
    /// It came with a file name.
    pub(super) is_file: bool,
}

impl Fields {
    /// Merges the query and the body, if that is a form; a later field of the same name wins.
    ///
    /// # Errors
    /// 400 for multipart that is none, and for more than `max` fields in either.
    pub(super) async fn read(query: &str, body: Bytes, content_type: Option<&str>, max: usize) -> Result<Self, Fault> {
        let mut fields = pairs(query.as_bytes(), max)?;
        match Encoding::of(content_type) {
            Encoding::Urlencoded => fields.append(&mut pairs(&body, max)?),
            Encoding::Multipart => fields.append(&mut parts(body, content_type.unwrap_or_default(), max).await?),
            Encoding::Other => {}
        }
        Ok(Self(fields))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Field> {
        self.0.iter().rev().find(|field| field.name == name)
    }

    pub(super) fn required(&self, name: &str) -> Result<&Field, Fault> {
        self.get(name).ok_or_else(|| missing(name, self.0.iter().map(|field| field.name.as_str())))
    }

    /// The text of `meta_value<n>` by that of `meta_name<n>`, in the order in which the names came.
    pub(super) fn metadata(&self) -> impl Iterator<Item = (String, String)> {
        let names = self.0.iter().filter_map(|field| Some((field.name.strip_prefix("meta_name")?, field.text())));
        names.filter(|(_, name)| !name.is_empty()).map(|(number, name)| {
            let value = self.get(&format!("meta_value{number}")).map(Field::text);
            (name, value.unwrap_or_default())
        })
    }
}

impl Field {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.value).into_owned()
    }
}

/// Of a query or an urlencoded body. Unlike parameters, values need not be text.
fn pairs(text: &[u8], max: usize) -> Result<Vec<Field>, Fault> {
    let pieces = text.split(|byte| *byte == b'&').filter(|piece| !piece.is_empty());
    let fields = pieces.take(max + 1).map(|piece| {
        let mut halves = piece.splitn(2, |byte| *byte == b'=');
        let name = unescaped(halves.next().unwrap_or_default());
        Field {
            name: String::from_utf8_lossy(&name).into_owned(),
            value: unescaped(halves.next().unwrap_or_default()).into(),
            content_type: None,
            is_file: false,
        }
    });
    bounded(fields.collect(), max)
}

fn unescaped(piece: &[u8]) -> Vec<u8> {
    let blanks: Vec<u8> = piece.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&blanks).collect()
}

async fn parts(body: Bytes, content_type: &str, max: usize) -> Result<Vec<Field>, Fault> {
    // The parser's own words may repeat what was sent.
    let broken = |_: multer::Error| Fault::invalid("The body is not multipart/form-data as it says");
    let boundary = multer::parse_boundary(content_type).map_err(broken)?;
    let stream = stream::iter([Ok::<_, std::convert::Infallible>(body)]);
    let mut multipart = multer::Multipart::new(stream, boundary);
    let mut fields = Vec::new();
    while let Some(part) = multipart.next_field().await.map_err(broken)? {
        let content_type = part.headers().get(axum::http::header::CONTENT_TYPE);
        let content_type = content_type.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let (name, is_file) = (part.name().unwrap_or_default().to_owned(), part.file_name().is_some());
        fields.push(Field { name, content_type, is_file, value: part.bytes().await.map_err(broken)? });
        fields = bounded(fields, max)?;
    }
    Ok(fields)
}

fn bounded(fields: Vec<Field>, max: usize) -> Result<Vec<Field>, Fault> {
    if fields.len() > max {
        return Err(Fault::invalid(format!("more than {max} fields")));
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_brings_a_blob_is_not_read_as_parameters() {
        let check = |method: Method, path: &str, content_type: Option<&str>, carried| {
            assert_eq!(carries(&method, Place::of(path), content_type), carried, "{method} {path} {content_type:?}");
        };
        use Carries::{Blob, BlobForm, Parameters};
        const FORM: Option<&str> = Some("application/x-www-form-urlencoded; charset=utf-8");
        check(Method::PUT, "/api/buckets/b/x", None, Blob);
        check(Method::PUT, "/api/buckets/b/x", FORM, Blob);
        check(Method::PUT, "/api/buckets/b/a%2Fb", None, Blob);
        check(Method::POST, "/api/buckets/b/x", None, Parameters);
        check(Method::PUT, "/api/buckets/b/x/content", None, Parameters);
        check(Method::PUT, "/api/buckets/b", None, Parameters);
        check(Method::POST, "/api/buckets/b", None, BlobForm);
        check(Method::POST, "/api/buckets/b", Some(""), BlobForm);
        check(Method::POST, "/api/buckets/b", FORM, BlobForm);
        check(Method::POST, "/api/buckets/b", Some("Multipart/Form-Data; boundary=x"), Blob);
        check(Method::POST, "/api/buckets/b", Some("text/plain"), Blob);
        check(Method::DELETE, "/api/buckets/b", None, Parameters);
        check(Method::POST, "/api/buckets", None, Parameters);
        check(Method::PUT, "/api/instances/b/x", None, Parameters);
        check(Method::PUT, "/x/buckets/b/x", None, Parameters);
    }

    #[test]
    fn places_are_told_by_their_depth() {
        let check = |path: &str, place| assert_eq!(Place::of(path), place, "{path}");
        check("/api/buckets", None);
        check("/api/buckets/b", Some(Place::Bucket));
        check("/api/buckets/b/content", Some(Place::Blob));
        check("/api/buckets/b/x/content", Some(Place::Content));
        check("/api/buckets/b/x/contents", None);
        check("/api/buckets/b/x/content/y", None);
    }

    async fn fields(query: &str, body: &[u8], content_type: Option<&str>) -> Result<Fields, String> {
        let body = Bytes::copy_from_slice(body);
        Fields::read(query, body, content_type, 10).await.map_err(|fault| fault.message)
    }

    #[tokio::test]
    async fn a_query_and_a_form_are_kept_byte_for_byte() {
        let read = fields("blob_id=a+b&x=1", b"blob_data=%FF%00+%2B&x=2&&y", None).await.unwrap();
        let value = |name: &str| read.get(name).map(|field| field.value.to_vec());
        assert_eq!(value("blob_id"), Some(b"a b".to_vec()));
        assert_eq!(value("blob_data"), Some(b"\xff\0 +".to_vec()));
        assert_eq!((value("x"), value("y"), value("z")), (Some(b"2".to_vec()), Some(Vec::new()), None));
        let said = read.required("z").err().unwrap().message;
        assert_eq!(said, "Required parameter 'z' not found in [blob_id, x, blob_data, x, y]");
    }

    #[tokio::test]
    async fn multipart_is_read_as_browsers_and_gems_write_it() {
        let body = b"--X1\r\nContent-Disposition: form-data; name=\"blob_id\"\r\n\r\na b\r\n\
            --X1\r\nContent-Disposition: form-data; name=\"blob_data\"; filename=\"f.png\"\r\nContent-Type: image/png\r\n\r\n\
            \xff\r\n--X\0&_method=delete\r\n\r\n--X1--\r\n";
        let read = fields("meta_name1=Author", body, Some("multipart/form-data; boundary=X1")).await.unwrap();
        let (id, data) = (read.required("blob_id").unwrap(), read.required("blob_data").unwrap());
        assert_eq!((id.text().as_str(), id.is_file, id.content_type.as_deref()), ("a b", false, None));
        assert_eq!(&data.value[..], b"\xff\r\n--X\0&_method=delete\r\n");
        assert_eq!((data.is_file, data.content_type.as_deref()), (true, Some("image/png")));
        assert!(read.get("_method").is_none());
        assert_eq!(read.metadata().collect::<Vec<_>>(), [("Author".to_owned(), String::new())]);
    }

    #[tokio::test]
    async fn broken_or_boundless_forms_are_refused_without_repeating_them() {
        let check = async |body: &[u8], content_type: Option<&str>, said: &str| {
            assert_eq!(fields("", body, content_type).await.err().as_deref().unwrap_or_default(), said);
        };
        let multipart = Some("multipart/form-data; boundary=X1");
        let broken = "The body is not multipart/form-data as it says";
        check(b"hush", multipart, broken).await;
        check(b"--X1\r\nContent-Disposition: form-data; name=\"hush\"\r\n\r\nhush", multipart, broken).await;
        check(b"hush", Some("multipart/form-data"), broken).await;
        check(b"--X1--\r\n", multipart, "").await;
        let part = b"--X1\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n".as_slice();
        check(&[part.repeat(10).as_slice(), b"--X1--\r\n"].concat(), multipart, "").await;
        check(&[part.repeat(11).as_slice(), b"--X1--\r\n"].concat(), multipart, "more than 10 fields").await;
        check(&b"a&".repeat(10), None, "").await;
        check(&b"a&".repeat(11), None, "more than 10 fields").await;
    }

    #[tokio::test]
    async fn a_body_that_is_no_form_is_not_taken_for_one() {
        let read = fields("blob_id=a", b"blob_data=x", Some("text/plain")).await.unwrap();
        assert!(read.get("blob_id").is_some() && read.get("blob_data").is_none());
    }

    #[tokio::test]
    async fn metadata_is_matched_by_number() {
        let query =
            "meta_params=2&meta_name2=Type&meta_value1=me&meta_name1=Author&meta_value2=x+y&meta_name3=&meta_value4=";
        let read = fields(query, b"", None).await.unwrap();
        let pairs: Vec<_> = read.metadata().collect();
        assert_eq!(pairs, [("Type".to_owned(), "x y".to_owned()), ("Author".to_owned(), "me".to_owned())]);
    }
}
