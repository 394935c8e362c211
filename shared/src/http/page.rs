//! Pages of lists: `limit` and `cursor`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde::Deserialize;

use super::Problem;

/// The query parameters of every list.
#[derive(Debug, Default, Deserialize)]
pub struct PageQuery {
    limit: Option<String>,
    cursor: Option<String>,
}

/// The place after which a list goes on: opaque to clients, a sort key to us.
#[derive(Debug, PartialEq, Eq)]
pub struct Cursor(pub String);

impl Cursor {
    /// The form that clients carry.
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.0)
    }

    fn decode(text: &str) -> Option<Self> {
        if text.len() > 2_048 {
            return None;
        }
        String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok().map(Self)
    }
}

impl PageQuery {
    /// How many items to answer: 1 to 100, 50 when not said.
    ///
    /// # Errors
    /// 400 when `limit` is no such number.
    pub fn limit(&self) -> Result<usize, Problem> {
        let Some(text) = &self.limit else { return Ok(50) };
        match text.parse() {
            Ok(limit @ 1..=100) => Ok(limit),
            _ => Err(Problem::new(StatusCode::BAD_REQUEST, "invalid-parameter", "`limit` must be 1 to 100")),
        }
    }

    /// Where to go on.
    ///
    /// # Errors
    /// 400 when `cursor` did not come from a `next` of the same list.
    pub fn cursor(&self) -> Result<Option<Cursor>, Problem> {
        let Some(text) = &self.cursor else { return Ok(None) };
        let detail = "`cursor` must be the `next` of an earlier page";
        let invalid = || Problem::new(StatusCode::BAD_REQUEST, "invalid-parameter", detail);
        Cursor::decode(text).map(Some).ok_or_else(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::{Cursor, PageQuery};

    #[test]
    fn limits_are_one_to_a_hundred() {
        let limit = |text: &str| PageQuery { limit: Some(text.into()), cursor: None }.limit().ok();
        assert_eq!([limit("1"), limit("100")], [Some(1), Some(100)]);
        assert_eq!([limit("0"), limit("101"), limit("-1"), limit("x")], [None; 4]);
        assert_eq!(PageQuery::default().limit().unwrap(), 50);
    }

    #[test]
    fn cursors_survive_and_junk_does_not() {
        let cursor = |text: &str| PageQuery { limit: None, cursor: Some(text.into()) }.cursor();
        assert_eq!(cursor(&Cursor("a#b".into()).encode()).unwrap(), Some(Cursor("a#b".into())));
        assert!(cursor("%%%").is_err() && cursor(&"A".repeat(3_000)).is_err());
    }
}
