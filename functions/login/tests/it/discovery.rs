use axum::body::Body;
use http::Request;
use http::header::IF_NONE_MATCH;
use serde_json::json;

use super::support::{ISSUER, form_request, world};

const DOCUMENT: &str = "/.well-known/openid-configuration";

#[tokio::test(flavor = "multi_thread")]
async fn the_document_tells_the_truth() {
    let world = world().await;
    let answer = world.get(DOCUMENT).await;
    let document = answer.json();
    assert_eq!(document["issuer"], ISSUER);
    assert_eq!(document["code_challenge_methods_supported"], json!(["S256"]));
    assert_eq!(document["response_types_supported"], json!(["code"]));
    assert_eq!(document["grant_types_supported"], json!(["authorization_code", "client_credentials"]));
    assert_eq!(document["authorization_response_iss_parameter_supported"], true);
    assert_eq!(world.get("/.well-known/oauth-authorization-server").await.json(), document);
    let mut endpoints = 0;
    for (name, value) in document.as_object().unwrap() {
        if !name.ends_with("_endpoint") && name != "jwks_uri" {
            continue;
        }
        let path = value.as_str().unwrap().strip_prefix(ISSUER).unwrap();
        let got = world.get(path).await.status.as_u16();
        let posted = world.send(form_request(path, &[])).await.status.as_u16();
        assert!(![404, 405].contains(&got) || ![404, 405].contains(&posted), "{name}: {got}, {posted}");
        endpoints += 1;
    }
    assert_eq!(endpoints, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_cached() {
    let world = world().await;
    for path in [DOCUMENT, "/oauth2/jwks"] {
        let answer = world.get(path).await;
        assert_eq!(answer.header("cache-control"), "public, max-age=300");
        assert_eq!(answer.header("content-type"), "application/json");
        let tag = answer.header("etag").to_owned();
        let again = Request::get(path).header(IF_NONE_MATCH, &tag).body(Body::empty()).unwrap();
        let again = world.send(again).await;
        assert_eq!((again.status.as_u16(), again.body.as_str(), again.header("etag")), (304, "", tag.as_str()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_nothing_else() {
    let world = world().await;
    for path in ["/", "/oauth2/", "/oauth2/introspect", "/admin/v1/users", "/signup", "/LOGIN"] {
        let answer = world.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    assert_eq!(world.get("/oauth2/token").await.status, 405);
}
