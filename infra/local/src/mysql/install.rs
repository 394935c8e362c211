//! Prepares a data directory, once.
//!
//! The script `mariadb-install-db` needs a program from another package, so the server's own bootstrap mode is fed with
//! the same statements directly.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::MySqlError;
use crate::process::find_program;

/// What `mariadb-install-db --auth-root-authentication-method=normal --skip-test-db` says first. A statement per line.
const PREAMBLE: &str = "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\nSET @skip_auth_anonymous=1;\n";

/// The server program.
pub struct Program {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it is MariaDB's, not Oracle's.
    pub mariadb: bool,
}

impl Program {
    /// Looks for MariaDB first.
    pub async fn find() -> Result<Self, MySqlError> {
        let path = find_program("mariadbd").or_else(|| find_program("mysqld")).ok_or(MySqlError::NotInstalled)?;
        let version = Command::new(&path).arg("--version").output().await;
        let version = version.map_err(|error| MySqlError::File(path.clone(), error))?.stdout;
        Ok(Self { mariadb: String::from_utf8_lossy(&version).contains("MariaDB"), path })
    }
}

/// The data directory below `directory`, prepared if it is not there yet.
///
/// It is built beside its place and moved there whole: one that was cut off half-way is never taken for a good one.
pub async fn data_directory(program: &Program, directory: &Path, as_root: bool) -> Result<PathBuf, MySqlError> {
    let data = directory.join("data");
    let temporary = temporary(&data);
    std::fs::create_dir_all(&temporary).map_err(|error| MySqlError::File(temporary, error))?;
    if data.is_dir() {
        return Ok(data);
    }
    let new = directory.join("data.new");
    let fail = |error| MySqlError::File(new.clone(), error);
    if new.exists() {
        std::fs::remove_dir_all(&new).map_err(fail)?;
    }
    std::fs::DirBuilder::new().mode(0o700).create(&new).map_err(fail)?;
    initialise(program, &new, as_root).await?;
    std::fs::rename(&new, &data).map_err(fail)?;
    Ok(data)
}

/// The server's own temporary directory, beside its data: a server that starts removes what it takes for its
/// predecessor's temporary tables, and in `/tmp` they may be a neighbour's.
pub fn temporary(data: &Path) -> PathBuf {
    data.with_file_name("tmp")
}

async fn initialise(program: &Program, data: &Path, as_root: bool) -> Result<(), MySqlError> {
    let mut command = Command::new(&program.path);
    command.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
    command.arg(format!("--tmpdir={}", temporary(data).display()));
    if as_root {
        command.arg("--user=root");
    }
    let statements = if program.mariadb {
        command.args(["--bootstrap", "--skip-networking", "--innodb-buffer-pool-size=64M", "--log-warnings=0"]);
        system_tables(&program.path)?
    } else {
        command.arg("--initialize-insecure");
        String::new()
    };
    // It ends with its input, so also with us.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let fail = |error: std::io::Error| MySqlError::Install(error.to_string());
    let mut child = command.spawn().map_err(fail)?;
    let input = child.stdin.take();
    let feed = async move {
        if let Some(mut input) = input {
            // A server that ends early says why on its own.
            let _ = input.write_all(statements.as_bytes()).await;
        }
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    let output = output.map_err(fail)?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    Err(MySqlError::Install(String::from_utf8_lossy(&text).into_owned()))
}

/// The statements that make the server's own tables: `share/mysql` beside `bin` or `sbin`.
fn system_tables(program: &Path) -> Result<String, MySqlError> {
    let program = program.canonicalize().map_err(|error| MySqlError::File(program.to_owned(), error))?;
    let prefix = program.ancestors().nth(2).unwrap_or(Path::new("/usr"));
    for share in ["share/mysql", "share/mariadb", "share"] {
        for family in ["mysql", "mariadb"] {
            let part = |name: &str| std::fs::read_to_string(prefix.join(share).join(format!("{family}_{name}.sql")));
            if let (Ok(tables), Ok(more), Ok(rows)) =
                (part("system_tables"), part("performance_tables"), part("system_tables_data"))
            {
                return Ok([PREAMBLE, &tables, &more, &rows].concat());
            }
        }
    }
    let places = prefix.join("share").display().to_string();
    Err(MySqlError::Install(format!("no system_tables.sql below {places}: set ECHO_MYSQL_URL to your own server")))
}
