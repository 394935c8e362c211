use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::support::{ALICE, Answer, BOB, SERVICE_SECRET, World, claims, world};

fn refused(answer: &Answer, text: &str) {
    assert_eq!(answer.status, 401, "{text}: {}", answer.body);
    assert!(answer.header("www-authenticate").starts_with("Bearer"), "{text}");
}

async fn service_token(world: &World, resource: &str) -> String {
    let form = [("grant_type", "client_credentials"), ("resource", resource)];
    let answer = world.token_as(("service", SERVICE_SECRET), &form).await;
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_follow_the_scopes() {
    let world = world().await;
    let (_, tokens) = world.signed_in(ALICE).await;
    let answer = world.userinfo(tokens["access_token"].as_str().unwrap()).await.json();
    let expected = json!({"sub": "u-alice", "org": "demo", "name": "Alice", "email": ALICE, "email_verified": true});
    assert_eq!(answer, expected);
    let code = world.browser().code(BOB, &[("scope", "openid")]).await;
    let tokens = world.redeem(&code, &[]).await.json();
    let answer = world.userinfo(tokens["access_token"].as_str().unwrap()).await.json();
    assert_eq!(answer, json!({"sub": "u-bob", "org": "demo"}));
    assert!(claims(tokens["id_token"].as_str().unwrap()).get("email").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_tokens_are_refused() {
    let world = world().await;
    let (_, tokens) = world.signed_in(ALICE).await;
    let token = tokens["access_token"].as_str().unwrap();
    let [header, body, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    refused(&world.get("/oauth2/userinfo").await, "none");
    refused(&world.userinfo("junk").await, "junk");
    refused(&world.userinfo(tokens["id_token"].as_str().unwrap()).await, "ID token");
    for alg in ["none", "None", "HS256"] {
        let forged = URL_SAFE_NO_PAD.encode(json!({"alg": alg, "typ": "at+jwt"}).to_string());
        refused(&world.userinfo(&format!("{forged}.{body}.")).await, alg);
        refused(&world.userinfo(&format!("{forged}.{body}.{signature}")).await, alg);
    }
    let other = json!({"alg": "ES256", "typ": "at+jwt", "kid": "../../KEYS", "jku": "https://evil.test"});
    let forged = URL_SAFE_NO_PAD.encode(other.to_string());
    refused(&world.userinfo(&format!("{forged}.{body}.{signature}")).await, "kid");
    let mut raised = claims(token);
    raised["sub"] = json!("u-bob");
    let raised = URL_SAFE_NO_PAD.encode(raised.to_string());
    refused(&world.userinfo(&format!("{header}.{raised}.{signature}")).await, "changed claims");
    let foreign = service_token(&world, "https://api.test").await;
    refused(&world.userinfo(&foreign).await, "audience");
    assert_eq!(world.userinfo(token).await.status, 200);
    world.wait(306);
    refused(&world.userinfo(token).await, "expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_without_openid_see_nothing() {
    let world = world().await;
    let token = service_token(&world, "http://localhost:9000").await;
    assert_eq!(world.userinfo(&token).await.status, 403);
    let code = world.browser().code(ALICE, &[("scope", "audit.read")]).await;
    let tokens = world.redeem(&code, &[]).await.json();
    assert!(tokens.get("id_token").is_none());
    assert_eq!(world.userinfo(tokens["access_token"].as_str().unwrap()).await.status, 403);
}
