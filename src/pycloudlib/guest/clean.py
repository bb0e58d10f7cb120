"""Removal of a guest's identity, so that instances of an image of it run their first boot."""

from __future__ import annotations

from pycloudlib.errors import CommandError
from pycloudlib.guest.run import Run

CLEAN = r"""
failures=0

step() {
    "$@" && return
    failures=$((failures + 1))
    echo "failed: $*" >&2
}

has() { command -v "$1" >/dev/null 2>&1; }
uninitialize_machine_id() { printf 'uninitialized\n' >"$ROOT/etc/machine-id"; }
is_own_file() { [ -f "$1" ] && [ ! -L "$1" ] && ! lsattr "$1" 2>/dev/null | grep -q '^[^ ]*i'; }
empty_folder() { find "$1" -mindepth 1 -maxdepth 1 ! -name "${2:-}" -exec rm -rf {} +; }

# Do not pass --machine-id: in 22.4 it removes the file, and systemd cannot create one while the root file system is
# read-only.
! has cloud-init || step cloud-init clean --logs
[ ! -d "$ROOT/var/lib/cloud" ] || step empty_folder "$ROOT/var/lib/cloud" seed
step rm -f "$ROOT"/var/log/cloud-init.log "$ROOT"/var/log/cloud-init-output.log

# systemd treats "uninitialized" as a first boot; see machine-id(5).
if has systemctl || [ -e "$ROOT/etc/machine-id" ]; then
    step uninitialize_machine_id
fi
[ -L "$ROOT/var/lib/dbus/machine-id" ] || step rm -f "$ROOT/var/lib/dbus/machine-id"

# sshd does not start without host keys: keep them if no program would generate new ones.
if has cloud-init || [ -e "$ROOT/usr/lib/systemd/system/sshd-keygen.target" ]; then
    step rm -f "$ROOT"/etc/ssh/ssh_host_*_key "$ROOT"/etc/ssh/ssh_host_*_key.pub "$ROOT"/etc/ssh/ssh_host_*_key-cert.pub
fi

# The next boot writes these files. In another VPC, the old name server would cause timeouts. Keep them if no program
# would write them, or if they are immutable.
writes_resolv_conf() {
    # systemd-resolved does not replace a regular file.
    [ ! -e "$ROOT/run/systemd/resolve/resolv.conf" ] || return 1
    has dhclient || has dhcpcd || has udhcpc || has NetworkManager
}
preserves_hostname() {
    grep -Ersqi "^ *preserve_hostname: *[\"']?(true|yes|on|1)" "$ROOT/etc/cloud/cloud.cfg" "$ROOT/etc/cloud/cloud.cfg.d"
}
if is_own_file "$ROOT/etc/resolv.conf" && writes_resolv_conf; then
    step rm -f "$ROOT/etc/resolv.conf"
fi
if is_own_file "$ROOT/etc/hostname" && has cloud-init && ! preserves_hostname; then
    step rm -f "$ROOT/etc/hostname"
fi

# Stop the service, which would write the seed again at shutdown.
if has systemctl && systemctl is-active --quiet systemd-random-seed.service; then
    step systemctl stop systemd-random-seed.service
fi
step rm -f "$ROOT"/var/lib/systemd/random-seed "$ROOT"/var/lib/systemd/credential.secret

# Keep later messages in memory.
if has journalctl && journalctl --help 2>/dev/null | grep -q -e --relinquish-var; then
    step journalctl --relinquish-var
fi
[ ! -d "$ROOT/var/log/journal" ] || step empty_folder "$ROOT/var/log/journal"

for leases in dhcp dhclient dhcpcd NetworkManager; do
    step rm -f "$ROOT/var/lib/$leases"/*.lease "$ROOT/var/lib/$leases"/*.leases
done

step sync
exit "$((failures > 0))"
"""
"""A script that sh runs as root. Errors do not stop it, so that it reports all of them."""


def clean(run: Run, *, root: str = "") -> None:
    """Remove the guest's identity in one command.

    Args:
        run: runs a command in the guest.
        root: the directory to treat as the guest's root; default the real one.

    Raises:
        CommandError: something could not be removed; the message has the reason.
        SSHError: the connection failed or was lost.
    """
    result = run(CLEAN, description="clean the guest", use_sudo=True, env={"ROOT": root})
    if result.failed:
        why = "; ".join(result.stderr.splitlines()) or f"exit status {result.return_code}"
        raise CommandError(f"the guest could not be cleaned: {why}", result=result)
