"""IAM roles and their sessions, which moto records. Trust policies are validated, and sessions end with their role."""

from __future__ import annotations

import json
import re
from typing import Any

from pycloudlib.local.api.moto_adapter import (
    AssumedRole,
    IAMBackend,
    IAMException,
    STSBackend,
    STSClientError,
    check_trust_policy,
    end_sessions,
    install_roles,
    install_sessions,
    roles_of,
    urls_of,
    urls_with,
)
from pycloudlib.local.api.role_listings import RoleListingResponse

_ROLE_ARN = re.compile(r"arn:[a-z-]+:iam::(?P<account>[0-9]{12}):role/.+")
_VERSIONS = ("2008-10-17", "2012-10-17")
DEFAULT_SESSION = 3600
"""The maximum session duration in seconds of a role that is created without one."""


class LocalRoles(IAMBackend):
    """The roles and instance profiles of one account."""

    @property
    def _url_module(self) -> Any:
        return urls_with("iam", RoleListingResponse)

    def create_role(self, role_name: str, assume_role_policy_document: str, *args: Any, **kwargs: Any) -> Any:
        """Create a role (CreateRole).

        Raises:
            IAMException: the trust policy is malformed (MalformedPolicyDocument).
        """
        _check_trust(assume_role_policy_document)
        return super().create_role(role_name, assume_role_policy_document, *args, **kwargs)

    def update_assume_role_policy(self, role_name: str, policy_document: str) -> None:
        """Replace a role's trust policy (UpdateAssumeRolePolicy).

        Raises:
            IAMException: the role is unknown, or the policy is malformed (MalformedPolicyDocument).
        """
        role = self.get_role(role_name)
        _check_trust(policy_document)
        role.assume_role_policy_document = policy_document

    def delete_role(self, role_name: str) -> None:
        """Delete a role, and revoke the credentials of its sessions (DeleteRole)."""
        role_arn = self.get_role(role_name).arn
        super().delete_role(role_name)
        end_sessions(self.account_id, self.partition, role_arn)


class LocalSessions(STSBackend):
    """The sessions of roles that one account's credentials have assumed."""

    @property
    def _url_module(self) -> Any:
        return urls_of("sts")

    def assume_role(self, region_name: str, role_session_name: str, role_arn: str, *args: Any, **kwargs: Any) -> Any:
        """Return temporary credentials for a role (AssumeRole).

        An account without any roles begins with its first session, since nobody could create a role in it before.

        Raises:
            STSClientError: the role does not exist (AccessDenied), or does not allow the duration (ValidationError).
        """
        arn = _ROLE_ARN.fullmatch(role_arn)
        if arn is None:
            raise STSClientError("ValidationError", f"{role_arn} is invalid")
        account_id = arn["account"]
        roles = {role.arn: role for role in roles_of(account_id, self.partition)}
        if role_arn not in roles and (roles or account_id == self.account_id):
            raise STSClientError(
                "AccessDenied",
                f"User: arn:{self.partition}:iam::{self.account_id}:root is not authorized to perform: sts:AssumeRole "
                f"on resource: {role_arn}",
            )
        max_seconds = int(roles[role_arn].max_session_duration or DEFAULT_SESSION) if role_arn in roles else None
        if max_seconds is not None and int(kwargs.get("duration") or 0) > max_seconds:
            raise STSClientError(
                "ValidationError",
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            )
        session: AssumedRole = super().assume_role(region_name, role_session_name, role_arn, *args, **kwargs)
        return session


def install() -> None:
    """Replace moto's IAM and STS with the local ones. Call it before the first use of them in this process."""
    install_roles(LocalRoles)
    install_sessions(LocalSessions)


def _check_trust(document: str) -> None:
    """Validate a trust policy, which may have the older version of the policy language too.

    Raises:
        IAMException: the document is malformed (MalformedPolicyDocument).
    """
    try:
        policy = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise _malformed("This policy contains invalid Json") from error
    if not isinstance(policy, dict) or policy.get("Version", _VERSIONS[0]) not in _VERSIONS:
        raise _malformed("Syntax errors in policy.")
    check_trust_policy(json.dumps({**policy, "Version": _VERSIONS[-1]}))
    statements = policy["Statement"] if isinstance(policy["Statement"], list) else [policy["Statement"]]
    if not all("Principal" in statement or "NotPrincipal" in statement for statement in statements):
        raise _malformed("Missing required field Principal")


def _malformed(reason: str) -> IAMException:
    return IAMException("MalformedPolicyDocument", reason)
