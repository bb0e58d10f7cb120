"""Request handlers for volumes."""

from __future__ import annotations

from pycloudlib.local.api.moto_adapter import ActionResult, EC2Response


class VolumeResponse(EC2Response):
    """Handles actions on volumes whose parameters moto's handlers drop."""

    def create_volume(self) -> ActionResult:
        """CreateVolume."""
        zone, zone_id = self._get_param("AvailabilityZone"), self._get_param("AvailabilityZoneId")
        volume = self.ec2_backend.create_volume(
            size=self._get_param("Size"),
            zone_name=self.ec2_backend.zone_named_by_id(zone_id) if zone is None else zone,
            snapshot_id=self._get_param("SnapshotId"),
            encrypted=self._get_bool_param("Encrypted", False),
            kms_key_id=self._get_param("KmsKeyId"),
            volume_type=self._get_param("VolumeType"),
            iops=self._get_param("Iops"),
            throughput=self._get_param("Throughput"),
            multi_attach_enabled=self._get_param("MultiAttachEnabled"),
        )
        volume.add_tags(self._parse_tag_specification().get("volume", {}))
        return ActionResult(
            {
                "VolumeId": volume.id,
                "State": "creating",
                "Size": volume.size,
                "SnapshotId": volume.snapshot_id or "",
                "AvailabilityZone": volume.availability_zone,
                "CreateTime": volume.create_time,
                "Encrypted": volume.encrypted,
                "KmsKeyId": volume.kms_key_id,
                "VolumeType": volume.volume_type,
                "Iops": volume.iops,
                "Throughput": volume.throughput,
                "MultiAttachEnabled": False,
                "Tags": volume.tag_set,
            }
        )

    def attach_volume(self) -> ActionResult:
        """AttachVolume."""
        attachment = self.ec2_backend.attach_volume(
            self._get_param("VolumeId"), self._get_param("InstanceId"), self._get_param("Device")
        )
        return ActionResult(
            {
                "VolumeId": attachment.volume.id,
                "InstanceId": attachment.instance.id,
                "Device": attachment.device,
                "State": "attaching",
                "AttachTime": attachment.attach_time,
                "DeleteOnTermination": attachment.delete_on_termination,
            }
        )

    def detach_volume(self) -> ActionResult:
        """DetachVolume."""
        attachment = self.ec2_backend.detach_volume(
            self._get_param("VolumeId"),
            self._get_param("InstanceId"),
            self._get_param("Device"),
            force=self._get_bool_param("Force", False),
        )
        return ActionResult(
            {
                "VolumeId": attachment.volume.id,
                "InstanceId": attachment.instance.id,
                "Device": attachment.device,
                "State": "detaching",
                "AttachTime": attachment.attach_time,
                "DeleteOnTermination": attachment.delete_on_termination,
            }
        )

    def describe_instance_attribute(self) -> ActionResult:
        """DescribeInstanceAttribute; moto's blockDeviceMapping cannot be parsed."""
        if self._get_param("Attribute") != "blockDeviceMapping":
            return super().describe_instance_attribute()
        instance = self.ec2_backend.get_instance(self._get_param("InstanceId"))
        return ActionResult({"InstanceId": instance.id, "BlockDeviceMappings": instance.block_device_mappings})
