"""Signature version 2, which boto 2 and libcloud sign with."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime, timedelta, timezone
from io import BytesIO
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest

from pycloudlib.local import LocalEC2
from pycloudlib.local.api.query_signatures import refusal_of, signed_parameters
from pycloudlib.local.api.signatures import Key
from support.query_api import FORM, QueryAPI

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)
KEY = Key("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")


@pytest.fixture(scope="module", params=[False, True], ids=["any key", "auth"])
def local_options(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"region": "eu-central-1", "path": "/api", "auth": request.param}


def signed(method: str, url: str, key: Key, sent_at: datetime, action: str = "DescribeRegions") -> str:
    """Sign in boto 2's way."""
    parameters = {
        "Action": action,
        "AWSAccessKeyId": key.access_key_id,
        "SignatureMethod": "HmacSHA256",
        "SignatureVersion": "2",
        "Timestamp": sent_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        **({"SecurityToken": key.session_token} if key.session_token else {}),
        "Version": "2014-10-01",
    }
    named = "&".join(f"{quote(name, safe='-_~')}={quote(parameters[name], safe='-_~')}" for name in sorted(parameters))
    parts = urlsplit(url)
    text = f"{method}\n{parts.netloc}\n{parts.path or '/'}\n{named}"
    digest = hmac.new(key.secret_access_key.encode(), text.encode(), hashlib.sha256).digest()
    return urlencode({**parameters, "Signature": base64.b64encode(digest).decode()})


def key_of(local: LocalEC2) -> Key:
    return Key(local.access_key_id, local.secret_access_key)


def test_parameters_of_a_get_request_sign_it(local: LocalEC2) -> None:
    url = local.endpoint_url
    query = signed("GET", url, key_of(local), datetime.now(timezone.utc))
    reply = QueryAPI(local).request("GET", f"{url}?{query}", None, {})
    assert (reply.status, len(list(reply.xml.iter("regionName"))) > 10) == (200, True)


def test_parameters_of_a_post_request_sign_it(local: LocalEC2) -> None:
    url = local.endpoint_url
    body = signed("POST", url, key_of(local), datetime.now(timezone.utc))
    reply = QueryAPI(local).request("POST", url, body.encode(), {"Content-Type": FORM})
    assert reply.status == 200, reply.text
    assert 'xmlns="http://ec2.amazonaws.com/doc/2014-10-01/"' in reply.text


def test_requests_go_to_the_region_of_the_endpoint(local: LocalEC2) -> None:
    now = datetime.now(timezone.utc)
    body = signed("POST", local.endpoint_url, key_of(local), now, "DescribeAvailabilityZones")
    reply = QueryAPI(local).request("POST", local.endpoint_url, body.encode(), {})
    assert {name.text for name in reply.xml.iter("regionName")} == {"eu-central-1"}


def check(environ: dict[str, Any], key: Key = KEY, now: datetime = NOW) -> str | None:
    parameters = signed_parameters(environ)
    assert parameters is not None
    refusal = refusal_of(environ, parameters, {key.access_key_id: key}.get, now=lambda: now)
    return refusal.code if refusal else None


def environ(body: str) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "HTTP_HOST": "127.0.0.1:4711",
        "QUERY_STRING": "",
        "wsgi.input": BytesIO(body.encode()),
    }


def test_signature_is_verified() -> None:
    body = signed("POST", "http://127.0.0.1:4711/", KEY, NOW)
    assert check(environ(body)) is None
    assert check(environ(body.replace("DescribeRegions", "DeleteVpc"))) == "SignatureDoesNotMatch"
    assert check(environ(body), Key(KEY.access_key_id, "guessed")) == "SignatureDoesNotMatch"
    assert check(environ(body), Key("AKIAOTHER", KEY.secret_access_key)) == "AuthFailure"
    assert check(environ(body.replace("HmacSHA256", "None"))) == "AuthFailure"


def test_signature_expires() -> None:
    body = signed("POST", "http://127.0.0.1:4711/", KEY, NOW)
    assert check(environ(body), now=NOW + timedelta(minutes=16)) == "RequestExpired"
    assert check(environ(body.replace("Timestamp=2026", "Timestamp=when"))) == "RequestExpired"
    assert check(environ(body.replace("Timestamp=2026", "Expires=2025"))) == "RequestExpired"


def test_temporary_credentials_need_their_token_and_end() -> None:
    key = Key("ASIAKEY", "secret", "a token", NOW + timedelta(minutes=5))
    body = signed("POST", "http://127.0.0.1:4711/", key, NOW)
    assert check(environ(body), key) is None
    assert check(environ(body), key, NOW + timedelta(minutes=5)) == "RequestExpired"
    assert check(environ(body.replace("a+token", "forged")), key) == "AuthFailure"


def test_headers_come_first() -> None:
    body = signed("POST", "http://127.0.0.1:4711/", KEY, NOW)
    assert signed_parameters({**environ(body), "HTTP_AUTHORIZATION": "AWS4-HMAC-SHA256 ..."}) is None
    assert signed_parameters(environ("Action=DescribeRegions&AWSAccessKeyId=x")) is None
