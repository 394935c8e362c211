//! A line to the tables that breaks at one call: whoever made it never learns what became of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// A line on which one call is never answered.
#[derive(Clone)]
pub struct Line {
    target: String,
    http: reqwest::Client,
    calls: Arc<AtomicUsize>,
    /// The call that is not answered, counted from 1.
    at: usize,
    /// Whether it is made all the same.
    made: bool,
    broken: Arc<Notify>,
}

impl Line {
    /// A line to the tables at `target`, and its own endpoint.
    pub async fn to(target: &str, at: usize, made: bool) -> (Self, String) {
        let line = Self {
            target: target.into(),
            http: reqwest::Client::new(),
            calls: Arc::default(),
            at,
            made,
            broken: Arc::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(pass).with_state(line.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (line, endpoint)
    }

    /// Waits until the call has come that is not answered.
    pub async fn broken(&self) {
        self.broken.notified().await;
    }
}

async fn pass(State(line): State<Line>, request: Request<Body>) -> Response {
    let is_it = line.calls.fetch_add(1, SeqCst) + 1 == line.at;
    if is_it && !line.made {
        line.broken.notify_one();
        std::future::pending::<()>().await;
    }
    let (mut parts, body) = request.into_parts();
    parts.headers.remove("host");
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let answer = line.http.post(&line.target).headers(parts.headers).body(body).send().await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = answer.bytes().await.unwrap();
    if is_it {
        line.broken.notify_one();
        std::future::pending::<()>().await;
    }
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
