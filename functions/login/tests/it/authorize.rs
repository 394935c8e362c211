use std::collections::BTreeSet;

use super::support::{ALICE, BOB, ISSUER, PASSWORD, REDIRECT, authorize_path, claims, form_request, world};

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_and_the_client_gets_tokens() {
    let world = world().await;
    let mut browser = world.browser();
    let first = browser.get(&authorize_path(&[])).await;
    assert!(first.location().starts_with("/login?return_to=%2Foauth2%2Fauthorize%3F"), "{}", first.location());
    let second = browser.sign_in(&first.location(), ALICE, PASSWORD).await;
    let back = browser.get(&second.location()).await;
    assert_eq!(back.status, 303);
    assert!(back.location().starts_with(&format!("{REDIRECT}?code=")), "{}", back.location());
    assert_eq!(back.redirected("state").as_deref(), Some("st&te"));
    assert_eq!(back.redirected("iss").as_deref(), Some(ISSUER));
    let code = back.redirected("code").unwrap();
    assert_eq!(code.len(), 43, "256 bits");

    let answer = world.redeem(&code, &[]).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let tokens = answer.json();
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&"Bearer".into(), &300.into()));
    assert_eq!(tokens["scope"], "openid profile email audit.read admin");
    let access = claims(tokens["access_token"].as_str().unwrap());
    assert_eq!((&access["sub"], &access["aud"], &access["org"]), (&"u-alice".into(), &ISSUER.into(), &"demo".into()));
    assert_eq!(access["roles"], serde_json::json!(["admin"]));
    let id = claims(tokens["id_token"].as_str().unwrap());
    assert_eq!((&id["aud"], &id["nonce"], &id["email"]), (&"app".into(), &"n0nce".into(), &ALICE.into()));
    assert_eq!(id["amr"], serde_json::json!(["pwd"]));
    assert!(id["at_hash"].is_string() && id["auth_time"].is_i64() && id["sid"] == access["sid"]);

    let actions: Vec<_> = world.queue.events().into_iter().map(|(_, record)| record.action).collect();
    assert_eq!(actions, ["login.succeeded", "token.issued"]);
    assert!(world.items("outbox").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_session_gets_a_code_without_a_page() {
    let world = world().await;
    let (mut browser, _) = world.signed_in(BOB).await;
    let answer = browser.get(&authorize_path(&[])).await;
    assert!(answer.redirected("code").is_some());
    let mut form = form_request("/oauth2/authorize", &[]);
    *form.body_mut() = authorize_path(&[]).replace("/oauth2/authorize?", "").into();
    assert!(browser.send(form).await.redirected("code").is_some(), "POST works too");
    world.wait(12 * 3_600);
    let answer = browser.get(&authorize_path(&[])).await;
    assert!(answer.location().starts_with("/login"), "the session is over");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_do_not_get_the_scopes_of_admins() {
    let world = world().await;
    let (_, tokens) = world.signed_in(BOB).await;
    assert_eq!(tokens["scope"], "openid profile email");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_known_client_and_address_nobody_is_redirected() {
    let world = world().await;
    let (mut browser, _) = world.signed_in(BOB).await;
    let doubled = format!("{}&redirect_uri=https%3A%2F%2Fevil.test", authorize_path(&[]));
    for path in [
        authorize_path(&[("client_id", "nobody")]),
        authorize_path(&[("client_id", "")]),
        authorize_path(&[("client_id", &"x".repeat(3_000))]),
        authorize_path(&[("redirect_uri", "")]),
        authorize_path(&[("redirect_uri", "https://evil.test/cb")]),
        authorize_path(&[("redirect_uri", "https://app.test/cb/")]),
        authorize_path(&[("redirect_uri", "https://app.test/cb#x")]),
        authorize_path(&[("redirect_uri", "https://app.test@evil.test/cb")]),
        authorize_path(&[("redirect_uri", "javascript:alert(1)")]),
        authorize_path(&[("client_id", "service")]),
        doubled,
    ] {
        let answer = browser.get(&path).await;
        assert_eq!((answer.status.as_u16(), answer.location()), (400, String::new()), "{path}");
        assert!(answer.header("content-type").starts_with("text/html"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_native_app_chooses_its_port() {
    let world = world().await;
    let mut browser = world.browser();
    let redirect = ("redirect_uri", "http://127.0.0.1:50001/callback");
    let code = browser.code(BOB, &[redirect]).await;
    assert_eq!(
        world.redeem(&code, &[("redirect_uri", "http://127.0.0.1:8976/callback")]).await.error(),
        "invalid_grant"
    );
    assert_eq!(world.redeem(&code, &[redirect]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_errors_are_redirected_with_state_and_issuer() {
    let world = world().await;
    for (change, error) in [
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge", "short"), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("code_challenge_method", ""), "invalid_request"),
        (("response_type", "token"), "unsupported_response_type"),
        (("response_type", "code id_token"), "unsupported_response_type"),
        (("response_type", ""), "invalid_request"),
        (("response_mode", "fragment"), "invalid_request"),
        (("scope", "a\"b"), "invalid_scope"),
        (("resource", "https://other.test"), "invalid_target"),
        (("prompt", "none"), "login_required"),
        (("prompt", "none login"), "invalid_request"),
        (("prompt", "dance"), "invalid_request"),
        (("max_age", "-1"), "invalid_request"),
        (("max_age", "soon"), "invalid_request"),
        (("request", "x"), "request_not_supported"),
        (("request_uri", "https://app.test/r"), "request_uri_not_supported"),
    ] {
        let answer = world.get(&authorize_path(&[change])).await;
        assert_eq!(answer.status, 303, "{change:?}");
        assert!(answer.location().starts_with(&format!("{REDIRECT}?")), "{change:?}: {}", answer.location());
        assert_eq!(answer.redirected("error").as_deref(), Some(error), "{change:?}");
        assert_eq!(answer.redirected("state").as_deref(), Some("st&te"));
        assert_eq!(answer.redirected("iss").as_deref(), Some(ISSUER));
        assert_eq!(answer.redirected("code"), None);
    }
    let repeated = world.get(&format!("{}&scope=again", authorize_path(&[]))).await;
    assert_eq!(repeated.redirected("error").as_deref(), Some("invalid_request"));
    let too_long = world.get(&authorize_path(&[("state", &"x".repeat(7_000))])).await;
    assert_eq!(too_long.status, 414);
}

#[tokio::test(flavor = "multi_thread")]
async fn prompt_and_max_age_ask_again_once() {
    let world = world().await;
    let (mut browser, _) = world.signed_in(BOB).await;
    assert!(browser.get(&authorize_path(&[("prompt", "none")])).await.redirected("code").is_some());
    assert!(browser.get(&authorize_path(&[("resource", ISSUER)])).await.redirected("code").is_some());
    world.wait(100);
    assert!(browser.get(&authorize_path(&[("max_age", "100")])).await.redirected("code").is_some());
    for change in [("prompt", "login"), ("max_age", "99"), ("max_age", "0")] {
        let answer = browser.get(&authorize_path(&[change])).await;
        assert!(answer.location().starts_with("/login?"), "{change:?}");
        let answer = browser.sign_in(&answer.location(), BOB, PASSWORD).await;
        world.wait(100);
        let answer = browser.get(&answer.location()).await;
        assert!(answer.redirected("code").is_some(), "{change:?}: no loop");
    }
    let impatient = [("prompt", "none"), ("max_age", "1")];
    let answer = browser.get(&authorize_path(&impatient)).await;
    assert_eq!(answer.redirected("error").as_deref(), Some("login_required"));
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_differ_and_are_stored_hashed() {
    let world = world().await;
    let (mut browser, _) = world.signed_in(BOB).await;
    let mut codes = BTreeSet::new();
    for _ in 0..5 {
        codes.insert(browser.get(&authorize_path(&[])).await.redirected("code").unwrap());
    }
    assert_eq!(codes.len(), 5);
    let stored = format!("{:?}", world.items("login").await);
    assert!(codes.iter().all(|code| !stored.contains(code)));
    let cookie = &browser.cookies["echo_session"];
    assert!(!stored.contains(cookie.split('.').nth(1).unwrap()), "only the hash of the cookie's secret is stored");
    assert!(!stored.contains(PASSWORD));
}
