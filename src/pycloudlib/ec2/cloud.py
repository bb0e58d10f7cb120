"""EC2: launch instances, find images, manage keys, and delete what was created."""

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
    """Amazon EC2, in one region, or whatever speaks its API at another endpoint.

    As a context manager it deletes in the end what it created, and raises CleanupError with everything that it could
    not delete. After the `with` block it creates nothing more, since nothing would delete that: such calls raise
    IllegalStateError, until the object is entered again. Settings that the arguments leave open come from the
    environment, then the settings file, then boto3's own chain.

    Args:
        tag: names what is created: lower-case letters, digits and hyphens; default "pycloudlib".
        timestamp_suffix: whether the time and some random digits are added to the tag; default yes.
        config_file: a settings file: its path, or an open text stream; default PYCLOUDLIB_CONFIG, or
            ~/.config/pycloudlib.toml, or /etc/pycloudlib.toml.
        access_key_id: the AWS access key.
        secret_access_key: the secret that belongs to it.
        session_token: of temporary credentials.
        region: such as "eu-central-1".
        profile: a profile of ~/.aws/config.
        endpoint_url: where EC2 is, when it is not AWS's own; such as "http://127.0.0.1:4566".
        ttl: seconds after which what is created expires, or a text such as "90m"; default never.
        host_keys: how an instance proves who it is: "pinned" (default), "console" or "insecure".

    Raises:
        ConfigError: the settings cannot be used; with every problem found.
        CloudSetupError: no region, or no valid endpoint.
        CredentialsError: no credentials.
        InvalidTagNameError: the tag cannot name resources.
    """

    def clean(self) -> list[Exception]:
        """Delete everything that was created here, and in the regions of in_region(): instances first, in parallel.

        Everything is tried, whatever fails; the next call tries again what could not be deleted. While clean() runs,
        other threads cannot create anything: their calls raise IllegalStateError. A create call that is in flight when
        clean() begins is waited for, up to 120 s, and what it creates is deleted too. Afterwards the object can be used
        again; but not after its `with` block, see EC2.

        Returns:
            What went wrong, each naming its resource; empty when nothing is left.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed; raised when everything is deleted. A second Ctrl-C gives up at once.
        """
        errors: list[Exception] = []
        caller = threading.get_ident()
        try:
            finish_despite_interrupt(lambda: self._clean_everywhere(errors, caller))
        except KeyboardInterrupt:
            # Nobody gets the list now.
            for error in errors:
                logger.error("could not delete %s", error)
            raise
        return errors

    def _clean_everywhere(self, errors: list[Exception], caller: int) -> None:
        with ExitStack() as afterwards:
            # Whatever fails here, clean the other regions too.
            for elsewhere in list(self._elsewhere.values()):
                afterwards.callback(elsewhere._clean_everywhere, errors, caller)
            errors += self._clean_here(caller)

    def _clean_here(self, caller: int) -> list[Exception]:
        with ExitStack() as watching:
            # Answer every question about one of them for all of them.
            for instance in self.created_instances:
                watching.enter_context(self._access.poller.watching(instance.id))
            try:
                terminate_together(self._access, self.created_instances)
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
            # Before clean(): a thread that is about to create something must not do so after it.
            self._close()
        super().__exit__(exception_type, exception, traceback)
