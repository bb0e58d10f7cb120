"""Compatibility with servers that implement an older EC2 API: remove unsupported parameters from calls, with a warning.

A server other than AWS's, such as OpenStack's, may reject a call with a parameter that it does not support. If the call
makes sense without the parameter, retry it without, and omit the parameter from later calls to this server. Calls to
AWS's own endpoints are never changed.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.api.faults import translated
from pycloudlib.ec2.api.retries import REMOVED_TAGS
from pycloudlib.errors import PycloudlibError, ResourceNotFoundError
from pycloudlib.waiting import wait_until

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

logger = logging.getLogger(__name__)

CERTAIN_CODES = frozenset({"UnknownParameter", "Unsupported", "UnsupportedOperation", "UnsupportedParameter"})
"""The codes that certainly mean "not supported"; for other codes, the message must say so."""

_UNSUPPORTED = re.compile(
    r"unknown|unexpected|unrecogni[sz]ed|unsupported|not (?:supported|recogni[sz]ed|implemented|known|allowed)|extra"
    r"|does ?n[o']t (?:support|recogni[sz]e|know)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class OptionalParameter:
    """A parameter that a call can omit.

    Args:
        name: the parameter, as boto3 names it.
        loss: the consequence of omitting it, for the warning.
        wire_name: its prefix in a request; default the name.
    """

    name: str
    loss: str
    wire_name: str = ""

    def is_in(self, key: str) -> bool:
        """Return whether a key of a request belongs to this parameter."""
        wire_name = self.wire_name or self.name
        return key == wire_name or key.startswith(f"{wire_name}.")

    def is_named_in(self, message: str) -> bool:
        """Return whether an error message names this parameter, in any notation."""
        return (self.wire_name or self.name).lower() in re.sub(r"[^a-z]", "", message.lower())


TAG_SPECIFICATIONS = OptionalParameter(
    "TagSpecifications",
    "resources are tagged right after their creation, by CreateTags; the volumes and interfaces of an instance, and "
    "the resources of a process that is killed in between, have no tags",
    "TagSpecification",
)

OPTIONAL_PARAMETERS = (
    TAG_SPECIFICATIONS,
    OptionalParameter("IncludeDeprecated", "the server decides whether to list deprecated images"),
    OptionalParameter("IncludePublicKey", "public keys are compared by their fingerprints"),
    OptionalParameter("Latest", "the console log is that of the latest boot only"),
    OptionalParameter("MetadataOptions", "the server's defaults apply to the metadata service"),
)

CREATED = {
    "AllocateAddress": "AllocationId",
    "CopyImage": "ImageId",
    "CopySnapshot": "SnapshotId",
    "CreateImage": "ImageId",
    "CreateEgressOnlyInternetGateway": "EgressOnlyInternetGateway.EgressOnlyInternetGatewayId",
    "CreateInternetGateway": "InternetGateway.InternetGatewayId",
    "CreateKeyPair": "KeyPairId",
    "CreateNatGateway": "NatGateway.NatGatewayId",
    "CreateNetworkAcl": "NetworkAcl.NetworkAclId",
    "CreateNetworkInterface": "NetworkInterface.NetworkInterfaceId",
    "CreateRouteTable": "RouteTable.RouteTableId",
    "CreateSecurityGroup": "GroupId",
    "CreateSnapshot": "SnapshotId",
    "CreateSubnet": "Subnet.SubnetId",
    "CreateVolume": "VolumeId",
    "CreateVpc": "Vpc.VpcId",
    "ImportKeyPair": "KeyPairId",
    "RegisterImage": "ImageId",
    "RunInstances": "Instances.InstanceId",
}
"""The path of the created resource's id in a response, by operation."""

TAG_TIMEOUT = 30.0
"""Seconds for which a server may return NotFound for a created resource."""


class CompatibilityShim:
    """The parameters that a server was found not to support. Thread-safe.

    Args:
        client: the boto3 EC2 client, on which to register the handlers.
    """

    def __init__(self, client: EC2Client) -> None:
        self._client = client
        self._unsupported: set[OptionalParameter] = set()
        self._lock = threading.Lock()
        events = client.meta.events
        events.register("before-call.ec2", self._omit_unsupported)
        retry_without: Any = self._retry_without
        events.register("needs-retry.ec2", retry_without)
        events.register("after-call.ec2", self._tag_created)

    def _omit_unsupported(self, params: dict[str, Any], **_: object) -> None:
        with self._lock:
            unsupported = set(self._unsupported)
        for parameter in unsupported:
            _omit(parameter, params)

    def _retry_without(self, response: Any, request_dict: dict[str, Any], **_: object) -> float | None:
        """Return 0.0 to retry immediately without the rejected parameters, or None if there are none."""
        error = response[1].get("Error", {}) if response else {}
        message = error.get("Message") or ""
        if error.get("Code") not in CERTAIN_CODES and not _UNSUPPORTED.search(message):
            return None
        refused = [parameter for parameter in OPTIONAL_PARAMETERS if parameter.is_named_in(message)]
        omitted = [parameter for parameter in refused if _omit(parameter, request_dict)]
        for parameter in omitted:
            self._note_unsupported(parameter)
        return 0.0 if omitted else None

    def _note_unsupported(self, parameter: OptionalParameter) -> None:
        with self._lock:
            if parameter in self._unsupported:
                return
            self._unsupported.add(parameter)
        logger.warning(
            "the server at %s does not support %s: %s", self._client.meta.endpoint_url, parameter.name, parameter.loss
        )

    def _tag_created(self, parsed: Mapping[str, Any], model: Any, context: dict[str, Any], **_: object) -> None:
        tags = context.pop(REMOVED_TAGS, None)
        if not tags or "Error" in parsed or model.name not in CREATED:
            return
        ids = _ids_in(parsed, CREATED[model.name].split("."))
        try:
            if ids:
                wait_until(
                    lambda: self._try_to_tag(ids, tags),
                    what=f"{', '.join(ids)} to be visible",
                    deadline=Deadline.after(TAG_TIMEOUT),
                    interval=0.5,
                    max_interval=3.0,
                )
        except PycloudlibError as error:
            # The caller must learn of the created resource, tagged or not.
            logger.warning("cannot tag %s, so no sweep will find it: %s", ", ".join(ids), error)

    def _try_to_tag(self, ids: list[str], tags: Mapping[str, str]) -> bool:
        pairs: Any = [{"Key": key, "Value": value} for key, value in tags.items()]
        try:
            with translated():
                self._client.create_tags(Resources=ids, Tags=pairs)
        except ResourceNotFoundError:
            return False
        return True


def _omit(parameter: OptionalParameter, request: dict[str, Any]) -> bool:
    """Remove a parameter from a request, and keep its tags for later.

    Returns:
        Whether the request had the parameter.
    """
    body = request.get("body")
    if not isinstance(body, dict):
        return False
    removed = {key: body.pop(key) for key in list(body) if parameter.is_in(key)}
    if removed and parameter is TAG_SPECIFICATIONS:
        request["context"][REMOVED_TAGS] = _tags_in(removed)
    return bool(removed)


def _tags_in(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of the first created resource; the ids of further ones are still unknown."""
    is_key = re.compile(r"\w+\.1\.Tag\.\d+\.Key")
    keys = {key.removesuffix(".Key"): value for key, value in parameters.items() if is_key.fullmatch(key)}
    return {tag: parameters.get(f"{where}.Value", "") for where, tag in keys.items()}


def _ids_in(response: Any, path: Sequence[str]) -> list[str]:
    """Return the strings at the end of a path in a response, descending into lists."""
    if isinstance(response, list):
        return [resource_id for item in response for resource_id in _ids_in(item, path)]
    if not path:
        return [response] if isinstance(response, str) else []
    return _ids_in(response.get(path[0]), path[1:]) if isinstance(response, dict) else []
