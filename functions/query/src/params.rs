//! Query parameters whose faults are answered as every other: as a problem.

use axum::extract::{FromRequestParts, Query};
use echo_shared::http::Problem;
use http::StatusCode;
use http::request::Parts;
use serde::de::DeserializeOwned;

/// The query parameters as a `T`; 400 when one comes twice.
#[derive(Debug)]
pub(crate) struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = Query::try_from_uri(&parts.uri);
        let refused = |error: axum::extract::rejection::QueryRejection| {
            Problem::new(StatusCode::BAD_REQUEST, "invalid-parameter", error.body_text())
        };
        query.map(|Query(params)| Self(params)).map_err(refused)
    }
}

#[cfg(test)]
mod tests {
    use axum::extract::FromRequestParts;
    use echo_shared::http::PageQuery;
    use http::{Request, StatusCode};

    use super::Params;

    #[tokio::test]
    async fn a_parameter_that_comes_twice_is_refused() {
        for (query, good) in [("", true), ("?limit=1&unknown=2", true), ("?limit=1&limit=2", false)] {
            let (mut parts, ()) = Request::get(format!("/a{query}")).body(()).unwrap().into_parts();
            let read = Params::<PageQuery>::from_request_parts(&mut parts, &()).await;
            assert_eq!(read.map_err(|problem| problem.status()).err(), (!good).then_some(StatusCode::BAD_REQUEST));
        }
    }
}
