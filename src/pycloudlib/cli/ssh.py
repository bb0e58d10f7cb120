"""`pycloudlib ssh`: the user's own OpenSSH, with the verified host key."""

from __future__ import annotations

from collections.abc import Sequence

import click

from pycloudlib.cli.cloud import Login, login_options
from pycloudlib.cli.examples import examples
from pycloudlib.cli.exec_replace import exec_replace
from pycloudlib.cli.openssh import require_openssh, shown, ssh_config, ssh_words
from pycloudlib.cli.parsing import TakesCommand


@click.command(
    cls=TakesCommand,
    optional=True,
    epilog=examples(
        "pycloudlib ssh i-0123456789abcdef0",
        "pycloudlib ssh i-0123456789abcdef0 -- journalctl -b --no-pager",
        "pycloudlib ssh i-0123456789abcdef0 -o 'LocalForward=8080 localhost:80'",
        "pycloudlib ssh --print i-0123456789abcdef0",
        "pycloudlib ssh --print-config i-0123456789abcdef0 > ssh_config",
    ),
)
@click.argument("instance_id", metavar="INSTANCE")
@click.option("-o", "options", metavar="OPTION", multiple=True, help="An option for ssh; repeatable.")
@click.option("--print", "only_print", is_flag=True, help="Print the ssh command instead of running it.")
@click.option(
    "--print-config", is_flag=True, help="Print the instance's block of an OpenSSH configuration file instead."
)
@login_options
def ssh(
    *,
    login: Login,
    instance_id: str,
    command: Sequence[str],
    options: Sequence[str],
    only_print: bool,
    print_config: bool,
) -> None:
    """Open a session on an instance with your own OpenSSH.

    With a COMMAND, run that instead. The exit status is ssh's.

    The host key is first verified according to the setting host_keys, and ssh accepts no other key. ~/.ssh/known_hosts
    and the agent are not used; the rest of ~/.ssh/config applies.
    """
    if print_config:
        if only_print or options or command:
            raise click.UsageError("--print-config takes neither --print, nor -o, nor a COMMAND")
        click.echo(ssh_config(login.instance(instance_id)), nl=False)
        return
    if not only_print:
        require_openssh()
    instance = login.instance(instance_id)
    words = ssh_words(instance, options, command)
    if only_print:
        click.echo(shown(words))
        return
    exec_replace(words)
