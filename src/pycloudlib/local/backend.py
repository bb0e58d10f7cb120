"""moto's EC2 backend, with machines behind its instances.

moto keeps the records and speaks EC2's protocol. What is overridden is what moto only records and a machine makes true,
and what moto takes more lightly than EC2 does where a suite would notice: one noun per file in `models`.
"""

from __future__ import annotations

import difflib
from types import SimpleNamespace
from typing import Any

from moto.ec2.models import ec2_backends

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.distributions import SELF
from pycloudlib.local.models.addresses import AddressRecords
from pycloudlib.local.models.answers import AnswerRecords
from pycloudlib.local.models.base import LocalCloud, LocalRecords
from pycloudlib.local.models.instances import InstanceRecords
from pycloudlib.local.models.key_pairs import KeyPairRecords
from pycloudlib.local.models.listings import ListingRecords
from pycloudlib.local.models.security_groups import SecurityGroupRecords
from pycloudlib.local.models.vpcs import VpcRecords


class LocalEC2Backend(
    AnswerRecords,
    ListingRecords,
    KeyPairRecords,
    SecurityGroupRecords,
    AddressRecords,
    VpcRecords,
    InstanceRecords,
):
    """The EC2 of one account in one region."""

    @property
    def _url_module(self) -> Any:
        from pycloudlib.local.responses.dispatch import LocalEC2Response  # noqa: PLC0415  (it imports moto's server)

        return SimpleNamespace(
            url_bases=[r"https?://ec2\.(.+)\.amazonaws\.com(|\.cn)"], url_paths={"{0}/": LocalEC2Response.dispatch}
        )

    def reset(self) -> None:
        """Forget everything, machines included."""
        for life in self.lives.values():
            life.terminate()
        super().reset()


def install(cloud: LocalCloud) -> None:
    """Make moto's EC2 the local one; to be called before the first use of EC2 in this process."""
    LocalRecords.cloud = cloud
    ec2_backends.backend = LocalEC2Backend


def known_regions() -> list[str]:
    """The regions that there are; to be asked after `install`."""
    return list(ec2_backends[SELF].regions)


def require_region(region: str) -> None:
    """Refuse a region that there is not; to be called after `install`.

    Raises:
        LocalEC2Error: there is no such region; names the nearest one.
    """
    if region not in known_regions():
        nearest = difflib.get_close_matches(region, known_regions(), n=1) or ["us-east-1"]
        raise LocalEC2Error(f"there is no region {region!r}: did you mean {nearest[0]}?")
