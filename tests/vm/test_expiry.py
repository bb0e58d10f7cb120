"""The switch inside a guest that powers it off when its time is over."""

from __future__ import annotations

from datetime import timedelta
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest

from pycloudlib import EC2
from pycloudlib.guest.expiry import with_expiry
from pycloudlib.local import LocalEC2
from pycloudlib.tags import utc_now
from support.processes import machines_of

pytestmark = pytest.mark.vm

COUNT = "/var/tmp/script-ran"
CONFIGURED = "/var/tmp/configured"


def user_data() -> str:
    """A script and a cloud-config, which tell what became of them."""
    message = MIMEMultipart()
    message.attach(MIMEText(f"#!/bin/sh\necho once >>{COUNT}\n", "x-shellscript"))
    message.attach(MIMEText(f"#cloud-config\nruncmd:\n- [touch, {CONFIGURED}]\n", "cloud-config"))
    return message.as_string()


def test_a_machine_ends_itself_when_its_time_is_over_and_runs_its_user_data_before(
    ec2: EC2, image_id: str, local: LocalEC2
) -> None:
    before = set(machines_of(local.info.pid))
    expires = utc_now() + timedelta(hours=1)
    instance = ec2.launch(
        image_id,
        user_data=with_expiry(user_data(), expires),
        InstanceInitiatedShutdownBehavior="terminate",
    )
    assert instance.execute(f"cat {COUNT}") == "once"
    assert instance.execute(f"test -e {CONFIGURED}").ok
    timer = instance.execute("systemctl show pycloudlib-expiry.timer -p ActiveState -p TimersCalendar")
    assert "ActiveState=active" in timer
    assert f"{expires:%Y-%m-%d %H:%M:%S} UTC" in timer
    assert "degraded" not in instance.execute("cloud-init status --long")

    # Its hour passes at once.
    instance.execute("sudo date --set='+2 hours' && exit 0")
    instance.wait_for_delete()
    reason = ec2.client.describe_instances(InstanceIds=[instance.id])["Reservations"][0]["Instances"][0]["StateReason"]
    assert reason["Code"] == "Client.InstanceInitiatedShutdown"
    assert "reboot: Power down" in instance.console_log()
    assert set(machines_of(local.info.pid)) == before
