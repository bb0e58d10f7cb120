"""The exception hierarchy of this library.

PycloudlibException
└── PycloudlibError
    ├── CloudSetupError               the cloud object cannot be set up
    │   ├── ConfigError               invalid settings (.problems) (also ValueError)
    │   ├── CredentialsError          no credentials, or rejected ones
    │   └── KeyPairError              an invalid SSH key
    │       └── UnsetSSHKeyError      no SSH key
    ├── MissingPrerequisiteError      a missing program or optional dependency
    ├── InvalidArgumentError          an invalid argument; no request was sent (also ValueError)
    │   └── InvalidTagNameError
    ├── CloudError                    EC2 rejected a request (.code, .operation, .request_id)
    │   ├── ResourceNotFoundError     (.resource_type, .resource_id)
    │   │   ├── ImageNotFoundError    (also ValueError)
    │   │   ├── InstanceNotFoundError
    │   │   ├── KeyPairNotFoundError
    │   │   └── NetworkNotFoundError
    │   ├── PermissionDeniedError
    │   ├── IllegalStateError         the resource's state does not allow the request
    │   ├── CapacityError             a quota reached, or no capacity left
    │   └── ThrottledError
    ├── PycloudlibTimeoutError        (also TimeoutError) (.what, .seconds, .last_seen)
    │   └── NoResponseError           EC2 did not respond
    ├── InstanceError                 (.instance_id, .state, .console_tail, .instance)
    │   ├── BootError                 a failed boot: panic, power-off, termination
    │   │   └── CloudInitError        cloud-init finished with an error
    │   ├── InstanceTimeoutError      (also PycloudlibTimeoutError)
    │   │   └── BootTimeoutError
    │   └── InstanceStateError        the instance is deleted, has no address, ...
    ├── FleetError                    some instances of a fleet failed (.errors, .results, .fleet)
    ├── SSHError
    │   ├── SSHConnectionError        the connection failed or was lost
    │   │   └── SSHNegotiationError   no algorithm in common
    │   ├── LoginShellError           the login does not run commands (.output, .advised_user)
    │   ├── SSHAuthenticationError    the key was rejected
    │   ├── HostKeyError              the host key does not match
    │   ├── CommandTimeoutError       (also PycloudlibTimeoutError)
    │   └── TransferError
    ├── CommandError                  a failed command, from Result.check() (.result)
    ├── CleanupError                  the resources that could not be deleted (.errors)
    └── LocalEC2Error                 the local EC2, on this machine
        ├── LocalEC2NotRunningError   none of this name is running
        ├── ImageError                a disk image that cannot be built or used
        │   ├── DownloadError         an image that cannot be downloaded (.status)
        │   └── VerificationError     a download with a wrong checksum or signature
        └── MachineError              a virtual machine that did not start
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pycloudlib.result import Result


class ResourceType(Enum):
    """The types of resources that can be missing."""

    IMAGE = "image"
    INSTANCE = "instance"
    KEY_PAIR = "key pair"
    NETWORK = "network"

    def __str__(self) -> str:
        return self.value


class PycloudlibException(Exception):  # noqa: N818  (the name that suites catch)
    """The root of this library's exceptions."""

    def __reduce__(self) -> tuple[object, ...]:
        # Exception's default calls the class with the message alone, which most classes here do not accept.
        return _rebuild, (type(self), self.args, self._state())

    def _state(self) -> dict[str, object]:
        # An instance has connections, which cannot leave this process.
        return {name: None if name == "instance" else value for name, value in self.__dict__.items()}


def _rebuild(cls: type[PycloudlibException], args: tuple[object, ...], state: dict[str, object]) -> PycloudlibException:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class PycloudlibError(PycloudlibException):
    """The root of this library's errors. An error that ended a launch has the attributes of the instance."""

    instance_id: str = ""
    state: str = ""
    console_tail: str = ""
    instance: Any = None


class CloudSetupError(PycloudlibError):
    """The cloud object cannot be set up."""


class ConfigError(CloudSetupError, ValueError):
    """The settings are invalid.

    Args:
        problems: one line for each problem: its place, the value, and what is allowed.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        if len(self.problems) == 1:
            super().__init__(self.problems[0])
        else:
            super().__init__("\n  ".join([f"{len(self.problems)} problems in the settings:", *self.problems]))


class CredentialsError(CloudSetupError):
    """There are no AWS credentials, or AWS rejected them."""


class KeyPairError(CloudSetupError):
    """An SSH key is invalid: unreadable, malformed, protected by a passphrase, or from another pair."""


class UnsetSSHKeyError(KeyPairError):
    """An SSH key is required, but none is configured."""


class MissingPrerequisiteError(PycloudlibError):
    """A program or an optional dependency is not installed; the message says how to install it."""


class InvalidArgumentError(PycloudlibError, ValueError):
    """An argument is invalid, and no request was sent to the cloud."""


class InvalidTagNameError(InvalidArgumentError):
    """A tag cannot be a resource name.

    Args:
        tag: the invalid tag.
        rules_failed: the rules that it violates.
    """

    def __init__(self, tag: str, rules_failed: Sequence[str]) -> None:
        self.tag = tag
        self.rules_failed = tuple(rules_failed)
        super().__init__(f"Tag '{tag}' failed the following rules: {', '.join(self.rules_failed)}")


class CloudError(PycloudlibError):
    """EC2 rejected a request.

    Args:
        message: the complete message, one line.
        code: the AWS error code. See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
        operation: the AWS action, such as "RunInstances".
        request_id: the request id, for AWS support.
    """

    def __init__(self, message: str, *, code: str = "", operation: str = "", request_id: str = "") -> None:
        self.code = code
        self.operation = operation
        self.request_id = request_id
        super().__init__(message)


class ResourceNotFoundError(CloudError):
    """The requested resource does not exist.

    Args:
        resource_type: the type of the resource.
        resource_id: the id, such as "ami-0123456789abcdef0".
        resource_name: the name.
        message: the complete message, one line; default: built from the type, the id, the name, and the details.
        code: the AWS error code.
        operation: the AWS action.
        request_id: the request id, for AWS support.
        **details: further details for the default message.
    """

    resource_type: ResourceType | None = None

    def __init__(
        self,
        resource_type: ResourceType | None = None,
        resource_id: str | None = None,
        resource_name: str | None = None,
        *,
        message: str = "",
        code: str = "",
        operation: str = "",
        request_id: str = "",
        **details: object,
    ) -> None:
        self.resource_type = resource_type
        self.resource_id = resource_id
        self.resource_name = resource_name
        facts = {"id": resource_id, "name": resource_name, **details}
        super().__init__(
            message or _missing(resource_type, facts), code=code, operation=operation, request_id=request_id
        )


def _missing(resource_type: ResourceType | None, facts: Mapping[str, object]) -> str:
    details = ", ".join(f"{name}={value}" for name, value in facts.items() if value)
    return f"Could not locate the resource type `{resource_type or 'unknown'}`{f': {details}' if details else ''}"


class ImageNotFoundError(ResourceNotFoundError, ValueError):
    """The AMI does not exist."""

    resource_type = ResourceType.IMAGE

    def __init__(self, resource_id: str | None = None, resource_name: str | None = None, **more: Any) -> None:
        super().__init__(ResourceType.IMAGE, resource_id, resource_name, **more)


class InstanceNotFoundError(ResourceNotFoundError):
    """The instance does not exist."""

    resource_type = ResourceType.INSTANCE

    def __init__(self, resource_id: str | None = None, resource_name: str | None = None, **more: Any) -> None:
        super().__init__(ResourceType.INSTANCE, resource_id, resource_name, **more)


class KeyPairNotFoundError(ResourceNotFoundError):
    """The EC2 key pair does not exist."""

    resource_type = ResourceType.KEY_PAIR

    def __init__(self, resource_id: str | None = None, resource_name: str | None = None, **more: Any) -> None:
        super().__init__(ResourceType.KEY_PAIR, resource_id, resource_name, **more)


class NetworkNotFoundError(ResourceNotFoundError):
    """The VPC, subnet, or network interface does not exist."""

    resource_type = ResourceType.NETWORK

    def __init__(self, resource_id: str | None = None, resource_name: str | None = None, **more: Any) -> None:
        super().__init__(ResourceType.NETWORK, resource_id, resource_name, **more)


class PermissionDeniedError(CloudError):
    """The credentials lack the permission for the request."""


class IllegalStateError(CloudError):
    """The state of the resource does not allow the request."""


class CapacityError(CloudError):
    """A quota is reached, or EC2 has no capacity left."""


class ThrottledError(CloudError):
    """EC2 throttled the request."""


class PycloudlibTimeoutError(PycloudlibError, TimeoutError):
    """A wait timed out.

    Args:
        message: the complete message, one line.
        what: what was awaited.
        seconds: the timeout.
        last_seen: the last state; empty if none was seen.
    """

    def __init__(self, message: str, *, what: str = "", seconds: float = 0.0, last_seen: str = "") -> None:
        self.what = what
        self.seconds = seconds
        self.last_seen = last_seen
        super().__init__(message)


class NoResponseError(PycloudlibTimeoutError):
    """EC2 did not respond in time. Whether it acted on the request is unknown."""


class InstanceError(PycloudlibError):
    """An error of one instance.

    Args:
        message: the complete message, one line.
        instance_id: the instance id, such as "i-0123456789abcdef0".
        state: the last EC2 state; empty if unknown.
        console_tail: the end of the console log, which is printed below the message.
        instance: the instance object, for callers that keep it.
    """

    def __init__(
        self,
        message: str,
        *,
        instance_id: str = "",
        state: str = "",
        console_tail: str = "",
        instance: Any = None,
    ) -> None:
        self.instance_id = instance_id
        self.state = state
        self.console_tail = console_tail
        self.instance = instance
        super().__init__(message)

    def __str__(self) -> str:
        message = super().__str__()
        if not self.console_tail:
            return message
        return f"{message}\nThe end of its console log:\n{self.console_tail}"


class BootError(InstanceError):
    """The boot failed: the kernel panicked, or the instance powered off, was terminated, or rejects the key."""


class CloudInitError(BootError):
    """cloud-init finished with an error in the instance."""


class InstanceTimeoutError(InstanceError, PycloudlibTimeoutError):
    """A wait for an instance timed out.

    Args:
        message: the complete message, one line.
        what: what was awaited.
        seconds: the timeout.
        last_seen: the last state.
        instance_id: the instance id.
        state: the last EC2 state.
        console_tail: the end of the console log.
        instance: the instance object.
    """

    def __init__(
        self,
        message: str,
        *,
        what: str = "",
        seconds: float = 0.0,
        last_seen: str = "",
        instance_id: str = "",
        state: str = "",
        console_tail: str = "",
        instance: Any = None,
    ) -> None:
        InstanceError.__init__(
            self,
            message,
            instance_id=instance_id,
            state=state,
            console_tail=console_tail,
            instance=instance,
        )
        self.what = what
        self.seconds = seconds
        self.last_seen = last_seen


class BootTimeoutError(InstanceTimeoutError):
    """The instance was not ready in time."""


class InstanceStateError(InstanceError):
    """The state of the instance does not allow the call: it is deleted, has no address, ..."""


class FleetError(PycloudlibError):
    """Some instances of a fleet failed; the others completed the operation.

    Args:
        what: the failed operation, as in "to be ready".
        errors: the errors, by instance id.
        results: the results of the other instances, by instance id.
        fleet: the whole fleet.
    """

    def __init__(
        self,
        what: str,
        *,
        errors: Mapping[str, Exception],
        results: Mapping[str, object],
        fleet: object = None,
    ) -> None:
        self.errors = dict(errors)
        self.results = dict(results)
        self.fleet = fleet
        count = len(self.errors) + len(self.results)
        reasons = [
            reason if instance_id in reason else f"{instance_id}: {reason}"
            for instance_id, reason in ((key, str(error)) for key, error in self.errors.items())
        ]
        super().__init__("\n  ".join([f"{len(self.errors)} of {count} instances failed {what}:", *reasons]))

    def _state(self) -> dict[str, object]:
        # The instances have connections, which cannot leave this process.
        return {**self.__dict__, "fleet": None}


class SSHError(PycloudlibError):
    """The root of SSH errors."""


class SSHConnectionError(SSHError):
    """The connection failed or was lost. A retry may succeed."""

    unresponsive: bool = False
    """Whether the host accepted the TCP connection but did not respond in time."""


class SSHAuthenticationError(SSHError):
    """The instance rejected the key. A retry succeeds only while cloud-init has yet to install the key."""


class SSHNegotiationError(SSHConnectionError):
    """The host and the client have no algorithm in common. A retry cannot succeed."""


class LoginShellError(SSHError):
    """The login does not run commands: a forced command, nologin, or an expired password.

    Args:
        message: the complete message, one line.
        output: its output, on one line.
        advised_user: the login user that the output advises; empty without such advice.
    """

    def __init__(self, message: str, *, output: str = "", advised_user: str = "") -> None:
        self.output = output
        self.advised_user = advised_user
        super().__init__(message)


class HostKeyError(SSHError):
    """The host key does not match the expected one."""


class CommandTimeoutError(SSHError, PycloudlibTimeoutError):
    """A command timed out.

    Args:
        message: the complete message, one line.
        what: the command.
        seconds: the timeout.
        last_seen: the end of the last output.
    """


class TransferError(SSHError):
    """A file could not be pushed or pulled."""


class CommandError(PycloudlibError):
    """A command failed.

    Args:
        message: the command and both of its streams.
        result: the command's result.
    """

    def __init__(self, message: str, *, result: Result) -> None:
        self.result = result
        super().__init__(message)


class CleanupError(PycloudlibError):
    """Some resources could not be deleted.

    Args:
        errors: the errors, one for each remaining resource.
    """

    def __init__(self, errors: Sequence[Exception]) -> None:
        self.errors = tuple(errors)
        count = f"{len(self.errors)} resource{'s' if len(self.errors) != 1 else ''}"
        super().__init__("\n  ".join([f"{count} could not be deleted:", *map(str, self.errors)]))


class LocalEC2Error(PycloudlibError):
    """An error of the local EC2 on this machine."""


class LocalEC2NotRunningError(LocalEC2Error):
    """No local EC2 of this name is running."""


class ImageError(LocalEC2Error):
    """A disk image cannot be built or used."""


class DownloadError(ImageError):
    """An image, or the index of a publisher's images, cannot be downloaded.

    Args:
        message: the complete message, one line.
        status: the HTTP status of the response; default 0, for no response.
    """

    def __init__(self, message: str, *, status: int = 0) -> None:
        self.status = status
        super().__init__(message)


class VerificationError(ImageError):
    """The checksum of a downloaded image, or the signature of an index, is wrong."""


class MachineError(LocalEC2Error):
    """A virtual machine did not start."""
