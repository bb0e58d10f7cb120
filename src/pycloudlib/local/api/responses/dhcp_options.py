"""Request handlers for DHCP options."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Any

from pycloudlib.local.api.moto_adapter import ActionResult, EC2ClientError, EC2Response
from pycloudlib.local.network.topology import AMAZON_PROVIDED_DNS

_ADDRESSES = ("domain-name-servers", "ntp-servers", "netbios-name-servers")
_KEYS = ("domain-name", "netbios-node-type", *_ADDRESSES)
_UNSUPPORTED = "ipv6-address-preferred-lease-time"
_DOMAINS = re.compile(r"[A-Za-z0-9._-]+( [A-Za-z0-9._-]+)*")
_NODE_TYPES = ("1", "2", "4", "8")
_MOST_ADDRESSES = 4
# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateDhcpOptions.html


class DhcpOptionsResponse(EC2Response):
    """Handles actions on DHCP options."""

    def create_dhcp_options(self) -> ActionResult:
        """CreateDhcpOptions."""
        configurations = self._get_param("DhcpConfigurations", [])
        for configuration in configurations:
            key, values = configuration.get("Key"), configuration.get("Values")
            if key == _UNSUPPORTED:
                raise EC2ClientError("UnsupportedOperation", f"The local EC2 does not have the DHCP option {key}")
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
    if key == "domain-name" and not _DOMAINS.fullmatch(values[0]):
        raise _invalid(key, values[0], "letters, digits, dots, hyphens, and underscores are expected")


def _invalid(key: str, value: str, reason: str) -> EC2ClientError:
    return EC2ClientError("InvalidParameterValue", f"Value ({value}) for parameter {key} is invalid: {reason}")
