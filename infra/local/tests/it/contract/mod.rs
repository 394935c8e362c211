//! The SQS contract, asked of two servers by the same tests: Echo's local SQS and MiniStack, an emulator that others
//! wrote. Where they differ a test is red, or an [`Excuse`](server::Excuse) says which of them AWS agrees with.
//!
//! Sources: "API" is the SQS API reference, "guide" the SQS developer guide, "seen" a test that localstack/localstack has
//! run against AWS itself (`tests/aws/services/sqs/test_sqs.py`).

/// Makes two tests of each behaviour: `echo::name` and `ministack::name`.
macro_rules! contract {
    ($($name:ident($queues:expr) $(unless $excuse:expr)?;)+) => {
        mod echo {
            use super::*;

            $(#[tokio::test]
            async fn $name() {
                super::$name(&$crate::contract::server::echo($queues).await).await;
            })+
        }

        mod ministack {
            use super::*;

            $(#[tokio::test]
            async fn $name() {
                let server = $crate::contract::server::ministack($queues).await;
                contract!(@judge $name(server) $($excuse)?);
            })+
        }
    };
    (@judge $name:ident($server:ident)) => {
        super::$name(&$server).await
    };
    (@judge $name:ident($server:ident) $excuse:expr) => {
        $excuse.holds(async move { super::$name(&$server).await }).await
    };
}

mod batch;
mod queue;
mod receive;
mod redrive;
mod send;
mod server;
mod visibility;
