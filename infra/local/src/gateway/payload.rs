//! HTTP to payload format 2.0, and a function's answer back to HTTP.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::body::{Body, Bytes};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_TYPE, COOKIE, HOST, SET_COOKIE, USER_AGENT};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::template::ACCOUNT;

/// A request as it came.
pub struct Incoming<'a> {
    /// Method, URI and headers.
    pub parts: &'a Parts,
    /// The body.
    pub body: &'a Bytes,
    /// Who sent it.
    pub peer: SocketAddr,
    /// The request's id.
    pub id: &'a str,
    /// The route it matched.
    pub route_key: &'a str,
}

impl Incoming<'_> {
    /// The event for the function.
    pub fn event(&self, path_parameters: BTreeMap<String, String>, now: OffsetDateTime) -> Bytes {
        let uri = &self.parts.uri;
        let (body, base64) = self.body();
        let mut event = json!({
            "version": "2.0",
            "routeKey": self.route_key,
            "rawPath": uri.path(),
            "rawQueryString": uri.query().unwrap_or_default(),
            "headers": self.headers(),
            "requestContext": {
                "accountId": ACCOUNT, "apiId": "local", "domainName": self.header(HOST), "domainPrefix": "local",
                "http": {
                    "method": self.parts.method.as_str(), "path": uri.path(),
                    "protocol": format!("{:?}", self.parts.version), "sourceIp": self.peer.ip().to_string(),
                    "userAgent": self.header(USER_AGENT),
                },
                "requestId": self.id, "routeKey": self.route_key, "stage": "$default",
                "time": now.to_string(), "timeEpoch": now.unix_timestamp_nanos() / 1_000_000,
            },
            "isBase64Encoded": base64,
        });
        let optional = [
            ("cookies", (!self.cookies().is_empty()).then(|| json!(self.cookies()))),
            (
                "queryStringParameters",
                uri.query().filter(|query| !query.is_empty()).map(|query| json!(query_map(query))),
            ),
            ("pathParameters", (!path_parameters.is_empty()).then(|| json!(path_parameters))),
            ("body", (!self.body.is_empty()).then_some(Value::String(body))),
        ];
        if let Value::Object(event) = &mut event {
            event.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        }
        Bytes::from(event.to_string())
    }

    fn header(&self, name: HeaderName) -> &str {
        self.parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Names in lower case, repeated headers joined by commas, cookies apart.
    fn headers(&self) -> BTreeMap<String, String> {
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in &self.parts.headers {
            if name == COOKIE {
                continue;
            }
            let value = String::from_utf8_lossy(value.as_bytes());
            headers
                .entry(name.as_str().to_owned())
                .and_modify(|known| {
                    known.push(',');
                    known.push_str(&value);
                })
                .or_insert_with(|| value.into_owned());
        }
        let peer = self.peer.ip().to_string();
        let chain = headers.get("x-forwarded-for").map_or_else(|| peer.clone(), |chain| format!("{chain}, {peer}"));
        headers.insert("x-forwarded-for".into(), chain);
        headers.insert("x-forwarded-proto".into(), "http".into());
        headers
    }

    fn cookies(&self) -> Vec<&str> {
        let values = self.parts.headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(';')).map(str::trim).filter(|cookie| !cookie.is_empty()).collect()
    }

    /// Text as it is, everything else (forms too, as API Gateway has it) in base64.
    fn body(&self) -> (String, bool) {
        let kind = self.header(CONTENT_TYPE).to_ascii_lowercase();
        let text = kind.starts_with("text/") || kind.starts_with("application/json");
        match std::str::from_utf8(self.body) {
            Ok(body) if text => (body.into(), false),
            _ => (STANDARD.encode(self.body), true),
        }
    }
}

fn query_map(query: &str) -> BTreeMap<String, String> {
    let mut map: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        map.entry(name.into_owned())
            .and_modify(|known| {
                known.push(',');
                known.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    map
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status_code: u16,
    #[serde(default)]
    headers: BTreeMap<String, Value>,
    #[serde(default)]
    multi_value_headers: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    cookies: Option<Vec<String>>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

/// The HTTP response for a function's answer; `None` when it is none.
pub fn response(answer: &[u8]) -> Option<Response> {
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    let body = answer.body.unwrap_or_default();
    let body = if answer.is_base64_encoded { STANDARD.decode(body).ok()? } else { body.into_bytes() };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(answer.status_code).ok()?;
    let single = answer.headers.into_iter().filter_map(|(name, value)| match value {
        Value::String(text) => Some((name, text)),
        Value::Number(number) => Some((name, number.to_string())),
        _ => None,
    });
    let headers = response.headers_mut();
    for (name, value) in single {
        headers.insert(HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?);
    }
    for (name, values) in answer.multi_value_headers {
        let name = HeaderName::try_from(name).ok()?;
        headers.remove(&name);
        for value in values {
            headers.append(name.clone(), HeaderValue::try_from(value).ok()?);
        }
    }
    for cookie in answer.cookies.into_iter().flatten() {
        headers.append(SET_COOKIE, HeaderValue::try_from(cookie).ok()?);
    }
    // The server counts anew.
    headers.remove(http::header::CONTENT_LENGTH);
    Some(response)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use axum::body::Bytes;
    use http::Request;
    use http::header::SET_COOKIE;
    use serde_json::{Value, json};
    use time::macros::datetime;

    use super::{Incoming, response};

    fn event(request: http::request::Builder, body: &'static [u8]) -> Value {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let body = Bytes::from_static(body);
        let peer = "203.0.113.9:1".parse().unwrap();
        let incoming = Incoming { parts: &parts, body: &body, peer, id: "r", route_key: "POST /a" };
        serde_json::from_slice(&incoming.event(BTreeMap::new(), datetime!(2026-01-01 00:00 UTC))).unwrap()
    }

    #[test]
    fn events_have_the_shape_of_payload_format_2() {
        let request = Request::builder()
            .method("POST")
            .uri("/a%20b?x=1&x=2&y=%26")
            .header("cookie", "a=1; b=2")
            .header("x-many", "1")
            .header("x-many", "2")
            .header("x-forwarded-for", "198.51.100.1")
            .header("content-type", "application/json; charset=utf-8");
        let event = event(request, b"{}");
        assert_eq!(event["rawPath"], "/a%20b");
        assert_eq!(event["queryStringParameters"], json!({"x": "1,2", "y": "&"}));
        assert_eq!(event["cookies"], json!(["a=1", "b=2"]));
        assert_eq!(event["headers"]["x-many"], "1,2");
        assert_eq!(event["headers"].get("cookie"), None);
        assert_eq!(event["headers"]["x-forwarded-for"], "198.51.100.1, 203.0.113.9");
        assert_eq!(event["requestContext"]["http"]["sourceIp"], "203.0.113.9");
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("{}"), &json!(false)));
    }

    #[test]
    fn forms_and_bytes_travel_in_base64() {
        let form =
            Request::builder().method("POST").uri("/a").header("content-type", "application/x-www-form-urlencoded");
        assert_eq!(event(form, b"a=1")["body"], "YT0x");
        let broken = Request::builder().method("POST").uri("/a").header("content-type", "application/json");
        assert_eq!(event(broken, b"\xff")["isBase64Encoded"], true);
    }

    #[test]
    fn answers_become_responses() {
        let answer = json!({"statusCode": 303, "headers": {"location": "/x"}, "cookies": ["a=1", "b=2"], "body": "aGk=",
                            "isBase64Encoded": true});
        let response = response(answer.to_string().as_bytes()).unwrap();
        assert_eq!(response.status(), 303);
        assert_eq!(response.headers()["location"], "/x");
        assert_eq!(response.headers().get_all(SET_COOKIE).iter().count(), 2);
        for bad in ["", "null", "{}", r#"{"statusCode": 99}"#, r#"{"statusCode": 200, "headers": {"a b": "c"}}"#] {
            assert!(super::response(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
