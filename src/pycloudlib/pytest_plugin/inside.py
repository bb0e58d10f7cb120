"""Run the whole session inside the default VPC of a local EC2 (`--cloud-local-inside`).

The process re-executes pytest, because only a single-threaded process can enter a user namespace. Workers of
pytest-xdist inherit the namespace.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from pycloudlib.errors import PycloudlibError
from pycloudlib.pytest_plugin.local_run import LocalAccess, access_to, start_local

if TYPE_CHECKING:
    from pycloudlib.pytest_plugin.options import CloudOptions

ACCESS = "_PYCLOUDLIB_LOCAL_ACCESS"
"""The environment variable with the access to the local EC2; the session inside removes it from its environment."""

INSIDE = pytest.StashKey[LocalAccess]()

_OF_LOCAL = ("local-network", "local-host-ports", "local-inside")
_WITHOUT_TESTS = ("help", "version", "markers", "showfixtures", "show_fixtures_per_test", "cacheshow", "collectonly")
"""pytest's options that run no tests."""


def enter(config: pytest.Config, options: CloudOptions) -> None:
    """Replace this process with the same session inside a VPC, if requested and not inside already.

    Args:
        config: the configuration of a session that begins; not a worker's.
        options: its options.

    Raises:
        pytest.UsageError: the VPC cannot be entered; the message has the reason.
    """
    access = os.environ.pop(ACCESS, None)
    if access is not None:
        config.stash[INSIDE] = LocalAccess.from_mapping(json.loads(access))
        return
    _check(config, options)
    if options.local and options.local_inside and not any(config.getoption(name, None) for name in _WITHOUT_TESTS):
        _enter(config, options)


def _check(config: pytest.Config, options: CloudOptions) -> None:
    for name in _OF_LOCAL:
        if not options.local and config.getoption(f"cloud_{name}".replace("-", "_")) is not None:
            raise pytest.UsageError(f"--cloud-{name} needs --cloud-local")
    if not (options.local and options.local_inside):
        return
    if options.local_network == "user":
        raise pytest.UsageError("--cloud-local-inside needs network namespaces: omit --cloud-local-network user")
    if list(config.invocation_params.args) != sys.argv[1:]:
        raise pytest.UsageError("--cloud-local-inside re-executes pytest, so start pytest from the command line")


def _enter(config: pytest.Config, options: CloudOptions) -> None:
    try:
        local = start_local(options)
        os.environ[ACCESS] = json.dumps(access_to(local).to_mapping())
        capture = config.pluginmanager.getplugin("capturemanager")
        if capture is not None:
            # pytest has replaced standard input, too.
            capture.suspend_global_capture(in_=True)
        try:
            local.exec_inside([sys.executable, *sys.orig_argv[1:]])
        except BaseException:
            del os.environ[ACCESS]
            local.stop()
            raise
    except PycloudlibError as error:
        raise pytest.UsageError(f"--cloud-local-inside: {error}") from error
