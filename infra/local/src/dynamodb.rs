//! An embedded DynamoDB: `dynoxide` in process, one SQLite file.

use std::collections::BTreeSet;
use std::path::Path;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, GlobalSecondaryIndexDescription, KeySchemaElement, KeyType,
    Projection, ProjectionType, ScalarAttributeType, TimeToLiveSpecification,
};
use dynoxide::Database;
use echo_shared::causes::with_causes;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::spec::{IndexSpec, TableSpec};
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
    /// A table is there, but not as the template has it.
    #[error("the table {0} was made by another version of Echo, without the index {1}; `--fresh` starts anew")]
    Outdated(String, String),
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
    /// When a table can neither be found nor made, or the one that is found lacks an index.
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
    let build = |error: BuildError| fail(error.to_string());
    let attributes: Result<Vec<_>, _> = key_attributes(table).into_iter().map(attribute).collect();
    let indexes = table.indexes.iter().map(index).collect::<Result<Vec<_>, _>>().map_err(build)?;
    let request = client
        .create_table()
        .table_name(&table.name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_attribute_definitions(Some(attributes.map_err(build)?))
        .set_key_schema(Some(schema(&table.partition_key, table.sort_key.as_deref()).map_err(build)?))
        .set_global_secondary_indexes((!indexes.is_empty()).then_some(indexes));
    match request.send().await {
        Ok(_) => {}
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_in_use_exception()) => {
            return check_indexes(client, table).await;
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

/// The names of the attributes that are keys of the table or of an index, each once.
fn key_attributes(table: &TableSpec) -> BTreeSet<&str> {
    let own = (&table.partition_key, &table.sort_key);
    let keys = table.indexes.iter().map(|index| (&index.partition_key, &index.sort_key)).chain([own]);
    keys.flat_map(|(partition, sort)| [Some(partition), sort.as_ref()]).flatten().map(String::as_str).collect()
}

fn attribute(name: &str) -> Result<AttributeDefinition, BuildError> {
    AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build()
}

fn schema(partition_key: &str, sort_key: Option<&str>) -> Result<Vec<KeySchemaElement>, BuildError> {
    let keys = [(Some(partition_key), KeyType::Hash), (sort_key, KeyType::Range)];
    let keys = keys.into_iter().filter_map(|(name, kind)| Some((name?, kind)));
    keys.map(|(name, kind)| KeySchemaElement::builder().attribute_name(name).key_type(kind).build()).collect()
}

fn index(spec: &IndexSpec) -> Result<GlobalSecondaryIndex, BuildError> {
    GlobalSecondaryIndex::builder()
        .index_name(&spec.name)
        .set_key_schema(Some(schema(&spec.partition_key, spec.sort_key.as_deref())?))
        .projection(Projection::builder().projection_type(ProjectionType::All).build())
        .build()
}

/// A table that was there already has the indexes that are wanted, with the keys that are wanted, or cannot be used.
async fn check_indexes(client: &Client, table: &TableSpec) -> Result<(), DynamoDbError> {
    let described = client.describe_table().table_name(&table.name).send().await;
    let described = described.map_err(|error| DynamoDbError::Table(table.name.clone(), with_causes(&error)))?;
    let found = described.table.and_then(|table| table.global_secondary_indexes).unwrap_or_default();
    for wanted in &table.indexes {
        let schema = schema(&wanted.partition_key, wanted.sort_key.as_deref()).ok();
        let fits = |index: &GlobalSecondaryIndexDescription| {
            index.index_name.as_ref() == Some(&wanted.name) && index.key_schema == schema
        };
        if !found.iter().any(fits) {
            return Err(DynamoDbError::Outdated(table.name.clone(), wanted.name.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{DynamoDb, DynamoDbError};
    use crate::spec::{IndexSpec, TableSpec};

    #[tokio::test]
    async fn a_table_of_an_earlier_version_is_not_taken_for_todays() {
        let index = |sort_key: &str| IndexSpec {
            name: "by_time".into(),
            partition_key: "by_time".into(),
            sort_key: Some(sort_key.into()),
        };
        let table = |indexes: Vec<IndexSpec>| TableSpec {
            name: "table".into(),
            partition_key: "pk".into(),
            sort_key: None,
            ttl_attribute: None,
            indexes,
        };
        let database = DynamoDb::start(None).await.unwrap();
        database.create_tables(&[table(vec![index("at")])]).await.unwrap();
        database.create_tables(&[table(vec![index("at")])]).await.unwrap();
        database.create_tables(&[table(Vec::new())]).await.unwrap();
        let error = database.create_tables(&[table(vec![index("other")])]).await.unwrap_err();
        assert!(matches!(error, DynamoDbError::Outdated(_, _)), "{error}");
        assert!(error.to_string().contains("--fresh"), "{error}");
    }
}
