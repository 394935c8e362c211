//! The MySQL below the local SQS: a private MariaDB, or the server that `ECHO_MYSQL_URL` names.
//!
//! The private server listens on a socket in a directory that only its owner may enter, so its root needs no password.

mod install;
mod version;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPool, MySqlPoolOptions, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use url::Url;

use crate::process::{Child, Spec, StartError};
use install::Program;

/// Unix socket paths end here (`sun_path` of unix(7), less the closing zero).
const LONGEST_SOCKET_PATH: usize = 107;
/// Recovery after a crash may read a whole redo log first.
const START_PATIENCE: Duration = Duration::from_secs(120);
const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// Between two attempts to start a server that ended.
const RESTART_PAUSE: Duration = Duration::from_secs(2);
/// Enough for every mapping and caller of a laptop's stack, far below the server's limit.
const POOL: u32 = 24;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../mysql");

/// A MySQL server. Dropping a private one kills it; nothing acknowledged is lost by that.
pub struct Server {
    /// The schema that the user's URL names.
    named: Option<String>,
    options: MySqlConnectOptions,
    private: Option<Private>,
}

struct Private {
    spec: Spec,
    child: Mutex<Arc<Child>>,
    pid: watch::Sender<Option<u32>>,
    socket: PathBuf,
    // Released when this process ends, however it ends.
    _lock: File,
}

/// MySQL cannot be used. The text says what to do about it and never holds a password.
#[derive(Debug, thiserror::Error)]
pub enum MySqlError {
    /// No server program is installed.
    #[error(
        "no MariaDB or MySQL server found: install the package mariadb-server-core or set ECHO_MYSQL_URL to your own server"
    )]
    NotInstalled,
    /// Another process uses the data directory.
    #[error("{0} is in use by another running stack: stop that one, or choose another --state directory")]
    InUse(PathBuf),
    /// A file or directory cannot be used.
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    /// The runtime directory's path is too long for a socket.
    #[error("the socket path {0} is longer than 107 bytes: choose a shorter runtime directory")]
    LongPath(PathBuf),
    /// A new data directory could not be prepared.
    #[error("cannot prepare the data directory: {0}")]
    Install(String),
    /// The server program cannot be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The server ended, or did not get ready in time.
    #[error("the MySQL server {0}; its last lines:\n{1}")]
    Failed(&'static str, String),
    /// The server is too old.
    #[error("{0} is too old: Echo needs MySQL 8.0.13 or MariaDB 10.6; upgrade it, or use the private server")]
    TooOld(String),
    /// `ECHO_MYSQL_URL` is no such URL.
    #[error("ECHO_MYSQL_URL must look like mysql://user:password@host:3306/echo")]
    Url,
    /// The schema's name is not letters, digits and underscores.
    #[error("the schema name must consist of 1 to 64 letters, digits and underscores")]
    Schema,
    /// The server cannot be reached or refused a statement.
    #[error("MySQL: {0}")]
    Sql(#[from] sqlx::Error),
    /// The table could not be brought up to date.
    #[error("MySQL migration: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

impl Server {
    /// Starts a private server and waits until it accepts connections. `directory` holds its data, made when missing and
    /// kept between runs; `runtime` holds its socket, so keep that path short; `log` gets its output.
    ///
    /// A data directory that a crash left behind is recovered.
    ///
    /// # Errors
    /// When no server is installed, the directory is in use, or the server does not get ready.
    pub async fn start(directory: &Path, runtime: &Path, log: &Path) -> Result<Self, MySqlError> {
        let program = Program::find().await?;
        make_private(directory)?;
        make_private(runtime)?;
        let lock = lock(directory)?;
        let as_root = std::fs::metadata(runtime).is_ok_and(|runtime| runtime.uid() == 0);
        let socket = runtime.join("mysql.sock");
        if socket.as_os_str().len() > LONGEST_SOCKET_PATH {
            return Err(MySqlError::LongPath(socket));
        }
        let data = install::data_directory(&program, directory, as_root).await?;
        let spec = Spec {
            name: "mysql".into(),
            program: program.path.clone(),
            args: arguments(&program, &data, &socket, as_root),
            env: BTreeMap::new(),
            directory: None,
            log: log.to_owned(),
            listener: None,
        };
        // The socket's directory is the password.
        let options = MySqlConnectOptions::new().socket(&socket).username("root").ssl_mode(MySqlSslMode::Disabled);
        let child = launch(&spec, &options, &socket).await?;
        let (pid, _) = watch::channel(Some(child.pid()));
        let private = Private { spec, child: Mutex::new(Arc::new(child)), pid, socket, _lock: lock };
        Ok(Self { named: None, options, private: Some(private) })
    }

    /// Uses a server of the user's own, such as `mysql://user:password@host:3306/echo`.
    ///
    /// # Errors
    /// When `url` is no such URL or nothing answers there. The text never shows the URL.
    pub async fn external(url: &str) -> Result<Self, MySqlError> {
        let mut url = Url::parse(url).map_err(|_| MySqlError::Url)?;
        if !matches!(url.scheme(), "mysql" | "mariadb") || url.host_str().is_none() {
            return Err(MySqlError::Url);
        }
        let named = Some(url.path().trim_matches('/').to_owned()).filter(|name| !name.is_empty());
        // The schema may not exist yet, so the first connection is made without it.
        url.set_path("");
        let options = MySqlConnectOptions::from_url(&url).map_err(|_| MySqlError::Url)?;
        MySqlConnection::connect_with(&options).await?.close().await?;
        Ok(Self { named, options, private: None })
    }

    /// Opens a schema, created and migrated where needed: `schema`, or the one that the user's URL names.
    ///
    /// # Errors
    /// When the server cannot be reached, is too old, or refuses the migration.
    pub async fn database(&self, schema: &str) -> Result<MySqlPool, MySqlError> {
        open(self.options.clone(), self.named.as_deref().unwrap_or(schema)).await
    }

    /// A private server's process id.
    pub fn pid(&self) -> Option<u32> {
        self.private.as_ref().map(|private| private.child().pid())
    }

    /// The same, as it changes.
    pub fn pids(&self) -> watch::Receiver<Option<u32>> {
        let none = || watch::channel(None).1;
        self.private.as_ref().map_or_else(none, |private| private.pid.subscribe())
    }

    /// A private server's socket.
    pub fn socket(&self) -> Option<&Path> {
        self.private.as_ref().map(|private| private.socket.as_path())
    }

    /// Waits until a private server has ended by itself; its last lines. Somebody else's server is not watched.
    pub async fn ended(&self) -> String {
        match &self.private {
            Some(private) => {
                let child = private.child();
                child.wait().await;
                child.last_lines()
            }
            None => std::future::pending().await,
        }
    }

    /// Starts a private server again whenever it has ended by itself, for as long as it takes: a disk that was full may
    /// have room again. Clients connect anew by themselves. Never returns.
    pub async fn keep_running(&self) {
        let Some(private) = &self.private else { return std::future::pending().await };
        loop {
            let last_lines = self.ended().await;
            tracing::error!(last_lines, "MySQL ended; it is started again");
            private.pid.send_replace(None);
            let child = loop {
                match launch(&private.spec, &self.options, &private.socket).await {
                    Ok(child) => break child,
                    Err(error) => tracing::error!(%error, "MySQL does not start; trying again"),
                }
                sleep(RESTART_PAUSE).await;
            };
            let pid = child.pid();
            *private.child.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(child);
            // Last: whoever is told of the new process finds it.
            private.pid.send_replace(Some(pid));
        }
    }

    /// Ends a private server in an orderly way; after 20 seconds by force.
    pub async fn stop(&self) {
        if let Some(private) = &self.private {
            private.child().stop(STOP_PATIENCE).await;
        }
    }
}

impl Private {
    fn child(&self) -> Arc<Child> {
        Arc::clone(&self.child.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn launch(spec: &Spec, options: &MySqlConnectOptions, socket: &Path) -> Result<Child, MySqlError> {
    // Left by a server that was killed.
    let _ = std::fs::remove_file(socket);
    let child = Child::start(spec).await?;
    ready(&child, options).await?;
    Ok(child)
}

async fn ready(child: &Child, options: &MySqlConnectOptions) -> Result<(), MySqlError> {
    let deadline = Instant::now() + START_PATIENCE;
    let mut pause = Duration::from_millis(5);
    loop {
        if child.exit_status().is_some() {
            return Err(MySqlError::Failed("ended at its start", child.last_lines()));
        }
        if let Ok(connection) = MySqlConnection::connect_with(options).await {
            let _ = connection.close().await;
            return Ok(());
        }
        if Instant::now() > deadline {
            child.kill().await;
            return Err(MySqlError::Failed("did not get ready", child.last_lines()));
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

async fn open(options: MySqlConnectOptions, schema: &str) -> Result<MySqlPool, MySqlError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if schema.is_empty() || schema.len() > 64 || !schema.chars().all(plain) {
        return Err(MySqlError::Schema);
    }
    let options = options.disable_statement_logging();
    let mut connection = MySqlConnection::connect_with(&options).await?;
    let server: String = sqlx::query_scalar("SELECT VERSION()").fetch_one(&mut connection).await?;
    if !version::is_supported(&server) {
        return Err(MySqlError::TooOld(server));
    }
    let create = format!("CREATE DATABASE IF NOT EXISTS `{schema}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
    connection.execute(AssertSqlSafe(create)).await?;
    let _ = connection.close().await;
    let pool = pool(options.database(schema));
    MIGRATIONS.run(&pool).await?;
    Ok(pool)
}

/// A pool whose connections read what is committed: the default level's gap locks make sends and claims deadlock.
fn pool(options: MySqlConnectOptions) -> MySqlPool {
    MySqlPoolOptions::new()
        .max_connections(POOL)
        .acquire_timeout(Duration::from_secs(3))
        .after_connect(|connection, _| {
            Box::pin(async move {
                connection.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
                connection.execute("SET SESSION innodb_lock_wait_timeout = 5").await?;
                // The ids of the rows of one INSERT follow each other, whatever a cluster's servers are told.
                connection.execute("SET SESSION auto_increment_increment = 1, auto_increment_offset = 1").await?;
                // A statement by itself is a transaction, whatever a server is told.
                connection.execute("SET SESSION autocommit = 1").await?;
                Ok(())
            })
        })
        .connect_lazy_with(options)
}

/// Durable at every commit, small otherwise, reachable through the socket alone.
fn arguments(program: &Program, data: &Path, socket: &Path, as_root: bool) -> Vec<String> {
    let mut arguments = vec![
        "--no-defaults".into(),
        format!("--datadir={}", data.display()),
        format!("--tmpdir={}", install::temporary(data).display()),
        format!("--socket={}", socket.display()),
        format!("--pid-file={}", socket.with_extension("pid").display()),
    ];
    let fixed = [
        "--skip-networking",
        "--skip-log-bin",
        "--innodb-flush-log-at-trx-commit=1",
        "--innodb-doublewrite=1",
        "--transaction-isolation=READ-COMMITTED",
        "--default-time-zone=+00:00",
        "--character-set-server=utf8mb4",
        "--performance-schema=OFF",
        "--innodb-buffer-pool-size=64M",
        "--innodb-log-buffer-size=8M",
        "--key-buffer-size=1M",
        "--max-connections=400",
        "--max-allowed-packet=64M",
        "--table-open-cache=256",
        "--thread-cache-size=16",
    ];
    let own: &[&str] = if program.mariadb {
        &["--aria-pagecache-buffer-size=1M", "--query-cache-size=0", "--log-warnings=1"]
    } else {
        &["--mysqlx=OFF", "--secure-file-priv=NULL", "--log-error-verbosity=2"]
    };
    arguments.extend(fixed.iter().chain(own).map(|&argument| argument.to_owned()));
    if as_root {
        arguments.push("--user=root".into());
    }
    arguments
}

/// Makes a directory, if needed, that only its owner may enter.
fn make_private(directory: &Path) -> Result<(), MySqlError> {
    let fail = |error| MySqlError::File(directory.to_owned(), error);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(fail)?;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700)).map_err(fail)
}

/// One server per directory: a second one is told so at once, not after the storage engine's own minutes of patience.
fn lock(directory: &Path) -> Result<File, MySqlError> {
    let path = directory.join("lock");
    let file = File::create(&path).map_err(|error| MySqlError::File(path.clone(), error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(MySqlError::InUse(directory.to_owned())),
        Err(TryLockError::Error(error)) => Err(MySqlError::File(path, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::{MySqlError, Server};

    #[tokio::test]
    async fn a_wrong_url_is_named_without_its_password() {
        for url in ["", "postgres://u:secret@h/db", "mysql:nonsense"] {
            let error = Server::external(url).await.err().unwrap();
            assert!(matches!(error, MySqlError::Url), "{error:?}");
            assert!(!format!("{error} {error:?}").contains("secret"));
        }
        let error = Server::external("mysql://u:secret@127.0.0.1:1/echo").await.err().unwrap();
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
}
