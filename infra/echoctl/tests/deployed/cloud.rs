//! The cloud: MiniStack, and in front of the deployed API one fixed URL, as a custom domain gives it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri, header};
use axum::response::Response;
use echo_shared::aws::Aws;
use echo_shared::config::Env;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

pub const STACK: &str = "echo";
const BUILT: &str = ".aws-sam/build/template.yaml";

pub struct Cloud {
    pub endpoint: String,
    /// The issuer: the front's URL.
    pub url: String,
    /// The same front under another name.
    pub other_url: String,
    front: Arc<Front>,
    emulator: Child,
    directory: PathBuf,
}

struct Front {
    http: reqwest::Client,
    /// Where the API is, once it is deployed.
    target: OnceLock<String>,
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

impl Cloud {
    /// An empty account.
    pub async fn start() -> Self {
        let directory = std::env::temp_dir().join(format!("deployed-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let held = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = held.local_addr().unwrap().port();
        let endpoint = format!("http://127.0.0.1:{port}");
        let bin = root().join(".echo/ministack/bin");
        let path = format!("{}:{}", bin.display(), Env::process().optional("PATH").unwrap());
        let log = File::create(directory.join("log")).unwrap();
        // Held until here, where the emulator takes it.
        drop(held);
        let emulator = Command::new(bin.join("ministack"))
            .current_dir(&directory)
            .env("PATH", path)
            .envs([("BIND_HOST", "127.0.0.1"), ("MINISTACK_HOST", "localhost"), ("AUTH", "true")])
            .envs([("GATEWAY_PORT", port.to_string()), ("AWS_ENDPOINT_URL", endpoint.clone())])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("MiniStack is there; `./scripts/setup --deploy` installs it");
        let front = Arc::new(Front { http: client(), target: OnceLock::new() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (url, other_url) = (format!("http://localhost:{port}"), format!("http://127.0.0.1:{port}"));
        let router = Router::new().fallback(forward).with_state(Arc::clone(&front));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let cloud = Self { endpoint, url, other_url, front, emulator, directory };
        cloud.wait().await;
        cloud
    }

    async fn wait(&self) {
        let health = format!("{}/_ministack/health", self.endpoint);
        for _ in 0..300 {
            if self.front.http.get(&health).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("MiniStack does not start: {}", std::fs::read_to_string(self.directory.join("log")).unwrap());
    }

    /// The account's root.
    fn environment(&self) -> BTreeMap<&'static str, &str> {
        BTreeMap::from([
            ("AWS_ENDPOINT_URL", self.endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("SAM_CLI_TELEMETRY", "0"),
        ])
    }

    /// A command that speaks to this cloud.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(root()).stdin(Stdio::null()).kill_on_drop(true).envs(self.environment());
        command
    }

    /// A client of its DynamoDB.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let environment = self.environment();
        Env::from_fn(|key| environment.get(key).map(|value| (*value).to_owned())).read(Aws::read).unwrap().dynamodb()
    }

    /// `sam deploy` of what `sam build` left, as `samconfig.toml` has it.
    pub async fn deploy(&self) {
        self.deploy_template(Path::new(BUILT), &self.url).await;
    }

    /// `sam deploy` of the same with something changed.
    pub async fn upgrade(&self, issuer: &str, changes: &[(&str, &str)]) {
        let mut template = std::fs::read_to_string(root().join(BUILT)).unwrap();
        for (from, to) in changes {
            assert!(template.contains(from), "{from}");
            template = template.replace(from, to);
        }
        // Beside it, because it names the binaries by relative paths.
        let changed = root().join(BUILT).with_file_name("upgrade.yaml");
        std::fs::write(&changed, template).unwrap();
        self.deploy_template(&changed, issuer).await;
        std::fs::remove_file(changed).unwrap();
    }

    async fn deploy_template(&self, template: &Path, issuer: &str) {
        let issuer = format!("Issuer={issuer}");
        let output = self
            .command(".echo/sam/bin/sam")
            .args(["deploy", "--stack-name", STACK, "--no-progressbar", "--parameter-overrides", &issuer])
            .arg("--template-file")
            .arg(template)
            .arg("--config-file")
            .arg(root().join("samconfig.toml"))
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let log = std::fs::read_to_string(self.directory.join("log")).unwrap();
        let complaints: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
        assert!(output.status.success(), "{said}\n{}\n{complaints:#?}", String::from_utf8_lossy(&output.stderr));
        let outputs = self.command(".echo/sam/bin/sam");
        let outputs = json(outputs, &["list", "stack-outputs", "--stack-name", STACK, "--output", "json"]).await;
        let api = outputs.as_array().unwrap().iter().find(|output| output["OutputKey"] == "ApiId").unwrap();
        let api = api["OutputValue"].as_str().unwrap();
        self.front.target.get_or_init(|| format!("{}/_aws/execute-api/{api}/$default", self.endpoint));
    }

    /// What the emulator must be asked from outside: see `emulator.py`.
    pub async fn ask(&self, question: &str) -> Value {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deployed/emulator.py");
        json(self.command(".echo/test/bin/python"), &[&script.to_string_lossy(), STACK, question]).await
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        if let Some(pid) = self.emulator.id() {
            // The functions run in its group.
            let _ = std::process::Command::new("kill").args(["-s", "KILL", "--", &format!("-{pid}")]).status();
        }
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

/// Runs a command that prints JSON.
pub async fn json(mut command: Command, args: &[&str]) -> Value {
    let output = command.args(args).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stdout)))
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

async fn forward(
    State(front): State<Arc<Front>>,
    method: Method,
    uri: Uri,
    mut headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let target = format!("{}{path}", front.target.get().expect("it is deployed"));
    headers.remove(header::HOST);
    headers.remove(header::CONTENT_LENGTH);
    let answer = front.http.request(method, target).headers(headers).body(body).send().await.unwrap();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().remove(header::TRANSFER_ENCODING);
    *response.body_mut() = Body::from(answer.bytes().await.unwrap());
    response
}
