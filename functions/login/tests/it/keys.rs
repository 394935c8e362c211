use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use serde_json::Value;
use tower::ServiceExt;

use super::support::{ALICE, world};

async fn jwks(router: axum::Router) -> Result<Value, u16> {
    let request = Request::get("/oauth2/jwks").body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), 100_000).await.unwrap();
    if status == 200 { Ok(serde_json::from_slice(&body).unwrap()) } else { Err(status) }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_start_together_have_one_key() {
    let world = world().await;
    let started = (0..8).map(|_| tokio::spawn(jwks(world.second("A")))).collect::<Vec<_>>();
    let mut seen = Vec::new();
    for set in started {
        seen.push(set.await.unwrap().unwrap());
    }
    assert_eq!(seen[0]["keys"].as_array().unwrap().len(), 1);
    assert!(seen.iter().all(|set| *set == seen[0]));
    assert_eq!(world.count("0001").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_private_half_is_sealed_and_never_shown() {
    let world = world().await;
    let set = jwks(world.router.clone()).await.unwrap();
    let key = set["keys"][0].as_object().unwrap();
    let mut members: Vec<_> = key.keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    let item = world.items("login").await.into_iter().find(|item| item["pk"].as_s().unwrap() == "KEYS").unwrap();
    let sealed = STANDARD.decode(item["sealed"].as_s().unwrap()).unwrap();
    // What every P-256 key in PKCS #8 has: the curve's OID 1.2.840.10045.3.1.7.
    let oid = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    assert!(!sealed.windows(oid.len()).any(|window| window == oid));
    assert!(item.values().filter_map(|value| value.as_s().ok()).all(|text| !text.contains("PRIVATE")));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_master_key_opens_nothing_and_breaks_nothing() {
    let world = world().await;
    let (_, tokens) = world.signed_in(ALICE).await;
    assert_eq!(jwks(world.second("B")).await, Err(503));
    assert_eq!(world.count("0001").await, 1);
    let other = world.second("A");
    assert!(jwks(other).await.is_ok());
    assert_eq!(world.userinfo(tokens["access_token"].as_str().unwrap()).await.status, 200);
}
