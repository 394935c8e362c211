//! The demo organisation: made by `up` and `bench`, and only there.

use std::path::Path;

use authorize::{PolicyStore, Source};
use echo_local::dynamodb::DynamoDb;
use echo_local::stack::STACK_NAME;
use echo_shared::clock::Clock;
use echo_shared::entropy::Entropy;
use echo_shared::secret::Secret;
use echo_shared::table::Table;
use login::Store;
use login::admin::{NewClient, NewUser, put_client, put_user};

use crate::Failure;

/// The admin.
pub const ALICE: &str = "alice@demo.test";
/// The member.
pub const BOB: &str = "bob@demo.test";
/// Their password.
pub const PASSWORD: &str = "correct-horse-battery-staple";
/// The public client.
pub const SPA_ID: &str = "demo-spa";
/// The confidential client.
pub const SERVICE_ID: &str = "demo-service";
/// Its secret.
pub const SERVICE_SECRET: &str = "demo-service-secret-for-local-use-only";
/// The demo organisation's id.
const ORG: &str = "demo";

/// Makes what is not there yet, for the stack at `url`.
pub async fn demo(dynamodb: &DynamoDb, url: &str, root: &Path) -> Result<(), Failure> {
    let table = |name: &str| Table::new(dynamodb.client(), format!("{STACK_NAME}-{name}"));
    let policies = read_policies(&root.join("infra/policies").join(ORG))?;
    PolicyStore::new(table("policy"), Clock::system()).publish(ORG, &policies).await?;

    let store = Store::new(table("login"), Clock::system(), Entropy::system());
    for (id, email, name, role) in [("alice", ALICE, "Alice", "admin"), ("bob", BOB, "Bob", "member")] {
        let user = NewUser {
            id: id.into(),
            email: email.into(),
            name: name.into(),
            password: Secret::new(PASSWORD),
            org: ORG.into(),
            roles: vec![role.into()],
        };
        put_user(&store, user).await?;
    }
    for client in [spa(url), service()] {
        put_client(&store, client).await?;
    }
    Ok(())
}

fn spa(url: &str) -> NewClient {
    NewClient {
        id: SPA_ID.into(),
        name: "Echo demo".into(),
        org: ORG.into(),
        secret: None,
        redirect_uris: vec![format!("{url}/console/callback"), "http://127.0.0.1:8976/callback".into()],
        post_logout_redirect_uris: vec![format!("{url}/")],
        grants: vec!["authorization_code".into()],
        scopes: words("openid profile email admin audit.read logs.read jobs.read"),
        resources: Vec::new(),
    }
}

fn service() -> NewClient {
    NewClient {
        id: SERVICE_ID.into(),
        name: "Echo demo service".into(),
        org: ORG.into(),
        secret: Some(Secret::new(SERVICE_SECRET)),
        redirect_uris: Vec::new(),
        post_logout_redirect_uris: Vec::new(),
        grants: vec!["client_credentials".into()],
        scopes: words("authorize events.write logs.write audit.read logs.read jobs.read jobs.write admin"),
        resources: Vec::new(),
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(Into::into).collect()
}

/// `schema.cedarschema` and the `*.cedar` files of a folder.
fn read_policies(folder: &Path) -> Result<Source, Failure> {
    let read =
        |path: &Path| std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
    let mut files = Vec::new();
    for file in std::fs::read_dir(folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "cedar") {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            files.push((name, read(&path)?));
        }
    }
    files.sort();
    Ok(Source { schema: read(&folder.join("schema.cedarschema"))?, files })
}
