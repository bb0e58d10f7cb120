"""An instance of no cloud: an address and a login, without a life cycle."""

from __future__ import annotations

from pycloudlib.instance import BaseInstance


class PlainInstance(BaseInstance):
    """An instance of no cloud: an address, and nothing else."""

    address = "127.0.0.1"
    name = "machine"
    errors: tuple[Exception, ...] = ()
    deletions = 0

    @property
    def ip(self) -> str:
        return self.address

    def delete(self, wait: bool = True) -> list[Exception]:
        self.deletions += 1
        return list(self.errors)

    def _of_no_cloud(self, *_: object, **__: object) -> None:
        raise NotImplementedError

    wait = wait_for_restart = wait_for_stop = wait_for_delete = _of_no_cloud
    get_boot_id = console_log = restart = shutdown = start = _of_no_cloud
