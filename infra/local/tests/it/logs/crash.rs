//! A consumer that dies at any of its calls leaves nothing by halves; who takes over stores every line once.

use echo_shared::log::key::HOUR;
use serde_json::Value;

use super::super::echo::{Echo, consume_logs};
use super::super::line::Line;
use super::store::{holds, large, small};
use super::{hex, items, range, sorted, trace_in};

/// Lines of the batch below.
const LINES: usize = 2 * 60 + 6 * 3;

/// What is stored as it is, what is folded, and what is folded apart from that.
fn batch(hour: u64) -> Vec<String> {
    let mut batch: Vec<String> = (0..4).map(|number| small(hour, number, 30)).collect();
    batch.extend([10, 11].map(|number| large(hour, number)));
    batch.extend((4..6).map(|number| small(hour, number, 7)));
    batch
}

/// What a reader may see in between: whole blocks, and no line twice.
async fn nothing_by_halves(echo: &Echo, hour: u64, case: &str) {
    let seen = sorted(&echo.search(&format!("{}&limit=100", range(hour, hour + HOUR))).await);
    let mut once = seen.clone();
    once.dedup();
    assert_eq!(once, seen, "{case}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_may_die_at_any_call() {
    let echo = Echo::start().await;
    let (mut died, mut case, last) = (0, 0, echo.hour());
    for made in [false, true] {
        for at in 1.. {
            // Each case has an hour of its own.
            case += 1;
            let (hour, name) = (last - case * HOUR, format!("call {at}, made: {made}"));
            let batch = batch(hour);
            let (line, endpoint) = Line::to(echo.table_endpoint(), at, made).await;
            let dying = echo.log_consumer(Some(echo_local::dynamodb::client(&endpoint)));
            let finished = tokio::select! {
                failed = consume_logs(&dying, &batch) => { assert!(failed.is_empty(), "{name}"); true }
                () = line.broken() => false,
            };
            drop(dying);
            nothing_by_halves(&echo, hour, &name).await;
            // Delivered again, in other batches, to instances that know nothing.
            for part in [&batch[3..], &batch[..5]] {
                assert!(consume_logs(&echo.log_consumer(None), part).await.is_empty(), "{name}");
            }
            holds(&echo, hour, LINES, &name).await;
            every_trace_is_found(&echo, hour, &name).await;
            if finished {
                died += at - 1;
                break;
            }
        }
    }
    // A payload, its postings and a header for each large block, postings and a transaction for each fold; made or not.
    assert!(died >= 2 * 8, "{died}");
}

async fn every_trace_is_found(echo: &Echo, hour: u64, case: &str) {
    for (number, count) in [(0, 3), (5, 3), (10, 60)] {
        let page = echo.read_logs(&format!("traces/{}", hex(&trace_in(hour, number)))).await;
        assert_eq!((items(&page).len(), &page["next"]), (count, &Value::Null), "{case}: trace {number}");
    }
}
