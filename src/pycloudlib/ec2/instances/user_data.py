"""User data for cloud-init.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data.html
"""

from __future__ import annotations

from email.message import Message

from pycloudlib.errors import InvalidArgumentError

MAX_USER_DATA = 16 * 1024
"""Bytes before the base64 encoding."""

UserData = str | bytes | Message
"""A string, bytes, or a MIME message, such as cloud-init's multi-part archives."""


def checked_user_data(user_data: UserData | None) -> str | bytes | None:
    """Return user data in the form of RunInstances.

    Args:
        user_data: the argument of launch(); None for no user data.

    Raises:
        InvalidArgumentError: the user data has another type, exceeds 16 KiB, or cannot be encoded. The message does not
            quote it.
    """
    if user_data is None:
        return None
    if not isinstance(user_data, (str, bytes, Message)):
        raise InvalidArgumentError(
            f"user_data is a {type(user_data).__name__}; it must be a string, bytes, or an email.message.Message"
        )
    try:
        content = user_data.as_bytes() if isinstance(user_data, Message) else user_data
        size = len(content.encode() if isinstance(content, str) else content)
    except (UnicodeError, LookupError) as error:
        # The error itself would quote the user data.
        raise InvalidArgumentError(f"the user data cannot be encoded: {error.__class__.__name__}") from None
    if size > MAX_USER_DATA:
        raise InvalidArgumentError(
            f"the user data has {size} bytes; the maximum is {MAX_USER_DATA}. "
            "Compress it with gzip, which cloud-init unpacks, or let it fetch the rest"
        )
    return content
