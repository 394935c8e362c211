//! `GET /audit/v1/export`: the whole log, part by part, oldest first, in one of three formats.
//!
//! JSON Lines carry everything a verifier needs; the last part ends with the checkpoint that its entries lead up to.
//! Damage does not end an export: what is left is what an auditor needs most.

mod csv;
mod jsonl;
mod ocsf;
mod walk;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use echo_shared::audit::chunk::Head;
use echo_shared::audit::merkle::Hash;
use echo_shared::config::Issuer;
use echo_shared::http::{Cursor, PageQuery, Problem, RequestInfo};
use echo_shared::table::TableError;
use echo_shared::token::KeySource;
use http::header::{CONTENT_TYPE, HeaderName, LINK};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;

use crate::front::Front;
use crate::keys::verifier_keys;
use crate::params::Params;
use crate::reading::Given;
use walk::{Found, Walk};

/// The most bytes of a part: Lambda carries 6 MB, and binary data takes a third more there.
const PART: usize = 4_000_000;
/// Steps that one part may take, each at most a page of 1 MB. Only damage, which takes more to read than to tell, needs
/// so many.
const STEPS: usize = 64;

/// The query parameters, beside `cursor`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ExportQuery {
    format: Option<String>,
    limit_bytes: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    JsonLines,
    Csv,
    Ocsf,
}

pub(crate) async fn get_export<K: KeySource>(
    State(front): State<Arc<Front<K>>>,
    info: RequestInfo,
    headers: HeaderMap,
    Params(query): Params<ExportQuery>,
    Params(page): Params<PageQuery>,
) -> Result<Response, Problem> {
    let caller = front.caller(&headers).await?;
    let (format, limit) = (query.format()?, query.limit()?);
    let start = start(page.cursor()?)?;
    let given = Given::from([("format", format.name().to_owned())]);
    front.report(&info, &caller, "/audit/v1/export", given).await?;
    let head = front.head(&caller.org).await?;
    if start.is_some_and(|index| index > head.size) {
        return Err(foreign_cursor());
    }
    let app = &front.app;
    let part = async {
        let keys = verifier_keys(&app.heads, &app.issuer, &caller.org).await?;
        let walk = Walk::start(front.tiles(&caller.org, &head), start.unwrap_or_default()).await?;
        Part { format, limit, end: format.end(&head, &keys) }.fill(walk, start.is_none()).await
    };
    let (body, next) = part.await.map_err(|error: TableError| Problem::unavailable(&error))?;
    let mut response = ([(CONTENT_TYPE, format.content_type())], body).into_response();
    response.headers_mut().extend(query.links(&app.issuer, format, next));
    Ok(response)
}

impl ExportQuery {
    fn format(&self) -> Result<Format, Problem> {
        match self.format.as_deref() {
            None | Some("jsonl") => Ok(Format::JsonLines),
            Some("csv") => Ok(Format::Csv),
            Some("ocsf") => Ok(Format::Ocsf),
            Some(_) => Err(invalid("`format` must be jsonl, csv or ocsf")),
        }
    }

    fn limit(&self) -> Result<usize, Problem> {
        let Some(text) = &self.limit_bytes else { return Ok(PART) };
        let limit = text.parse().ok().filter(|limit| (1..=PART).contains(limit));
        limit.ok_or_else(|| invalid(&format!("`limit_bytes` must be 1 to {PART}")))
    }

    /// Where the next part is, as a header of its own and as a link (RFC 8288).
    fn links(&self, issuer: &Issuer, format: Format, next: Option<u64>) -> Vec<(HeaderName, HeaderValue)> {
        let Some(next) = next else { return Vec::new() };
        let cursor = Cursor(next.to_string()).encode();
        let limit = self.limit_bytes.as_ref().map(|limit| format!("&limit_bytes={limit}")).unwrap_or_default();
        let path = format!("/audit/v1/export?format={}&cursor={cursor}{limit}", format.name());
        let link = format!("<{}>; rel=\"next\"", issuer.join(&path));
        let headers = [(HeaderName::from_static("x-next-cursor"), cursor), (LINK, link)];
        headers.into_iter().filter_map(|(name, value)| Some((name, value.parse().ok()?))).collect()
    }
}

/// The index in a cursor; none at the beginning.
fn start(cursor: Option<Cursor>) -> Result<Option<u64>, Problem> {
    cursor.map(|Cursor(index)| crate::path::number(&index).ok_or_else(foreign_cursor)).transpose()
}

fn foreign_cursor() -> Problem {
    invalid("`cursor` is not of this export; it is the `x-next-cursor` of the part before")
}

fn invalid(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid-parameter", detail)
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::JsonLines => "jsonl",
            Self::Csv => "csv",
            Self::Ocsf => "ocsf",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::JsonLines | Self::Ocsf => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }

    /// What stands before the first entry.
    fn start(self) -> String {
        if self == Self::Csv { csv::header() } else { String::new() }
    }

    /// What stands behind the last entry.
    fn end(self, head: &Head, keys: &[String]) -> String {
        if self == Self::JsonLines { jsonl::end(&head.checkpoint, keys) } else { String::new() }
    }

    /// An entry with its line end, or that it is missing.
    fn line(self, found: &Found) -> String {
        let Found { index, hash, leaf } = found;
        let (index, hash) = (*index, hash.as_ref());
        let there = leaf.as_ref().zip(hash);
        let entry = || there.and_then(|(leaf, hash)| Some((leaf.entry().ok()?, hash)));
        let line = match self {
            Self::JsonLines => there.and_then(|(leaf, hash)| jsonl::entry(index, hash, leaf)),
            Self::Csv => entry().map(|(entry, hash)| csv::row(index, hash, &entry)),
            Self::Ocsf => entry().map(|(entry, hash)| ocsf::line(index, hash, &entry)),
        };
        line.unwrap_or_else(|| self.missing(index, hash))
    }

    fn missing(self, index: u64, hash: Option<&Hash>) -> String {
        match self {
            Self::JsonLines => jsonl::missing(index, hash),
            Self::Csv => csv::missing(index, hash),
            Self::Ocsf => ocsf::missing(index, hash),
        }
    }

    /// What a line takes of a part. CSV is text to Lambda, which carries it as a JSON string.
    fn weight(self, line: &str) -> usize {
        let escaped = || serde_json::to_string(line).map_or(usize::MAX, |text| text.len());
        if self == Self::Csv { escaped() } else { line.len() }
    }
}

/// A part to be filled.
struct Part {
    format: Format,
    limit: usize,
    /// What the last part ends with.
    end: String,
}

impl Part {
    /// The part, and the index that the next one starts at. It has one entry at least, so that an export ends.
    async fn fill(self, mut walk: Walk, first: bool) -> Result<(String, Option<u64>), TableError> {
        let mut body = if first { self.format.start() } else { String::new() };
        let mut weight = self.end.len() + self.format.weight(&body);
        let mut empty = true;
        for _ in 0..STEPS {
            let Some(found) = walk.step().await? else {
                body.push_str(&self.end);
                return Ok((body, None));
            };
            for found in found {
                let line = self.format.line(&found);
                weight = weight.saturating_add(self.format.weight(&line));
                if weight > self.limit && !empty {
                    return Ok((body, Some(found.index)));
                }
                empty = false;
                body.push_str(&line);
            }
        }
        Ok((body, Some(walk.next())))
    }
}

#[cfg(test)]
mod tests {
    use echo_shared::audit::leaf::Leaf;
    use echo_shared::config::Issuer;
    use echo_shared::http::Cursor;

    use super::{ExportQuery, Format, Found, start};

    fn query(format: &str, limit_bytes: Option<&str>) -> ExportQuery {
        ExportQuery { format: Some(format.into()), limit_bytes: limit_bytes.map(Into::into) }
    }

    #[test]
    fn parameters_are_checked() {
        assert_eq!(ExportQuery::default().format().unwrap(), Format::JsonLines);
        assert_eq!(query("ocsf", None).format().unwrap(), Format::Ocsf);
        assert!(query("xml", None).format().is_err() && query("", None).format().is_err());
        assert_eq!(query("csv", Some("4000000")).limit().unwrap(), 4_000_000);
        assert!(query("csv", Some("0")).limit().is_err() && query("csv", Some("4000001")).limit().is_err());
        assert_eq!(start(Some(Cursor("12".into()))).unwrap(), Some(12));
        assert!(start(Some(Cursor("2026-01-01T00:00:00.000000Z#1".into()))).is_err());
    }

    #[test]
    fn the_next_part_is_linked() {
        let issuer = Issuer::parse("https://echo.test").unwrap();
        let links = |next| query("csv", Some("9")).links(&issuer, Format::Csv, next);
        let link = "<https://echo.test/audit/v1/export?format=csv&cursor=MTI&limit_bytes=9>; rel=\"next\"";
        let [cursor, next] = &links(Some(12))[..] else { panic!() };
        assert_eq!((cursor.0.as_str(), &cursor.1), ("x-next-cursor", &"MTI".parse().unwrap()));
        assert_eq!((next.0.as_str(), next.1.to_str().unwrap()), ("link", link));
        assert!(links(None).is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_missing() {
        let unknown = Leaf { bytes: vec![9, b'{', b'}'], personal: None };
        for leaf in [None, Some(unknown)] {
            let found = Found { index: 3, hash: Some([0; 32]), leaf };
            assert!(Format::JsonLines.line(&found).ends_with("\"missing\":true}\n"));
            assert!(Format::Csv.line(&found).contains(",missing,"));
            assert!(Format::Ocsf.line(&found).contains("\"missing\":true"));
        }
    }

    #[test]
    fn text_weighs_what_it_takes_in_a_json_string() {
        assert_eq!([Format::Csv.weight("\"\"\r\n"), Format::Ocsf.weight("\"\"\r\n")], [10, 4]);
    }
}
