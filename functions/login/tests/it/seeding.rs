use echo_shared::event::audit::Record;
use echo_shared::queue::OutboxItem;
use echo_shared::secret::Secret;
use login::admin::{AdminError, NewUser, bootstrap, put_client, put_user};

use super::support::{ALICE, BOB, PASSWORD, SERVICE_SECRET, client, world};

fn user(id: &str, email: &str, password: &str) -> NewUser {
    let (password, roles) = (Secret::new(password), vec!["member".into()]);
    NewUser { id: id.into(), email: email.into(), name: "N".into(), password, org: "demo".into(), roles }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_left_alone() {
    let world = world().await;
    assert!(!put_user(&world.store, user("u-alice", ALICE, "another-password")).await.unwrap());
    assert_eq!(world.browser().sign_in("/login", ALICE, PASSWORD).await.status, 303);
    let again = client("service", Some(&"x".repeat(40)), &[], "client_credentials", &[]);
    assert!(!put_client(&world.store, again).await.unwrap());
    let form = [("grant_type", "client_credentials")];
    assert_eq!(world.token_as(("service", SERVICE_SECRET), &form).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_anothers_name() {
    let world = world().await;
    for taken in [user("u-new", BOB, "p"), user("u-alice", "new@demo.test", "p"), user("service", "s@demo.test", "p")] {
        assert!(matches!(put_user(&world.store, taken).await, Err(AdminError::Taken)));
    }
    let taken = client("u-alice", None, &[], "authorization_code", &[]);
    assert!(matches!(put_client(&world.store, taken).await, Err(AdminError::Taken)));
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_kept() {
    let world = world().await;
    for bad in [user("", "a@b.c", "p"), user("a#b", "a@b.c", "p"), user("a", "none", "p"), user("a", "a@b.c", "")] {
        assert!(matches!(put_user(&world.store, bad).await, Err(AdminError::Invalid(_))));
    }
    for bad in [
        client("c", None, &["javascript:alert(1)"], "authorization_code", &[]),
        client("c", None, &[], "client_credentials", &[]),
        client("c", Some("short"), &[], "client_credentials", &[]),
        client("c", None, &[], "password", &[]),
    ] {
        assert!(matches!(put_client(&world.store, bad).await, Err(AdminError::Invalid(_))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_is_bootstrapped_once_also_by_many_at_the_same_time() {
    let world = world().await;
    let outbox = world.outbox_table();
    let tries = (0..8).map(|n| {
        let (store, outbox) = (world.store.clone(), outbox.clone());
        let admin = user(&format!("u-{n}"), &format!("root-{n}@acme.test"), PASSWORD);
        let first = client(&format!("c-{n}"), Some(SERVICE_SECRET), &[], "client_credentials", &[]);
        tokio::spawn(async move { bootstrap(&store, &outbox, &format!("arn:{n}"), admin, first).await })
    });
    let mut winner = None;
    for (n, done) in tries.collect::<Vec<_>>().into_iter().enumerate() {
        match done.await.unwrap() {
            Ok(()) => assert_eq!(winner.replace(n), None, "twice"),
            Err(AdminError::Bootstrapped { by, .. }) => assert!(by.starts_with("arn:")),
            Err(error) => panic!("{error}"),
        }
    }
    let winner = winner.unwrap();
    for n in 0..8 {
        let status = world.browser().sign_in("/login", &format!("root-{n}@acme.test"), PASSWORD).await.status;
        assert_eq!(status, if n == winner { 303 } else { 401 }, "who lost left nothing behind");
    }
    let left = outbox.scan_page::<OutboxItem>(None).await.unwrap().items;
    let [OutboxItem { event, .. }] = left.as_slice() else { panic!("{} events", left.len()) };
    assert_eq!((event.org.as_str(), event.source.as_str()), ("demo", "/echoctl"));
    assert_eq!(Record::parse(&event.data).unwrap().actor.id, format!("arn:{winner}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bootstrap_that_breaks_a_rule_can_be_tried_again() {
    let world = world().await;
    let outbox = world.outbox_table();
    let first = || client("c", Some(SERVICE_SECRET), &[], "client_credentials", &[]);
    for (admin, client) in [
        (user("u", "none", PASSWORD), first()),
        (user("u", "a@b.c", PASSWORD), client("c", Some("short"), &[], "client_credentials", &[])),
        (user("u", ALICE, PASSWORD), first()),
    ] {
        let refused = bootstrap(&world.store, &outbox, "arn", admin, client).await.unwrap_err();
        assert!(!matches!(refused, AdminError::Bootstrapped { .. }), "{refused}");
    }
    bootstrap(&world.store, &outbox, "arn", user("u", "a@b.c", PASSWORD), first()).await.unwrap();
}
