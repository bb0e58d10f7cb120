"""The wire of tags."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses import EC2Response


class TagResponse(EC2Response):
    """Answers what is asked about tags."""

    def create_tags(self) -> ActionResult:
        """CreateTags, of what there is."""
        for resource_id in self._get_param("Resources", []):
            self._require(resource_id)
        return super().create_tags()

    def _require(self, resource_id: str) -> None:
        backend = self.ec2_backend
        known: dict[str, tuple[Container[str], str, str]] = {
            "i": (backend.lives, "InvalidInstanceID.NotFound", "instance ID"),
            "vol": (backend.volumes, "InvalidVolume.NotFound", "volume"),
            "vpc": (backend.vpcs, "InvalidVpcID.NotFound", "vpc ID"),
            "eni": (backend.enis, "InvalidNetworkInterfaceID.NotFound", "networkInterface ID"),
            "igw": (backend.internet_gateways, "InvalidInternetGatewayID.NotFound", "internetGateway ID"),
            "rtb": (backend.route_tables, "InvalidRouteTableID.NotFound", "routeTable ID"),
            "sg": (_ids(backend.describe_security_groups()), "InvalidGroup.NotFound", "security group"),
            "subnet": (_ids(backend.describe_subnets()), "InvalidSubnetID.NotFound", "subnet ID"),
            "key": (_ids(backend.key_pairs.values()), "InvalidKeyPair.NotFound", "key pair"),
        }
        records, code, kind = known.get(resource_id.partition("-")[0], ({resource_id}, "", ""))
        if resource_id not in records:
            raise EC2ClientError(code, f"The {kind} '{resource_id}' does not exist")


def _ids(records: Iterable[Any]) -> set[str]:
    return {record.id for record in records}
