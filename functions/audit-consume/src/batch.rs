//! A batch, org by org: every org has a log of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use echo_shared::audit::Entry;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::{App, Pending};

/// Logs that cannot be reached before the others are not tried.
const MAX_UNREACHABLE: u32 = 4;
/// How long logs are begun with: the last one may take a call that is tried for as long as the SDK does, and the answer
/// must come before the function's time is up (15 seconds).
const PATIENCE: Duration = Duration::from_secs(8);

/// A batch, org by org; four at a time, since each waits for its table.
struct Work {
    orgs: Mutex<BTreeMap<String, Vec<Pending>>>,
    unreachable: AtomicU32,
    begun: Instant,
}

impl App {
    /// Appends what came with these messages; the messages of what was not appended.
    pub(crate) async fn append_all(&self, records: Vec<(String, Pending)>) -> Vec<String> {
        let work = Work { orgs: Mutex::new(by_org(records)), unreachable: AtomicU32::new(0), begun: Instant::now() };
        // Boxed: the compiler would lay out four copies of everything below.
        let lane = || Box::pin(work.lane(self));
        let lanes = tokio::join!(lane(), lane(), lane(), lane());
        [lanes.0, lanes.1, lanes.2, lanes.3].concat()
    }
}

impl Work {
    /// Appends org after org; the messages of those that failed, or were not tried.
    async fn lane(&self, app: &App) -> Vec<String> {
        let mut failed = Vec::new();
        loop {
            let Some((org, entries)) = self.orgs.lock().await.pop_first() else { return failed };
            // What was appended is not delivered again: the next batch gets further.
            if self.begun.elapsed() > PATIENCE || self.unreachable.load(Relaxed) >= MAX_UNREACHABLE {
                failed.extend(messages(entries));
                continue;
            }
            if let Err((error, left)) = app.append(&org, entries).await {
                tracing::error!(org, %error, entries = left.len(), "not appended");
                failed.extend(messages(left));
                if error.is_of_tables() {
                    self.unreachable.fetch_add(1, Relaxed);
                }
            }
        }
    }
}

fn messages(entries: Vec<Pending>) -> impl Iterator<Item = String> {
    entries.into_iter().flat_map(|pending| pending.messages)
}

/// Each org's entries in the order they came; the same event twice is one entry with two messages.
fn by_org(records: Vec<(String, Pending)>) -> BTreeMap<String, Vec<Pending>> {
    let mut orgs: BTreeMap<String, Vec<Pending>> = BTreeMap::new();
    let mut places: BTreeMap<(String, String, String), usize> = BTreeMap::new();
    for (message, mut pending) in records {
        let Entry { org, source, id, .. } = &pending.entry;
        let entries = orgs.entry(org.clone()).or_default();
        let place = *places.entry((org.clone(), source.clone(), id.clone())).or_insert(entries.len());
        match entries.get_mut(place) {
            Some(first) => first.messages.push(message),
            None => {
                pending.messages.push(message);
                entries.push(pending);
            }
        }
    }
    orgs
}
