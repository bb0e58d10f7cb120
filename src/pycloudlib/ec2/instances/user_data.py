"""What cloud-init is given with a launch.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data.html
"""

from __future__ import annotations

from email.message import Message

from pycloudlib.errors import InvalidArgumentError

MAX_USER_DATA = 16 * 1024
"""Bytes, before they are encoded."""

UserData = str | bytes | Message
"""A text, bytes, or a MIME message, such as the multi-part ones that cloud-init takes."""


def checked_user_data(user_data: UserData | None) -> str | bytes | None:
    """Give user data as EC2 takes it, and refuse what EC2 would refuse.

    Args:
        user_data: what launch() was given; None for none.

    Raises:
        InvalidArgumentError: it is of another type, longer than 16 KiB, or no valid text; says nothing of what is in
            it.
    """
    if user_data is None:
        return None
    if not isinstance(user_data, (str, bytes, Message)):
        raise InvalidArgumentError(
            f"user_data is a {type(user_data).__name__}; it must be a text, bytes, or an email.message.Message"
        )
    try:
        given = user_data.as_bytes() if isinstance(user_data, Message) else user_data
        size = len(given.encode() if isinstance(given, str) else given)
    except (UnicodeError, LookupError) as error:
        # The error itself would quote it.
        raise InvalidArgumentError(f"the user data cannot be encoded: {error.__class__.__name__}") from None
    if size > MAX_USER_DATA:
        raise InvalidArgumentError(
            f"the user data has {size} bytes; EC2 takes {MAX_USER_DATA} at most. "
            "Compress it with gzip, which cloud-init unpacks, or let it fetch the rest"
        )
    return given
