"""The instance metadata service is reachable with version 2."""

from pycloudlib.validation.checks.test_cloud_init import result
from pycloudlib.validation.checks.test_network import network_responses
from pycloudlib.validation.facts import Facts
from pycloudlib.validation.verdicts import check, fail, not_applicable

OK = 200
NO_DATA_SOURCE = ("DataSourceNone", "", None)


@check(
    reason="Keys, user data, and the credentials of roles come from this service, and more and more accounts "
    "require version 2.",
    remedy="Remove the firewall rule or the route in the image that blocks 169.254.169.254.",
)
def test_version_2_is_usable(facts: Facts) -> None:
    """The service issues a token, and with it returns the instance's own id."""
    status, text = network_responses(facts)["v2"]
    if status != OK or text != facts.launch.instance_id:
        fail(f"the metadata service returned, instead of the instance id: {text or status}")


@check(
    reason="With version 1, an attacker who makes a program on the instance fetch a URL gets the credentials of "
    "its role.",
    remedy="Update cloud-init to 20.1 or later, which uses tokens, and all other clients of the service. Then "
    "set ImdsSupport=v2.0 for the AMI.",
)
def test_version_1_is_not_needed(facts: Facts) -> None:
    """cloud-init finds its data if version 1 is disabled."""
    status, _ = network_responses(facts)["v1"]
    if status == OK:
        not_applicable("version 1 of the metadata service is enabled")
    if result(facts).get("datasource") in NO_DATA_SOURCE:
        fail(f"with version 1 disabled (HTTP {status}), cloud-init found no data source")
