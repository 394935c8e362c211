//! A function's process under a Runtime API of its own, so that every step of its life can be timed.
//!
//! The local stack's runtime keeps instances alive and hands work to whichever is idle. Here one process gets one event
//! at a time, and what counts is when it asks and when it answers.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use echo_local::spec::FunctionSpec;
use echo_shared::clock::Clock;
use http::StatusCode;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::guard::Guard;
use crate::Failure;

/// No step takes longer, on any machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Lines of its log that a failure shows.
const LAST_LINES: usize = 10;

/// A function that can be started.
#[derive(Clone)]
pub struct Function {
    /// What the template says about it.
    pub spec: FunctionSpec,
    /// Its binary.
    pub program: PathBuf,
    /// The environment that Lambda would give it, its own included.
    pub environment: BTreeMap<String, String>,
    /// The file that gets its output.
    pub log: PathBuf,
}

/// A running process of a function. Dropping it kills the process.
pub struct Instance {
    name: String,
    log: PathBuf,
    child: Child,
    pid: u32,
    begun: Instant,
    polled: watch::Receiver<Option<Instant>>,
    events: mpsc::UnboundedSender<Bytes>,
    answers: mpsc::UnboundedReceiver<Answered>,
    _server: JoinSet<()>,
}

/// A function's answer to one event.
pub struct Answer {
    /// What it answered.
    pub body: Bytes,
    /// The time from the event to the answer.
    pub took: Duration,
    /// The time from the start of the process to the answer.
    pub since_start: Duration,
}

struct Answered {
    body: Result<Bytes, Bytes>,
    handed: Instant,
    at: Instant,
}

struct Api {
    timeout: Duration,
    clock: Clock,
    polled: watch::Sender<Option<Instant>>,
    events: tokio::sync::Mutex<mpsc::UnboundedReceiver<Bytes>>,
    handed: Mutex<Instant>,
    answers: mpsc::UnboundedSender<Answered>,
}

impl Instance {
    /// Starts a process; `waiting` is there before it asks.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn start(function: &Function, guard: &Guard, waiting: Option<Bytes>) -> Result<Self, Failure> {
        let (events, pending) = mpsc::unbounded_channel();
        let (polled_at, polled) = watch::channel(None);
        let (answered, answers) = mpsc::unbounded_channel();
        if let Some(event) = waiting {
            events.send(event)?;
        }
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let mut command = command(function, &listener.local_addr()?.to_string())?;
        let api = Api {
            timeout: function.spec.timeout,
            clock: Clock::system(),
            polled: polled_at,
            events: tokio::sync::Mutex::new(pending),
            handed: Mutex::new(Instant::now()),
            answers: answered,
        };
        let mut server = JoinSet::new();
        server.spawn(serve(listener, api));
        command.as_std_mut().process_group(guard.group());
        let begun = Instant::now();
        let child = command.spawn().map_err(|error| format!("cannot start {}: {error}", function.program.display()))?;
        let (name, log, pid) = (function.spec.name.clone(), function.log.clone(), child.id().unwrap_or_default());
        Ok(Self { name, log, child, pid, begun, polled, events, answers, _server: server })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The time from the start of the process to its first question for an event; waits for it.
    ///
    /// # Errors
    /// When the process ends before.
    pub async fn init(&mut self) -> Result<Duration, Failure> {
        let polled = tokio::select! {
            polled = self.polled.wait_for(Option::is_some) => polled.ok().and_then(|moment| *moment),
            _ = self.child.wait() => None,
            () = tokio::time::sleep(PATIENCE) => None,
        };
        polled.map(|moment| moment - self.begun).ok_or_else(|| self.failed("never asked for an event"))
    }

    /// Hands over an event and waits for the answer.
    ///
    /// # Errors
    /// When the function fails or its process ends.
    pub async fn invoke(&mut self, event: Bytes) -> Result<Answer, Failure> {
        self.events.send(event)?;
        self.answer().await
    }

    /// Waits for the answer to an event handed over before.
    ///
    /// # Errors
    /// When the function fails or its process ends.
    pub async fn answer(&mut self) -> Result<Answer, Failure> {
        let answered = tokio::select! {
            answered = self.answers.recv() => answered,
            _ = self.child.wait() => None,
            () = tokio::time::sleep(PATIENCE) => None,
        };
        let Answered { body, handed, at } = answered.ok_or_else(|| self.failed("did not answer"))?;
        let body = body.map_err(|error| self.failed(&format!("failed: {}", String::from_utf8_lossy(&error))))?;
        Ok(Answer { body, took: at - handed, since_start: at - self.begun })
    }

    /// Ends the process and waits until it is gone, so that it takes no time from the next one.
    pub async fn stop(mut self) {
        let _ = self.child.kill().await;
    }

    fn failed(&self, what: &str) -> Failure {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.iter().skip(lines.len().saturating_sub(LAST_LINES)).copied().collect::<Vec<_>>();
        format!("{} {what}; its last lines:\n{}", self.name, last.join("\n")).into()
    }
}

/// Nothing of our own environment reaches the function: it finds what Lambda would give it.
fn command(function: &Function, api: &str) -> Result<Command, Failure> {
    let log = OpenOptions::new().create(true).append(true).open(&function.log)?;
    let mut command = Command::new(&function.program);
    command.env_clear().envs(&function.environment).env("AWS_LAMBDA_RUNTIME_API", api).kill_on_drop(true);
    command.current_dir(function.log.parent().unwrap_or(Path::new("/")));
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(command)
}

async fn serve(listener: TcpListener, api: Api) {
    let routes = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .with_state(Arc::new(api));
    let _ = axum::serve(listener, routes).await;
}

async fn next(State(api): State<Arc<Api>>) -> Response {
    let now = Instant::now();
    api.polled.send_if_modified(|polled| polled.is_none() && polled.replace(now).is_none());
    let Some(event) = api.events.lock().await.recv().await else { return StatusCode::GONE.into_response() };
    let deadline = (api.clock.now() + api.timeout).unix_timestamp_nanos() / 1_000_000;
    *api.handed.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    let headers = [
        ("lambda-runtime-aws-request-id", "bench".to_owned()),
        ("lambda-runtime-deadline-ms", deadline.to_string()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:000000000000:function:bench".to_owned()),
    ];
    (headers, event).into_response()
}

async fn response(State(api): State<Arc<Api>>, body: Bytes) -> StatusCode {
    take(&api, Ok(body))
}

async fn error(State(api): State<Arc<Api>>, body: Bytes) -> StatusCode {
    take(&api, Err(body))
}

fn take(api: &Api, body: Result<Bytes, Bytes>) -> StatusCode {
    let at = Instant::now();
    let handed = *api.handed.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = api.answers.send(Answered { body, handed, at });
    StatusCode::ACCEPTED
}
