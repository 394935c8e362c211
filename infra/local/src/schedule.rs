//! EventBridge Scheduler on a laptop: runs a function at a rate, the first time at once.

use axum::body::Bytes;
use echo_shared::clock::{Clock, sortable};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::lambda::Invoke;
use crate::spec::ScheduleSpec;
use crate::template::{ACCOUNT, REGION};

/// Runs `schedule` until `shutdown` turns true. A run that fails is logged; the next one goes on.
pub async fn run(schedule: ScheduleSpec, invoker: impl Invoke, clock: Clock, mut shutdown: watch::Receiver<bool>) {
    let mut ticks = interval(schedule.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => return,
            _ = ticks.tick() => {}
        }
        let event = json!({
            "version": "0", "detail-type": "Scheduled Event", "source": "aws.scheduler", "account": ACCOUNT,
            "region": REGION, "time": sortable(clock.now()), "resources": [schedule.name.as_str()], "detail": {},
        });
        if let Err(error) = invoker.invoke(&schedule.function, Bytes::from(event.to_string())).await {
            tracing::warn!(function = schedule.function, %error, "scheduled run failed");
        }
    }
}
