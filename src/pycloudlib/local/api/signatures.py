"""Authentication of requests by signature version 4, for a local EC2 started with `auth`.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from pycloudlib.local.api.http_messages import Refusal, body_of

Environ = dict[str, Any]

MAX_AGE = 15 * 60
"""The maximum clock skew of a request in seconds, as on AWS."""

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/,\s]+)/(?P<day>\d{8})/(?P<region>[^/,\s]+)/(?P<service>[^/,\s]+)"
    r"/aws4_request,\s*SignedHeaders=(?P<headers>[^,\s]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)

_BODY_HASH = "x-amz-content-sha256"

_NOT_VALID = "AWS was not able to validate the provided access credentials"
_NO_MATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method."
)


@dataclass(frozen=True)
class Key:
    """Credentials that a local EC2 accepts.

    Args:
        access_key_id: the access key id, part of each request.
        secret_access_key: the key that signs requests.
        session_token: the token of temporary credentials, part of each request; default none.
        expires: the expiration time of temporary credentials; None for never.
    """

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)
    expires: datetime | None = None

    def has_expired(self, now: datetime) -> bool:
        """Return whether the credentials have expired."""
        return self.expires is not None and now >= self.expires

    @classmethod
    def random(cls) -> Key:
        """Generate random credentials."""
        return cls(f"LOCAL{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30))


FindKey = Callable[[str], Key | None]
"""Returns the credentials with an access key; None if unknown."""


def refusal_of(environ: Environ, find_key: FindKey, now: Callable[[], datetime] | None = None) -> Refusal | None:
    """Verify the signature of a request.

    Args:
        environ: the WSGI environ; its body remains readable.
        find_key: returns the credentials with an access key; None if unknown.
        now: the clock; default the system clock.

    Returns:
        The reason to reject the request; None to accept it.
    """
    authorization = _AUTHORIZATION.fullmatch(environ.get("HTTP_AUTHORIZATION", "").strip())
    key = (
        usable_key(find_key, authorization["key"], str(environ.get("HTTP_X_AMZ_SECURITY_TOKEN", "")))
        if authorization
        else None
    )
    if authorization is None or key is None:
        return not_valid()
    sent_at = _time(environ.get("HTTP_X_AMZ_DATE", ""))
    if sent_at is None or sent_at.strftime("%Y%m%d") != authorization["day"]:
        return no_match()
    current = now() if now else datetime.now(timezone.utc)
    if abs((current - sent_at).total_seconds()) > MAX_AGE or key.has_expired(current):
        return Refusal("400 Bad Request", "RequestExpired", "Request has expired.")
    if "host" not in authorization["headers"].split(";") or not hmac.compare_digest(
        _signature(environ, key, authorization), authorization["signature"]
    ):
        return no_match()
    return None


def usable_key(find_key: FindKey, access_key_id: str, session_token: str) -> Key | None:
    """Return the credentials that a request names; None if they are unknown, or the session token is wrong."""
    key = find_key(access_key_id)
    if key is None or not hmac.compare_digest(session_token.encode(), key.session_token.encode()):
        return None
    return key


def not_valid() -> Refusal:
    """Return the error for invalid credentials."""
    return Refusal("401 Unauthorized", "AuthFailure", _NOT_VALID)


def no_match() -> Refusal:
    """Return the error for a signature that does not match."""
    return Refusal("403 Forbidden", "SignatureDoesNotMatch", _NO_MATCH)


def _signature(environ: Environ, key: Key, authorization: re.Match[str]) -> str:
    """Return the signature that botocore would compute for the request."""
    signer = SigV4Auth(
        Credentials(key.access_key_id, key.secret_access_key), authorization["service"], authorization["region"]
    )
    headers = {name: _header(environ, name) for name in authorization["headers"].split(";")}
    body = body_of(environ)
    if _BODY_HASH in headers:
        # botocore signs the hash in this header, and does not compare it with the body.
        headers[_BODY_HASH] = hashlib.sha256(body).hexdigest()
    query = environ.get("QUERY_STRING", "")
    # The host is among the signed headers. As part of the URL, a malformed host could not be parsed.
    url = f"http://localhost{environ.get('PATH_INFO', '')}{f'?{query}' if query else ''}"
    request = AWSRequest(environ["REQUEST_METHOD"], url, headers=headers, data=body)
    request.context["timestamp"] = environ["HTTP_X_AMZ_DATE"]
    to_sign = signer.string_to_sign(request, signer.canonical_request(request))
    return str(signer.signature(to_sign, request))


def _header(environ: Environ, name: str) -> str:
    variable = name.upper().replace("-", "_")
    return str(environ.get(variable if variable.startswith("CONTENT_") else f"HTTP_{variable}", ""))


def _time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    except ValueError:
        return None
