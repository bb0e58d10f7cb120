"""IAM instance profiles of instances, and the role credentials in their metadata."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from pycloudlib.local.api.models.base import LocalRecords
from pycloudlib.local.api.moto_adapter import (
    AssumedRole,
    EC2ClientError,
    Instance,
    InstanceProfile,
    assume_role,
    assumed_role,
    find_instance_profile,
    random_iam_instance_profile_association_id,
)
from pycloudlib.local.network.metadata import InstanceProfileMetadata, RoleCredentials

CREDENTIALS_LAST = timedelta(hours=6)
"""The approximate lifetime of role credentials on EC2."""
RENEWED_AFTER = timedelta(hours=1)
"""The age at which credentials are renewed: clients fetch new ones minutes before the old expire."""

_ALIVE = ("pending", "running", "stopping", "stopped")


@dataclass(frozen=True)
class ProfileAssociation:
    """The association of an instance profile with an instance.

    Args:
        association_id: the id of the association.
        instance: moto's record of the instance.
        iam_instance_profile: moto's record of the instance profile.
        state: the state; default "associated".
    """

    association_id: str
    instance: Instance
    iam_instance_profile: InstanceProfile
    state: str = "associated"

    @property
    def instance_id(self) -> str:
        """The instance id, under the name that an association's description uses."""
        return str(self.instance.id)


class InstanceProfileRecords(LocalRecords):
    """The instance profile associations of one account in one region."""

    def __init__(self, region_name: str, account_id: str) -> None:
        self._role_credentials: dict[tuple[str, str], RoleCredentials] = {}
        super().__init__(region_name, account_id)

    def find_profile(self, name: str | None, arn: str | None) -> InstanceProfile:
        """Return an instance profile by its name or its ARN.

        Raises:
            EC2ClientError: the profile does not exist or has no role, or not exactly one of name and ARN is given.
        """
        if name and arn:
            raise EC2ClientError(
                "InvalidParameterCombination",
                "The parameter 'iamInstanceProfile.name' may not be used in combination with 'iamInstanceProfile.arn'",
            )
        if not name and not arn:
            raise EC2ClientError("MissingParameter", "The request must contain the parameter IamInstanceProfile.Name")
        profile = find_instance_profile(self.account_id, self.region_name, name=name or "", arn=arn or "")
        if profile is None:
            kind, value = ("name", name) if name else ("arn", arn)
            raise EC2ClientError(
                "InvalidParameterValue",
                f"Value ({value}) for parameter iamInstanceProfile.{kind} is invalid. "
                f"Invalid IAM Instance Profile {'name' if name else 'ARN'}",
            )
        if not profile.roles:
            raise EC2ClientError(
                "InvalidParameterValue", f'IAM Instance Profile "{profile.arn}" has no associated IAM Roles'
            )
        return profile

    def associate_profile(self, instance: Instance, profile: InstanceProfile) -> ProfileAssociation:
        """Associate an instance profile with an instance (AssociateIamInstanceProfile).

        Raises:
            EC2ClientError: the instance has a profile (IncorrectState), or is terminated or shutting down
                (IncorrectInstanceState).
        """
        _check_alive(instance)
        if instance.id in self.iam_instance_profile_associations:
            raise EC2ClientError("IncorrectState", f"There is an existing association for instance {instance.id}")
        association = ProfileAssociation(random_iam_instance_profile_association_id(), instance, profile)
        self._record(association)
        return association

    def associate_iam_instance_profile(  # type: ignore[override]
        self,
        instance_id: str,
        iam_instance_profile_name: str | None = None,
        iam_instance_profile_arn: str | None = None,
    ) -> ProfileAssociation:
        """Return the association of a launch: moto calls this after the launch created it."""
        association: ProfileAssociation = self.iam_instance_profile_associations[instance_id]  # type: ignore[assignment]
        return association

    def replace_iam_instance_profile_association(  # type: ignore[override]
        self,
        association_id: str,
        iam_instance_profile_name: str | None = None,
        iam_instance_profile_arn: str | None = None,
    ) -> ProfileAssociation:
        """Replace an association by one with a new id (ReplaceIamInstanceProfileAssociation).

        Raises:
            EC2ClientError: the instance is terminated or shutting down (IncorrectInstanceState).
        """
        profile = self.find_profile(iam_instance_profile_name, iam_instance_profile_arn)
        association = self._association(association_id)
        _check_alive(association.instance)
        del self.iam_instance_profile_associations[association.instance_id]
        return self.associate_profile(association.instance, profile)

    def disassociate_iam_instance_profile(self, association_id: str) -> ProfileAssociation:  # type: ignore[override]
        """Remove an association (DisassociateIamInstanceProfile)."""
        association = self._association(association_id)
        del self.iam_instance_profile_associations[association.instance_id]
        association.instance.iam_instance_profile = None
        return association

    def profile_metadata(self, instance: Instance, now: datetime | None = None) -> InstanceProfileMetadata | None:
        """Return the instance profile metadata of an instance; None without a profile.

        Args:
            instance: moto's record of the instance.
            now: the current time; None for the system clock's.
        """
        association = self.iam_instance_profile_associations.get(instance.id)
        if association is None:
            return None
        profile = association.iam_instance_profile
        role = profile.roles[0] if profile.roles else None
        return InstanceProfileMetadata(
            arn=profile.arn,
            profile_id=profile.id,
            role=role.name if role else "",
            credentials=self._credentials(instance, role.arn, now or datetime.now(timezone.utc)) if role else None,
        )

    def _credentials(self, instance: Instance, role_arn: str, now: datetime) -> RoleCredentials:
        cached = self._role_credentials.get((instance.id, role_arn))
        if cached is not None and now < cached.updated + RENEWED_AFTER and assumed_role(cached.access_key_id):
            return cached
        role: AssumedRole = assume_role(
            self.account_id,
            self.region_name,
            role_arn=role_arn,
            session_name=instance.id,
            seconds=int(CREDENTIALS_LAST.total_seconds()),
        )
        credentials = RoleCredentials(
            access_key_id=role.access_key_id,
            secret_access_key=role.secret_access_key,
            token=role.session_token,
            updated=now,
            expires=role.expiration.replace(tzinfo=timezone.utc),
        )
        self._role_credentials[instance.id, role_arn] = credentials
        return credentials

    def _record(self, association: ProfileAssociation) -> None:
        profile, instance = association.iam_instance_profile, association.instance
        self.iam_instance_profile_associations[instance.id] = association  # type: ignore[assignment]
        instance.iam_instance_profile = {"Arn": profile.arn, "Id": profile.id}

    def _association(self, association_id: str) -> ProfileAssociation:
        for association in self.iam_instance_profile_associations.values():
            if association.association_id == association_id:
                return association  # type: ignore[return-value]
        raise EC2ClientError("NoSuchAssociation", f"An invalid association-id of '{association_id}' was given")


def _check_alive(instance: Instance) -> None:
    if instance.state not in _ALIVE:
        raise EC2ClientError(
            "IncorrectInstanceState", f"The instance '{instance.id}' is not in the 'running' or 'stopped' states."
        )
