"""File transfers through the standard streams of a program, for hosts without SFTP."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

from pycloudlib.ssh.connection import Connection
from pycloudlib.ssh.remote_program import RemoteProgram, copy, running
from pycloudlib.ssh.transfer_faults import RefusedError

# Drain the input after an error, because sshd would close the channel during the transfer. Compare the size to detect a
# lost connection.
WRITE = (
    "export LC_ALL=C; to=$1; "
    "fail() { echo \"$1\" >&2; cat >/dev/null; exit 1; }; "
    'case $to in -*) to=./$to ;; esac; '
    'if [ -d "$to" ]; then fail "Is a directory; give the whole path of the file to write"; fi; '
    'if [ -e "$to" ]; then [ -f "$to" ] || fail "it is not a regular file"; to=$(readlink -f "$to"); fi; '
    'case $to in */*) part=${to%/*}/$2 ;; *) part=$2 ;; esac; '
    "trap 'rm -f \"$part\"' EXIT HUP INT TERM; "
    'said=$( (umask 077; cat >"$part") 2>&1 ) || fail "$said"; '
    'arrived=$(wc -c <"$part"); [ "$arrived" -eq "$3" ] || fail "$3 bytes were sent, and $arrived arrived"; '
    'said=$(chmod "$4" "$part" 2>&1 && mv -f "$part" "$to" 2>&1) || fail "$said"'
)  # fmt: skip

READ = (
    "export LC_ALL=C; "
    'if [ -d "$1" ]; then echo "Is a directory, not a file" >&2; exit 1; fi; '
    'if [ ! -e "$1" ]; then echo "No such file or directory" >&2; exit 1; fi; '
    'if [ ! -f "$1" ]; then echo "it is not a regular file" >&2; exit 1; fi; '
    'exec cat <"$1"'
)


def push(connection: Connection, source: BinaryIO, remote: str, temporary: str) -> RemoteProgram:
    """Copy an open file to the host, with its permission bits.

    Args:
        connection: the connection.
        source: the file, read from its beginning up to its current size.
        remote: the destination.
        temporary: the name of the temporary file beside the destination, which is renamed at the end.

    Returns:
        The program that wrote the file.

    Raises:
        RefusedError: the host could not write the file, or the source was truncated.
        HostProtocolError: the login shell does not run programs.
    """
    status = os.fstat(source.fileno())
    mode = f"{stat.S_IMODE(status.st_mode):o}"
    with running(connection, WRITE, remote, temporary, str(status.st_size), mode) as program:
        program.begin()
        if copy(source, status.st_size, program):
            raise RefusedError("the file became shorter while it was read")
        program.end_input()
        program.outcome()
        return program


def pull(connection: Connection, remote: str, target: BinaryIO) -> RemoteProgram:
    """Copy a file of the host to an open file.

    Args:
        connection: the connection.
        remote: the file on the host.
        target: the file to write to.

    Returns:
        The program that read the file.

    Raises:
        RefusedError: the host could not read the file.
        HostProtocolError: the login shell does not run programs.
    """
    with running(connection, READ, remote) as program:
        program.end_input()
        while piece := program.read():
            target.write(piece)
        program.outcome()
        return program
