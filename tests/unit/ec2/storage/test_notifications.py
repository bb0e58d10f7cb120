"""Snapshots that fail are told too, and what cannot be told does not hide what failed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pycloudlib.ec2.api.region_context import RegionContext
from pycloudlib.ec2.storage.notifications import clipped_subject, publish, region_of_topic
from pycloudlib.ec2.storage.volume import Volume
from pycloudlib.ec2.storage.volumes import VolumeDescription, Volumes
from pycloudlib.errors import CloudError, IllegalStateError, InvalidArgumentError, PycloudlibTimeoutError
from support.region_contexts import region_context_at
from support.scripted_ec2 import ScriptedEC2
from support.subscriber import Subscriber, subscriber

PENDING = "<snapshotId>snap-1</snapshotId><volumeId>vol-1</volumeId><status>pending</status>"
ERROR = PENDING.replace("pending", "error") + "<statusMessage>no key</statusMessage>"
FAILED = f"<snapshotSet><item>{ERROR}</item></snapshotSet>"
COMPLETED = f"<snapshotSet><item>{PENDING.replace('pending', 'completed')}</item></snapshotSet>"
MISSING = "arn:aws:sns:us-east-1:123456789012:missing"


@pytest.fixture
def listener() -> Iterator[Subscriber]:
    with subscriber() as listener:
        yield listener


@pytest.fixture
def scope(script: ScriptedEC2, moto_url: str) -> RegionContext:
    """EC2 is scripted; SNS is moto's."""
    scope = region_context_at(script.url)
    return replace(scope, session=region_context_at(moto_url).session)


@pytest.fixture
def topic(scope: RegionContext, listener: Subscriber) -> Iterator[str]:
    sns = scope.session.client_of("sns", scope.region)
    topic_arn: str = sns.create_topic(Name="builds")["TopicArn"]
    sns.subscribe(TopicArn=topic_arn, Protocol="http", Endpoint=listener.url)
    yield topic_arn
    # moto gives up at the first subscriber that is not there any more.
    sns.delete_topic(TopicArn=topic_arn)


@pytest.fixture
def volume(scope: RegionContext) -> Volume:
    return Volume(VolumeDescription("vol-1", "in-use"), Volumes(scope))


def test_failed_snapshot_is_notified_and_raised(
    script: ScriptedEC2, volume: Volume, topic: str, listener: Subscriber
) -> None:
    script.answer("CreateSnapshot", PENDING)
    script.answer("DescribeSnapshots", FAILED)
    with pytest.raises(IllegalStateError, match="no key"):
        volume.snapshot(notify=topic)
    told = listener.next_notification()
    assert told["Subject"] == "snap-1 has failed"
    assert "vol-1" in told["Message"]
    assert "no key" in told["Message"]


def test_snapshot_timeout_is_notified_and_raised(
    script: ScriptedEC2, volume: Volume, topic: str, listener: Subscriber
) -> None:
    script.answer("CreateSnapshot", PENDING)
    script.answer("DescribeSnapshots", f"<snapshotSet><item>{PENDING}</item></snapshotSet>")
    with pytest.raises(PycloudlibTimeoutError):
        volume.snapshot(notify=topic, timeout=0)
    assert listener.next_notification()["Subject"] == "snap-1 was not completed in time"


def test_failed_notification_does_not_hide_the_failure(
    script: ScriptedEC2, volume: Volume, caplog: pytest.LogCaptureFixture
) -> None:
    script.answer("CreateSnapshot", PENDING)
    script.answer("DescribeSnapshots", FAILED)
    with caplog.at_level(logging.ERROR), pytest.raises(IllegalStateError, match="no key"):
        volume.snapshot(notify=MISSING)
    assert f"snap-1 has failed, but {MISSING} was not notified" in caplog.text


def test_failed_notification_of_success_names_the_snapshot(script: ScriptedEC2, volume: Volume) -> None:
    script.answer("CreateSnapshot", PENDING)
    script.answer("DescribeSnapshots", COMPLETED)
    with pytest.raises(CloudError, match=f"snap-1 has completed, but {MISSING} was not notified: there is no topic"):
        volume.snapshot(notify=MISSING)


def test_the_region_is_the_topics_own() -> None:
    assert region_of_topic("arn:aws-cn:sns:cn-north-1:123456789012:a_b-c") == "cn-north-1"
    with pytest.raises(InvalidArgumentError, match="is not the ARN of a standard SNS topic"):
        region_of_topic("arn:aws:sns:us-east-1:123456789012:queue.fifo")


def test_topic_in_another_region_is_notified_there(scope: RegionContext, listener: Subscriber) -> None:
    sns = scope.session.client_of("sns", "eu-west-1")
    topic_arn = sns.create_topic(Name="elsewhere")["TopicArn"]
    sns.subscribe(TopicArn=topic_arn, Protocol="http", Endpoint=listener.url)
    publish(scope.session, topic_arn, "hello", "from there")
    assert listener.next_notification()["Message"] == "from there"


@pytest.mark.parametrize(
    ("text", "subject"), [("fine", "fine"), ("two\n lines", "two lines"), ("ümlaut", "?mlaut"), ("x" * 200, "x" * 100)]
)
def test_any_text_can_be_made_a_subject(text: str, subject: str) -> None:
    assert clipped_subject(text) == subject
