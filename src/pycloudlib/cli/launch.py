"""`pycloudlib launch`: an instance for the duration of the command, or one to keep."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pycloudlib.cli.cloud import Cloud, Login, cloud_options, json_option, key_option, key_settings, username_option
from pycloudlib.cli.durations import as_age, as_seconds
from pycloudlib.cli.examples import examples
from pycloudlib.cli.guest_command import run_in
from pycloudlib.cli.image_options import image_options, newest_image
from pycloudlib.cli.instance_facts import facts
from pycloudlib.cli.lifetime import cleaned_up
from pycloudlib.cli.on_demand import check_pull, found_or_pulled, pull_option
from pycloudlib.cli.openssh import require_openssh, shown, ssh_words
from pycloudlib.cli.output import print_facts, print_json
from pycloudlib.cli.parsing import TakesCommand
from pycloudlib.cli.progress import step
from pycloudlib.errors import PycloudlibError, SSHError
from pycloudlib.interrupts import sweep_command

if TYPE_CHECKING:
    from pycloudlib import EC2, VPC, EC2Instance


@click.command(
    cls=TakesCommand,
    optional=True,
    epilog=examples(
        "pycloudlib launch trixie --local",
        "pycloudlib launch noble --local --pull",
        "pycloudlib launch noble --ssh",
        "pycloudlib launch noble --daily -- cloud-init status --long",
        "pycloudlib launch noble --keep --ttl 2h --type t3.small --user-data user-data.yaml",
    ),
)
@click.argument("image", metavar="IMAGE")
@click.option("--keep", is_flag=True, help="Keep the instance, and print how to log in and how to delete it.")
@click.option("--ssh", "shell", is_flag=True, help="Open an SSH session; the command ends with it.")
@image_options
@pull_option
@click.option("--type", "instance_type", default="t3.micro", show_default=True, help="The instance type.")
@click.option(
    "--user-data", type=click.File("rb"), metavar="FILE", help="The user data for cloud-init; - reads standard input."
)
@click.option(
    "--ttl",
    metavar="DURATION",
    callback=as_age,
    help="The time to live, after which the instance terminates itself, such as 30m or 2h.",
)
@click.option(
    "--disk-size",
    "disk_size_gb",
    type=click.IntRange(min=1),
    default=15,
    show_default=True,
    help="The size of the root volume in GiB.",
)
@click.option("--vpc", metavar="NAME", help="The VPC of this name, created if missing; default: the default VPC.")
@click.option("--subnet", metavar="ID", help="The subnet; default: one of the VPC's.")
@click.option("--security-group", "groups", metavar="ID", multiple=True, help="The security group; repeatable.")
@click.option("--ipv6", is_flag=True, help="Assign an IPv6 address, if the subnet has an IPv6 block.")
@click.option("--count", type=click.IntRange(1, 1000), default=1, show_default=True, help="The number of instances.")
@click.option(
    "--timeout",
    metavar="DURATION",
    callback=as_seconds,
    help="Fail unless it is ready in this time; default: the setting boot_timeout.",
)
@click.option("--tag", default="pycloudlib", show_default=True, help="The name prefix of created resources.")
@key_option
@username_option
@json_option
@cloud_options
def launch(
    *,
    cloud: Cloud,
    image: str,
    command: Sequence[str],
    keep: bool,
    shell: bool,
    as_json: bool,
    tag: str,
    ttl: float | None,
    timeout: float | None,
    key: Path | None,
    count: int,
    daily: bool,
    arch: str,
    image_type: str,
    may_pull: bool,
    **request: Any,
) -> int:
    """Launch an instance, and delete it when the command ends.

    IMAGE is an AMI id, a release such as noble, 24.04, or bookworm for its newest released image, or the name of an
    image.

    The command waits until the instance is ready. It deletes the instance after COMMAND, with COMMAND's exit status, or
    without COMMAND after Ctrl-C. With --keep, the instance remains. An instance that is not ready in time is always
    deleted.
    """
    _check_usage(command=command, shell=shell, as_json=as_json, count=count)
    check_pull(may_pull=may_pull, local=cloud.local)
    overrides = {"ttl": ttl, "boot_timeout": timeout, **key_settings(key)}
    login = Login(cloud, key, request["username"])
    ec2 = cloud.open(tag, **overrides)
    with cleaned_up(ec2, keep=keep):
        with step(f"looking for {image}"):
            image_id = _image_id(cloud, ec2, image, may_pull=may_pull, daily=daily, arch=arch, image_type=image_type)
        with step(f"launching {image_id}"):
            instances = _launched(ec2, image_id, count, **request)
        if keep:
            # Delete the key pair from EC2: the kept instance already has the public key.
            for name in ec2.created_keys:
                ec2.delete_key(name)
        has_session = bool(command) or shell
        if keep or not has_session:
            _print(instances, ec2, login, as_json=as_json, to_stderr=has_session)
        if not keep:
            return _use(instances, command, shell=shell)
    return _use(instances, command, shell=shell) if has_session else 0


def _check_usage(*, command: Sequence[str], shell: bool, as_json: bool, count: int) -> None:
    if as_json and (command or shell):
        raise click.UsageError("--json prints the instance, not the output of a command: use `pycloudlib exec --json`")
    if shell and command:
        raise click.UsageError("--ssh opens a session: omit --ssh or the command")
    if shell and count > 1:
        raise click.UsageError("--ssh opens a session on one instance: omit --count")
    if shell:
        require_openssh()


def _image_id(cloud: Cloud, ec2: EC2, image: str, *, may_pull: bool, daily: bool, arch: str, image_type: str) -> str:
    def find() -> str:
        return newest_image(ec2, image, daily=daily, arch=arch, image_type=image_type)

    if not cloud.local or image.startswith("ami-"):
        return find()
    from pycloudlib.local.images.sources.published import Wanted

    requested = Wanted(image, daily, arch, image_type)
    return found_or_pulled(find, requested, may_pull=may_pull, config_file=cloud.config_file)


def _launched(
    ec2: EC2,
    image_id: str,
    count: int,
    *,
    user_data: Any,
    vpc: str | None,
    subnet: str | None,
    groups: Sequence[str],
    ipv6: bool,
    **request: Any,
) -> list[EC2Instance]:
    if subnet is not None:
        request["SubnetId"] = subnet
    if groups:
        request["SecurityGroupIds"] = list(groups)
    request["user_data"] = user_data.read() if user_data else None
    request["vpc"] = _vpc(ec2, vpc)
    request["enable_ipv6"] = ipv6
    request["wait"] = True
    return [ec2.launch(image_id, **request)] if count == 1 else [*ec2.launch_many(image_id, count, **request)]


def _vpc(ec2: EC2, name: str | None) -> VPC | None:
    if name is None:
        return None
    if name.startswith("vpc-"):
        raise click.UsageError("--vpc takes the name of a VPC, not its id; for a VPC without a name, use --subnet")
    return ec2.get_or_create_vpc(name)


def _print(instances: Sequence[EC2Instance], ec2: EC2, login: Login, *, as_json: bool, to_stderr: bool) -> None:
    descriptions = [_next_steps(instance, ec2, login) for instance in instances]
    if as_json:
        print_json([{**facts(instance), **details} for instance, details in zip(instances, descriptions, strict=True)])
        return
    for instance, details in zip(instances, descriptions, strict=True):
        instance_facts = facts(instance)
        shown_facts = {
            "instance": instance.id,
            "address": instance.ip,
            "expires": instance_facts["expires"] or "",
            **details,
        }
        print_facts(shown_facts, err=to_stderr)


def _next_steps(instance: EC2Instance, ec2: EC2, login: Login) -> dict[str, str]:
    delete = ["pycloudlib", "delete", *login.cloud.words, instance.id]
    if ec2.created_vpcs:
        # The instance is deleted with the VPC that was created for it.
        delete = [*sweep_command().split(), *login.cloud.words]
    return {
        "reach": shown(["pycloudlib", "ssh", *login.words, instance.id]),
        "ssh": _ssh_command(instance),
        "delete": shown(delete),
    }


def _ssh_command(instance: EC2Instance) -> str:
    """Return the ssh command; empty if the known_hosts file cannot be written, which is no reason to fail a launch."""
    try:
        return shown(ssh_words(instance))
    except SSHError:
        raise
    except PycloudlibError as error:
        click.echo(f"pycloudlib: cannot print the ssh command: {error}", err=True)
        return ""


def _use(instances: Sequence[EC2Instance], command: Sequence[str], *, shell: bool) -> int:
    if command:
        return run_in(instances, command)
    if shell:
        return subprocess.run(ssh_words(instances[0]), check=False).returncode
    click.echo("Press Ctrl-C to delete it." if len(instances) == 1 else "Press Ctrl-C to delete them.", err=True)
    _wait_until_gone(instances)
    click.echo("The instance has terminated itself.", err=True)
    return 0


def _wait_until_gone(instances: Sequence[EC2Instance]) -> None:
    from pycloudlib.deadline import Deadline
    from pycloudlib.waiting import wait_until

    wait_until(
        lambda: all(instance.state.is_ending for instance in instances),
        what="the machine to end",
        deadline=Deadline.never(),
        interval=5.0,
        last_seen=lambda: ", ".join(instance.id for instance in instances),
    )
