//! What a function's answer means when it reports failures per record (`ReportBatchItemFailures`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::queue::{Message, Receipt};

/// The answer, understood.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// These failed and all others are done.
    Failed(BTreeSet<Receipt>),
    /// The answer cannot be relied on: the whole batch failed, for this reason.
    Unusable(&'static str),
}

/// Reads an answer to `batch`.
///
/// Success: nothing, `null`, `""`, an object without failures. Everything that looks like a report and is none fails the
/// batch, for an acknowledged message is gone.
pub fn of(answer: &[u8], batch: &[Message]) -> Verdict {
    let receipts: BTreeMap<&str, Receipt> =
        batch.iter().map(|message| (message.message_id.as_str(), message.receipt)).collect();
    read(answer, |id| receipts.get(id).copied())
}

fn read(answer: &[u8], find: impl Fn(&str) -> Option<Receipt>) -> Verdict {
    if answer.iter().all(u8::is_ascii_whitespace) {
        return Verdict::Failed(BTreeSet::new());
    }
    let failures = match serde_json::from_slice(answer) {
        Ok(Value::Null) => Value::Null,
        Ok(Value::String(text)) if text.is_empty() => Value::Null,
        Ok(Value::Object(mut members)) => members.remove("batchItemFailures").unwrap_or_default(),
        Ok(_) => return Verdict::Unusable("not an object"),
        Err(_) => return Verdict::Unusable("invalid JSON"),
    };
    let failures = match failures {
        Value::Null => Vec::new(),
        Value::Array(failures) => failures,
        _ => return Verdict::Unusable("batchItemFailures is not a list"),
    };
    let mut failed = BTreeSet::new();
    for failure in &failures {
        match failure.get("itemIdentifier").and_then(Value::as_str) {
            None => return Verdict::Unusable("a failure without itemIdentifier"),
            Some("") => return Verdict::Unusable("a failure with an empty itemIdentifier"),
            Some(id) => match find(id) {
                Some(receipt) => {
                    failed.insert(receipt);
                }
                None => return Verdict::Unusable("a failure with an itemIdentifier that is not in the batch"),
            },
        }
    }
    Verdict::Failed(failed)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Verdict, read};
    use crate::queue::Receipt;

    fn judge(answer: &str) -> Verdict {
        let queue = "q";
        let receipt = |id: &str| {
            use base64::Engine;
            let handle = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(format!("{id}:1:{queue}"));
            Receipt::parse(&handle, queue).unwrap()
        };
        read(answer.as_bytes(), |id| matches!(id, "1" | "2").then(|| receipt(id)))
    }

    #[test]
    fn success_has_many_shapes() {
        for success in
            ["", " \n", "null", "\"\"", "{}", r#"{"batchItemFailures": []}"#, r#"{"batchItemFailures": null}"#]
        {
            assert_eq!(judge(success), Verdict::Failed(BTreeSet::new()), "{success}");
        }
        // An HTTP-shaped answer has no failures in it, so it acknowledges everything, in AWS as here.
        assert_eq!(judge(r#"{"statusCode": 500, "body": "{}"}"#), Verdict::Failed(BTreeSet::new()));
    }

    #[test]
    fn failures_are_named() {
        let Verdict::Failed(failed) = judge(r#"{"batchItemFailures": [{"itemIdentifier": "2"}]}"#) else { panic!() };
        assert_eq!(failed.len(), 1);
    }

    #[test]
    fn what_is_no_report_fails_everything() {
        for failure in [
            "not json",
            "[]",
            "true",
            "1",
            "\"text\"",
            r#"{"batchItemFailures": {}}"#,
            r#"{"batchItemFailures": "1"}"#,
            r#"{"batchItemFailures": ["1"]}"#,
            r#"{"batchItemFailures": [{}]}"#,
            r#"{"batchItemFailures": [null]}"#,
            r#"{"batchItemFailures": [{"foo": "1"}]}"#,
            r#"{"batchItemFailures": [{"itemIdentifier": ""}]}"#,
            r#"{"batchItemFailures": [{"itemIdentifier": null}]}"#,
            r#"{"batchItemFailures": [{"itemIdentifier": 1}]}"#,
            r#"{"batchItemFailures": [{"itemIdentifier": "1"}, {"itemIdentifier": "unknown"}]}"#,
        ] {
            assert!(matches!(judge(failure), Verdict::Unusable(_)), "{failure}");
        }
    }
}
