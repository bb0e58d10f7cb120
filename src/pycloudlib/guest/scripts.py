"""Run a script of the caller's from a file of the guest."""

from __future__ import annotations

# One line, because every login shell takes one as it is. mktemp lets nobody else read the file, whatever the umask,
# which is the script's own; the trap removes the file however the script ends. An empty file is a script that succeeds,
# unless its directory is mounted noexec.
RUN_SCRIPT = (
    "script=; trap 'rm -f \"$script\"' EXIT HUP INT TERM; "
    'for folder in "${TMPDIR:-/tmp}" "$HOME" /var/tmp "${XDG_RUNTIME_DIR:-/run}" /dev/shm; do '
    'script=$(mktemp "$folder/script.XXXXXXXXXX" 2>/dev/null) || continue; '
    'chmod 0700 "$script" && "$script" </dev/null >/dev/null 2>&1 && break; rm -f "$script"; script=; done; '
    'if [ -z "$script" ]; then echo "no directory for a script that may run: ${TMPDIR:-/tmp}, $HOME, /var/tmp,'
    ' ${XDG_RUNTIME_DIR:-/run}, and /dev/shm are not writable, or mounted noexec" >&2; exit 126; fi; '
    'cat >"$script" && "$script" </dev/null'
)
"""The command: the script is on its standard input. Its exit status is the script's; 126 if no directory will do."""
