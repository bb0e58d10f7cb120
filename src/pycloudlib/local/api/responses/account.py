"""The wire of account attributes."""

from __future__ import annotations

from pycloudlib.local.api.moto_adapter import ActionResult, EC2ClientError, EC2Response

_LIMITS = {
    "max-instances": "20",
    "vpc-max-security-groups-per-interface": "5",
    "max-elastic-ips": "5",
    "vpc-max-elastic-ips": "5",
}


class AccountResponse(EC2Response):
    """Answers what is asked about the account."""

    def describe_account_attributes(self) -> ActionResult:
        """DescribeAccountAttributes."""
        vpc = self.ec2_backend.get_default_vpc()
        attributes = {"supported-platforms": "VPC", "default-vpc": vpc.id if vpc else "none", **_LIMITS}
        wanted = self._get_param("AttributeNames") or list(attributes)
        unknown = [one for one in wanted if one not in attributes]
        if unknown:
            raise EC2ClientError("InvalidParameterValue", f"Unknown account attribute '{unknown[0]}'")
        return ActionResult(
            {
                "AccountAttributes": [
                    {"AttributeName": name, "AttributeValues": [{"AttributeValue": attributes[name]}]}
                    for name in attributes
                    if name in wanted
                ]
            }
        )
