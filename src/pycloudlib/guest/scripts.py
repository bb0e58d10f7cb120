"""Run a caller's script from a temporary file in the guest."""

from __future__ import annotations

# One line, because every login shell accepts one as it is. mktemp creates a private file regardless of the umask, which
# is left to the script; the trap removes the file in any case. Executing the file while it is empty detects a directory
# that is mounted noexec.
RUN_SCRIPT = (
    "script=; trap 'rm -f \"$script\"' EXIT HUP INT TERM; "
    'for folder in "${TMPDIR:-/tmp}" "$HOME" /var/tmp "${XDG_RUNTIME_DIR:-/run}" /dev/shm; do '
    'script=$(mktemp "$folder/script.XXXXXXXXXX" 2>/dev/null) || continue; '
    'chmod 0700 "$script" && "$script" </dev/null >/dev/null 2>&1 && break; rm -f "$script"; script=; done; '
    'if [ -z "$script" ]; then echo "no directory for a script that may run: ${TMPDIR:-/tmp}, $HOME, /var/tmp,'
    ' ${XDG_RUNTIME_DIR:-/run}, and /dev/shm are not writable, or mounted noexec" >&2; exit 126; fi; '
    'cat >"$script" && "$script" </dev/null'
)
"""The command, which reads the script from standard input. Its exit status is the script's, or 126 without a suitable
directory."""
