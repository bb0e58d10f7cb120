"""Which images are announced, and under which names of public parameters."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pycloudlib.local.images.catalog import Image
from pycloudlib.local.images.distributions import CANONICAL, SELF
from pycloudlib.local.images.public_parameters import public_parameters
from pycloudlib.local.images.simulated import SimulatedCatalog

OWN = next(image for image in SimulatedCatalog().images() if "/images/hvm-ssd-gp3/ubuntu-noble" in image.name)


def names(image: Image) -> list[str]:
    return list(public_parameters([image]))


@pytest.mark.parametrize(
    "name",
    [
        "ubuntu/images-testing/hvm-ssd-gp3/ubuntu-noble-daily-amd64-server-20260202",
        "ubuntu-pro-fips-server/images/hvm-ssd/ubuntu-jammy-22.04-amd64-pro-fips-server-20260202",
        "golden",
    ],
)
def test_images_that_canonical_does_not_announce_have_no_name(name: str) -> None:
    assert names(replace(OWN, name=name, owner_id=CANONICAL)) == []


def test_the_name_of_an_image_counts_with_its_owner_only() -> None:
    image = replace(OWN, name="ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20260202")
    assert "/aws/service/canonical/ubuntu/server/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id" in names(image)
    assert names(replace(image, owner_id=SELF)) == []


def test_amazon_linux_is_announced_once_it_was_added() -> None:
    image = replace(OWN, name="al2023", owner_id=SELF, release="al2023", source="added")
    (parameter,) = public_parameters([image]).values()
    assert parameter.name == "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
    assert (parameter.image_id, parameter.data_type) == (image.image_id, "text")


def test_the_newest_image_is_announced_unless_it_is_deprecated() -> None:
    deprecated = "2026-02-20T00:00:00.000Z"
    older, newer = (
        replace(OWN, image_id=f"ami-{day}", creation_date=f"2026-02-{day}T06:00:00.000Z") for day in ("02", "03")
    )
    withdrawn = replace(newer, deprecation_time=deprecated)
    old = replace(older, deprecation_time=deprecated)

    def announced(*images: Image) -> set[str]:
        return {parameter.image_id for parameter in public_parameters(images).values()}

    assert announced(older, newer) == announced(old, newer) == {"ami-03"}
    assert announced(older, withdrawn) == {"ami-02"}
    assert announced(old, withdrawn) == {"ami-03"}
