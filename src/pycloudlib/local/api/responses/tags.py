"""The wire of tags."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

from pycloudlib.local.api.moto_adapter import ActionResult, EC2ClientError, EC2Response, EmptyResult

RESERVED = "aws:"
"""What the keys of EC2's own tags start with."""


class TagResponse(EC2Response):
    """Answers what is asked about tags."""

    def create_tags(self) -> ActionResult:
        """CreateTags, of what there is."""
        for resource_id in self._get_param("Resources", []):
            self._require(resource_id)
        return super().create_tags()

    def delete_tags(self) -> ActionResult:
        """DeleteTags: those that are named, or all but EC2's own."""
        wanted = self._get_param("Tags", [])
        for tag in wanted:
            if tag.get("Key", "").lower().startswith(RESERVED):
                raise EC2ClientError(
                    "InvalidParameterValue", f"Tag keys starting with '{RESERVED}' are reserved for internal use"
                )
        if wanted:
            return super().delete_tags()
        for resource_id in self._get_param("Resources", []):
            keys = [key for key in self.ec2_backend.tags[resource_id] if not key.startswith(RESERVED)]
            self.ec2_backend.delete_tags([resource_id], dict.fromkeys(keys))
        return EmptyResult()

    def _require(self, resource_id: str) -> None:
        backend = self.ec2_backend
        known: dict[str, tuple[Container[str], str, str]] = {
            "i": (backend.controllers, "InvalidInstanceID.NotFound", "instance ID"),
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
