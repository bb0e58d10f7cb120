"""The reaction to a cloud-init error while waiting."""

from __future__ import annotations

from pycloudlib.errors import InvalidArgumentError
from pycloudlib.setting_values import CLOUD_INIT_FAILURES, CloudInitFailure


def checked_cloud_init_failure(argument: object, default: CloudInitFailure) -> CloudInitFailure:
    """Return the argument `cloud_init_failure` of a call, or the default.

    Args:
        argument: "raise", "warn", or None for the default.
        default: the setting.

    Raises:
        InvalidArgumentError: the value is invalid.
    """
    if argument is None:
        return default
    for allowed in CLOUD_INIT_FAILURES:
        if argument == allowed:
            return allowed
    raise InvalidArgumentError(
        f"cloud_init_failure is {argument!r}; it must be {' or '.join(map(repr, CLOUD_INIT_FAILURES))}"
    )
