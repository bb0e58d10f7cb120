"""Signature version 2, which older clients send as request parameters.

See https://docs.aws.amazon.com/general/latest/gr/signature-version-2.html
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any
from urllib.parse import parse_qsl, quote

from pycloudlib.local.api.http_messages import Refusal, body_of
from pycloudlib.local.api.signatures import MAX_AGE, FindKey, no_match, not_valid, usable_key

Environ = dict[str, Any]

_DIGESTS = {"HmacSHA256": hashlib.sha256, "HmacSHA1": hashlib.sha1}


def signed_parameters(environ: Environ) -> dict[str, str] | None:
    """Return the parameters of a request with a version 2 signature; None for any other request.

    Args:
        environ: the WSGI environ; its body remains readable.
    """
    if environ.get("HTTP_AUTHORIZATION"):
        return None
    pairs = parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    parameters = dict(pairs + parse_qsl(body_of(environ).decode("utf-8", "replace"), keep_blank_values=True))
    return parameters if parameters.get("AWSAccessKeyId") and "Signature" in parameters else None


def refusal_of(
    environ: Environ, parameters: Mapping[str, str], find_key: FindKey, now: Callable[[], datetime] | None = None
) -> Refusal | None:
    """Verify the signature of a request.

    Args:
        environ: the WSGI environ.
        parameters: the parameters of the request.
        find_key: returns the credentials with an access key; None if unknown.
        now: the clock; default the system clock.

    Returns:
        The reason to reject the request; None to accept it.
    """
    digest = _DIGESTS.get(parameters.get("SignatureMethod", ""))
    key = usable_key(find_key, parameters["AWSAccessKeyId"], parameters.get("SecurityToken", ""))
    if key is None or digest is None:
        return not_valid()
    current = now() if now else datetime.now(timezone.utc)
    if _is_expired(parameters, current) or key.has_expired(current):
        return Refusal("400 Bad Request", "RequestExpired", "Request has expired.")
    to_sign = string_to_sign(environ, parameters)
    signature = hmac.new(key.secret_access_key.encode(), to_sign.encode(), digest).digest()
    if not hmac.compare_digest(base64.b64encode(signature), parameters["Signature"].encode()):
        return no_match()
    return None


def string_to_sign(environ: Environ, parameters: Mapping[str, str]) -> str:
    """Return the string to sign: method, host, path, and the sorted parameters."""
    named = sorted((name, value) for name, value in parameters.items() if name != "Signature")
    query = "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in named)
    host, path = environ.get("HTTP_HOST", "").lower(), environ.get("PATH_INFO", "") or "/"
    return "\n".join((environ["REQUEST_METHOD"], host, path, query))


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")


def _is_expired(parameters: Mapping[str, str], current: datetime) -> bool:
    expires = _time(parameters.get("Expires", ""))
    if expires is not None:
        return expires < current
    sent_at = _time(parameters.get("Timestamp", ""))
    return sent_at is None or abs((current - sent_at).total_seconds()) > MAX_AGE


def _time(text: str) -> datetime | None:
    try:
        moment = datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        return None
    return moment.replace(tzinfo=timezone.utc)
