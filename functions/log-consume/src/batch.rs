//! A batch, write by write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use echo_shared::table::Item;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::App;
use crate::fold::{FoldError, fold};
use crate::piece::Piece;
use crate::plan::plan;
use crate::store::{WriteError, header, insert, insert_fold, payload, postings, put};

/// Writes that do not reach DynamoDB before the others are not tried.
const MAX_UNREACHABLE: u32 = 4;
/// How long a batch is worked on: the answer must come before the function's time is up (15 seconds).
const PATIENCE: Duration = Duration::from_secs(12);

/// Why blocks were not stored. Delivered again, they may be.
#[derive(Debug, thiserror::Error)]
enum StoreError {
    /// The table could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Blocks could not be folded.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The time is up.
    #[error("there was no time left")]
    Late,
}

/// What is written at once.
enum Task<'a> {
    Payload(&'a Piece),
    /// A posting of these blocks.
    Posting(Arc<[&'a Piece]>, Item),
    Header(&'a Piece),
    Fold(&'a [Piece]),
}

impl<'a> Task<'a> {
    /// The blocks that it is done for: all of one org.
    fn pieces(&self) -> Vec<&'a Piece> {
        match self {
            Self::Payload(piece) | Self::Header(piece) => vec![*piece],
            Self::Posting(pieces, _) => pieces.to_vec(),
            Self::Fold(sources) => sources.iter().collect(),
        }
    }

    /// The messages that brought them.
    fn messages(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.pieces().into_iter().flat_map(|piece| &piece.messages).map(String::as_str)
    }
}

/// A batch at work.
struct Work<'a> {
    app: &'a App,
    begun: Instant,
    unreachable: AtomicU32,
    /// What was stored, for the log.
    blocks: AtomicU64,
    folded: AtomicU64,
    lines: AtomicU64,
    postings: AtomicU64,
}

impl App {
    /// Stores what came with these messages; the messages of what was not stored.
    pub(crate) async fn store_all(&self, records: Vec<(String, Piece)>, begun: Instant) -> Vec<String> {
        let plan = plan(records);
        let zero = AtomicU64::default;
        let (unreachable, app) = (AtomicU32::new(0), self);
        let work = Work { app, begun, unreachable, blocks: zero(), folded: zero(), lines: zero(), postings: zero() };
        let mut failed = work.store(&plan.large).await;
        failed.extend(work.all(plan.folds.iter().map(|fold| Task::Fold(fold)).collect()).await);
        tracing::info!(
            blocks = work.blocks.load(Relaxed),
            folded = work.folded.load(Relaxed),
            lines = work.lines.load(Relaxed),
            postings = work.postings.load(Relaxed),
            failed = failed.len(),
            "stored"
        );
        failed.into_iter().map(Into::into).collect()
    }
}

impl Work<'_> {
    /// Stores blocks as they are: payloads, then postings, then the headers that make them visible. The messages of
    /// those that were not stored.
    async fn store<'a>(&self, blocks: &'a [Piece]) -> BTreeSet<&'a str> {
        let mut failed = self.all(blocks.iter().map(Task::Payload).collect()).await;
        let tasks = posting_tasks(without(blocks, &failed));
        failed.extend(self.all(tasks).await);
        let tasks = without(blocks, &failed).into_iter().map(Task::Header).collect();
        failed.extend(self.all(tasks).await);
        failed
    }

    /// Does all of this, eight at a time, since each waits for the table. The messages of what failed.
    async fn all<'a>(&self, tasks: Vec<Task<'a>>) -> BTreeSet<&'a str> {
        let open = Mutex::new(tasks.into_iter());
        // Boxed: the compiler would lay out eight copies of everything below.
        let lane = || Box::pin(self.lane(&open));
        let (a, b, c, d, e, f, g, h) = tokio::join!(lane(), lane(), lane(), lane(), lane(), lane(), lane(), lane());
        [a, b, c, d, e, f, g, h].concat().into_iter().collect()
    }

    async fn lane<'a>(&self, open: &Mutex<std::vec::IntoIter<Task<'a>>>) -> Vec<&'a str> {
        let mut failed = Vec::new();
        loop {
            let Some(task) = open.lock().await.next() else { return failed };
            // What was stored is not delivered again: the next batch gets further.
            if self.begun.elapsed() >= PATIENCE || self.unreachable.load(Relaxed) >= MAX_UNREACHABLE {
                failed.extend(task.messages());
                continue;
            }
            let done = timeout_at(self.begun + PATIENCE, self.perform(&task)).await;
            if let Err(error) = done.unwrap_or(Err(StoreError::Late)) {
                let org = task.pieces().first().map(|piece| piece.org.as_str());
                tracing::error!(org, %error, messages = task.messages().count(), "not stored");
                failed.extend(task.messages());
                if matches!(error, StoreError::Write(WriteError::Unreachable(_))) {
                    self.unreachable.fetch_add(1, Relaxed);
                }
            }
        }
    }

    async fn perform(&self, task: &Task<'_>) -> Result<(), StoreError> {
        let table = &self.app.table;
        match task {
            Task::Payload(piece) => insert(table, payload(piece)).await?,
            Task::Posting(_, item) => self.post(item.clone()).await?,
            Task::Header(piece) => {
                insert(table, header(piece)).await?;
                self.count(piece);
            }
            Task::Fold(sources) => self.fold(sources).await?,
        }
        Ok(())
    }

    /// Folds blocks, but for those that were folded before.
    async fn fold(&self, sources: &[Piece]) -> Result<(), StoreError> {
        let now = u64::try_from(self.app.clock.unix()).unwrap_or_default();
        let mut sources: Vec<&Piece> = sources.iter().collect();
        while !sources.is_empty() {
            let fold = fold(&sources)?;
            // Those of a fold that is planned anew lead nowhere, and readers pass over them.
            self.post_all(postings(&[&fold])).await?;
            let known = insert_fold(&self.app.table, &fold, &sources, now, &self.app.entropy).await?;
            if known.is_empty() {
                self.count(&fold);
                self.folded.fetch_add(sources.len() as u64, Relaxed);
                return Ok(());
            }
            let new = sources.into_iter().enumerate().filter(|(place, _)| !known.contains(place));
            sources = new.map(|(_, source)| source).collect();
        }
        Ok(())
    }

    /// Puts the postings of a fold, four at a time.
    async fn post_all(&self, items: Vec<Item>) -> Result<(), WriteError> {
        let open = Mutex::new(items.into_iter());
        let lane = || {
            Box::pin(async {
                loop {
                    let Some(item) = open.lock().await.next() else { return Ok(()) };
                    self.post(item).await?;
                }
            })
        };
        tokio::try_join!(lane(), lane(), lane(), lane()).map(|_| ())
    }

    async fn post(&self, item: Item) -> Result<(), WriteError> {
        put(&self.app.table, item).await?;
        self.postings.fetch_add(1, Relaxed);
        Ok(())
    }

    fn count(&self, stored: &Piece) {
        self.blocks.fetch_add(1, Relaxed);
        self.lines.fetch_add(u64::from(stored.header.lines), Relaxed);
    }
}

/// The blocks that did not come with any of these messages.
fn without<'a>(blocks: &'a [Piece], failed: &BTreeSet<&str>) -> Vec<&'a Piece> {
    let is_well = |piece: &&Piece| !piece.messages.iter().any(|message| failed.contains(message.as_str()));
    blocks.iter().filter(is_well).collect()
}

/// The postings of blocks: those of one org and retention together, which is what makes them cheap.
fn posting_tasks(blocks: Vec<&Piece>) -> Vec<Task<'_>> {
    let mut together: BTreeMap<(&str, u32), Vec<&Piece>> = BTreeMap::new();
    for block in blocks {
        together.entry((block.org.as_str(), block.days)).or_default().push(block);
    }
    let mut tasks = Vec::new();
    for pieces in together.into_values() {
        let items = postings(&pieces);
        let pieces: Arc<[&Piece]> = pieces.into();
        tasks.extend(items.into_iter().map(|item| Task::Posting(Arc::clone(&pieces), item)));
    }
    tasks
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use echo_shared::log::key::HOUR;

    use super::{posting_tasks, without};
    use crate::piece::Piece;
    use crate::piece::tests::piece;

    fn named(message: &str, piece: Piece) -> Piece {
        Piece { messages: vec![message.into()], ..piece }
    }

    #[test]
    fn blocks_are_posted_by_org_and_retention() {
        let first = named("1", piece("web", HOUR, 2));
        let pieces = [
            named("2", Piece { org: "other".into(), ..first.clone() }),
            named("3", Piece { days: 31, ..first.clone() }),
            named("4", piece("web", HOUR + 1, 2)),
            named("5", Piece { traces: BTreeSet::new(), days: 7, ..first.clone() }),
            first,
        ];
        let tasks = posting_tasks(pieces.iter().collect());
        let messages: Vec<_> = tasks.iter().map(|task| task.messages().collect::<Vec<_>>()).collect();
        assert_eq!(messages, [vec!["4", "1"], vec!["3"], vec!["2"]]);
    }

    #[test]
    fn what_failed_is_not_made_visible() {
        let pieces = [named("1", piece("web", HOUR, 1)), named("2", piece("web", 2 * HOUR, 1))];
        assert_eq!(without(&pieces, &BTreeSet::from(["1"])), [&pieces[1]]);
        assert_eq!(without(&pieces, &BTreeSet::new()).len(), 2);
    }
}
