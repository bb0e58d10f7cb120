"""Boots that do not go as usual: user data that reboots, logins that cannot succeed, cloud-init run anew."""

from __future__ import annotations

import pytest

from pycloudlib import EC2, EC2Instance
from pycloudlib.errors import BootError

pytestmark = pytest.mark.vm

# The condition holds once. When cloud-init runs anew, a module of its config stage fails before a slow final stage.
USER_DATA = """\
#cloud-config
runcmd:
- [sh, -c, 'cat /proc/sys/kernel/random/boot_id >>/var/tmp/boots']
- [sh, -c, 'sed -i "1i echo Welcome" /home/admin/.bashrc']
- [sh, -c, 'test ! -e /var/tmp/rebooted || sleep 10; touch /run/final-stage-ended']
power_state:
  mode: reboot
  condition: [sh, -c, 'test ! -e /var/tmp/rebooted && touch /var/tmp/rebooted']
"""

BROKEN = "locale: xx_YY.nonsense\n"

NEW_ACCOUNTS = """
for user in nologin expired; do
    useradd -m -s /bin/bash $user
    mkdir -m 700 ~$user/.ssh 2>/dev/null || mkdir -m 700 /home/$user/.ssh
    cp /home/admin/.ssh/authorized_keys /home/$user/.ssh/authorized_keys
    chown -R $user: /home/$user/.ssh
done
usermod -s /usr/sbin/nologin nologin
chage -E 0 expired
"""


@pytest.fixture(scope="module")
def launched(shared_ec2: EC2, image_id: str) -> EC2Instance:
    return shared_ec2.launch(image_id, user_data=USER_DATA)


def test_wait_follows_user_data_that_reboots(launched: EC2Instance) -> None:
    first = launched.execute("cat /var/tmp/boots").check().stdout.split()
    assert first[0] == "Welcome"
    assert len(first) == 2
    # Nor does what .bashrc prints get into the boot id.
    assert launched.get_boot_id() not in {first[1], ""}


def test_a_redirected_root_login_names_the_user_to_log_in_as(launched: EC2Instance, shared_ec2: EC2) -> None:
    with pytest.raises(BootError, match="logins as 'root' are disabled; log in as 'admin' instead"):
        shared_ec2.get_instance(launched.id, username="root").wait()


@pytest.mark.parametrize(
    ("username", "why"),
    [("nologin", "This account is currently not available"), ("expired", "account has expired")],
)
def test_a_closed_account_ends_the_wait_within_seconds(
    launched: EC2Instance, shared_ec2: EC2, username: str, why: str
) -> None:
    launched.execute(f"id {username} 2>/dev/null || {{ {NEW_ACCOUNTS} }}", use_sudo=True).check()
    with pytest.raises(BootError, match=f"user '{username}' .*{why}"):
        shared_ec2.get_instance(launched.id, username=username).wait()


def test_cloud_init_run_anew_may_change_the_host_key_and_fail_early(launched: EC2Instance) -> None:
    host_key = launched.host_key()
    launched.execute("tee /etc/cloud/cloud.cfg.d/99_broken.cfg", stdin=BROKEN, use_sudo=True).check()
    launched.execute("cloud-init clean", use_sudo=True).check()
    launched.restart(cloud_init_failure="warn")
    assert launched.host_key() != host_key
    assert "error" in launched.execute("cloud-init status")
    assert launched.execute("test -e /run/final-stage-ended"), "wait() returned during the final stage"
    now, uptime = launched.execute("date +%s.%N; cut -d' ' -f1 /proc/uptime").check().stdout.split()[-2:]
    timeline = launched.timeline
    assert timeline.reachable is not None
    assert timeline.requested.timestamp() + timeline.reachable > float(now) - float(uptime)
