"""IAM roles. moto records them; here, the sessions of a role end with it."""

from __future__ import annotations

from typing import Any

from pycloudlib.local.api.moto_adapter import IAMBackend, end_sessions, install_roles, urls_of


class LocalRoles(IAMBackend):
    """The roles and instance profiles of one account."""

    @property
    def _url_module(self) -> Any:
        return urls_of("iam")

    def delete_role(self, role_name: str) -> None:
        """Delete a role, and revoke the credentials of its sessions (DeleteRole)."""
        role_arn = self.get_role(role_name).arn
        super().delete_role(role_name)
        end_sessions(self.account_id, self.partition, role_arn)


def install() -> None:
    """Replace moto's IAM with the local one. Call it before the first use of IAM in this process."""
    install_roles(LocalRoles)
