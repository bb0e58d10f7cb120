"""The AWS services of the local EC2, and their supported actions.

moto would serve many more. This module allows the services that users of EC2 need beside it. Of the larger services,
it allows only actions with an observable effect.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from pycloudlib.local.api.http_messages import body_of

Environ = Mapping[str, Any]

_ROLES = frozenset(
    {
        "AddRoleToInstanceProfile",
        "AttachRolePolicy",
        "CreateInstanceProfile",
        "CreatePolicy",
        "CreatePolicyVersion",
        "CreateRole",
        "DeleteInstanceProfile",
        "DeletePolicy",
        "DeletePolicyVersion",
        "DeleteRole",
        "DeleteRolePolicy",
        "DetachRolePolicy",
        "GetInstanceProfile",
        "GetPolicy",
        "GetPolicyVersion",
        "GetRole",
        "GetRolePolicy",
        "ListAttachedRolePolicies",
        "ListEntitiesForPolicy",
        "ListInstanceProfiles",
        "ListInstanceProfilesForRole",
        "ListPolicies",
        "ListPolicyTags",
        "ListPolicyVersions",
        "ListRolePolicies",
        "ListRoleTags",
        "ListRoles",
        "PutRolePolicy",
        "RemoveRoleFromInstanceProfile",
        "SetDefaultPolicyVersion",
        "TagInstanceProfile",
        "TagPolicy",
        "TagRole",
        "UntagInstanceProfile",
        "UntagPolicy",
        "UntagRole",
        "UpdateAssumeRolePolicy",
        "UpdateRole",
        "UpdateRoleDescription",
    }
)
"""IAM's actions on roles, policies, and instance profiles. Users and groups would have no effect."""

_PARAMETER_STORE = frozenset(
    {
        "DeleteParameter",
        "DeleteParameters",
        "DescribeParameters",
        "GetParameter",
        "GetParameterHistory",
        "GetParameters",
        "GetParametersByPath",
        "LabelParameterVersion",
        "PutParameter",
        "UnlabelParameterVersion",
    }
)

# AWS4-HMAC-SHA256 Credential=AKIA.../20260102/us-east-1/ec2/aws4_request, SignedHeaders=..., Signature=...
_CREDENTIAL = re.compile(r"Credential=[^/,]*/[^/,]*/[^/,]*/([^/,]+)/aws4_request")


_EXPERIMENTS = {
    ("POST", "experimentTemplates"): "CreateExperimentTemplate",
    ("GET", "experimentTemplates"): "ListExperimentTemplates",
    ("GET", "experimentTemplates/*"): "GetExperimentTemplate",
    ("DELETE", "experimentTemplates/*"): "DeleteExperimentTemplate",
    ("POST", "experiments"): "StartExperiment",
    ("GET", "experiments"): "ListExperiments",
    ("GET", "experiments/*"): "GetExperiment",
    ("DELETE", "experiments/*"): "StopExperiment",
}
"""FIS's actions, by method and path."""


@dataclass(frozen=True)
class Service:
    """A service.

    Args:
        name: the service name in the credential scope of a request.
        actions: the supported actions; None for all.
    """

    name: str
    actions: frozenset[str] | None = None


SERVICES = {
    service.name: service
    for service in (
        Service("ec2"),
        Service("fis", frozenset(_EXPERIMENTS.values())),
        Service("iam", _ROLES),
        Service("sns"),
        Service("ssm", _PARAMETER_STORE),
        Service("sts", frozenset({"AssumeRole", "GetCallerIdentity"})),
    )
}
"""The supported services, by name."""


def service_name(environ: Environ) -> str | None:
    """Return the service that a request is signed for; None without a signature."""
    signed = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
    return signed[1].lower() if signed else None


def action_of(environ: dict[str, Any], name: str, path: str) -> str:
    """Return the action of a request, such as "GetParameter".

    Args:
        environ: the WSGI environ; its body remains readable.
        name: the service that the request is signed for.
        path: the path of the request below the endpoint.
    """
    return _experiment_action(environ, path) if name == "fis" else _action(environ)


def unsupported(name: str, action: str) -> str | None:
    """Return why an action is unsupported; None if it is supported.

    Args:
        name: the service that the request is signed for.
        action: the action.
    """
    service = SERVICES.get(name)
    if service is None:
        return f"The local EC2 does not have the service '{name}'; it has {', '.join(SERVICES)}"
    if service.actions is None or action in service.actions:
        return None
    return f"The local EC2 does not have the action '{action}' of {name}; it has {', '.join(sorted(service.actions))}"


def _experiment_action(environ: Environ, path: str) -> str:
    noun, _, resource_id = path.strip("/").partition("/")
    path = f"{noun}/*" if resource_id and "/" not in resource_id else f"{noun}/{resource_id}".rstrip("/")
    return _EXPERIMENTS.get((str(environ.get("REQUEST_METHOD")), path), f"{environ.get('REQUEST_METHOD')} /{path}")


def _action(environ: dict[str, Any]) -> str:
    """Return a request's action: JSON services name it in a header, query services in a parameter."""
    target = str(environ.get("HTTP_X_AMZ_TARGET", ""))
    if target:
        return target.rpartition(".")[2]
    query = parse_qs(environ.get("QUERY_STRING", ""))
    form = parse_qs(body_of(environ).decode(errors="replace"))
    return (form.get("Action") or query.get("Action") or [""])[0]
