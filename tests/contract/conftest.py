"""One suite for every EC2: whatever speaks the API is an endpoint here, and has to pass the same tests.

A further endpoint is a line in ENDPOINTS: a context manager that serves it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from getpass import getuser
from io import StringIO
from pathlib import Path

import pytest

from pycloudlib.deadline import Deadline
from pycloudlib.ec2.cloud import EC2
from pycloudlib.ec2.instance import EC2Instance
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.key import KeyPair
from pycloudlib.local import LocalEC2
from pycloudlib.waiting import wait_until
from support.default_images import only_default_images
from support.front import OLD, front
from support.guest import Guest
from support.moto_server import REGION, moto_server
from support.sshd import ALL_LOOPBACK
from support.vm_release import RELEASE


@dataclass(frozen=True)
class Endpoint:
    """An EC2, and what can be expected of it.

    Args:
        url: of its API.
        region: the region that is used.
        access_key_id: credentials that it takes.
        secret_access_key: credentials that it takes.
        ssh_port: of every instance's sshd.
        key_pair: the only key that its guests let in; None where they let in the key of their launch.
        username: who logs in; None where the image tells.
        reboot_guest: lets the guest boot again, where nothing else would when EC2 is told to reboot it.
        release: of an image that it has.
    """

    url: str
    region: str
    access_key_id: str
    secret_access_key: str
    ssh_port: int
    key_pair: KeyPair | None = None
    username: str | None = None
    reboot_guest: Callable[[], None] | None = None
    release: str = "bookworm"


@contextmanager
def _moto(directory: Path) -> Iterator[Endpoint]:
    """moto: instances run at once. One sshd stands for all of their guests."""
    with Guest(directory) as guest, moto_server() as url:
        yield Endpoint(url, REGION, "AKIAtest", "secret", guest.sshd.port, guest.key_pair, getuser(), guest.reboot)


@contextmanager
def _simulated(directory: Path) -> Iterator[Endpoint]:
    """The local EC2 without machines, under a path, as OpenStack's EC2 is. One sshd stands for all guests."""
    with _local_without_machines(directory, path="/services/Cloud") as endpoint:
        yield endpoint


@contextmanager
def _old(directory: Path) -> Iterator[Endpoint]:
    """The same behind a server that does not know tags on creation, the deprecation of images, and so on."""
    with _local_without_machines(directory) as endpoint, front(endpoint.url, unknown=OLD) as old:
        yield replace(endpoint, url=old.url)


@contextmanager
def _local_without_machines(directory: Path, *, path: str = "") -> Iterator[Endpoint]:
    with Guest(directory, listen=ALL_LOOPBACK) as guest:
        times = {"boot_seconds": 0.3, "stop_seconds": 0.2, "terminate_seconds": 0.2}
        with LocalEC2(driver="simulated", ssh_port=guest.sshd.port, path=path, **times) as local:
            yield Endpoint(
                local.endpoint_url,
                local.region,
                local.access_key_id,
                local.secret_access_key,
                local.ssh_port,
                guest.key_pair,
                getuser(),
                guest.reboot,
            )


@contextmanager
def _qemu(directory: Path, network: str = "auto") -> Iterator[Endpoint]:
    """The local EC2 with real machines, each its own guest, on VPC networks where these work."""
    # Tests that need no guest stop machines before they have booted, when nothing in them heeds the power button.
    with ExitStack() as undo:
        with only_default_images(directory):
            local = undo.enter_context(LocalEC2(driver="qemu", network=network, shutdown_seconds=2.0))
        access = (local.endpoint_url, local.region, local.access_key_id, local.secret_access_key)
        yield Endpoint(*access, local.ssh_port, release=RELEASE)


ENDPOINTS: dict[str, Callable[[Path], AbstractContextManager[Endpoint]]] = {
    "moto": _moto,
    "simulated": _simulated,
    "old": _old,
    "qemu": _qemu,
    "user-networking": partial(_qemu, network="user"),
}
MARKS = {"qemu": [pytest.mark.vm], "user-networking": [pytest.mark.vm]}

USUALLY = ("moto", "simulated")
WHERE: dict[str, Sequence[str]] = {
    "test_clean": ("moto", "simulated", "old", "qemu"),
    "test_fleet": ("moto", "simulated", "old"),
    "test_guest": ("moto", "simulated", "qemu", "user-networking"),
    "test_images": ("moto", "simulated", "old"),
    "test_key_pairs": ("moto", "simulated", "old"),
    "test_launch": ("moto", "simulated", "old", "qemu"),
    "test_life_cycle": ("moto", "simulated", "qemu"),
    "test_root_volume": ("simulated", "qemu"),
    "test_security_groups": ("moto", "simulated", "qemu"),
    "test_tags": ("moto", "simulated", "old"),
}
"""The endpoints that make a difference to a module, where these are not the usual two."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let every test that takes an endpoint run at each that its module is for, unless the test itself names some."""
    named = any("endpoint" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if named or "endpoint" not in metafunc.fixturenames:
        return
    names = WHERE.get(metafunc.module.__name__.rpartition(".")[2], USUALLY)
    metafunc.parametrize("endpoint", [pytest.param(name, marks=MARKS.get(name, [])) for name in names], indirect=True)


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Endpoint]]:
    """Serves each endpoint from its first use until the end of the session."""
    served: dict[str, Endpoint] = {}
    with ExitStack() as undo:

        def serve_once(name: str) -> Endpoint:
            if name not in served:
                # Only for as long as it starts: other tests of this session have servers too.
                with pytest.MonkeyPatch.context() as environment:
                    environment.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
                    served[name] = undo.enter_context(ENDPOINTS[name](tmp_path_factory.mktemp(name) / "endpoint"))
            return served[name]

        yield serve_once


@pytest.fixture
def endpoint(request: pytest.FixtureRequest, serve: Callable[[str], Endpoint]) -> Endpoint:
    """The EC2 that a test runs at; all that a test takes is there."""
    return serve(request.param)


@pytest.fixture
def ec2(endpoint: Endpoint, tmp_path: Path) -> Iterator[EC2]:
    """EC2 at the endpoint, with a tag and a key of its own, cleaned up afterwards."""
    with _connected(endpoint, "contract", tmp_path / "key") as ec2:
        yield ec2


@pytest.fixture
def other_ec2(endpoint: Endpoint, tmp_path: Path) -> Iterator[EC2]:
    """Somebody else's EC2 at the same endpoint."""
    with _connected(endpoint, "other", tmp_path / "other-key") as ec2:
        yield ec2


def _connected(endpoint: Endpoint, tag: str, key_directory: Path) -> EC2:
    ec2 = EC2(
        tag,
        config_file=StringIO(f"[ec2]\nssh_port = {endpoint.ssh_port}\n"),
        region=endpoint.region,
        access_key_id=endpoint.access_key_id,
        secret_access_key=endpoint.secret_access_key,
        endpoint_url=endpoint.url,
    )
    ec2.key_pair = endpoint.key_pair or KeyPair.generate(key_directory)
    reboot_guest = endpoint.reboot_guest
    if reboot_guest is not None:
        for action in ("RebootInstances", "CreateReplaceRootVolumeTask"):
            ec2.client.meta.events.register(f"after-call.ec2.{action}", lambda **_: reboot_guest())
    return ec2


@pytest.fixture
def image_id(ec2: EC2, endpoint: Endpoint) -> str:
    """An image that the endpoint has."""
    return ec2.daily_image(endpoint.release)


@pytest.fixture
def running(ec2: EC2, endpoint: Endpoint, image_id: str) -> EC2Instance:
    """An instance of one's own that EC2 calls running; its guest may still boot."""
    instance = ec2.launch(image_id, username=endpoint.username, wait=False)
    wait_until(
        lambda: instance.state is InstanceState.RUNNING,
        what=f"{instance.id} to be running",
        deadline=Deadline.after(240),
    )
    return instance


@pytest.fixture(scope="session")
def ready_instances(
    serve: Callable[[str], Endpoint], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Endpoint], EC2Instance]]:
    """Launches one instance at each endpoint, when it is first asked for."""
    launched: dict[str, EC2Instance] = {}
    with ExitStack() as undo:

        def launch_once(endpoint: Endpoint) -> EC2Instance:
            if endpoint.url not in launched:
                ec2 = undo.enter_context(_connected(endpoint, "shared", tmp_path_factory.mktemp("shared") / "key"))
                launched[endpoint.url] = ec2.launch(ec2.daily_image(endpoint.release), username=endpoint.username)
            return launched[endpoint.url]

        yield launch_once


@pytest.fixture
def instance(endpoint: Endpoint, ready_instances: Callable[[Endpoint], EC2Instance]) -> EC2Instance:
    """An instance that is ready, for all tests that leave it so."""
    return ready_instances(endpoint)
