"""Leftovers of other runs."""

from __future__ import annotations

from collections.abc import Iterable

from pycloudlib.ec2.api.scope import Scope
from pycloudlib.ec2.facade.base import Facade
from pycloudlib.ec2.sweep.leftovers import checked_selection
from pycloudlib.ec2.sweep.sweep import Sweep, SweepReport
from pycloudlib.errors import InvalidArgumentError

ALL_REGIONS = "all"


class SweepCalls(Facade):
    """What is asked about leftovers."""

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
        """Find what runs of this library created and left, and delete it unless dry_run (Describe..., Delete...).

        It is found by this library's own tags. Nothing without them is deleted, nor what this process created itself,
        unless `run` names it. What is attached to an instance that stays, stays as well.

        Args:
            older_than: seconds since its creation, at least; default any age.
            run: the tag "pycloudlib:run", or how it begins; default any run but that of this process.
            owner: the tag "pycloudlib:owner"; default this user on this host; "any" for everybody's.
            expired: whether only what is past its time to live is meant; default no.
            dry_run: whether it is only looked for; default yes.
            regions: names of regions, or "all" for all that the account can use; default this object's own.

        Returns:
            What was found, what is deleted, and what is left, each with the reason and how to delete it by hand.

        Raises:
            InvalidArgumentError: an argument that means nothing, or a region that the account cannot use.
            CloudSetupError: EC2 is out of reach, or refuses the credentials.
        """
        selection = checked_selection(
            self._ownership.tags(self.tag), older_than=older_than, run=run, owner=owner, expired=expired
        )
        if not isinstance(dry_run, bool):
            raise InvalidArgumentError(f"dry_run is {dry_run!r}; it must be True or False")
        return Sweep(self._scopes_in(regions), selection, self._ownership.now()).run(dry_run=dry_run)

    def _scopes_in(self, regions: str | Iterable[str] | None) -> list[Scope]:
        if regions is None:
            return [self._scope]
        wanted = self.regions() if regions == ALL_REGIONS else [regions] if isinstance(regions, str) else list(regions)
        if not wanted:
            raise InvalidArgumentError("there are no regions to search")
        return [self._scope if name == self.region else self.in_region(name)._scope for name in dict.fromkeys(wanted)]
