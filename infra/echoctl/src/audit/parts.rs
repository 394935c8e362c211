//! An export in its parts.

use std::time::Duration;

use axum::body::Bytes;

use crate::Failure;
use crate::session::Session;

/// Where the next part is.
const NEXT: &str = "x-next-cursor";
/// Times that a part is asked for.
const TRIES: usize = 3;
/// Between them.
const PAUSE: Duration = Duration::from_secs(1);

/// An export of the whole log, from its first part to its last.
pub struct Parts<'a> {
    session: Session<'a>,
    format: &'static str,
    cursor: Option<String>,
    begun: bool,
}

impl<'a> Parts<'a> {
    /// An export that nothing was read of yet.
    pub fn new(session: Session<'a>, format: &'static str) -> Self {
        Self { session, format, cursor: None, begun: false }
    }

    /// The next part; none behind the last.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        if self.begun && self.cursor.is_none() {
            return Ok(None);
        }
        let mut tries = 1;
        let (part, cursor) = loop {
            match self.fetch().await {
                Ok(fetched) => break fetched,
                // The first part shows whether one may; behind it, a thousand parts long, networks fail.
                Err(_) if self.begun && tries < TRIES => tries += 1,
                Err(error) => return Err(error),
            }
            tokio::time::sleep(PAUSE).await;
        };
        self.begun = true;
        self.cursor = cursor;
        Ok(Some(part))
    }

    async fn fetch(&mut self) -> Result<(Bytes, Option<String>), Failure> {
        let mut query = vec![("format", self.format)];
        query.extend(self.cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let response = self.session.get("/audit/v1/export", &query).await?;
        let cursor = response.headers().get(NEXT).map(|cursor| cursor.to_str().map(str::to_owned)).transpose()?;
        Ok((response.bytes().await?, cursor))
    }
}
