//! A consumer that dies at any of its calls leaves a log that is whole; who takes over finishes the batch.

use std::ops::Range;

use super::super::echo::{Echo, consume};
use super::super::line::Line;
use super::event_of;

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_may_die_at_any_call() {
    let echo = Echo::start().await;
    let (mut died, mut key) = (0, 1);
    for made in [false, true] {
        for at in 1.. {
            // Each case has a log and a key of its own.
            key += 1;
            let org = format!("org{key}");
            let events = |numbers: Range<usize>| -> Vec<String> {
                numbers.map(|number| event_of(&org, &format!("e{number:05}"))).collect()
            };
            // 100 entries that the one to die has not seen: it must read what the tile begins with.
            assert!(echo.consume(&events(0..100)).await.is_empty());
            let (line, endpoint) = Line::to(echo.table_endpoint(), at, made).await;
            let dying = echo.consumer(key, Some(echo_local::dynamodb::client(&endpoint)));
            let batch = events(50..350);
            let finished = tokio::select! {
                failed = consume(&dying, &batch) => { assert!(failed.is_empty()); true }
                () = line.broken() => false,
            };
            drop(dying);
            let kept = echo.checkpoint(&org).await;
            // Delivered again, to an instance that knows nothing.
            assert!(consume(&echo.consumer(key, None), &batch).await.is_empty());
            let verified =
                echo.verify(&org, &[kept]).await.unwrap_or_else(|found| panic!("call {at}: {}", found.finding));
            assert_eq!(verified.size, 350, "call {at}, made: {made}");
            if finished {
                died += at - 1;
                break;
            }
        }
    }
    // Head, key, its insert, key again, edge, and a transaction for every 98, made or not.
    assert!(died >= 2 * 8, "{died}");
}
