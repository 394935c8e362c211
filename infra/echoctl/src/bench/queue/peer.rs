//! The peer: graphile-worker on a PostgreSQL of its own whose every commit is on disk before it returns.
//!
//! `peer.mjs` holds its settings, its worker and its clients.

use std::collections::BTreeMap;
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use echo_local::process::{Child, Spec, find_program};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::Failure;

/// Where Debian keeps PostgreSQL, one folder a version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// Debian's user for PostgreSQL, which refuses to run as root.
const USER: &str = "postgres";
const SCRIPT: &str = "infra/echoctl/src/bench/queue/peer.mjs";
const START_PATIENCE: Duration = Duration::from_secs(60);
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// What the peer did.
pub struct Peer {
    /// Name, versions and settings.
    pub name: String,
    /// Messages a second.
    pub per_s: f64,
}

/// What the peer consists of.
pub struct Installed {
    node: PathBuf,
    modules: PathBuf,
    script: PathBuf,
    /// The folder of `initdb` and `postgres`.
    postgres: PathBuf,
}

/// Looks for the peer.
///
/// # Errors
/// When a part is missing.
pub fn find(root: &Path) -> Result<Installed, Failure> {
    let modules = root.join(".echo/peer");
    let installed = modules.join("installed").is_file();
    match (find_program("node"), postgres()) {
        (Some(node), Some(postgres)) if installed => {
            Ok(Installed { node, modules, script: root.join(SCRIPT), postgres })
        }
        _ => Err("the peer is not installed: run ./scripts/bench queue, or give --no-peer".into()),
    }
}

/// PostgreSQL's programs: those in `PATH`, or Debian's newest.
fn postgres() -> Option<PathBuf> {
    if let Some(initdb) = find_program("initdb") {
        return initdb.parent().map(Path::to_owned);
    }
    let versions = std::fs::read_dir(DEBIAN).ok()?.flatten();
    let numbered = versions.filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())));
    let installed = numbered.map(|(version, path)| (version, path.join("bin")));
    installed.filter(|(_, path)| path.join("initdb").is_file()).max().map(|(_, path)| path)
}

/// Runs the peer beside `directory`.
///
/// # Errors
/// When it is not installed, does not start or fails.
pub async fn run(root: &Path, directory: &Path, time: Duration) -> Result<Peer, Failure> {
    let installed = find(root)?;
    let place = directory.with_file_name("peer");
    let log = directory.join("logs/peer.log");
    let as_root = std::fs::metadata(directory)?.uid() == 0;
    let cluster = Cluster { installed, place, log, as_root };
    let Some(above) = directory.parent().filter(|_| as_root) else {
        return cluster.run(time).await;
    };
    // PostgreSQL's user must get through; what is inside stays closed.
    set_permissions(above, Permissions::from_mode(0o711))?;
    let result = cluster.run(time).await;
    set_permissions(above, Permissions::from_mode(0o700))?;
    result
}

/// A private PostgreSQL, reachable through a socket in a directory that only its owner may enter.
struct Cluster {
    installed: Installed,
    place: PathBuf,
    log: PathBuf,
    as_root: bool,
}

impl Cluster {
    async fn run(&self, time: Duration) -> Result<Peer, Failure> {
        self.install().await?;
        let server = Child::start(&self.server()).await?;
        let result = match self.ready(&server).await {
            Ok(()) => self.measure(time).await,
            Err(error) => Err(error),
        };
        server.stop(STOP_PATIENCE).await;
        result
    }

    fn spec(&self, program: &Path, args: &[&str]) -> Spec {
        Spec {
            name: "the peer".into(),
            program: program.to_owned(),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            env: BTreeMap::new(),
            directory: None,
            log: self.log.clone(),
            listener: None,
        }
    }

    /// One of PostgreSQL's programs, as its user where we are root.
    fn postgres(&self, program: &str, args: &[&str]) -> Spec {
        let program = self.installed.postgres.join(program);
        let mut spec = self.spec(&program, args);
        if self.as_root {
            // The kernel forgets the first `--pdeathsig` when the user changes.
            let user = ["--reuid", USER, "--regid", USER, "--init-groups", "--pdeathsig", "KILL", "--"];
            let own = [program.display().to_string()].into_iter().chain(spec.args);
            spec.args = user.iter().map(|&arg| arg.to_owned()).chain(own).collect();
            spec.program = "setpriv".into();
        }
        Spec { directory: Some(self.place.clone()), ..spec }
    }

    /// Makes an empty database cluster.
    async fn install(&self) -> Result<(), Failure> {
        let place = self.place.display().to_string();
        let mut args = vec!["-d", "-m", "700"];
        if self.as_root {
            args.extend(["-o", USER]);
        }
        args.push(&place);
        finish(&self.spec(Path::new("install"), &args)).await?;
        let args = ["-D", "data", "-U", USER, "--auth=trust", "--no-locale", "--encoding=UTF8"];
        finish(&self.postgres("initdb", &args)).await
    }

    fn server(&self) -> Spec {
        let place = self.place.display().to_string();
        let data = self.place.join("data").display().to_string();
        let settings = ["-c", "listen_addresses=", "-c", "port=5432", "-c", "fsync=on", "-c", "synchronous_commit=on"];
        self.postgres("postgres", &[&["-D", &data, "-k", &place], settings.as_slice()].concat())
    }

    async fn ready(&self, server: &Child) -> Result<(), Failure> {
        let deadline = Instant::now() + START_PATIENCE;
        let state = self.place.join("data/postmaster.pid");
        while server.exit_status().is_none() && Instant::now() < deadline {
            if std::fs::read_to_string(&state).is_ok_and(|state| state.lines().any(|line| line.trim() == "ready")) {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Err(format!("PostgreSQL did not start; its last lines:\n{}", server.last_lines()).into())
    }

    async fn measure(&self, time: Duration) -> Result<Peer, Failure> {
        let Installed { node, modules, script, .. } = &self.installed;
        let result = self.log.with_file_name("peer.json");
        let paths = [script, modules, &self.place, &result].map(|path| path.display().to_string());
        let [script, modules, place, output] = &paths;
        let mut spec = self.spec(node, &[script, modules, place, &time.as_secs().to_string(), output]);
        spec.env = BTreeMap::from([("NODE_ENV".into(), "production".into())]);
        finish(&spec).await?;
        let answer: Value = serde_json::from_str(&std::fs::read_to_string(result)?)?;
        match (answer.get("name").and_then(Value::as_str), answer.get("per_s").and_then(Value::as_f64)) {
            (Some(name), Some(per_s)) => Ok(Peer { name: name.into(), per_s }),
            _ => Err("the peer reported nothing".into()),
        }
    }
}

/// Runs a program to its end.
async fn finish(spec: &Spec) -> Result<(), Failure> {
    let child = Child::start(spec).await?;
    match child.wait().await {
        Some(status) if status.success() => Ok(()),
        _ => {
            // Its last lines may still be on their way.
            sleep(Duration::from_millis(100)).await;
            Err(format!("{} failed; the last lines:\n{}", spec.program.display(), child.last_lines()).into())
        }
    }
}
