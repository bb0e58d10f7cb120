"""The same on AWS, or wherever the settings lead: see pycloudlib.toml.template."""

from pycloudlib import EC2, progress

USER_DATA = "#!/bin/sh\necho hello >/var/tmp/greeting\n"

progress.show()

with EC2("hello") as ec2:
    instance = ec2.launch(ec2.released_image("trixie"), user_data=USER_DATA)
    print(instance.execute("cat /var/tmp/greeting; cloud-id; uname -r").check())
