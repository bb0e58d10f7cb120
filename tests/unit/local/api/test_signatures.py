"""A local EC2 that checks who asks, and its files, which nobody else may look into."""

from __future__ import annotations

import hashlib
import os
import stat
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from pycloudlib import EC2
from pycloudlib.errors import CredentialsError
from pycloudlib.local import LocalEC2
from pycloudlib.local.api.signatures import Key, refusal_of
from support.services import TRUST

PATH = "/services/Cloud"
KEY = Key("LOCALKEY", "a secret of forty letters")
TEMPORARY = Key("ASIAKEY", "another secret", "a token", datetime.now(timezone.utc) + timedelta(days=1))


@pytest.fixture(scope="module")
def local_options() -> dict[str, Any]:
    return {"path": PATH, "auth": True}


def client(local: LocalEC2, service: str = "ec2", *, key: str = "", secret: str = "", token: str = "") -> Any:
    return boto3.client(
        service,
        endpoint_url=local.endpoint_url,
        region_name=local.region,
        aws_access_key_id=key or local.access_key_id,
        aws_secret_access_key=secret or local.secret_access_key,
        aws_session_token=token or None,
        config=Config(retries={"max_attempts": 0}),
    )


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value.response["Error"]["Code"])


def test_its_own_credentials_are_taken_for_every_service(local: LocalEC2) -> None:
    assert client(local).describe_regions()["Regions"]
    assert client(local, "sns").list_topics()["Topics"] == []
    assert client(local, "sts").get_caller_identity()["Account"]
    tags = [{"ResourceType": "vpc", "Tags": [{"Key": "Name", "Value": "with space, & / + ünï"}]}]
    made = client(local).create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=tags)
    assert made["Vpc"]["Tags"] == tags[0]["Tags"]


def test_a_wrong_secret_is_refused(local: LocalEC2) -> None:
    assert refusal(client(local, secret="guessed").describe_regions) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("key", ["local", "AKIAIOSFODNN7EXAMPLE"])
def test_a_wrong_access_key_is_refused(local: LocalEC2, key: str) -> None:
    assert refusal(client(local, key=key).describe_regions) == "AuthFailure"


def test_temporary_credentials_for_a_role_are_taken_with_their_token(local: LocalEC2) -> None:
    role = client(local, "iam").create_role(RoleName="reader", AssumeRolePolicyDocument=TRUST)["Role"]
    made = client(local, "sts").assume_role(RoleArn=role["Arn"], RoleSessionName="session")["Credentials"]
    keys = {"key": made["AccessKeyId"], "secret": made["SecretAccessKey"]}
    assert client(local, **keys, token=made["SessionToken"]).describe_regions()["Regions"]
    caller = client(local, "sts", **keys, token=made["SessionToken"]).get_caller_identity()
    assert caller["Arn"] == "arn:aws:sts::123456789012:assumed-role/reader/session"
    assert refusal(client(local, **keys).describe_regions) == "AuthFailure"
    assert refusal(client(local, **keys, token="forged").describe_regions) == "AuthFailure"
    forged = keys | {"secret": "guessed"}
    assert refusal(client(local, **forged, token=made["SessionToken"]).describe_regions) == "SignatureDoesNotMatch"


def test_credentials_of_a_deleted_role_are_refused(local: LocalEC2) -> None:
    iam = client(local, "iam")
    made = {}
    for name in ("deleted", "kept"):
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)["Role"]
        made[name] = client(local, "sts").assume_role(RoleArn=role["Arn"], RoleSessionName="test")["Credentials"]
    iam.delete_role(RoleName="deleted")
    connected = {
        name: client(local, key=one["AccessKeyId"], secret=one["SecretAccessKey"], token=one["SessionToken"])
        for name, one in made.items()
    }
    assert refusal(connected["deleted"].describe_regions) == "AuthFailure"
    assert connected["kept"].describe_regions()["Regions"]


def test_client_error_names_the_checks(local: LocalEC2) -> None:
    settings = local.info.settings_toml().replace(local.secret_access_key, "guessed")
    with pytest.raises(CredentialsError, match="check access_key_id, secret_access_key"):
        EC2("auth", config_file=StringIO(settings)).regions()


def test_reported_settings_authenticate(local: LocalEC2) -> None:
    assert EC2("auth", config_file=StringIO(local.info.settings_toml())).regions()


def test_nothing_answers_without_a_signature(local: LocalEC2) -> None:
    for request in (
        urllib.request.Request(local.endpoint_url, method="POST", data=b"Action=DescribeRegions"),
        urllib.request.Request(f"{local.endpoint_url}/moto-api/reset", method="POST"),
    ):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=60)
        caught.value.close()
        assert caught.value.code == 401


def test_each_one_has_credentials_of_its_own_and_shows_no_secret(local: LocalEC2) -> None:
    assert Key.random() != Key.random()
    assert local.secret_access_key not in repr(local.info)
    assert len(local.secret_access_key) >= 40


def signed(
    body: bytes = b"Action=DescribeRegions", *, key: Key = KEY, more: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """A request as WSGI has it, signed by botocore."""
    credentials = Credentials(key.access_key_id, key.secret_access_key, key.session_token or None)
    headers = {
        "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
        "Host": "127.0.0.1:1",
        **(more or {}),
    }
    request = AWSRequest("POST", "http://127.0.0.1:1/", headers=headers, data=body)
    signer = SigV4Auth(credentials, "ec2", "us-east-1")
    signer.add_auth(request)
    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "HTTP_HOST": "127.0.0.1:1",
        "CONTENT_TYPE": headers["Content-Type"],
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_X_AMZ_DATE": request.headers["X-Amz-Date"],
        "HTTP_X_AMZ_SECURITY_TOKEN": request.headers.get("X-Amz-Security-Token", ""),
        "HTTP_AUTHORIZATION": request.headers["Authorization"],
        "wsgi.input": BytesIO(body),
    }


def code(environ: dict[str, Any], now: Callable[[], datetime] | None = None, temporary: Key = TEMPORARY) -> str:
    keys = {key.access_key_id: key for key in (KEY, temporary)}
    refused = refusal_of(environ, keys.get, now)
    return refused.code if refused else ""


def test_a_body_can_be_read_after_the_check() -> None:
    environ = signed(b"Action=DescribeVpcs")
    assert code(environ) == ""
    assert environ["wsgi.input"].read() == b"Action=DescribeVpcs"


@pytest.mark.parametrize(
    ("name", "value", "refused"),
    [
        ("wsgi.input", BytesIO(b"Action=TerminateInst.."), "SignatureDoesNotMatch"),
        ("PATH_INFO", "/elsewhere", "SignatureDoesNotMatch"),
        ("QUERY_STRING", "Action=RunInstances", "SignatureDoesNotMatch"),
        ("HTTP_HOST", "127.0.0.1:2", "SignatureDoesNotMatch"),
        ("HTTP_HOST", "[::1", "SignatureDoesNotMatch"),
        ("HTTP_X_AMZ_DATE", "yesterday", "SignatureDoesNotMatch"),
        ("HTTP_X_AMZ_DATE", "", "SignatureDoesNotMatch"),
        ("HTTP_AUTHORIZATION", "", "AuthFailure"),
        ("HTTP_AUTHORIZATION", "Basic bG9jYWw6bG9jYWw=", "AuthFailure"),
    ],
)
def test_what_was_changed_on_the_way_is_refused(name: str, value: Any, refused: str) -> None:
    assert code(signed() | {name: value}) == refused


def test_a_hash_in_a_header_does_not_vouch_for_another_body() -> None:
    body = b"Action=DescribeVpcs"
    digest = hashlib.sha256(body).hexdigest()
    environ = signed(body, more={"X-Amz-Content-SHA256": digest}) | {"HTTP_X_AMZ_CONTENT_SHA256": digest}
    assert code(environ) == ""
    assert code(environ | {"wsgi.input": BytesIO(b"Action=DeleteVpc...")}) == "SignatureDoesNotMatch"


def test_an_old_request_is_refused() -> None:
    later = datetime.now(timezone.utc) + timedelta(minutes=16)
    assert code(signed(), lambda: later) == "RequestExpired"


def test_a_signature_without_the_host_is_refused() -> None:
    environ = signed()
    environ["HTTP_AUTHORIZATION"] = environ["HTTP_AUTHORIZATION"].replace("host;", "")
    assert code(environ) == "SignatureDoesNotMatch"


def test_nobody_else_can_look_into_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    before = os.umask(0)
    try:
        with LocalEC2(driver="simulated", auth=True) as local:
            modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (local.directory, local.directory.parent)}
            told = stat.S_IMODE((local.directory / "server.json").stat().st_mode)
    finally:
        os.umask(before)
    assert set(modes.values()) == {0o700}
    assert told == 0o600


def test_temporary_credentials_end() -> None:
    # Soon, since the signature itself is valid for a few minutes only.
    expires = datetime.now(timezone.utc) + timedelta(minutes=4)
    temporary = Key("ASIAKEY", "another secret", "a token", expires)
    assert code(signed(key=temporary), None, temporary) == ""
    assert code(signed(key=temporary), lambda: expires - timedelta(seconds=1), temporary) == ""
    assert code(signed(key=temporary), lambda: expires, temporary) == "RequestExpired"


@pytest.mark.parametrize("token", ["", "another token"])
def test_temporary_credentials_need_their_token(token: str) -> None:
    assert code(signed(key=TEMPORARY) | {"HTTP_X_AMZ_SECURITY_TOKEN": token}) == "AuthFailure"


def test_lasting_credentials_have_no_token() -> None:
    assert code(signed() | {"HTTP_X_AMZ_SECURITY_TOKEN": "a token"}) == "AuthFailure"
