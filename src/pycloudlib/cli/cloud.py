"""The shared options for the EC2 endpoint and the login."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pycloudlib.cli.files import INPUT_FILE
from pycloudlib.errors import LocalEC2Error, LocalEC2NotRunningError

if TYPE_CHECKING:
    from pycloudlib import EC2, EC2Instance
    from pycloudlib.config import Settings
    from pycloudlib.local import ServerInfo

Callback = Callable[..., Any]

CONFIG_NAMES = ("--config", "--config-file")


@dataclass(frozen=True)
class Cloud:
    """The EC2 endpoint according to the command line.

    Args:
        config_file: the settings file; default the usual one.
        region: the region; default the settings'.
        profile: a profile of ~/.aws/config; default the settings'.
        endpoint_url: the URL of an endpoint other than AWS's; default the settings'.
        local: whether to use the local EC2 that runs on this machine; default no.
    """

    config_file: Path | None = None
    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    local: bool = False

    def settings(self, **overrides: object) -> Settings:
        """Load the settings.

        Args:
            **overrides: further settings of the command line; None counts as unset.

        Raises:
            ConfigError: the settings are invalid; the message names every problem.
            LocalEC2NotRunningError: `local` is set, and no local EC2 is running.
        """
        from pycloudlib.config import load_settings

        given = {"region": self.region, "profile": self.profile, "endpoint_url": self.endpoint_url}
        if not self.local:
            return load_settings(self.config_file, overrides={**given, **overrides})
        info = running_local_ec2()
        endpoint_settings = {
            key: value for key, value in info.settings().items() if key != "region" or self.region is None
        }
        settings = load_settings(self.config_file, overrides={**given, **endpoint_settings, **overrides})
        # The name of a key pair at AWS is unknown to the local EC2.
        return replace(settings, key_name=None)

    def open(self, tag: str = "pycloudlib", **overrides: object) -> EC2:
        """Open an EC2 session.

        Args:
            tag: the name prefix of created resources; default "pycloudlib".
            **overrides: further settings; see `settings()`.

        Raises:
            CloudSetupError: the settings or the credentials are invalid.
            LocalEC2NotRunningError: `local` is set, and no local EC2 is running.
        """
        from pycloudlib import EC2

        return EC2.from_settings(self.settings(**overrides), tag)

    @property
    def words(self) -> list[str]:
        """The command-line options for this endpoint."""
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
    """The login to an instance of another run.

    Args:
        cloud: the EC2 endpoint.
        key: the key file, private or public; default the configured one.
        username: the login user; default the settings' or the image's.
    """

    cloud: Cloud
    key: Path | None = None
    username: str | None = None

    def open(self) -> EC2:
        """Open an EC2 session with this key.

        Raises:
            CloudSetupError: the settings or the credentials are invalid.
        """
        return self.cloud.open(**key_settings(self.key))

    def instance(self, instance_id: str) -> EC2Instance:
        """Return an existing instance.

        Raises:
            InstanceNotFoundError: the instance does not exist.
            CloudSetupError: the settings or the credentials are invalid.
        """
        return self.open().get_instance(instance_id, username=self.username)

    @property
    def words(self) -> list[str]:
        """The command-line options for this login."""
        words = list(self.cloud.words)
        if self.key is not None:
            words += ["--key", str(self.key)]
        if self.username is not None:
            words += ["--username", self.username]
        return words


def key_settings(key: Path | None) -> dict[str, Any]:
    """Return the settings that select a key.

    Args:
        key: the key file, private or public; None for the configured one.
    """
    if key is None:
        return {}
    return {"public_key_path": key} if key.suffix == ".pub" else {"private_key_path": key}


def running_local_ec2() -> ServerInfo:
    """Return the default local EC2: the one named "default", or else the only running one.

    Raises:
        LocalEC2NotRunningError: none is running.
        LocalEC2Error: several are running, and none is named "default".
    """
    from pycloudlib.local.daemon import DEFAULT_NAME, running_servers

    servers = running_servers()
    if DEFAULT_NAME in servers:
        return servers[DEFAULT_NAME]
    if not servers:
        raise LocalEC2NotRunningError("no local EC2 is running: start one with `pycloudlib local start`")
    if len(servers) > 1:
        raise LocalEC2Error(
            f"several local EC2s are running ({', '.join(servers)}) and none is named {DEFAULT_NAME!r}: "
            "use --config with the settings file of one of them"
        )
    return next(iter(servers.values()))


config_option = click.option(
    *CONFIG_NAMES,
    "config_file",
    type=INPUT_FILE,
    help="The settings file; default: PYCLOUDLIB_CONFIG, ~/.config/pycloudlib.toml, or /etc/pycloudlib.toml.",
)
_CLOUD_OPTIONS = (
    config_option,
    click.option("--region", help="The region, such as eu-central-1."),
    click.option("--profile", help="A profile of ~/.aws/config."),
    click.option("--endpoint-url", help="The URL of an EC2 endpoint other than AWS's."),
)
_RUNNING_LOCAL = click.option("--local", is_flag=True, help="Use the running local EC2.")
_OWN_LOCAL = click.option("--local", is_flag=True, help="Start a local EC2 for the duration of the command.")

key_option = click.option(
    "--key",
    type=INPUT_FILE,
    help="The SSH key, private or public; default: the configured one.",
)
username_option = click.option("--username", help="The login user; default: from the settings or the image.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def cloud_options(callback: Callback, *, own_local: bool = False) -> Callback:
    """Add the options for the EC2 endpoint to a command, which receives them as `cloud`.

    Args:
        callback: the command's function.
        own_local: whether `--local` means a local EC2 that the command starts itself; default the running one.
    """

    @wraps(callback)
    def with_cloud(
        *,
        config_file: Path | None,
        region: str | None,
        profile: str | None,
        endpoint_url: str | None,
        local: bool,
        **kwargs: Any,
    ) -> Any:
        if local and (profile or endpoint_url):
            raise click.UsageError(
                "--local determines the endpoint and the credentials: omit --profile and --endpoint-url"
            )
        return callback(cloud=Cloud(config_file, region, profile, endpoint_url, local), **kwargs)

    return with_options(with_cloud, (*_CLOUD_OPTIONS, _OWN_LOCAL if own_local else _RUNNING_LOCAL))


def login_options(callback: Callback) -> Callback:
    """Add the options for the login to a command, which receives them as `login`."""

    @wraps(callback)
    def with_login(*, cloud: Cloud, key: Path | None, username: str | None, **kwargs: Any) -> Any:
        return callback(login=Login(cloud, key, username), **kwargs)

    return with_options(cloud_options(with_login), (key_option, username_option))


def options_among(arguments: Sequence[str]) -> list[str]:
    """Return the options for the EC2 endpoint in a command line, for another command line.

    Args:
        arguments: the whole command line.
    """
    valued = (*CONFIG_NAMES, "--region", "--profile", "--endpoint-url")
    words = list(arguments[: arguments.index("--")] if "--" in arguments else arguments)
    options = ["--local"] if "--local" in words else []
    for position, word in enumerate(words):
        if word in valued:
            options += words[position : position + 2]
        elif word.startswith(tuple(f"{name}=" for name in valued)):
            options.append(word)
    return options


def with_options(callback: Callback, options: Sequence[Callable[[Callback], Callback]]) -> Callback:
    """Add several options to a command, in the order of its help."""
    for option in reversed(options):
        callback = option(callback)
    return callback
