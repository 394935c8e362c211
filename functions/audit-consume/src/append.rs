//! Appending: plan a transaction, try it, learn from its refusal.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::operation::execute_transaction::ExecuteTransactionError;
use aws_sdk_dynamodb::types::{CancellationReason, ParameterizedStatement};
use echo_shared::audit::chunk::{Chunk, Damaged, Head, MAX_ENTRIES, fits};
use echo_shared::audit::leaf::Leaf;
use echo_shared::audit::merkle::Hash;
use echo_shared::audit::note::{Checkpoint, origin};
use echo_shared::metric::Metric;
use echo_shared::table::{TableError, unavailable};
use tokio::sync::Mutex;

use crate::keys::KeyError;
use crate::statement::{insert_chunk, insert_marker, insert_node, insert_tile, move_head};
use crate::tree::{Full, Tree};
use crate::{App, Pending};

/// Statements of one transaction (docs.aws.amazon.com/amazondynamodb/latest/developerguide/ql-reference.multiplestatements.transactions.html).
const MAX_STATEMENTS: u64 = 100;
/// How often an append that others were faster than is planned anew.
const TRIES: u32 = 30;

/// Why entries were not appended. Delivered again, they may be.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// A table could not be reached.
    #[error(transparent)]
    Table(#[from] TableError),
    /// There is no key to sign with.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The log is not as an append left it: see `echoctl audit verify`.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// Entries or roots that the head counts are not there.
    #[error("the log is damaged: there is a gap before its head")]
    Gap,
    /// Others were faster every time.
    #[error("the log is contended; try again")]
    Contended,
    /// The compressor failed.
    #[error("cannot compress: {0}")]
    Compress(#[from] std::io::Error),
}

impl AppendError {
    /// Whether it would meet every log.
    pub(crate) fn is_of_tables(&self) -> bool {
        matches!(self, Self::Table(TableError::Unavailable(_)) | Self::Key(_))
    }
}

/// The logs that were appended to last, by org: who appends alone need not read.
#[derive(Default)]
pub struct Logs(Mutex<BTreeMap<String, Tree>>);

/// Orgs that are remembered at most.
const MAX_LOGS: usize = 1_000;

impl Logs {
    async fn take(&self, org: &str) -> Option<Tree> {
        self.0.lock().await.remove(org)
    }

    async fn put(&self, org: &str, tree: Tree) {
        let mut logs = self.0.lock().await;
        if logs.len() >= MAX_LOGS {
            logs.pop_first();
        }
        logs.insert(org.to_owned(), tree);
    }
}

/// What a transaction came to.
enum Tried {
    /// It is done; the log is now this.
    Done(Tree),
    /// It is not, but these events (by their place among those tried) are in the log already.
    Known(Vec<usize>),
    /// Another append was faster; the refusal may say what the head is now.
    Moved(Option<Tree>),
    /// DynamoDB was busy with another transaction on the same items.
    Busy,
}

impl App {
    /// Appends entries to the log of `org`; those that are in it already are passed over.
    ///
    /// # Errors
    /// Brings back the entries that were not appended.
    pub(crate) async fn append(&self, org: &str, mut entries: Vec<Pending>) -> Result<(), (AppendError, Vec<Pending>)> {
        // Whatever goes wrong, what is remembered may be wrong too: it is put back only by success.
        let mut known = self.logs.take(org).await;
        let mut tries = 0;
        while !entries.is_empty() {
            let tried = match self.try_some(org, &mut known, &entries).await {
                Ok(tried) => tried,
                Err(error) => return Err((error, entries)),
            };
            // What is done or known need not be tried again: the loop comes to an end.
            tries = if matches!(tried.1, Tried::Done(_) | Tried::Known(_)) { 0 } else { tries + 1 };
            if tries > TRIES {
                return Err((AppendError::Contended, entries));
            }
            match tried {
                (count, Tried::Done(tree)) => {
                    self.report(entries.drain(..count));
                    known = Some(tree);
                }
                (_, Tried::Known(places)) => {
                    for place in places.into_iter().rev() {
                        entries.remove(place);
                    }
                }
                (_, Tried::Moved(tree)) => {
                    known = tree;
                    self.pause(tries).await;
                }
                (_, Tried::Busy) => {
                    known = None;
                    self.pause(tries).await;
                }
            }
        }
        if let Some(tree) = known {
            self.logs.put(org, tree).await;
        }
        Ok(())
    }

    /// Tries to append the first of `entries`; tells how many that were.
    async fn try_some(
        &self,
        org: &str,
        known: &mut Option<Tree>,
        entries: &[Pending],
    ) -> Result<(usize, Tried), AppendError> {
        let tree = match known.take() {
            Some(tree) => tree,
            None => Tree::read(&self.heads, &self.log, org).await?,
        };
        let signer = self.keys.signer(&self.heads, &self.clock, &self.entropy).await?;
        let leaves: Vec<Leaf> = entries.iter().take(MAX_ENTRIES).map(|pending| pending.leaf.clone()).collect();
        let count = room(&tree, &leaves);
        let leaves = leaves.get(..count).unwrap_or_default();
        let chunk = Chunk::new(leaves)?;
        let hashes: Vec<Hash> = chunk.hashes()?;
        let mut grown = tree.clone();
        let full = grown.add(&self.log, org, &hashes).await?;
        grown.checkpoint = Some(signer.sign(&Checkpoint::of(&origin(&self.issuer, org), &grown.frontier)));
        let some = entries.get(..count).unwrap_or_default();
        let statements = self.statements(org, (&tree, &grown), (&chunk, some, &full))?;
        let (client, _) = self.log.raw();
        match client.execute_transaction().set_transact_statements(Some(statements)).send().await {
            Ok(_) => Ok((count, Tried::Done(grown))),
            Err(error) => match error.as_service_error() {
                Some(ExecuteTransactionError::TransactionCanceledException(cancelled)) => {
                    let learnt = learn(cancelled.cancellation_reasons(), count)?;
                    if matches!(learnt, Tried::Known(_)) {
                        *known = Some(tree);
                    }
                    Ok((count, learnt))
                }
                Some(ExecuteTransactionError::TransactionInProgressException(_)) => Ok((count, Tried::Busy)),
                _ => Err(unavailable(error).into()),
            },
        }
    }

    /// The transaction: the head first, the chunk, the markers in order, then tiles.
    fn statements(
        &self,
        org: &str,
        (tree, grown): (&Tree, &Tree),
        (chunk, entries, full): (&Chunk, &[Pending], &[Full]),
    ) -> Result<Vec<ParameterizedStatement>, TableError> {
        let ((_, log), (_, heads)) = (self.log.raw(), self.heads.raw());
        let (first, before) = (tree.size(), tree.checkpoint.as_deref());
        let checkpoint = grown.checkpoint.clone().unwrap_or_default();
        let head = Head { size: grown.size(), frontier: grown.frontier.to_bytes().into(), checkpoint };
        let mut statements = vec![move_head(heads, org, before, &head)?, insert_chunk(log, org, first, chunk)?];
        for (index, pending) in (first..).zip(entries) {
            statements.push(insert_marker(log, (first, index), pending)?);
        }
        for Full { tile, stored, root } in full {
            statements.push(insert_tile(log, org, *tile, stored)?);
            statements.push(insert_node(log, org, *tile, root)?);
        }
        Ok(statements)
    }

    /// How long entries of Echo's own were on their way.
    fn report(&self, appended: impl Iterator<Item = Pending>) {
        let now = self.clock.now();
        let delays: Vec<u64> = appended
            .filter_map(|pending| Some((now - pending.happened?).whole_milliseconds()))
            .map(|delay| u64::try_from(delay).unwrap_or_default())
            .collect();
        self.metrics.put(Metric::AuditDelay, &delays);
    }

    /// Waits a random while, up to 8 ms at first and 256 ms in the end, so that two writers do not meet again.
    async fn pause(&self, tries: u32) {
        let [byte] = self.entropy.bytes::<1>();
        let most = 8u64 << tries.min(6).saturating_sub(1);
        tokio::time::sleep(Duration::from_micros(most * 1_000 * u64::from(byte) / 255)).await;
    }
}

/// How many of `leaves` one transaction takes: by their size, and by the statements that full tiles need.
fn room(tree: &Tree, leaves: &[Leaf]) -> usize {
    let mut count = fits(leaves, MAX_ENTRIES);
    while count > 1 && 2 + count as u64 + 2 * tree.full_after(count as u64) > MAX_STATEMENTS {
        count -= 1;
    }
    count
}

/// Why a statement cancelled its transaction. Some emulators write the name of the exception instead.
pub(crate) fn code(reason: &CancellationReason) -> &str {
    let code = reason.code().unwrap_or("None");
    code.strip_suffix("Exception").unwrap_or(code)
}

/// What the reasons of a cancelled transaction say. Their order is that of the statements.
fn learn(reasons: &[CancellationReason], count: usize) -> Result<Tried, AppendError> {
    let codes: Vec<&str> = reasons.iter().map(code).collect();
    let refused = |code: &&str| matches!(*code, "ConditionalCheckFailed" | "DuplicateItem");
    let markers = codes.iter().skip(2).take(count);
    let known: Vec<usize> = markers.enumerate().filter(|(_, code)| refused(code)).map(|(place, _)| place).collect();
    if !known.is_empty() {
        // Markers are never removed: what is known stays so, even if the head has moved as well.
        return Ok(Tried::Known(known));
    }
    if codes.first().is_some_and(refused) {
        let item = reasons.first().and_then(CancellationReason::item);
        let head = item.and_then(|item| serde_dynamo::from_item::<_, Head>(item.clone()).ok());
        return Ok(Tried::Moved(head.map(|head| Tree::of(&head)).transpose()?));
    }
    if codes.iter().any(refused) {
        return Err(Damaged("there are entries or tiles behind its head").into());
    }
    let busy =
        |code: &&str| matches!(*code, "TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded");
    if codes.iter().any(busy) {
        return Ok(Tried::Busy);
    }
    let other = codes.iter().find(|code| **code != "None").copied().unwrap_or_default();
    Err(TableError::Unavailable(format!("the transaction was cancelled: {other}")).into())
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::{AttributeValue, CancellationReason};

    use super::{AppendError, Tried, learn, room};
    use crate::tree::Tree;
    use echo_shared::audit::leaf::Leaf;

    fn reasons(codes: &[&str]) -> Vec<CancellationReason> {
        codes.iter().map(|code| CancellationReason::builder().code(*code).build()).collect()
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let learnt = |codes: &[&str]| learn(&reasons(codes), 2);
        // Head, chunk, two markers, a tile and its root.
        let known = learnt(&["ConditionalCheckFailed", "None", "None", "DuplicateItem", "None", "None"]);
        assert!(matches!(known, Ok(Tried::Known(places)) if places == [1]), "what is known goes first");
        let moved = learnt(&["ConditionalCheckFailed", "DuplicateItem", "None", "None", "DuplicateItem", "None"]);
        assert!(matches!(moved, Ok(Tried::Moved(None))));
        for busy in ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"] {
            assert!(matches!(learnt(&["None", "None", busy, "None", "None", "None"]), Ok(Tried::Busy)), "{busy}");
        }
        for place in [1, 4, 5] {
            let mut codes = ["None"; 6];
            codes[place] = "DuplicateItem";
            assert!(matches!(learnt(&codes), Err(AppendError::Damaged(_))), "{place}");
        }
        let other = learnt(&["None", "ValidationError", "None", "None", "None", "None"]);
        assert!(matches!(other, Err(AppendError::Table(_))));
    }

    #[test]
    fn a_refusal_brings_the_head_along() {
        let item = [
            ("pk", AttributeValue::S("HEAD#o".into())),
            ("tree_size", AttributeValue::N("1".into())),
            ("frontier", AttributeValue::B(vec![7; 32].into())),
            ("checkpoint", AttributeValue::S("c".into())),
        ];
        let item = item.map(|(name, value)| (name.to_owned(), value)).into();
        let reason = CancellationReason::builder().code("ConditionalCheckFailed").set_item(Some(item)).build();
        let Ok(Tried::Moved(Some(tree))) = learn(&[reason], 0) else { panic!("the head was there") };
        assert_eq!((tree.size(), tree.checkpoint.as_deref()), (1, Some("c")));
    }

    #[test]
    fn a_transaction_has_room_for_what_becomes_full() {
        let leaves = vec![Leaf { bytes: vec![1], personal: None }; 200];
        assert_eq!(room(&Tree::empty(), &leaves), 98);
        let tree = |size| Tree::of(&crate::tree::tests::head(size)).unwrap();
        // Head, chunk, tile and root leave 96.
        assert_eq!([room(&tree(200), &leaves), room(&tree(256), &leaves)], [96, 98]);
        assert_eq!(room(&tree(65_535), &leaves), 94);
    }
}
