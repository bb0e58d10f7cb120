"""Give a running machine another disk, use it, and take it away again."""

from pycloudlib import EC2, progress

progress.show()

with EC2("hot-add") as ec2:
    instance = ec2.launch(ec2.daily_image("trixie"))
    volume = instance.add_volume(size=1, drive_type="gp3")
    device = volume.guest_device()
    print(f"{volume.id} was attached as {volume.attachments[0].device_name}, and is {device} in the guest")

    instance.execute(f"mkfs.ext4 -q {device} && mount {device} /mnt", use_sudo=True).check()
    print(instance.execute(["df", "-h", "/mnt"]).check())

    instance.execute("umount /mnt", use_sudo=True).check()
    instance.remove_volume(volume)
    print(f"{volume.id} is gone; what is left: {', '.join(one.id for one in instance.volumes())}")
