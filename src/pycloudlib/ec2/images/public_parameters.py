"""SSM's public parameters, under names that only a publisher can write, for the ids of its images.

See https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-public-parameters.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pycloudlib.ec2.api.faults import translated
from pycloudlib.errors import PycloudlibError

if TYPE_CHECKING:
    from pycloudlib.ec2.api.session import Session


def announced_image(session: Session, region: str, names: Sequence[str]) -> tuple[str, str]:
    """Look up the image that a publisher announces (SSM GetParameters).

    Args:
        session: creates the SSM client.
        region: the region.
        names: the names of the parameters, in order of preference.

    Returns:
        The AMI id and an empty string, or an empty string and the reason.
    """
    if not names:
        return "", "SSM has no public parameter for such images"
    try:
        client = session.client_of("ssm", region)
        with translated():
            response = client.get_parameters(Names=list(names))
    except PycloudlibError as error:
        return "", f"SSM rejected the lookup of {names[0]}: {error}"
    values = {parameter["Name"]: parameter["Value"] for parameter in response["Parameters"]}
    image_id = next((values[name] for name in names if values.get(name)), "")
    return image_id, "" if image_id else f"SSM has no public parameter {' or '.join(names)}"
