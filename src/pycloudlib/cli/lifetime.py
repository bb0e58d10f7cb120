"""How long what a command creates stays: as long as the command, or longer if all went well."""

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
    """Delete in the end what was created in the block.

    Args:
        ec2: where.
        keep: whether it stays, unless the block fails; default no.

    Raises:
        CleanupError: something could not be deleted.
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
    for one in ids:
        forget_host(one)
    raise_unless_secondary(errors, failure)
