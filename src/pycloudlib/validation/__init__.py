"""Validation of images: pytest tests on an instance that is launched from the image."""

from pycloudlib.validation.facts import Facts, Launch
from pycloudlib.validation.life import Life
from pycloudlib.validation.verdicts import check, fail, not_applicable

__all__ = ["Facts", "Launch", "Life", "check", "fail", "not_applicable"]
