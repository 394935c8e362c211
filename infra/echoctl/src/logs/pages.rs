//! A search, page by page.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Parameters;
use crate::session::Session;
use crate::show::plain;
use crate::{Failure, Refuted};

/// The most pages of one search: a page may be short, even empty, since reading it has a budget.
const PAGES: usize = 200;

/// What is asked for.
pub struct Search {
    /// The path of the list.
    pub path: String,
    /// What is wanted of it.
    pub parameters: Parameters,
    /// The most items of all pages.
    pub most: usize,
    /// The most items of one page.
    pub page: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// The items, in the order of the answers.
    pub items: Vec<Value>,
    /// How far the search looked, when it ended because too much was to be read.
    pub scanned_to: Option<String>,
    /// Whether there may be more.
    pub more: bool,
    /// The ids of blocks that are damaged.
    pub damaged: BTreeSet<String>,
}

impl Search {
    /// Reads pages until there is no more, or enough.
    pub async fn run(&self, session: &mut Session<'_>) -> Result<Found, Failure> {
        let (mut found, mut cursor) = (Found::default(), None);
        for _ in 0..PAGES {
            let mut asked = self.parameters.clone();
            let wanted = self.page.min(self.most.saturating_sub(found.items.len()));
            asked.push(("limit", wanted.to_string()));
            asked.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            cursor = found.add(&session.json(&self.path, &asked).await?);
            if cursor.is_none() || found.items.len() >= self.most {
                break;
            }
        }
        found.more = cursor.is_some();
        Ok(found)
    }
}

impl Found {
    /// Takes a page over; answers the cursor of the next.
    fn add(&mut self, page: &Value) -> Option<String> {
        self.items.extend(list(page, "items").cloned());
        self.damaged.extend(damaged(page));
        self.scanned_to = text(page, "scanned_to");
        text(page, "next")
    }
}

/// The elements of a member that is an array.
pub fn list<'a>(answer: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    answer.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// A member that is a string.
pub fn text(answer: &Value, name: &str) -> Option<String> {
    answer.get(name).and_then(Value::as_str).map(str::to_owned)
}

/// The ids of the blocks that an answer says are damaged.
pub fn damaged(answer: &Value) -> BTreeSet<String> {
    list(answer, "damaged").filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Names damaged blocks on standard error.
pub fn name<'a>(damaged: impl IntoIterator<Item = &'a String>) {
    for block in damaged {
        eprintln!("echoctl: the block {} is damaged; its lines are missing", plain(block));
    }
}

/// Names damaged blocks on standard error.
///
/// # Errors
/// When there are any: what was shown is not all.
pub fn all_sound(damaged: &BTreeSet<String>) -> Result<(), Failure> {
    name(damaged);
    if damaged.is_empty() { Ok(()) } else { Err(Refuted.into()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Found, all_sound};
    use crate::Refuted;

    #[test]
    fn pages_add_up_and_the_last_says_how_far_it_looked() {
        let mut found = Found::default();
        let first = json!({"items": [1, 2], "next": "c", "scanned_to": "t", "damaged": ["b"]});
        assert_eq!(found.add(&first), Some("c".into()));
        assert_eq!(found.scanned_to.as_deref(), Some("t"));
        assert_eq!(found.add(&json!({"items": [3], "next": null, "damaged": ["a", "b"]})), None);
        assert_eq!(found.items, [json!(1), json!(2), json!(3)]);
        assert_eq!(found.scanned_to, None);
        assert_eq!(found.damaged.iter().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn damage_is_an_answer_of_its_own() {
        assert!(all_sound(&[].into()).is_ok());
        assert!(all_sound(&["b".to_owned()].into()).unwrap_err().is::<Refuted>());
    }
}
