"""The wire of DHCP options."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from pycloudlib.local.api.moto_adapter import ActionResult, EC2ClientError, EC2Response

AMAZON_PROVIDED_DNS = "AmazonProvidedDNS"
_ADDRESSES = ("domain-name-servers", "ntp-servers", "netbios-name-servers")
_KEYS = ("domain-name", "netbios-node-type", "ipv6-address-preferred-lease-time", *_ADDRESSES)
_NODE_TYPES = ("1", "2", "4", "8")
_MOST_ADDRESSES = 4
_SHORTEST_LEASE = 140
_LONGEST_LEASE = 2147483647
# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateDhcpOptions.html


class DhcpOptionsResponse(EC2Response):
    """Answers what is asked about DHCP options."""

    def create_dhcp_options(self) -> ActionResult:
        """CreateDhcpOptions."""
        configurations = self._get_param("DhcpConfigurations", [])
        for configuration in configurations:
            key, values = configuration.get("Key"), configuration.get("Values")
            if key not in _KEYS:
                raise EC2ClientError(
                    "InvalidParameterValue", f"Value ({key}) for parameter dhcpConfiguration is invalid"
                )
            if not values or not all(values):
                raise EC2ClientError("InvalidParameterValue", f"The DHCP option {key} must have a value")
            _check_values(key, values)
        created: Any = super().create_dhcp_options().result
        created["DhcpOptions"].add_tags(self._parse_tag_specification("dhcp-options").get("dhcp-options", {}))
        return ActionResult(created)


def _check_values(key: str, values: Sequence[str]) -> None:
    if len(values) > (_MOST_ADDRESSES if key in _ADDRESSES else 1):
        raise _invalid(key, ", ".join(values), "too many values")
    for value in values:
        if key in _ADDRESSES and not (key == "domain-name-servers" and value == AMAZON_PROVIDED_DNS):
            try:
                ipaddress.ip_address(value)
            except ValueError:
                raise _invalid(key, value, "not an IP address") from None
    if key == "netbios-node-type" and values[0] not in _NODE_TYPES:
        raise _invalid(key, values[0], f"one of {', '.join(_NODE_TYPES)} is expected")
    if key == "ipv6-address-preferred-lease-time" and not (
        values[0].isdecimal() and _SHORTEST_LEASE <= int(values[0]) <= _LONGEST_LEASE
    ):
        raise _invalid(key, values[0], f"{_SHORTEST_LEASE} to {_LONGEST_LEASE} seconds are expected")


def _invalid(key: str, value: str, reason: str) -> EC2ClientError:
    return EC2ClientError("InvalidParameterValue", f"Value ({value}) for parameter {key} is invalid: {reason}")
