//! The body of `POST /authorize`.

use echo_shared::event::check_text;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::engine::Question;

/// What a caller sends. Unknown members are ignored.
#[derive(Deserialize)]
pub struct AuthorizeRequest {
    /// The subject's token, from a service that asks for somebody else.
    pub token: Option<String>,
    action: String,
    resource: ResourceRequest,
    #[serde(default)]
    context: Map<String, Value>,
}

#[derive(Deserialize)]
struct ResourceRequest {
    #[serde(rename = "type")]
    kind: String,
    id: String,
    #[serde(default)]
    properties: Map<String, Value>,
}

impl AuthorizeRequest {
    /// Reads a body that is known to be short.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        let request: Self = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let names = [
            ("action", &request.action),
            ("resource.type", &request.resource.kind),
            ("resource.id", &request.resource.id),
        ];
        for (name, value) in names {
            check_text(value).map_err(|rule| format!("`{name}` {rule}"))?;
        }
        Ok(request)
    }

    /// The question; the caller's word on the resource counts only when the caller is `trusted`.
    pub fn question(&self, trusted: bool) -> Question {
        Question {
            action: self.action.clone(),
            resource_type: self.resource.kind.clone(),
            resource_id: self.resource.id.clone(),
            properties: if trusted { self.resource.properties.clone() } else { Map::new() },
            context: if trusted { self.context.clone() } else { Map::new() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::AuthorizeRequest;

    #[test]
    fn malformed_requests_name_what_is_wrong() {
        for (body, word) in [
            ("", "EOF"),
            ("[]", "invalid"),
            ("{}", "action"),
            (r#"{"action": "read"}"#, "resource"),
            (r#"{"action": 1, "resource": {}}"#, "string"),
            (r#"{"action": "", "resource": {"type": "T", "id": "1"}}"#, "action"),
            (r#"{"action": "a", "resource": {"type": "T"}}"#, "id"),
            (r#"{"action": "a", "resource": {"type": "T", "id": "1\u0000"}}"#, "control"),
            (r#"{"action": "a", "resource": {"type": "T", "id": "1"}, "context": []}"#, "invalid"),
        ] {
            let error = AuthorizeRequest::parse(body.as_bytes()).err().unwrap();
            assert!(error.contains(word), "{body}: {error}");
        }
    }

    #[test]
    fn an_untrusted_callers_properties_do_not_count() {
        let body = r#"{"action": "a", "resource": {"type": "T", "id": "1", "properties": {"owner": 1}}, "other": 1}"#;
        let request = AuthorizeRequest::parse(body.as_bytes()).unwrap();
        assert!(request.question(false).properties.is_empty());
        assert_eq!(request.question(true).properties.len(), 1);
    }
}
