"""The network interfaces of a launch: members that moto drops, and cleanup when the launch fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pycloudlib.local.api.models.interfaces import InterfaceRecords, local_interface, require_available
from pycloudlib.local.api.moto_adapter import EC2ClientError, Instance


class LaunchInterfaceRecords(InterfaceRecords):
    """The network interfaces of RunInstances requests."""

    def __init__(self, region_name: str, account_id: str) -> None:
        self.launch_ipv6: Sequence[Mapping[str, Any]] = []
        self._launch_specs: Mapping[int, Mapping[str, Any]] = {}
        super().__init__(region_name, account_id)

    def prepare_launch(self, count: int, parameters: Mapping[str, Any], default_subnet_id: Callable[[], str]) -> None:
        """Validate and complete the network interfaces of a launch, before creating anything.

        Args:
            count: the number of instances to launch.
            parameters: the parameters of the launch; "nics" is completed in place.
            default_subnet_id: returns the subnet of an interface without SubnetId.
        """
        specs: list[dict[str, Any]] = parameters.get("nics") or []
        self._launch_specs = {
            0: {"Ipv6Addresses": self.launch_ipv6, "Ipv6AddressCount": parameters.get("ipv6_address_count")}
        }
        if count > 1 and (parameters.get("private_ip") or any(_is_for_one_instance(spec) for spec in specs)):
            raise EC2ClientError(
                "InvalidParameterCombination", "Several instances cannot have the same address or network interface."
            )
        if not specs:
            return
        _check_specs(specs)
        for spec in specs:
            if spec.get("NetworkInterfaceId"):
                interface = self.interface(spec["NetworkInterfaceId"])
                require_available(interface)
                spec["SubnetId"] = interface.subnet.id
            elif not spec.get("SubnetId"):
                spec["SubnetId"] = default_subnet_id()
            if len(specs) > 1:
                spec["AssociatePublicIpAddress"] = False
        self._launch_specs = {int(spec["DeviceIndex"]): spec for spec in specs}
        for subnet_id in {spec["SubnetId"] for spec in specs}:
            self.require_room(
                subnet_id, count * sum(_new_addresses(spec) for spec in specs if spec["SubnetId"] == subnet_id)
            )

    @contextmanager
    def rollback_on_failure(self) -> Iterator[None]:
        """Roll back moto's records of a failed launch."""
        interfaces, reservations = dict(self.enis), dict(self.reservations)
        try:
            yield
        except BaseException:
            for reservation_id in [
                reservation_id for reservation_id in self.reservations if reservation_id not in reservations
            ]:
                del self.reservations[reservation_id]
            for interface_id in list(self.enis):
                instance = self.enis[interface_id].instance
                if interface_id not in interfaces:
                    del self.enis[interface_id]
                elif instance is not None and instance.id not in self.controllers:
                    instance.detach_eni(self.enis[interface_id])
            raise

    def require_room(self, subnet_id: str, count: int) -> None:
        """Reject a launch of more instances than the subnet has free addresses."""
        subnet: Any = self.get_subnet(subnet_id)
        subnet.require_room(count)

    def complete_interfaces(self, instance: Instance, specs: list[dict[str, Any]], tags: Mapping[str, str]) -> None:
        """Complete the interfaces of a newly recorded instance.

        Args:
            instance: the instance.
            specs: NetworkInterfaces of the request.
            tags: the tags of the interfaces that the launch created.
        """
        self._launch_specs = {}
        kept_indices = {int(spec["DeviceIndex"]) for spec in specs if spec.get("DeleteOnTermination") is False}
        attached_indices = {int(spec["DeviceIndex"]) for spec in specs if spec.get("NetworkInterfaceId")}
        for index, interface in instance.nics.items():
            if index not in attached_indices:
                # As on EC2, DeleteOnTermination defaults to true for interfaces that the launch created.
                interface.delete_on_termination = index not in kept_indices
                interface.add_tags(dict(tags))
            self.interface_moved(local_interface(interface))
        if specs:
            instance.security_groups = list(instance.nics[0].group_set)

    def _dropped_at_launch(self, device_index: int | None) -> dict[str, Any]:
        """Return the members of a NetworkInterfaces specification that moto drops."""
        spec = self._launch_specs.get(device_index) if device_index is not None else None
        if spec is None:
            return {}
        members: dict[str, Any] = {
            "description": spec.get("Description") or "",
            "secondary_ips_count": spec.get("SecondaryPrivateIpAddressCount"),
            "ipv6_addresses": [address["Ipv6Address"] for address in spec.get("Ipv6Addresses", [])],
            "ipv6_address_count": spec.get("Ipv6AddressCount"),
        }
        if spec.get("PrivateIpAddresses"):
            members["private_ip_addresses"] = spec["PrivateIpAddresses"]
        return members


def _check_specs(specs: Sequence[Mapping[str, Any]]) -> None:
    indices = [str(spec.get("DeviceIndex")) for spec in specs]
    if len(indices) > len(set(indices)):
        raise EC2ClientError("InvalidParameterValue", "Each network interface requires a unique device index.")
    if "0" not in indices:
        raise EC2ClientError("InvalidParameterValue", "A network interface with DeviceIndex 0 has to be given.")
    if len(specs) > 1 and any(spec.get("AssociatePublicIpAddress") for spec in specs):
        raise EC2ClientError(
            "InvalidParameterCombination",
            "The associatePublicIPAddress parameter cannot be specified when launching with "
            "multiple network interfaces.",
        )


def _new_addresses(spec: Mapping[str, Any]) -> int:
    """Return the number of private addresses that each instance takes for a specification."""
    if spec.get("NetworkInterfaceId"):
        return 0
    return max(1, len(spec.get("PrivateIpAddresses") or [])) + int(spec.get("SecondaryPrivateIpAddressCount") or 0)


def _is_for_one_instance(spec: Mapping[str, Any]) -> bool:
    """Return whether a specification names an interface or address that only one instance can have."""
    return any(spec.get(name) for name in ("NetworkInterfaceId", "PrivateIpAddress", "PrivateIpAddresses"))
