"""A check of each requirement of a launch: the settings, EC2, the SSH key, and the programs on this machine."""

from __future__ import annotations

import grp
import os
import platform
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pycloudlib.cli.cloud import Cloud, key_settings
from pycloudlib.errors import ConfigError, CredentialsError, LocalEC2NotRunningError, PycloudlibError
from pycloudlib.installation import install_extras

if TYPE_CHECKING:
    from pycloudlib.config import Settings
    from pycloudlib.ec2.api.session import Session
    from pycloudlib.local import ServerInfo

EXTRAS = {"local": "moto", "cli": "rich", "pytest": "pytest", "report": "jinja2"}
"""A module of each extra, by which to detect the extra."""

MACHINE_PROGRAMS = ("qemu-img", "socat", "setpriv")
KVM = Path("/dev/kvm")
SHOWN_OF_A_KEY_ID = 4
SOME_REGION = "us-east-1"
BOTO3 = "boto3's own chain"


class State(Enum):
    """The result of a check: OK, a note, or missing, so that no launch can succeed."""

    OK = "ok"
    NOTE = "note"
    MISSING = "missing"


@dataclass(frozen=True)
class Check:
    """A checked requirement.

    Args:
        name: the name of the requirement.
        state: the result.
        found: a description of the finding.
        remedy: how to fix it; default none.
    """

    name: str
    state: State
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class SettingOrigin:
    """A setting with its origin.

    Args:
        key: the key.
        value: the value; for a secret, only that it is set.
        origin: the origin.
    """

    key: str
    value: str
    origin: str


@dataclass(frozen=True)
class Diagnosis:
    """The results of all checks.

    Args:
        checks: the checks.
        settings: the settings that are set.
        needs_start: whether a local EC2 is requested, but none is running; default no.
    """

    checks: Sequence[Check]
    settings: Sequence[SettingOrigin]
    needs_start: bool = False

    @property
    def is_ready(self) -> bool:
        """Whether a launch can succeed, as far as is known without one; possibly after the start of a local EC2."""
        return all(check.state is not State.MISSING for check in self.checks)


def diagnose(cloud: Cloud, key: Path | None) -> Diagnosis:
    """Check every requirement of a launch.

    Args:
        cloud: the EC2 endpoint.
        key: the SSH key of the command line; None for the configured one.
    """
    checks = [_python(), _extras()]
    settings, needs_start = None, False
    try:
        settings = cloud.settings(**key_settings(key))
    except ConfigError as error:
        checks += [Check("settings", State.MISSING, problem, "correct it") for problem in error.problems]
    except LocalEC2NotRunningError:
        # A note of the check of the local EC2: the pytest plugin and `validate --local` start their own.
        needs_start = True
    except PycloudlibError as error:
        checks.append(Check("settings", State.MISSING, *_complaint_and_remedy(str(error))))
    if settings is not None:
        settings = replace(settings, origins=_as_options(settings.origins, cloud))
        checks += [_settings_file(settings), *_ec2(settings), _ssh_key(settings)]
    checks += [_openssh(), *_local_ec2(needed=cloud.local)]
    return Diagnosis(checks, [*_origins(settings)] if settings is not None else [], needs_start)


def _python() -> Check:
    try:
        installed = version("pycloudlib-ec2")
    except PackageNotFoundError:
        installed = "not installed"
    description = f"{platform.python_version()} at {sys.executable}; pycloudlib-ec2 {installed}"
    return Check("Python", State.OK, description)


def _extras() -> Check:
    missing = [extra for extra, module in EXTRAS.items() if find_spec(module) is None]
    if not missing:
        return Check("extras", State.OK, ", ".join(EXTRAS))
    remedy = f"if you need them: {install_extras(*missing)}"
    return Check("extras", State.NOTE, f"not installed: {', '.join(missing)}", remedy)


def _settings_file(settings: Settings) -> Check:
    from pycloudlib.config import FILE_VARIABLE, SECRET_KEYS
    from pycloudlib.setting_values import is_loopback

    if settings.source is None:
        return Check("settings file", State.OK, "none, and none is required")
    named = f" (named by {FILE_VARIABLE})" if os.environ.get(FILE_VARIABLE) == settings.source else ""
    from_file = [key for key in SECRET_KEYS if settings.origins.get(key, "").startswith(f"{settings.source}:")]
    is_open = _others_may(Path(settings.source), stat.S_IRGRP | stat.S_IROTH)
    if from_file and is_open and not is_loopback(settings.endpoint_url):
        return Check(
            "settings file",
            State.NOTE,
            f"{settings.source}{named} contains a secret, and other users can read it",
            f"chmod 600 {settings.source}",
        )
    return Check("settings file", State.OK, f"{settings.source}{named}")


def _ec2(settings: Settings) -> Iterator[Check]:
    from pycloudlib.ec2.api.session import open_session

    try:
        session = open_session(settings)
    except CredentialsError as error:
        yield Check("credentials", State.MISSING, *_complaint_and_remedy(str(error)))
        return
    except PycloudlibError as error:
        yield Check("region", State.MISSING, *_complaint_and_remedy(str(error)))
        if settings.region is None:
            yield from _credentials_without_region(settings)
        return
    origin = settings.origins.get("region", BOTO3)
    yield Check("region", State.OK, f"{session.region} ({origin})")
    yield Check("credentials", State.OK, _credentials(settings, session))
    yield _answer(session)


def _credentials_without_region(settings: Settings) -> Iterator[Check]:
    """Check the credentials without a region, so that everything missing is reported at once."""
    from pycloudlib.ec2.api.session import open_session

    with suppress(PycloudlibError):
        with_region = replace(settings, region=SOME_REGION)
        try:
            yield Check("credentials", State.OK, _credentials(settings, open_session(with_region)))
        except CredentialsError as error:
            yield Check("credentials", State.MISSING, *_complaint_and_remedy(str(error)))


def _complaint_and_remedy(message: str) -> tuple[str, str]:
    complaint, _, remedy = message.partition(": ")
    return complaint, remedy


def _credentials(settings: Settings, session: Session) -> str:
    origin = settings.origins.get("access_key_id")
    if origin is None:
        profile = f", profile {settings.profile}" if settings.profile else ""
        return f"from {BOTO3}: {session.credentials_origin}{profile}"
    return f"{_masked(settings.access_key_id or '')} ({origin})"


def _answer(session: Session) -> Check:
    from pycloudlib.ec2.api.regions import region_names

    where = session.endpoint_url or session.client.meta.endpoint_url
    try:
        regions = region_names(session.client)
    except PycloudlibError as error:
        complaint, remedy = _complaint_and_remedy(str(error))
        return Check("EC2", State.MISSING, complaint, remedy)
    if session.region not in regions:
        return Check(
            "EC2", State.MISSING, f"{where} has no region {session.region}", f"use one of {', '.join(regions)}"
        )
    return Check("EC2", State.OK, f"{where} accepts the credentials")


def _ssh_key(settings: Settings) -> Check:
    from pycloudlib.key import find_key_pair

    try:
        pair = find_key_pair(settings.public_key_path, settings.private_key_path, settings.key_name)
        description = f"{pair.private_key_path} {pair.public_key_fingerprint}"
    except PycloudlibError as error:
        return Check("SSH key", State.MISSING, *_complaint_and_remedy(str(error)))
    if _others_may(pair.private_key_path, stat.S_IRWXG | stat.S_IRWXO):
        remedy = f"chmod 600 {pair.private_key_path}"
        return Check("SSH key", State.NOTE, f"{description}: OpenSSH rejects a key that other users can read", remedy)
    origin = settings.origins.get("private_key_path") or settings.origins.get("public_key_path") or "found in ~/.ssh"
    return Check("SSH key", State.OK, f"{description} ({origin})")


def _openssh() -> Check:
    program = shutil.which("ssh")
    if program is None:
        return Check(
            "OpenSSH",
            State.NOTE,
            "ssh is not installed; `pycloudlib ssh` requires it",
            "apt-get install openssh-client",
        )
    completed = subprocess.run([program, "-V"], capture_output=True, text=True, check=False)
    return Check("OpenSSH", State.OK, (completed.stderr or completed.stdout).strip() or program)


def _local_ec2(*, needed: bool) -> Iterator[Check]:
    if find_spec("moto") is None:
        return
    from pycloudlib.local.daemon import running_servers

    try:
        servers = running_servers()
    except PycloudlibError as error:
        yield Check("local EC2", State.MISSING if needed else State.NOTE, *_complaint_and_remedy(str(error)))
        return
    described = [f"{name} at {info.endpoint_url}, {_machines_of(info)}" for name, info in servers.items()]
    how = "" if servers else "pycloudlib local start" if needed else "if you need it: pycloudlib local start"
    yield Check("local EC2", State.OK if servers else State.NOTE, "; ".join(described) or "none is running", how)
    if any(info.driver == "simulated" for info in servers.values()) and needed:
        return
    yield from _machines(needed=needed)


def _machines_of(info: ServerInfo) -> str:
    accelerator = f" with {info.accelerator}" if info.accelerator else ""
    network = f" on the {info.network} network" if info.network else ""
    return f"{info.driver} machines{accelerator}{network}"


def _lack_of_kvm() -> tuple[str, str]:
    """Return why /dev/kvm is inaccessible, and the remedy."""
    if not KVM.exists():
        return "it does not exist", ""
    status = KVM.stat()
    try:
        group = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        group = ""
    may = stat.S_IRGRP | stat.S_IWGRP
    if status.st_gid == 0 or not group or status.st_mode & may != may:
        return "this user may not open it", ""
    return "this user may not open it", f'sudo usermod --append --groups {group} "$USER", then log in again'


def _machines(*, needed: bool) -> Iterator[Check]:
    from pycloudlib.local import paths
    from pycloudlib.local.images.catalog import Catalog
    from pycloudlib.local.machines.platforms import host_platform
    from pycloudlib.local.prerequisites import find, missing_programs

    lacking = State.MISSING if needed else State.NOTE
    qemu = host_platform().qemu
    missing = [program for program in (qemu, *MACHINE_PROGRAMS) if find(program) is None]
    if missing:
        complaint, remedy = _complaint_and_remedy(str(missing_programs(missing, "by the local EC2")))
        yield Check("QEMU", lacking, complaint, remedy)
        return
    yield Check("QEMU", State.OK, f"{find(qemu)}")
    if os.access(KVM, os.R_OK | os.W_OK):
        yield Check("accelerator", State.OK, f"{KVM} is accessible; `local start` tests whether it works")
    else:
        why, remedy = _lack_of_kvm()
        description = f"{KVM}: {why}, so instances run under software emulation, which is slower"
        yield Check("accelerator", State.NOTE, description, remedy)
    yield _network()
    yield _image_build()
    try:
        images = Catalog(paths.images_dir()).images()
    except PycloudlibError as error:
        yield Check("local images", lacking, *_complaint_and_remedy(str(error)))
        return
    if images:
        yield Check("local images", State.OK, ", ".join(sorted({image.release for image in images})))
        yield from _platforms({image.architecture for image in images})
    else:
        yield Check("local images", lacking, "no image to launch", "pycloudlib local image build")


def _platforms(architectures: set[str]) -> Iterator[Check]:
    """Check the platforms of the catalog's images, except the host's own."""
    from pycloudlib.local.machines.firmware import require_platform
    from pycloudlib.local.machines.platforms import PLATFORMS

    for supported in (PLATFORMS[name] for name in sorted(architectures & set(PLATFORMS))):
        try:
            require_platform(supported)
        except PycloudlibError as error:
            yield Check(f"{supported.architecture} images", State.NOTE, *_complaint_and_remedy(str(error)))


def _image_build() -> Check:
    from pycloudlib.local.images.builder import require_programs

    try:
        programs = require_programs()
    except PycloudlibError as error:
        complaint, remedy = _complaint_and_remedy(str(error))
        return Check("image build", State.NOTE, complaint, f"if you need it: {remedy}")
    return Check("image build", State.OK, f"{programs['mmdebstrap']}")


def _network() -> Check:
    from pycloudlib.local.network.namespaces.probe import probe

    finding = probe()
    if finding.works:
        return Check("local network", State.OK, "namespaces: VPCs behave as on EC2")
    description = f"{finding.reason}, so instances use user networking, and do not reach each other"
    return Check("local network", State.NOTE, description, finding.remedy)


def _origins(settings: Settings) -> Iterator[SettingOrigin]:
    from pycloudlib.config import SECRET_KEYS

    for key, origin in sorted(settings.origins.items()):
        value = str(getattr(settings, key))
        if key in SECRET_KEYS:
            value = "(set)"
        elif key == "access_key_id":
            value = _masked(value)
        yield SettingOrigin(key, value, origin)


def _as_options(origins: Mapping[str, str], cloud: Cloud) -> dict[str, str]:
    """Return the origins of settings, with the names of command-line options."""
    options = {"region": "--region" if cloud.region else "--local", "profile": "--profile"}
    options |= {"private_key_path": "--key", "public_key_path": "--key"}
    default = "--local" if cloud.local else "--endpoint-url"
    return {
        key: options.get(key, default) if origin == f"argument {key}" else origin for key, origin in origins.items()
    }


def _masked(key_id: str) -> str:
    return f"...{key_id[-SHOWN_OF_A_KEY_ID:]}" if len(key_id) > 2 * SHOWN_OF_A_KEY_ID else "(set)"


def _others_may(path: Path, bits: int) -> bool:
    try:
        return bool(path.stat().st_mode & bits)
    except OSError:
        return False
