"""Key pairs, as DescribeKeyPairs gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client


def test_public_key_is_described_only_to_who_asks_for_it(client: EC2Client) -> None:
    client.create_key_pair(KeyName="asked-for", KeyType="ed25519")
    for include in (False, True, False):
        (described,) = client.describe_key_pairs(KeyNames=["asked-for"], IncludePublicKey=include)["KeyPairs"]
        assert described.get("PublicKey", "").startswith("ssh-ed25519 ") is include
