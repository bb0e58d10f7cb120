"""EC2: launch instances, find images, manage keys, and delete what was created."""

from __future__ import annotations

import logging
from contextlib import ExitStack

from pycloudlib.ec2.facade.images import ImageCalls
from pycloudlib.ec2.facade.instances import InstanceCalls
from pycloudlib.ec2.facade.keeping import KeepCalls
from pycloudlib.ec2.facade.keys import KeyCalls
from pycloudlib.ec2.facade.network import NetworkCalls
from pycloudlib.ec2.facade.storage import StorageCalls
from pycloudlib.ec2.facade.sweeping import SweepCalls
from pycloudlib.ec2.facade.tags import TagCalls
from pycloudlib.ec2.fleet import terminate_together

logger = logging.getLogger(__name__)


class EC2(ImageCalls, InstanceCalls, StorageCalls, NetworkCalls, KeyCalls, TagCalls, SweepCalls, KeepCalls):
    """Amazon EC2, in one region, or whatever speaks its API at another endpoint.

    As a context manager it deletes in the end what it created, and raises CleanupError with everything that it could
    not delete. What the arguments leave open, the environment says, then the settings file, then boto3's own chain.

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
        """Delete everything that was created here, and by what in_region() gave: instances first, in parallel.

        Everything is tried, whatever fails; what could not be deleted is tried again by the next call.

        Returns:
            What went wrong, each naming its resource; empty when nothing is left.
        """
        errors: list[Exception] = []
        try:
            errors += self._clean_here()
        finally:
            # Ctrl-C during the one must not leave the others behind.
            for elsewhere in list(self._elsewhere.values()):
                errors += elsewhere.clean()
        return errors

    def _clean_here(self) -> list[Exception]:
        with ExitStack() as watching:
            # So that every question about one of them is answered for all of them.
            for instance in self.created_instances:
                watching.enter_context(self._access.poller.watching(instance.id))
            try:
                terminate_together(self._access, self.created_instances)
            finally:
                # Ctrl-C during the one call for all must not leave everything behind.
                errors = self._ledger.undo_all()
        return errors
