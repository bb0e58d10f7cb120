"""The public names of the objects that users hold: those of the reference in docs/api.md, and no others."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pycloudlib.ec2.cloud import EC2
from support.moto_server import BOOKWORM_DAILY

REFERENCE = (Path(__file__).parents[3] / "docs/api.md").read_text()

INSTANCE = """
    add_network_interface add_volume auth_patience availability_zone banner_timeout boot_timeout clean
    cloud_init_failure connect_timeout console_log created_interfaces delete delete_timeout deletion_requested
    description execute get_boot_id host_key id image_id install instance_type ip key_pair name network_interfaces
    port private_dns_name private_ip public_dns_name public_ips pull_dir pull_file push_dir push_file ready_timeout
    refresh remove_network_interface remove_volume replace_root_volume restart run_script shutdown ssh_config start
    state stop_timeout tags termination_protection timeline update username volumes wait wait_for_delete
    wait_for_restart wait_for_stop
"""

CLOUD = """
    clean client config create_key_pair create_security_group create_volume created_images created_instances
    created_keys created_vpcs daily_image delete_image delete_key from_settings get_image_id_from_name get_instance
    get_or_create_vpc image image_delete image_serial images in_region instances keep key_pair key_pairs launch
    launch_many leave_to_sweep list_keys notify region regions register_image released_image resource security_groups
    snapshot snapshots sweep tag tag_resources upload_key use_key volume volumes
"""

PUBLIC: dict[str, tuple[Callable[[EC2], object], str]] = {
    "EC2": (lambda ec2: ec2, CLOUD),
    "EC2Instance": (lambda ec2: ec2.launch(BOOKWORM_DAILY, wait=False), INSTANCE),
    "Fleet": (
        lambda ec2: ec2.launch_many(BOOKWORM_DAILY, 1, wait=False),
        "count delete execute ids index restart shutdown start wait",
    ),
    "VPC": (
        lambda ec2: ec2.get_or_create_vpc(ec2.tag),
        "delete id ipv4_cidr ipv6_cidr name network_parameters security_group_id subnet_ids subnets vpc",
    ),
    "SecurityGroup": (
        lambda ec2: ec2.create_security_group(ec2.tag, "a group"),
        "add authorize copy_to_region delete description id name remove revoke rules tags vpc_id",
    ),
    "NetworkInterface": (
        lambda ec2: ec2.launch(BOOKWORM_DAILY, wait=False).network_interfaces()[0],
        """
        addresses attachment_id attachment_status device_index id instance_id ipv6_ips is_primary mac of private_ips
        public_ips security_group_ids status subnet_id
        """,
    ),
    "Volume": (
        lambda ec2: ec2.create_volume(1),
        """
        attachments availability_zone delete drive_type guest_device id refresh size_gb snapshot snapshot_id state tags
        wait
        """,
    ),
    "Snapshot": (
        lambda ec2: ec2.create_volume(1).snapshot(),
        "delete description id progress refresh size_gb state tags volume_id wait",
    ),
    "Image": (
        lambda ec2: ec2.image(BOOKWORM_DAILY),
        """
        architecture copy_to_region creation_date delete description id launch_permissions make_private name owner_id
        refresh root_device_name root_size_gb share snapshot_ids state tag tags unshare wait
        """,
    ),
    "SweepReport": (lambda ec2: ec2.sweep(), "deleted dry_run errors found is_clean left"),
}


def public_names(one: object) -> set[str]:
    return {name for name in dir(one) if not name.startswith("_")}


@pytest.mark.parametrize("name", PUBLIC)
def test_object_has_only_the_names_of_the_reference(ec2: EC2, name: str) -> None:
    make, names = PUBLIC[name]
    assert public_names(make(ec2)) == set(names.split())


@pytest.mark.parametrize("name", PUBLIC)
def test_reference_documents_all_names_of_the_class(name: str) -> None:
    found = re.search(rf"autoclass:: pycloudlib\.[a-z0-9_.]+\.{name}\n((?:   :.*\n)*)", REFERENCE)
    assert found is not None
    assert ":members:\n" in found[1]
    assert "exclude-members" not in found[1]
