"""The fixtures for test suites. A conftest.py can override each one, as usual."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from pycloudlib.pytest_plugin.markers import marked_arguments, marked_image, problem_of_argument
from pycloudlib.pytest_plugin.run import run_of

if TYPE_CHECKING:
    from pycloudlib.ec2.cloud import EC2
    from pycloudlib.ec2.instance import EC2Instance


@pytest.fixture(scope="session")
def cloud(request: pytest.FixtureRequest) -> Iterator[EC2]:
    """EC2, according to the options. All created resources are deleted at the end. The parameter may be a region."""
    from pycloudlib.interrupts import cleaning_up_once
    from pycloudlib.pytest_plugin.api_calls import ApiCalls
    from pycloudlib.pytest_plugin.clouds import advice, close_cloud, open_or_skip

    run = run_of(request.config)
    ec2 = open_or_skip(run, getattr(request, "param", None))
    run.note_use(ec2.region)
    with cleaning_up_once(advice(run), stderr=run.stderr):
        run.clouds[ec2] = ApiCalls(ec2.client)
        yield ec2
        del run.clouds[ec2]
        close_cloud(run, ec2, request.session)


@pytest.fixture(scope="session")
def cloud_launch_defaults() -> Mapping[str, Any]:
    """Arguments of EC2.launch() for every instance of the suite. Override this fixture to set some, such as a VPC."""
    return {}


@pytest.fixture(scope="session")
def cloud_image(request: pytest.FixtureRequest, cloud: EC2, cloud_launch_defaults: Mapping[str, Any]) -> str:
    """The AMI id of the image under test, prepared if the suite prepares it.

    The parameter may be another image than that of `--cloud-image`: an AMI id, a release, or a name.
    """
    from pycloudlib.pytest_plugin.clouds import find_image
    from pycloudlib.pytest_plugin.prepared import prepared_image

    run = run_of(request.config)
    base = find_image(run, cloud, getattr(request, "param", run.options.image))
    return prepared_image(request, cloud, base, {"instance_type": run.options.instance_type, **cloud_launch_defaults})


@pytest.fixture
def launch_instance(
    request: pytest.FixtureRequest, cloud: EC2, cloud_image: str, cloud_launch_defaults: Mapping[str, Any]
) -> Iterator[Callable[..., EC2Instance]]:
    """A function that launches instances: `launch_instance(image=None, **arguments of EC2.launch())`.

    The instances are deleted after the test. Arguments have the same defaults as for `instance`.
    """
    launch, close = _launcher(request, cloud, cloud_image, cloud_launch_defaults)
    yield launch
    close()


@pytest.fixture
def instance(
    request: pytest.FixtureRequest, cloud: EC2, cloud_image: str, cloud_launch_defaults: Mapping[str, Any]
) -> EC2Instance:
    """An instance for one test. The parameter may have arguments of EC2.launch(), and `image`."""
    return _launch_for_scope(request, cloud, cloud_image, cloud_launch_defaults)


@pytest.fixture(scope="class")
def class_instance(
    request: pytest.FixtureRequest, cloud: EC2, cloud_image: str, cloud_launch_defaults: Mapping[str, Any]
) -> EC2Instance:
    """An instance for all tests of a class. Markers on the class apply. Parameters as for `instance`."""
    return _launch_for_scope(request, cloud, cloud_image, cloud_launch_defaults)


@pytest.fixture(scope="module")
def module_instance(
    request: pytest.FixtureRequest, cloud: EC2, cloud_image: str, cloud_launch_defaults: Mapping[str, Any]
) -> EC2Instance:
    """An instance for all tests of a module. Markers in its `pytestmark` apply. Parameters as for `instance`."""
    return _launch_for_scope(request, cloud, cloud_image, cloud_launch_defaults)


@pytest.fixture(scope="session")
def session_instance(
    request: pytest.FixtureRequest, cloud: EC2, cloud_image: str, cloud_launch_defaults: Mapping[str, Any]
) -> EC2Instance:
    """An instance for the whole session, one per worker. Parameters as for `instance`; markers do not apply."""
    return _launch_for_scope(request, cloud, cloud_image, cloud_launch_defaults)


def _launch_for_scope(
    request: pytest.FixtureRequest, cloud: EC2, image_id: str, defaults: Mapping[str, Any]
) -> EC2Instance:
    launch, close = _launcher(request, cloud, image_id, defaults)
    # Register the finalizer first, so that an instance whose launch fails is also released.
    request.addfinalizer(close)
    return launch(**_parameter(request))


def _launcher(
    request: pytest.FixtureRequest, cloud: EC2, image_id: str, defaults: Mapping[str, Any]
) -> tuple[Callable[..., EC2Instance], Callable[[], None]]:
    from pycloudlib.pytest_plugin.clouds import find_image
    from pycloudlib.pytest_plugin.launcher import Launcher

    run = run_of(request.config)
    launcher = Launcher(run, cloud, str(request.fixturename), request.node)
    test_defaults = {**defaults, **marked_arguments(request.node)}
    marked = marked_image(request.node)

    def launch(image: str | None = None, **arguments: Any) -> EC2Instance:
        named = image or marked
        launched_id = find_image(run, cloud, named) if named else image_id
        merged = {"wait": True, **test_defaults, **arguments}
        if "InstanceType" not in merged:
            merged.setdefault("instance_type", run.options.instance_type)
        return launcher.launch(launched_id, **merged)

    return launch, launcher.close


def _parameter(request: pytest.FixtureRequest) -> dict[str, Any]:
    parameter = getattr(request, "param", {})
    if not isinstance(parameter, Mapping):
        raise pytest.UsageError(
            f"{request.fixturename} has a {type(parameter).__name__} for its parameter: give a dict of arguments of "
            "EC2.launch(), and `image`"
        )
    problems = [problem for name in parameter if name != "image" and (problem := problem_of_argument(name))]
    if problems:
        raise pytest.UsageError(f"the parameter of {request.fixturename}: {'; '.join(problems)}")
    return dict(parameter)
