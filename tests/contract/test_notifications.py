"""SNS: a subscribed HTTP endpoint on loopback receives what is published."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
import pytest

from pycloudlib.ec2.cloud import EC2
from pycloudlib.errors import InvalidArgumentError, ResourceNotFoundError
from support.subscriber import Subscriber, subscriber

if TYPE_CHECKING:
    from contract.conftest import Endpoint


@pytest.fixture
def listener() -> Iterator[Subscriber]:
    with subscriber() as listener:
        yield listener


@pytest.fixture
def topic(endpoint: Endpoint, ec2: EC2, listener: Subscriber) -> Iterator[str]:
    """A topic to which the listener is subscribed."""
    sns = boto3.client(
        "sns",
        region_name=endpoint.region,
        aws_access_key_id=endpoint.access_key_id,
        aws_secret_access_key=endpoint.secret_access_key,
        endpoint_url=endpoint.url,
    )
    topic_arn = sns.create_topic(Name=ec2.tag)["TopicArn"]
    sns.subscribe(TopicArn=topic_arn, Protocol=urlsplit(listener.url).scheme, Endpoint=listener.url)
    yield topic_arn
    sns.delete_topic(TopicArn=topic_arn)


def test_a_notification_of_ones_own_reaches_the_subscriber(ec2: EC2, topic: str, listener: Subscriber) -> None:
    message_id = ec2.notify(topic, "build 7", "it's done: 100 % of ümläuts")
    received = listener.next_notification()
    assert (received["Subject"], received["Message"]) == ("build 7", "it's done: 100 % of ümläuts")
    assert (received["TopicArn"], received["MessageId"]) == (topic, message_id)


def test_completed_snapshot_is_notified_once(ec2: EC2, topic: str, listener: Subscriber) -> None:
    volume = ec2.create_volume(1)
    snapshot = volume.snapshot("the nightly one", notify=topic)
    received = listener.next_notification()
    assert received["Subject"] == f"{snapshot.id} has completed"
    assert volume.id in received["Message"]
    assert "the nightly one" in received["Message"]
    assert not listener.has_more


@pytest.mark.parametrize(
    ("notification", "reason"),
    [
        (("", "text"), "1 to 100 printable ASCII"),
        (("x" * 101, "text"), "1 to 100 printable ASCII"),
        (("two\nlines", "text"), "1 to 100 printable ASCII"),
        (("ümlaut", "text"), "1 to 100 printable ASCII"),
        ((" space", "text"), "1 to 100 printable ASCII"),
        (("fine", ""), "has 0 bytes"),
        (("fine", "x" * (256 * 1024 + 1)), "has 262145 bytes"),
    ],
)
def test_what_sns_would_refuse_is_refused_here(
    ec2: EC2, topic: str, listener: Subscriber, notification: tuple[str, str], reason: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=reason):
        ec2.notify(topic, *notification)
    assert not listener.has_more


@pytest.mark.parametrize(
    "wrong",
    ["", "topic", "arn:aws:sqs:us-east-1:123456789012:t", "arn:aws:sns:us-east-1:12345:t", "arn:aws:sns:::t", None],
)
def test_a_topic_that_is_no_arn_is_refused(ec2: EC2, wrong: str) -> None:
    with pytest.raises(InvalidArgumentError, match="is not the ARN of a standard SNS topic"):
        ec2.notify(wrong, "subject", "message")


def test_a_topic_that_is_not_there_is_named(ec2: EC2) -> None:
    missing = "arn:aws:sns:us-east-1:123456789012:no-such-topic"
    with pytest.raises(ResourceNotFoundError, match=missing):
        ec2.notify(missing, "subject", "message")
