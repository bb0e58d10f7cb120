"""Key pairs, and security groups with their rules. Nothing is launched."""

from pathlib import Path
from tempfile import TemporaryDirectory

from pycloudlib import EC2, KeyPair

with EC2("groups-example") as ec2, TemporaryDirectory() as directory:
    key_pair = KeyPair.generate(Path(directory))
    ec2.upload_key(key_pair.public_key_path, name=f"{ec2.tag}-key")
    print(f"EC2 knows the key {ec2.created_keys[0]}")

    web = ec2.create_security_group(f"{ec2.tag}-web", "web servers", tags={"team": "blue"})
    web.authorize("tcp", 80, 80, "0.0.0.0/0", description="everybody")
    web.authorize("tcp", 22, cidr="203.0.113.0/24")
    web.authorize("icmp", cidr="0.0.0.0/0")

    database = ec2.create_security_group(f"{ec2.tag}-database", "databases")
    database.authorize("tcp", 5432, source_group=web)

    web.revoke("tcp", 22, cidr="203.0.113.0/24")
    for group in ec2.security_groups(group_name=[web.name, database.name]):
        print(group.name)
        for rule in group.rules:
            print(f"    {rule}")

    # The group itself is named by its copy; other groups exist in their own region only.
    copy = web.copy_to_region("eu-central-1")
    print(f"{copy.id} in eu-central-1 has {len(copy.rules)} rules")

    ec2.tag_resources([web.id, database.id], {"purpose": "example"})
