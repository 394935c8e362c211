//! Answers with members that may be absent.

use serde_json::Value;

/// Sets a member of an object.
pub(crate) fn set(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Value::Object(members) = object {
        members.insert(name.into(), value.into());
    }
}
