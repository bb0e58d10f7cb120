"""The only module that imports moto.

moto keeps the records of the API and handles its actions. It has no plugin interface, so this module uses moto's
internals. Each use is a function here with a test in tests/unit/local/api/test_moto_adapter.py that names what a
release of moto broke. This module re-exports everything else that the local EC2 uses of moto.

Import this module only after `pycloudlib.local.prerequisites.require_moto()` and
`pycloudlib.local.api.service_model_cache.share_service_models()`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cache, lru_cache
from importlib import import_module
from ipaddress import IPv6Network
from types import MappingProxyType, SimpleNamespace
from typing import Any

from moto import backends
from moto.core import responses
from moto.core.exceptions import JsonRESTError, ServiceException
from moto.core.request import Request
from moto.core.responses import ActionResult, BaseResponse, EmptyResult
from moto.core.serialize import (
    AttributePickerContext,
    TimestampSerializer,
    XFormedAttributePicker,
)
from moto.core.types import Base64EncodedString
from moto.core.utils import camelcase_to_underscores, get_pagination_model, get_service_model, utcnow
from moto.ec2.exceptions import (
    DryRunClientError,
    EC2ClientError,
    InvalidAMIIdError,
    InvalidCIDRBlockParameterError,
    InvalidInstanceIdError,
    InvalidNetworkAttachmentIdError,
    InvalidParameterCombination,
    InvalidSecurityGroupNotFoundError,
    InvalidSnapshotInUse,
    InvalidVolumeAttachmentError,
    InvalidVolumeDetachmentError,
    MalformedAMIIdError,
    MissingParameterError,
    OperationNotPermitted4,
    ResourceAlreadyAssociatedError,
    UnvailableAMIIdError,
    VolumeInUseError,
)
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.amis import Ami
from moto.ec2.models.block_device import BlockDeviceType
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.models.elastic_block_store import (
    Snapshot,
    Volume,
    VolumeAttachment,
    VolumeModification,
)
from moto.ec2.models.elastic_ip_addresses import ElasticAddress
from moto.ec2.models.elastic_network_interfaces import Attachment, NetworkInterface
from moto.ec2.models.instance_types import INSTANCE_TYPES, InstanceType
from moto.ec2.models.instances import Instance, InstanceState, MetadataOptions, Reservation, StateReason
from moto.ec2.models.key_pairs import KeyPair
from moto.ec2.models.launch_templates import LaunchTemplate, LaunchTemplateVersion
from moto.ec2.models.nat_gateways import NatGateway
from moto.ec2.models.network_acls import NetworkAcl
from moto.ec2.models.route_tables import Route
from moto.ec2.models.security_groups import SecurityGroup, SecurityGroupRule
from moto.ec2.models.spot_requests import SpotInstanceRequest
from moto.ec2.models.subnets import Subnet
from moto.ec2.models.vpcs import VPC
from moto.ec2.models.vpn_gateway import VPCGatewayAttachment
from moto.ec2.responses import EC2Response
from moto.ec2.utils import (
    public_key_parse,
    random_ami_id,
    random_eip_association_id,
    random_iam_instance_profile_association_id,
    random_nat_gateway_id,
    random_snapshot_id,
    random_spot_request_id,
    random_volume_id,
)
from moto.fis.models import FISBackend, fis_backends
from moto.iam.exceptions import IAMException, NotFoundException
from moto.iam.models import IAMBackend, InstanceProfile, iam_backends
from moto.iam.policy_validation import IAMTrustPolicyDocumentValidator
from moto.iam.responses import IamResponse
from moto.moto_api import recorder
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.ssm.exceptions import ParameterVersionNotFound, SSMException, ValidationException
from moto.ssm.models import Parameter, SimpleSystemManagerBackend, ssm_backends
from moto.sts.exceptions import STSClientError
from moto.sts.models import AssumedRole, STSBackend, sts_backends
from moto.utilities.utils import get_partition

__all__ = [
    "INSTANCE_TYPES",
    "STATE_CODES",
    "VPC",
    "ActionResult",
    "Ami",
    "AssumedRole",
    "Attachment",
    "Base64EncodedString",
    "BlockDeviceType",
    "DryRunClientError",
    "EC2Backend",
    "EC2ClientError",
    "EC2Response",
    "ElasticAddress",
    "EmptyResult",
    "FISBackend",
    "IAMBackend",
    "IAMException",
    "IamResponse",
    "Instance",
    "InstanceProfile",
    "InstanceState",
    "InvalidAMIIdError",
    "InvalidCIDRBlockParameterError",
    "InvalidInstanceIdError",
    "InvalidNetworkAttachmentIdError",
    "InvalidParameterCombination",
    "InvalidSecurityGroupNotFoundError",
    "InvalidSnapshotInUse",
    "InvalidVolumeAttachmentError",
    "InvalidVolumeDetachmentError",
    "JsonRESTError",
    "KeyPair",
    "LaunchTemplate",
    "LaunchTemplateVersion",
    "MalformedAMIIdError",
    "MetadataOptions",
    "MissingParameterError",
    "MotoRequestHandler",
    "NatGateway",
    "NetworkAcl",
    "NetworkInterface",
    "OperationNotPermitted4",
    "Parameter",
    "ParameterVersionNotFound",
    "Reservation",
    "ResourceAlreadyAssociatedError",
    "Route",
    "SSMException",
    "STSBackend",
    "STSClientError",
    "SecurityGroup",
    "SecurityGroupRule",
    "ServiceException",
    "SimpleSystemManagerBackend",
    "Snapshot",
    "SpotInstanceRequest",
    "StateReason",
    "Subnet",
    "TaggedEC2Resource",
    "UnvailableAMIIdError",
    "VPCGatewayAttachment",
    "ValidationException",
    "Volume",
    "VolumeAttachment",
    "VolumeInUseError",
    "VolumeModification",
    "add_instance_type",
    "assume_role",
    "assumed_role",
    "attribute_names",
    "cache_lookups",
    "camelcase_to_underscores",
    "change_class",
    "check_trust_policy",
    "draw_canonical_ipv6_blocks",
    "end_sessions",
    "find_instance_profile",
    "fixed_transforms",
    "format_timestamp",
    "get_pagination_model",
    "get_service_model",
    "install_backend",
    "install_experiments",
    "install_parameter_store",
    "install_roles",
    "install_sessions",
    "known_regions",
    "make_application",
    "make_request",
    "parameter_store",
    "public_key_parse",
    "random_ami_id",
    "random_eip_association_id",
    "random_iam_instance_profile_association_id",
    "random_nat_gateway_id",
    "random_snapshot_id",
    "random_spot_request_id",
    "random_volume_id",
    "regional_backends",
    "remove_acl_associations",
    "remove_subnet_associations",
    "reserved_ips",
    "roles_of",
    "security_groups_of",
    "set_experiment_state",
    "set_instance_state",
    "set_security_groups",
    "state_of",
    "urls_of",
    "urls_with",
    "utcnow",
]

STATE_CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
"""The codes of instance states (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceState.html)."""


_TIMESTAMPS = TimestampSerializer(TimestampSerializer.TIMESTAMP_FORMAT_ISO8601_ZEROED)
_NO_SHAPE: Any = SimpleNamespace(serialization={})


def fixed_transforms() -> Mapping[str, Callable[[Any], Any]]:
    """Return moto's response transformers as a read-only mapping, by the end of a member's path.

    Some of moto's handlers add transformers to the class for one request, which would change every later response, also
    of other accounts. Such a handler must be replaced.

    The creation dates of images have milliseconds, by which the newest of several images of one second is found.
    """
    return MappingProxyType({**EC2Response.RESPONSE_KEY_PATH_TO_TRANSFORMER, "Image.CreationDate": _with_milliseconds})


def _with_milliseconds(value: datetime) -> str:
    return f"{value:%Y-%m-%dT%H:%M:%S}.{value.microsecond // 1000:03}Z"


def install_backend(backend: type[EC2Backend]) -> None:
    """Make a class moto's EC2 backend. Call it before the first use of EC2 in this process."""
    ec2_backends.backend = backend


def install_parameter_store(backend: type[SimpleSystemManagerBackend]) -> None:
    """Make a class moto's SSM backend. Call it before the first use of SSM in this process."""
    ssm_backends.backend = backend


def install_experiments(backend: type[FISBackend]) -> None:
    """Make a class moto's FIS backend. Call it before the first use of FIS in this process."""
    fis_backends.backend = backend


def install_roles(backend: type[IAMBackend]) -> None:
    """Make a class moto's IAM backend. Call it before the first use of IAM in this process."""
    iam_backends.backend = backend


def install_sessions(backend: type[STSBackend]) -> None:
    """Make a class moto's STS backend. Call it before the first use of STS in this process."""
    sts_backends.backend = backend


def check_trust_policy(document: str) -> None:
    """Validate a trust policy.

    Raises:
        ServiceException: the document is malformed (MalformedPolicyDocument).
    """
    IAMTrustPolicyDocumentValidator(document).validate()


def roles_of(account_id: str, partition: str) -> list[Any]:
    """Return the IAM roles of an account."""
    return list(iam_backends[account_id][partition].get_roles())


def parameter_store(account_id: str, region: str) -> Any:
    """Return an account's SSM backend in a region."""
    return ssm_backends[account_id][region]


def find_instance_profile(account_id: str, region: str, *, name: str = "", arn: str = "") -> InstanceProfile | None:
    """Return an account's instance profile by its name or its ARN; None if it does not exist."""
    iam = iam_backends[account_id][get_partition(region)]
    try:
        return iam.get_instance_profile(name) if name else iam.get_instance_profile_by_arn(arn)
    except NotFoundException:
        return None


def assume_role(account_id: str, region: str, *, role_arn: str, session_name: str, seconds: int) -> AssumedRole:
    """Return temporary credentials for a role, for up to any time (STS AssumeRole)."""
    backend = sts_backends[account_id][get_partition(region)]
    # Not the backend's own method, which limits sessions as STS does.
    return STSBackend.assume_role(backend, region, session_name, role_arn, policy="", duration=seconds, external_id="")


def assumed_role(access_key_id: str) -> AssumedRole | None:
    """Return temporary credentials by their access key; None if unknown."""
    for partitions in list(sts_backends.values()):
        for backend in list(partitions.values()):
            role = backend.get_assumed_role_from_access_key(access_key_id)
            if role is not None:
                return role
    return None


def end_sessions(account_id: str, partition: str, role_arn: str) -> None:
    """Delete the temporary credentials of a role."""
    backend = sts_backends[account_id][partition]
    backend.assumed_roles = [session for session in backend.assumed_roles if session.role_arn != role_arn]


def urls_of(service: str) -> Any:
    """Return the `_url_module` with which a backend uses moto's own response class of a service."""
    return import_module(f"moto.{service}.urls")


def urls_with(service: str, response: type[BaseResponse]) -> Any:
    """Return the `_url_module` with which a backend uses another response class than moto's."""
    urls = urls_of(service)
    return SimpleNamespace(url_bases=urls.url_bases, url_paths=dict.fromkeys(urls.url_paths, response.dispatch))


def regional_backends(account_id: str) -> Any:
    """Return an account's backends, by region."""
    return ec2_backends[account_id]


def existing_backends() -> list[EC2Backend]:
    """Return the EC2 backends of all accounts and regions in use."""
    return [backend for account in list(ec2_backends.values()) for backend in list(account.values())]


def known_regions(account_id: str) -> list[str]:
    """Return the names of all regions."""
    return list(ec2_backends[account_id].regions)


def make_application() -> Any:
    """Return the WSGI application that dispatches requests to moto's services."""
    return DomainDispatcherApplication(create_backend_app)


class _ServerRequest(Request):
    """A request over HTTP, to whose response the server adds the date."""

    from_wsgi_server = True


def make_request(environ: dict[str, Any]) -> Request:
    """Convert a WSGI environ to moto's request, and record it if recording is on (/moto-api/recorder)."""
    request = _ServerRequest(environ)
    recorder._record_request(request)
    return request


def cache_lookups() -> None:
    """Cache moto's lookups per request: the methods of a response class, and the names of its services.

    The lookups take a third of the time of a request. Call it once, before the first request. Do not add methods to
    response classes afterwards.
    """
    names = frozenset(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: names
    importer: Any = responses
    importer.method_names_from_class = cache(importer.method_names_from_class)


def draw_canonical_ipv6_blocks() -> None:
    """Make moto draw the IPv6 blocks of VPCs in canonical form, without leading zeros. Idempotent."""
    vpcs: Any = import_module("moto.ec2.models.vpcs")
    draw = vpcs.random_ipv6_cidr
    vpcs.random_ipv6_cidr = lambda: str(IPv6Network(draw()))


def attribute_names(value: Any, member: str, shape: Any) -> tuple[str, ...]:
    """Return the attribute names that moto's serializer tries for a member, in its order."""
    context = AttributePickerContext(obj=value, key=member, shape=shape)
    return tuple(dict.fromkeys(XFormedAttributePicker().get_possible_keys(context)))


@lru_cache(maxsize=10_000)
def format_timestamp(value: Any) -> str:
    """Format a time as EC2 does."""
    wrapper: dict[str, Any] = {}
    _TIMESTAMPS.serialize(wrapper, value, _NO_SHAPE, "time")
    return str(wrapper["time"])


def state_of(instance: Instance) -> InstanceState:
    """Return a copy of an instance's state, which moto changes in place."""
    return InstanceState(instance._state.name, instance._state.code)


def set_instance_state(instance: Instance, state: str, reason: StateReason | None, transition_reason: str = "") -> None:
    """Set an instance's state, StateReason, and StateTransitionReason."""
    instance._state = InstanceState(state, STATE_CODES[state])
    instance.state_reason = reason  # type: ignore[assignment]  # moto's annotation has no None
    instance._reason = transition_reason


def set_experiment_state(experiment: Any, state: str, ended: datetime | None = None) -> None:
    """Set the state of a FIS experiment, which moto would change each time that it is described.

    Args:
        experiment: moto's record.
        state: the state.
        ended: when the experiment ended; default now, for a state in which it has ended.
    """
    experiment._transitions = [("stopping", "stopped")]
    experiment.status = state
    experiment.end_time = None if ended is None else ended.timestamp()


def add_instance_type(name: str, description: dict[str, Any]) -> None:
    """Add an instance type with a description in the form of DescribeInstanceTypes."""
    INSTANCE_TYPES[name] = description
    EC2Backend.instance_types.append(InstanceType(name))


def change_class(record: Subnet | Instance | Route, local: type[Any]) -> None:
    """Change a record's class to a subclass, since moto hard-codes the classes of new records."""
    record.__class__ = local


def reserved_ips(subnet: Subnet) -> set[str]:
    """Return the addresses of a subnet's CIDR reservations."""
    return {str(address) for address in subnet._reserved_ips}


def remove_subnet_associations(route_tables: Iterable[Any], subnet_id: str) -> None:
    """Remove a subnet's associations from route tables, as EC2 does when the subnet is deleted."""
    for table in route_tables:
        removed = [key for key, target in table._associations.items() if target == subnet_id]
        for association_id in removed:
            del table._associations[association_id]


def remove_acl_associations(network_acls: Iterable[NetworkAcl], subnet_id: str) -> None:
    """Remove a subnet's association from network ACLs, as EC2 does when the subnet is deleted."""
    for acl in network_acls:
        removed = [key for key, association in acl._associations.items() if association.subnet_id == subnet_id]
        for association_id in removed:
            del acl._associations[association_id]


def security_groups_of(interface: NetworkInterface) -> list[Any]:
    """Return the security groups of an interface, without those of its instance, which moto adds."""
    return interface._group_set


def set_security_groups(interface: NetworkInterface, groups: list[Any]) -> None:
    """Replace the security groups of an interface."""
    interface._group_set = groups
