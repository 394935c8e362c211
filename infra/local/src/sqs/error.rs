//! Errors in the shape SDKs know: `__type` for the JSON protocol, `x-amzn-query-error` for the older codes.

use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::queue::{QueueError, Refused};

/// An answer that is an error.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    shape: &'static str,
    code: &'static str,
    message: String,
}

const SQS: &str = "com.amazonaws.sqs";
/// Errors that SQS's own model does not hold.
const CORAL: &str = "com.amazon.coral.service";

impl ApiError {
    /// An error of SQS's model; its older code is the same behind `AWS.SimpleQueueService.`.
    fn modelled(code: &'static str, message: impl Into<String>) -> Self {
        let shape = code.rsplit('.').next().unwrap_or(code);
        Self { status: StatusCode::BAD_REQUEST, shape, code, message: message.into() }
    }

    /// A parameter has a value that SQS does not take.
    pub fn invalid_parameter(message: impl Into<String>) -> Self {
        let mut error = Self::modelled("InvalidParameterValue", message);
        error.shape = "InvalidParameterValueException";
        error
    }

    /// A parameter must lie between two values.
    pub fn out_of_range(value: i64, name: &str, least: i64, most: i64) -> Self {
        let must = format!("Must be between {least} and {most}, if provided");
        Self::invalid_parameter(format!("Value {value} for parameter {name} is invalid. Reason: {must}."))
    }

    /// GetQueueAttributes was asked for something it does not know.
    pub fn invalid_attribute(name: &str) -> Self {
        Self::modelled("InvalidAttributeName", format!("Unknown Attribute {name}."))
    }

    /// A part of SQS that is not played here.
    pub fn unsupported(what: &str) -> Self {
        Self::modelled("AWS.SimpleQueueService.UnsupportedOperation", format!("{what} not offered by the local SQS."))
    }

    /// An action that is not played here.
    pub fn not_offered(action: &str) -> Self {
        let name: String = action.chars().take(80).collect();
        Self::modelled(
            "AWS.SimpleQueueService.UnsupportedOperation",
            format!("{name} is not offered by the local SQS; its queues are those of template.yaml."),
        )
    }

    /// The request names no action of the JSON protocol.
    pub fn unknown_protocol() -> Self {
        let mut error = Self::modelled(
            "InvalidAction",
            "The header X-Amz-Target must name an action, as in AmazonSQS.SendMessage (AWS JSON 1.0 protocol).",
        );
        error.shape = "UnknownOperationException";
        error
    }

    /// The request is no JSON, or members are missing or have wrong types.
    pub fn unreadable(error: &serde_json::Error) -> Self {
        let mut answer = Self::modelled("MalformedInput", error.to_string());
        answer.shape = "SerializationException";
        answer
    }

    /// The request's body could not be read.
    pub fn body(rejection: BytesRejection) -> Self {
        Self { status: rejection.status(), ..Self::modelled("MalformedInput", rejection.body_text()) }
    }

    pub fn too_many_entries(count: usize) -> Self {
        let message = format!("Maximum number of entries per request are 10. You have sent {count}.");
        Self::modelled("AWS.SimpleQueueService.TooManyEntriesInBatchRequest", message)
    }

    pub fn empty_batch() -> Self {
        let message = "There should be at least one entry in the request.";
        Self::modelled("AWS.SimpleQueueService.EmptyBatchRequest", message)
    }

    pub fn invalid_entry_id() -> Self {
        let message = "A batch entry id can only contain alphanumeric characters, hyphens and underscores. \
                       It can be at most 80 letters long.";
        Self::modelled("AWS.SimpleQueueService.InvalidBatchEntryId", message)
    }

    pub fn repeated_entry_id(id: &str) -> Self {
        Self::modelled("AWS.SimpleQueueService.BatchEntryIdsNotDistinct", format!("Id {id} repeated."))
    }

    pub fn batch_too_long(limit: usize, size: usize) -> Self {
        let message = format!("Batch requests cannot be longer than {limit} bytes. You have sent {size} bytes.");
        Self::modelled("AWS.SimpleQueueService.BatchRequestTooLong", message)
    }

    /// This error as an entry of a batch's `Failed` list.
    pub fn entry(&self, id: &str) -> Value {
        let sender = self.status.is_client_error();
        json!({ "Id": id, "SenderFault": sender, "Code": self.code, "Message": self.message })
    }
}

impl From<QueueError> for ApiError {
    fn from(error: QueueError) -> Self {
        match &error {
            QueueError::NoSuchQueue(_) => Self {
                shape: "QueueDoesNotExist",
                ..Self::modelled("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")
            },
            QueueError::InvalidHandle => {
                Self::modelled("ReceiptHandleIsInvalid", "The input receipt handle is invalid for this queue.")
            }
            QueueError::NotAvailable => Self::invalid_parameter(
                "Value for parameter ReceiptHandle is invalid. \
                 Reason: Message does not exist or is not available for visibility timeout change.",
            ),
            QueueError::TooLong => Self::invalid_parameter(
                "Value for parameter VisibilityTimeout is invalid. \
                 Reason: Total VisibilityTimeout for the message is beyond the limit [43200 seconds].",
            ),
            QueueError::OverLimit => Self::modelled(
                "OverLimit",
                "The maximum number of in flight messages is reached (120000): delete what was handled.",
            ),
            QueueError::PurgeInProgress(_) => Self {
                status: StatusCode::FORBIDDEN,
                ..Self::modelled("AWS.SimpleQueueService.PurgeQueueInProgress", error.to_string())
            },
            QueueError::Unavailable(reason) => {
                tracing::warn!(reason, "the queue's database is unavailable");
                let message = "The queue's database is unavailable. Try again.";
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self { status, shape: "ServiceUnavailable", code: "ServiceUnavailable", message: message.into() }
            }
        }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Empty => Self {
                shape: "MissingRequiredParameterException",
                ..Self::modelled("MissingParameter", "The request must contain the parameter MessageBody.")
            },
            Refused::TooLarge { limit, .. } => Self::invalid_parameter(format!(
                "One or more parameters are invalid. Reason: Message must be shorter than {limit} bytes."
            )),
            Refused::Character(_) => Self::modelled("InvalidMessageContents", refused.to_string()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let namespace = if self.shape.ends_with("Exception") { CORAL } else { SQS };
        let body = json!({ "__type": format!("{namespace}#{}", self.shape), "message": self.message });
        let mut response = (self.status, body.to_string()).into_response();
        let fault = if self.status.is_client_error() { "Sender" } else { "Receiver" };
        if let Ok(code) = HeaderValue::from_str(&format!("{};{fault}", self.code)) {
            response.headers_mut().insert("x-amzn-query-error", code);
        }
        response
    }
}
