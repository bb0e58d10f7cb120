"""Set a machine up once, make an image of it, and launch another one that has everything already."""

from pycloudlib import EC2, progress

IDENTITY = {"machine id": "cat /etc/machine-id", "host key": "cat /etc/ssh/ssh_host_ed25519_key.pub"}

progress.show()

with EC2("snapshot") as ec2:
    original = ec2.launch(ec2.daily_image("trixie"))
    original.execute("echo set up >/var/tmp/state").check()

    # Cleans it, shuts it down, and starts it again while the image is still being made.
    image_id = ec2.snapshot(original)
    print(f"{image_id} was made; {original.id} is {original.state} again")

    with ec2.launch(image_id) as copy:
        print("the copy says:", copy.execute("cat /var/tmp/state").check())
        for what, command in IDENTITY.items():
            other = copy.execute(command).check() != original.execute(command).check()
            print(f"another {what}:", "yes" if other else "no")
    # Leaving the context deletes the image too, with its snapshots.
