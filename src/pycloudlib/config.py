"""The settings: TOML file, environment, and arguments, merged into a validated, frozen Settings.

Arguments take precedence over the environment, which takes precedence over the TOML file. boto3's own chain (~/.aws,
SSO, the instance's role) supplies the missing settings.
"""

from __future__ import annotations

import difflib
import logging
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import Any, TextIO

from pycloudlib import toml_sections
from pycloudlib.errors import ConfigError
from pycloudlib.setting_values import (
    CHECKS,
    CloudInitFailure,
    HostKeysMode,
    Network,
    RefusedError,
    described,
    is_loopback,
    type_name,
)

log = logging.getLogger(__name__)

ConfigFile = str | PathLike[str] | TextIO

SECTION = "ec2"
FILE_VARIABLE = "PYCLOUDLIB_CONFIG"
USER_FILE = Path("~/.config/pycloudlib.toml")
SYSTEM_FILE = Path("/etc/pycloudlib.toml")

SECRET_KEYS = frozenset({"secret_access_key", "session_token"})
CREDENTIAL_KEYS = ("access_key_id", "secret_access_key", "session_token")
IDENTITY_KEYS = ("profile", *CREDENTIAL_KEYS)
KEY_PAIR_KEYS = ("public_key_path", "private_key_path", "key_name")

AWS_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "profile": ("AWS_DEFAULT_PROFILE", "AWS_PROFILE"),
    "access_key_id": ("AWS_ACCESS_KEY_ID",),
    "secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
    "session_token": ("AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"),
    "endpoint_url": ("AWS_ENDPOINT_URL_EC2", "AWS_ENDPOINT_URL"),
}
"""botocore's environment variables, by key; the first one that is set takes precedence."""


class Values(dict[str, Any]):
    """Values by key. The KeyError of a missing key says where to set it."""

    def __missing__(self, key: str) -> Any:
        raise KeyError(f"{key} must be set in pycloudlib.toml to make this call")


@dataclass(frozen=True)
class Settings:
    """The validated settings of the section [ec2], the environment, and the arguments.

    Args:
        region: the region, such as "eu-central-1"; default from boto3's chain.
        profile: a profile of ~/.aws/config; default from boto3's chain.
        access_key_id: the AWS access key id, together with `secret_access_key`; default from boto3's chain.
        secret_access_key: the AWS secret access key; see `access_key_id`.
        session_token: the session token of temporary credentials.
        endpoint_url: the URL of an endpoint other than AWS's; default AWS's own.
        public_key_path: the SSH public key; default id_ed25519.pub or id_rsa.pub in ~/.ssh.
        private_key_path: the SSH private key; default the one beside the public key.
        key_name: the name of an existing EC2 key pair; default none.
        username: the login user; default the image's.
        ssh_port: the port of sshd; default 22.
        ssh_cidr: the CIDR block from which security groups allow SSH.
        host_keys: how to verify the host keys of instances: "console", "pinned" (default), or "insecure".
        ttl: seconds after which a sweep may delete created resources; default never.
        boot_timeout: seconds until an instance must be ready; default 600.
        wait_on_launch: whether `launch()` waits until the instance is ready; default yes.
        cloud_init_failure: the reaction to a cloud-init error while waiting: "raise" (default) or "warn".
        source: the settings file, if any.
        origins: the origin of each key: an argument, a variable, or the file.
    """

    region: str | None = None
    profile: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    endpoint_url: str | None = None
    public_key_path: Path | None = None
    private_key_path: Path | None = None
    key_name: str | None = None
    username: str | None = None
    ssh_port: int = 22
    ssh_cidr: Network | None = None
    host_keys: HostKeysMode = "pinned"
    ttl: int | None = None
    boot_timeout: float = 600.0
    wait_on_launch: bool = True
    cloud_init_failure: CloudInitFailure = "raise"
    source: str | None = None
    origins: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def as_mapping(self) -> Values:
        """Return the set keys without secrets, in the types of a TOML file: paths and networks are strings."""
        values = {key: getattr(self, key) for key in KEYS if key not in SECRET_KEYS}
        shown = {key: value for key, value in values.items() if value is not None}
        return Values((key, value if isinstance(value, (int, float)) else str(value)) for key, value in shown.items())


KEYS = tuple(setting.name for setting in fields(Settings) if setting.name not in ("source", "origins"))
"""The keys of the section [ec2]."""


class Config(Values):
    """A whole TOML file: its sections by name, each a dict."""

    def __repr__(self) -> str:
        # Do not show the sections, which may contain secrets.
        return f"Config(sections={sorted(self)})"


def parse_config(config_file: ConfigFile | None = None) -> Config:
    """Parse the TOML file without validating its values.

    Args:
        config_file: a path, or an open text stream; default: PYCLOUDLIB_CONFIG, or the first existing file of
            ~/.config/pycloudlib.toml and /etc/pycloudlib.toml.

    Returns:
        The contents, empty without a file. Sections other than [ec2] that are not valid TOML are skipped.

    Raises:
        ConfigError: the file does not exist or cannot be read, or [ec2] is not valid TOML.
    """
    return _read_file(config_file).config


def load_settings(config_file: ConfigFile | None = None, *, overrides: Mapping[str, object] | None = None) -> Settings:
    """Load and validate all settings.

    An empty string counts as unset. A profile and credentials form a set: they come from the source with the highest
    precedence that has either, and are never mixed. The same holds for the two files of an SSH key pair.

    Args:
        config_file: a path, or an open text stream; see `parse_config()`.
        overrides: arguments by key; None counts as unset.

    Raises:
        ConfigError: the settings are invalid; the message names every problem.
    """
    file = _read_file(config_file)
    problems: list[str] = []
    sources = [
        _arguments(overrides or {}, problems),
        _pycloudlib_environment(),
        _aws_environment(),
        _section(file, problems),
    ]
    findings = _by_precedence(sources) | _identity(sources, problems) | _key_pair(sources)
    values = {key: _checked(key, finding, problems) for key, finding in findings.items()}
    if problems:
        raise ConfigError(problems)
    origins = {key: finding.where for key, finding in findings.items()}
    return Settings(**values, source=file.name, origins=origins)


@dataclass(frozen=True)
class _File:
    name: str | None
    config: Config
    readable_by_others: bool = False


@dataclass(frozen=True)
class _Finding:
    where: str
    value: object


_Findings = dict[str, _Finding]


def _read_file(config_file: ConfigFile | None) -> _File:
    if config_file is not None and not isinstance(config_file, (str, PathLike)):
        name = str(getattr(config_file, "name", "configuration stream"))
        return _File(name, _parse(_stream_text(config_file, name), name))
    if config_file is not None:
        return _must_read(Path(config_file), "")
    if os.environ.get(FILE_VARIABLE):
        return _must_read(Path(os.environ[FILE_VARIABLE]), f" (named by {FILE_VARIABLE})")
    return _read_default(USER_FILE) or _read_default(SYSTEM_FILE) or _File(None, Config())


def _stream_text(stream: TextIO, name: str) -> str:
    try:
        text = stream.read()
    except OSError as error:
        raise ConfigError([f"{name}: cannot be read: {error.strerror or error}"]) from error
    except UnicodeDecodeError:
        raise ConfigError([f"{name}: is not valid UTF-8"]) from None
    except ValueError:
        raise ConfigError([f"{name}: is already closed"]) from None
    if not isinstance(text, str):
        raise ConfigError([f"{name}: is a stream of bytes; open it as text"])
    return text


def _must_read(path: Path, origin: str) -> _File:
    file = _read_path(path)
    if file is None:
        raise ConfigError([f"{path}{origin}: there is no such file"])
    return file


def _read_default(path: Path) -> _File | None:
    """Read one of the default files, if it exists and is accessible.

    A container's user may have no home directory, or another user's; then the file counts as missing.
    """
    try:
        path.expanduser().stat()
    except (RuntimeError, FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    return _read_path(path)


def _read_path(path: Path) -> _File | None:
    try:
        path = path.expanduser()
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except RuntimeError:
        raise ConfigError([f"{path}: there is no such home directory"]) from None
    except UnicodeDecodeError:
        # Do not chain: the original error quotes the file, which may contain a secret.
        raise ConfigError([f"{path}: is not valid UTF-8"]) from None
    return _File(str(path), _parse(text, str(path)), bool(mode & (stat.S_IRGRP | stat.S_IROTH)))


def _parse(text: str, name: str) -> Config:
    try:
        return Config(toml_sections.parse(text, own=SECTION))
    except toml_sections.TomlSyntaxError as error:
        where = name if error.line is None else f"{name}, line {error.line}"
        reason = f": {error}" if str(error) else ""
        # Do not chain: a traceback must not contain secrets.
        raise ConfigError([f"{where}: is not valid TOML{reason}"]) from None


def _arguments(overrides: Mapping[str, object], problems: list[str]) -> _Findings:
    problems += [f"argument {key}: {_unknown(key)}" for key in overrides if key not in KEYS]
    return {key: _Finding(f"argument {key}", value) for key, value in overrides.items() if _is_set(value)}


def _pycloudlib_environment() -> _Findings:
    return {key: _variable(name) for key in KEYS if os.environ.get(name := f"PYCLOUDLIB_{key.upper()}")}


def _aws_environment() -> _Findings:
    values = {
        key: _variable(name) for key, names in AWS_VARIABLES.items() for name in reversed(names) if os.environ.get(name)
    }
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        values.pop("endpoint_url", None)
    if "access_key_id" not in values and "secret_access_key" not in values:
        # Ignore a leftover token of other credentials, like botocore does.
        values.pop("session_token", None)
    return values


def _variable(name: str) -> _Finding:
    return _Finding(f"environment variable {name}", os.environ[name])


def _section(file: _File, problems: list[str]) -> _Findings:
    if file.config and SECTION not in file.config:
        log.warning("%s", _without_section(file))
    section = file.config.get(SECTION, {})
    if not isinstance(section, dict):
        problems.append(f"{file.name}: [{SECTION}] must be a table, not {described(section)}")
        return {}
    where = f"{file.name}: [{SECTION}]"
    problems += [f"{where} {key}: {_unknown(key)}" for key in section if key not in KEYS]
    # An EC2 on the loopback interface usually accepts any credentials.
    if (
        file.readable_by_others
        and any(section.get(key) for key in SECRET_KEYS)
        and not is_loopback(str(section.get("endpoint_url", "")))
    ):
        log.warning("%s holds a secret and is readable by other users: run `chmod 600 %s`", file.name, file.name)
    return {key: _Finding(f"{where} {key}", value) for key, value in section.items() if _is_set(value)}


def _without_section(file: _File) -> str:
    misplaced = [key for key in file.config if key in KEYS]
    if misplaced:
        return f"{file.name} has no section [{SECTION}]: write [{SECTION}] above {', '.join(misplaced)}"
    sections = ", ".join(f"[{name}]" for name in file.config)
    return f"{file.name} has no section [{SECTION}], only {sections}: it has no EC2 settings"


def _is_set(value: object) -> bool:
    return value is not None and value != ""


def _unknown(key: str) -> str:
    nearest = difflib.get_close_matches(str(key), KEYS, n=1)
    return f"unknown key; did you mean {nearest[0]}?" if nearest else f"unknown key; known ones: {', '.join(KEYS)}"


_GROUPED_KEYS = {*IDENTITY_KEYS, *KEY_PAIR_KEYS}


def _by_precedence(sources: list[_Findings]) -> _Findings:
    merged: _Findings = {}
    for source in reversed(sources):
        merged |= {key: finding for key, finding in source.items() if key in KEYS and key not in _GROUPED_KEYS}
    return merged


def _identity(sources: list[_Findings], problems: list[str]) -> _Findings:
    identities = ({key: source[key] for key in IDENTITY_KEYS if key in source} for source in sources)
    identity = next(filter(None, identities), {})
    credentials = [key for key in CREDENTIAL_KEYS if key in identity]
    if credentials:
        problems += [
            f"{identity[credentials[0]].where}: given without {missing}; all credentials must come from the same source"
            for missing in ("access_key_id", "secret_access_key")
            if missing not in identity
        ]
    return identity


def _key_pair(sources: list[_Findings]) -> _Findings:
    # An EC2 key name belongs to the key pair of the same or a later source, never to a replaced one.
    findings: _Findings = {}
    for source in sources:
        findings = {key: source[key] for key in KEY_PAIR_KEYS if key in source} | findings
        if "public_key_path" in findings or "private_key_path" in findings:
            break
    return findings


def _checked(key: str, finding: _Finding, problems: list[str]) -> Any:
    try:
        return CHECKS[key](finding.value)
    except RefusedError as refused:
        shown = type_name(finding.value) if key in CREDENTIAL_KEYS else described(finding.value)
        problems.append(f"{finding.where}: found {shown}; {refused}")
        return None
