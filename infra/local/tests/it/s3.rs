//! The local S3: the real SDK, and requests that no SDK would send.

use std::path::PathBuf;

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use echo_local::s3;
use echo_shared::aws::Aws;
use echo_shared::config::Env;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::support;

async fn serve(name: &str) -> (String, PathBuf) {
    let root = support::folder("s3").join(name);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = watch::channel(false);
    // A closed channel would stop the server.
    std::mem::forget(stop);
    tokio::spawn(s3::serve(listener, root.clone(), vec!["b".into()], stopped));
    (address, root)
}

/// Serves the bucket `b`: what makes clients of it, and the bucket's folder.
pub async fn start(name: &str) -> (Aws, PathBuf) {
    let (address, root) = serve(name).await;
    let get = |key: &str| match key {
        "AWS_ENDPOINT_URL_S3" => Some(format!("http://{address}")),
        "AWS_REGION" => Some("us-east-1".to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("test".to_owned()),
        _ => None,
    };
    (Env::from_fn(get).read(Aws::read).unwrap(), root.join("b"))
}

#[tokio::test]
async fn an_object_is_a_file() {
    let (aws, folder) = start("file").await;
    let s3 = aws.s3();
    let put = |key: &str, text: &str| s3.put_object().bucket("b").key(key).body(text.as_bytes().to_vec().into());
    let read = |key: &str| std::fs::read_to_string(folder.join(key)).unwrap();
    put("echo.test/log/dem o+ü/1", "one").send().await.unwrap();
    assert_eq!(read("echo.test/log/dem o+ü/1"), "one");
    put("a", "first").if_none_match("*").send().await.unwrap();
    let error = put("a", "second").if_none_match("*").send().await.unwrap_err();
    assert_eq!((error.code(), error.raw_response().unwrap().status().as_u16()), (Some("PreconditionFailed"), 412));
    assert_eq!(read("a"), "first");
    put("a", "third").send().await.unwrap();
    assert_eq!(read("a"), "third");
    put("empty", "").if_none_match("*").send().await.unwrap();
    assert_eq!(read("empty"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_make_an_object_one_does() {
    let (aws, folder) = start("race").await;
    let s3 = aws.s3();
    let mut writers = JoinSet::new();
    for n in 0..20 {
        let put = s3.put_object().bucket("b").key("k").if_none_match("*").body(n.to_string().into_bytes().into());
        writers.spawn(async move {
            let refused = put.send().await.err();
            refused.map_or_else(|| n.to_string(), |error| error.code().unwrap_or_default().to_owned())
        });
    }
    let mut answers = writers.join_all().await;
    let refused = answers.extract_if(.., |answer| answer == "PreconditionFailed").count();
    assert_eq!((refused, answers.len()), (19, 1));
    assert_eq!(std::fs::read_to_string(folder.join("k")).unwrap(), answers[0]);
}

#[tokio::test]
async fn what_is_not_offered_is_refused() {
    let (aws, folder) = start("refused").await;
    let s3 = aws.s3();
    let put = |size: usize| s3.put_object().bucket("b").key("k").body(vec![b'x'; size].into());
    let large = put(1_048_577).send().await.unwrap_err();
    assert_eq!(large.code(), Some("EntityTooLarge"));
    assert!(!folder.join("k").exists());
    put(1_048_576).send().await.unwrap();
    let elsewhere = s3.put_object().bucket("c").key("k").send().await.unwrap_err();
    assert_eq!((elsewhere.code(), elsewhere.raw_response().unwrap().status().as_u16()), (Some("NoSuchBucket"), 404));
    let get = s3.get_object().bucket("b").key("k").send().await.unwrap_err();
    assert_eq!((get.code(), get.raw_response().unwrap().status().as_u16()), (Some("NotImplemented"), 501));
    let not_offered = Some("NotImplemented");
    assert_eq!(s3.delete_object().bucket("b").key("k").send().await.unwrap_err().code(), not_offered);
    assert_eq!(s3.list_objects_v2().bucket("b").send().await.unwrap_err().code(), not_offered);
    assert_eq!(s3.create_bucket().bucket("d").send().await.unwrap_err().code(), not_offered);
    assert_eq!(put(1).if_match("x").send().await.unwrap_err().code(), not_offered);
    assert_eq!(put(1).if_none_match("x").send().await.unwrap_err().code(), not_offered);
    let copy = s3.copy_object().bucket("b").key("c").copy_source("b/k");
    assert_eq!(copy.send().await.unwrap_err().code(), not_offered);
    let part = s3.upload_part().bucket("b").key("k").upload_id("u").part_number(1);
    assert_eq!(part.send().await.unwrap_err().code(), not_offered);
}

/// The answer to a request as it stands here.
async fn raw(address: &str, path: &str, headers: &str, body: &str) -> String {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let head = format!("PUT {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}");
    connection.write_all(format!("{head}\r\n{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn no_key_leads_out_of_its_bucket() {
    let (address, root) = serve("traversal").await;
    for path in ["/b/../c", "/b/%2e%2e/c", "/b/a/..%2f..%2fc", "/b//etc/c", "/b/a%00", "/b/a/", "/b/%ff", "/b/%2Fc"] {
        let answer = raw(&address, path, "", "x").await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("<Code>InvalidURI</Code>"), "{path}: {answer}");
    }
    for path in ["/../c", "/%2e%2e/c", "/.drafts/c"] {
        let answer = raw(&address, path, "", "x").await;
        assert!(answer.contains("<Code>NoSuchBucket</Code>"), "{path}: {answer}");
    }
    assert!(!root.exists(), "nothing was written");
}

#[tokio::test]
async fn a_body_in_chunks_is_joined() {
    let (address, root) = serve("chunks").await;
    let chunked = "content-encoding: aws-chunked\r\nx-amz-decoded-content-length: 6\r\n";
    let trailer = "x-amz-checksum-crc32:AA==\r\n\r\n";
    let answer = raw(&address, "/b/k", chunked, &format!("5\r\nhello\r\n1\r\n!\r\n0\r\n{trailer}")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(std::fs::read_to_string(root.join("b/k")).unwrap(), "hello!");
    let short = raw(&address, "/b/short", chunked, &format!("5\r\nhello\r\n0\r\n{trailer}")).await;
    assert!(short.contains("<Code>IncompleteBody</Code>"), "{short}");
    assert!(!root.join("b/short").exists());
}
