//! As much of S3 as Echo uses, on loopback: an object that is put becomes the file `{root}/{bucket}/{key}`.
//!
//! Objects have no versions and no lock here, and the file system is how they are read. Signatures are not checked:
//! only this machine reaches the port, and its credentials are made up.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{self, DefaultBodyLimit, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::put;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// The largest object, in bytes.
const LARGEST_OBJECT: usize = 1_048_576;
/// Lengths and signatures of chunks come on top.
const LARGEST_REQUEST: usize = 2 * LARGEST_OBJECT;
/// The longest name that a file can have.
const LONGEST_NAME: usize = 255;
/// Where files are written before they have their name; no bucket is called so.
const DRAFTS: &str = ".drafts";

#[derive(Clone)]
struct S3 {
    root: PathBuf,
    buckets: Arc<[String]>,
}

/// Serves `buckets`, whose objects are files below `root`, until `shutdown` turns true.
pub async fn serve(listener: TcpListener, root: PathBuf, buckets: Vec<String>, mut shutdown: watch::Receiver<bool>) {
    let s3 = S3 { root, buckets: buckets.into() };
    let app = Router::new()
        .route("/{bucket}/{*key}", put(put_object))
        .fallback(async || NOT_OFFERED)
        .method_not_allowed_fallback(async || NOT_OFFERED)
        .layer(DefaultBodyLimit::max(LARGEST_REQUEST))
        .with_state(s3);
    let stop = async move {
        let _ = shutdown.wait_for(|stop| *stop).await;
    };
    if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stop).await {
        tracing::error!(%error, "the S3 endpoint ended");
    }
}

async fn put_object(
    State(s3): State<S3>,
    path: Result<extract::Path<(String, String)>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(), Refusal> {
    let extract::Path((bucket, key)) = path.map_err(|_| INVALID_URI)?;
    let is_other = !matches!(query.as_deref(), None | Some("" | "x-id=PutObject"));
    if is_other || ["if-match", "x-amz-copy-source"].iter().any(|name| headers.contains_key(*name)) {
        return Err(NOT_OFFERED);
    }
    let only_new = match headers.get(header::IF_NONE_MATCH).map(HeaderValue::as_bytes) {
        None => false,
        Some(b"*") => true,
        Some(_) => return Err(NOT_OFFERED),
    };
    let file = s3.file(&bucket, &key)?;
    let data = content(&headers, body)?;
    let stored = tokio::task::spawn_blocking(move || store(&s3.root, &file, &data, only_new)).await;
    match stored.map_err(std::io::Error::other).flatten() {
        Ok(true) => Ok(()),
        Ok(false) => Err(PRECONDITION_FAILED),
        Err(error) => {
            tracing::error!(%error, bucket, key, "cannot store an object");
            Err(INTERNAL_ERROR)
        }
    }
}

impl S3 {
    /// The object's file; a key that would lead out of the bucket's folder has none.
    fn file(&self, bucket: &str, key: &str) -> Result<PathBuf, Refusal> {
        if !self.buckets.iter().any(|known| known == bucket) {
            return Err(NO_SUCH_BUCKET);
        }
        let mut file = self.root.join(bucket);
        for name in key.split('/') {
            if matches!(name, "" | "." | "..") || name.contains('\0') {
                return Err(INVALID_URI);
            }
            if name.len() > LONGEST_NAME {
                return Err(KEY_TOO_LONG);
            }
            file.push(name);
        }
        Ok(file)
    }
}

/// The object's bytes.
fn content(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Bytes, Refusal> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ENTITY_TOO_LARGE,
        _ => INCOMPLETE_BODY,
    })?;
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let data = if encodings.any(|value| value.contains("aws-chunked")) {
        let declared = headers.get("x-amz-decoded-content-length").and_then(|value| value.to_str().ok()?.parse().ok());
        let data = unchunked(&body).ok_or(INCOMPLETE_BODY)?;
        if declared.is_some_and(|length: usize| length != data.len()) {
            return Err(INCOMPLETE_BODY);
        }
        data.into()
    } else {
        body
    };
    if data.len() > LARGEST_OBJECT { Err(ENTITY_TOO_LARGE) } else { Ok(data) }
}

/// What `aws-chunked` wraps: chunks behind their lengths in hex. Signatures and trailers are not looked at.
fn unchunked(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    loop {
        let end = body.windows(2).position(|pair| pair == b"\r\n")?;
        let line = std::str::from_utf8(body.get(..end)?).ok()?;
        let length = usize::from_str_radix(line.split(';').next()?, 16).ok()?;
        if length == 0 {
            return Some(data);
        }
        let (chunk, rest) = body.get(end + 2..)?.split_at_checked(length)?;
        data.extend_from_slice(chunk);
        body = rest.strip_prefix(b"\r\n")?;
    }
}

/// Writes a file whole or not at all; false when it must be new and is there.
fn store(root: &Path, file: &Path, data: &[u8], only_new: bool) -> std::io::Result<bool> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let folder = file.parent().unwrap_or(root);
    std::fs::create_dir_all(folder)?;
    std::fs::create_dir_all(root.join(DRAFTS))?;
    let draft = root.join(DRAFTS).join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
    // One that a killed Echo left may be linked to its object already: to write into it would change the object.
    let _ = std::fs::remove_file(&draft);
    let mut new = File::create_new(&draft)?;
    new.write_all(data)?;
    new.sync_all()?;
    // Only one of two links to the same name succeeds.
    let named = if only_new { std::fs::hard_link(&draft, file) } else { std::fs::rename(&draft, file) };
    let _ = std::fs::remove_file(&draft);
    match named {
        Ok(()) => File::open(folder)?.sync_all().map(|()| true),
        Err(error) if only_new && error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// An error as S3 writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: &'static str,
}

const fn refusal(status: StatusCode, code: &'static str, message: &'static str) -> Refusal {
    Refusal { status, code, message }
}

const NOT_OFFERED: Refusal = refusal(
    StatusCode::NOT_IMPLEMENTED,
    "NotImplemented",
    "The local S3 takes PutObject, with If-None-Match: * or without a condition. Objects are files in its folder.",
);
const NO_SUCH_BUCKET: Refusal =
    refusal(StatusCode::NOT_FOUND, "NoSuchBucket", "The specified bucket does not exist: declare it in template.yaml.");
const INVALID_URI: Refusal =
    refusal(StatusCode::BAD_REQUEST, "InvalidURI", "The local S3 takes keys that can be a path without `.` and `..`.");
const KEY_TOO_LONG: Refusal =
    refusal(StatusCode::BAD_REQUEST, "KeyTooLongError", "A part of the key is longer than 255 bytes.");
const ENTITY_TOO_LARGE: Refusal =
    refusal(StatusCode::BAD_REQUEST, "EntityTooLarge", "The local S3 takes objects up to 1 MiB.");
const INCOMPLETE_BODY: Refusal =
    refusal(StatusCode::BAD_REQUEST, "IncompleteBody", "The body is not as long as it says, or cannot be read.");
const PRECONDITION_FAILED: Refusal =
    refusal(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", "The object exists.");
const INTERNAL_ERROR: Refusal =
    refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "The file cannot be written; Echo's log says why.");

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { status, code, message } = self;
        let xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        );
        (status, [(header::CONTENT_TYPE, "application/xml")], xml).into_response()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{INVALID_URI, KEY_TOO_LONG, NO_SUCH_BUCKET, S3, unchunked};

    #[test]
    fn a_key_never_leads_out_of_its_bucket() {
        let s3 = S3 { root: "/s3".into(), buckets: ["b".to_owned()].into() };
        assert_eq!(s3.file("b", "echo.test/log/1").as_deref(), Ok(Path::new("/s3/b/echo.test/log/1")));
        for key in ["", "/", "/a", "a/", "a//b", ".", "..", "../c", "a/../../c", "a/./b", "a\0"] {
            assert_eq!(s3.file("b", key), Err(INVALID_URI), "{key:?}");
        }
        assert_eq!(s3.file("b", &"k".repeat(256)), Err(KEY_TOO_LONG));
        for bucket in ["c", "", ".", "..", ".drafts"] {
            assert_eq!(s3.file(bucket, "k"), Err(NO_SUCH_BUCKET), "{bucket:?}");
        }
    }

    #[test]
    fn chunks_are_joined() {
        let signed = "5;chunk-signature=ab\r\nhello\r\n1\r\n!\r\n0;chunk-signature=cd\r\nx-amz-checksum-crc32:AA==\r\n";
        assert_eq!(unchunked(signed.as_bytes()).as_deref(), Some(b"hello!".as_slice()));
        assert_eq!(unchunked(b"0\r\n\r\n").as_deref(), Some(b"".as_slice()));
        for damaged in ["", "5", "5\r\nhell", "5\r\nhello", "5\r\nhello!\r\n0\r\n", "x\r\n", "ffffffffffffffff\r\na"] {
            assert_eq!(unchunked(damaged.as_bytes()), None, "{damaged:?}");
        }
    }
}
