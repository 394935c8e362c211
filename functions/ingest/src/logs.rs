//! `POST /v1/logs`: log records in OTLP/HTTP (the OTLP specification 1.x).

use std::borrow::Cow;
use std::io::Read;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use echo_shared::http::{Problem, authenticate, read_body};
use echo_shared::token::KeySource;
use flate2::read::MultiGzDecoder;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, StatusCode};

use crate::App;
use crate::otlp::Encoding;
use crate::pack::{Packed, pack};

/// The largest request body, in bytes, as it is sent and unpacked. As base64 it fits a call of a function (6 MB).
pub const MAX_LOGS: usize = 4 * 1_048_576;

/// Answers in the encoding of the request, whatever the answer is.
pub(crate) async fn post_logs<K: KeySource>(
    State(app): State<Arc<App<K>>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    // Before the token is looked at: refusals have the request's encoding, too.
    let encoding = match Encoding::of(&headers) {
        Ok(encoding) => encoding,
        Err(problem) => return problem.into_response(),
    };
    match store(&app, encoding, &headers, body).await {
        Ok(packed) => encoding.success(&packed),
        Err(problem) => encoding.failure(problem),
    }
}

/// Puts the records into the queue; returns once every block is stored there.
async fn store<K: KeySource>(
    app: &App<K>,
    encoding: Encoding,
    headers: &HeaderMap,
    body: Body,
) -> Result<Packed, Problem> {
    let claims = authenticate(&app.verifier, headers, "logs.write").await?;
    let gzip = is_gzip(headers)?;
    let body = read_body(headers, body, MAX_LOGS).await?;
    let body: Cow<'_, [u8]> = if gzip { Cow::Owned(unpack(&body)?) } else { Cow::Borrowed(body.as_ref()) };
    let (logs, spoilt) = encoding.decode(&body)?;
    let source = format!("/clients/{}", claims.client_id);
    let sender = app.sender(&claims.org, &source);
    let mut packed = pack(logs, &sender).map_err(|error| Problem::unavailable(&error))?;
    app.publisher.publish(&packed.events).await.map_err(|error| Problem::unavailable(&error))?;
    packed.rejected += spoilt.count;
    packed.reason = packed.reason.or(spoilt.reason);
    Ok(packed)
}

/// Whether the body is compressed.
fn is_gzip(headers: &HeaderMap) -> Result<bool, Problem> {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    let encoding = match (encodings.next(), encodings.next()) {
        (None, _) => Some("identity"),
        (Some(encoding), None) => encoding.to_str().ok(),
        _ => None,
    };
    match encoding.map(str::to_ascii_lowercase).as_deref() {
        Some("identity" | "") => Ok(false),
        Some("gzip") => Ok(true),
        _ => {
            let detail = "compress the body with `gzip` or not at all";
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-encoding", detail))
        }
    }
}

/// Unpacks gzip (RFC 1952) as far as [`MAX_LOGS`].
fn unpack(body: &[u8]) -> Result<Vec<u8>, Problem> {
    let mut unpacked = Vec::new();
    let most = u64::try_from(MAX_LOGS).unwrap_or(u64::MAX);
    MultiGzDecoder::new(body).take(most + 1).read_to_end(&mut unpacked).map_err(|error| {
        let detail = format!("the body cannot be unpacked: {error}");
        Problem::new(StatusCode::BAD_REQUEST, "invalid-body", detail)
    })?;
    if unpacked.len() > MAX_LOGS {
        let detail = format!("the body is larger than {MAX_LOGS} bytes unpacked; send less at once");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail));
    }
    Ok(unpacked)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use http::header::CONTENT_ENCODING;
    use http::{HeaderMap, HeaderValue};

    use super::{MAX_LOGS, is_gzip, unpack};

    fn gzip(raw: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(raw).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn bodies_are_unpacked_to_their_bound() {
        assert_eq!(unpack(&gzip(b"hello")).unwrap(), b"hello");
        assert_eq!(unpack(&gzip(&vec![0; MAX_LOGS])).unwrap().len(), MAX_LOGS);
        let status = |body: &[u8]| unpack(body).unwrap_err().status().as_u16();
        assert_eq!(status(&gzip(&vec![0; MAX_LOGS + 1])), 413);
        assert_eq!(status(&gzip(&vec![0; 4 * MAX_LOGS])), 413);
        let whole = gzip(b"hello");
        assert_eq!([status(b"hello"), status(&whole[..whole.len() - 1]), status(b"")], [400; 3]);
    }

    #[test]
    fn gzip_is_the_only_compression() {
        let of = |values: &[&'static str]| {
            let encodings = values.iter().map(|value| (CONTENT_ENCODING, HeaderValue::from_static(value)));
            let mut headers = HeaderMap::new();
            encodings.for_each(|(name, value)| {
                headers.append(name, value);
            });
            is_gzip(&headers).ok()
        };
        assert_eq!(
            [of(&[]), of(&["identity"]), of(&["gzip"]), of(&["GZIP"])],
            [Some(false), Some(false), Some(true), Some(true)]
        );
        for bad in [&["br"][..], &["deflate"], &["zstd"], &["gzip, gzip"], &["gzip", "gzip"]] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
    }
}
