"""Launch a machine of the local EC2, ask it something, and delete it."""

from io import StringIO
from tempfile import TemporaryDirectory

from pycloudlib import EC2, KeyPair, progress
from pycloudlib.local import LocalEC2

USER_DATA = "#!/bin/sh\necho hello >/var/tmp/greeting\n"

progress.show()

with TemporaryDirectory() as directory, LocalEC2() as local:
    settings = StringIO(local.info.settings_toml())
    with EC2("hello", config_file=settings) as ec2:
        ec2.key_pair = KeyPair.generate(directory)
        instance = ec2.launch(ec2.daily_image("trixie"), user_data=USER_DATA)
        print(instance.execute("cat /var/tmp/greeting; cloud-id; uname -r").check())
