"""VPCs and network interfaces, as the guest sees them: one machine in a VPC of its own, for all tests of this file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from pycloudlib import EC2, EC2Instance
from pycloudlib.deadline import Deadline
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.ec2.vpc import VPC
from pycloudlib.errors import SSHConnectionError
from pycloudlib.local import LocalEC2
from pycloudlib.waiting import wait_until
from support.imds import asking_imds
from support.vm_release import IS_BOOKWORM, RELEASE

pytestmark = pytest.mark.vm

CIDR = "192.168.0.0/20"


@dataclass(frozen=True)
class Site:
    ec2: EC2
    vpc: VPC
    instance: EC2Instance
    has_ec2_addresses: bool
    """Whether the guest has the IPv6 addresses and prefixes of EC2: on user networking, only Debian 12 has them."""


@pytest.fixture(scope="module")
def site(local: LocalEC2, settings_file: Path) -> Iterator[Site]:
    with EC2("network", config_file=settings_file) as ec2:
        vpc = ec2.get_or_create_vpc(ec2.tag, CIDR)
        instance = ec2.launch(ec2.daily_image(RELEASE), "t3.small", vpc=vpc)
        yield Site(ec2, vpc, instance, IS_BOOKWORM or local.info.network != "user")


def links(instance: EC2Instance) -> dict[str, list[str]]:
    """The addresses of each interface in the guest, by MAC address."""
    told: list[dict[str, Any]] = json.loads(instance.execute("ip -j addr").check())
    return {link["address"]: [one["local"] for one in link["addr_info"]] for link in told}


def metadata(instance: EC2Instance, path: str) -> list[str]:
    return instance.execute(asking_imds(path)).check().split()


def test_a_machine_in_a_vpc_has_an_address_of_its_network(site: Site) -> None:
    assert IPv4Address(site.instance.private_ip) in IPv4Network(CIDR)
    addresses = [address for several in links(site.instance).values() for address in several]
    assert site.instance.private_ip in addresses
    (primary,) = site.instance.network_interfaces()
    assert primary.ipv6_ips
    assert not site.has_ec2_addresses or set(primary.ipv6_ips) <= set(addresses)
    (mac,) = metadata(site.instance, "network/interfaces/macs/")
    assert metadata(site.instance, f"network/interfaces/macs/{mac}vpc-id") == [site.vpc.id]
    assert metadata(site.instance, f"network/interfaces/macs/{mac}subnet-id") == site.vpc.subnet_ids


NAME_SERVERS = "grep nameserver " + ("/etc/resolv.conf" if IS_BOOKWORM else "/run/systemd/resolve/resolv.conf")
"""Shows those that DHCP gave."""


def test_an_image_leaves_name_server_and_host_name_to_the_next_boot(ec2: EC2) -> None:
    with ec2.launch(ec2.daily_image(RELEASE)) as original:
        # Its own would keep every lookup of the copy waiting, in another network.
        assert original.execute(NAME_SERVERS).check() == "nameserver 172.31.0.2"
        image_id = ec2.snapshot(original, wait=False)
    with ec2.launch(image_id, vpc=ec2.get_or_create_vpc(ec2.tag, CIDR)) as copy:
        name = f"ip-{copy.private_ip.replace('.', '-')}"
        found = copy.execute(f"{NAME_SERVERS}; cat /etc/hostname; uname -n").check()
        assert found.splitlines() == [f"nameserver {IPv4Network(CIDR)[2]}", name, name]


def test_an_added_interface_appears_in_the_guest_and_disappears(site: Site) -> None:
    instance = site.instance
    ip = instance.add_network_interface(ipv4_address_count=2, ipv6_address_count=1, ipv4_public_ip_count=1)
    added = instance.network_interfaces()[1]
    wait_until(
        lambda: added.mac in links(instance), what=f"{added.mac} in the guest", deadline=Deadline.after(240), interval=1
    )
    path = f"network/interfaces/macs/{added.mac}"
    assert metadata(instance, f"{path}/local-ipv4s") == list(added.private_ips)
    assert metadata(instance, f"{path}/public-ipv4s") == list(added.public_ips)
    assert metadata(instance, f"{path}/ipv6s") == list(added.ipv6_ips)
    wait_until(
        lambda: ip in links(instance)[added.mac], what=f"{ip} in the guest", deadline=Deadline.after(600), interval=1
    )
    instance.remove_network_interface(ip)
    wait_until(
        lambda: added.mac not in links(instance),
        what=f"{added.mac} out of the guest",
        deadline=Deadline.after(240),
        interval=1,
    )
    assert f"{added.mac}/" not in metadata(instance, "network/interfaces/macs/")
    assert instance.execute("echo still here") == "still here"


def test_cloud_init_hot_plug_leaves_the_primary_interface_up(site: Site) -> None:
    instance = site.instance
    config = "updates: {network: {when: [boot, hotplug]}}"
    instance.execute(f"echo '{config}' | sudo tee /etc/cloud/cloud.cfg.d/99-hotplug.cfg").check()
    ip = instance.add_network_interface()
    mac = instance.network_interfaces()[1].mac
    wait_until(
        lambda: ip in links(instance).get(mac, []), what=f"{ip} in the guest", deadline=Deadline.after(600), interval=1
    )
    device = instance.execute(f"grep -l {mac} /sys/class/net/*/address").check().removesuffix("/address")
    hook = f"sudo cloud-init devel hotplug-hook -s net handle -d {device} -u add"
    instance.execute(hook, timeout=600).check()
    assert "Exiting hotplug handler" in instance.execute("sudo cat /var/log/cloud-init.log").check()
    assert set(links(instance)[mac]) >= {ip}
    (subnet,) = metadata(instance, f"network/interfaces/macs/{mac}/subnet-ipv4-cidr-block")
    routes: list[dict[str, Any]] = json.loads(instance.execute("ip -j -4 route").check())
    # systemd-networkd adds routes to the name servers and to the gateway.
    of_networks = {route["dst"] for route in routes if route["dst"] == "default" or "/" in route["dst"]}
    assert "default" in of_networks
    assert not site.has_ec2_addresses or of_networks == {"default", subnet}
    instance.remove_network_interface(ip)


def test_force_detaches_an_interface_from_a_guest_that_has_panicked(site: Site) -> None:
    instance, client = site.instance, site.ec2.client
    instance.add_network_interface()
    added = instance.network_interfaces()[1].id
    (described,) = client.describe_network_interfaces(NetworkInterfaceIds=[added])["NetworkInterfaces"]
    with suppress(SSHConnectionError):  # the panic may be faster than the command's answer
        instance.execute(["sudo", "systemd-run", "sh", "-c", "echo c >/proc/sysrq-trigger"])
    wait_until(
        lambda: "Kernel panic" in (instance.console_log() or ""),
        what="the panic",
        deadline=Deadline.after(240),
        interval=1,
    )
    attachment: dict[str, Any] = {"AttachmentId": described["Attachment"]["AttachmentId"]}

    def status() -> str:
        return client.describe_network_interfaces(NetworkInterfaceIds=[added])["NetworkInterfaces"][0]["Status"]

    client.detach_network_interface(**attachment)
    assert status() == "in-use"
    client.detach_network_interface(**attachment, Force=True)
    wait_until(lambda: status() == "available", what=f"{added} to be detached", deadline=Deadline.after(240))


def test_deleting_the_vpc_deletes_its_machine_and_leaves_nothing(site: Site) -> None:
    site.instance.add_network_interface(ipv4_public_ip_count=1)
    assert site.vpc.delete() == []
    assert site.instance.state is InstanceState.TERMINATED
    named: Any = [{"Name": "tag:Name", "Values": [site.ec2.tag]}]
    client = site.ec2.client
    assert client.describe_vpcs(Filters=named)["Vpcs"] == []
    assert client.describe_subnets(Filters=named)["Subnets"] == []
    assert client.describe_addresses(Filters=named)["Addresses"] == []
    assert client.describe_network_interfaces(Filters=named)["NetworkInterfaces"] == []
    assert client.describe_security_groups(Filters=named)["SecurityGroups"] == []
    assert site.ec2.created_vpcs == []
