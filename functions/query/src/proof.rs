//! `GET /audit/v1/proofs/…`: that an entry is in the log, and that the log only grew.

use std::ops::Range;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use echo_shared::audit::chunk::Head;
use echo_shared::audit::merkle::{Hash, consistency, empty_root, inclusion};
use echo_shared::http::Problem;
use echo_shared::token::KeySource;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::front::Front;
use crate::json::set;
use crate::params::Params;
use crate::path::number;

/// The query parameters of an inclusion proof.
#[derive(Debug, Deserialize)]
pub(crate) struct InclusionQuery {
    index: Option<String>,
    size: Option<String>,
}

/// The query parameters of a consistency proof.
#[derive(Debug, Deserialize)]
pub(crate) struct ConsistencyQuery {
    from: Option<String>,
    to: Option<String>,
}

pub(crate) async fn get_inclusion<K: KeySource>(
    State(front): State<Arc<Front<K>>>,
    headers: HeaderMap,
    Params(query): Params<InclusionQuery>,
) -> Result<Json<Value>, Problem> {
    let caller = front.caller(&headers).await?;
    let (index, size) = (required("index", query.index)?, optional("size", query.size)?);
    let head = front.head(&caller.org).await?;
    let size = within(&head, size)?;
    if index >= size {
        let detail = format!("a log of {size} entries has none at {index}; the first is 0");
        return Err(Problem::new(StatusCode::NOT_FOUND, "no-such-entry", detail));
    }
    let path = inclusion(index, size);
    let ranges = [&path[..], &[index..index + 1, 0..size]].concat();
    let mut roots = front.tiles(&caller.org, &head).roots(&ranges).await?.into_iter();
    let proof: Vec<String> = roots.by_ref().take(path.len()).map(encode).collect();
    let (leaf_hash, root) = (roots.next().map(encode), roots.next().map(encode));
    let answer = json!({ "index": index, "size": size, "leaf_hash": leaf_hash, "proof": proof, "root": root });
    Ok(Json(signed(answer, &head, size)))
}

pub(crate) async fn get_consistency<K: KeySource>(
    State(front): State<Arc<Front<K>>>,
    headers: HeaderMap,
    Params(query): Params<ConsistencyQuery>,
) -> Result<Json<Value>, Problem> {
    let caller = front.caller(&headers).await?;
    let (from, to) = (required("from", query.from)?, optional("to", query.to)?);
    if to.is_some_and(|to| from > to) {
        return Err(invalid("`from` must not be larger than `to`"));
    }
    let head = front.head(&caller.org).await?;
    let (from, to) = (within(&head, Some(from))?, within(&head, to)?);
    let path = consistency(from, to);
    let trees: Vec<Range<u64>> = [0..from, 0..to].into_iter().filter(|tree| !tree.is_empty()).collect();
    let roots = front.tiles(&caller.org, &head).roots(&[&path[..], &trees].concat()).await?;
    let mut roots = roots.into_iter();
    let proof: Vec<String> = roots.by_ref().take(path.len()).map(encode).collect();
    let mut root = |size| if size == 0 { Some(encode(empty_root())) } else { roots.next().map(encode) };
    let (from_root, to_root) = (root(from), root(to));
    let answer = json!({ "from": from, "to": to, "from_root": from_root, "to_root": to_root, "proof": proof });
    Ok(Json(signed(answer, &head, to)))
}

/// Adds the checkpoint, which is of the present size.
fn signed(mut answer: Value, head: &Head, size: u64) -> Value {
    if size == head.size {
        set(&mut answer, "checkpoint", head.checkpoint.clone());
    }
    answer
}

/// A size that the log has reached; the present one when none is given.
fn within(head: &Head, size: Option<u64>) -> Result<u64, Problem> {
    match size {
        Some(size) if size > head.size => {
            let detail = format!("the log has {} entries, not yet {size}", head.size);
            Err(Problem::new(StatusCode::NOT_FOUND, "no-such-size", detail))
        }
        size => Ok(size.unwrap_or(head.size)),
    }
}

fn required(name: &str, text: Option<String>) -> Result<u64, Problem> {
    optional(name, text)?.ok_or_else(|| invalid(&format!("give `{name}`, a whole number")))
}

fn optional(name: &str, text: Option<String>) -> Result<Option<u64>, Problem> {
    let read =
        |text: String| number(&text).ok_or_else(|| invalid(&format!("`{name}` must be a whole number from 0 on")));
    text.map(read).transpose()
}

fn invalid(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid-parameter", detail)
}

fn encode(hash: Hash) -> String {
    STANDARD.encode(hash)
}

#[cfg(test)]
mod tests {
    use echo_shared::audit::chunk::Head;
    use http::StatusCode;
    use serde_bytes::ByteBuf;
    use serde_json::json;

    use super::{optional, required, signed, within};

    fn head(size: u64) -> Head {
        Head { size, frontier: ByteBuf::new(), checkpoint: "note".into() }
    }

    #[test]
    fn numbers_are_whole_and_from_zero_on() {
        assert_eq!(required("index", Some("7".into())).unwrap(), 7);
        assert_eq!(optional("size", None).unwrap(), None);
        for bad in ["", "-1", "+1", "1.5", "07", "x", "99999999999999999999"] {
            assert_eq!(required("index", Some(bad.into())).unwrap_err().status(), StatusCode::BAD_REQUEST, "{bad}");
        }
        assert_eq!(required("index", None).unwrap_err().status(), StatusCode::BAD_REQUEST);
    }

    #[test]
    fn sizes_end_with_the_present_one() {
        assert_eq!([within(&head(9), None).unwrap(), within(&head(9), Some(9)).unwrap()], [9, 9]);
        assert_eq!(within(&head(9), Some(10)).unwrap_err().status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn only_the_present_size_has_a_checkpoint() {
        assert_eq!(signed(json!({}), &head(9), 9), json!({"checkpoint": "note"}));
        assert_eq!(signed(json!({}), &head(9), 8), json!({}));
    }
}
