"""EC2: launch instances, find images, manage key pairs, and delete all created resources."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING

from pycloudlib.ec2.facade.images import ImageCalls
from pycloudlib.ec2.facade.instances import InstanceCalls
from pycloudlib.ec2.facade.keeping import KeepCalls
from pycloudlib.ec2.facade.keys import KeyCalls
from pycloudlib.ec2.facade.network import NetworkCalls
from pycloudlib.ec2.facade.storage import StorageCalls
from pycloudlib.ec2.facade.sweeping import SweepCalls
from pycloudlib.ec2.facade.tags import TagCalls
from pycloudlib.ec2.fleet import terminate_together
from pycloudlib.lifecycle import finish_despite_interrupt

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.getLogger(__name__)


class EC2(ImageCalls, InstanceCalls, StorageCalls, NetworkCalls, KeyCalls, TagCalls, SweepCalls, KeepCalls):
    """Amazon EC2 in one region, or another endpoint that implements its API.

    As a context manager, delete all created resources on exit, and raise CleanupError with everything that could not be
    deleted. After the `with` block, create calls raise IllegalStateError until the object is entered again, since
    nothing would delete their resources. Settings without an argument come from the environment, then the settings
    file, then boto3's own chain.

    Args:
        tag: the name prefix of created resources: lowercase letters, digits, and hyphens; default "pycloudlib".
        timestamp_suffix: whether to append the time and random digits to the tag; default yes.
        config_file: the path of a settings file, or an open text stream; default PYCLOUDLIB_CONFIG, or
            ~/.config/pycloudlib.toml, or /etc/pycloudlib.toml.
        access_key_id: the AWS access key id.
        secret_access_key: the AWS secret access key.
        session_token: the session token of temporary credentials.
        region: the region, such as "eu-central-1".
        profile: a profile of ~/.aws/config.
        endpoint_url: the URL of an endpoint other than AWS's, such as "http://127.0.0.1:4566".
        ttl: seconds after which created resources expire, or a text such as "90m"; default never.
        host_keys: how to verify the host keys of instances: "pinned" (default), "console", or "insecure".

    Raises:
        ConfigError: the settings are invalid; the message names every problem.
        CloudSetupError: the region is missing, or the endpoint is invalid.
        CredentialsError: there are no credentials.
        InvalidTagNameError: the tag cannot be a resource name.
    """

    def clean(self) -> list[Exception]:
        """Delete everything created here and in the regions of `in_region()`: instances first, in parallel.

        Errors do not stop the cleanup; the next call tries the remaining resources again. While `clean()` runs, create
        calls of other threads raise IllegalStateError. A create call in flight is awaited for up to 120 s, and its
        resources are deleted too. Afterward the object can be used again, except after its `with` block; see EC2.

        Returns:
            The errors, each naming its resource; empty if everything is deleted.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed; raised once everything is deleted. A second Ctrl-C aborts
                immediately.
        """
        errors: list[Exception] = []
        caller = threading.get_ident()
        try:
            finish_despite_interrupt(lambda: self._clean_everywhere(errors, caller))
        except KeyboardInterrupt:
            # The exception replaces the returned list.
            for error in errors:
                logger.error("could not delete %s", error)
            raise
        return errors

    def _clean_everywhere(self, errors: list[Exception], caller: int) -> None:
        with ExitStack() as afterwards:
            # Clean the other regions even if this one fails.
            for elsewhere in list(self._elsewhere.values()):
                afterwards.callback(elsewhere._clean_everywhere, errors, caller)
            errors += self._clean_here(caller)

    def _clean_here(self, caller: int) -> list[Exception]:
        with ExitStack() as watching:
            # Poll all instances together.
            for instance in self.created_instances:
                watching.enter_context(self._instance_context.poller.watching(instance.id))
            try:
                terminate_together(self._instance_context, self.created_instances)
            finally:
                errors = self._ledger.undo_all(caller=caller)
        return errors

    def __enter__(self) -> Self:
        self._reopen()
        return super().__enter__()

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._is_cleaned_by_other:
            # Before clean(): prevent other threads from creating resources after it.
            self._close()
        super().__exit__(exception_type, exception, traceback)
