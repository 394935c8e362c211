//! The private MariaDB: crashes, cut-off beginnings, two at once.

use std::time::Duration;

use echo_local::mysql::{MySqlError, Server};
use echo_local::process::signal_group;
use echo_local::queue::{Outgoing, QueueError, Queues, Receive};

use super::support::{folder, one, q, send, serve};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_keeps_what_it_acknowledged() {
    let folder = folder("killed");
    let (data, run, log) = (folder.join("mysql"), folder.join("run"), folder.join("log"));
    // A first start that was cut off half-way.
    std::fs::create_dir_all(data.join("data.new/mysql")).unwrap();
    std::fs::write(data.join("data.new/ibdata1"), "half").unwrap();

    let begin = std::time::Instant::now();
    let server = Server::start(&data, &run, &log).await.unwrap();
    println!("first start: {:?}", begin.elapsed());
    assert!(!data.join("data.new").exists());
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid().unwrap())).unwrap();
    println!("{}", status.lines().find(|line| line.starts_with("VmRSS")).unwrap());
    let second = Server::start(&data, &run, &log).await;
    assert!(matches!(second, Err(MySqlError::InUse(_))));

    let queues = Queues::new(server.database("echo").await.unwrap(), vec![q(1)]);
    let (_, base_url) = serve(queues.clone()).await;
    let mut acknowledged = send(&queues, &["x"; 20]).await;
    let in_flight = one(&queues, "q").await.message_id;
    let busy: Vec<_> = (0..4).map(|_| tokio::spawn(send_until_it_fails(queues.clone()))).collect();
    while queues.counts("q").await.unwrap().visible < 60 {
        tokio::task::yield_now().await;
    }
    signal_group(server.pid().unwrap(), "KILL").await;
    server.ended().await;
    for task in busy {
        acknowledged.extend(task.await.unwrap());
    }
    let down = queues.receive("q", Receive::up_to(1)).await;
    assert!(matches!(down, Err(QueueError::Unavailable(_))), "{down:?}");
    let answer = reqwest::Client::new()
        .post(&base_url)
        .header("x-amz-target", "AmazonSQS.ReceiveMessage")
        .body(format!(r#"{{"QueueUrl": "{base_url}/q"}}"#))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 503);
    drop(server);

    let begin = std::time::Instant::now();
    let server = Server::start(&data, &run, &log).await.unwrap();
    println!("start after a crash: {:?}", begin.elapsed());
    // The same queues, the same pool: they connect again by themselves.
    assert!(acknowledged.contains(&in_flight));
    while !acknowledged.is_empty() {
        let wanted = Receive { wait: Duration::from_secs(5), ..Receive::up_to(10) };
        let messages = queues.receive("q", wanted).await.unwrap();
        assert!(!messages.is_empty(), "lost: {acknowledged:?}");
        let receipts: Vec<_> = messages.iter().map(|message| message.receipt).collect();
        queues.delete("q", &receipts).await.unwrap();
        acknowledged.retain(|id| messages.iter().all(|message| message.message_id != *id));
    }
    server.stop().await;
}

async fn send_until_it_fails(queues: Queues) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let message = [Outgoing { body: "y".into(), delay: None }];
    while let Ok(sent) = queues.send("q", &message).await {
        acknowledged.extend(sent.into_iter().map(|sent| sent.unwrap().message_id));
    }
    acknowledged
}

#[tokio::test]
async fn a_long_runtime_directory_is_refused_in_one_sentence() {
    let folder = folder("long");
    let run = folder.join("x".repeat(100));
    let error = Server::start(&folder.join("mysql"), &run, &folder.join("log")).await.err().unwrap();
    assert!(matches!(error, MySqlError::LongPath(_)), "{error}");
}
