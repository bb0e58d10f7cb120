"""Parsing of command lines: the guest's command after two hyphens, and suggestions for mistyped names."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import click

DASHES = "--"


class SuggestingGroup(click.Group):
    """A group that suggests the closest command for a mistyped one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command of the arguments.

        Raises:
            click.UsageError: the command is unknown; the message suggests the closest one.
        """
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            nearest = get_close_matches(args[0], self.list_commands(ctx), n=1)
            if not nearest or "Did you mean" in error.message:
                raise
            raise click.UsageError(f"{error.message} Did you mean {nearest[0]!r}?", ctx) from None


class TakesCommand(click.Command):
    """A click command that receives the arguments after `--` as `command`.

    Args:
        optional: whether the guest's command is optional; default no.
    """

    def __init__(self, *arguments: Any, optional: bool = False, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.optional = optional

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse options only before the hyphens."""
        before: list[str] = args
        command: tuple[str, ...] = ()
        if DASHES in args:
            position = args.index(DASHES)
            before, command = args[:position], tuple(args[position + 1 :])
        try:
            rest = super().parse_args(ctx, before)
        except click.NoSuchOption as error:
            if DASHES not in args and not error.possibilities:
                message = f"No such option '{error.option_name}'. Write a command for the instance after --."
                raise click.UsageError(message, ctx) from None
            raise
        if not command and not self.optional and not ctx.resilient_parsing:
            raise click.UsageError("no command to run: write it after --", ctx)
        ctx.params["command"] = command
        return rest

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return the parts of the usage line."""
        return [*super().collect_usage_pieces(ctx), "[-- COMMAND...]" if self.optional else "-- COMMAND..."]


def instance_ids(_: click.Context, parameter: click.Parameter, words: tuple[str, ...]) -> tuple[str, ...]:
    """Validate arguments as instance ids, and remove duplicates.

    Raises:
        click.BadParameter: an argument is not an instance id.
    """
    for word in words:
        if not word.startswith("i-"):
            raise click.BadParameter(
                f"invalid instance id {word!r}: give one such as i-0123456789abcdef0, and a command after --",
                param=parameter,
            )
    return tuple(dict.fromkeys(words))
