//! The rules that all batches share.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::error::ApiError;

/// The most entries in a batch.
const LARGEST: usize = 10;
const LONGEST_ID: usize = 80;

/// Refuses a batch as a whole: its size and its entries' ids.
pub fn check<'a>(ids: impl ExactSizeIterator<Item = &'a str>) -> Result<(), ApiError> {
    match ids.len() {
        0 => return Err(ApiError::empty_batch()),
        1..=LARGEST => {}
        count => return Err(ApiError::too_many_entries(count)),
    }
    let mut seen = BTreeSet::new();
    for id in ids {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if id.is_empty() || id.len() > LONGEST_ID || !id.chars().all(plain) {
            return Err(ApiError::invalid_entry_id());
        }
        if !seen.insert(id) {
            return Err(ApiError::repeated_entry_id(id));
        }
    }
    Ok(())
}

/// What became of a batch's entries.
#[derive(Default)]
pub struct Outcome {
    successful: Vec<Value>,
    failed: Vec<Value>,
}

impl Outcome {
    /// Notes one entry's result; `members` are added to a success.
    pub fn note(&mut self, id: &str, result: Result<Value, ApiError>) {
        match result {
            Ok(Value::Object(mut members)) => {
                members.insert("Id".into(), id.into());
                self.successful.push(Value::Object(members));
            }
            Ok(_) => self.successful.push(json!({ "Id": id })),
            Err(error) => self.failed.push(error.entry(id)),
        }
    }

    /// The answer. Empty lists are left out of SQS's answers; the model requires neither.
    pub fn answer(self) -> Value {
        let mut answer = Map::new();
        answer.insert("Successful".into(), self.successful.into());
        if !self.failed.is_empty() {
            answer.insert("Failed".into(), self.failed.into());
        }
        Value::Object(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn ids_are_checked() {
        let long = "x".repeat(81);
        for bad in [vec![], vec!["a", "a"], vec![""], vec!["a b"], vec!["é"], vec![long.as_str()], vec!["a"; 11]] {
            assert!(check(bad.iter().copied()).is_err(), "{bad:?}");
        }
        let fine = "x".repeat(80);
        assert!(check(["a", "B-_9", &fine].into_iter()).is_ok());
    }
}
