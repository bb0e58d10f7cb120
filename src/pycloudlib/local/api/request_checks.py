"""Validation of requests against botocore's model of the action, before any access to the records."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.model import ListShape, OperationModel, Shape, StructureShape

from pycloudlib.local.api.models.parameters import RESOLVE
from pycloudlib.local.api.moto_adapter import EC2ClientError

Parameters = Mapping[str, Any]

_MAX_RESULTS = (5, 1000)
"""The limits of MaxResults if the model has none: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Query-Requests.html"""

_LEAST_RESULTS = {"DescribeImages": 1}

# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
_IDS = {
    "InstanceId": ("i", "InvalidInstanceID.Malformed", 'Invalid id: "{id}"'),
    "ImageId": ("ami", "InvalidAMIID.Malformed", 'Invalid id: "{id}" (expecting "ami-...")'),
    "SourceImageId": ("ami", "InvalidAMIID.Malformed", 'Invalid id: "{id}" (expecting "ami-...")'),
    "GroupId": ("sg", "InvalidGroupId.Malformed", 'Invalid id: "{id}" (expecting "sg-...")'),
    "SecurityGroupId": ("sg", "InvalidGroupId.Malformed", 'Invalid id: "{id}" (expecting "sg-...")'),
    "LaunchTemplateId": ("lt", "InvalidLaunchTemplateId.Malformed", 'Invalid id: "{id}" (expecting "lt-...")'),
    "VolumeId": (
        "vol",
        "InvalidParameterValue",
        "Value ({id}) for parameter volumeId is invalid. Expected: 'vol-...'.",
    ),
    "SnapshotId": (
        "snap",
        "InvalidParameterValue",
        "Value ({id}) for parameter snapshotId is invalid. Expected: 'snap-...'.",
    ),
}

_NOT_WITH_MAX_RESULTS = {
    "DescribeInstances": ("InstanceIds", "instancesSet"),
    "DescribeInstanceStatus": ("InstanceIds", "instancesSet"),
    "DescribeVolumes": ("VolumeIds", "volumesSet"),
    "DescribeSnapshots": ("SnapshotIds", "snapshotsSet"),
    "DescribeNetworkInterfaces": ("NetworkInterfaceIds", "networkInterfaceIdSet"),
}


def check(operation: OperationModel, parameters: Parameters) -> None:
    """Validate required parameters, ids, and MaxResults.

    Args:
        operation: botocore's model of the action.
        parameters: the parameters of the request, by botocore's names.

    Raises:
        EC2ClientError: a required parameter is missing, or a value is invalid.
    """
    _check_required(operation.input_shape, parameters)
    check_ids(operation.name, parameters)
    _check_max_results(operation, parameters)


def _check_required(shape: Shape | None, given: Any, path: str = "") -> None:
    """Require the required members of a structure, and of those in it."""
    if isinstance(shape, StructureShape) and isinstance(given, Mapping):
        for name in shape.required_members:
            if given.get(name) is None:
                raise EC2ClientError("MissingParameter", f"The request must contain the parameter {path}{name}")
        for name, value in given.items():
            _check_required(shape.members.get(name), value, f"{path}{name}.")
    elif isinstance(shape, ListShape) and isinstance(given, list):
        for one in given:
            _check_required(shape.member, one, path)


def check_ids(action: str, parameters: Parameters) -> None:
    """Reject malformed ids among the parameters of an action, or the members of one of its structures.

    Raises:
        EC2ClientError: an id is malformed.
    """
    # The ids of placement groups have another form.
    if "PlacementGroup" in action:
        return
    for name, (prefix, code, message) in _IDS.items():
        for given in _ids(parameters, name):
            if action == "RunInstances" and name == "ImageId" and given.startswith(RESOLVE):
                continue
            if not re.fullmatch(rf"{prefix}-([0-9a-f]{{8}}|[0-9a-f]{{17}})", given):
                raise EC2ClientError(code, message.format(id=given))


def _ids(parameters: Parameters, name: str) -> Iterator[str]:
    one = parameters.get(name)
    if isinstance(one, str):
        yield one
    several = parameters.get(f"{name}s")
    if isinstance(several, list):
        yield from (given for given in several if isinstance(given, str))


def _check_max_results(operation: OperationModel, parameters: Parameters) -> None:
    wanted = parameters.get("MaxResults")
    if wanted is None or operation.input_shape is None:
        return
    limits = operation.input_shape.members["MaxResults"].metadata
    least = int(limits.get("min", _LEAST_RESULTS.get(operation.name, _MAX_RESULTS[0])))
    most = int(limits.get("max", _MAX_RESULTS[1]))
    if not least <= int(wanted) <= most:
        raise EC2ClientError(
            "InvalidParameterValue",
            f"Value ( {wanted} ) for parameter maxResults is invalid. Expecting a value between {least} and {most}.",
        )
    ids, name = _NOT_WITH_MAX_RESULTS.get(operation.name, ("", ""))
    if parameters.get(ids):
        raise EC2ClientError(
            "InvalidParameterCombination", f"The parameter {name} cannot be used with the parameter maxResults"
        )
