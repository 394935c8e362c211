//! `echoctl bootstrap`: the first organisation of a deployed stack, by IAM and not by a default password.

use aws_config::{BehaviorVersion, SdkConfig};
use clap::Args;
use echo_shared::causes::with_causes;
use echo_shared::clock::Clock;
use echo_shared::entropy::Entropy;
use echo_shared::secret::Secret;
use echo_shared::table::Table;
use login::Store;
use login::admin::{NewClient, NewUser};
use serde_json::json;

use crate::Failure;

/// Make a deployed stack's first organisation, admin and client. It can be done once.
///
/// Who may write the stack's tables may do it: your AWS credentials are taken from where the AWS CLI takes them. The
/// admin's password is asked for, or made up when standard input is no terminal; what is made up is printed once.
#[derive(Args)]
pub struct Bootstrap {
    /// The deployed stack's name
    #[arg(long)]
    stack: String,
    /// The organisation's id: letters, digits, `-`, `_`, `.`
    #[arg(long)]
    org: String,
    /// The admin's e-mail address
    #[arg(long, value_name = "EMAIL")]
    admin: String,
    /// The admin's name [default: the address]
    #[arg(long)]
    name: Option<String>,
    /// Read the admin's password from standard input
    #[arg(long)]
    password_stdin: bool,
    /// The client's id
    #[arg(long, default_value = "service")]
    client_id: String,
    /// Where the client may have people sent after they signed in; may be repeated
    #[arg(long, value_name = "URI")]
    redirect_uri: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The shortest password for an admin who has nothing else to prove who they are (NIST SP 800-63B-4 section 3.1.1.2).
const MIN_PASSWORD: usize = 15;
/// What an organisation's first client may do.
const SCOPES: &str = "openid profile email admin authorize events.write logs.write audit.read logs.read";

impl Bootstrap {
    /// Makes them and prints what signs them in.
    pub async fn run(self) -> Result<(), Failure> {
        let sdk = aws_config::load_defaults(BehaviorVersion::v2026_01_12()).await;
        let by = principal(&sdk).await?;
        let dynamodb = aws_sdk_dynamodb::Client::new(&sdk);
        let table = |name: &str| Table::new(dynamodb.clone(), format!("{}-{name}", self.stack));
        let entropy = Entropy::system();
        let store = Store::new(table("login"), Clock::system(), entropy.clone());

        let (password, made_up) = self.password(&entropy)?;
        let secret = entropy.token();
        let admin = self.admin(&entropy, password.clone());
        let subject = admin.id.clone();
        let made = login::admin::bootstrap(&store, &table("outbox"), &by, admin, self.client(&secret)).await;
        made.map_err(|error| {
            format!("{error}\n(the stack is `{}`; region and credentials are your AWS ones)", self.stack)
        })?;

        let shown = made_up.then(|| password.expose());
        if self.json {
            let client = json!({"client_id": self.client_id, "client_secret": secret});
            let admin = json!({"sub": subject, "email": self.admin, "password": shown});
            println!("{}", json!({"org": self.org, "admin": admin, "client": client}));
        } else {
            println!("organisation   {}", self.org);
            println!("admin          {}", self.admin);
            if let Some(password) = shown {
                println!("password       {password}");
            }
            println!("client         {}\nclient secret  {secret}", self.client_id);
            eprintln!("\nKeep these: they are not shown again.");
        }
        Ok(())
    }

    fn password(&self, entropy: &Entropy) -> Result<(Secret, bool), Failure> {
        use std::io::IsTerminal;
        let terminal = std::io::stdin().is_terminal();
        if !terminal && !self.password_stdin {
            return Ok((Secret::new(entropy.token()), true));
        }
        let password = crate::login::password()?;
        if password.expose().chars().count() < MIN_PASSWORD {
            return Err(format!("choose a password of at least {MIN_PASSWORD} characters").into());
        }
        // It can be done once: a slip of the finger must not be what is kept.
        if terminal && rpassword::prompt_password("Again: ")? != password.expose() {
            return Err("the two are not the same; try again".into());
        }
        Ok((password, false))
    }

    fn admin(&self, entropy: &Entropy, password: Secret) -> NewUser {
        NewUser {
            id: entropy.uuid_v7(Clock::system().now()).to_string(),
            email: self.admin.clone(),
            name: self.name.clone().unwrap_or_else(|| self.admin.clone()),
            password,
            org: self.org.clone(),
            roles: vec!["admin".into()],
        }
    }

    fn client(&self, secret: &str) -> NewClient {
        let mut grants = vec!["client_credentials".to_owned()];
        if !self.redirect_uri.is_empty() {
            grants.push("authorization_code".into());
        }
        NewClient {
            id: self.client_id.clone(),
            name: self.client_id.clone(),
            org: self.org.clone(),
            secret: Some(Secret::new(secret)),
            redirect_uris: self.redirect_uri.clone(),
            post_logout_redirect_uris: Vec::new(),
            grants,
            scopes: SCOPES.split(' ').map(Into::into).collect(),
            resources: Vec::new(),
        }
    }
}

/// Who the operator is to AWS: the audit log names them.
async fn principal(sdk: &SdkConfig) -> Result<String, Failure> {
    let identity = aws_sdk_sts::Client::new(sdk).get_caller_identity().send().await;
    let identity = identity.map_err(|error| {
        let cause = with_causes(&error);
        format!("AWS does not know you; check your credentials and region (`aws sts get-caller-identity`): {cause}")
    })?;
    identity.arn.ok_or_else(|| "AWS does not say who you are".into())
}
