"""The further lifecycle. These checks run last, since each one modifies the instance."""

from pycloudlib.validation.life import Booted, Life
from pycloudlib.validation.verdicts import check, fail, listed


def changed(booted: Booted, *names: str) -> list[str]:
    """Return the probes whose results should be unchanged, but are not."""
    return [name.replace("_", " ") for name in names if booted.before[name] != booted.after[name]]


@check(
    reason="Data volumes are attached to machines that run.",
    remedy="Let the kernel have the drivers nvme and, for older instance types, xen-blkfront, and udev run.",
)
def test_added_volume_is_seen(life: Life) -> None:
    """A volume that is added to the running instance appears with its size."""
    added = life.added_volume
    if not added.device:
        fail("no device came up for the volume")
    if added.size != added.wanted:
        fail(f"{added.device} has {added.size} bytes; the volume has {added.wanted}")


@check(
    reason="Addresses are moved between machines by moving interfaces, and containers get interfaces of their own.",
    remedy="Install what configures interfaces as they come: amazon-ec2-net-utils, Debian's cloud-ifupdown-helper, "
    "or a configuration of networkd or NetworkManager that matches every interface.",
)
def test_added_interface_is_configured(life: Life) -> None:
    """A network interface that is added to the running instance is configured with its address."""
    added = life.added_interface
    if f" {added.ip}/" not in added.addresses:
        fail(f"{added.ip} is on no interface:\n{listed(added.addresses.splitlines())}")


@check(
    reason="Updates of the kernel need restarts, and nobody is there to help a machine over its second boot.",
    remedy="Read the console log of the second boot. What was made at the first one must not be made again: see "
    "cloud-init's per-instance modules.",
)
def test_restart_changes_the_boot_id(life: Life) -> None:
    """The instance reboots with the same identity, and does not run its user data again."""
    booted = life.restarted
    if booted.before["boot_id"] == booted.after["boot_id"]:
        fail("it still has the boot id of the boot before")
    different = changed(booted, "machine_id", "host_public_keys", "user_data_runs")
    if different:
        fail(f"after the restart these are not as they were: {', '.join(different)}")


@check(
    reason="Machines are stopped for the night, and are to be in the morning what they were.",
    remedy="Let nothing in the image reset the root file system, the machine id or the host keys at boot, and let "
    "the network not depend on yesterday's address.",
)
def test_stop_and_start_keep_data(life: Life) -> None:
    """After a stop and a start, the instance has the same identity and data."""
    booted = life.stopped_and_started
    if booted.data_after != booted.data_before:
        fail(f"a file that held {booted.data_before!r} holds {booted.data_after!r}")
    if booted.before["boot_id"] == booted.after["boot_id"]:
        fail("it still has the boot id of the boot before")
    different = changed(booted, "machine_id", "host_public_keys", "user_data_runs")
    if different:
        fail(f"after the stop and the start these are not as they were: {', '.join(different)}")


@check(
    reason="Images are made of images: what is prepared once is launched a hundred times, each a machine of its own.",
    remedy="Let cloud-init take the new instance id for a first boot (no manual_cache_clean), and make host keys and "
    "machine id anew.",
)
def test_an_image_of_it_boots_as_a_first_boot(life: Life) -> None:
    """An instance of an image of this one has its own identity, and runs its user data."""
    copy = life.copy
    if copy.boot_error:
        fail(copy.boot_error)
    same = [
        name.replace("_", " ")
        for name in ("machine_id", "host_public_keys", "hostname")
        if copy.text(name) == life.facts.text(name)
    ]
    if same:
        fail(f"these are those of the machine that the image was made of: {', '.join(same)}")
    new = set(copy.lines("user_data_runs")) - set(life.facts.lines("user_data_runs"))
    if copy.text("boot_id") not in new:
        fail("it did not run the user data of its launch")
