"""Any sequence of API calls to simulated machines: every state settles, and nothing is left after the last call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from pycloudlib.deadline import Deadline
from pycloudlib.waiting import wait_until
from support.plain_ec2 import ZONE, newest_image

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

SECONDS = {"boot_seconds": 0.03, "stop_seconds": 0.02, "terminate_seconds": 0.02, "image_seconds": 0.02}
NUMBERS = st.integers(0, 5)
HTTP_FAULT = 500
SETTLED = {"running", "stopped", "terminated", "available", "in-use", "attached", "completed", "error", "failed"}


@pytest.fixture(scope="module")
def local_options() -> dict[str, Any]:
    return dict(SECONDS)


class World:
    """What there is in an EC2 of one's own."""

    def __init__(self, client: EC2Client) -> None:
        self.client = client
        self.image_id = newest_image(client)["ImageId"]
        self.subnet_id = next(
            one["SubnetId"] for one in client.describe_subnets()["Subnets"] if one["AvailabilityZone"] == ZONE
        )

    def instances(self) -> list[dict[str, Any]]:
        reservations = self.client.describe_instances()["Reservations"]
        return [dict(instance) for one in reservations for instance in one["Instances"]]

    def living(self) -> list[str]:
        return [one["InstanceId"] for one in self.instances() if one["State"]["Name"] != "terminated"]

    def volumes(self) -> list[dict[str, Any]]:
        return [dict(one) for one in self.client.describe_volumes()["Volumes"]]

    def snapshots(self) -> list[dict[str, Any]]:
        return [dict(one) for one in self.client.describe_snapshots(OwnerIds=["self"])["Snapshots"]]

    def images(self) -> list[dict[str, Any]]:
        return [dict(one) for one in self.client.describe_images(Owners=["self"])["Images"]]

    def interfaces(self) -> list[dict[str, Any]]:
        return [dict(one) for one in self.client.describe_network_interfaces()["NetworkInterfaces"]]

    def unsettled(self) -> list[str]:
        """Everything that is in a state which has to pass."""
        states = [(one["InstanceId"], one["State"]["Name"]) for one in self.instances()]
        for volume in self.volumes():
            states.append((volume["VolumeId"], volume["State"]))
            states += [(volume["VolumeId"], one["State"]) for one in volume["Attachments"]]
        for instance in self.instances():
            mapped = instance.get("BlockDeviceMappings", [])
            states += [(instance["InstanceId"], one["Ebs"]["Status"]) for one in mapped]
        for interface in self.interfaces():
            states.append((interface["NetworkInterfaceId"], interface["Status"]))
            if "Attachment" in interface:
                states.append((interface["NetworkInterfaceId"], interface["Attachment"]["Status"]))
        states += [(one["SnapshotId"], one["State"]) for one in self.snapshots()]
        states += [(one["ImageId"], one["State"]) for one in self.images()]
        modifications = self.client.describe_volumes_modifications()["VolumesModifications"]
        states += [(one["VolumeId"], one["ModificationState"]) for one in modifications]
        return [f"{name} is {state}" for name, state in states if state not in SETTLED]

    def settle(self) -> None:
        """Wait until every state is one that may last."""
        last: list[str] = []

        def is_settled() -> bool:
            last[:] = self.unsettled()
            return not last

        wait_until(
            is_settled,
            what="everything to settle",
            deadline=Deadline.after(60),
            interval=0.02,
            last_seen=lambda: ", ".join(last),
        )

    def leave(self) -> None:
        """Delete everything."""
        living = self.living()
        if living:
            self.client.terminate_instances(InstanceIds=living)
        self.settle()
        for image in self.images():
            self.client.deregister_image(ImageId=image["ImageId"])
        for snapshot in self.snapshots():
            self.client.delete_snapshot(SnapshotId=snapshot["SnapshotId"])
        for volume in self.volumes():
            self.client.delete_volume(VolumeId=volume["VolumeId"])
        for interface in self.interfaces():
            self.client.delete_network_interface(NetworkInterfaceId=interface["NetworkInterfaceId"])


class AnySequence(RuleBasedStateMachine):
    """Calls without waiting for what came of the one before; EC2 may refuse them."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.images = 0

    def call(self, function: Callable[..., Any], **parameters: Any) -> None:
        try:
            function(**parameters)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] >= HTTP_FAULT:
                raise

    def instance(self, number: int) -> str:
        living = self.world.living()
        return living[number % len(living)] if living else "i-0123456789abcdef0"

    def volume(self, number: int) -> str:
        volumes = self.world.volumes()
        return volumes[number % len(volumes)]["VolumeId"] if volumes else "vol-0123456789abcdef0"

    @initialize()
    def begin(self) -> None:
        self.run()
        self.world.settle()

    @rule()
    def run(self) -> None:
        if len(self.world.living()) < 3:
            mapping = {"DeviceName": "/dev/sdb", "Ebs": {"VolumeSize": 1}}
            self.call(
                self.world.client.run_instances,
                ImageId=self.world.image_id,
                MinCount=1,
                MaxCount=1,
                InstanceType="t3.large",
                Placement={"AvailabilityZone": ZONE},
                BlockDeviceMappings=[mapping],
            )

    @rule(number=NUMBERS)
    def start(self, number: int) -> None:
        self.call(self.world.client.start_instances, InstanceIds=[self.instance(number)])

    @rule(number=NUMBERS, force=st.booleans())
    def stop(self, number: int, force: bool) -> None:
        self.call(self.world.client.stop_instances, InstanceIds=[self.instance(number)], Force=force)

    @rule(number=NUMBERS)
    def reboot(self, number: int) -> None:
        self.call(self.world.client.reboot_instances, InstanceIds=[self.instance(number)])

    @rule(number=NUMBERS, no_reboot=st.booleans())
    def create_image(self, number: int, no_reboot: bool) -> None:
        self.images += 1
        name = f"image {self.images}"
        self.call(self.world.client.create_image, InstanceId=self.instance(number), Name=name, NoReboot=no_reboot)

    @rule(number=NUMBERS)
    def create_snapshot(self, number: int) -> None:
        self.call(self.world.client.create_snapshot, VolumeId=self.volume(number))

    @rule()
    def create_volume(self) -> None:
        self.call(self.world.client.create_volume, Size=1, AvailabilityZone=ZONE)

    @rule(volume=NUMBERS, number=NUMBERS, letter=st.sampled_from("fgh"))
    def attach_volume(self, volume: int, number: int, letter: str) -> None:
        self.call(
            self.world.client.attach_volume,
            VolumeId=self.volume(volume),
            InstanceId=self.instance(number),
            Device=f"/dev/sd{letter}",
        )

    @rule(number=NUMBERS)
    def detach_volume(self, number: int) -> None:
        self.call(self.world.client.detach_volume, VolumeId=self.volume(number))

    @rule(number=NUMBERS)
    def delete_volume(self, number: int) -> None:
        self.call(self.world.client.delete_volume, VolumeId=self.volume(number))

    @rule(number=NUMBERS)
    def modify_volume(self, number: int) -> None:
        volumes = self.world.volumes()
        if volumes:
            volume = volumes[number % len(volumes)]
            self.call(self.world.client.modify_volume, VolumeId=volume["VolumeId"], Size=volume["Size"] + 1)

    @rule(number=NUMBERS)
    def attach_interface(self, number: int) -> None:
        free = [one for one in self.world.interfaces() if one["Status"] == "available"]
        interface = (
            free[0]
            if free
            else self.world.client.create_network_interface(SubnetId=self.world.subnet_id)["NetworkInterface"]
        )
        self.call(
            self.world.client.attach_network_interface,
            NetworkInterfaceId=interface["NetworkInterfaceId"],
            InstanceId=self.instance(number),
            DeviceIndex=1,
        )

    @rule(number=NUMBERS)
    def detach_interface(self, number: int) -> None:
        attached = [one["Attachment"] for one in self.world.interfaces() if "Attachment" in one]
        if attached:
            attachment = attached[number % len(attached)]
            self.call(self.world.client.detach_network_interface, AttachmentId=attachment["AttachmentId"])

    @rule(number=NUMBERS)
    def change_interface(self, number: int) -> None:
        interfaces = self.world.interfaces()
        if interfaces:
            self.call(
                self.world.client.assign_private_ip_addresses,
                NetworkInterfaceId=interfaces[number % len(interfaces)]["NetworkInterfaceId"],
                SecondaryPrivateIpAddressCount=1,
            )

    @rule(number=NUMBERS)
    def terminate(self, number: int) -> None:
        self.call(self.world.client.terminate_instances, InstanceIds=[self.instance(number)])

    def teardown(self) -> None:
        self.world.settle()
        assert {one["State"] for one in self.world.images()} <= {"available"}
        self.world.leave()
        left = [
            *self.world.living(),
            *self.world.volumes(),
            *self.world.snapshots(),
            *self.world.images(),
            *self.world.interfaces(),
        ]
        assert left == []


def test_any_sequence_of_calls_settles_and_leaves_nothing(client: EC2Client) -> None:
    world = World(client)
    run_state_machine_as_test(
        lambda: AnySequence(world),
        settings=settings(max_examples=12, stateful_step_count=25, suppress_health_check=list(HealthCheck)),
    )
