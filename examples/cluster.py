"""Three instances with etcd: a partition cuts off the leader, and another one is elected."""

import json
from io import StringIO
from tempfile import TemporaryDirectory

from pycloudlib import EC2, EC2Instance, Fleet, KeyPair, progress
from pycloudlib.deadline import Deadline
from pycloudlib.local import LocalEC2
from pycloudlib.waiting import wait_until

INSTALL = """#!/bin/sh
ln -s /dev/null /etc/systemd/system/etcd.service
apt-get update && apt-get install --yes etcd-server etcd-client
"""


def start(members: Fleet) -> None:
    cluster = ",".join(f"{one.id}=http://{one.private_ip}:2380" for one in members)
    for one in members:
        peer, client = f"http://{one.private_ip}:2380", f"http://{one.private_ip}:2379"
        one.execute(
            f"systemd-run --quiet etcd --name={one.id} --data-dir=/var/lib/member"
            f" --initial-cluster={cluster}"
            f" --initial-advertise-peer-urls={peer} --listen-peer-urls={peer}"
            f" --advertise-client-urls={client} --listen-client-urls={client},http://127.0.0.1:2379"
            " --heartbeat-interval=1000 --election-timeout=10000",
            use_sudo=True,
        ).check()


def leads(member: EC2Instance) -> bool:
    result = member.execute("etcdctl endpoint status --write-out=json")
    if not result.ok:
        return False
    status = json.loads(result.stdout)[0]["Status"]
    return bool(status.get("leader") == status["header"]["member_id"])


def wait_for_leader(members: list[EC2Instance]) -> EC2Instance:
    return wait_until(
        lambda: next(filter(leads, members), None),
        what="a leader",
        deadline=Deadline.after(600),
    )


progress.show()
with TemporaryDirectory() as directory, LocalEC2(network="namespaces") as local:
    settings = StringIO(local.info.settings_toml())
    with EC2("cluster", config_file=settings) as ec2:
        ec2.key_pair = KeyPair.generate(directory)
        vpc = ec2.get_or_create_vpc(ec2.tag, "10.0.0.0/16")
        members = ec2.launch_many(ec2.daily_image("trixie"), 3, vpc=vpc, user_data=INSTALL)
        start(members)
        first = wait_for_leader(list(members))
        print("one of 3 leads:", first.execute("etcdctl put color blue").check().strip())
        others = [one for one in members if one.id != first.id]
        with local.partition(first.id, others[0].id), local.partition(first.id, others[1].id):
            second = wait_for_leader(others)
            print("another one leads:", second.execute("etcdctl put color green").check().strip())
            print("the first one, cut off, writes:", first.execute("etcdctl put color red").ok)
        read = "etcdctl get --print-value-only color"
        wait_until(
            lambda: first.execute(read).ok,
            what="the first one to follow",
            deadline=Deadline.after(600),
        )
        print("the first one, back again, reads:", first.execute(read).check().strip())
