"""What a running local EC2 tells of itself beside EC2's API."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local.network.document import topology_from
from pycloudlib.local.network.namespaces.entrance import Entrance
from pycloudlib.local.network.topology import Topology
from pycloudlib.local.options import ServerInfo

TIMEOUT_SECONDS = 60.0

_REFUSED = 409


@dataclass(frozen=True)
class DescribedNetwork:
    """The network of a local EC2.

    Args:
        topology: its VPCs and what is in them.
        names: the `Name` tags of resources, and the names of security groups, by id.
        document: the same as the server tells it.
    """

    topology: Topology
    names: Mapping[str, str]
    document: Mapping[str, Any]


def fetch_network(info: ServerInfo) -> DescribedNetwork:
    """Return the network of a running local EC2, as its API has it recorded.

    Raises:
        LocalEC2Error: it does not answer.
    """
    document = _fetch(info, "network")
    return DescribedNetwork(topology_from(document["topology"]), document["names"], document)


def fetch_entrance(info: ServerInfo, vpc_id: str = "") -> Entrance:
    """Return how to enter a VPC of a running local EC2 with the namespaces network.

    Args:
        info: the local EC2.
        vpc_id: default: the default VPC of the region that settings name.

    Raises:
        LocalEC2Error: it does not answer, or there is no such VPC.
    """
    return Entrance(**_fetch(info, f"entrance/{vpc_id}"))


def _fetch(info: ServerInfo, name: str) -> Any:
    from botocore.auth import SigV4Auth  # noqa: PLC0415  (slow to import, and most uses of a local EC2 need none of it)
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415
    from botocore.credentials import Credentials  # noqa: PLC0415

    url = f"{info.endpoint_url.rstrip('/')}/local-api/{name}"
    signed = AWSRequest("GET", url)
    SigV4Auth(Credentials(info.access_key_id, info.secret_access_key), "ec2", info.region).add_auth(signed)
    request = urllib.request.Request(url, headers=dict(signed.headers.items()))  # noqa: S310  (its URL is http)
    # Whatever proxy the environment names, this is on loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT_SECONDS) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        if error.code == _REFUSED:
            raise LocalEC2Error(error.read().decode()) from error
        raise LocalEC2Error(f"the local EC2 at {info.endpoint_url} does not tell its {name}: {error}") from error
    except (OSError, ValueError) as error:
        raise LocalEC2Error(f"the local EC2 at {info.endpoint_url} does not tell its {name}: {error}") from error
