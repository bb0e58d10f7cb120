"""SSM Parameter Store: the account's own parameters, and the public parameters of images."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pycloudlib.local.api.models.base import LocalRecords
from pycloudlib.local.api.moto_adapter import (
    EC2ClientError,
    Parameter,
    ParameterVersionNotFound,
    SimpleSystemManagerBackend,
    SSMException,
    ValidationException,
    install_parameter_store,
    parameter_store,
    urls_of,
)
from pycloudlib.local.images.public_parameters import PUBLIC, PublicParameter, public_parameters

IMAGE = "aws:ec2:image"
"""The data type of parameters whose value is an AMI."""
RESOLVE = "resolve:ssm:"
"""The prefix of an ImageId that names a parameter."""

STANDARD, ADVANCED, INTELLIGENT = "Standard", "Advanced", "Intelligent-Tiering"
_SIZES = {STANDARD: 4096, ADVANCED: 8192}
"""The maximum size of a value in bytes, by tier."""
_NAME = re.compile(r"[a-zA-Z0-9_.-]+|(/[a-zA-Z0-9_.-]+)+")

MAX_RESULTS = 10
"""The limit of GetParametersByPath and GetParameters."""
_ARN = re.compile(r"arn:[^:]+:ssm:[^:]+:[^:]*:parameter(?P<name>/.+)")


class LocalParameterStore(SimpleSystemManagerBackend):
    """The parameters of one account in one region.

    moto's own public parameters name AMIs that do not exist here; the catalog's replace them.
    """

    @property
    def _url_module(self) -> Any:
        return urls_of("ssm")

    def put_parameter(
        self,
        name: str,
        description: str,
        value: str,
        parameter_type: str,
        allowed_pattern: str,
        keyid: str,
        overwrite: bool,
        tags: list[dict[str, str]],
        data_type: str,
        tier: str | None,
        policies: str | None,
    ) -> Parameter:
        """Create a parameter or a version of it (PutParameter).

        Raises:
            SSMException: the name, the value, the pattern, the tier, or the key does not fit.
        """
        if not _NAME.fullmatch(name):
            raise ValidationException(
                "Parameter name must be a fully qualified name: letters, numbers, and the symbols .-_, in a hierarchy "
                "that begins with a slash"
            )
        before = self.get_parameter(name)
        _check_value(value, allowed_pattern or (before.allowed_pattern if before else None))
        if keyid and (parameter_type or (before.parameter_type if before else "")) != "SecureString":
            raise ValidationException("KeyId is required for SecureString type parameter only.")
        return super().put_parameter(
            name,
            description,
            value,
            parameter_type,
            allowed_pattern,
            keyid,
            overwrite,
            tags,
            data_type,
            _tier(value, tier, before.tier if before else None),
            policies,
        )

    def get_parameter(self, name: str) -> Parameter | None:
        """Return a parameter; None if it does not exist (GetParameter).

        Args:
            name: the name or ARN, optionally followed by a colon and a version or label.
        """
        public_name, selector = _public_name(name)
        if not public_name:
            return super().get_parameter(name)
        parameter = self._public().get(public_name)
        if parameter is None:
            return None
        if selector and selector != str(parameter.version):
            raise ParameterVersionNotFound(f"Systems Manager could not find version {selector} of {public_name}.")
        return _to_moto(parameter)

    def get_parameters(self, names: list[str]) -> dict[str, Parameter]:
        """Return parameters by name, leaving out unknown names (GetParameters)."""
        # moto validates the number of names.
        parameters = super().get_parameters(
            names if len(names) > MAX_RESULTS else [name for name in names if not _public_name(name)[0]]
        )
        for name in names:
            if _public_name(name)[0]:
                parameter = self._optional(name)
                if parameter is not None:
                    parameters[name] = parameter
        return parameters

    def get_parameters_by_path(
        self,
        path: str,
        recursive: bool,
        filters: list[dict[str, Any]] | None = None,
        next_token: str | None = None,
        max_results: int = MAX_RESULTS,
    ) -> tuple[list[Parameter], str | None]:
        """Return the parameters directly below a path, or all below it if `recursive` (GetParametersByPath)."""
        if not re.fullmatch(r"[0-9]{0,9}", next_token or ""):
            raise ValidationException("The specified token isn't valid.")
        folder = path.rstrip("/") + "/"
        if not folder.startswith(PUBLIC):
            return super().get_parameters_by_path(path, recursive, filters, next_token, max_results)
        if filters:
            raise ValidationException("The local EC2 has no ParameterFilters for public parameters")
        if not 1 <= max_results <= MAX_RESULTS:
            raise ValidationException(
                f"1 validation error detected: Value '{max_results}' at 'maxResults' failed to satisfy constraint: "
                f"Member must have value between 1 and {MAX_RESULTS}"
            )
        below = [
            parameter
            for name, parameter in self._public().items()
            if name.startswith(folder) and (recursive or "/" not in name.removeprefix(folder))
        ]
        start = int(next_token or 0)
        end = start + max_results
        return [_to_moto(parameter) for parameter in below[start:end]], str(end) if end < len(below) else None

    def _optional(self, name: str) -> Parameter | None:
        try:
            return self.get_parameter(name)
        except ParameterVersionNotFound:
            return None

    def _public(self) -> Mapping[str, PublicParameter]:
        return public_parameters(LocalRecords.cloud.catalogue.images())


def install() -> None:
    """Replace moto's parameter store with the local one. Call it before the first use of SSM in this process."""
    install_parameter_store(LocalParameterStore)


def resolved_image_id(account_id: str, region: str, image_id: str) -> str:
    """Resolve the ImageId of a launch to an AMI id.

    Args:
        account_id: the account that owns the parameters.
        region: the region of the parameters.
        image_id: an AMI id, or "resolve:ssm:" and the name of a parameter with an AMI id.

    Raises:
        EC2ClientError: the parameter does not exist, or its data type is not an AMI.
    """
    if not image_id.startswith(RESOLVE):
        return image_id
    name = image_id.removeprefix(RESOLVE)
    try:
        parameter = parameter_store(account_id, region).get_parameter(name) if name else None
    except ParameterVersionNotFound as error:
        raise _unresolved(f"The following aliases are invalid: {name}") from error
    if parameter is None:
        raise _unresolved(f"The following aliases are invalid: {name}")
    if parameter.data_type != IMAGE and not parameter.name.startswith(PUBLIC):
        raise _unresolved(f"Unsupported data type. The following parameter data types are supported: {IMAGE}")
    return str(parameter.value)


def _check_value(value: str, allowed_pattern: str | None) -> None:
    if not allowed_pattern:
        return
    try:
        fits = re.search(allowed_pattern, value)
    except re.error as error:
        raise SSMException(
            "InvalidAllowedPatternException", f"The regular expression {allowed_pattern} is invalid: {error}"
        ) from error
    if not fits:
        raise SSMException(
            "ParameterPatternMismatchException",
            f"Parameter value, cannot be validated against allowedPattern: {allowed_pattern}",
        )


def _tier(value: str, requested: str | None, current: str | None) -> str:
    """Return the tier of a parameter: the requested one, or the one that its value needs.

    Raises:
        SSMException: the value is too long for the tier, or the parameter would get a lower tier.
    """
    tier = requested or current or STANDARD
    size = len(value.encode())
    if tier == INTELLIGENT:
        tier = ADVANCED if current == ADVANCED or size > _SIZES[STANDARD] else STANDARD
    if tier == STANDARD and current == ADVANCED:
        raise ValidationException(
            "This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the "
            "advanced-parameter tier to the standard-parameter tier."
        )
    if size > _SIZES[tier]:
        raise ValidationException(
            f"{tier} tier parameters support a maximum parameter value of {_SIZES[tier]} characters."
        )
    return tier


def _unresolved(reason: str) -> EC2ClientError:
    return EC2ClientError("SsmInvalidParameter", reason)


def _public_name(name: str) -> tuple[str, str]:
    """Split the name or ARN of a public parameter into its name and its version or label.

    Returns:
        Two empty strings for a parameter that is not public.
    """
    arn = _ARN.fullmatch(name)
    plain: Sequence[str] = (arn["name"] if arn else name).split(":", 1)
    if not plain[0].startswith(PUBLIC):
        return "", ""
    return plain[0], plain[1] if len(plain) > 1 else ""


def _to_moto(parameter: PublicParameter) -> Parameter:
    return Parameter(  # type: ignore[abstract]  # as moto's own is
        account_id="",
        name=parameter.name,
        value=parameter.image_id,
        parameter_type="String",
        description=None,
        allowed_pattern=None,
        keyid=None,
        last_modified_date=datetime.fromisoformat(parameter.modified.replace("Z", "+00:00")),
        version=parameter.version,
        data_type=parameter.data_type,
        tier="Standard",
    )
