"""The hooks that a suite can implement in its conftest.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pycloudlib import EC2Instance


@pytest.hookspec
def pytest_cloud_prepare_image(instance: EC2Instance, config: pytest.Config) -> None:
    """Prepare the image under test once for the run: install what all tests need.

    The plugin calls this hook with an instance of the image. It then creates an image of that instance, from which it
    launches all instances of the run. The hook is not called if no test requests an instance. An exception fails the
    tests that do.

    Args:
        instance: the ready instance, which is deleted afterward.
        config: pytest's configuration.
    """
