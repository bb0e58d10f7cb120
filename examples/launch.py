"""Launch an instance with user data of several parts, ask it something, and find it again."""

from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

from pycloudlib import EC2, progress

user_data = MIMEMultipart()
user_data.attach(MIMEText("#cloud-config\nwrite_files: [{path: /var/tmp/one, content: one}]\n", "cloud-config"))
user_data.attach(MIMEText("#!/bin/sh\necho two >/var/tmp/two\n", "x-shellscript"))

progress.show()

with EC2("launch") as ec2:
    instance = ec2.launch(
        ec2.released_image("trixie"),
        "t3.small",
        user_data,
        disk_size_gb=12,
        MetadataOptions={"HttpTokens": "required"},
    )
    print(f"{instance.id} in {instance.availability_zone}, at {instance.ip}: {instance.state}")
    print("user data:", " and ".join(instance.execute("cat /var/tmp/one; echo; cat /var/tmp/two").split()))
    print("root disk:", instance.execute("lsblk --nodeps --noheadings --output SIZE /dev/nvme0n1").strip())

    (found,) = ec2.instances(state="running", tag={"Name": ec2.tag})
    print("found by its tag:", found.id == instance.id)
print("deleted")
