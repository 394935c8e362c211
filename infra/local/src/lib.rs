//! The cloud on a laptop: what `template.yaml` describes, played by one process.
//!
//! [`gateway`] is the API Gateway HTTP API, [`lambda`] runs the functions, [`sqs`] speaks SQS's JSON protocol over the
//! MySQL table `message_queue` ([`queue`]), [`mapping`] is the event source mapping in front of it, [`schedule`] the
//! scheduler, [`dynamodb`] an embedded DynamoDB, [`s3`] what Echo needs of S3. [`logs`] brings the functions' own lines
//! into the log store. [`stack`] starts and stops all of it.

pub mod dynamodb;
pub mod gateway;
pub mod lambda;
pub mod logs;
pub mod mapping;
pub mod mysql;
pub mod process;
pub mod queue;
pub mod s3;
pub mod schedule;
pub mod spec;
pub mod sqs;
pub mod stack;
pub mod state;
pub mod template;
