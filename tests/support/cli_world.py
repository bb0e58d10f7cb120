"""A home in which the command line has all it needs: a simulated local EC2, a guest that lets it in, settings."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from pycloudlib.cli.root import run
from support.command_line import CommandLine
from support.guest import Guest
from support.sshd import ALL_LOOPBACK

FOREIGN = ("AWS_", "PYCLOUDLIB_", "XDG_")
"""What the beginnings of variables that would lead elsewhere are."""


class QuickCommandLine(CommandLine):
    """The command line in the test's own process: a tenth of the time, for all that needs no process of its own."""

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run it to its end, without a terminal."""
        streams = [io.TextIOWrapper(io.BytesIO(content), write_through=True) for content in (_encoded(stdin), b"", b"")]
        environment = {**(self.environment or os.environ), **_of_pytest()}
        with (
            mock.patch.dict(os.environ, environment, clear=True),
            mock.patch.multiple(sys, argv=["pycloudlib", *arguments], stdin=streams[0]),
            contextlib.redirect_stdout(streams[1]),
            contextlib.redirect_stderr(streams[2]),
            _logging_of_its_own(),
        ):
            status = _status()
        stdout, stderr = (stream.buffer.getvalue().decode() for stream in streams[1:])  # type: ignore[attr-defined]
        return subprocess.CompletedProcess(arguments, status, stdout, stderr)


@contextlib.contextmanager
def _logging_of_its_own() -> Iterator[None]:
    """Let the command configure logging, as in a process that nobody has configured."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def _encoded(text: str | None) -> bytes:
    return (text or "").encode()


def _of_pytest() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("PYTEST_CURRENT")}


def _status() -> int:
    try:
        return run()
    except SystemExit as end:
        return int(end.code or 0)


@dataclass(frozen=True)
class CliWorld:
    """The command line with `--local`.

    Args:
        cli: the command line, with this home.
        process: the same, always in a process of its own.
        guest: stands for the guests of all machines.
        settings: the settings file that leads to the local EC2.
    """

    cli: QuickCommandLine
    process: CommandLine
    guest: Guest
    settings: Path

    def launch(self, *options: str) -> str:
        """Launch a machine that stays, in a run of its own, and give its id."""
        done = self.process.run("launch", "bookworm", "--local", "--keep", "--json", *options)
        assert done.returncode == 0, done.stderr
        (machine,) = json.loads(done.stdout)
        return str(machine["id"])

    def states(self, *options: str) -> dict[str, str]:
        """The state of every machine of `pycloudlib list`, by id; with --all, also of those that are terminated."""
        return {one["id"]: one["state"] for one in self.listed(*options)}

    def listed(self, *options: str) -> list[dict[str, Any]]:
        """What `pycloudlib list --json` prints."""
        done = self.cli.run("list", "--local", "--json", *options)
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def client(self) -> Any:
        """A plain boto3 client of the local EC2."""
        import boto3

        from pycloudlib.config import load_settings

        settings = load_settings(self.settings)
        return boto3.client(
            "ec2",
            endpoint_url=settings.endpoint_url,
            region_name=settings.region,
            aws_access_key_id=settings.access_key_id,
            aws_secret_access_key=settings.secret_access_key,
        )


def home_environment(home: Path) -> dict[str, str]:
    """The environment of a user whose home is elsewhere, and whom nothing leads to any cloud."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    bases = {f"XDG_{base}_HOME": str(home / base.lower()) for base in ("CONFIG", "DATA", "STATE", "CACHE")}
    return {**kept, **bases, "HOME": str(home), "AWS_EC2_METADATA_DISABLED": "true"}


@contextmanager
def cli_world(home: Path) -> Iterator[CliWorld]:
    """Serve such a home for as long as the context lasts."""
    cli = QuickCommandLine(home, home_environment(home))
    with Guest(home / "guest", listen=ALL_LOOPBACK) as guest:
        mine = home / ".config" / "pycloudlib.toml"
        mine.parent.mkdir(parents=True)
        mine.write_text(
            f'[ec2]\nprivate_key_path = "{guest.key_pair.private_key_path}"\nusername = "{guest.sshd.username}"\n'
        )
        settings = home / "local.toml"
        start = ("local", "start", "--driver", "simulated", "--ssh-port", str(guest.sshd.port))
        started = cli.run(*start, "--write-config", str(settings))
        assert started.returncode == 0, started.stderr
        try:
            yield CliWorld(cli, CommandLine(home, cli.environment), guest, settings)
        finally:
            cli.run("local", "stop")
