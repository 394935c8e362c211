use std::sync::atomic::Ordering::SeqCst;

use axum::body::Body;
use echo_shared::metric::Metric;
use http::Request;
use http::header::{CONTENT_TYPE, ORIGIN};

use super::support::{ALICE, Answer, BOB, PASSWORD, SERVICE_SECRET, authorize_path, form_request, world, world_at};

/// The page without its token.
fn masked(answer: &Answer) -> String {
    answer.body.replace(&answer.hidden("csrf"), "")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_small_and_locked_down() {
    let world = world().await;
    let start = world.get(&authorize_path(&[])).await;
    let page = world.get(&start.location()).await;
    assert!(page.body.len() < 15_000, "{} bytes", page.body.len());
    assert!(!page.body.contains("<script") && !page.body.contains("style=\"") && !page.body.contains(" onclick"));
    assert!(page.body.contains("to continue to <strong>The app &#60;client&#62;</strong>"), "{}", page.body);
    for part in
        ["type=\"email\"", "autocomplete=\"username\"", "autocomplete=\"current-password\"", "<label for=\"email\""]
    {
        assert!(page.body.contains(part), "{part}");
    }
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(policy.contains("form-action 'self' https://app.test;"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'; base-uri 'none'"), "{policy}");
    assert_eq!(page.header("x-frame-options"), "DENY");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(page.header("cross-origin-opener-policy"), "same-origin");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert!(world.get("/login").await.header("content-security-policy").contains("form-action 'self';"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policys_hash_is_the_styles() {
    use base64::Engine;
    let page = world().await.get("/login").await;
    let style = page.body.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0.to_owned();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, style.as_bytes());
    let hash = base64::engine::general_purpose::STANDARD.encode(digest);
    assert!(page.header("content-security-policy").contains(&hash));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_person_and_a_wrong_password_look_the_same() {
    let world = world().await;
    let wrong = world.browser().sign_in("/login", ALICE, "wrong").await;
    let (org, record) = world.queue.last();
    assert_eq!((org.as_str(), record.reason.as_deref()), ("demo", Some("wrong_password")));
    assert_eq!(record.actor.id, "u-alice");
    let unknown = world.browser().sign_in("/login", "eve@demo.test", "wrong").await;
    let (org, record) = world.queue.last();
    assert_eq!((org.as_str(), record.reason.as_deref()), ("_system", Some("unknown_user")));
    assert_eq!((record.action.as_str(), record.actor.id.as_str()), ("login.failed", "anonymous"));
    assert_eq!((wrong.status.as_u16(), unknown.status.as_u16()), (401, 401));
    assert_eq!(masked(&wrong).replace(ALICE, ""), masked(&unknown).replace("eve@demo.test", ""));
    let names = |answer: &Answer| answer.headers.keys().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&wrong), names(&unknown));
    assert!(wrong.body.contains("role=\"alert\"") && wrong.body.contains(&format!("value=\"{ALICE}\"")));
    assert_eq!(world.count("SESSION").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_is_not_case_sensitive_and_what_is_typed_is_escaped() {
    let world = world().await;
    assert_eq!(world.browser().sign_in("/login", "ALICE@Demo.test", PASSWORD).await.status, 303);
    let nasty = world.browser().sign_in("/login", "\"><script>@x", "wrong").await;
    assert_eq!(nasty.status, 401);
    assert!(!nasty.body.contains("<script"));
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_forms_are_refused() {
    let world = world().await;
    let mut browser = world.browser();
    let csrf = browser.get("/login").await.hidden("csrf");
    let good = [("csrf", csrf.as_str()), ("email", BOB), ("password", PASSWORD)];
    let missing = browser.post("/login", &good[1..]).await;
    assert_eq!(missing.status, 403);
    assert!(missing.body.contains("role=\"alert\"") && missing.body.contains("name=\"password\""));
    let other = [("csrf", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), good[1], good[2]];
    assert_eq!(browser.post("/login", &other).await.status, 403);
    assert_eq!(world.browser().post("/login", &good).await.status, 403, "no cookie");
    for (name, value) in [("origin", "https://evil.test"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        let mut request = form_request("/login", &good);
        request.headers_mut().insert(name, value.parse().unwrap());
        assert_eq!(browser.send(request).await.status, 403, "{name}: {value}");
    }
    assert_eq!(world.count("SESSION").await, 0);
    assert!(world.queue.bodies().is_empty());
    assert_eq!(browser.post("/login", &good).await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_led_elsewhere() {
    let world = world().await;
    for target in ["https://evil.test", "//evil.test", "/\\evil.test", "/oauth2/authorize", "javascript:alert(1)", ""] {
        let mut browser = world.browser();
        let csrf = browser.get("/login").await.hidden("csrf");
        let form = [("csrf", &*csrf), ("return_to", target), ("email", BOB), ("password", PASSWORD)];
        assert_eq!(browser.post("/login", &form).await.location(), "/account", "{target}");
    }
    let page = world.get("/login?return_to=https%3A%2F%2Fevil.test").await;
    assert_eq!(page.hidden("return_to"), "/account");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bodies_are_refused() {
    let world = world().await;
    for path in ["/login", "/oauth2/logout", "/oauth2/authorize"] {
        let json = Request::post(path).header(CONTENT_TYPE, "application/json").body(Body::from("{}")).unwrap();
        assert_eq!(world.send(json).await.status, 415, "{path}");
        let large = form_request(path, &[("email", &"x".repeat(17_000))]);
        assert_eq!(world.send(large).await.status, 413, "{path}");
    }
    let mut browser = world.browser();
    let (long, longer) = ("x".repeat(255), "x".repeat(1_025));
    for (email, password) in [("", "x"), ("a@b", ""), (&*long, "x"), ("a@b", &*longer)] {
        assert_eq!(browser.sign_in("/login", email, password).await.status, 400);
    }
    assert!(world.queue.bodies().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_queue_a_failure_is_not_answered_and_a_success_is_kept() {
    let world = world().await;
    world.queue.down.store(true, SeqCst);
    for email in [ALICE, "eve@demo.test"] {
        let failed = world.browser().sign_in("/login", email, "wrong").await;
        assert_eq!(failed.status, 503);
        assert!(failed.header("content-type").starts_with("text/html"));
    }
    assert_eq!(world.count("SESSION").await, 0);
    let mut browser = world.browser();
    assert_eq!(browser.sign_in("/login", ALICE, PASSWORD).await.status, 303);
    assert_eq!(browser.get("/account").await.status, 200);
    let outbox = world.items("outbox").await;
    assert_eq!(outbox.len(), 1);
    assert!(format!("{outbox:?}").contains("login.succeeded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_sign_in_has_a_session_of_its_own() {
    let world = world().await;
    let mut browser = world.browser();
    browser.cookies.insert("echo_session".into(), format!("{}.planted", "0".repeat(32)));
    browser.sign_in("/login", BOB, PASSWORD).await;
    let first = browser.cookies["echo_session"].clone();
    assert!(!first.starts_with('0') || !first.ends_with("planted"));
    browser.sign_in("/login", ALICE, PASSWORD).await;
    let second = browser.cookies["echo_session"].clone();
    assert_ne!(first, second);
    assert_eq!(world.count("SESSION").await, 1, "the one before has ended");
    let (sid, _) = second.split_once('.').unwrap();
    for bad in [first, format!("{sid}.x"), sid.to_owned(), "..".into(), format!("{sid}#.x")] {
        let mut thief = world.browser();
        thief.cookies.insert("echo_session".into(), bad.clone());
        assert_eq!(thief.get("/account").await.location(), "/login?return_to=%2Faccount", "{bad}");
    }
    let account = browser.get("/account").await;
    assert!(account.body.contains("Alice") && account.body.contains(ALICE) && account.body.contains("demo"));
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_are_locked_to_the_host_under_https() {
    let world = world_at("https://echo.test").await;
    let page = world.get("/login").await;
    let cookie = page.header("set-cookie").to_owned();
    assert!(cookie.starts_with("__Host-echo_csrf="), "{cookie}");
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Max-Age=43200; Secure"), "{cookie}");
    assert!(page.header("strict-transport-security").starts_with("max-age="));
    let csrf = page.hidden("csrf");
    let form = [("csrf", &*csrf), ("email", BOB), ("password", PASSWORD)];
    let mut request = form_request("/login", &form);
    request.headers_mut().insert("cookie", format!("__Host-echo_csrf={csrf}").parse().unwrap());
    request.headers_mut().insert(ORIGIN, "https://echo.test".parse().unwrap());
    let answer = world.send(request).await;
    assert!(answer.header("set-cookie").starts_with("__Host-echo_session="), "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outdated_hash_is_replaced_at_sign_in() {
    use argon2::{Argon2, Params, PasswordHasher};
    let world = world().await;
    let weak = Argon2::from(Params::new(8, 1, 1, None).unwrap());
    let weak = weak.hash_password_with_salt(PASSWORD.as_bytes(), &[1; 16]).unwrap().to_string();
    world.set_password_hash("u-bob", &weak).await;
    assert_eq!(world.browser().sign_in("/login", BOB, "wrong").await.status, 401);
    assert_eq!(world.password_hash("u-bob").await, weak);
    assert_eq!(world.browser().sign_in("/login", BOB, PASSWORD).await.status, 303);
    assert!(world.password_hash("u-bob").await.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    assert_eq!(world.browser().sign_in("/login", BOB, PASSWORD).await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_ins_and_refusals_are_counted() {
    let world = world().await;
    let counted = || (world.counted(Metric::Logins), world.counted(Metric::Refusals));
    assert_eq!(world.browser().sign_in("/login", ALICE, PASSWORD).await.status, 303);
    assert_eq!(counted(), (1, 0));
    assert_eq!(world.browser().sign_in("/login", ALICE, "wrong").await.status, 401);
    assert_eq!(counted(), (1, 1));
    let grant = [("grant_type", "client_credentials")];
    assert_eq!(world.token_as(("service", "wrong"), &grant).await.status, 401);
    assert_eq!(counted(), (1, 2));
    assert_eq!(world.token_as(("service", SERVICE_SECRET), &grant).await.status, 200);
    assert_eq!(counted(), (1, 2), "a token is neither");
}
