//! `GET /audit/v1/log/{org}/…`: the log as C2SP tlog-tiles serves it, to those who may read it. Entry bundles show
//! entries, so fetching them is audited; checkpoints and hashes say nothing about anybody.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use echo_shared::audit::chunk::{Head, bundle};
use echo_shared::audit::merkle::TILE_WIDTH;
use echo_shared::http::{Problem, RequestInfo};
use echo_shared::token::{AccessClaims, KeySource};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};

use crate::chunks::leaves;
use crate::front::Front;
use crate::path::TilePath;
use crate::reading::Given;

/// Nothing of a log ever changes but its checkpoint. Not for caches that others share: a token was asked for.
const FOREVER: &str = "private, max-age=31536000, immutable";

pub(crate) async fn get_checkpoint<K: KeySource>(
    State(front): State<Arc<Front<K>>>,
    headers: HeaderMap,
    Path(org): Path<String>,
) -> Result<Response, Problem> {
    let (_, head) = front.own_head(&headers, &org).await?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], head.checkpoint).into_response())
}

pub(crate) async fn get_tile<K: KeySource>(
    State(front): State<Arc<Front<K>>>,
    info: RequestInfo,
    headers: HeaderMap,
    Path((org, path)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (caller, head) = front.own_head(&headers, &org).await?;
    if let Some(path) = path.strip_prefix("entries/") {
        return front.bundle(&info, &caller, &head, path).await;
    }
    let TilePath { tile, width } = existing(TilePath::tile(&path), &head)?;
    let tiles = front.tiles(&org, &head).read(&BTreeMap::from([(tile, width)])).await?;
    let width = usize::try_from(width).unwrap_or(usize::MAX);
    let hashes: Vec<u8> = tiles.into_values().flatten().take(width).flatten().collect();
    Ok(octets(hashes))
}

pub(crate) async fn get_entries<K: KeySource>(
    State(front): State<Arc<Front<K>>>,
    info: RequestInfo,
    headers: HeaderMap,
    Path((org, path)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (caller, head) = front.own_head(&headers, &org).await?;
    front.bundle(&info, &caller, &head, &path).await
}

impl<K: KeySource> Front<K> {
    /// The caller, and the head of the log of `org`, which must be theirs.
    async fn own_head(&self, headers: &HeaderMap, org: &str) -> Result<(AccessClaims, Head), Problem> {
        let caller = self.caller(headers).await?;
        if caller.org != org {
            let detail = "the token is of another organisation; each reads its own log";
            return Err(Problem::new(StatusCode::FORBIDDEN, "foreign-org", detail));
        }
        let head = self.head(org).await?;
        Ok((caller, head))
    }

    /// Entries as they were hashed. Once per reader and ten minutes that is an entry itself, whichever they are.
    async fn bundle(
        &self,
        info: &RequestInfo,
        caller: &AccessClaims,
        head: &Head,
        path: &str,
    ) -> Result<Response, Problem> {
        let TilePath { tile, width } = existing(TilePath::entries(path), head)?;
        self.report(info, caller, "/audit/v1/log/{org}/entries", Given::new()).await?;
        let first = tile.index.saturating_mul(TILE_WIDTH);
        let leaves = leaves(&self.app.log, &caller.org, first..first.saturating_add(width)).await?;
        Ok(octets(bundle(leaves.iter())))
    }
}

/// The path when the log has as much of the tile. A full tile has every partial one in it.
fn existing(path: Option<TilePath>, head: &Head) -> Result<TilePath, Problem> {
    let there = path.filter(|path| path.width <= path.tile.width(head.size));
    there.ok_or_else(|| {
        let detail = format!("a log of {} entries has no such tile", head.size);
        Problem::new(StatusCode::NOT_FOUND, "no-such-tile", detail)
    })
}

fn octets(bytes: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/octet-stream"), (CACHE_CONTROL, FOREVER)], bytes).into_response()
}

#[cfg(test)]
mod tests {
    use echo_shared::audit::chunk::Head;
    use serde_bytes::ByteBuf;

    use super::existing;
    use crate::path::TilePath;

    #[test]
    fn only_what_the_log_has_is_served() {
        let there = |path: &str, size| {
            let head = Head { size, frontier: ByteBuf::new(), checkpoint: String::new() };
            existing(TilePath::tile(path), &head).is_ok()
        };
        assert!(there("0/000", 256) && there("0/000.p/255", 256) && there("0/000.p/7", 7) && there("1/000.p/1", 256));
        assert!(!there("0/000", 255) && !there("0/000.p/8", 7) && !there("0/001.p/1", 256) && !there("1/000.p/1", 255));
        assert!(!there("0/0", 256) && !there("9/000.p/1", 256));
    }
}
