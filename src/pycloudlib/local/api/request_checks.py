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


def _check_required(shape: Shape | None, value: Any, path: str = "") -> None:
    """Require the required members of a structure, and of those in it."""
    if isinstance(shape, StructureShape) and isinstance(value, Mapping):
        for name in shape.required_members:
            if value.get(name) is None:
                raise EC2ClientError("MissingParameter", f"The request must contain the parameter {path}{name}")
        for name, member in value.items():
            _check_required(shape.members.get(name), member, f"{path}{name}.")
    elif isinstance(shape, ListShape) and isinstance(value, list):
        for item in value:
            _check_required(shape.member, item, path)


def check_ids(action: str, parameters: Parameters) -> None:
    """Reject malformed ids among the parameters of an action, or the members of one of its structures.

    Raises:
        EC2ClientError: an id is malformed.
    """
    # The ids of placement groups have another form.
    if "PlacementGroup" in action:
        return
    for name, (prefix, code, message) in _IDS.items():
        for resource_id in _ids(parameters, name):
            if action == "RunInstances" and name == "ImageId" and resource_id.startswith(RESOLVE):
                continue
            if not re.fullmatch(rf"{prefix}-([0-9a-f]{{8}}|[0-9a-f]{{17}})", resource_id):
                raise EC2ClientError(code, message.format(id=resource_id))


def _ids(parameters: Parameters, name: str) -> Iterator[str]:
    single = parameters.get(name)
    if isinstance(single, str):
        yield single
    several = parameters.get(f"{name}s")
    if isinstance(several, list):
        yield from (value for value in several if isinstance(value, str))


def _check_max_results(operation: OperationModel, parameters: Parameters) -> None:
    max_results = parameters.get("MaxResults")
    if max_results is None or operation.input_shape is None:
        return
    limits = operation.input_shape.members["MaxResults"].metadata
    minimum = int(limits.get("min", _LEAST_RESULTS.get(operation.name, _MAX_RESULTS[0])))
    maximum = int(limits.get("max", _MAX_RESULTS[1]))
    if not minimum <= int(max_results) <= maximum:
        raise EC2ClientError(
            "InvalidParameterValue",
            f"Value ( {max_results} ) for parameter maxResults is invalid. "
            f"Expecting a value between {minimum} and {maximum}.",
        )
    ids, name = _NOT_WITH_MAX_RESULTS.get(operation.name, ("", ""))
    if parameters.get(ids):
        raise EC2ClientError(
            "InvalidParameterCombination", f"The parameter {name} cannot be used with the parameter maxResults"
        )
