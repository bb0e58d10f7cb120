"""Checks that an image must pass, as pytest tests on a machine that is launched from it."""

from pycloudlib.validation.facts import Facts, Launch
from pycloudlib.validation.life import Life
from pycloudlib.validation.verdicts import check, fail, not_applicable

__all__ = ["Facts", "Launch", "Life", "check", "fail", "not_applicable"]
