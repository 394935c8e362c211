//! An embedded DynamoDB: `dynoxide` in process, one SQLite file.

use std::path::Path;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TimeToLiveSpecification,
};
use dynoxide::Database;
use echo_shared::causes::with_causes;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::spec::TableSpec;
use crate::template::REGION;

/// A running DynamoDB endpoint on loopback.
pub struct DynamoDb {
    endpoint: String,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

/// The local DynamoDB cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DynamoDbError {
    /// The database file cannot be opened.
    #[error("cannot open the local DynamoDB: {0}; `--fresh` starts with an empty one")]
    Open(String),
    /// No port could be had.
    #[error("cannot listen on loopback: {0}")]
    Listen(#[from] std::io::Error),
    /// A table could not be made.
    #[error("cannot create table {0}: {1}")]
    Table(String, String),
}

impl DynamoDb {
    /// Serves the database in `file`, or one in memory.
    ///
    /// # Errors
    /// When the file cannot be opened or no port can be had.
    pub async fn start(file: Option<&Path>) -> Result<Self, DynamoDbError> {
        let database = match file {
            Some(file) => Database::new(&file.to_string_lossy()),
            None => Database::memory(),
        };
        let database = database.map_err(|error| DynamoDbError::Open(error.to_string()))?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            let until = async {
                let _ = stopped.await;
            };
            if let Err(error) = dynoxide::server::serve_with_shutdown(listener, database, until).await {
                tracing::error!(error, "the local DynamoDB stopped");
            }
        });
        Ok(Self { endpoint, stop: Some(stop), server })
    }

    /// The endpoint URL for any AWS SDK.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// An SDK client for it.
    pub fn client(&self) -> Client {
        client(&self.endpoint)
    }

    /// Creates the tables that are not there yet.
    ///
    /// # Errors
    /// When a table can neither be found nor made.
    pub async fn create_tables(&self, tables: &[TableSpec]) -> Result<(), DynamoDbError> {
        let client = self.client();
        for table in tables {
            create_table(&client, table).await?;
        }
        Ok(())
    }

    /// Stops serving; requests that run are finished.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let _ = tokio::time::timeout(std::time::Duration::from_secs(5), self.server).await;
    }
}

/// An SDK client for a local endpoint.
pub fn client(endpoint: &str) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new("local", "local", None, None, "echo-local"))
        .endpoint_url(endpoint);
    Client::from_conf(config.build())
}

async fn create_table(client: &Client, table: &TableSpec) -> Result<(), DynamoDbError> {
    let fail = |error: String| DynamoDbError::Table(table.name.clone(), error);
    let mut request = client.create_table().table_name(&table.name).billing_mode(BillingMode::PayPerRequest);
    let keys = [(Some(&table.partition_key), KeyType::Hash), (table.sort_key.as_ref(), KeyType::Range)];
    for (name, kind) in keys {
        let Some(name) = name else { continue };
        let attribute = AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S);
        let key = KeySchemaElement::builder().attribute_name(name).key_type(kind);
        request = request
            .attribute_definitions(attribute.build().map_err(|error| fail(error.to_string()))?)
            .key_schema(key.build().map_err(|error| fail(error.to_string()))?);
    }
    match request.send().await {
        Ok(_) => {}
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_in_use_exception()) => {
            return Ok(());
        }
        Err(error) => return Err(fail(with_causes(&error))),
    }
    if let Some(attribute) = &table.ttl_attribute {
        let ttl = TimeToLiveSpecification::builder().attribute_name(attribute).enabled(true).build();
        let ttl = ttl.map_err(|error| fail(error.to_string()))?;
        let request = client.update_time_to_live().table_name(&table.name).time_to_live_specification(ttl);
        request.send().await.map_err(|error| fail(with_causes(&error)))?;
    }
    Ok(())
}
