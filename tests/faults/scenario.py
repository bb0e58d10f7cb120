"""A whole use of the library: it makes one of everything. Also run as a program, so that it can be killed."""

from __future__ import annotations

import sys
from pathlib import Path

from pycloudlib import EC2


def run_scenario(ec2: EC2, public_key: Path, username: str) -> None:
    """Make a key, a VPC, an instance with a volume and an interface, an image of it, an instance of that.

    Args:
        ec2: where.
        public_key: what its guests let in.
        username: who logs in.
    """
    ec2.upload_key(public_key, name=f"{ec2.tag}-key")
    vpc = ec2.get_or_create_vpc(f"{ec2.tag}-vpc")
    image_id = ec2.released_image("bookworm")
    instance = ec2.launch(image_id, vpc=vpc, username=username)
    instance.add_volume(size=1)
    instance.add_network_interface(ipv4_public_ip_count=1)
    made = ec2.snapshot(instance, clean=False)
    with ec2.launch(made, vpc=vpc, username=username) as copy:
        assert copy.execute("echo alive") == "alive"
    ec2.delete_image(made)


def main(settings_file: str, public_key: str, username: str) -> None:
    """Run it as a program that may be killed at any time.

    Args:
        settings_file: where EC2 is.
        public_key: what its guests let in.
        username: who logs in.
    """
    with EC2("fault", config_file=settings_file) as ec2:
        run_scenario(ec2, Path(public_key), username)


if __name__ == "__main__":
    main(*sys.argv[1:])
