//! The two encodings of OTLP/HTTP: what is asked in one is answered in the same.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use echo_shared::http::{Problem, content_type};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::logs::v1::ResourceLogs;
use prost::Message;
use serde_json::{Value, json};

use crate::limits::{DecodeError, Spoilt};
use crate::pack::Packed;

/// How a request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
}

/// `google.rpc.Status`, how OTLP reports errors; without details.
#[derive(Clone, PartialEq, Eq, Message)]
struct Status {
    /// One of `google.rpc.Code`.
    #[prost(int32, tag = "1")]
    code: i32,
    /// For a developer.
    #[prost(string, tag = "2")]
    message: String,
}

impl Encoding {
    /// The encoding of a request.
    ///
    /// # Errors
    /// 415 when it is another one.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        match content_type(headers).as_str() {
            "application/x-protobuf" => Ok(Self::Protobuf),
            "application/json" => Ok(Self::Json),
            _ => {
                let detail = "send `application/x-protobuf` or `application/json`";
                Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail))
            }
        }
    }

    /// Reads a request. What it holds is counted before it is decoded; records that cannot be read are left out.
    ///
    /// # Errors
    /// When it holds too much, or what is around the records is malformed.
    pub(crate) fn decode(self, body: &[u8]) -> Result<(Vec<ResourceLogs>, Spoilt), DecodeError> {
        match self {
            Self::Json => crate::json::decode(body),
            Self::Protobuf => crate::protobuf::decode(body),
        }
    }

    /// 200, with the number of rejected records when there are any: they must not be sent again.
    pub(crate) fn success(self, packed: &Packed) -> Response {
        let partial_success = packed.reason.as_ref().map(|reason| ExportLogsPartialSuccess {
            rejected_log_records: i64::try_from(packed.rejected).unwrap_or(i64::MAX),
            error_message: reason.clone(),
        });
        let body = match self {
            Self::Protobuf => ExportLogsServiceResponse { partial_success }.encode_to_vec(),
            Self::Json => success_json(partial_success).to_string().into_bytes(),
        };
        ([(CONTENT_TYPE, self.media_type())], body).into_response()
    }

    /// A problem as OTLP's clients read it. Status, challenge and `Retry-After` stay, whatever the problem is: a token's
    /// problem is no exception.
    pub(crate) fn failure(self, problem: Problem) -> Response {
        let status = Status { code: code(problem.status()), message: problem.detail().to_owned() };
        let body = match self {
            Self::Protobuf => status.encode_to_vec(),
            Self::Json => json!({ "code": status.code, "message": status.message }).to_string().into_bytes(),
        };
        let mut response = problem.into_response();
        *response.body_mut() = Body::from(body);
        response.headers_mut().insert(CONTENT_TYPE, self.media_type());
        response
    }

    fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        })
    }
}

/// An `ExportLogsServiceResponse`; its 64-bit number is a string.
fn success_json(partial_success: Option<ExportLogsPartialSuccess>) -> Value {
    let Some(partial) = partial_success else { return json!({}) };
    let rejected = partial.rejected_log_records.to_string();
    json!({ "partialSuccess": { "rejectedLogRecords": rejected, "errorMessage": partial.error_message } })
}

/// The `google.rpc.Code` that says the same.
fn code(status: StatusCode) -> i32 {
    match status {
        StatusCode::UNAUTHORIZED => 16,
        StatusCode::FORBIDDEN => 7,
        StatusCode::SERVICE_UNAVAILABLE => 14,
        // INVALID_ARGUMENT: sending the same again does not help.
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use axum::response::Response;
    use echo_shared::http::Problem;
    use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
    use http::{HeaderMap, HeaderValue, StatusCode};
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
    use prost::Message;
    use serde_json::{Value, json};

    use super::{Encoding, Status};
    use crate::limits::{DecodeError, Spoilt};
    use crate::pack::Packed;

    async fn body(response: Response) -> Vec<u8> {
        axum::body::to_bytes(response.into_body(), 10_000).await.unwrap().to_vec()
    }

    fn packed(rejected: usize) -> Packed {
        let reason = (rejected > 0).then(|| "too old".to_owned());
        Packed { events: Vec::new(), accepted: 1, rejected, reason }
    }

    #[test]
    fn two_media_types_are_read() {
        let of = |media_type: &'static str| {
            Encoding::of(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media_type))])).ok()
        };
        assert_eq!(of("application/x-protobuf"), Some(Encoding::Protobuf));
        assert_eq!(of("Application/JSON; charset=utf-8"), Some(Encoding::Json));
        assert_eq!([of("text/plain"), of("application/grpc")], [None, None]);
    }

    #[test]
    fn an_empty_body_is_protobuf_and_no_json() {
        assert_eq!(Encoding::Protobuf.decode(&[]), Ok((vec![], Spoilt::default())));
        assert!(matches!(Encoding::Json.decode(&[]), Err(DecodeError::Malformed(_))));
    }

    #[tokio::test]
    async fn rejected_records_are_reported() {
        assert_eq!(body(Encoding::Protobuf.success(&packed(0))).await, b"");
        assert_eq!(body(Encoding::Json.success(&packed(0))).await, b"{}");
        let answer = ExportLogsServiceResponse::decode(&*body(Encoding::Protobuf.success(&packed(3))).await).unwrap();
        let partial = answer.partial_success.unwrap();
        assert_eq!((partial.rejected_log_records, partial.error_message.as_str()), (3, "too old"));
        let response = Encoding::Json.success(&packed(3));
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        let answer: Value = serde_json::from_slice(&body(response).await).unwrap();
        assert_eq!(answer, json!({"partialSuccess": {"rejectedLogRecords": "3", "errorMessage": "too old"}}));
    }

    #[tokio::test]
    async fn problems_keep_their_status_and_headers() {
        let response = Encoding::Protobuf.failure(Problem::unavailable(&"the queue"));
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key(RETRY_AFTER));
        assert_eq!(response.headers()[CONTENT_TYPE], "application/x-protobuf");
        assert_eq!(Status::decode(&*body(response).await).unwrap().code, 14);
        let problem = Problem::new(StatusCode::UNAUTHORIZED, "token-required", "send one").challenge("Bearer");
        let response = Encoding::Json.failure(problem);
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
        let answer: Value = serde_json::from_slice(&body(response).await).unwrap();
        assert_eq!(answer, json!({"code": 16, "message": "send one"}));
    }
}
