"""An EC2 instance and its lifecycle: start, stop, reboot, and termination."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from functools import partial

from pycloudlib.deadline import SYSTEM_CLOCK, Deadline
from pycloudlib.ec2.api.consistency import call_until_consistent
from pycloudlib.ec2.api.faults import translated
from pycloudlib.ec2.instances.attached_interfaces import InstanceWithInterfaces
from pycloudlib.ec2.instances.attached_volumes import InstanceWithVolumes
from pycloudlib.ec2.instances.boots import InstanceWithBoots
from pycloudlib.ec2.instances.description import InstanceState
from pycloudlib.ec2.instances.instance_context import InstanceContext
from pycloudlib.ec2.instances.root_volume import RootVolumeTasks, checked_source
from pycloudlib.ec2.instances.state_requests import Operation, request_state
from pycloudlib.ec2.network.addresses import ElasticAddress
from pycloudlib.errors import (
    IllegalStateError,
    InstanceNotFoundError,
    InvalidArgumentError,
    PycloudlibError,
)
from pycloudlib.setting_values import CloudInitFailure

logger = logging.getLogger(__name__)

PROTECTED_CODE = "OperationNotPermitted"
"""The error code of TerminateInstances for a protected instance."""


class EC2Instance(InstanceWithBoots, InstanceWithVolumes, InstanceWithInterfaces):
    """An EC2 instance. As a context manager, it deletes the instance on exit.

    `EC2.launch()` and `EC2.get_instance()` return instances.

    Args:
        description: the description from EC2.
        context: the cloud context.
        username: the login user.
        key_pair: the key pair for SSH logins; None for an instance without logins.
        launched: whether the instance is newly launched and may not be visible yet; default no.
    """

    stop_timeout: float = 600.0
    """The timeout of `wait_for_stop()` in seconds."""

    delete_timeout: float = 600.0
    """The timeout of `wait_for_delete()` and `delete()` in seconds."""

    def _create_parts(self, context: InstanceContext, *, launched: bool) -> None:
        super()._create_parts(context, launched=launched)
        self._root_volume_tasks = RootVolumeTasks(context.region_context, self._volumes)
        self._gone = False
        self._leaving_addresses: list[ElasticAddress] = []

    @property
    def termination_protection(self) -> bool:
        """Whether termination protection is on (DescribeInstanceAttribute, ModifyInstanceAttribute).

        Raises:
            InstanceStateError: it was set for a deleted instance.
            CloudError: EC2 rejected the request.
        """
        with translated():
            response = self._context.client.describe_instance_attribute(
                InstanceId=self.id, Attribute="disableApiTermination"
            )
        return bool(response.get("DisableApiTermination", {}).get("Value", False))

    @termination_protection.setter
    def termination_protection(self, protected: bool) -> None:
        self._refuse_if_deleted("protected")
        if not isinstance(protected, bool):
            raise InvalidArgumentError(f"termination_protection is {protected!r}; it must be True or False")
        call_until_consistent(
            partial(
                self._context.client.modify_instance_attribute,
                InstanceId=self.id,
                DisableApiTermination={"Value": protected},
            ),
            what=f"protect {self.id}" if protected else f"unprotect {self.id}",
            patience=self._status.consistency_patience,
        )

    def wait_for_stop(self) -> None:
        """Wait until the instance is stopped.

        Raises:
            InstanceStateError: the instance was terminated instead.
            PycloudlibTimeoutError: the instance was not stopped within `stop_timeout`.
        """
        self._wait_for_stop_by(Deadline.after(self.stop_timeout))

    def wait_for_delete(self) -> None:
        """Wait until the instance is terminated, or EC2 no longer describes it.

        Raises:
            PycloudlibTimeoutError: the instance was not terminated within `delete_timeout`.
        """
        self._wait_for_delete_by(Deadline.after(self.delete_timeout))

    def restart(self, wait: bool = True, *, cloud_init_failure: CloudInitFailure | None = None) -> None:
        """Reboot the instance (RebootInstances).

        Args:
            wait: whether to wait until the instance is ready again, with a new boot id; default yes.
            cloud_init_failure: as for `wait()`.

        Raises:
            InstanceStateError: the instance is not running.
            SSHAuthenticationError: the instance rejected the key; `wait=False` does not log in first.
            HostKeyError: the host key has changed.
            InstanceError: as for `wait()`.
        """
        criteria = self._criteria(None, cloud_init_failure)
        self._restart_by(criteria.deadline, notes_boot_id=wait)
        if wait:
            self._wait_for_boot(criteria)

    def shutdown(self, wait: bool = True) -> None:
        """Stop the instance (StopInstances). No-op if it is stopped.

        Args:
            wait: whether to wait until the instance is stopped; default yes.

        Raises:
            InstanceStateError: the instance is terminated, or its state does not allow a stop.
            PycloudlibTimeoutError: the instance was not stopped within `stop_timeout`.
        """
        self._shutdown_by(Deadline.after(self.stop_timeout), wait=wait)

    def start(self, wait: bool = True, *, cloud_init_failure: CloudInitFailure | None = None) -> None:
        """Start the stopped instance (StartInstances), which then gets a new public address.

        Args:
            wait: whether to wait until the instance is ready; default yes.
            cloud_init_failure: as for `wait()`.

        Raises:
            InstanceStateError: the instance is terminated, or still stopping.
            InstanceError: as for `wait()`.
        """
        criteria = self._criteria(None, cloud_init_failure)
        self._start_by(criteria.deadline)
        if wait:
            self._wait_for_boot(criteria)

    def replace_root_volume(
        self,
        image_id: str | None = None,
        snapshot_id: str | None = None,
        wait: bool = True,
        *,
        timeout: float | None = None,
        cloud_init_failure: CloudInitFailure | None = None,
    ) -> None:
        """Replace the root volume, and boot from the new one (CreateReplaceRootVolumeTask).

        The instance becomes pristine without a launch. It keeps its id, its addresses, and its other volumes. It boots
        as for the first time, with new host keys. EC2 deletes the replaced volume. The login user remains `username`.

        Args:
            image_id: the AMI to boot from, with the architecture of the instance; default none.
            snapshot_id: the snapshot to boot from, taken from a root volume of this instance; default none. Without
                either, the volume returns to its launch state.
            wait: whether to wait until the instance is ready again; default yes. The new volume gets the tags of the
                replaced one only if true.
            timeout: seconds; default `boot_timeout`.
            cloud_init_failure: as for `wait()`.

        Raises:
            InvalidArgumentError: `image_id` and `snapshot_id` are both given, or one is not an id.
            InstanceStateError: the instance is not running, or a replacement is in progress.
            IllegalStateError: EC2 failed to replace the volume.
            CloudError: EC2 rejected the request, for example for another architecture or a snapshot of another volume.
            PycloudlibTimeoutError: the volume was not replaced, or the instance not ready, in time; a NoResponseError
                if EC2 did not respond.
            InstanceError: as for `wait()`.
        """
        source = checked_source(image_id, snapshot_id)
        criteria = self._criteria(timeout, cloud_init_failure)
        deadline = criteria.deadline
        self._expect_state("given another root volume", {InstanceState.RUNNING}, deadline)
        device_name = str(self._record(deadline).get("RootDeviceName", ""))
        replaced = self._root_volume_tasks.root_volume(self.id, device_name, deadline) if wait else None
        if wait:
            self._note_boot_id(deadline)
        self._note_console(deadline)
        task_id = self._begin_root_replacement(source, deadline)
        if replaced is None:
            return
        self._root_volume_tasks.wait_until_succeeded(task_id, deadline)
        replacement = self._root_volume_tasks.root_volume(self.id, device_name, deadline)
        self._root_volume_tasks.tag(replacement.id, replaced.tags, deadline)
        self._wait_for_boot(criteria)

    def delete(self, wait: bool = True) -> list[Exception]:
        """Terminate the instance (TerminateInstances). No-op if it is deleted.

        Return within `delete_timeout`, even if EC2 does not respond.

        Args:
            wait: whether to wait until the instance is terminated; default yes.

        Returns:
            The errors; empty on success. They include a NoResponseError if EC2 did not respond in time.
        """
        return self._delete_by(Deadline.after(self.delete_timeout), wait=wait)

    # By a deadline: also for the fleet, and for the creation of images

    def _start_by(self, deadline: Deadline) -> None:
        startable = {InstanceState.STOPPED, InstanceState.RUNNING, InstanceState.PENDING}
        self._expect_state("started", startable, deadline)
        self._note_console(deadline)
        self._request("started", "start_instances", deadline)

    def _restart_by(self, deadline: Deadline, *, notes_boot_id: bool = False) -> None:
        self._expect_state("restarted", {InstanceState.RUNNING}, deadline)
        if notes_boot_id:
            self._note_boot_id(deadline)
        self._note_console(deadline)
        self._request("restarted", "reboot_instances", deadline)

    def _shutdown_by(self, deadline: Deadline, *, wait: bool = True) -> None:
        stoppable = set(InstanceState) - {InstanceState.SHUTTING_DOWN, InstanceState.TERMINATED}
        self._expect_state("stopped", stoppable, deadline)
        self._request("stopped", "stop_instances", deadline)
        if wait:
            self._wait_for_stop_by(deadline)

    def _delete_by(self, deadline: Deadline, *, wait: bool = True) -> list[Exception]:
        if self._gone:
            logger.info("%s is deleted already", self.id)
            return []
        errors: list[Exception] = []
        try:
            self._terminate(deadline)
            errors += self._release_addresses(self._leaving_addresses, deadline)
            if wait:
                self._wait_for_delete_by(deadline)
        except PycloudlibError as error:
            errors.append(error)
        return errors

    def _wait_for_stop_by(self, deadline: Deadline) -> None:
        began = SYSTEM_CLOCK.now()
        self._status.wait_for_stop(deadline)
        self._progress.report_state("is stopped", SYSTEM_CLOCK.now() - began)

    def _wait_for_delete_by(self, deadline: Deadline) -> None:
        began = SYSTEM_CLOCK.now()
        self._status.wait_for_end(deadline)
        self._progress.report_state("is terminated", SYSTEM_CLOCK.now() - began)
        self._gone = True
        self._context.on_deleted(self.id)

    # Requests

    def _expect_state(self, verb: str, allowed: Collection[InstanceState], deadline: Deadline) -> None:
        self._refuse_if_deleted(verb)
        state = self._state_by(deadline)
        if state not in allowed:
            raise self._state_error(f"it cannot be {verb}: it is {state}")

    def _request(self, verb: str, operation: Operation, deadline: Deadline) -> None:
        # Another thread may have deleted the instance since the state check.
        self._refuse_if_deleted(verb)
        try:
            request_state(self._context.client, operation, [self.id], deadline)
        except IllegalStateError as error:
            raise self._state_error(f"it cannot be {verb}: {error}") from error
        self._note_request(started=operation == "start_instances")

    def _begin_root_replacement(self, source: Mapping[str, str], deadline: Deadline) -> str:
        try:
            task_id = self._root_volume_tasks.create(self.id, source, deadline)
        except IllegalStateError as error:
            raise self._state_error(f"it cannot be given another root volume: {error}") from error
        self._note_request()
        self._boots.expect_first_boot()
        return task_id

    def _terminate(self, deadline: Deadline) -> None:
        if self._status.deletion_requested:
            logger.info("%s is being deleted already", self.id)
            return
        self._prepare_deletion(deadline)
        try:
            call_until_consistent(
                partial(self._context.client.terminate_instances, InstanceIds=[self.id]),
                what=f"terminate {self.id}",
                deadline=deadline,
                patience=self._status.consistency_patience,
            )
        except InstanceNotFoundError:
            logger.info("EC2 no longer lists %s", self.id)
        except IllegalStateError as error:
            if error.code != PROTECTED_CODE:
                raise
            raise self._state_error(
                "it cannot be deleted: it has termination protection; set termination_protection = False first"
            ) from error
        self._note_deletion()

    def _prepare_deletion(self, deadline: Deadline) -> None:
        """Record the elastic addresses to release with the instance, before TerminateInstances."""
        self._leaving_addresses = self._addresses_to_release(deadline)

    def _note_deletion(self) -> None:
        """Record a TerminateInstances request, for this instance alone or for a fleet."""
        self._status.note_deletion()
        self._ssh.close()
