"""Does the service work on a fresh instance of the prepared image?"""

import pytest

from pycloudlib import EC2Instance

pytestmark = pytest.mark.cloud_user_data("#!/bin/sh\necho configured >/var/tmp/user-data-ran\n")

GET = """
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:8080/", timeout=30).read().decode())
"""


def test_the_service_runs(module_instance: EC2Instance) -> None:
    assert module_instance.execute("systemctl is-active hello.service") == "active"


def test_it_says_hello(module_instance: EC2Instance) -> None:
    assert module_instance.execute("python3 -", stdin=GET).check() == "hello"


def test_the_instance_was_configured(module_instance: EC2Instance) -> None:
    assert module_instance.execute("cat /var/tmp/user-data-ran") == "configured"


def test_it_comes_from_the_prepared_image(module_instance: EC2Instance, cloud_image: str) -> None:
    assert module_instance.image_id == cloud_image
    assert module_instance.execute("cloud-init status").check() == "status: done"
