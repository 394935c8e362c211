//! Checkpoints off the database: who rolls the tables back cannot roll these back with them.

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use echo_shared::audit::chunk::key;
use echo_shared::causes::with_causes;
use echo_shared::table::{Table, TableError, unavailable};
use echo_shared::telemetry::hex;
use tokio::task::JoinSet;

/// Checkpoints that are on their way at the same time.
const AT_ONCE: usize = 32;

/// A copy was not made; the next run tries again.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The heads could not be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The bucket did not take a checkpoint.
    #[error("cannot copy the checkpoint {0}: {1}")]
    Bucket(String, String),
    /// A copy broke off.
    #[error("a copy broke off: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

/// Puts the checkpoint of every log into `bucket`: an object for every size and root, never overwritten. Two roots of
/// one size are two objects, and whoever is given both sees that the log is not what it was.
///
/// # Errors
/// When the heads cannot be read, or any checkpoint was not taken; the others were tried all the same.
pub async fn copy(heads: &Table, s3: &Client, bucket: &str) -> Result<usize, CopyError> {
    let (client, table) = heads.raw();
    let (mut copied, mut failed, mut start) = (0, None, None);
    loop {
        let scan = client.scan().table_name(table).consistent_read(true).set_exclusive_start_key(start);
        let scan = scan.filter_expression("begins_with(pk, :head)");
        let scan = scan.expression_attribute_values(":head", AttributeValue::S(key::HEAD.into()));
        let page = scan.send().await.map_err(unavailable)?;
        let items = page.items.unwrap_or_default();
        let notes: Vec<_> = items.iter().filter_map(|item| item.get("checkpoint")?.as_s().ok().cloned()).collect();
        for some in notes.chunks(AT_ONCE) {
            let mut puts = JoinSet::new();
            for note in some {
                puts.spawn(put(s3.clone(), bucket.to_owned(), note.clone()));
            }
            while let Some(done) = puts.join_next().await {
                match done.map_err(CopyError::from).flatten() {
                    Ok(()) => copied += 1,
                    Err(error) => failed = Some(error),
                }
            }
        }
        start = page.last_evaluated_key;
        if start.is_none() {
            return failed.map_or(Ok(copied), Err);
        }
    }
}

async fn put(s3: Client, bucket: String, note: String) -> Result<(), CopyError> {
    let name = name(&note);
    let put = s3.put_object().bucket(bucket).key(&name).if_none_match("*").content_type("text/plain; charset=utf-8");
    match put.body(ByteStream::from(note.into_bytes())).send().await {
        Ok(_) => Ok(()),
        // It is there: nothing was appended since.
        Err(error) if error.code() == Some("PreconditionFailed") => Ok(()),
        Err(error) => Err(CopyError::Bucket(name, with_causes(&error))),
    }
}

/// `{origin}/{size in 19 digits}-{the first 8 bytes of the root in hex}`.
fn name(note: &str) -> String {
    let mut lines = note.lines();
    let mut line = || lines.next().unwrap_or_default();
    let (origin, size, root) = (line(), line(), STANDARD.decode(line()).unwrap_or_default());
    format!("{origin}/{size:0>19}-{}", hex(root.get(..8).unwrap_or_default()))
}
