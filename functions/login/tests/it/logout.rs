use super::support::{ALICE, BOB, BYE, authorize_path, encode, form_request, world};

fn path(form: &[(&str, &str)]) -> String {
    format!("/oauth2/logout?{}", encode(form))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_page_signs_out() {
    let world = world().await;
    let (mut browser, tokens) = world.signed_in(ALICE).await;
    let cookie = browser.cookies["echo_session"].clone();
    let page = browser.get("/account").await;
    let answer = browser.post("/oauth2/logout", &[("csrf", &page.hidden("csrf"))]).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("You are signed out"));
    assert!(!browser.cookies.contains_key("echo_session"));
    browser.cookies.insert("echo_session".into(), cookie);
    assert_eq!(browser.get("/account").await.status, 303, "the session is dead, not just the cookie");
    assert!(browser.get(&authorize_path(&[])).await.location().starts_with("/login"));
    assert_eq!(world.userinfo(tokens["access_token"].as_str().unwrap()).await.status, 401);
    let (org, record) = world.queue.last();
    assert_eq!((org.as_str(), record.action.as_str(), record.actor.id.as_str()), ("demo", "logout", "u-alice"));
    assert!(record.session_id.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn ones_own_id_token_signs_out_at_once() {
    let world = world().await;
    let (mut browser, tokens) = world.signed_in(ALICE).await;
    world.wait(3_600);
    let hint = ("id_token_hint", tokens["id_token"].as_str().unwrap());
    let answer = browser.get(&path(&[hint, ("post_logout_redirect_uri", BYE), ("state", "s s")])).await;
    assert_eq!(answer.location(), format!("{BYE}?state=s+s"), "{}", answer.body);
    assert_eq!(world.count("SESSION").await, 0);
    assert_eq!(world.queue.last().1.action, "logout");
    let again = browser.get(&path(&[hint, ("post_logout_redirect_uri", BYE)])).await;
    assert_eq!(again.location(), BYE);
    let elsewhere = browser.get(&path(&[hint, ("post_logout_redirect_uri", "https://evil.test")])).await;
    assert_eq!((elsewhere.status.as_u16(), elsewhere.location()), (200, String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn anything_else_asks_first() {
    let world = world().await;
    let (_, bobs) = world.signed_in(BOB).await;
    let (mut browser, alices) = world.signed_in(ALICE).await;
    let (foreign, own) = (bobs["id_token"].as_str().unwrap(), alices["id_token"].as_str().unwrap());
    let access = alices["access_token"].as_str().unwrap();
    for query in [
        &[][..],
        &[("client_id", "app")],
        &[("id_token_hint", foreign)],
        &[("id_token_hint", access)],
        &[("id_token_hint", "junk")],
        &[("id_token_hint", own), ("client_id", "web")],
    ] {
        let answer = browser.get(&path(query)).await;
        assert_eq!((answer.status.as_u16(), answer.location()), (200, String::new()), "{query:?}");
        assert!(answer.body.contains("Sign out?"));
    }
    assert_eq!(world.count("SESSION").await, 2);
    let ask = browser.get(&path(&[("client_id", "app"), ("post_logout_redirect_uri", BYE), ("state", "x")])).await;
    assert!(ask.header("content-security-policy").contains("form-action 'self' https://app.test;"));
    let csrf = ask.hidden("csrf");
    let kept = [("client_id", "app"), ("post_logout_redirect_uri", BYE), ("state", "x")];
    assert_eq!((ask.hidden("client_id"), ask.hidden("post_logout_redirect_uri")), ("app".into(), BYE.into()));
    let [id, uri, state] = kept;
    let answer = browser.post("/oauth2/logout", &[("csrf", &csrf), id, uri, state]).await;
    assert_eq!(answer.location(), format!("{BYE}?state=x"));
    assert_eq!(world.count("SESSION").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_forms_sign_nobody_out() {
    let world = world().await;
    let (mut browser, _) = world.signed_in(ALICE).await;
    let csrf = browser.get("/account").await.hidden("csrf");
    assert_eq!(browser.post("/oauth2/logout", &[]).await.status, 403);
    assert_eq!(browser.post("/oauth2/logout", &[("csrf", "x")]).await.status, 403);
    let mut foreign = form_request("/oauth2/logout", &[("csrf", &csrf)]);
    foreign.headers_mut().insert("origin", "https://evil.test".parse().unwrap());
    assert_eq!(browser.send(foreign).await.status, 403);
    let from_client = browser.post("/oauth2/logout", &[("client_id", "app")]).await;
    assert_eq!(from_client.location(), "/oauth2/logout?client_id=app");
    assert_eq!(browser.get("/account").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_session_there_is_nothing_to_ask() {
    let world = world().await;
    let answer = world.get(&path(&[("client_id", "app"), ("post_logout_redirect_uri", BYE)])).await;
    assert_eq!((answer.status.as_u16(), answer.location()), (200, String::new()), "no hint, no redirect");
    assert!(answer.body.contains("You are signed out"));
    assert!(world.queue.bodies().is_empty());
}
