"""Which EC2 a command works with, and as whom it logs in: the options that commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pycloudlib.errors import LocalEC2Error

if TYPE_CHECKING:
    from pycloudlib import EC2, EC2Instance
    from pycloudlib.config import Settings
    from pycloudlib.local import ServerInfo

Callback = Callable[..., Any]

CONFIG_NAMES = ("--config", "--config-file")


@dataclass(frozen=True)
class Cloud:
    """Which EC2 is meant, as far as the command line says.

    Args:
        config_file: the settings file; default the usual one.
        region: the region.
        profile: a profile of ~/.aws/config.
        endpoint_url: where EC2 is.
        local: whether the local EC2 is meant that runs on this machine.
    """

    config_file: Path | None = None
    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    local: bool = False

    def settings(self, **overrides: object) -> Settings:
        """Read the settings.

        Args:
            **overrides: further ones that the command line says; None says nothing.

        Raises:
            ConfigError: they cannot be used; with every problem found.
            LocalEC2Error: the local EC2 is meant, and none runs.
        """
        from pycloudlib.config import load_settings

        said = {"region": self.region, "profile": self.profile, "endpoint_url": self.endpoint_url}
        if not self.local:
            return load_settings(self.config_file, overrides={**said, **overrides})
        info = running_local_ec2()
        there = {key: value for key, value in info.settings().items() if key != "region" or self.region is None}
        settings = load_settings(self.config_file, overrides={**said, **there, **overrides})
        # What the account at AWS knows the key by, nobody knows here.
        return replace(settings, key_name=None)

    def open(self, tag: str = "pycloudlib", **overrides: object) -> EC2:
        """Open EC2.

        Args:
            tag: names what is created.
            **overrides: as for settings().

        Raises:
            CloudSetupError: the settings or the credentials cannot be used.
            LocalEC2Error: the local EC2 is meant, and none runs.
        """
        from pycloudlib import EC2

        return EC2.from_settings(self.settings(**overrides), tag)

    @property
    def words(self) -> list[str]:
        """The options that lead here again."""
        named = (
            ("--config", self.config_file),
            ("--region", self.region),
            ("--profile", self.profile),
            ("--endpoint-url", self.endpoint_url),
        )
        words = ["--local"] if self.local else []
        return words + [word for name, value in named if value is not None for word in (name, str(value))]


@dataclass(frozen=True)
class Login:
    """How an instance of another run is found and logged in to.

    Args:
        cloud: where it is.
        key: the key's file, private or public; default the configured one.
        username: who logs in; default as the settings or the image say.
    """

    cloud: Cloud
    key: Path | None = None
    username: str | None = None

    def open(self) -> EC2:
        """Open EC2, with this key.

        Raises:
            CloudSetupError: the settings or the credentials cannot be used.
        """
        return self.cloud.open(**key_settings(self.key))

    def instance(self, instance_id: str) -> EC2Instance:
        """Find one instance.

        Raises:
            InstanceNotFoundError: there is none.
            CloudSetupError: the settings or the credentials cannot be used.
        """
        return self.open().get_instance(instance_id, username=self.username)

    @property
    def words(self) -> list[str]:
        """The options that lead there again."""
        words = list(self.cloud.words)
        if self.key is not None:
            words += ["--key", str(self.key)]
        if self.username is not None:
            words += ["--username", self.username]
        return words


def key_settings(key: Path | None) -> dict[str, Any]:
    """The settings that make this key the one in use.

    Args:
        key: the key's file, private or public; None for the configured one.
    """
    if key is None:
        return {}
    return {"public_key_path": key} if key.suffix == ".pub" else {"private_key_path": key}


def running_local_ec2() -> ServerInfo:
    """Find the local EC2 that is meant when none is named: that named "default", or the only one.

    Raises:
        LocalEC2Error: none runs, or several do.
    """
    from pycloudlib.local.daemon import DEFAULT_NAME, running_servers

    servers = running_servers()
    if DEFAULT_NAME in servers:
        return servers[DEFAULT_NAME]
    if not servers:
        raise LocalEC2Error("no local EC2 is running: start one with `pycloudlib local start`")
    if len(servers) > 1:
        raise LocalEC2Error(
            f"several local EC2s run ({', '.join(servers)}) and none is named {DEFAULT_NAME!r}: "
            "use --config with the settings file of the one that is meant"
        )
    return next(iter(servers.values()))


_CLOUD_OPTIONS = (
    click.option(
        *CONFIG_NAMES,
        "config_file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="The settings; default: the usual file.",
    ),
    click.option("--region", help="Where, such as eu-central-1."),
    click.option("--profile", help="A profile of ~/.aws/config."),
    click.option("--endpoint-url", help="Where EC2 is, when it is not AWS's own."),
)
_RUNNING_LOCAL = click.option("--local", is_flag=True, help="The local EC2 that runs on this machine.")
_OWN_LOCAL = click.option("--local", is_flag=True, help="A local EC2 that lasts as long as the command.")

key_option = click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The SSH key, private or public; default: the configured one.",
)
username_option = click.option("--username", help="Who logs in; default: as the settings or the image say.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def cloud_options(callback: Callback, *, own_local: bool = False) -> Callback:
    """Give a command the options that say which EC2 is meant; it gets them as `cloud`.

    Args:
        callback: the command's function.
        own_local: whether `--local` means a local EC2 that the command starts itself; default the one that runs.
    """

    @wraps(callback)
    def with_cloud(
        *,
        config_file: Path | None,
        region: str | None,
        profile: str | None,
        endpoint_url: str | None,
        local: bool,
        **others: Any,
    ) -> Any:
        if local and (profile or endpoint_url):
            raise click.UsageError("--local says where EC2 is, and with which credentials: leave out the other options")
        return callback(cloud=Cloud(config_file, region, profile, endpoint_url, local), **others)

    return with_options(with_cloud, (*_CLOUD_OPTIONS, _OWN_LOCAL if own_local else _RUNNING_LOCAL))


def login_options(callback: Callback) -> Callback:
    """Give a command the options that say how it logs in, and where; it gets them as `login`."""

    @wraps(callback)
    def with_login(*, cloud: Cloud, key: Path | None, username: str | None, **others: Any) -> Any:
        return callback(login=Login(cloud, key, username), **others)

    return with_options(cloud_options(with_login), (key_option, username_option))


def options_among(arguments: Sequence[str]) -> list[str]:
    """The words of a command line that say which EC2 is meant, for another command line.

    Args:
        arguments: the whole command line.
    """
    valued = (*CONFIG_NAMES, "--region", "--profile", "--endpoint-url")
    words = list(arguments[: arguments.index("--")] if "--" in arguments else arguments)
    found = ["--local"] if "--local" in words else []
    for at, word in enumerate(words):
        if word in valued:
            found += words[at : at + 2]
        elif word.startswith(tuple(f"{name}=" for name in valued)):
            found.append(word)
    return found


def with_options(callback: Callback, options: Sequence[Callable[[Callback], Callback]]) -> Callback:
    """Give a command several options, which help shows in this order."""
    for option in reversed(options):
        callback = option(callback)
    return callback
