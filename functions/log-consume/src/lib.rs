//! Queue `log` to the log store: large blocks as they came, small ones folded into larger ones.
//!
//! Invariants:
//! - A header makes a block visible and is written after everything it leads to, or together with it. A crash leaves
//!   nothing visible that is incomplete; whatever is delivered again completes it.
//! - Blocks are named by their content and written once, so a large block that is delivered twice is one block.
//! - A fold is one transaction over a header, a payload and a marker for each of its sources. A marker is written once,
//!   so a small block that is delivered twice, with whatever others, has its lines in one fold only.
//! - Whether a block is large or small follows from its content, so it never takes both ways.
//! - Memory stays below 128 MB, whatever comes. Of a block that waits only the compressed bytes, a header of 6 KiB at
//!   most and the traces are kept: for 100 blocks 4, 1 and (half a million traces) 12 MB. Blocks are unpacked and
//!   decoded one at a time, without waiting for anything meanwhile: 512 KiB, which decode to 50 MB if lines are empty.
//!   Eight folds on their way hold less than 2 MB each, as requests.
//! - The answer comes before the function's time is up: blocks for which there is no time to decode or to write them
//!   fail, what was stored is not delivered again.
//!
//! Way in: [`handle`]. `piece` opens what came, `plan` says what is folded, `fold` folds, `batch` goes through the
//! writes in their order, `store` makes them.

mod batch;
mod fold;
mod piece;
mod plan;
mod store;

use std::cell::Cell;
use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use echo_shared::clock::Clock;
use echo_shared::config::Env;
use echo_shared::entropy::Entropy;
use echo_shared::log::settings::Settings;
use echo_shared::metric::{Metric, Metrics};
use echo_shared::queue::{SettleError, decode, respond};
use echo_shared::table::Table;
use tokio::time::Instant;

use crate::piece::{MAX_TRACES, Piece};

/// How long blocks of a batch are decoded. Ordinary ones take milliseconds; what is left comes again.
const DECODING: Duration = Duration::from_secs(4);

/// What the environment has to say.
pub struct Config {
    /// The log store.
    pub table: String,
    /// Whether traces are posted.
    pub settings: Settings,
    /// Whose metrics these are.
    pub stack: String,
}

impl Config {
    /// Reads `LOG_STORE_TABLE`, `LOG_SETTINGS` (JSON, may be absent) and `ECHO_STACK`.
    pub fn read(env: &mut Env<'_>) -> Self {
        Self { table: env.text("LOG_STORE_TABLE"), settings: Settings::read(env), stack: Metrics::stack(env) }
    }
}

/// What the function works with.
pub struct App {
    /// Headers, payloads, postings, markers: `log_store`.
    pub table: Table,
    /// Whether an org's traces are posted.
    pub settings: Settings,
    /// Tells when markers expire.
    pub clock: Clock,
    /// What fails.
    pub metrics: Metrics,
    /// Spreads what is tried again.
    entropy: Entropy,
}

impl App {
    /// The function over its table; nothing is read yet.
    pub fn new(config: Config, dynamodb: aws_sdk_dynamodb::Client, clock: Clock) -> Self {
        let metrics = Metrics::new(config.stack, clock.clone());
        Self {
            table: Table::new(dynamodb, config.table),
            settings: config.settings,
            clock,
            metrics,
            entropy: Entropy::system(),
        }
    }
}

/// Stores a batch; answers which records failed.
///
/// # Errors
/// When the batch cannot be answered record by record.
pub async fn handle(app: &App, event: SqsEvent) -> Result<SqsBatchResponse, SettleError> {
    let begun = Instant::now();
    let (pieces, mut failed) = open(event, &app.settings, begun)?;
    failed.extend(app.store_all(pieces, begun).await);
    if !failed.is_empty() {
        app.metrics.put(Metric::BatchFailures, &[failed.len() as u64]);
    }
    Ok(respond(failed))
}

/// A message and the block that it brought.
type Brought = (String, Piece);

/// The blocks of a batch, and the messages of what could not be opened.
fn open(event: SqsEvent, settings: &Settings, begun: Instant) -> Result<(Vec<Brought>, Vec<String>), SettleError> {
    let room = Cell::new(MAX_TRACES);
    let batch = decode(event, |envelope| {
        // No poison: there was no time to look.
        if begun.elapsed() >= DECODING { Ok(None) } else { Piece::open(envelope, settings, &room).map(Some) }
    })?;
    let (mut pieces, mut failed) = (Vec::new(), batch.poison);
    let poison = failed.len();
    for (message, piece) in batch.good {
        match piece {
            Some(piece) => pieces.push((message, piece)),
            None => failed.push(message),
        }
    }
    if failed.len() > poison {
        tracing::warn!(messages = failed.len() - poison, "there was no time to decode these; they come again");
    }
    Ok((pieces, failed))
}

#[cfg(test)]
mod tests {
    use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
    use echo_shared::log::key::HOUR;
    use echo_shared::log::settings::Settings;
    use tokio::time::Instant;

    use super::{DECODING, open};
    use crate::piece::tests::{block, event};

    #[test]
    fn decoding_ends_before_the_time_is_up() {
        let batch = || {
            let mut message = SqsMessage::default();
            message.message_id = Some("1".into());
            message.body = Some(event(&block("web", HOUR, 1), 30).to_body());
            let mut batch = SqsEvent::default();
            batch.records = vec![message];
            batch
        };
        let opened = |begun: Instant| {
            let (pieces, failed) = open(batch(), &Settings::default(), begun).unwrap();
            (pieces.len(), failed)
        };
        assert_eq!(opened(Instant::now()), (1, vec![]));
        assert_eq!(opened(Instant::now().checked_sub(DECODING).unwrap()), (0, vec!["1".to_owned()]));
    }
}
