"""What nouns are made of, without the facade around them."""

from __future__ import annotations

from pycloudlib.config import Settings
from pycloudlib.ec2.api.region_context import RegionContext
from pycloudlib.ec2.api.session import open_session
from pycloudlib.lifecycle import Ledger
from pycloudlib.tags import Ownership
from support.moto_server import REGION


def region_context_at(url: str) -> RegionContext:
    """A scope at an endpoint, with a ledger of its own."""
    session = open_session(
        Settings(region=REGION, access_key_id="AKIAtest", secret_access_key="secret", endpoint_url=url)
    )
    return RegionContext(session.client, REGION, "test", Ownership.of_this_process(), Ledger(), session)
