"""The image under test with the service installed: made once for the run, whatever the number of tests and workers."""

from pathlib import Path

from pycloudlib import EC2Instance

UNIT = Path(__file__).with_name("hello.service")


def pytest_cloud_prepare_image(instance: EC2Instance) -> None:
    """Install the service, as a package would."""
    instance.push_file(UNIT, "hello.service")
    instance.execute("install -m 0644 hello.service /etc/systemd/system/", use_sudo=True).check()
    instance.execute("systemctl enable hello.service", use_sudo=True).check()
