"""Open EC2 according to the options, and close it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from pycloudlib.errors import (
    CleanupError,
    CloudSetupError,
    ConfigError,
    ImageNotFoundError,
    InvalidArgumentError,
    KeyPairError,
    PycloudlibError,
    UnsetSSHKeyError,
)
from pycloudlib.interrupts import sweep_command
from pycloudlib.pytest_plugin.options import When
from pycloudlib.releases import find_release

if TYPE_CHECKING:
    from pycloudlib.ec2.cloud import EC2
    from pycloudlib.pytest_plugin.run import Run

HOW_TO_CONFIGURE = "use --cloud-local, or configure AWS credentials, a region, and an SSH key"


def open_cloud(run: Run, region: str | None = None) -> EC2:
    """Open EC2 according to the options.

    Args:
        run: the run.
        region: the region; default that of the options.

    Raises:
        LocalEC2Error: the local EC2 did not start.
        CloudSetupError: the configuration is missing or invalid.
    """
    options = run.options
    if options.local:
        return run.local_access().connect(options, region)
    from pycloudlib.ec2.cloud import EC2

    return EC2(
        options.tag,
        config_file=options.config,
        region=region or options.region,
        profile=options.profile,
        ttl=options.ttl,
        host_keys=options.host_keys,
    )


def open_or_skip(run: Run, region: str | None = None) -> EC2:
    """Open EC2 for tests. Without a configuration, skip the tests, or fail them if a cloud is required.

    Args:
        run: the run.
        region: the region; default that of the options.

    Raises:
        CloudSetupError: the configuration is invalid.
    """
    try:
        ec2 = open_cloud(run, region)
        ec2.key_pair  # noqa: B018  (raises now if it is missing)
    except CloudSetupError as error:
        if not is_unconfigured(error):
            raise
        reason = f"no cloud is configured: {error}; {HOW_TO_CONFIGURE}"
    else:
        return ec2
    if run.options.required:
        pytest.fail(f"--cloud-required: {reason}", pytrace=False)
    pytest.skip(reason)


def is_unconfigured(error: CloudSetupError) -> bool:
    """Return whether an error means that the configuration is missing, rather than invalid.

    Args:
        error: the error of opening EC2.
    """
    return isinstance(error, UnsetSSHKeyError) or not isinstance(error, (ConfigError, KeyPairError))


def close_cloud(run: Run, ec2: EC2, session: pytest.Session) -> None:
    """Keep the instances that the options select, and delete all other resources.

    Args:
        run: the run.
        ec2: the EC2 session.
        session: the pytest session, which owns all instances without a test.

    Raises:
        CleanupError: some resources could not be deleted.
    """
    run.instances.add_direct(ec2, session)
    errors: list[Exception] = []
    for launched in run.instances.launched_by(ec2):
        run.instances.remove(launched)
        if run.options.keep.applies(failed=launched.failed) and not launched.instance.deletion_requested:
            try:
                run.keep(launched)
            except PycloudlibError as error:
                errors.append(error)
    errors += ec2.clean()
    if errors:
        raise CleanupError(errors)


def advice(run: Run) -> str:
    """Return how to delete the rest after an aborted cleanup."""
    if run.is_worker:
        return "the controller of this run"
    if run.options.local and run.options.keep is When.NEVER:
        return "the end of the local EC2, which ends with this process"
    if run.options.local:
        return f"pycloudlib local stop --name {run.local_access().name}"
    command = sweep_command(f"{run.run_id}-" if run.run_id else "")
    return shlex.join([*shlex.split(command), *run.options.sweep_arguments])


def find_image(run: Run, ec2: EC2, name: str) -> str:
    """Return the AMI id of an image.

    Args:
        run: the run.
        ec2: the EC2 session.
        name: an AMI id, a release for its newest released image, or the name of an image.

    Raises:
        ImageNotFoundError: no image of the release matches.
        InvalidArgumentError: there is neither a release nor an image of that name.
        DownloadError: the image cannot be downloaded (with `--cloud-local-pull`).
    """
    from pycloudlib.ec2.images.lookup import image_id_of

    options = run.options
    try:
        return image_id_of(name, by_release=ec2.released_image, by_name=ec2.get_image_id_from_name)
    except ImageNotFoundError as error:
        if not options.local:
            raise
        if not options.local_pull:
            raise ImageNotFoundError(name, message=_no_local_image(name)) from error
    except InvalidArgumentError:
        if not (options.local and options.local_pull):
            raise
    from pycloudlib.local import LocalEC2

    # Some releases, such as rocky-9, have only disk images. pull_image() rejects unknown names.
    return LocalEC2.pull_image(name)


def _no_local_image(release: str) -> str:
    """Return the message about a missing image of a release, with the commands that provide it."""
    from pycloudlib.local import LocalEC2

    name = find_release(release).code_name
    builds = f"`pycloudlib local image build --release {name}` builds one, and "
    return (
        f"the local EC2 has no image of {name}: {builds if name in LocalEC2.buildable_releases() else ''}"
        f"`pycloudlib local image pull {name}` or --cloud-local-pull downloads one"
    )
