use std::sync::atomic::Ordering::SeqCst;

use axum::body::Body;
use echo_shared::event::audit::Outcome;
use http::Request;
use http::header::CONTENT_TYPE;

use super::support::{
    ALICE, BOB, ISSUER, PASSWORD, SERVICE_SECRET, VERIFIER, authorize_path, claims, form_request, world,
};

const OWN: (&str, &str) = ("grant_type", "client_credentials");

#[tokio::test(flavor = "multi_thread")]
async fn a_service_gets_a_token_of_its_own() {
    let world = world().await;
    let by_post = [OWN, ("client_id", "service"), ("client_secret", SERVICE_SECRET)];
    let answer = world.token(&by_post).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.json()["scope"], "authorize events.write audit.read admin");
    assert!(answer.json().get("id_token").is_none() && answer.json().get("refresh_token").is_none());
    let token = claims(answer.json()["access_token"].as_str().unwrap());
    assert_eq!(
        (&token["sub"], &token["client_id"], &token["aud"]),
        (&"service".into(), &"service".into(), &ISSUER.into())
    );
    assert!(token.get("sid").is_none());

    let resource = ("resource", "https://api.test");
    let answer = world.token_as(("service", SERVICE_SECRET), &[OWN, ("scope", "authorize"), resource]).await;
    assert_eq!(answer.json()["scope"], "authorize");
    assert_eq!(claims(answer.json()["access_token"].as_str().unwrap())["aud"], "https://api.test");
    let (org, record) = world.queue.last();
    assert_eq!((org.as_str(), record.action.as_str(), record.actor.kind.as_str()), ("demo", "token.issued", "Client"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_gets_no_more_than_it_was_granted() {
    let world = world().await;
    for (change, error) in
        [(("scope", "jobs.read"), "invalid_scope"), (("resource", "https://x.test"), "invalid_target")]
    {
        let answer = world.token_as(("service", SERVICE_SECRET), &[OWN, change]).await;
        assert_eq!((answer.status.as_u16(), answer.error().as_str()), (400, error));
    }
    let public = world.token(&[OWN, ("client_id", "app")]).await;
    assert_eq!(public.error(), "unauthorized_client");
    assert_eq!(world.queue.last().1.reason.as_deref(), Some("grant_not_allowed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_client_and_a_wrong_secret_look_the_same() {
    let world = world().await;
    let unknown = world.token_as(("nobody", "x"), &[OWN]).await;
    assert_eq!((unknown.status.as_u16(), unknown.error().as_str()), (401, "invalid_client"));
    assert!(unknown.header("www-authenticate").starts_with("Basic"));
    assert_eq!(world.queue.last().0, "_system");
    let wrong = world.token_as(("service", "x"), &[OWN]).await;
    let (org, record) = world.queue.last();
    assert_eq!((org.as_str(), record.actor.kind.as_str()), ("demo", "Anonymous"));
    assert_eq!(record.outcome, Outcome::Denied);
    assert_eq!((wrong.status, &wrong.body), (unknown.status, &unknown.body));
    for form in [
        &[OWN][..],
        &[OWN, ("client_id", "service")],
        &[OWN, ("client_id", "service"), ("client_secret", "x")],
        &[OWN, ("client_id", "app"), ("client_secret", "x")],
    ] {
        let answer = world.token(form).await;
        assert_eq!((answer.status, &answer.body), (unknown.status, &unknown.body), "{form:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_way_of_authentication_at_a_time() {
    let world = world().await;
    let basic = ("service", SERVICE_SECRET);
    let both = world.token_as(basic, &[OWN, ("client_id", "service"), ("client_secret", SERVICE_SECRET)]).await;
    assert_eq!((both.status.as_u16(), both.error().as_str()), (400, "invalid_request"));
    let other = world.token_as(basic, &[OWN, ("client_id", "app")]).await;
    assert_eq!(other.error(), "invalid_request");
    assert_eq!(world.token_as(basic, &[OWN, ("client_id", "service")]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_refused_and_recorded() {
    let world = world().await;
    let repeated =
        format!("grant_type=client_credentials&client_id=service&client_id=app&client_secret={SERVICE_SECRET}");
    let form = "application/x-www-form-urlencoded";
    for (content, body, status) in [
        (form, repeated, 400),
        (form, "x=".to_owned() + &"x".repeat(17_000), 413),
        ("application/json", "{}".to_owned(), 415),
        ("", String::new(), 415),
        (form, "client_id=app".to_owned(), 400),
    ] {
        let request = Request::post("/oauth2/token").header(CONTENT_TYPE, content).body(Body::from(body)).unwrap();
        let answer = world.send(request).await;
        assert_eq!((answer.status.as_u16(), answer.error().as_str()), (status, "invalid_request"), "{content}");
        assert_eq!(world.queue.last().1.reason.as_deref(), Some("malformed_request"));
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    for grant in ["password", "implicit", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"] {
        let answer = world.token(&[("grant_type", grant), ("client_id", "app")]).await;
        assert_eq!((answer.status.as_u16(), answer.error().as_str()), (400, "unsupported_grant_type"));
    }
    assert_eq!(world.queue.events().len(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_bound_to_client_address_and_verifier() {
    let world = world().await;
    let code = world.browser().code(ALICE, &[]).await;
    let web = ("web", "web-secret-web-secret-web-secret-web");
    for (changes, error, reason) in [
        (
            &[("code_verifier", "wrong-wrong-wrong-wrong-wrong-wrong-wrong-wrong")][..],
            "invalid_grant",
            "verifier_mismatch",
        ),
        (&[("code_verifier", "")], "invalid_request", "verifier_malformed"),
        (&[("code_verifier", "short")], "invalid_request", "verifier_malformed"),
        (&[("redirect_uri", "")], "invalid_grant", "redirect_uri_mismatch"),
        (&[("redirect_uri", "https://app.test/other")], "invalid_grant", "redirect_uri_mismatch"),
        (&[("resource", "https://x.test")], "invalid_target", "unknown_resource"),
        (&[("code", "")], "invalid_request", "malformed_request"),
        (&[("code", "nonsense")], "invalid_grant", "code_unknown"),
        (&[("client_id", web.0), ("client_secret", web.1)], "invalid_grant", "code_of_another_client"),
    ] {
        let answer = world.redeem(&code, changes).await;
        assert_eq!((answer.status.as_u16(), answer.error().as_str()), (400, error), "{changes:?}");
        let (org, record) = world.queue.last();
        assert_eq!((org.as_str(), record.action.as_str()), ("demo", "token.refused"));
        assert_eq!(record.reason.as_deref(), Some(reason));
    }
    assert_eq!(world.redeem(&code, &[]).await.status, 200, "none of this consumed the code");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_expires_and_ends_with_its_session() {
    let world = world().await;
    let mut browser = world.browser();
    let code = browser.code(ALICE, &[]).await;
    world.wait(60);
    assert_eq!(world.redeem(&code, &[]).await.error(), "invalid_grant");
    assert_eq!(world.queue.last().1.reason.as_deref(), Some("code_expired"));

    let code = browser.get(&authorize_path(&[])).await.redirected("code").unwrap();
    let csrf = browser.get("/account").await.hidden("csrf");
    browser.post("/oauth2/logout", &[("csrf", &csrf)]).await;
    assert_eq!(world.redeem(&code, &[]).await.error(), "invalid_grant");
    assert_eq!(world.queue.last().1.reason.as_deref(), Some("session_ended"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_revokes_what_the_code_gave() {
    let world = world().await;
    for changes in [&[][..], &[("code_verifier", "")], &[("redirect_uri", "https://evil.test")]] {
        let code = world.browser().code(ALICE, &[]).await;
        let tokens = world.redeem(&code, &[]).await.json();
        let token = tokens["access_token"].as_str().unwrap();
        assert_eq!(world.userinfo(token).await.status, 200);
        // Beyond the code's own life: the token is still alive.
        world.wait(90);
        assert_eq!(world.redeem(&code, changes).await.error(), "invalid_grant");
        let (_, record) = world.queue.last();
        assert_eq!((record.action.as_str(), record.reason.as_deref()), ("token.refused", Some("code_replayed")));
        assert_eq!(record.details["revoked_jti"], claims(token)["jti"]);
        assert_eq!(world.userinfo(token).await.status, 401);
    }
    assert!(world.items("outbox").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_parallel_redemptions_give_one_success() {
    let world = world().await;
    let code = world.browser().code(ALICE, &[]).await;
    let before = world.queue.events().len();
    let mut tasks = Vec::new();
    for _ in 0..50 {
        let request = form_request(
            "/oauth2/token",
            &[
                ("grant_type", "authorization_code"),
                ("client_id", "app"),
                ("code", &code),
                ("redirect_uri", "https://app.test/cb"),
                ("code_verifier", VERIFIER),
            ],
        );
        let router = world.router.clone();
        tasks.push(tokio::spawn(async move { tower::ServiceExt::oneshot(router, request).await.unwrap() }));
    }
    let (mut granted, mut refused) = (Vec::new(), 0);
    for task in tasks {
        let response = task.await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 100_000).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        match status {
            200 => granted.push(body["access_token"].as_str().unwrap().to_owned()),
            400 => {
                assert_eq!(body["error"], "invalid_grant");
                refused += 1;
            }
            other => panic!("{other}: {body}"),
        }
    }
    assert_eq!((granted.len(), refused), (1, 49));
    assert_eq!(world.userinfo(&granted[0]).await.status, 401, "the others were replays");
    assert_eq!(world.queue.events().len() - before, 50, "each has its event");
    assert_eq!(world.count("GRANT").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_waits_for_its_event_and_a_token_does_not() {
    let world = world().await;
    let code = world.browser().code(BOB, &[]).await;
    world.queue.down.store(true, SeqCst);
    let refused = world.token_as(("service", "x"), &[OWN]).await;
    assert_eq!((refused.status.as_u16(), refused.error().as_str()), (503, "temporarily_unavailable"));
    let issued = world.redeem(&code, &[]).await;
    assert_eq!(issued.status, 200);
    let outbox = format!("{:?}", world.items("outbox").await);
    assert!(outbox.contains("token.issued"), "relay will take it");
    let replay = world.redeem(&code, &[]).await;
    assert_eq!(replay.error(), "invalid_grant", "recorded in the outbox with the revocation");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_has_a_secret_or_an_address() {
    let world = world().await;
    let mut browser = world.browser();
    let code = browser.code(ALICE, &[]).await;
    let tokens = world.redeem(&code, &[]).await.json();
    world.redeem(&code, &[]).await;
    let mut other = world.browser();
    other.sign_in("/login", ALICE, "wrong-password-of-alice").await;
    other.sign_in("/login", "stranger@demo.test", PASSWORD).await;
    world.token_as(("service", "wrong-secret"), &[OWN]).await;
    world.token_as(("service", SERVICE_SECRET), &[OWN]).await;
    let csrf = browser.get("/account").await.hidden("csrf");
    let cookies: Vec<String> = browser.cookies.values().cloned().collect();
    browser.post("/oauth2/logout", &[("csrf", &csrf)]).await;
    let all = world.queue.bodies().join("\n");
    for action in ["login.succeeded", "login.failed", "logout", "token.issued", "token.refused"] {
        assert!(all.contains(action), "{action}");
    }
    let mut secrets = vec![
        PASSWORD,
        "wrong-password-of-alice",
        "wrong-secret",
        SERVICE_SECRET,
        ALICE,
        "stranger@demo.test",
        "@demo.test",
        &code,
        VERIFIER,
        &csrf,
    ];
    secrets.push(tokens["access_token"].as_str().unwrap());
    secrets.push(tokens["id_token"].as_str().unwrap());
    secrets.extend(cookies.iter().flat_map(|cookie| cookie.split('.').next_back()));
    for secret in secrets {
        assert!(!all.contains(secret), "{secret}");
    }
}
