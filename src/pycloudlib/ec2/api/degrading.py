"""Servers that speak EC2's API, but an older one: what they do not know is left out, with a warning.

An EC2 that is not AWS's own, such as OpenStack's, may refuse a call for a parameter that it has never heard of. Where
the call makes sense without it, it is made again without, and from then on the server is not asked for it any more.
AWS's own endpoints are never treated so.
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
from pycloudlib.ec2.api.retries import TAGS_KEPT
from pycloudlib.errors import PycloudlibError, ResourceNotFoundError
from pycloudlib.waiting import wait_until

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

logger = logging.getLogger(__name__)

CERTAIN_CODES = frozenset({"UnknownParameter", "Unsupported", "UnsupportedOperation", "UnsupportedParameter"})
"""Codes of a server that does not know something; with any other one it has to say so in words."""

_SAYS_UNKNOWN = re.compile(
    r"unknown|unexpected|unrecogni[sz]ed|unsupported|not (?:supported|recogni[sz]ed|implemented|known|allowed)|extra"
    r"|does ?n[o']t (?:support|recogni[sz]e|know)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Dispensable:
    """A parameter that a call makes sense without.

    Args:
        name: as boto3 calls it.
        loss: what it means that the server does not know it, for the warning.
        wire_name: as it begins in a request; default the name.
    """

    name: str
    loss: str
    wire_name: str = ""

    def is_in(self, key: str) -> bool:
        """Whether a key of a request belongs to it."""
        wire_name = self.wire_name or self.name
        return key == wire_name or key.startswith(f"{wire_name}.")

    def is_named_in(self, message: str) -> bool:
        """Whether a refusal is about it, however the server writes its name."""
        return (self.wire_name or self.name).lower() in re.sub(r"[^a-z]", "", message.lower())


TAG_SPECIFICATIONS = Dispensable(
    "TagSpecifications",
    "what is created is tagged right after its creation instead, by CreateTags; what comes with an instance, and what "
    "is created by a process that is killed in between, has no tags",
    "TagSpecification",
)

DISPENSABLE = (
    TAG_SPECIFICATIONS,
    Dispensable("IncludeDeprecated", "images past their date of deprecation are found, or not, as the server likes"),
    Dispensable("IncludePublicKey", "public keys are compared by their fingerprints"),
    Dispensable("Latest", "the console log is that of the latest boot"),
    Dispensable("MetadataOptions", "the metadata service is as the server has it, whatever was asked for"),
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
"""Where an answer tells the id of what was created, by operation."""

TAG_TIMEOUT = 30.0
"""Seconds for which a server may not know what it created."""


class Degrading:
    """What one server was found not to know. Any thread may make calls at any time.

    Args:
        client: the boto3 EC2 client, which is made to leave that out.
    """

    def __init__(self, client: EC2Client) -> None:
        self._client = client
        self._unknown: set[Dispensable] = set()
        self._lock = threading.Lock()
        events = client.meta.events
        events.register("before-call.ec2", self._leave_out_what_is_unknown)
        retry_without: Any = self._retry_without
        events.register("needs-retry.ec2", retry_without)
        events.register("after-call.ec2", self._tag_what_was_created)

    def _leave_out_what_is_unknown(self, params: dict[str, Any], **_: object) -> None:
        with self._lock:
            unknown = set(self._unknown)
        for parameter in unknown:
            _leave_out(parameter, params)

    def _retry_without(self, response: Any, request_dict: dict[str, Any], **_: object) -> float | None:
        """Tell botocore to make the call again, at once, without what was refused; None when nothing of it was."""
        error = response[1].get("Error", {}) if response else {}
        message = error.get("Message") or ""
        if error.get("Code") not in CERTAIN_CODES and not _SAYS_UNKNOWN.search(message):
            return None
        refused = [one for one in DISPENSABLE if one.is_named_in(message)]
        left_out = [one for one in refused if _leave_out(one, request_dict)]
        for parameter in left_out:
            self._note_unknown(parameter)
        return 0.0 if left_out else None

    def _note_unknown(self, parameter: Dispensable) -> None:
        with self._lock:
            if parameter in self._unknown:
                return
            self._unknown.add(parameter)
        logger.warning(
            "the server at %s does not know %s: %s", self._client.meta.endpoint_url, parameter.name, parameter.loss
        )

    def _tag_what_was_created(
        self, parsed: Mapping[str, Any], model: Any, context: dict[str, Any], **_: object
    ) -> None:
        tags = context.pop(TAGS_KEPT, None)
        if not tags or "Error" in parsed or model.name not in CREATED:
            return
        ids = _ids_in(parsed, CREATED[model.name].split("."))
        try:
            if ids:
                wait_until(
                    lambda: self._has_tagged(ids, tags),
                    what=f"{', '.join(ids)} to be known",
                    deadline=Deadline.after(TAG_TIMEOUT),
                    interval=0.5,
                    max_interval=3.0,
                )
        except PycloudlibError as error:
            # What was created has to become known to whoever created it, tagged or not.
            logger.warning("%s has no tags, so that nobody can tell whose it is: %s", ", ".join(ids), error)

    def _has_tagged(self, ids: list[str], tags: Mapping[str, str]) -> bool:
        pairs: Any = [{"Key": key, "Value": value} for key, value in tags.items()]
        try:
            with translated():
                self._client.create_tags(Resources=ids, Tags=pairs)
        except ResourceNotFoundError:
            return False
        return True


def _leave_out(parameter: Dispensable, request: dict[str, Any]) -> bool:
    """Take a parameter out of a request; its tags are kept for later.

    Returns:
        Whether it was there.
    """
    body = request.get("body")
    if not isinstance(body, dict):
        return False
    found = {key: body.pop(key) for key in list(body) if parameter.is_in(key)}
    if found and parameter is TAG_SPECIFICATIONS:
        request["context"][TAGS_KEPT] = _tags_in(found)
    return bool(found)


def _tags_in(found: Mapping[str, Any]) -> dict[str, str]:
    """The tags of the first resource that is created: others come with it, and are not known yet."""
    is_key = re.compile(r"\w+\.1\.Tag\.\d+\.Key")
    keys = {key.removesuffix(".Key"): value for key, value in found.items() if is_key.fullmatch(key)}
    return {tag: found.get(f"{where}.Value", "") for where, tag in keys.items()}


def _ids_in(answer: Any, path: Sequence[str]) -> list[str]:
    """What an answer holds at the end of a path; on its way there may be lists."""
    if isinstance(answer, list):
        return [found for item in answer for found in _ids_in(item, path)]
    if not path:
        return [answer] if isinstance(answer, str) else []
    return _ids_in(answer.get(path[0]), path[1:]) if isinstance(answer, dict) else []
