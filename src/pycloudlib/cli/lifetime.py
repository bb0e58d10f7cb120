"""The lifetime of a command's resources: the duration of the command, or longer if it succeeds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pycloudlib.cli.openssh import forget_host
from pycloudlib.cli.progress import step

if TYPE_CHECKING:
    from pycloudlib import EC2


@contextmanager
def cleaned_up(ec2: EC2, *, keep: bool = False) -> Iterator[None]:
    """Delete the resources of the block on exit.

    Args:
        ec2: the EC2 session.
        keep: whether to keep them unless the block fails; default no.

    Raises:
        CleanupError: some resources could not be deleted.
    """
    try:
        yield
    except BaseException as failure:
        _clean(ec2, failure)
        raise
    if not keep:
        _clean(ec2, None)


def _clean(ec2: EC2, failure: BaseException | None) -> None:
    from pycloudlib.instance import raise_unless_secondary

    ids = [*(instance.id for instance in ec2.created_instances), *ec2.created_images]
    if not ids:
        raise_unless_secondary(ec2.clean(), failure)
        return
    with step(f"deleting {', '.join(ids)}"):
        errors = ec2.clean()
    for resource_id in ids:
        forget_host(resource_id)
    raise_unless_secondary(errors, failure)
