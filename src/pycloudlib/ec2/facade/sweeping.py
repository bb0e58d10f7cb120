"""Deletion of resources that other runs left behind."""

from __future__ import annotations

from collections.abc import Iterable

from pycloudlib.ec2.api.region_context import RegionContext
from pycloudlib.ec2.facade.base import Facade
from pycloudlib.ec2.sweep.orphans import checked_selection
from pycloudlib.ec2.sweep.sweep import Sweep, SweepReport
from pycloudlib.errors import InvalidArgumentError

ALL_REGIONS = "all"


class SweepCalls(Facade):
    """The methods for left-behind resources."""

    def sweep(
        self,
        *,
        older_than: float | None = None,
        run: str | None = None,
        owner: str | None = None,
        expired: bool = False,
        dry_run: bool = True,
        regions: str | Iterable[str] | None = None,
    ) -> SweepReport:
        """Find resources that runs of this library left behind, and delete them unless `dry_run`.

        The sweep selects resources by this library's tags, and never deletes untagged ones. It skips this process's own
        resources unless `run` names them, and resources attached to an instance that remains. (Describe and Delete
        actions of each resource type)

        Args:
            older_than: the minimum age in seconds; default any age.
            run: the tag "pycloudlib:run", or a prefix of it; default any run but this process's.
            owner: the tag "pycloudlib:owner"; default this user on this host; "any" for all owners.
            expired: whether to select only resources past their expiry time; default no.
            dry_run: whether to find resources without deleting them; default yes.
            regions: names of regions, or "all" for all that the account can use; default this object's own.

        Returns:
            The found, deleted, and remaining resources; each remaining one has the reason and the command to delete it.

        Raises:
            InvalidArgumentError: an argument is invalid, or the account cannot use a region.
            CloudSetupError: EC2 is not reachable, or rejects the credentials.
        """
        selection = checked_selection(
            self._ownership.tags(self.tag), older_than=older_than, run=run, owner=owner, expired=expired
        )
        if not isinstance(dry_run, bool):
            raise InvalidArgumentError(f"dry_run is {dry_run!r}; it must be True or False")
        return Sweep(self._contexts_in(regions), selection, self._ownership.now()).run(dry_run=dry_run)

    def _contexts_in(self, regions: str | Iterable[str] | None) -> list[RegionContext]:
        if regions is None:
            return [self._region_context]
        wanted = self.regions() if regions == ALL_REGIONS else [regions] if isinstance(regions, str) else list(regions)
        if not wanted:
            raise InvalidArgumentError("there are no regions to search")
        return [
            self._region_context if name == self.region else self.in_region(name)._region_context
            for name in dict.fromkeys(wanted)
        ]
