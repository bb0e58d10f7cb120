"""Request handlers for account attributes."""

from __future__ import annotations

from pycloudlib.local.api.moto_adapter import ActionResult, EC2ClientError, EC2Response

_LIMITS = {
    "max-instances": "20",
    "vpc-max-security-groups-per-interface": "5",
    "max-elastic-ips": "5",
    "vpc-max-elastic-ips": "5",
}


class AccountResponse(EC2Response):
    """Handles actions on account attributes."""

    def describe_account_attributes(self) -> ActionResult:
        """DescribeAccountAttributes."""
        vpc = self.ec2_backend.get_default_vpc()
        attributes = {"supported-platforms": "VPC", "default-vpc": vpc.id if vpc else "none", **_LIMITS}
        names = self._get_param("AttributeNames") or list(attributes)
        unknown = [name for name in names if name not in attributes]
        if unknown:
            raise EC2ClientError("InvalidParameterValue", f"Unknown account attribute '{unknown[0]}'")
        return ActionResult(
            {
                "AccountAttributes": [
                    {"AttributeName": name, "AttributeValues": [{"AttributeValue": attributes[name]}]}
                    for name in attributes
                    if name in names
                ]
            }
        )
