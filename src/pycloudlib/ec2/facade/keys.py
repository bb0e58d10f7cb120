"""EC2 key pairs."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from os import PathLike

from pycloudlib.created import CreatedResources, check_is_text
from pycloudlib.ec2.facade.base import Facade
from pycloudlib.ec2.key_pairs import KIND as KEY_PAIR
from pycloudlib.ec2.key_pairs import KeyPairDescription
from pycloudlib.key import KeyPair
from pycloudlib.lifecycle import UndoOrder

logger = logging.getLogger(__name__)


class KeyCalls(Facade):
    """The methods for key pairs."""

    @property
    def created_keys(self) -> CreatedResources[str]:
        """The names of the key pairs that `clean()` deletes from EC2: uploaded here and not deleted yet.

        Remove a key pair from this list to keep it, or append one to have `clean()` delete it. Oldest first.
        """
        return CreatedResources(partial(self._ledger.ids, KEY_PAIR), self._record_key, self._ledger.forget)

    @created_keys.setter
    def created_keys(self, names: Iterable[str]) -> None:
        self.created_keys.replace(names)

    def _record_key(self, name: str) -> None:
        check_is_text("the name of a key pair", name)
        self._ledger.record(KEY_PAIR, name, partial(self._key_pairs.delete, name), order=UndoOrder.KEY_PAIR)

    def list_keys(self) -> list[str]:
        """Return the names of all key pairs of the account in this region (DescribeKeyPairs)."""
        return self._key_pairs.names()

    def key_pairs(self) -> list[KeyPairDescription]:
        """Return all key pairs of the account in this region, with their fingerprints (DescribeKeyPairs)."""
        return self._key_pairs.all()

    def upload_key(
        self,
        public_key_path: str | PathLike[str],
        private_key_path: str | PathLike[str] | None = None,
        name: str | None = None,
    ) -> None:
        """Import a public key (ImportKeyPair), and use the key pair for all further launches.

        `clean()` deletes the key pair from EC2, unless it existed before.

        Args:
            public_key_path: the public key, or a `.pem` file with both keys.
            private_key_path: the private key; default the public key's path without ".pub".
            name: the name of the key pair in EC2; default the tag.

        Raises:
            KeyPairError: the key is unusable, or EC2 has another key under the name.
        """
        key_pair = KeyPair.load(public_key_path, private_key_path, name or self.tag)
        self._key_pairs.upload(key_pair, name or self.tag)
        self.key_pair = key_pair

    def delete_key(self, name: str) -> None:
        """Delete a key pair from EC2 (DeleteKeyPair). No-op if it does not exist.

        Args:
            name: the name of the key pair in EC2.
        """
        self._key_pairs.delete(name)
        if self._key_pair is not None and self._key_pair.name == name:
            self.key_pair = replace(self._key_pair, name=None)
