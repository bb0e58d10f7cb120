"""Every fault is caught by the check that is for it, and by no other; a good image has none."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from pycloudlib.guest.probes import ProbeResult
from pycloudlib.validation.facts import Facts
from support.checks import Check, all_checks, failures, good_facts, outcome, told

FOREIGN_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIForeignForeignForeignForeignForeignForeign12 builder@elsewhere"
TRACEBACK = """\
871-2026-11-27 13:38:33,100 - util.py[DEBUG]: something was tried
872:Traceback (most recent call last):
873-  File "/usr/lib/python3/dist-packages/cloudinit/x.py", line 1, in handle
874-RuntimeError: broken
"""
REPORTED_TRACEBACK = """\
871-2026-11-27 13:38:33,100 - util.py[WARNING]: Running module phone_home (<module 'x'>) failed
872-2026-11-27 13:38:33,100 - util.py[DEBUG]: Running module phone_home (<module 'x'>) failed
873:Traceback (most recent call last):
874-RuntimeError: broken on purpose
"""
MODULE_ERROR = "('phone_home', RuntimeError('broken on purpose'))"
WARNING = "871:2026-11-27 13:38:33,100 - util.py[WARNING]: Running module phone_home (<module 'x'>) failed"
KNOWN_WARNING = (
    "12:2026-11-27 13:38:33,100 - activators.py[WARNING]: Running ['ifup', 'ens5'] resulted in stderr output: "
    "ifup: interface ens5 already configured"
)

Break = Callable[[Facts], Facts]


def answering(**texts: str | ProbeResult) -> Break:
    return lambda facts: told(facts, **texts)


def printing(text: str) -> Break:
    return lambda facts: replace(facts, console=f"{facts.console}\n{text}\n")


def result(**changed: object) -> Break:
    def broken(facts: Facts) -> Facts:
        before = json.loads(facts.text("cloud_init_result"))["v1"]
        return told(facts, cloud_init_result=json.dumps({"v1": {**before, **changed}}))

    return broken


def network(**changed: object) -> Break:
    return lambda facts: told(facts, network=json.dumps({**json.loads(facts.text("network")), **changed}))


def edited(question: str, old: str, new: str) -> Break:
    def broken(facts: Facts) -> Facts:
        assert old in facts.text(question)
        return told(facts, **{question: facts.text(question).replace(old, new)})

    return broken


def with_line(question: str, line: str) -> Break:
    return lambda facts: told(facts, **{question: f"{facts.text(question)}\n{line}"})


def all_of(*breaks: Break) -> Break:
    def broken(facts: Facts) -> Facts:
        for one in breaks:
            facts = one(facts)
        return facts

    return broken


def with_old_host_key(facts: Facts) -> Facts:
    first, *rest = facts.lines("host_keys")
    mode, owner, _, path = first.split()
    return told(facts, host_keys="\n".join([f"{mode} {owner} 1704067200 {path}", *rest]))


def with_root_keys(line: Callable[[str], str]) -> Break:
    return lambda facts: with_line("authorized_keys", f"/root/.ssh/authorized_keys: {line(facts.launch.public_key)}")(
        told(facts, authorized_keys="")
    )


def with_old_machine_id(facts: Facts) -> Facts:
    return told(facts, machine_id=f"{facts.lines('machine_id')[0]}\n1704067200")


def root(size: int, used: int, free: int, inodes: int = 4) -> Break:
    gib = 1024**3
    return answering(root=f"{size * gib} {used * gib} {free * gib} 50%\n   {inodes}%")


FAULTS: dict[str, tuple[Break, str]] = {
    "nobody can log in in time": (
        lambda facts: replace(facts, logged_in_after=facts.launch.boot_timeout + 1),
        "boot::boots_to_login_in_time",
    ),
    "a kernel that is not locked down": (
        answering(lockdown="[none] integrity confidentiality"),
        "boot::secure_boot_locks_kernel_down",
    ),
    "a kernel without lockdown": (
        answering(lockdown=ProbeResult("No such file", 1)),
        "boot::secure_boot_locks_kernel_down",
    ),
    "a kernel panic": (printing("[ 1.0] Kernel panic - not syncing: VFS"), "console::no_kernel_trouble"),
    "an oops": (printing("[    3.1] Oops: 0002 [#1] PREEMPT SMP"), "console::no_kernel_trouble"),
    "a BUG": (printing("[    3.1] BUG: kernel NULL pointer dereference"), "console::no_kernel_trouble"),
    "a hung task": (printing("INFO: task mount:99 blocked for more than 120 seconds."), "console::no_kernel_trouble"),
    "a stall": (printing("rcu: INFO: rcu_sched self-detected stall on CPU"), "console::no_kernel_trouble"),
    "a console elsewhere": (answering(console_devices="tty0"), "console::console_is_on_ttys0"),
    "no login on the console": (answering(console_getty=ProbeResult("inactive", 3)), "console::console_is_on_ttys0"),
    "a cloud-init that hangs": (answering(cloud_init_status="status: running"), "cloud_init::cloud_init_ends"),
    "a cloud-init that is disabled": (answering(cloud_init_status="status: disabled"), "cloud_init::cloud_init_ends"),
    "a broken cloud-init module": (
        all_of(
            answering(
                cloud_init_status=ProbeResult("status: error", 1),
                cloud_init_problems=WARNING,
                cloud_init_tracebacks=REPORTED_TRACEBACK,
                failed_units="cloud-final.service loaded failed failed Execute cloud user/final scripts",
                system_state=ProbeResult("degraded", 1),
            ),
            result(errors=[MODULE_ERROR]),
        ),
        "cloud_init::no_errors_or_warnings",
    ),
    "a warning of cloud-init": (answering(cloud_init_problems=WARNING), "cloud_init::no_errors_or_warnings"),
    "a swallowed exception": (answering(cloud_init_tracebacks=TRACEBACK), "cloud_init::no_tracebacks"),
    "the wrong data source": (result(datasource="DataSourceNoCloud"), "cloud_init::data_source_is_ec2"),
    "user data that is not valid": (
        answering(cloud_init_schema=ProbeResult("Error: Invalid cloud-config provided:", 1)),
        "cloud_init::schema_is_valid",
    ),
    "user data that did not run": (
        answering(user_data_runs=ProbeResult("cat: No such file or directory", 1)),
        "cloud_init::user_data_ran_once",
    ),
    "user data that ran twice": (answering(user_data_runs="one\ntwo"), "cloud_init::user_data_ran_once"),
    "a baked-in host key": (with_old_host_key, "ssh::host_keys_are_the_machines_own"),
    "a host key that all may read": (
        edited("host_keys", "600 root", "644 root"),
        "ssh::host_keys_have_the_right_permissions",
    ),
    "a host key of somebody": (
        edited("host_keys", "600 root", "600 admin"),
        "ssh::host_keys_have_the_right_permissions",
    ),
    "no host keys on the console": (
        lambda facts: replace(facts, console=facts.console.replace("BEGIN SSH HOST KEY KEYS", "")),
        "ssh::host_keys_are_on_the_console",
    ),
    "passwords at the login": (
        edited("sshd", "passwordauthentication no", "passwordauthentication yes"),
        "access::no_password_login",
    ),
    "passwords by another name": (
        edited("sshd", "kbdinteractiveauthentication no", "kbdinteractiveauthentication yes"),
        "access::no_password_login",
    ),
    "root that can log in": (with_root_keys(lambda key: key), "access::no_root_login"),
    "an empty password": (with_line("passwords", "guest empty"), "access::no_empty_passwords"),
    "a password": (with_line("passwords", "builder set"), "access::no_passwords"),
    "a left key": (
        with_line("authorized_keys", f"/home/admin/.ssh/authorized_keys: {FOREIGN_KEY}"),
        "access::no_authorized_keys_are_left",
    ),
    "root's left key": (
        with_line("authorized_keys", f"/root/.ssh/authorized_keys: {FOREIGN_KEY}"),
        "access::no_authorized_keys_are_left",
    ),
    "a history": (answering(histories="/root/.bash_history"), "access::no_shell_history_is_left"),
    "a private key": (answering(private_keys="/root/.ssh/id_ed25519"), "access::no_private_keys_are_left"),
    "a machine id of the image": (with_old_machine_id, "identity::machine_id_is_fresh"),
    "no machine id": (answering(machine_id="uninitialized\n1704067200"), "identity::machine_id_is_fresh"),
    "another host name": (answering(hostname="debian\n127.0.1.1 debian"), "identity::hostname_is_the_instances"),
    "a host name that does not resolve": (
        lambda facts: told(facts, hostname=ProbeResult(facts.lines("hostname")[0], 2)),
        "identity::hostname_is_the_instances",
    ),
    "no address": (
        lambda facts: edited("addresses", facts.launch.private_ip, "169.254.7.7")(facts),
        "network::ipv4_is_up",
    ),
    "no way out": (answering(routes=""), "network::ipv4_is_up"),
    "a name server that is silent": (network(dns="no answer from 10.0.0.2"), "network::names_are_looked_up"),
    "no driver for the network": (
        answering(module_ena=ProbeResult("modprobe: FATAL: Module ena not found", 1)),
        "network::ena_driver_is_there",
    ),
    "no metadata": (network(v2=[0, "timed out"]), "metadata::version_2_is_usable"),
    "another's metadata": (network(v2=[200, "i-0000"]), "metadata::version_2_is_usable"),
    "a root file system that has not grown": (root(8, 1, 7), "storage::root_fills_its_volume"),
    "a full disk": (root(10, 10, 0), "storage::root_has_room"),
    "an image that was full": (root(10, 8, 2), "storage::root_has_room"),
    "an image that was full beside its other partitions": (root(9, 7, 2), "storage::root_has_room"),
    "no inodes left": (root(10, 1, 9, inodes=99), "storage::root_has_room"),
    "something that is not mounted": (
        with_line("fstab", "LABEL=data /data ext4 nofail 0 2"),
        "storage::fstab_is_mounted",
    ),
    "an error in fstab": (
        answering(fstab_verified=ProbeResult("/\n   [E] unreachable on boot required source: LABEL=x", 1)),
        "storage::fstab_is_mounted",
    ),
    "a device in fstab": (answering(fstab="/dev/xvda1 / ext4 defaults 0 1"), "storage::fstab_names_no_devices"),
    "swap that is not on": (with_line("fstab", "/swapfile none swap sw 0 0"), "storage::swap_is_as_configured"),
    "swap by chance": (answering(swaps="/swapfile file 1048572 0 -2"), "storage::swap_is_as_configured"),
    "no driver for volumes": (
        answering(module_nvme=ProbeResult("modprobe: FATAL: Module nvme not found", 1)),
        "storage::nvme_driver_is_there",
    ),
    "a short time-out": (answering(nvme_timeout="30"), "storage::nvme_timeout_is_long"),
    "a failed unit": (
        answering(
            failed_units="● broken.service loaded failed failed broken.service", system_state=ProbeResult("degraded", 1)
        ),
        "system::no_failed_units",
    ),
    "a clock that nobody keeps": (answering(time_services="inactive inactive"), "system::clock_is_kept"),
    "a local time": (answering(time_zone="CET +0100"), "system::time_zone_is_utc"),
    "half a package": (
        answering(packages=ProbeResult("The following packages are only half configured", 1)),
        "system::packages_are_consistent",
    ),
    "half a package that dpkg tells without a status": (
        answering(packages="The following packages are only half configured:\n x"),
        "system::packages_are_consistent",
    ),
    "no repository": (
        answering(repository=ProbeResult("no repository is configured", 100)),
        "system::repository_answers",
    ),
    "a repository that is gone": (
        answering(repository=ProbeResult("Err:1 http://mirror/ bullseye InRelease\n  404  Not Found", 100)),
        "system::repository_answers",
    ),
}


def test_the_default_image_is_good() -> None:
    assert failures(good_facts()) == {}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_caught_by_its_check_and_by_no_other(name: str) -> None:
    broken, check = FAULTS[name]
    assert list(failures(broken(good_facts()))) == [check]


def test_missing_ipv6_address_is_reported() -> None:
    facts = good_facts()
    broken = replace(facts, launch=replace(facts.launch, ipv6_addresses=("2001:db8::7",)))
    assert list(failures(broken)) == ["network::ipv6_is_up"]


def test_required_imdsv1_is_reported() -> None:
    """Without version 1, cloud-init finds no data source: both are true, and both are told."""
    broken = all_of(network(v1=[401, ""]), result(datasource="DataSourceNone"))(good_facts())
    assert list(failures(broken)) == ["cloud_init::data_source_is_ec2", "metadata::version_1_is_not_needed"]


def test_every_check_of_facts_catches_something() -> None:
    caught = {check for _, check in FAULTS.values()} | {"network::ipv6_is_up", "metadata::version_1_is_not_needed"}
    assert caught == {check.name for check in all_checks() if check.takes == "facts"}


def test_a_machine_that_never_came_up_fails_at_the_login_alone() -> None:
    dead = replace(
        good_facts(), answers={}, console="", logged_in_after=None, boot_error="its kernel panicked", not_asked="nobody"
    )
    found = {check.name: outcome(check, dead) for check in all_checks() if check.takes == "facts"}
    assert found.pop("boot::boots_to_login_in_time") == "failed: its kernel panicked"
    assert all(text.startswith("skipped: ") for text in found.values()), found


SKIPPED: dict[str, tuple[Break, str]] = {
    "no cloud-init": (answering(cloud_init_version=ProbeResult("not found", 127)), "cloud_init::"),
    "an old cloud-init": (
        answering(cloud_init_schema=ProbeResult("argument subcommand: invalid choice: 'schema' (choose from ...)", 2)),
        "cloud_init::schema_is_valid",
    ),
    "no IPv6": (lambda facts: replace(facts, launch=replace(facts.launch, ipv6_addresses=())), "network::ipv6_is_up"),
    "no Python": (answering(network=ProbeResult("sh: python3: not found", 127)), "network::names_are_looked_up"),
    "version 1 is on": (network(v1=[200, "i-1"]), "metadata::version_1_is_not_needed"),
    "no systemd": (answering(failed_units=ProbeResult("not found", 127)), "system::no_failed_units"),
    "Secure Boot off": (answering(secure_boot="0"), "boot::secure_boot_locks_kernel_down"),
    "a BIOS": (answering(secure_boot="BIOS"), "boot::secure_boot_locks_kernel_down"),
    "a UEFI without Secure Boot": (
        answering(secure_boot=ProbeResult("No such file", 1), lockdown="[none] integrity confidentiality"),
        "boot::secure_boot_locks_kernel_down",
    ),
    "no NVMe": (answering(nvme_timeout=ProbeResult("No such file", 1)), "storage::nvme_timeout_is_long"),
    "no package manager": (answering(packages=ProbeResult("unknown", 127)), "system::packages_are_consistent"),
    "no way to a repository": (
        answering(repository=ProbeResult("E: Could not resolve 'deb.debian.org'", 100)),
        "system::repository_answers",
    ),
    "a repository that is silent": (answering(repository=ProbeResult("", 124)), "system::repository_answers"),
    "no name given": (
        lambda facts: replace(facts, launch=replace(facts.launch, private_dns_name="")),
        "identity::hostname_is_the_instances",
    ),
    "no console": (lambda facts: replace(facts, console=""), "console::no_kernel_trouble"),
}


@pytest.mark.parametrize("name", SKIPPED)
def test_a_check_that_does_not_apply_is_skipped_with_the_reason(name: str) -> None:
    changed, check = SKIPPED[name]
    facts = changed(good_facts())
    assert failures(facts) == {}
    found = [outcome(one, facts) for one in all_checks() if one.name.startswith(check)]
    assert found
    assert all(text.startswith("skipped: ") and len(text) > len("skipped: ") for text in found), found


def test_known_warnings_are_passed_over_alone() -> None:
    assert failures(told(good_facts(), cloud_init_problems=KNOWN_WARNING)) == {}
    both = f"{KNOWN_WARNING}\n{WARNING}"
    assert list(failures(told(good_facts(), cloud_init_problems=both))) == ["cloud_init::no_errors_or_warnings"]


def test_a_known_key_of_root_with_a_command_is_no_login() -> None:
    facts = with_root_keys(lambda key: f'no-pty,command="echo no" {key}')(good_facts())
    assert failures(facts) == {}


def test_root_is_let_in_where_root_is_the_login_user() -> None:
    facts = with_root_keys(lambda key: key)(good_facts())
    assert failures(replace(facts, launch=replace(facts.launch, username="root"))) == {}


@pytest.mark.parametrize("check", [pytest.param(check, id=check.name) for check in all_checks()])
def test_every_check_has_a_reason_and_a_remedy(check: Check) -> None:
    assert len(check.advice.reason) > 20
    assert len(check.advice.remedy) > 20
    assert check.test.__doc__
