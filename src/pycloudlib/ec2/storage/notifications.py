"""Notifications to the subscribers of an SNS topic."""

from __future__ import annotations

import logging
import re
from functools import partial

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.faults import NEVER, responded
from pycloudlib.ec2.api.session import Session
from pycloudlib.errors import CloudError, InvalidArgumentError, ResourceNotFoundError

logger = logging.getLogger(__name__)

MAX_SUBJECT_LENGTH = 100
MAX_MESSAGE_BYTES = 256 * 1024
"""SNS's limits. See https://docs.aws.amazon.com/sns/latest/api/API_Publish.html"""

_TOPIC = re.compile(r"arn:aws[a-z-]*:sns:(?P<region>[a-z0-9-]+):\d{12}:[A-Za-z0-9_-]{1,256}")


def region_of_topic(topic_arn: str) -> str:
    """Return the region of a topic.

    Args:
        topic_arn: the topic's ARN, such as "arn:aws:sns:eu-central-1:123456789012:builds".

    Raises:
        InvalidArgumentError: it is not the ARN of a standard SNS topic.
    """
    match = _TOPIC.fullmatch(topic_arn) if isinstance(topic_arn, str) else None
    if match is None:
        raise InvalidArgumentError(
            f"{topic_arn!r} is not the ARN of a standard SNS topic "
            "such as 'arn:aws:sns:eu-central-1:123456789012:builds'"
        )
    return match["region"]


def clipped_subject(text: str) -> str:
    """Convert a text to a valid subject: one line of ASCII, truncated to SNS's limit."""
    return re.sub(r"[^ -~]+", "?", " ".join(text.split()))[:MAX_SUBJECT_LENGTH]


def publish(session: Session, topic_arn: str, subject: str, message: str, deadline: Deadline = NEVER) -> str:
    """Publish a message to a topic (SNS Publish).

    Args:
        session: the credentials and the endpoint; the region is the topic's own.
        topic_arn: the topic's ARN.
        subject: the subject of e-mails: 1 to 100 printable ASCII characters.
        message: the message: 1 byte to 256 KiB of UTF-8.
        deadline: when to stop waiting for SNS; default never.

    Returns:
        The message id.

    Raises:
        InvalidArgumentError: an argument is invalid.
        ResourceNotFoundError: the topic does not exist.
        CloudError: SNS rejected the request.
    """
    region = region_of_topic(topic_arn)
    _check(subject, message)
    client = session.client_of("sns", region)
    try:
        message_id: str = responded(
            partial(client.publish, TopicArn=topic_arn, Subject=subject, Message=message),
            what=f"publish to {topic_arn}",
            deadline=deadline,
        )["MessageId"]
    except CloudError as error:
        if error.code not in ("NotFound", "NotFoundException"):
            raise
        raise ResourceNotFoundError(
            message=f"there is no topic {topic_arn}", resource_id=topic_arn, code=error.code, operation="Publish"
        ) from error
    logger.info("published %r to %s", subject, topic_arn)
    return message_id


def _check(subject: str, message: str) -> None:
    if not isinstance(subject, str) or not re.fullmatch(rf"[!-~][ -~]{{0,{MAX_SUBJECT_LENGTH - 1}}}", subject):
        raise InvalidArgumentError(
            f"the subject of a notification is {subject!r}; it must have 1 to {MAX_SUBJECT_LENGTH} printable ASCII "
            "characters, the first one no space"
        )
    size = len(message.encode()) if isinstance(message, str) else 0
    if not 1 <= size <= MAX_MESSAGE_BYTES:
        raise InvalidArgumentError(
            f"the message of a notification has {size} bytes; it must be a string of 1 to {MAX_MESSAGE_BYTES}"
        )
