"""`--cloud-local-pull`: images that a run's tests ask for. Nothing boots here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pycloudlib.local.prerequisites import find
from support.image_server import ImageServer, add_debian, image_server, raw_disk
from support.suite_ec2 import run

pytestmark = pytest.mark.skipif(
    find("qemu-system-x86_64") is None or find("qemu-img") is None, reason="needs QEMU for a local EC2"
)


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ImageServer]:
    for variable in ("XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    with image_server() as server:
        monkeypatch.setenv("PYCLOUDLIB_IMAGE_MIRROR_DEBIAN", f"{server.url}/debian")
        yield server


def test_the_image_of_a_run_is_pulled_once_for_all_workers(pytester: pytest.Pytester, server: ImageServer) -> None:
    path = add_debian(server, "20241004-1890", raw_disk(), code_name="trixie", version="13")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_it(cloud, cloud_image, number):
            assert cloud.image(cloud_image).name == "debian-13-amd64-20241004-1890"
        """
    )
    without = run(pytester, "--cloud-local", "-k", "0")
    without.assert_outcomes(errors=1)
    without.stdout.fnmatch_lines(
        [
            "*local EC2 has no image of trixie: `pycloudlib local image build --release trixie` builds one, and "
            "`pycloudlib local image pull trixie` or --cloud-local-pull downloads one"
        ]
    )
    noble = run(pytester, "--cloud-local", "--cloud-image", "24.04", "-k", "0")
    noble.stdout.fnmatch_lines(
        ["*has no image of noble: `pycloudlib local image pull noble` or --cloud-local-pull downloads one"]
    )
    result = run(pytester, "--cloud-local", "--cloud-local-pull", "-n", "2")
    result.assert_outcomes(passed=4)
    assert len(server.ranges(path)) == 1
