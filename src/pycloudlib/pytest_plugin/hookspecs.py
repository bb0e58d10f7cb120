"""The hooks that a suite may implement in its conftest.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pycloudlib import EC2Instance


@pytest.hookspec
def pytest_cloud_prepare_image(instance: EC2Instance, config: pytest.Config) -> None:
    """Prepare the image under test, once for the run: install what all tests need.

    Called with an instance of the image; what it has become is made into the image that all instances of the run are
    launched from. It is not called when no test asks for an instance. What it raises fails those that do.

    Args:
        instance: it is ready, and is deleted afterwards.
        config: pytest's configuration.
    """
