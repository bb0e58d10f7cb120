"""The filters of DescribeInstances on values that its response lacks.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pycloudlib.local.api.filters import Matches, comparison


def _interfaces(value: Callable[[Any], Any]) -> Callable[[Any], Iterable[Any]]:
    return lambda instance: (value(interface) for interface in instance.nics.values())


def _tags(name: str) -> Callable[[Any], Iterable[Any]]:
    return lambda instance: (tag[name] for interface in instance.nics.values() for tag in interface.get_tags())


def _associations(name: str) -> Callable[[Any], Iterable[Any]]:
    return lambda instance: (
        address["Association"][name]
        for interface in instance.nics.values()
        for address in interface.private_ip_addresses
        if name in (address.get("Association") or {})
    )


def _primary_association(name: str) -> Callable[[Any], Iterable[Any]]:
    return lambda instance: (
        interface.association[name] for interface in instance.nics.values() if name in interface.association
    )


def _no_values(_instance: Any) -> Iterable[Any]:
    """Return no values: no instance of the local EC2 has any."""
    return ()


FILTERS: Mapping[str, Callable[[Any], Iterable[Any]]] = {
    "metadata-options.http-protocol-ipv4": lambda instance: [instance.metadata_options.http_endpoint],
    "network-interface.addresses.association.carrier-ip": _no_values,
    "network-interface.addresses.association.customer-owned-ip": _no_values,
    "network-interface.addresses.association.allocation-id": _associations("AllocationId"),
    "network-interface.addresses.association.association-id": _associations("AssociationId"),
    "network-interface.association.allocation-id": _primary_association("AllocationId"),
    "network-interface.association.association-id": _primary_association("AssociationId"),
    "network-interface.attachment.instance-id": _interfaces(lambda interface: interface.instance.id),
    "network-interface.attachment.instance-owner-id": _interfaces(lambda interface: interface.instance.owner_id),
    "network-interface.availability-zone": _interfaces(lambda interface: interface.availability_zone),
    "network-interface.deny-all-igw-traffic": _interfaces(lambda _interface: False),
    "network-interface.ipv6-native": _interfaces(lambda _interface: False),
    "network-interface.outpost-arn": _no_values,
    "network-interface.public-dns-name": _primary_association("PublicDnsName"),
    "network-interface.requester-id": _no_values,
    "network-interface.requester-managed": _interfaces(lambda _interface: False),
    "network-interface.tag-key": _tags("key"),
    "network-interface.tag-value": _tags("value"),
}


def matcher_of_instances(filters: Mapping[str, Sequence[str]]) -> Matches:
    """Return a predicate that is true for instances that match every filter.

    Args:
        filters: values by filter name; other names than those of `FILTERS` are ignored.
    """
    tests = [(FILTERS[name], comparison(tuple(values))) for name, values in filters.items() if name in FILTERS]
    return lambda instance: all(compare(values(instance)) for values, compare in tests)
