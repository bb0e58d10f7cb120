"""The probes of the guest, run once for all checks. Their results have no password hashes or private keys."""

from __future__ import annotations

from collections.abc import Mapping

RUNS_FILE = "/var/tmp/pycloudlib-validation-runs"  # noqa: S108  (in the guest, and nobody else is there)
"""The file with one line for each run of the user data."""

USER_DATA = f"""\
#cloud-config
runcmd:
- [sh, -c, 'cat /proc/sys/kernel/random/boot_id >>{RUNS_FILE}']
"""
"""The user data of the launch."""

# The directories of leftovers of people and build tools; packages may install test data under /usr.
_PLACES = "/root /home /etc /var /opt /srv /usr/local"

_ASK_NETWORK = r"""python3 - <<'END'
import json, socket, struct, urllib.error, urllib.request

def http(path, method="GET", **headers):
    request = urllib.request.Request("http://169.254.169.254/latest/" + path, method=method, headers=headers)
    try:
        return 200, urllib.request.urlopen(request, timeout=10).read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""
    except OSError as error:
        return 0, str(error)

def dns():
    lines = [line.split() for line in open("/etc/resolv.conf")]
    servers = [words[1] for words in lines if words[:1] == ["nameserver"] and len(words) > 1]
    if not servers:
        return "no name server"
    name = b"".join(bytes([len(part)]) + part for part in b"ec2.amazonaws.com".split(b"."))
    query = struct.pack(">6H", 7, 256, 1, 0, 0, 0) + name + b"\0\0\1\0\1"
    for server in servers * 2:
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.settimeout(5)
            try:
                asking.sendto(query, (server, 53))
                if len(asking.recv(4096)) >= 12:
                    return "answered"
            except OSError:
                pass
    return "no answer from " + ", ".join(servers)

status, token = http("api/token", "PUT", **{"X-aws-ec2-metadata-token-ttl-seconds": "60"})
found = {"token": [status, ""], "dns": dns()}
found["v2"] = http("meta-data/instance-id", **{"X-aws-ec2-metadata-token": token}) if status == 200 else [0, token]
found["v1"] = http("meta-data/instance-id")
print(json.dumps(found))
END
"""

# Fetch apt's first file with apt's own helper: one repository that responds is enough.
_ASK_REPOSITORY = r"""
if command -v apt-get >/dev/null; then
    uri=$(apt-get --print-uris update 2>/dev/null | sed -n "1s/^'\([^']*\)'.*/\1/p")
    [ -n "$uri" ] || { echo 'no repository is configured'; exit 100; }
    helper=/usr/lib/apt/apt-helper
    timeout 60 "$helper" -o Acquire::Retries=0 -o Acquire::http::Timeout=20 download-file "$uri" /tmp/.repository
    status=$?; rm -f /tmp/.repository; exit "$status"
elif command -v dnf >/dev/null; then timeout 100 dnf -q --setopt=retries=1 makecache
elif command -v zypper >/dev/null; then timeout 100 zypper --non-interactive refresh
else echo 'no package manager is known'; exit 127
fi
"""

QUESTIONS: Mapping[str, str] = {
    "boot_id": "cat /proc/sys/kernel/random/boot_id",
    "btime": "sed -n 's/^btime //p' /proc/stat",
    "system_state": "systemctl is-system-running",
    "failed_units": "systemctl --failed --plain --no-legend --no-pager",
    "cloud_init_version": "cloud-init --version",
    "cloud_init_status": "cloud-init status --long",
    "cloud_init_result": "cat /run/cloud-init/result.json",
    "cloud_init_schema": "cloud-init schema --system",
    "cloud_init_problems": "grep -nE -e '\\[(WARNING|ERROR|CRITICAL)\\]: ' /var/log/cloud-init.log",
    "cloud_init_tracebacks": (
        "grep -hnE -B 3 -A 20 -e '^ *Traceback \\(most recent call last\\)' /var/log/cloud-init.log"
        " /var/log/cloud-init-output.log | head -c 8000"
    ),
    "user_data_runs": f"cat {RUNS_FILE}",
    "host_keys": "stat -c '%a %U %Y %n' /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub",
    "host_public_keys": "cat /etc/ssh/ssh_host_*_key.pub",
    "sshd": "mkdir -p /run/sshd; sshd -T",
    "passwords": (
        r"""awk -F: '{print $1, ($2 == "" ? "empty" : ($2 ~ /^[!*x]/ || length($2) < 8 ? "locked" : "set"))}'"""
        " /etc/shadow"
    ),
    "authorized_keys": (
        "find /root /home -xdev -path '*/.ssh/authorized_keys*' -type f -size +0 -exec sh -c"
        """ 'for file; do sed "s|^|$file: |" "$file"; echo; done' - {} +"""
    ),
    "histories": r"find /root /home -xdev -name '.*_history' -size +0",
    "private_keys": (
        f"find {_PLACES} -xdev -type f -size -64k ! -path '/etc/ssh/ssh_host_*_key'"
        " -exec grep -lE -e '^-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY' {} + || true"
    ),
    "machine_id": "cat /etc/machine-id; stat -c %Y /etc/machine-id",
    "hostname": 'uname -n; getent hosts "$(uname -n)"',
    "network": _ASK_NETWORK,
    "addresses": "ip -o addr show scope global",
    "routes": "ip route show default; ip -6 route show default",
    "time_services": ("systemctl is-active systemd-timesyncd chrony chronyd ntp ntpd ntpsec openntpd | tr '\\n' ' '"),
    "time_zone": "date +'%Z %z'",
    "packages": (
        "if command -v dpkg >/dev/null; then dpkg --audit && apt-get -q check;"
        " elif command -v rpm >/dev/null; then rpm -qa >/dev/null && { ! command -v dnf >/dev/null || dnf -q check; };"
        " else echo 'no package manager is known'; exit 127; fi"
    ),
    "repository": _ASK_REPOSITORY,
    "root": "df -B1 --output=size,used,avail,pcent / | tail -n 1; df --output=ipcent / | tail -n 1",
    "fstab": "cat /etc/fstab",
    "mounts": "cat /proc/mounts",
    "swaps": "tail -n +2 /proc/swaps",
    "fstab_verified": "findmnt --verify",
    "console_devices": "cat /sys/class/tty/console/active",
    "console_getty": "systemctl is-active serial-getty@ttyS0.service",
    "module_ena": "modprobe -n --show-depends ena",
    "module_nvme": "modprobe -n --show-depends nvme",
    "nvme_timeout": "cat /sys/module/nvme_core/parameters/io_timeout",
    "architecture": "uname -m",
    "secure_boot": (
        "if [ -d /sys/firmware/efi ]; then od -An -tu1 -j4 -N1"
        " /sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c; else echo BIOS; fi"
    ),
    "lockdown": "cat /sys/kernel/security/lockdown",
}
"""Shell commands for root, by the name of the probe."""
