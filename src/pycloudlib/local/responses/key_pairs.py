"""The wire of key pairs."""

from __future__ import annotations

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses import EC2Response

_PUBLIC_KEY = "DescribeKeyPairsResult.KeyPairs.KeyPairInfo.PublicKey"


class KeyPairResponse(EC2Response):
    """Answers what is asked about key pairs."""

    def create_key_pair(self) -> ActionResult:
        """CreateKeyPair, in PEM."""
        if self._get_param("KeyFormat", "pem") != "pem":
            raise EC2ClientError("UnsupportedOperation", "The local EC2 writes private keys in the format pem only")
        return super().create_key_pair()

    def describe_key_pairs(self) -> ActionResult:
        """DescribeKeyPairs, by names and by ids."""
        if self._get_bool_param("IncludePublicKey", False):
            self._include_in_response(_PUBLIC_KEY)
        else:
            self._exclude_from_response(_PUBLIC_KEY)
        names, ids = self._get_param("KeyNames", []), self._get_param("KeyPairIds", [])
        return ActionResult(
            {"KeyPairs": self.ec2_backend.described_key_pairs(names, ids, self._filters_from_querystring())}
        )

    def delete_key_pair(self) -> ActionResult:
        """DeleteKeyPair, by name or by id."""
        deleted = self.ec2_backend.delete_key_pair(self._get_param("KeyName"), self._get_param("KeyPairId"))
        return ActionResult({"Return": True, "KeyPairId": deleted.id if deleted else None})
