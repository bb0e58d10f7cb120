"""pycloudlib's clouds that this distribution does not support: names to import, and a clear error on use.

Test suites for several clouds import all of them, name their classes in annotations, and pass them to isinstance().
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from pycloudlib.cloud import BaseCloud
from pycloudlib.errors import CloudSetupError
from pycloudlib.instance import BaseInstance


def unsupported(name: str) -> CloudSetupError:
    """Return the error for a name that exists only for imports.

    Args:
        name: the class or function that was called.
    """
    return CloudSetupError(
        f"pycloudlib-ec2 supports Amazon EC2 only, so {name} cannot be used; "
        "install pycloudlib (https://github.com/canonical/pycloudlib) in another environment for other clouds"
    )


class NotSupported:
    """A class that cannot be instantiated."""

    def __new__(cls, *_: object, **__: object) -> NoReturn:
        """Raise CloudSetupError."""
        raise unsupported(cls.__name__)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class OtherCloud(NotSupported, BaseCloud):
    """A cloud other than EC2; it cannot be instantiated."""


class OtherInstance(NotSupported, BaseInstance):
    """An instance of a cloud other than EC2; it cannot be instantiated."""
