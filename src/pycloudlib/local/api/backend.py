"""moto's EC2 backend, with a machine behind each instance.

moto keeps the records and implements the actions. `models` overrides actions that need a machine, one noun per file. It
also overrides actions that moto validates less strictly than EC2, if a suite would notice.
"""

from __future__ import annotations

import difflib

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.api.idempotency import IdempotencyRecords
from pycloudlib.local.api.models.base import LocalCloud, LocalRecords, known_regions
from pycloudlib.local.api.models.disruptions import DisruptionRecords
from pycloudlib.local.api.models.instances import InstanceRecords
from pycloudlib.local.api.models.key_pairs import KeyPairRecords
from pycloudlib.local.api.models.launch_templates import LaunchTemplateRecords
from pycloudlib.local.api.models.listings import ListingRecords
from pycloudlib.local.api.models.security_groups import SecurityGroupRecords
from pycloudlib.local.api.models.tags import TagRecords
from pycloudlib.local.api.models.vpcs import VpcRecords
from pycloudlib.local.api.moto_adapter import draw_canonical_ipv6_blocks, install_backend


class LocalEC2Backend(
    IdempotencyRecords,
    TagRecords,
    ListingRecords,
    LaunchTemplateRecords,
    KeyPairRecords,
    SecurityGroupRecords,
    DisruptionRecords,
    VpcRecords,
    InstanceRecords,
):
    """The EC2 of one account in one region."""

    def reset(self) -> None:
        """Terminate all machines, and delete all records."""
        with self.cloud.lock:
            for controller in self.controllers.values():
                controller.terminate()
            super().reset()


def install(cloud: LocalCloud) -> None:
    """Replace moto's EC2 with the local one. Call it before the first use of EC2 in this process."""
    LocalRecords.cloud = cloud
    install_backend(LocalEC2Backend)
    draw_canonical_ipv6_blocks()


def require_region(region: str) -> None:
    """Require a known region. Call it after `install()`.

    Raises:
        LocalEC2Error: the region is unknown; the message suggests the closest one.
    """
    if region not in known_regions():
        nearest = difflib.get_close_matches(region, known_regions(), n=1) or ["us-east-1"]
        raise LocalEC2Error(f"there is no region {region!r}: did you mean {nearest[0]}?")
