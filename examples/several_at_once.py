"""Launch two instances by one call, and run a command in all of them at once."""

from pycloudlib import EC2, progress

USER_DATA = "#!/bin/sh\nmkdir -p /srv/example\n"

progress.show()

with EC2("several") as ec2, ec2.launch_many(ec2.released_image("trixie"), 2, user_data=USER_DATA) as fleet:
    print(f"{len(fleet)} instances are ready")
    for instance_id, result in fleet.execute("cat /etc/machine-id").items():
        print(instance_id, result.check())

    fleet[0].execute("touch /srv/example/token", use_sudo=True).check()
    holders = [id_ for id_, result in fleet.execute("test -e /srv/example/token").items() if result.ok]
    print("only the first one has the token:", holders == [fleet[0].id])

    fleet[1:].shutdown()
    print("states:", ", ".join(str(instance.state) for instance in fleet))
print("all are deleted")
