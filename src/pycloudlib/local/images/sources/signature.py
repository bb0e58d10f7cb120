"""Signatures of indexes and checksum files, verified by gpgv with the publisher's keyring."""

from __future__ import annotations

import base64
import binascii
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pycloudlib.errors import DownloadError, VerificationError
from pycloudlib.local.images.sources.site import KEYRING, Site, variable_of
from pycloudlib.local.prerequisites import find, install_command

_MESSAGE = re.compile(
    rb"-----BEGIN PGP SIGNED MESSAGE-----\r?\n(?:[^\r\n]+\r?\n)*\r?\n(.*?)\r?\n-----BEGIN PGP SIG", re.DOTALL
)
_KEY_BLOCK = re.compile(rb"-----BEGIN PGP PUBLIC KEY BLOCK-----(.*?)-----END PGP PUBLIC KEY BLOCK-----", re.DOTALL)


@dataclass(frozen=True)
class Keys:
    """The keyrings of a publisher.

    Args:
        paths: the candidate paths of the keyring; the first existing one is used.
        publisher: the publisher's name, as in the setting that overrides the keyring.
        package: the Debian or Ubuntu package that contains it; empty for none.
    """

    paths: Sequence[str]
    publisher: str
    package: str = ""


@dataclass(frozen=True)
class Verification:
    """The verification of an index.

    Args:
        signed_by: the keyring that verified the signature; empty without a verified signature.
        reason: why no signature was verified; empty if one was.
    """

    signed_by: str = ""
    reason: str = ""


UNSIGNED = Verification(reason="the publisher does not sign the checksums")


def verify_clearsigned(content: bytes, url: str, site: Site, keys: Keys) -> tuple[bytes, Verification]:
    """Verify a clearsigned file (`gpg --clearsign`).

    Args:
        content: the file.
        url: its URL.
        site: the publisher's server, which may have its own keyring.
        keys: the publisher's keyrings.

    Returns:
        The signed text, and the verification, which is skipped without gpgv or a keyring.

    Raises:
        VerificationError: the signature is invalid, or made with an unknown key.
        DownloadError: the file is not signed.
    """
    message = _MESSAGE.match(content.lstrip())
    if message is None:
        raise DownloadError(f"{url} is not a signed file: use another mirror")
    keyring, reason = _keyring(site, keys)
    if keyring is None:
        return re.sub(rb"^- ", b"", message[1], flags=re.MULTILINE), Verification(reason=reason)
    with tempfile.TemporaryDirectory(prefix="pycloudlib-") as name:
        signed = Path(name, "signed")
        signed.write_bytes(content)
        return _gpgv(["--output", "-", str(signed)], keyring, url), Verification(signed_by=keyring.name)


def verify_detached(content: bytes, signature: bytes, url: str, site: Site, keys: Keys) -> Verification:
    """Verify a file with a detached signature.

    Args:
        content: the file.
        signature: the signature, binary or armored.
        url: the URL of the file.
        site: the publisher's server, which may have its own keyring.
        keys: the publisher's keyrings.

    Returns:
        The verification, which is skipped without gpgv or a keyring.

    Raises:
        VerificationError: the signature is invalid, or made with an unknown key.
    """
    keyring, reason = _keyring(site, keys)
    if keyring is None:
        return Verification(reason=reason)
    with tempfile.TemporaryDirectory(prefix="pycloudlib-") as name:
        paths = Path(name, "signature"), Path(name, "signed")
        for path, data in zip(paths, (signature, content), strict=True):
            path.write_bytes(data)
        _gpgv([str(path) for path in paths], keyring, url)
    return Verification(signed_by=keyring.name)


def _keyring(site: Site, keys: Keys) -> tuple[Path | None, str]:
    """Return the keyring, or the reason why there is none."""
    if find("gpgv") is None:
        return None, f"gpgv is not installed: {install_command(['gpgv'])}"
    if site.keyring is not None:
        if not site.keyring.is_file():
            raise VerificationError(f"there is no keyring {site.keyring}: name another one in the settings")
        return site.keyring, ""
    found = next((Path(path) for path in keys.paths if Path(path).is_file()), None)
    if found is not None:
        return found, ""
    advice = f"{install_command([keys.package])}, or name" if keys.package else "name"
    return None, f"its publisher's keyring is not installed: {advice} one with {variable_of(keys.publisher, KEYRING)}"


def _gpgv(arguments: Sequence[str], keyring: Path, url: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="pycloudlib-") as name:
        binary = Path(name, "keyring.gpg")
        binary.write_bytes(_dearmored(keyring))
        done = subprocess.run(
            # gpgv also trusts the keys in its home directory.
            ["gpgv", "--homedir", name, "--keyring", str(binary), *arguments],
            capture_output=True,
            check=False,
            env={"LC_ALL": "C", "PATH": str((find("gpgv") or Path()).parent)},
        )
    if done.returncode:
        lines = done.stderr.decode(errors="replace").replace("gpgv: ", "").split("\n")
        reason = next(
            (line for line in reversed(lines) if "signature" in line or "Can't" in line), f"{done.returncode}"
        )
        raise VerificationError(f"{url} has no valid signature ({reason.strip()}) by a key of {keyring}")
    return done.stdout


def _dearmored(keyring: Path) -> bytes:
    """Return the binary keys of a keyring, which gpgv requires."""
    content = keyring.read_bytes()
    blocks = _KEY_BLOCK.findall(content)
    if not blocks:
        return content
    try:
        return b"".join(base64.b64decode(_without_headers(block), validate=True) for block in blocks)
    except binascii.Error as error:
        raise VerificationError(f"{keyring} is not a keyring: {error}") from error


def _without_headers(block: bytes) -> bytes:
    """Return the base64 text of an armored block, without headers such as Version, and without the checksum."""
    lines = [line.strip() for line in block.splitlines()]
    return b"".join(line for line in lines if line and b": " not in line and not line.startswith(b"="))
