"""Who may ask a local EC2 that was started with `auth`: whoever signs with its credentials, as AWS checks it.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

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
"""Seconds by which a request's time may differ from the server's, as on AWS."""

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/,\s]+)/(?P<day>\d{8})/(?P<region>[^/,\s]+)/(?P<service>[^/,\s]+)"
    r"/aws4_request,\s*SignedHeaders=(?P<headers>[^,\s]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)

_NOT_VALID = "AWS was not able to validate the provided access credentials"
_NO_MATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method."
)


@dataclass(frozen=True)
class Key:
    """Credentials that a local EC2 takes.

    Args:
        access_key_id: told in each request.
        secret_access_key: what requests are signed with.
        session_token: of temporary credentials: told in each request too; default none.
        expires: when temporary credentials end; None for never.
    """

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)
    expires: datetime | None = None

    def has_expired(self, now: datetime) -> bool:
        """Tell whether temporary credentials have ended."""
        return self.expires is not None and now >= self.expires

    @classmethod
    def random(cls) -> Key:
        """Make one that nobody can guess."""
        return cls(f"LOCAL{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30))


FindKey = Callable[[str], Key | None]
"""Returns the credentials with an access key, if there are any."""


def refusal_of(environ: Environ, find_key: FindKey, now: Callable[[], datetime] | None = None) -> Refusal | None:
    """Check who signed a request; its body can be read again afterwards.

    Args:
        environ: the request, as WSGI has it.
        find_key: returns the credentials with an access key, if there are any.
        now: what tells the time; default the real one.

    Returns:
        Why it is refused; None when it is not.
    """
    told = _AUTHORIZATION.fullmatch(environ.get("HTTP_AUTHORIZATION", "").strip())
    key = usable_key(find_key, told["key"], str(environ.get("HTTP_X_AMZ_SECURITY_TOKEN", ""))) if told else None
    if told is None or key is None:
        return not_valid()
    sent_at = _time(environ.get("HTTP_X_AMZ_DATE", ""))
    if sent_at is None or sent_at.strftime("%Y%m%d") != told["day"]:
        return no_match()
    current = now() if now else datetime.now(timezone.utc)
    if abs((current - sent_at).total_seconds()) > MAX_AGE or key.has_expired(current):
        return Refusal("400 Bad Request", "RequestExpired", "Request has expired.")
    if "host" not in told["headers"].split(";") or not hmac.compare_digest(
        _signature(environ, key, told), told["signature"]
    ):
        return no_match()
    return None


def usable_key(find_key: FindKey, access_key_id: str, session_token: str) -> Key | None:
    """Return the credentials that a request names; None if there are none, or their session token is another one."""
    key = find_key(access_key_id)
    if key is None or not hmac.compare_digest(session_token.encode(), key.session_token.encode()):
        return None
    return key


def not_valid() -> Refusal:
    """Refuse credentials."""
    return Refusal("401 Unauthorized", "AuthFailure", _NOT_VALID)


def no_match() -> Refusal:
    """Refuse a signature."""
    return Refusal("403 Forbidden", "SignatureDoesNotMatch", _NO_MATCH)


def _signature(environ: Environ, key: Key, told: re.Match[str]) -> str:
    """What botocore would have signed this request with."""
    signer = SigV4Auth(Credentials(key.access_key_id, key.secret_access_key), told["service"], told["region"])
    headers = {name: _header(environ, name) for name in told["headers"].split(";")}
    query = environ.get("QUERY_STRING", "")
    url = f"http://{environ.get('HTTP_HOST', '')}{environ.get('PATH_INFO', '')}{f'?{query}' if query else ''}"
    request = AWSRequest(environ["REQUEST_METHOD"], url, headers=headers, data=body_of(environ))
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
