"""Every error that this library raises, in one tree.

PycloudlibException
└── PycloudlibError
    ├── CloudSetupError               nothing can be asked of the cloud yet
    │   ├── ConfigError               the settings, with every problem found (.problems) (also ValueError)
    │   ├── CredentialsError          there are none, or they were refused
    │   └── KeyPairError              an SSH key that cannot be used
    │       └── UnsetSSHKeyError      no SSH key at all
    ├── MissingPrerequisiteError      a program or an extra that is not installed
    ├── InvalidArgumentError          an argument refused before anything was asked (also ValueError)
    │   └── InvalidTagNameError
    ├── CloudError                    EC2 refused a call (.code, .operation, .request_id)
    │   ├── ResourceNotFoundError     (.resource_type, .resource_id)
    │   │   ├── ImageNotFoundError    (also ValueError)
    │   │   ├── InstanceNotFoundError
    │   │   ├── KeyPairNotFoundError
    │   │   └── NetworkNotFoundError
    │   ├── PermissionDeniedError
    │   ├── IllegalStateError         the resource's state does not allow the call
    │   ├── CapacityError             a quota reached, or no capacity left
    │   └── ThrottledError
    ├── PycloudlibTimeoutError        (also TimeoutError) (.what, .seconds, .last_seen)
    │   └── NoResponseError           EC2 did not respond
    ├── InstanceError                 (.instance_id, .state, .console_tail, .instance)
    │   ├── BootError                 it will never be ready: panic, power-off, termination
    │   │   └── CloudInitError        cloud-init ended in error
    │   ├── InstanceTimeoutError      (also PycloudlibTimeoutError)
    │   │   └── BootTimeoutError
    │   └── InstanceStateError        refused here: deleted already, no address, ...
    ├── FleetError                    some instances of a fleet failed (.errors, .results, .fleet)
    ├── SSHError
    │   ├── SSHConnectionError        no connection, or one that was lost
    │   │   └── SSHNegotiationError   host and client have no algorithm in common
    │   ├── LoginShellError           the login runs something else (.output, .advised_user)
    │   ├── SSHAuthenticationError    the key was refused
    │   ├── HostKeyError              not the host it was before, or claims to be
    │   ├── CommandTimeoutError       (also PycloudlibTimeoutError)
    │   └── TransferError
    ├── CommandError                  Result.check() of a command that failed (.result)
    ├── CleanupError                  everything that could not be deleted (.errors)
    └── LocalEC2Error                 the local EC2, on this machine
        ├── LocalEC2NotRunningError   none of that name is running
        ├── ImageError                a disk image that cannot be built or used
        └── MachineError              a virtual machine that did not start
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pycloudlib.result import Result


class ResourceType(Enum):
    """The kinds of resources that can be missing."""

    IMAGE = "image"
    INSTANCE = "instance"
    KEY_PAIR = "key pair"
    NETWORK = "network"

    def __str__(self) -> str:
        return self.value


class PycloudlibException(Exception):  # noqa: N818  (the name that suites catch)
    """Root of every exception of this library."""

    def __reduce__(self) -> tuple[object, ...]:
        # Exception's own way calls the class with the message alone, which most classes here do not take.
        return _rebuild, (type(self), self.args, self._state())

    def _state(self) -> dict[str, object]:
        # An instance holds connections, which belong to this process.
        return {name: None if name == "instance" else value for name, value in self.__dict__.items()}


def _rebuild(cls: type[PycloudlibException], args: tuple[object, ...], state: dict[str, object]) -> PycloudlibException:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class PycloudlibError(PycloudlibException):
    """Root of every error of this library. One that ended a launch tells of the instance, whatever its kind."""

    instance_id: str = ""
    state: str = ""
    console_tail: str = ""
    instance: object = None


class CloudSetupError(PycloudlibError):
    """The cloud object cannot be set up."""


class ConfigError(CloudSetupError, ValueError):
    """The settings cannot be used.

    Args:
        problems: one line each: where it is, what was found and what is allowed.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        if len(self.problems) == 1:
            super().__init__(self.problems[0])
        else:
            super().__init__("\n  ".join([f"{len(self.problems)} problems in the settings:", *self.problems]))


class CredentialsError(CloudSetupError):
    """There are no AWS credentials, or they were refused."""


class KeyPairError(CloudSetupError):
    """An SSH key cannot be used: unreadable, malformed, protected by a passphrase, or of another pair."""


class UnsetSSHKeyError(KeyPairError):
    """An SSH key is needed and none is configured."""


class MissingPrerequisiteError(PycloudlibError):
    """A program or an optional dependency is not installed; the message says how to install it."""


class InvalidArgumentError(PycloudlibError, ValueError):
    """An argument was refused before anything was asked of the cloud."""


class InvalidTagNameError(InvalidArgumentError):
    """A tag that cannot name resources.

    Args:
        tag: the refused tag.
        rules_failed: the rules that it breaks.
    """

    def __init__(self, tag: str, rules_failed: Sequence[str]) -> None:
        self.tag = tag
        self.rules_failed = tuple(rules_failed)
        super().__init__(f"Tag '{tag}' failed the following rules: {', '.join(self.rules_failed)}")


class CloudError(PycloudlibError):
    """EC2 refused a call.

    Args:
        message: one line for the user.
        code: the AWS error code, as in https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
        operation: the AWS action, such as "RunInstances".
        request_id: what AWS support asks for.
    """

    def __init__(self, message: str, *, code: str = "", operation: str = "", request_id: str = "") -> None:
        self.code = code
        self.operation = operation
        self.request_id = request_id
        super().__init__(message)


class ResourceNotFoundError(CloudError):
    """The requested resource does not exist.

    Args:
        resource_type: the kind of resource.
        resource_id: the id that does not exist, such as "ami-0123456789abcdef0".
        resource_name: the name that does not exist.
        message: one line for the user; default: names the kind, the id, the name and the details.
        code: the AWS error code.
        operation: the AWS action.
        request_id: what AWS support asks for.
        **details: further facts for the default message.
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
    known = ", ".join(f"{name}={value}" for name, value in facts.items() if value)
    return f"Could not locate the resource type `{resource_type or 'unknown'}`{f': {known}' if known else ''}"


class ImageNotFoundError(ResourceNotFoundError, ValueError):
    """No such AMI."""

    resource_type = ResourceType.IMAGE

    def __init__(self, resource_id: str | None = None, resource_name: str | None = None, **more: Any) -> None:
        super().__init__(ResourceType.IMAGE, resource_id, resource_name, **more)


class InstanceNotFoundError(ResourceNotFoundError):
    """No such instance."""

    resource_type = ResourceType.INSTANCE

    def __init__(self, resource_id: str | None = None, resource_name: str | None = None, **more: Any) -> None:
        super().__init__(ResourceType.INSTANCE, resource_id, resource_name, **more)


class KeyPairNotFoundError(ResourceNotFoundError):
    """No such key pair in EC2."""

    resource_type = ResourceType.KEY_PAIR

    def __init__(self, resource_id: str | None = None, resource_name: str | None = None, **more: Any) -> None:
        super().__init__(ResourceType.KEY_PAIR, resource_id, resource_name, **more)


class NetworkNotFoundError(ResourceNotFoundError):
    """No such VPC, subnet or network interface."""

    resource_type = ResourceType.NETWORK

    def __init__(self, resource_id: str | None = None, resource_name: str | None = None, **more: Any) -> None:
        super().__init__(ResourceType.NETWORK, resource_id, resource_name, **more)


class PermissionDeniedError(CloudError):
    """The credentials do not allow the call."""


class IllegalStateError(CloudError):
    """The state of the resource does not allow the call."""


class CapacityError(CloudError):
    """A quota is reached, or EC2 has no capacity left."""


class ThrottledError(CloudError):
    """EC2 received too many calls from this account."""


class PycloudlibTimeoutError(PycloudlibError, TimeoutError):
    """Something waited for did not happen in time.

    Args:
        message: one line for the user, complete.
        what: what was waited for.
        seconds: how long.
        last_seen: the last state seen, in words; empty when nothing was.
    """

    def __init__(self, message: str, *, what: str = "", seconds: float = 0.0, last_seen: str = "") -> None:
        self.what = what
        self.seconds = seconds
        self.last_seen = last_seen
        super().__init__(message)


class NoResponseError(PycloudlibTimeoutError):
    """EC2 did not respond in time. Whether it acted on the request is unknown."""


class InstanceError(PycloudlibError):
    """Something is wrong with one instance.

    Args:
        message: one line for the user.
        instance_id: the instance, such as "i-0123456789abcdef0".
        state: the last state seen, in EC2's words; empty when unknown.
        console_tail: the end of its console log; printed below the message.
        instance: the instance itself, for those who keep it.
    """

    def __init__(
        self,
        message: str,
        *,
        instance_id: str = "",
        state: str = "",
        console_tail: str = "",
        instance: object = None,
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
    """The instance will never be ready: it panicked, powered off, was terminated, or refuses the key."""


class CloudInitError(BootError):
    """cloud-init ended in error inside the instance."""


class InstanceTimeoutError(InstanceError, PycloudlibTimeoutError):
    """Something of one instance did not happen in time.

    Args:
        message: one line for the user.
        what: what was waited for.
        seconds: how long.
        last_seen: the last state seen, in words.
        instance_id: the instance.
        state: the last state seen, in EC2's words.
        console_tail: the end of its console log.
        instance: the instance itself.
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
        instance: object = None,
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
    """The instance is in no state for what was asked: deleted already, without an address, ..."""


class FleetError(PycloudlibError):
    """Some instances of a fleet failed; the others did what they were told.

    Args:
        what: what failed, as in "to be ready".
        errors: what went wrong, by instance id.
        results: what the others gave back, by instance id.
        fleet: all of them.
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
        # The instances hold connections, which belong to this process.
        return {**self.__dict__, "fleet": None}


class SSHError(PycloudlibError):
    """Something went wrong between here and the instance's sshd."""


class SSHConnectionError(SSHError):
    """No connection could be made, or it was lost. Trying again may help."""

    unresponsive: bool = False
    """Whether the host accepted the TCP connection and then did not answer in time."""


class SSHAuthenticationError(SSHError):
    """The instance refused the key. Trying again helps only until cloud-init has installed it."""


class SSHNegotiationError(SSHConnectionError):
    """Host and client have no algorithm in common. Trying again does not help."""


class LoginShellError(SSHError):
    """The login runs something else instead of commands: a forced command, nologin, or an expired password.

    Args:
        message: one line for the user.
        output: what it printed, on one line.
        advised_user: the user as whom it advises to log in; empty without such advice.
    """

    def __init__(self, message: str, *, output: str = "", advised_user: str = "") -> None:
        self.output = output
        self.advised_user = advised_user
        super().__init__(message)


class HostKeyError(SSHError):
    """The host's key is not the one expected of it."""


class CommandTimeoutError(SSHError, PycloudlibTimeoutError):
    """A command did not end within its timeout.

    Args:
        message: one line for the user.
        what: the command.
        seconds: the timeout.
        last_seen: the last output, in short.
    """


class TransferError(SSHError):
    """A file could not be pushed or pulled."""


class CommandError(PycloudlibError):
    """A command failed.

    Args:
        message: the command and both of its streams.
        result: everything it gave back.
    """

    def __init__(self, message: str, *, result: Result) -> None:
        self.result = result
        super().__init__(message)


class CleanupError(PycloudlibError):
    """Some resources could not be deleted.

    Args:
        errors: what went wrong, one for each resource that is left.
    """

    def __init__(self, errors: Sequence[Exception]) -> None:
        self.errors = tuple(errors)
        count = f"{len(self.errors)} resource{'s' if len(self.errors) != 1 else ''}"
        super().__init__("\n  ".join([f"{count} could not be deleted:", *map(str, self.errors)]))


class LocalEC2Error(PycloudlibError):
    """The local EC2 cannot do what was asked, on this machine."""


class LocalEC2NotRunningError(LocalEC2Error):
    """No local EC2 of that name is running."""


class ImageError(LocalEC2Error):
    """A disk image cannot be built, or cannot be used."""


class MachineError(LocalEC2Error):
    """A virtual machine did not start."""
