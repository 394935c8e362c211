//! Bearer tokens (RFC 6750).

use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};

use super::{Problem, TokenProblem};
use crate::telemetry::note_org;
use crate::token::{AccessClaims, KeySource, Verifier};

/// The token in the one `Authorization: Bearer` header.
///
/// # Errors
/// 401 when there is none, several, or of another scheme.
pub fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let token = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        }),
        _ => None,
    };
    token.filter(|token| !token.is_empty()).ok_or_else(|| {
        Problem::new(StatusCode::UNAUTHORIZED, "token-required", "send one header `Authorization: Bearer <token>`")
            .challenge("Bearer")
    })
}

/// The caller, when its token is good and grants `scope`; the request's log lines learn of the org.
///
/// # Errors
/// 401 without a good token, 403 without the scope, 503 when the token could not be checked.
pub async fn authenticate<K: KeySource>(
    verifier: &Verifier<K>,
    headers: &HeaderMap,
    scope: &str,
) -> Result<AccessClaims, Problem> {
    let claims = verifier.access_token(bearer(headers)?).await.map_err(TokenProblem)?;
    note_org(&claims.org);
    if claims.has_scope(scope) {
        return Ok(claims);
    }
    let detail = format!("the token lacks the scope `{scope}`; ask for a token that has it");
    Err(Problem::new(StatusCode::FORBIDDEN, "insufficient-scope", detail)
        .challenge(format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"")))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::AUTHORIZATION;

    use super::bearer;

    #[test]
    fn exactly_one_bearer_token_counts() {
        let headers = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            headers
        };
        assert_eq!(bearer(&headers(&["Bearer abc"])).unwrap(), "abc");
        assert_eq!(bearer(&headers(&["bearer abc"])).unwrap(), "abc");
        for bad in [&[][..], &["Basic abc"], &["Bearer"], &["Bearer "], &["Bearer a", "Bearer b"]] {
            assert!(bearer(&headers(bad)).is_err(), "{bad:?}");
        }
    }
}
