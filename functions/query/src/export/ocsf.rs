//! Events of the Open Cybersecurity Schema Framework, for a SIEM. What the schema has no place for is in `unmapped`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use echo_shared::audit::Entry;
use echo_shared::audit::merkle::Hash;
use echo_shared::event::audit::{Actor, Outcome, Resource};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The version of the schema.
const VERSION: &str = "1.5.0";
const OTHER: u32 = 99;

/// A class of the schema: its numbers, and what it calls itself.
struct Class {
    uid: u32,
    category_uid: u32,
    name: &'static str,
    category_name: &'static str,
}

const AUTHENTICATION: Class =
    Class { uid: 3002, category_uid: 3, name: "Authentication", category_name: "Identity & Access Management" };
const API_ACTIVITY: Class =
    Class { uid: 6003, category_uid: 6, name: "API Activity", category_name: "Application Activity" };

const BASE_EVENT: Class = Class { uid: 0, category_uid: 0, name: "Base Event", category_name: "Uncategorized" };

/// The event of an entry, on a line of its own.
pub(super) fn line(index: u64, hash: &Hash, entry: &Entry) -> String {
    format!("{}\n", event(index, hash, entry))
}

/// The event of an entry that is lost; its hash may be left.
pub(super) fn missing(index: u64, hash: Option<&Hash>) -> String {
    let event = without_nulls(json!({
        "class_uid": BASE_EVENT.uid,
        "class_name": BASE_EVENT.name,
        "category_uid": BASE_EVENT.category_uid,
        "category_name": BASE_EVENT.category_name,
        "activity_id": 0,
        "activity_name": "Unknown",
        "type_uid": BASE_EVENT.uid * 100,
        "time": 0,
        "severity_id": 4,
        "severity": "High",
        "message": "entry missing",
        "metadata": { "version": VERSION, "product": product() },
        "unmapped": { "index": index, "leaf_hash": hash.map(|hash| STANDARD.encode(hash)), "missing": true },
    }));
    format!("{event}\n")
}

fn event(index: u64, hash: &Hash, entry: &Entry) -> Value {
    let record = &entry.record;
    let (class, activity_id, activity_name) = classify(&record.action);
    let succeeded = record.outcome == Outcome::Success;
    let authentication = class.uid == AUTHENTICATION.uid;
    let activity = !authentication;
    without_nulls(json!({
        "class_uid": class.uid,
        "class_name": class.name,
        "category_uid": class.category_uid,
        "category_name": class.category_name,
        "activity_id": activity_id,
        "activity_name": activity_name,
        "type_uid": class.uid * 100 + activity_id,
        "time": millis(&entry.time),
        "severity_id": if succeeded { 1 } else { 2 },
        "severity": if succeeded { "Informational" } else { "Low" },
        "status_id": if succeeded { 1 } else { 2 },
        "status": if succeeded { "Success" } else { "Failure" },
        "status_detail": record.reason,
        "metadata": metadata(entry),
        "actor": actor(entry),
        "user": authentication.then(|| user(&record.actor)),
        "service": authentication.then(|| json!({ "name": "Echo" })),
        "api": activity.then(|| json!({ "operation": record.action })),
        "resources": record.resource.as_ref().filter(|_| activity).map(resources),
        "src_endpoint": source(entry, activity),
        "http_request": record.client.user_agent.as_ref().map(|agent| json!({ "user_agent": agent })),
        "unmapped": unmapped(index, hash, entry),
    }))
}

fn resources(Resource { kind, id }: &Resource) -> Value {
    json!([{ "type": kind, "uid": id }])
}

/// Where it came from. An API activity must have a source: without an address, the service that reported it.
fn source(entry: &Entry, required: bool) -> Option<Value> {
    let ip = entry.record.client.ip.as_ref().map(|ip| json!({ "ip": ip }));
    ip.or_else(|| required.then(|| json!({ "svc_name": entry.source })))
}

/// The class of an action, and the activity within it.
fn classify(action: &str) -> (&'static Class, u32, &str) {
    match action {
        "login.succeeded" | "login.failed" => (&AUTHENTICATION, 1, "Logon"),
        "logout" => (&AUTHENTICATION, 2, "Logoff"),
        action if action.starts_with("token.") => (&AUTHENTICATION, OTHER, action),
        action => match action.rsplit('.').next().unwrap_or_default() {
            "create" | "created" => (&API_ACTIVITY, 1, "Create"),
            "read" => (&API_ACTIVITY, 2, "Read"),
            "update" | "updated" | "changed" => (&API_ACTIVITY, 3, "Update"),
            "delete" | "deleted" => (&API_ACTIVITY, 4, "Delete"),
            _ => (&API_ACTIVITY, OTHER, action),
        },
    }
}

fn metadata(entry: &Entry) -> Value {
    json!({
        "version": VERSION,
        "uid": entry.id,
        "event_code": entry.record.action,
        "tenant_uid": entry.org,
        "product": product(),
        "logged_time": millis(&entry.received_at),
        "correlation_uid": entry.trace_id,
    })
}

fn product() -> Value {
    json!({ "name": "Echo", "vendor_name": "Echo" })
}

fn actor(entry: &Entry) -> Value {
    json!({
        "user": user(&entry.record.actor),
        "session": entry.record.session_id.as_ref().map(|id| json!({ "uid": id })),
        "app_uid": entry.record.client.client_id,
    })
}

fn user(actor: &Actor) -> Value {
    let type_id = match actor.kind.as_str() {
        "User" => 1,
        "Anonymous" => 0,
        _ => OTHER,
    };
    let kind = if type_id == 0 { "Unknown" } else { &actor.kind };
    json!({ "uid": actor.id, "name": actor.name, "type": kind, "type_id": type_id })
}

fn unmapped(index: u64, hash: &Hash, entry: &Entry) -> Value {
    json!({
        "index": index,
        "leaf_hash": STANDARD.encode(hash),
        "org": entry.org,
        "source": entry.source,
        "outcome": entry.record.outcome,
        "details": entry.record.details,
        "session_id": entry.record.session_id,
        "request_id": entry.record.request_id,
    })
}

/// Milliseconds since 1970.
fn millis(time: &str) -> Option<i64> {
    let time = OffsetDateTime::parse(time, &Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()
}

/// Absent is absent: a null is no value of the schema. What others put into `details` stays as it is.
fn without_nulls(value: Value) -> Value {
    let Value::Object(members) = value else { return value };
    let keep = |(name, value): (String, Value)| match value {
        Value::Null => None,
        value if name == "details" => Some((name, value)),
        value => Some((name, without_nulls(value))),
    };
    Value::Object(members.into_iter().filter_map(keep).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use echo_shared::audit::Entry;
    use serde_json::{Value, json};

    use super::{event, missing};

    fn mapped(change: impl FnOnce(&mut Value)) -> Value {
        let mut entry = json!({
            "id": "e1", "time": "2026-01-31T11:00:00.250000Z", "received_at": "2026-01-31T11:00:01.000000Z",
            "org": "demo", "source": "/login", "actor": {"type": "User", "id": "u1", "name": "Zo\u{eb}"},
            "action": "login.succeeded", "outcome": "success", "request_id": "r1",
            "client": {"ip": "192.0.2.1", "user_agent": "curl"}, "details": {"a": null},
        });
        change(&mut entry);
        let entry: Entry = serde_json::from_value(entry).unwrap();
        event(7, &[0; 32], &entry)
    }

    #[test]
    fn a_login_is_an_authentication() {
        assert_eq!(
            mapped(|_| {}),
            json!({
                "class_uid": 3002, "class_name": "Authentication", "category_uid": 3,
                "category_name": "Identity & Access Management", "activity_id": 1, "activity_name": "Logon",
                "type_uid": 300_201, "time": 1_769_857_200_250i64, "severity_id": 1, "severity": "Informational",
                "status_id": 1, "status": "Success",
                "metadata": {
                    "version": "1.5.0", "uid": "e1", "event_code": "login.succeeded", "tenant_uid": "demo",
                    "product": {"name": "Echo", "vendor_name": "Echo"}, "logged_time": 1_769_857_201_000i64,
                },
                "actor": {"user": {"uid": "u1", "name": "Zo\u{eb}", "type": "User", "type_id": 1}},
                "user": {"uid": "u1", "name": "Zo\u{eb}", "type": "User", "type_id": 1},
                "service": {"name": "Echo"}, "src_endpoint": {"ip": "192.0.2.1"}, "http_request": {"user_agent": "curl"},
                "unmapped": {
                    "index": 7, "leaf_hash": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "org": "demo",
                    "source": "/login", "outcome": "success", "details": {"a": null}, "request_id": "r1",
                },
            })
        );
    }

    #[test]
    fn what_is_lost_is_an_event_too() {
        let read = |line: String| serde_json::from_str::<Value>(line.strip_suffix('\n').unwrap()).unwrap();
        let event = read(missing(7, None));
        assert_eq!(event["unmapped"], json!({"index": 7, "missing": true}));
        assert_eq!([&event["class_uid"], &event["type_uid"], &event["severity_id"], &event["time"]], [0, 0, 4, 0]);
        assert!(event["metadata"]["version"].is_string() && event["metadata"]["product"].is_object(), "{event}");
        assert!(read(missing(7, Some(&[0; 32])))["unmapped"]["leaf_hash"].is_string());
    }

    #[test]
    fn what_was_refused_failed() {
        let event = mapped(|entry| {
            entry["outcome"] = "denied".into();
            entry["reason"] = "no_permit".into();
            entry["action"] = "decision.deny".into();
            entry["resource"] = json!({"type": "Document", "id": "d1"});
            entry["client"] = json!({});
            entry["session_id"] = "s1".into();
            entry["trace_id"] = "t1".into();
        });
        assert_eq!(event["type_uid"], 600_399);
        assert_eq!(
            (&event["activity_name"], &event["api"]),
            (&json!("decision.deny"), &json!({"operation": "decision.deny"}))
        );
        assert_eq!([&event["status_id"], &event["severity_id"]], [2, 2]);
        assert_eq!((&event["status_detail"], &event["unmapped"]["outcome"]), (&json!("no_permit"), &json!("denied")));
        assert_eq!(event["resources"], json!([{"type": "Document", "uid": "d1"}]));
        assert_eq!(event["src_endpoint"], json!({"svc_name": "/login"}));
        assert_eq!(
            (&event["actor"]["session"]["uid"], &event["metadata"]["correlation_uid"]),
            (&json!("s1"), &json!("t1"))
        );
        assert!(event.get("http_request").is_none() && event.get("user").is_none());
    }

    #[test]
    fn every_action_has_an_activity() {
        for (action, type_uid) in [
            ("login.failed", 300_201),
            ("logout", 300_202),
            ("token.issued", 300_299),
            ("audit.read", 600_302),
            ("document.created", 600_301),
            ("policy.updated", 600_303),
            ("user.deleted", 600_304),
            ("anything", 600_399),
        ] {
            assert_eq!(mapped(|entry| entry["action"] = action.into())["type_uid"], type_uid, "{action}");
        }
    }
}
