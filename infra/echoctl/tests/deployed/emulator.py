"""Asks the emulated account what no function may ask it. Usage: emulator.py STACK excuse|insert-only|live-version"""

import json
import sys

import boto3
from botocore.exceptions import ClientError

stack, question = sys.argv[1:]
resources = {
    resource["LogicalResourceId"]: resource
    for resource in boto3.client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]
}


def role_name(function):
    return resources[f"{function}Role"]["PhysicalResourceId"]


# MiniStack asks for actions that AWS does not have. AWS asks for `sqs:SendMessage` also for a batch (Amazon SQS API
# permissions reference), and for the right of each statement of a transaction (Amazon DynamoDB Developer Guide, "IAM
# security policies with PartiQL for DynamoDB"). Whoever has the one gets the other.
EXCUSED = {
    "sqs:SendMessage": "sqs:SendMessageBatch",
    "dynamodb:PartiQLInsert": "dynamodb:ExecuteTransaction",
}


def excuse():
    iam = boto3.client("iam")
    excused = 0
    for name, resource in resources.items():
        if resource["ResourceType"] != "AWS::IAM::Role":
            continue
        role = resource["PhysicalResourceId"]
        statements = []
        for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
            for statement in document["Statement"]:
                for action in statement["Action"]:
                    if action in EXCUSED:
                        # The emulator does not see which tables a transaction names.
                        resource = "*" if "Transaction" in EXCUSED[action] else statement["Resource"]
                        statements.append({"Effect": "Allow", "Action": EXCUSED[action], "Resource": resource})
        if statements:
            document = {"Version": "2012-10-17", "Statement": statements}
            iam.put_role_policy(RoleName=role, PolicyName="emulator", PolicyDocument=json.dumps(document))
            excused += 1
    return excused


def insert_only():
    """What audit-consume's role may do to an entry that is there."""
    table = f"{stack}-audit_log"
    entry = boto3.client("dynamodb").scan(TableName=table)["Items"][0]
    key = {"pk": entry["pk"], "sk": entry["sk"]}
    role = boto3.client("iam").get_role(RoleName=role_name("AuditConsume"))["Role"]["Arn"]
    lent = boto3.client("sts").assume_role(RoleArn=role, RoleSessionName="auditor")["Credentials"]
    dynamodb = boto3.client(
        "dynamodb",
        aws_access_key_id=lent["AccessKeyId"],
        aws_secret_access_key=lent["SecretAccessKey"],
        aws_session_token=lent["SessionToken"],
    )
    insert = f"INSERT INTO \"{table}\" VALUE {{'pk': ?, 'sk': ?}}"
    tries = {
        "PutItem": lambda: dynamodb.put_item(TableName=table, Item=entry),
        "UpdateItem": lambda: dynamodb.update_item(TableName=table, Key=key),
        "DeleteItem": lambda: dynamodb.delete_item(TableName=table, Key=key),
        "GetItem": lambda: dynamodb.get_item(TableName=table, Key=key),
        "Insert": lambda: dynamodb.execute_transaction(
            TransactStatements=[{"Statement": insert, "Parameters": list(key.values())}]
        ),
        "Delete": lambda: dynamodb.execute_statement(
            Statement=f'DELETE FROM "{table}" WHERE pk = ? AND sk = ?', Parameters=list(key.values())
        ),
    }
    found = {}
    for name, attempt in tries.items():
        try:
            attempt()
            found[name] = "done"
        except ClientError as error:
            found[name] = error.response["Error"]["Code"]
    return found


def live_version():
    """The version of LoginFunction that callers get."""
    name = resources["LoginFunction"]["PhysicalResourceId"]
    return int(boto3.client("lambda").get_alias(FunctionName=name, Name="live")["FunctionVersion"])


answers = {"excuse": excuse, "insert-only": insert_only, "live-version": live_version}
print(json.dumps(answers[question]()))
