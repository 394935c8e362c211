//! Checkpoints off the database.

use audit_consume::copy;

use super::super::echo::{Echo, consume};
use super::super::s3;
use super::{event_of, events};

/// The files in a folder and below, by path, with what is in them.
fn files(folder: &std::path::Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path => found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap())),
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_log_s_checkpoint_is_copied_once_for_each_size() {
    let echo = Echo::start().await;
    let (aws, folder) = s3::start("copies").await;
    let run = async || copy(&echo.audit.heads, &aws.s3(), "b").await.unwrap();
    assert_eq!(run().await, 0, "there is nothing yet");
    for org in 0..70 {
        assert!(echo.consume(&[event_of(&format!("o{org}"), "1")]).await.is_empty());
    }
    assert_eq!((run().await, files(&folder).len()), (70, 70));
    assert_eq!((run().await, files(&folder).len()), (70, 70), "what is there stays");
    assert!(echo.consume(&[event_of("o7", "2")]).await.is_empty());
    assert_eq!((run().await, files(&folder).len()), (70, 71));
    let kept: Vec<String> =
        files(&folder).into_iter().filter(|(name, _)| name.contains("/o7/")).map(|(_, note)| note).collect();
    assert_eq!(echo.verify("o7", &kept).await.unwrap().checkpoints, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_log_of_the_same_size_is_another_copy() {
    let echo = Echo::start().await;
    let (aws, folder) = s3::start("forks").await;
    assert!(echo.consume(&events(0..5)).await.is_empty());
    copy(&echo.audit.heads, &aws.s3(), "b").await.unwrap();
    // Tables that were emptied, and a log that grows another way.
    let other = Echo::start().await;
    assert!(consume(&other.audit, &events(10..15)).await.is_empty());
    copy(&other.audit.heads, &aws.s3(), "b").await.unwrap();
    assert_eq!(files(&folder).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_not_there_is_a_failed_run() {
    let echo = Echo::start().await;
    let (aws, _) = s3::start("nowhere").await;
    assert!(echo.consume(&events(0..5)).await.is_empty());
    let error = copy(&echo.audit.heads, &aws.s3(), "elsewhere").await.unwrap_err();
    assert!(error.to_string().contains("echo.test/audit/v1/log/demo/0000000000000000005-"), "{error}");
}
