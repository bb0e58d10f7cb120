from __future__ import annotations

from email import message_from_bytes
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest

from pycloudlib.ec2.instances.user_data import MAX_USER_DATA, checked_user_data
from pycloudlib.errors import InvalidArgumentError


def test_texts_and_bytes_stay_as_they_are() -> None:
    assert checked_user_data(None) is None
    assert checked_user_data("#!/bin/sh") == "#!/bin/sh"
    assert checked_user_data(b"\xff") == b"\xff"


def test_a_mime_message_becomes_what_cloud_init_reads() -> None:
    message = MIMEMultipart()
    message.attach(MIMEText("#cloud-config\n", "cloud-config"))
    message.attach(MIMEText("echo \u00f6\n", "x-shellscript"))
    given = checked_user_data(message)
    assert isinstance(given, bytes)
    read = message_from_bytes(given)
    assert read.get_content_type() == "multipart/mixed"
    assert [part.get_content_type() for part in read.get_payload()] == ["text/cloud-config", "text/x-shellscript"]
    assert read.get_payload()[1].get_payload(decode=True).decode() == "echo \u00f6\n"


@pytest.mark.parametrize("user_data", [b"x" * MAX_USER_DATA, "\u00f6" * (MAX_USER_DATA // 2)])
def test_user_data_may_be_as_long_as_ec2_takes(user_data: str | bytes) -> None:
    assert checked_user_data(user_data) == user_data


@pytest.mark.parametrize("user_data", ["x" * (MAX_USER_DATA + 1), "\u00f6" * (MAX_USER_DATA // 2 + 1)])
def test_longer_user_data_is_refused(user_data: str) -> None:
    with pytest.raises(InvalidArgumentError, match="gzip"):
        checked_user_data(user_data)


@pytest.mark.parametrize("user_data", [{"hidden": 1}, 7, ["hidden"]])
def test_another_type_is_refused_and_not_quoted(user_data: object) -> None:
    with pytest.raises(InvalidArgumentError, match=f"user_data is a {type(user_data).__name__}") as caught:
        checked_user_data(user_data)
    assert "hidden" not in str(caught.value)
