//! Where the queues are: the stack that runs here, or one in the cloud.

use std::path::PathBuf;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{Credentials, Region};
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use clap::Args;
use echo_local::stack::STACK_NAME;
use echo_local::template::REGION;

use crate::{Failure, workspace};

/// Which stack's queues.
#[derive(Args)]
pub struct Where {
    /// A deployed stack, with your own AWS credentials [default: the stack that runs from this checkout]
    #[arg(long)]
    stack: Option<String>,
    /// The local stack's state directory
    #[arg(long, conflicts_with = "stack")]
    state: Option<PathBuf>,
}

/// Queues within reach.
pub struct Place {
    /// SQS.
    pub sqs: Client,
    /// The cloud's configuration; nothing on a laptop.
    pub cloud: Option<SdkConfig>,
    stack: String,
}

/// One queue.
#[derive(Clone)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// Its URL.
    pub url: String,
}

impl Place {
    /// Finds the stack.
    ///
    /// # Errors
    /// When none runs here and none was named.
    pub async fn find(at: &Where) -> Result<Self, Failure> {
        if let Some(stack) = &at.stack {
            let config = aws_config::load_defaults(BehaviorVersion::v2026_01_12()).await;
            return Ok(Self { sqs: Client::new(&config), cloud: Some(config), stack: stack.clone() });
        }
        let run = workspace::running(at.state.as_deref())
            .ok_or("no stack runs here; start it with ./scripts/local, or name one: --stack NAME, --state DIR")?;
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(REGION))
            .credentials_provider(Credentials::new("local", "local", None, None, "local"))
            .endpoint_url(run.sqs_endpoint)
            .build();
        Ok(Self { sqs: Client::from_conf(config), cloud: None, stack: STACK_NAME.into() })
    }

    /// The stack's queues, or those that are named, sorted.
    ///
    /// # Errors
    /// When one of them does not exist, or SQS does not answer.
    pub async fn queues(&self, named: &[String]) -> Result<Vec<Known>, Failure> {
        let mut queues = Vec::new();
        for name in named {
            queues.push(self.queue(name).await?);
        }
        if named.is_empty() {
            let prefix = format!("{}-", self.stack);
            let mut pages = self.sqs.list_queues().queue_name_prefix(prefix).max_results(1000).into_paginator().send();
            while let Some(page) = pages.next().await {
                queues.extend(page.map_err(said)?.queue_urls.unwrap_or_default().into_iter().map(Known::at));
            }
            if queues.is_empty() {
                return Err(format!("the stack `{}` has no queues here; region and credentials?", self.stack).into());
            }
        }
        queues.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(queues)
    }

    /// A queue by its name, with or without the stack's.
    ///
    /// # Errors
    /// When there is none, or SQS does not answer.
    pub async fn queue(&self, name: &str) -> Result<Known, Failure> {
        for full in [name.to_owned(), format!("{}-{name}", self.stack)] {
            match self.sqs.get_queue_url().queue_name(&full).send().await {
                Ok(found) => return Ok(Known::at(found.queue_url.unwrap_or_default())),
                Err(error) if error.as_service_error().is_some_and(|e| e.is_queue_does_not_exist()) => {}
                Err(error) => return Err(said(error)),
            }
        }
        Err(format!("there is no queue `{}`; `echoctl queue stats` lists them", crate::show::plain(name)).into())
    }
}

impl Known {
    /// The queue at a URL: its name ends it.
    pub fn at(url: String) -> Self {
        Self { name: url.rsplit('/').next().unwrap_or_default().to_owned(), url }
    }
}

/// What SQS said, in a sentence.
pub fn said<E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static>(error: SdkError<E>) -> Failure {
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {}", crate::show::plain(message)).into(),
        _ => format!("SQS does not answer: {}", echo_shared::causes::with_causes(&error)).into(),
    }
}
