//! Prebuilt function binaries, started, scaled, supervised and timed.
//!
//! As in Lambda, an instance works on one invocation at a time; an invocation that finds no idle instance starts
//! another, up to [`MAX_INSTANCES`]; one that exceeds the function's timeout ends its instance.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use echo_shared::clock::Clock;
use echo_shared::entropy::Entropy;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use super::runtime_api;
use super::{Invoke, InvokeError};
use crate::process::{Child, Listener, Spec};
use crate::spec::FunctionSpec;

/// The most processes of one function.
pub const MAX_INSTANCES: usize = 4;
/// An instance that ends sooner than this never got to work.
const EARLY: Duration = Duration::from_secs(2);

/// Where and how functions are started.
#[derive(Clone)]
pub struct Options {
    /// Where `cargo lambda build` puts functions: a folder for each, with the binary `bootstrap` in it.
    pub binaries: PathBuf,
    /// The folder for their logs.
    pub logs: PathBuf,
    /// Environment that every function gets.
    pub environment: BTreeMap<String, String>,
    /// Deadlines and invocation ids.
    pub clock: Clock,
    /// Invocation ids.
    pub entropy: Entropy,
    /// Who is told every line that the functions write.
    pub listener: Option<Listener>,
}

/// A process of a function, for whoever keeps the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The function's name.
    pub function: String,
    /// The process.
    pub pid: u32,
}

/// Runs functions.
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

pub(super) struct Inner {
    functions: HashMap<String, Function>,
    options: Options,
    base: String,
    running: watch::Sender<Vec<Running>>,
    stopped: watch::Sender<bool>,
}

struct Function {
    spec: FunctionSpec,
    state: Mutex<State>,
    work: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    instances: HashMap<u64, Instance>,
    next_instance: u64,
}

#[derive(Default)]
struct Instance {
    /// `None` while the process is being started.
    child: Option<Arc<Child>>,
    current: Option<Job>,
}

/// An invocation as an instance gets it.
pub(super) struct Handed {
    pub id: String,
    pub payload: Bytes,
    pub deadline: OffsetDateTime,
}

/// One invocation on its way.
struct Job {
    id: String,
    payload: Bytes,
    answer: oneshot::Sender<Result<Bytes, InvokeError>>,
}

impl Function {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Copies a function's binary from one folder of functions to another; returns where it is now. Whoever runs a copy
/// does not stand in the way of the next build: a running binary cannot be written.
///
/// # Errors
/// When it cannot be copied.
pub fn copy_binary(from: &Path, name: &str, to: &Path) -> std::io::Result<PathBuf> {
    let folder = to.join(name);
    std::fs::create_dir_all(&folder)?;
    let copy = folder.join("bootstrap");
    std::fs::copy(from.join(name).join("bootstrap"), &copy)?;
    Ok(copy)
}

impl Runtime {
    /// Serves the Runtime API on loopback and starts one instance of each function.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(functions: &BTreeMap<String, FunctionSpec>, options: Options) -> std::io::Result<Self> {
        let socket = TcpListener::bind(("127.0.0.1", 0)).await?;
        let base = socket.local_addr()?.to_string();
        let functions = functions.values().map(|spec| {
            let function = Function { spec: spec.clone(), state: Mutex::default(), work: Notify::new() };
            (spec.name.clone(), function)
        });
        let inner = Inner {
            functions: functions.collect(),
            options,
            base,
            running: watch::Sender::default(),
            stopped: watch::Sender::default(),
        };
        let runtime = Self(Arc::new(inner));
        tokio::spawn(runtime_api::serve(socket, Arc::clone(&runtime.0), runtime.0.stopped.subscribe()));
        for name in runtime.0.functions.keys() {
            runtime.0.add_instance(name);
        }
        Ok(runtime)
    }

    /// Where functions are invoked, as Lambda's API is.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.0.base)
    }

    /// The processes, as they come and go.
    pub fn running(&self) -> watch::Receiver<Vec<Running>> {
        self.0.running.subscribe()
    }

    /// Ends all instances.
    pub async fn stop(&self) {
        self.0.stopped.send_replace(true);
        for function in self.0.functions.values() {
            let children: Vec<Arc<Child>> =
                function.state().instances.values().filter_map(|instance| instance.child.clone()).collect();
            for child in children {
                child.kill().await;
            }
        }
    }
}

impl Invoke for Runtime {
    async fn invoke(&self, function: &str, payload: Bytes) -> Result<Bytes, InvokeError> {
        self.0.invoke(function, payload).await
    }
}

impl Inner {
    pub(super) async fn invoke(self: &Arc<Self>, name: &str, payload: Bytes) -> Result<Bytes, InvokeError> {
        let unknown = || InvokeError::Unavailable(format!("no function `{name}`"));
        let function = self.functions.get(name).ok_or_else(unknown)?;
        let (answer, answered) = oneshot::channel();
        let scale = {
            let mut state = function.state();
            state.waiting.push_back(Job {
                id: self.options.entropy.uuid_v7(self.options.clock.now()).to_string(),
                payload,
                answer,
            });
            let idle = state.instances.values().filter(|instance| instance.current.is_none()).count();
            state.waiting.len() > idle && state.instances.len() < MAX_INSTANCES
        };
        function.work.notify_one();
        if scale {
            self.add_instance(name);
        }
        answered.await.unwrap_or_else(|_| Err(InvokeError::Unavailable("Echo is stopping".into())))
    }

    /// Hands the next job to an instance; waits for one.
    pub(super) async fn next(self: &Arc<Self>, name: &str, instance: u64) -> Option<Handed> {
        let function = self.functions.get(name)?;
        let mut stopped = self.stopped.subscribe();
        loop {
            let work = function.work.notified();
            if let Some((id, payload)) = take(function, instance)? {
                self.limit(name, instance, id.clone(), function.spec.timeout);
                let deadline = self.options.clock.now() + function.spec.timeout;
                return Some(Handed { id, payload, deadline });
            }
            tokio::select! {
                () = work => {}
                _ = stopped.wait_for(|stop| *stop) => return None,
            }
        }
    }

    /// Takes the answer of an instance; whether it was waited for.
    pub(super) fn answer(&self, name: &str, instance: u64, id: &str, answer: Result<Bytes, InvokeError>) -> bool {
        let Some(function) = self.functions.get(name) else { return false };
        let job = {
            let mut state = function.state();
            let Some(instance) = state.instances.get_mut(&instance) else { return false };
            instance.current.take_if(|job| job.id == id)
        };
        job.is_some_and(|job| job.answer.send(answer).is_ok())
    }

    /// Ends the instance when the job it now has takes too long.
    fn limit(self: &Arc<Self>, name: &str, instance: u64, id: String, timeout: Duration) {
        let (inner, name) = (Arc::clone(self), name.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep(timeout).await;
            let Some(function) = inner.functions.get(&name) else { return };
            let child = {
                let state = function.state();
                let late = state.instances.get(&instance);
                late.filter(|late| late.current.as_ref().is_some_and(|job| job.id == id)).and_then(|l| l.child.clone())
            };
            if let Some(child) = child {
                inner.answer(&name, instance, &id, Err(InvokeError::Timeout));
                tracing::error!(function = name, ?timeout, "function timed out; its instance is ended");
                child.kill().await;
            }
        });
    }

    fn add_instance(self: &Arc<Self>, name: &str) {
        let Some(function) = self.functions.get(name) else { return };
        let instance = {
            let mut state = function.state();
            if state.instances.len() >= MAX_INSTANCES || *self.stopped.borrow() {
                return;
            }
            state.next_instance += 1;
            let id = state.next_instance;
            state.instances.insert(id, Instance::default());
            id
        };
        tokio::spawn(Arc::clone(self).supervise(name.to_owned(), instance));
    }

    /// An instance from its start to its end; then another, as long as the function has none.
    async fn supervise(self: Arc<Self>, name: String, instance: u64) {
        let Some(function) = self.functions.get(&name) else { return };
        let begun = Instant::now();
        let spec = self.process(&function.spec, instance);
        let ended = match Child::start(&spec).await {
            Err(error) => error.to_string(),
            Ok(child) => {
                let child = Arc::new(child);
                if let Some(known) = function.state().instances.get_mut(&instance) {
                    known.child = Some(Arc::clone(&child));
                }
                self.publish_running();
                // `stop` may have looked before the child was there.
                if *self.stopped.borrow() {
                    child.kill().await;
                }
                let status = child.wait().await.map_or_else(|| "unknown".into(), |status| status.to_string());
                format!("{status}\n{}", child.last_lines())
            }
        };
        let early = begun.elapsed() < EARLY;
        let abandoned = {
            let mut state = function.state();
            let gone = state.instances.remove(&instance);
            let mut abandoned: Vec<Job> = gone.and_then(|gone| gone.current).into_iter().collect();
            if early && state.instances.is_empty() {
                abandoned.extend(state.waiting.drain(..));
            }
            abandoned
        };
        self.publish_running();
        for job in abandoned {
            let _ = job.answer.send(Err(InvokeError::Crashed(ended.clone())));
        }
        if *self.stopped.borrow() {
            return;
        }
        tracing::error!(function = name, "an instance ended: {ended}");
        if early {
            tokio::time::sleep(EARLY).await;
        }
        if function.state().instances.is_empty() {
            self.add_instance(&name);
        }
    }

    fn process(&self, spec: &FunctionSpec, instance: u64) -> Spec {
        let mut env = self.options.environment.clone();
        env.extend(spec.environment.clone());
        env.extend([
            ("AWS_LAMBDA_RUNTIME_API".into(), format!("http://{}/{}/{instance}", self.base, spec.name)),
            ("AWS_LAMBDA_FUNCTION_NAME".into(), spec.name.clone()),
            ("AWS_LAMBDA_FUNCTION_VERSION".into(), "$LATEST".into()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE".into(), spec.memory.to_string()),
            ("AWS_LAMBDA_LOG_FORMAT".into(), "JSON".into()),
        ]);
        Spec {
            name: spec.name.clone(),
            program: self.options.binaries.join(&spec.name).join("bootstrap"),
            args: Vec::new(),
            env,
            directory: None,
            log: self.options.logs.join(format!("{}.log", spec.name)),
            listener: self.options.listener.clone(),
        }
    }

    fn publish_running(&self) {
        let mut running = Vec::new();
        for (name, function) in &self.functions {
            let state = function.state();
            let children = state.instances.values().filter_map(|instance| instance.child.as_ref());
            running.extend(children.map(|child| Running { function: name.clone(), pid: child.pid() }));
        }
        self.running.send_replace(running);
    }
}

/// The oldest job somebody still waits for, now the instance's; `None` outside when the instance is gone.
fn take(function: &Function, instance: u64) -> Option<Option<(String, Bytes)>> {
    let mut state = function.state();
    let State { waiting, instances, .. } = &mut *state;
    let instance = instances.get_mut(&instance)?;
    while let Some(job) = waiting.pop_front() {
        if !job.answer.is_closed() {
            let taken = (job.id.clone(), job.payload.clone());
            instance.current = Some(job);
            return Some(Some(taken));
        }
    }
    Some(None)
}
