"""The lifecycle of the instance. These checks run last, because each modifies the instance."""

from pycloudlib.validation.life import Booted, Life
from pycloudlib.validation.verdicts import check, fail, listed


def changed(booted: Booted, *names: str) -> list[str]:
    """Return the probes whose results should be unchanged, but are not."""
    return [name.replace("_", " ") for name in names if booted.before[name] != booted.after[name]]


@check(
    reason="Data volumes are attached to running instances.",
    remedy="Use a kernel with the driver nvme, and for older instance types xen-blkfront, and run udev.",
)
def test_added_volume_is_seen(life: Life) -> None:
    """A volume that is added to the running instance appears with its size."""
    added = life.added_volume
    if not added.device:
        fail("no device appeared for the volume")
    if added.size != added.expected_size:
        fail(f"{added.device} has {added.size} bytes; the volume has {added.expected_size}")


@check(
    reason="Interfaces are moved between instances to move their addresses, and containers get their own interfaces.",
    remedy="Install a package that configures added interfaces, such as amazon-ec2-net-utils or Debian's "
    "cloud-ifupdown-helper, or let systemd-networkd or NetworkManager match every interface.",
)
def test_added_interface_is_configured(life: Life) -> None:
    """A network interface that is added to the running instance is configured with its address."""
    added = life.added_interface
    if f" {added.ip}/" not in added.addresses:
        fail(f"{added.ip} is not on any interface:\n{listed(added.addresses.splitlines())}")


@check(
    reason="Kernel updates require reboots, and nobody is at the console to repair a failed one.",
    remedy="Read the console log of the second boot. Steps of the first boot must not be repeated: see "
    "cloud-init's per-instance modules.",
)
def test_restart_changes_the_boot_id(life: Life) -> None:
    """The instance reboots with the same identity, and does not run its user data again."""
    booted = life.restarted
    if booted.before["boot_id"] == booted.after["boot_id"]:
        fail("the boot id is unchanged, so the instance did not boot")
    different = changed(booted, "machine_id", "host_public_keys", "user_data_runs")
    if different:
        fail(f"changed by the restart: {', '.join(different)}")


@check(
    reason="Instances are stopped to save costs, and must be unchanged after the next start.",
    remedy="Remove everything that resets the root file system, the machine id, or the host keys at boot, and "
    "every reference to an earlier address.",
)
def test_stop_and_start_keep_data(life: Life) -> None:
    """After a stop and a start, the instance has the same identity and data."""
    booted = life.stopped_and_started
    if booted.data_after != booted.data_before:
        fail(f"the contents of a file changed from {booted.data_before!r} to {booted.data_after!r}")
    if booted.before["boot_id"] == booted.after["boot_id"]:
        fail("the boot id is unchanged, so the instance did not boot")
    different = changed(booted, "machine_id", "host_public_keys", "user_data_runs")
    if different:
        fail(f"changed by the stop and start: {', '.join(different)}")


@check(
    reason="Images are often created from instances of other images, and each new instance needs its own identity.",
    remedy="Let cloud-init treat a new instance id as a first boot (no manual_cache_clean), and generate new "
    "host keys and a new machine id.",
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
        fail(f"same as on the source of the image: {', '.join(same)}")
    new = set(copy.lines("user_data_runs")) - set(life.facts.lines("user_data_runs"))
    if copy.text("boot_id") not in new:
        fail("the instance did not run its user data")
