//! Some processes of one function, for whoever has work for it.

use std::sync::Arc;

use axum::body::Bytes;
use echo_local::lambda::{Invoke, InvokeError};
use tokio::sync::{Mutex, mpsc};

use super::super::instance::Instance;
use super::super::lab::Lab;
use crate::Failure;

/// Never said: the pool has both ends of its channel.
const CLOSED: &str = "the pool is closed";

/// The processes; each works on one event at a time. Cheap to clone.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    idle: Mutex<mpsc::UnboundedReceiver<Instance>>,
    back: mpsc::UnboundedSender<Instance>,
}

impl Pool {
    /// Starts so many processes of a function, with other values for some of its variables.
    ///
    /// # Errors
    /// When one cannot be started.
    pub async fn start(lab: &Lab, name: &str, count: usize, variables: &[(&str, &str)]) -> Result<Self, Failure> {
        let (back, idle) = mpsc::unbounded_channel();
        for _ in 0..count {
            back.send(lab.launch_with(name, variables).await?).map_err(|_| CLOSED)?;
        }
        Ok(Self(Arc::new(Inner { idle: Mutex::new(idle), back })))
    }

    /// Lets the next idle process work.
    ///
    /// # Errors
    /// When the function fails; that process is gone then.
    pub async fn work(&self, event: Bytes) -> Result<Bytes, Failure> {
        let mut instance = self.0.idle.lock().await.recv().await.ok_or(CLOSED)?;
        let answer = instance.invoke(event).await?;
        self.0.back.send(instance).map_err(|_| CLOSED)?;
        Ok(answer.body)
    }

    /// Ends the processes that are idle.
    pub async fn stop(self) {
        let mut idle = self.0.idle.lock().await;
        while let Ok(instance) = idle.try_recv() {
            instance.stop().await;
        }
    }
}

impl Invoke for Pool {
    async fn invoke(&self, _: &str, payload: Bytes) -> Result<Bytes, InvokeError> {
        self.work(payload).await.map_err(|error| InvokeError::Crashed(error.to_string()))
    }
}
