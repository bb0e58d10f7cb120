"""The documents of a running local EC2 beside EC2's API: its network and its network faults."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pycloudlib.errors import LocalEC2Error, ResourceNotFoundError
from pycloudlib.local.network.document import topology_from
from pycloudlib.local.network.faults import Fault, fault_from
from pycloudlib.local.network.namespaces.capture import Tap
from pycloudlib.local.network.namespaces.entrance import Entrance
from pycloudlib.local.network.topology import Topology
from pycloudlib.local.options import ServerInfo

TIMEOUT_SECONDS = 60.0

_REFUSED = 409


@dataclass(frozen=True)
class DescribedNetwork:
    """The network of a local EC2.

    Args:
        topology: the VPCs and their contents.
        names: the `Name` tags of resources, and the names of security groups, by id.
        document: the JSON document of the server.
        host_ports: the TCP ports of the host that machines can reach.
    """

    topology: Topology
    names: Mapping[str, str]
    document: Mapping[str, Any]
    host_ports: tuple[int, ...] = ()


def fetch_network(info: ServerInfo) -> DescribedNetwork:
    """Return the network of a running local EC2, as recorded by its API.

    Raises:
        LocalEC2Error: the server does not respond.
    """
    document = _fetch(info, "network")
    topology, ports = topology_from(document["topology"]), tuple(document["host_ports"])
    return DescribedNetwork(topology, document["names"], document, ports)


def fetch_entrance(info: ServerInfo, vpc_id: str = "") -> Entrance:
    """Return the entrance to a VPC of a running local EC2 with the namespaces network.

    Args:
        info: the local EC2.
        vpc_id: the VPC; default the default VPC of the region in the settings.

    Raises:
        LocalEC2Error: the server does not respond, has no namespaces network, or lacks the VPC.
    """
    _require_namespaces(info, "network to run a command in")
    return Entrance(**_fetch(info, f"entrance/{vpc_id}"))


def fetch_tap(info: ServerInfo, resource_id: str) -> Tap:
    """Return the tap of a machine's interface, in a running local EC2 with the namespaces network.

    Args:
        info: the local EC2.
        resource_id: the id of an instance, for its primary interface, or of an interface.

    Raises:
        ResourceNotFoundError: it has no such instance or interface.
        LocalEC2Error: the server does not respond, has no namespaces network, or the instance is not running.
    """
    _require_namespaces(info, "packets to capture")
    interface = fetch_network(info).topology.find_interface(resource_id)
    if interface is None:
        raise ResourceNotFoundError(message=f"unknown instance or network interface {resource_id!r}: give its id")
    return Tap.from_document(_fetch(info, f"tap/{interface.interface_id}"))


def fetch_faults(info: ServerInfo) -> list[Fault]:
    """Return the network faults of a running local EC2.

    Raises:
        LocalEC2Error: the server does not respond, or has no namespaces network.
    """
    _require_namespaces(info)
    return [fault_from(record.pop("fault_id"), record) for record in _fetch(info, "faults")["faults"]]


def put_fault(info: ServerInfo, fault: Fault) -> None:
    """Add a network fault to a running local EC2. Idempotent.

    Raises:
        LocalEC2Error: the server does not respond, has no namespaces network, or rejects the fault.
    """
    _require_namespaces(info)
    document = fault.to_document()
    _fetch(info, f"faults/{document.pop('fault_id')}", "PUT", json.dumps(document).encode())


def remove_faults(info: ServerInfo, fault_id: str = "") -> list[str]:
    """Remove a network fault of a running local EC2, or all.

    Args:
        info: the local EC2.
        fault_id: the fault's id; default all faults.

    Returns:
        The ids of the removed faults; empty if the fault is already deleted.

    Raises:
        LocalEC2Error: the server does not respond, or has no namespaces network.
    """
    _require_namespaces(info)
    removed: list[str] = _fetch(info, f"faults/{fault_id}", "DELETE")["removed"]
    return removed


def _require_namespaces(info: ServerInfo, purpose: str = "network faults") -> None:
    if info.network != "namespaces":
        machines = f"user networking ({info.network_reason})" if info.network else "simulated machines"
        raise LocalEC2Error(
            f"the local EC2 at {info.endpoint_url} has {machines}, and therefore no {purpose}: start it with "
            "`--network namespaces`"
        )


def _fetch(info: ServerInfo, name: str, method: str = "GET", body: bytes | None = None) -> Any:
    from botocore.auth import SigV4Auth  # noqa: PLC0415  (slow to import, and most uses of a local EC2 need none of it)
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415
    from botocore.credentials import Credentials  # noqa: PLC0415

    url = f"{info.endpoint_url.rstrip('/')}/local-api/{name}"
    signed = AWSRequest(method, url, data=body)
    SigV4Auth(Credentials(info.access_key_id, info.secret_access_key), "ec2", info.region).add_auth(signed)
    headers = dict(signed.headers.items())
    request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310  (its URL is http)
    # Ignore the environment's proxy, since the server is on loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT_SECONDS) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        if error.code == _REFUSED:
            raise LocalEC2Error(error.read().decode()) from error
        raise LocalEC2Error(f"the local EC2 at {info.endpoint_url} did not return its {name}: {error}") from error
    except (OSError, ValueError) as error:
        raise LocalEC2Error(f"the local EC2 at {info.endpoint_url} did not return its {name}: {error}") from error
