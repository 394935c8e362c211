//! What is written to the table, and how.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, CancellationReason, Put, TransactWriteItem};
use echo_shared::entropy::Entropy;
use echo_shared::log::key::{self, ALONE, DAY};
use echo_shared::log::posting;
use echo_shared::table::{Item, Table, TableError, unavailable};

use crate::piece::{Piece, expiry};

/// How often something that DynamoDB puts off is tried.
const TRIES: u32 = 8;
/// Holds only where there is no item.
const NEW: &str = "attribute_not_exists(pk)";
/// Writes of a fold before its markers: header and payload.
const MARKERS: usize = 2;
/// How long a marker is kept, in seconds. A message lives for 14 days, and a redrive of dead letters starts them anew:
/// twice that, and two days more.
const MARKED: u64 = 30 * 86_400;

/// A write that was not made, as far as is known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// DynamoDB was not reached, or did not answer: other writes will hardly do better.
    #[error("DynamoDB was not reached: {0}")]
    Unreachable(TableError),
    /// It was refused: others need not be.
    #[error(transparent)]
    Refused(#[from] TableError),
}

impl WriteError {
    fn of<E, R>(error: SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        let reached = !matches!(error, SdkError::DispatchFailure(_) | SdkError::TimeoutError(_));
        let error = unavailable(error);
        if reached { Self::Refused(error) } else { Self::Unreachable(error) }
    }
}

/// What makes a block visible.
pub(crate) fn header(piece: &Piece) -> Item {
    let item = item((key::headers(&piece.org, piece.header.last / DAY), piece.place().sort()), piece.expires_at());
    with(item, "header", piece.header.to_bytes())
}

/// The block itself.
pub(crate) fn payload(piece: &Piece) -> Item {
    let item = item((key::payload(&piece.org, &piece.block.id), ALONE.into()), piece.expires_at());
    with(item, "data", piece.block.data.clone())
}

/// The postings of blocks that are of one org and kept for the same time.
pub(crate) fn postings(pieces: &[&Piece]) -> Vec<Item> {
    let Some(first) = pieces.first() else { return Vec::new() };
    let blocks: BTreeMap<_, _> = pieces.iter().map(|piece| (piece.place(), piece.traces.clone())).collect();
    let posted = posting::postings(&blocks).into_iter().map(|(prefix, posting)| {
        let (bytes, id) = posting.to_bytes();
        let sort = format!("{}#{id}", key::time(posting.last()));
        let item = item((key::postings(&first.org, prefix), sort), expiry(posting.last(), first.days));
        with(item, "posting", bytes)
    });
    posted.collect()
}

/// Says until some time after `now` (unix seconds) that a block was folded.
fn marker(source: &Piece, now: u64) -> Item {
    item((key::source(&source.org, &source.block.id), ALONE.into()), now + MARKED)
}

fn item((pk, sk): (String, String), expires_at: u64) -> Item {
    Item::from([
        ("pk".into(), AttributeValue::S(pk)),
        ("sk".into(), AttributeValue::S(sk)),
        ("expires_at".into(), AttributeValue::N(expires_at.to_string())),
    ])
}

fn with(mut item: Item, name: &str, content: Vec<u8>) -> Item {
    item.insert(name.into(), AttributeValue::B(Blob::new(content)));
    item
}

/// Puts an item where there is none. One that is there is as good: its name says what it holds.
///
/// # Errors
/// When the table cannot be written.
pub(crate) async fn insert(table: &Table, item: Item) -> Result<(), WriteError> {
    let (client, name) = table.raw();
    let request = client.put_item().table_name(name).set_item(Some(item)).condition_expression(NEW);
    let Err(error) = request.send().await else { return Ok(()) };
    if error.as_service_error().is_some_and(PutItemError::is_conditional_check_failed_exception) {
        return Ok(());
    }
    Err(WriteError::of(error))
}

/// Puts an item, whether or not it is there: its name says what it holds.
///
/// # Errors
/// When the table cannot be written.
pub(crate) async fn put(table: &Table, item: Item) -> Result<(), WriteError> {
    let (client, name) = table.raw();
    client.put_item().table_name(name).set_item(Some(item)).send().await.map_err(WriteError::of)?;
    Ok(())
}

/// Makes the fold of `sources` visible and marks them, all or nothing. Returns the places of those that were folded
/// before: if there are any, nothing was written.
///
/// # Errors
/// When the table cannot be written.
pub(crate) async fn insert_fold(
    table: &Table,
    fold: &Piece,
    sources: &[&Piece],
    now: u64,
    entropy: &Entropy,
) -> Result<Vec<usize>, WriteError> {
    let (client, name) = table.raw();
    // A payload without a header is what a crash left of the same block: it is put again, and counts from now on.
    let block = [part(name, header(fold), Some(NEW)), part(name, payload(fold), None)];
    let markers = sources.iter().map(|source| part(name, marker(source, now), Some(NEW)));
    let writes = block.into_iter().chain(markers).collect::<Result<Vec<_>, _>>().map_err(build)?;
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(pause(attempt, entropy)).await;
        }
        let request = client.transact_write_items().set_transact_items(Some(writes.clone()));
        let Err(error) = request.send().await else { return Ok(Vec::new()) };
        let known = match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                learn(cancelled.cancellation_reasons())?
            }
            Some(TransactWriteItemsError::TransactionInProgressException(_)) => None,
            _ => return Err(WriteError::of(error)),
        };
        if let Some(known) = known {
            return Ok(known);
        }
    }
    Err(TableError::Unavailable("the fold is contended; try again".into()).into())
}

/// How long to wait before something is tried again: longer each time, and not as long as others who wait.
fn pause(attempt: u32, entropy: &Entropy) -> Duration {
    let most = Duration::from_millis(10 << attempt);
    let [random] = entropy.bytes();
    most / 2 + most * u32::from(random) / 512
}

/// A put as a part of a transaction.
fn part(table: &str, item: Item, condition: Option<&str>) -> Result<TransactWriteItem, BuildError> {
    let put = Put::builder().table_name(table).set_item(Some(item));
    let put = put.set_condition_expression(condition.map(Into::into)).build()?;
    Ok(TransactWriteItem::builder().put(put).build())
}

fn build(error: BuildError) -> TableError {
    TableError::Unavailable(error.to_string())
}

/// Why a write cancelled its transaction. Some emulators write the name of the exception instead.
fn code(reason: &CancellationReason) -> &str {
    let code = reason.code().unwrap_or("None");
    code.strip_suffix("Exception").unwrap_or(code)
}

/// What the reasons of a cancelled transaction say: which sources were folded before; nothing when DynamoDB was busy.
fn learn(reasons: &[CancellationReason]) -> Result<Option<Vec<usize>>, TableError> {
    let codes: Vec<&str> = reasons.iter().map(code).collect();
    let refused = |code: &&str| *code == "ConditionalCheckFailed";
    let markers = codes.iter().skip(MARKERS).enumerate();
    let known: Vec<usize> = markers.filter(|(_, code)| refused(code)).map(|(place, _)| place).collect();
    // A header that is there alone is that of the same content: nothing is left to be done.
    if !known.is_empty() || codes.first().is_some_and(refused) {
        return Ok(Some(known));
    }
    let busy = |code: &&str| ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"].contains(code);
    if codes.iter().any(busy) {
        return Ok(None);
    }
    let other = codes.iter().find(|code| **code != "None").copied().unwrap_or_default();
    Err(TableError::Unavailable(format!("the transaction was cancelled: {other}")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sdk_dynamodb::error::{ConnectorError, SdkError};
    use aws_sdk_dynamodb::operation::put_item::PutItemError;
    use aws_sdk_dynamodb::types::CancellationReason;
    use echo_shared::entropy::Entropy;
    use echo_shared::log::key::{DAY, HOUR, Place};

    use super::{WriteError, header, learn, marker, pause, payload, postings};
    use crate::piece::Piece;
    use crate::piece::tests::piece;

    fn learnt(codes: &[&str]) -> Result<Option<Vec<usize>>, String> {
        let reasons: Vec<_> = codes.iter().map(|code| CancellationReason::builder().code(*code).build()).collect();
        learn(&reasons).map_err(|error| error.to_string())
    }

    #[test]
    fn a_refusal_says_what_is_known() {
        let refused = "ConditionalCheckFailed";
        // Header, payload, three markers.
        assert_eq!(learnt(&["None", "None", "None", refused, refused]), Ok(Some(vec![1, 2])));
        assert_eq!(learnt(&[refused, "None", "TransactionConflict", "None", refused]), Ok(Some(vec![2])));
        assert_eq!(learnt(&[refused, "None", "None"]), Ok(Some(vec![])));
        assert_eq!(learnt(&["ConditionalCheckFailedException", "None", "None"]), Ok(Some(vec![])));
        for busy in ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceededException"] {
            assert_eq!(learnt(&["None", "None", busy]), Ok(None), "{busy}");
        }
        assert!(learnt(&["None", "ValidationError", "None"]).unwrap_err().contains("ValidationError"));
        assert!(learnt(&[]).is_err());
    }

    #[test]
    fn only_what_did_not_arrive_is_unreachable() {
        let of = |error: SdkError<PutItemError, ()>| WriteError::of(error);
        assert!(matches!(of(SdkError::timeout_error("late")), WriteError::Unreachable(_)));
        let refused = ConnectorError::io("connection refused".into());
        assert!(matches!(of(SdkError::dispatch_failure(refused)), WriteError::Unreachable(_)));
        let throttled = PutItemError::unhandled("throttled");
        assert!(matches!(of(SdkError::service_error(throttled, ())), WriteError::Refused(_)));
    }

    #[test]
    fn pauses_grow_and_differ() {
        let pauses = |byte: u8| {
            let entropy = Entropy::from_fn(move |bytes| bytes.fill(byte));
            (1..8).map(|attempt| pause(attempt, &entropy)).collect::<Vec<_>>()
        };
        let (short, long) = (pauses(0), pauses(255));
        assert!(short.is_sorted() && short.iter().zip(&long).all(|(short, long)| short < long));
        assert_eq!(short[0], Duration::from_millis(10));
        assert!(long.iter().sum::<Duration>() < Duration::from_secs(3));
    }

    #[test]
    fn items_lie_where_readers_look() {
        let piece = piece("web", 3 * DAY + 5 * HOUR, 2);
        let keys = |item: super::Item| [item["pk"].as_s().unwrap().clone(), item["sk"].as_s().unwrap().clone()];
        let found = header(&piece);
        assert_eq!(found["expires_at"].as_n().unwrap(), &((3 + 30) * 86_400 + 6 * 3_600).to_string());
        assert_eq!(found["header"].as_b().unwrap().as_ref(), piece.header.to_bytes());
        let [pk, sk] = keys(found);
        assert_eq!((pk.as_str(), Place::parse(&sk)), ("HEADER#000003#acme", Some(piece.place())));
        assert_eq!(payload(&piece)["data"].as_b().unwrap().as_ref(), piece.block.data);
        assert_eq!(keys(payload(&piece)), [format!("BLOCK#{}#acme", piece.block.id), "-".into()]);
        let found = marker(&piece, 1_000);
        assert_eq!(found["expires_at"].as_n().unwrap(), &(1_000 + 30 * 86_400).to_string());
        assert_eq!(keys(found), [format!("SOURCE#{}#acme", piece.block.id), "-".into()]);
    }

    #[test]
    fn blocks_are_posted_together() {
        let pieces: Vec<Piece> = (0..10).map(|n| piece("web", HOUR + n, 3)).collect();
        let items = postings(&pieces.iter().collect::<Vec<_>>());
        // All thirty traces begin with a zero.
        let [item] = items.as_slice() else { panic!("{} postings", items.len()) };
        assert_eq!(item["pk"].as_s().unwrap(), "TRACE#00#acme");
        assert!(postings(&[]).is_empty());
    }
}
