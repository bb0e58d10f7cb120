"""An OpenPGP key that signs what a test publishes."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from pycloudlib.local.prerequisites import find


@dataclass(frozen=True)
class Signer:
    """A key, made for a test.

    Args:
        home: of GnuPG.
    """

    home: Path

    @classmethod
    def generate(cls, home: Path) -> Signer:
        """Make a key, where gpg and gpgv are installed; else the test is skipped."""
        if find("gpg") is None or find("gpgv") is None:
            pytest.skip("needs gpg to sign, and gpgv to verify")
        home.mkdir(mode=0o700)
        signer = cls(home)
        signer._gpg("--passphrase", "", "--quick-generate-key", "Images <images@example.com>", "ed25519", "sign", "0")
        (home / "keyring.gpg").write_bytes(signer._gpg("--export"))
        (home / "keyring.asc").write_bytes(signer._gpg("--armor", "--export"))
        return signer

    @property
    def keyring(self) -> Path:
        """The public key."""
        return self.home / "keyring.gpg"

    @property
    def armored_keyring(self) -> Path:
        """The public key, as text."""
        return self.home / "keyring.asc"

    def clearsign(self, content: bytes) -> bytes:
        """The content with its signature."""
        return self._gpg("--clearsign", content=content)

    def detached(self, content: bytes) -> bytes:
        """The signature of the content alone."""
        return self._gpg("--armor", "--detach-sign", content=content)

    def _gpg(self, *arguments: str, content: bytes = b"") -> bytes:
        command = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", "--pinentry-mode", "loopback", *arguments]
        return subprocess.run(command, input=content, capture_output=True, check=True).stdout

    def stop(self) -> None:
        """End the agent that GnuPG has started."""
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=False)
