use echo_shared::secret::Secret;
use login::admin::{AdminError, NewUser, put_client, put_user};

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
