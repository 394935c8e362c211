"""Drives the local SQS with boto3. Argument: what queue URLs begin with. Queues: q (visibility 1 s, one receive), dead."""

import sys
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

base = sys.argv[1]
endpoint = "{0.scheme}://{0.netloc}".format(urlsplit(base))
config = Config(retries={"max_attempts": 1}, connect_timeout=5, read_timeout=30)
sqs = boto3.client(
    "sqs", endpoint_url=endpoint, region_name="us-east-1", config=config,
    aws_access_key_id="test", aws_secret_access_key="test",
)


def refused(call, code, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error.response
    else:
        raise AssertionError(f"{code} expected")


url = sqs.get_queue_url(QueueName="q")["QueueUrl"]
dead = sqs.get_queue_url(QueueName="dead")["QueueUrl"]
assert url == f"{base}/q", url
assert sqs.list_queues(QueueNamePrefix="q")["QueueUrls"] == [url]
refused(sqs.get_queue_url, "AWS.SimpleQueueService.NonExistentQueue", QueueName="nowhere")
refused(sqs.send_message, "InvalidMessageContents", QueueUrl=url, MessageBody="\x01")
refused(sqs.send_message_batch, "AWS.SimpleQueueService.EmptyBatchRequest", QueueUrl=url, Entries=[])

# boto3 checks the digests by itself.
body = "{\"text\": \"😀 'quoted' \\n\"}\r\n\t"
sent = sqs.send_message(QueueUrl=url, MessageBody=body)
message = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5, AttributeNames=["All"])["Messages"][0]
assert message["Body"] == body and message["MessageId"] == sent["MessageId"], message
assert message["Attributes"]["ApproximateReceiveCount"] == "1", message
sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

entries = [{"Id": str(n), "MessageBody": f"body {n}"} for n in range(10)]
answer = sqs.send_message_batch(QueueUrl=url, Entries=entries)
assert len(answer["Successful"]) == 10 and "Failed" not in answer, answer
received = []
while len(received) < 10:
    received += sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=60)["Messages"]
assert sorted(message["Body"] for message in received) == sorted(entry["MessageBody"] for entry in entries)
handles = [{"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(received)]
attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
assert attributes["ApproximateNumberOfMessagesNotVisible"] == "10", attributes
assert len(sqs.delete_message_batch(QueueUrl=url, Entries=handles[:9])["Successful"]) == 9

# One receive is allowed; the next one moves the message.
last = handles[9]["ReceiptHandle"]
sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=last, VisibilityTimeout=0)
assert "Messages" not in sqs.receive_message(QueueUrl=url)
letter = sqs.receive_message(QueueUrl=dead, MessageSystemAttributeNames=["All"], WaitTimeSeconds=5)["Messages"][0]
assert letter["MessageId"] == received[9]["MessageId"], letter
assert letter["Attributes"]["DeadLetterQueueSourceArn"].endswith(":q"), letter

sqs.purge_queue(QueueUrl=dead)
refused(sqs.purge_queue, "AWS.SimpleQueueService.PurgeQueueInProgress", QueueUrl=dead)
