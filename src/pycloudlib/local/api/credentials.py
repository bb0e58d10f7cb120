"""The credentials that a local EC2 with `--auth` accepts: its own, and temporary ones of roles."""

from __future__ import annotations

from datetime import timezone

from pycloudlib.local.api.moto_adapter import assumed_role
from pycloudlib.local.api.signatures import FindKey, Key


def known_keys(own: Key) -> FindKey:
    """Return a function that finds credentials by their access key.

    Args:
        own: the server's own credentials.
    """

    def find(access_key_id: str) -> Key | None:
        return own if access_key_id == own.access_key_id else _temporary_key(access_key_id)

    return find


def _temporary_key(access_key_id: str) -> Key | None:
    role = assumed_role(access_key_id)
    if role is None:
        return None
    return Key(
        role.access_key_id, role.secret_access_key, role.session_token, role.expiration.replace(tzinfo=timezone.utc)
    )
