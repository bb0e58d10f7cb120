"""Apply nftables rulesets with libnftables, or with the nft program if the library is missing."""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import subprocess

from pycloudlib.errors import LocalEC2Error
from pycloudlib.local import prerequisites
from pycloudlib.local.network.namespaces import large_rulesets

_LIBRARY = "libnftables.so.1"
_TOO_LONG = os.strerror(errno.EMSGSIZE)


class Nftables:
    """nftables in the process's network namespace at the time of each call."""

    def __init__(self) -> None:
        self._library = _load_library()
        self._context: int | None = None
        self._substitutes: dict[str, str] = {}
        if self._library is not None:
            self._context = self._library.nft_ctx_new(0)
            self._library.nft_ctx_buffer_output(self._context)
            self._library.nft_ctx_buffer_error(self._context)

    @property
    def owns_tables(self) -> bool:
        """Whether a table with the flag `owner` lives as long as this object, not only during one call."""
        return self._library is not None

    def run(self, commands: str) -> str:
        """Run commands in one transaction, and return their output.

        Args:
            commands: commands in the syntax of nft(8).

        Raises:
            LocalEC2Error: nftables rejected the commands, and changed nothing; the message quotes its first line.
            MissingPrerequisiteError: neither libnftables nor nft is installed.
        """
        if self._library is None:
            return _run_program(commands)
        status = self._library.nft_run_cmd_from_buffer(self._context, commands.encode())
        output: bytes = self._library.nft_ctx_get_output_buffer(self._context)
        complaint: bytes = self._library.nft_ctx_get_error_buffer(self._context)
        if status != 0:
            raise _refused(complaint)
        return output.decode(errors="replace")

    def apply(self, ruleset: str) -> None:
        """Replace a table with a ruleset of any size, atomically.

        Args:
            ruleset: commands composed by ruleset.ruleset().

        Raises:
            LocalEC2Error: nftables rejected the ruleset; the previous ruleset remains active.
        """
        table = large_rulesets.table_of(ruleset)
        substitute = self._substitutes.get(table or "")
        try:
            self.run(ruleset + (f"delete table {substitute}\n" if substitute is not None else ""))
        except LocalEC2Error as error:
            if table is None or _TOO_LONG not in str(error):
                raise
        else:
            self._substitutes.pop(table or "", None)
            return
        next_substitute = f"{table}_a" if substitute != f"{table}_a" else f"{table}_b"
        for step in large_rulesets.steps(
            ruleset, next_substitute, [table, *([substitute] if substitute is not None else [])]
        ):
            self.run(step)
        self._substitutes[table] = next_substitute

    def close(self) -> None:
        """Free the library's context."""
        if self._library is not None and self._context is not None:
            self._library.nft_ctx_free(self._context)
        self._context = None


@functools.cache
def _load_library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return None
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error", "nft_ctx_free"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
        getattr(library, name).restype = ctypes.c_char_p
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return library


def _run_program(commands: str) -> str:
    nft = prerequisites.require("nft", "to filter packets")
    done = subprocess.run([nft, "-f", "-"], input=commands.encode(), capture_output=True, check=False)
    if done.returncode != 0:
        raise _refused(done.stderr)
    return done.stdout.decode(errors="replace")


def _refused(complaint: bytes) -> LocalEC2Error:
    lines = complaint.decode(errors="replace").strip().splitlines()
    return LocalEC2Error(f"nftables refused a ruleset: {' '.join(lines[:3]) or 'no reason given'}")
