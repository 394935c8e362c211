//! Signing in with the browser: a redirect to loopback brings the code back (RFC 8252 section 7.3).

use std::process::{Command, Stdio};
use std::time::Duration;

use echo_local::process::find_program;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use super::Attempt;
use crate::Failure;

/// The registered port; any other will do when it is taken.
pub const PORT: u16 = 8976;
/// How long a person may take.
const PATIENCE: Duration = Duration::from_secs(300);
const MAX_REQUEST: usize = 16 * 1024;

/// Listens for the redirect.
pub async fn listen() -> Result<TcpListener, Failure> {
    match TcpListener::bind(("127.0.0.1", PORT)).await {
        Ok(listener) => Ok(listener),
        Err(_) => Ok(TcpListener::bind(("127.0.0.1", 0)).await?),
    }
}

/// Opens the browser, and says where to go should none open.
pub fn open(url: &Url) {
    eprintln!("sign in at:\n{url}");
    if let Some(program) = find_program("xdg-open").or_else(|| find_program("open")) {
        let _ = Command::new(program).arg(url.as_str()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    }
}

/// Waits for the redirect.
pub async fn wait(listener: TcpListener, attempt: &Attempt) -> Result<Url, Failure> {
    let wait = async {
        loop {
            let (mut stream, _) = listener.accept().await?;
            if let Some(url) = request(&mut stream, attempt).await {
                return Ok::<Url, Failure>(url);
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.map_err(|_| "nobody signed in within five minutes; try again")?
}

/// The URL of a request for the callback; anything else is answered with 404.
async fn request(stream: &mut TcpStream, attempt: &Attempt) -> Option<Url> {
    let mut head = Vec::new();
    while head.len() < MAX_REQUEST && !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.ok()? == 0 {
            break;
        }
    }
    let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
    let path = line.strip_prefix("GET ").and_then(|rest| rest.split(' ').next());
    let url = path.and_then(|path| Url::parse(&attempt.redirect_uri).ok()?.join(path).ok());
    let url = url.filter(|url| url.path() == "/callback");
    let (status, text) = match &url {
        Some(_) => ("200 OK", "Signed in. You can close this window and go back to the terminal."),
        None => ("404 Not Found", "Nothing here."),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
    let _ = stream.write_all(answer.as_bytes()).await;
    url
}
