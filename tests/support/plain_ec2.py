"""Plain boto3 at a local EC2, and what tests of it need again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from pycloudlib.deadline import Deadline
from pycloudlib.local import LocalEC2
from pycloudlib.waiting import wait_until

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

DEBIAN_DAILIES = "903794441882"
ZONE = "us-east-1a"


@contextmanager
def simulated_ec2(state: Path, **options: Any) -> Iterator[LocalEC2]:
    """Serve a local EC2 of simulated machines for as long as the context lasts.

    Args:
        state: where it keeps its state.
        options: of LocalEC2.
    """
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_STATE_HOME", str(state))
        with LocalEC2(driver="simulated", **options) as local:
            yield local


def reset(local: LocalEC2) -> None:
    """Terminate all machines of a local EC2, and delete all of its records.

    Args:
        local: the local EC2.
    """
    with urlopen(Request(f"{local.endpoint_url}/moto-api/reset", method="POST")):
        pass


def connect(local: LocalEC2, region: str = "") -> EC2Client:
    """Return a client of a local EC2 that does not retry.

    Args:
        local: the local EC2.
        region: default: that of the local EC2.
    """
    return boto3.client(
        "ec2",
        endpoint_url=local.endpoint_url,
        region_name=region or local.region,
        aws_access_key_id=local.access_key_id,
        aws_secret_access_key=local.secret_access_key,
        config=Config(retries={"max_attempts": 1}),
    )


def newest_image(client: EC2Client) -> dict[str, Any]:
    """An image that machines can be launched from."""
    names = [{"Name": "name", "Values": ["debian-12-amd64-daily-*"]}]
    images = client.describe_images(Owners=[DEBIAN_DAILIES], Filters=names)["Images"]
    return max(images, key=lambda image: image["CreationDate"])


def refusal(call: Callable[..., Any], **parameters: Any) -> str:
    """The code with which a call is refused."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return caught.value.response["Error"]["Code"]


class PlainEC2:
    """Calls that tests of volumes, snapshots and images make again and again.

    Args:
        client: how to talk to the EC2.
    """

    def __init__(self, client: EC2Client) -> None:
        self.client = client
        self.image = newest_image(client)

    def launch(self, **parameters: Any) -> str:
        """Launch an instance, and wait until it runs."""
        wanted = {"ImageId": self.image["ImageId"], "MinCount": 1, "MaxCount": 1, **parameters}
        instance_id = self.client.run_instances(**wanted)["Instances"][0]["InstanceId"]
        self.wait_for_instance(instance_id, "running")
        return instance_id

    def stop(self, instance_id: str) -> None:
        """Stop an instance, and wait until it is."""
        self.client.stop_instances(InstanceIds=[instance_id])
        self.wait_for_instance(instance_id, "stopped")

    def start(self, instance_id: str) -> None:
        """Start an instance, and wait until it runs."""
        self.client.start_instances(InstanceIds=[instance_id])
        self.wait_for_instance(instance_id, "running")

    def terminate(self, instance_id: str) -> None:
        """Terminate an instance, and wait until it is."""
        self.client.terminate_instances(InstanceIds=[instance_id])
        self.wait_for_instance(instance_id, "terminated")

    def instance(self, instance_id: str) -> dict[str, Any]:
        """Describe an instance."""
        return self.client.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]

    def devices(self, instance_id: str) -> dict[str, dict[str, Any]]:
        """The volumes of an instance, by device name."""
        return {one["DeviceName"]: one["Ebs"] for one in self.instance(instance_id)["BlockDeviceMappings"]}

    def create_volume(self, **parameters: Any) -> str:
        """Create a volume: a GiB, unless something else is said."""
        wanted = {"AvailabilityZone": ZONE, **parameters}
        if "SnapshotId" not in wanted:
            wanted.setdefault("Size", 1)
        return self.client.create_volume(**wanted)["VolumeId"]

    def attach(self, volume_id: str, instance_id: str, device: str = "/dev/sdf") -> None:
        """Attach a volume, and wait until it is."""
        self.client.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device=device)
        self.wait_for_attachment(volume_id, "attached")

    def volume(self, volume_id: str) -> dict[str, Any]:
        """Describe a volume."""
        return self.client.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]

    def snapshot(self, volume_id: str, **parameters: Any) -> str:
        """Take a snapshot, and wait until it is complete."""
        snapshot_id = self.client.create_snapshot(VolumeId=volume_id, **parameters)["SnapshotId"]
        self.wait_for_snapshot(snapshot_id)
        return snapshot_id

    def describe_snapshot(self, snapshot_id: str) -> dict[str, Any]:
        """Describe a snapshot."""
        return self.client.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]

    def create_image(self, instance_id: str, name: str, **parameters: Any) -> str:
        """Make an image of an instance, and wait until it is available."""
        image_id = self.client.create_image(InstanceId=instance_id, Name=name, **parameters)["ImageId"]
        self.wait_for_image(image_id)
        return image_id

    def describe_image(self, image_id: str) -> dict[str, Any]:
        """Describe an image."""
        return self.client.describe_images(ImageIds=[image_id])["Images"][0]

    def wait_for_instance(self, instance_id: str, state: str) -> None:
        """Wait until an instance is in a state."""
        _wait(lambda: self.instance(instance_id)["State"]["Name"] == state, f"{instance_id} to be {state}")

    def wait_for_attachment(self, volume_id: str, state: str | None) -> None:
        """Wait until a volume's attachment is in a state; None when it is to have none."""

        def reached() -> bool:
            attachments = self.volume(volume_id)["Attachments"]
            return (attachments[0]["State"] if attachments else None) == state

        _wait(reached, f"{volume_id} to be {state}")

    def wait_for_snapshot(self, snapshot_id: str) -> None:
        """Wait until a snapshot is complete."""
        _wait(lambda: self.describe_snapshot(snapshot_id)["State"] == "completed", f"{snapshot_id} to be complete")

    def wait_for_image(self, image_id: str) -> None:
        """Wait until an image is available."""
        _wait(lambda: self.describe_image(image_id)["State"] == "available", f"{image_id} to be available")


def _wait(reached: Callable[[], bool], what: str) -> None:
    wait_until(lambda: reached() or None, what=what, deadline=Deadline.after(240), interval=0.02)
