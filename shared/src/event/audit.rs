//! The `audit` event: one thing that happened, as its producer reports it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The event type.
pub const TYPE: &str = "audit";

/// The payload of an `audit` event. `docs/audit.md` lists the actions that Echo itself reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Who did it.
    pub actor: Actor,
    /// What was done, for example `login.succeeded`.
    pub action: String,
    /// To what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<Resource>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it ended so: a code, not a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// From where.
    #[serde(default)]
    pub client: Client,
    /// The session it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The request that caused it.
    #[serde(default)]
    pub request_id: String,
    /// Whatever else an auditor should know. No secrets.
    #[serde(default)]
    pub details: BTreeMap<String, Value>,
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// `User`, `Client` or `Anonymous`; other producers may use their own.
    #[serde(rename = "type")]
    pub kind: String,
    /// The actor's identifier.
    pub id: String,
    /// A name to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Actor {
    /// A person.
    pub fn user(id: &str, name: Option<&str>) -> Self {
        Self { kind: "User".into(), id: id.into(), name: name.map(Into::into) }
    }

    /// An OAuth client.
    pub fn client(id: &str) -> Self {
        Self { kind: "Client".into(), id: id.into(), name: None }
    }

    /// Someone who could not be identified.
    pub fn anonymous() -> Self {
        Self { kind: "Anonymous".into(), id: "anonymous".into(), name: None }
    }
}

/// What it was done to; written `Type/id` in filters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// The resource's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The resource's identifier.
    pub id: String,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was done.
    Success,
    /// It was tried and failed.
    Failure,
    /// It was refused.
    Denied,
}

impl Outcome {
    /// The word used on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Denied => "denied",
        }
    }
}

/// From where it was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// The network address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// The HTTP `User-Agent`, cut to 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// The OAuth client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
}

impl Record {
    /// Reads the payload and holds everything but names, addresses and details against the bounds of a name: it is
    /// searched for, or stands in the leaf, and 256 leaves must fit an answer.
    ///
    /// # Errors
    /// A sentence that names the field.
    pub fn parse(data: &Value) -> Result<Self, String> {
        let record = Self::deserialize(data).map_err(|error| format!("data: {error}"))?;
        let mut keys = vec![
            ("actor.type", record.actor.kind.as_str()),
            ("actor.id", record.actor.id.as_str()),
            ("action", record.action.as_str()),
        ];
        if let Some(resource) = &record.resource {
            keys.push(("resource.type", resource.kind.as_str()));
            keys.push(("resource.id", resource.id.as_str()));
        }
        let optional = [
            ("reason", record.reason.as_deref()),
            ("client.client_id", record.client.client_id.as_deref()),
            ("session_id", record.session_id.as_deref()),
            ("request_id", Some(record.request_id.as_str()).filter(|id| !id.is_empty())),
        ];
        keys.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
        for (name, value) in keys {
            super::check_text(value).map_err(|rule| format!("data.{name} {rule}"))?;
        }
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Record;

    #[test]
    fn a_record_needs_actor_action_and_outcome() {
        let good = json!({"actor": {"type": "User", "id": "u"}, "action": "a", "outcome": "success"});
        assert!(Record::parse(&good).is_ok());
        for missing in ["actor", "action", "outcome"] {
            let mut bad = good.clone();
            bad.as_object_mut().unwrap().remove(missing);
            assert!(Record::parse(&bad).unwrap_err().contains(missing));
        }
        for (field, value) in [
            ("outcome", json!("maybe")),
            ("action", json!("")),
            ("action", json!("a\u{0}b")),
            ("reason", json!("r".repeat(257))),
            ("session_id", json!("s".repeat(257))),
            ("request_id", json!("r".repeat(257))),
            ("client", json!({"client_id": ""})),
            ("extra", json!(1)),
        ] {
            let mut bad = good.clone();
            bad[field] = value;
            assert!(Record::parse(&bad).is_err(), "{field}");
        }
    }
}
