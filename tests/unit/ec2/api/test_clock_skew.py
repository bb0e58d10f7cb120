from __future__ import annotations

from datetime import datetime, timezone

import pytest

from pycloudlib.ec2.api.clock_skew import CHECK_KEYS, remedy_of_refused_credentials
from pycloudlib.ec2.api.faults import translated
from pycloudlib.errors import CredentialsError
from support.scripted_ec2 import ScriptedEC2

NOT_VALID = "AWS was not able to validate the provided access credentials"
NO_MATCH = "The request signature we calculated does not match the signature you provided."


def noon() -> datetime:
    return datetime(2026, 11, 29, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("RequestExpired", "Request has expired."),
        ("RequestTimeTooSkewed", "The difference between the request time and the current time is too large."),
        ("RequestInTheFuture", "because"),
        ("SignatureDoesNotMatch", "Signature expired: 20261129T110000Z is now earlier than 20261129T115500Z"),
        ("SignatureDoesNotMatch", "Signature not yet current: 20261129T130000Z is still later than 20261129T121500Z"),
        ("InvalidSignatureException", "Signature expired: 20261129T110000Z is now earlier than 20261129T115500Z"),
        ("AuthFailure", "Request has expired"),
    ],
)
def test_clock_error_of_aws_is_passed_on(code: str, reason: str, scripted_client, script: ScriptedEC2) -> None:
    script.refuse("DescribeVpcs", code, reason)
    told = r"; set this computer's clock: it says 20\S+Z, and EC2's says 20\S+Z$"
    with pytest.raises(CredentialsError, match=told), translated():
        scripted_client.describe_vpcs()


@pytest.mark.parametrize("offset", [-600.0, 600.0])
@pytest.mark.parametrize(("code", "reason"), [("AuthFailure", NOT_VALID), ("SignatureDoesNotMatch", NO_MATCH)])
def test_clock_skew_is_reported_before_wrong_keys(
    offset: float, code: str, reason: str, scripted_client, script: ScriptedEC2
) -> None:
    script.clock_offset = offset
    script.refuse("DescribeVpcs", code, reason)
    with pytest.raises(CredentialsError, match="; set this computer's clock: it says ") as caught, translated():
        scripted_client.describe_vpcs()
    assert CHECK_KEYS not in str(caught.value)


def test_correct_clock_is_not_mentioned(scripted_client, script: ScriptedEC2) -> None:
    script.refuse("DescribeVpcs", "AuthFailure", NOT_VALID)
    with pytest.raises(CredentialsError, match=f"; {CHECK_KEYS}$"), translated():
        scripted_client.describe_vpcs()


def test_error_contains_both_times() -> None:
    headers = {"date": "Sun, 29 Nov 2026 12:15:30 GMT"}
    assert remedy_of_refused_credentials("RequestExpired", "because", headers, noon) == (
        "set this computer's clock: it says 2026-11-29T12:00:00Z, and EC2's says 2026-11-29T12:15:30Z"
    )


@pytest.mark.parametrize("headers", [{}, {"date": "yesterday"}])
def test_without_server_time_the_error_names_both_causes(headers: dict[str, str]) -> None:
    told = remedy_of_refused_credentials("AuthFailure", NOT_VALID, headers, noon)
    assert told == f"{CHECK_KEYS}; and this computer's clock: it says 2026-11-29T12:00:00Z"
    assert remedy_of_refused_credentials("InvalidClientTokenId", "because", headers, noon) == CHECK_KEYS
