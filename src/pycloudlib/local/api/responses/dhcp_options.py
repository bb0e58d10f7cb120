"""The wire of DHCP options."""

from __future__ import annotations

from typing import Any

from pycloudlib.local.api.moto_adapter import ActionResult, EC2ClientError, EC2Response

_KEYS = ("domain-name", "domain-name-servers", "ntp-servers", "netbios-name-servers", "netbios-node-type")


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
        created: Any = super().create_dhcp_options().result
        created["DhcpOptions"].add_tags(self._parse_tag_specification("dhcp-options").get("dhcp-options", {}))
        return ActionResult(created)
