"""The plugin's options, from the command line, the environment, and pytest's configuration file."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from pycloudlib.releases import DEFAULT_RELEASE

if TYPE_CHECKING:
    from pycloudlib.setting_values import HostKeysMode

DEFAULT_TAG = "pytest"
DEFAULT_INSTANCE_TYPE = "t3.micro"
DEFAULT_LOGS_DIR = "cloud-logs"

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off", "")


class When(Enum):
    """The condition for keeping an instance, or for collecting its logs."""

    NEVER = "never"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"

    def applies(self, *, failed: bool) -> bool:
        """Return whether the condition is met.

        Args:
            failed: whether a test that used the instance failed.
        """
        return self is When.ALWAYS or (self is When.ON_FAILURE and failed)


@dataclass(frozen=True)
class CloudOptions:
    """The validated options.

    Args:
        local: whether to start a local EC2 for the run.
        local_network: the network of the local EC2: "auto", "namespaces", or "user"; None for its default.
        local_host_ports: the TCP ports of this computer's loopback that machines of the local EC2 reach.
        local_inside: whether to run the session inside the default VPC of the local EC2.
        local_pull: whether to download images that the local EC2 does not have.
        config: the settings file; None for the default one.
        region: the region, such as "eu-central-1"; None for the settings'.
        profile: a profile of ~/.aws/config; None for the settings'.
        image: the image under test: an AMI id, a release, or the name of an image.
        instance_type: the default instance type.
        tag: the name prefix of created resources.
        ttl: seconds after which created resources expire; None for the settings'.
        keep: when to keep instances.
        logs: when to collect the logs of instances.
        logs_dir: the directory for the logs.
        host_keys: how to verify host keys; None for the settings'.
        required: whether a missing configuration fails tests, instead of skipping them.
    """

    local: bool
    local_network: str | None
    local_host_ports: tuple[int, ...]
    local_inside: bool
    local_pull: bool
    config: Path | None
    region: str | None
    profile: str | None
    image: str
    instance_type: str
    tag: str
    ttl: int | None
    keep: When
    logs: When
    logs_dir: Path
    host_keys: HostKeysMode | None
    required: bool

    @property
    def sweep_arguments(self) -> list[str]:
        """The options of `pycloudlib sweep` for the same cloud."""
        arguments = {"--config-file": self.config, "--region": self.region, "--profile": self.profile}
        return [word for name, value in arguments.items() if value for word in (name, str(value))]


@dataclass(frozen=True)
class Option:
    """An option.

    Args:
        name: the name on the command line, without "--cloud-".
        help: the help text, one line.
        metavar: the placeholder of the value; empty for a flag.
        choices: the valid values; default any.
    """

    name: str
    help: str
    metavar: str = ""
    choices: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """The name on the command line."""
        return f"--cloud-{self.name}"

    @property
    def ini(self) -> str:
        """The name in pytest's configuration file."""
        return f"cloud_{self.name}".replace("-", "_")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"PYCLOUDLIB_{self.name}".replace("-", "_").upper()

    @property
    def is_switch(self) -> bool:
        """Whether the option is a flag without a value."""
        return not self.metavar


ENVIRONMENT = "environment variable"
NETWORKS = ("auto", "namespaces", "user")
_PORTS = 65536
_WHEN = tuple(when.value for when in When)

OPTIONS = (
    Option("local", "start a local EC2 for the run, with virtual machines on this host"),
    Option("local-network", "the network of the local EC2: auto, namespaces, or user", "NETWORK", NETWORKS),
    Option("local-host-ports", "ports of this host's loopback that its instances reach, such as 3128,8000", "PORTS"),
    Option("local-inside", "run the session inside the local EC2's default VPC, to reach private addresses"),
    Option("local-pull", "download missing images of releases into the local EC2"),
    Option("config", "the settings file; default: ~/.config/pycloudlib.toml or /etc/pycloudlib.toml", "FILE"),
    Option("region", "the region; default: from the settings", "NAME"),
    Option("profile", "a profile of ~/.aws/config; default: from the settings", "NAME"),
    Option("image", f"the image under test: an AMI id, a release, or a name; default: {DEFAULT_RELEASE}", "IMAGE"),
    Option("instance-type", f"the instance type; default: {DEFAULT_INSTANCE_TYPE}", "TYPE"),
    Option("tag", f"the name prefix of created resources; default: {DEFAULT_TAG}", "TAG"),
    Option(
        "ttl", "the time to live of created resources, such as 90m; default: from the settings, or never", "DURATION"
    ),
    Option("keep", "when to keep instances after their tests; default: never", "WHEN", _WHEN),
    Option("logs", "when to collect the logs of instances; default: on-failure", "WHEN", _WHEN),
    Option("logs-dir", f"the directory for logs; default: {DEFAULT_LOGS_DIR}", "DIR"),
    Option("host-keys", "how to verify host keys: pinned (default), console, or insecure", "MODE"),
    Option("required", "fail tests, instead of skipping them, when no cloud is configured"),
)


def add_options(parser: pytest.Parser) -> None:
    """Register the options with pytest."""
    group = parser.getgroup("cloud", "instances in EC2 (pycloudlib)")
    for option in OPTIONS:
        more: dict[str, Any] = {"metavar": option.metavar} if option.metavar else {}
        if option.choices:
            more["choices"] = option.choices
        group.addoption(
            option.flag,
            dest=option.ini,
            action="store_true" if option.is_switch else "store",
            default=None,
            help=f"{option.help} (also {option.variable}, and {option.ini} in the configuration file)",
            **more,
        )
        kind: Literal["bool", "string"] = "bool" if option.is_switch else "string"
        parser.addini(option.ini, option.help, type=kind, default=None)


@dataclass(frozen=True)
class _Finding:
    where: str
    value: Any
    base: Path

    @property
    def is_from_environment(self) -> bool:
        return self.where.startswith(ENVIRONMENT)


def read_options(config: pytest.Config) -> CloudOptions:
    """Read the options. The command line takes precedence over the environment, and that over the configuration file.

    Raises:
        pytest.UsageError: an option is invalid; the message has every problem and its place.
    """
    problems: list[str] = []
    findings = {option.name: finding for option in OPTIONS if (finding := _find(config, option, problems))}

    def read(name: str, convert: Callable[[_Finding], Any], default: Any = None) -> Any:
        try:
            return convert(findings[name]) if name in findings else default
        except ValueError as error:
            problems.append(f"{findings[name].where}: found {findings[name].value!r}; {error}")
            return default

    options = CloudOptions(
        local=read("local", _switch, False),
        local_network=read("local-network", _network),
        local_host_ports=read("local-host-ports", _ports, ()),
        local_inside=read("local-inside", _switch, False),
        local_pull=read("local-pull", _switch, False),
        config=read("config", _path),
        region=read("region", partial(_setting, "region")),
        profile=read("profile", _text),
        image=read("image", _text, DEFAULT_RELEASE),
        instance_type=read("instance-type", _text, DEFAULT_INSTANCE_TYPE),
        tag=read("tag", _tag, DEFAULT_TAG),
        ttl=read("ttl", _ttl),
        keep=read("keep", _when, When.NEVER),
        logs=read("logs", _when, When.ON_FAILURE),
        logs_dir=read("logs-dir", _path, config.rootpath / DEFAULT_LOGS_DIR),
        host_keys=read("host-keys", partial(_setting, "host_keys")),
        required=read("required", _switch, False),
    )
    if problems:
        raise pytest.UsageError("\n".join(problems))
    return options


def _find(config: pytest.Config, option: Option, problems: list[str]) -> _Finding | None:
    """Find the value of an option. An empty string counts as unset."""
    directory = config.invocation_params.dir
    places = {
        option.flag: config.getoption(option.ini),
        f"{ENVIRONMENT} {option.variable}": os.environ.get(option.variable),
    }
    for where, value in places.items():
        if value not in (None, ""):
            return _Finding(where, value, directory)
    value = _from_file(config, option, problems)
    # pytest 7 returns [] for an unset option.
    if value in (None, "", []):
        return None
    return _Finding(f"{option.ini} in {config.inipath}", value, config.inipath.parent if config.inipath else directory)


def _from_file(config: pytest.Config, option: Option, problems: list[str]) -> Any:
    """Return the option's value in pytest's configuration file, which pytest validates in part."""
    allowed = "true or false" if option.is_switch else "a string"
    where = f"{option.ini} in {config.inipath}"
    try:
        value = config.getini(option.ini)
    except (ValueError, TypeError, pytest.UsageError) as error:
        reason = str(error).removeprefix(f"{config.inipath}: ")
        problems.append(f"{where}: {reason}; must be {allowed}")
        return None
    if value and not isinstance(value, (str, bool)):
        problems.append(f"{where}: found {value!r}; must be {allowed}")
        return None
    return value


def _text(finding: _Finding) -> str:
    return str(finding.value)


def _path(finding: _Finding) -> Path:
    try:
        return finding.base / Path(finding.value).expanduser()
    except RuntimeError:
        raise ValueError("there is no such home directory") from None


def _switch(finding: _Finding) -> bool:
    text = str(finding.value).lower()
    if text not in (*_TRUE, *_FALSE):
        raise ValueError("must be true or false")
    return text in _TRUE


def _when(finding: _Finding) -> When:
    try:
        return When(finding.value)
    except ValueError:
        raise ValueError(f"must be one of {', '.join(_WHEN)}") from None


def _network(finding: _Finding) -> str:
    if finding.value not in NETWORKS:
        raise ValueError(f"must be one of {', '.join(NETWORKS)}")
    return str(finding.value)


def _ports(finding: _Finding) -> tuple[int, ...]:
    try:
        ports = tuple(int(port) for port in str(finding.value).split(","))
    except ValueError:
        ports = (0,)
    if not all(0 < port < _PORTS for port in ports):
        raise ValueError("must be ports from 1 to 65535, separated by commas")
    return ports


def _tag(finding: _Finding) -> str:
    from pycloudlib.errors import InvalidTagNameError
    from pycloudlib.tags import validate_tag

    try:
        validate_tag(finding.value)
    except InvalidTagNameError as error:
        raise ValueError("; ".join(error.rules_failed)) from None
    return str(finding.value)


def _ttl(finding: _Finding) -> Any:
    number = str(finding.value).strip()
    # The environment variable is that of the setting, which may be seconds.
    if number.isdigit() and not finding.is_from_environment:
        raise ValueError(f"it has no unit: write {number}m, {number}h, or {number}s")
    return _setting("ttl", finding)


def _setting(key: str, finding: _Finding) -> Any:
    from pycloudlib.setting_values import CHECKS, RefusedError

    try:
        return CHECKS[key](finding.value)
    except RefusedError as refused:
        raise ValueError(str(refused)) from None
