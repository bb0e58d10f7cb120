"""Volumes, snapshots and images, as the guest sees them.

One machine is given volumes and imaged by the tests in their order, and deleted by the last one. One machine each is
launched from an image of the guest as it was, and of a volume's snapshot, the latter with virtio disks. An image of a
guest that was cleaned is shown by `examples/snapshot.py`, which is run too.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pycloudlib import EC2, EC2Instance
from pycloudlib.deadline import Deadline
from pycloudlib.ec2.storage.snapshots import Snapshot
from pycloudlib.ec2.storage.volume import Volume
from pycloudlib.errors import InvalidArgumentError, ResourceNotFoundError
from pycloudlib.waiting import wait_until

pytestmark = pytest.mark.vm


def block_devices(instance: EC2Instance) -> set[str]:
    return set(instance.execute("ls /sys/block").check().split())


def content_of(instance: EC2Instance, device: str) -> str:
    read = f"mount -o ro {device} /mnt && cat /mnt/file && umount /mnt"
    return str(instance.execute(read, use_sudo=True).check())


@pytest.fixture(scope="module")
def workbench(shared_ec2: EC2, image_id: str) -> Iterator[EC2Instance]:
    """A machine that is restarted, imaged and given volumes by the tests of this module, in their order."""
    with shared_ec2.launch(image_id, disk_size_gb=11) as instance:
        yield instance


def test_an_added_volume_is_a_new_disk_that_is_written_to(workbench: EC2Instance) -> None:
    before = block_devices(workbench)
    volume = workbench.add_volume(1)
    device = volume.guest_device(timeout=30)
    assert {device.removeprefix("/dev/")} == block_devices(workbench) - before
    assert workbench.execute(f"blockdev --getsize64 {device}", use_sudo=True).check() == str(1 << 30)
    written = f"mkfs.ext4 -q {device} && mount {device} /mnt && echo kept >/mnt/file && umount /mnt"
    workbench.execute(written, use_sudo=True).check()
    assert content_of(workbench, device) == "kept"
    workbench.remove_volume(volume)


def test_a_removed_volume_disappears_from_the_guest(workbench: EC2Instance) -> None:
    before = block_devices(workbench)
    first, second = workbench.add_volume(1), workbench.add_volume(2, "gp3")
    assert first.guest_device() != second.guest_device()
    left = second.guest_device()
    workbench.remove_volume(first)
    wait_until(
        lambda: len(block_devices(workbench) - before) == 1, what="the disk to be gone", deadline=Deadline.after(240)
    )
    assert block_devices(workbench) - before == {left.removeprefix("/dev/")}
    root = next(volume for volume in workbench.volumes() if volume.id != second.id)
    assert root.size_gb == 11
    with pytest.raises(InvalidArgumentError, match="root volume"):
        workbench.remove_volume(root)
    workbench.remove_volume(second)
    wait_until(lambda: block_devices(workbench) == before, what="both disks to be gone", deadline=Deadline.after(240))


@pytest.fixture(scope="module")
def snapshot(workbench: EC2Instance) -> Snapshot:
    workbench.execute("echo from the volume >/var/tmp/of-the-volume && sync").check()
    (root,) = workbench.volumes()
    progress: list[int] = []
    snapshot = root.snapshot("the root volume", {"team": "blue"}, on_progress=progress.append)
    assert progress[-1] == 100
    workbench.execute("echo later >/var/tmp/later").check()
    return snapshot


@pytest.fixture(scope="module")
def copy(shared_ec2: EC2, workbench: EC2Instance, snapshot: Snapshot) -> Iterator[EC2Instance]:
    """A machine of a Xen type, so with virtio disks, from the snapshot; two tests use it, and the second deletes it."""
    image_id = shared_ec2.register_image(snapshot, f"{shared_ec2.tag} registered")
    with shared_ec2.launch(image_id, "t2.small", username=workbench.username) as copy:
        yield copy


def test_a_machine_from_a_volumes_snapshot_has_what_the_volume_had(
    shared_ec2: EC2, copy: EC2Instance, snapshot: Snapshot
) -> None:
    assert copy.execute("cat /var/tmp/of-the-volume").check() == "from the volume"
    assert copy.execute("test -e /var/tmp/later").failed
    shared_ec2.delete_image(copy.image_id)
    assert [found.id for found in shared_ec2.snapshots() if found.id == snapshot.id] == []


def modify_volume(ec2: EC2, volume: Volume, size_gb: int) -> None:
    ec2.client.modify_volume(VolumeId=volume.id, Size=size_gb)

    def completed() -> bool:
        (modification,) = ec2.client.describe_volumes_modifications(VolumeIds=[volume.id])["VolumesModifications"]
        assert modification["ModificationState"] in ("modifying", "optimizing", "completed"), modification
        return modification["ModificationState"] == "completed"

    wait_until(completed, what=f"{volume.id} to grow", deadline=Deadline.after(240))
    volume.refresh()
    assert volume.size_gb == size_gb


def test_volumes_of_xen_types_grow_while_the_guest_uses_them(shared_ec2: EC2, copy: EC2Instance) -> None:
    def gibibytes(device: str) -> int:
        return int(copy.execute(f"lsblk --bytes --nodeps --noheadings --output SIZE {device}").check()) >> 30

    (root,) = copy.volumes()
    volume = copy.add_volume(1)
    device, root_device = volume.guest_device(), root.guest_device()
    assert f"{root_device}1" == copy.execute("findmnt --noheadings --output SOURCE /").check()
    written = f"mkfs.ext4 -q {device} && mount {device} /mnt && echo kept >/mnt/file"
    copy.execute(written, use_sudo=True).check()

    modify_volume(shared_ec2, volume, 3)
    assert gibibytes(device) == 3
    modify_volume(shared_ec2, root, root.size_gb + 2)
    assert gibibytes(root_device) == root.size_gb
    volume.snapshot()  # its disk is written to another file from now on
    modify_volume(shared_ec2, volume, 4)
    assert gibibytes(device) == 4

    copy.execute(f"resize2fs {device} && umount /mnt", use_sudo=True).check()
    assert content_of(copy, device) == "kept"
    copy.remove_volume(volume)
    assert copy.delete() == []


def test_an_image_of_a_guest_as_it_is_has_its_files_and_its_identity(shared_ec2: EC2, workbench: EC2Instance) -> None:
    """Its volumes keep their content meanwhile, over the stop and the start; and the image has them too."""
    volume = workbench.add_volume(1)
    device = volume.guest_device()
    written = f"mkfs.ext4 -q {device} && mount {device} /mnt && echo data >/mnt/file && umount /mnt"
    workbench.execute(written, use_sudo=True).check()
    workbench.execute("echo first >/var/tmp/state && sync").check()
    address = workbench.ip
    boot_id, machine_id = workbench.get_boot_id(), workbench.execute("cat /etc/machine-id").check()
    image_id = shared_ec2.snapshot(workbench, clean=False)
    assert workbench.get_boot_id() != boot_id
    assert workbench.ip != address
    assert workbench.execute("cat /var/tmp/state").check() == "first"
    assert content_of(workbench, volume.guest_device()) == "data"
    workbench.execute("echo second >/var/tmp/state").check()
    with shared_ec2.launch(image_id) as copy:
        assert copy.execute("cat /var/tmp/state").check() == "first"
        assert copy.execute("cat /etc/machine-id").check() == machine_id
        (copied,) = (one for one in copy.volumes() if one.size_gb == 1)
        assert content_of(copy, copied.guest_device()) == "data"
    assert workbench.execute("cat /var/tmp/state").check() == "second"
    workbench.remove_volume(volume)


def test_an_added_volume_goes_with_its_instance(shared_ec2: EC2, workbench: EC2Instance) -> None:
    volume = workbench.add_volume(1)
    assert volume.guest_device()
    assert workbench.delete() == []
    with pytest.raises(ResourceNotFoundError, match=volume.id):
        shared_ec2.volume(volume.id)
